package trunkline.interop;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** Seeded records to fill fixtures with, and the batches a producer would make of them. */
final class Records {
    /** Where every fixture's clock starts. */
    static final long BASE_TIME_MS = 1_700_000_000_000L;

    private static final String[] WORDS = ("alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima "
        + "mike november oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu").split(" ");

    private final Random random;

    Records(long seed) {
        random = new Random(seed);
    }

    /** Who sends a batch, and how. */
    record Producer(long id, short epoch, int baseSequence, boolean transactional) {
        static final Producer NONE =
            new Producer(RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false);
    }

    static MemoryRecords batch(Compression codec, Producer producer, List<SimpleRecord> records) {
        ByteBuffer buffer = ByteBuffer.allocate(4096);
        try (MemoryRecordsBuilder builder = MemoryRecords.builder(buffer, RecordBatch.CURRENT_MAGIC_VALUE, codec,
                TimestampType.CREATE_TIME, 0L, RecordBatch.NO_TIMESTAMP, producer.id(), producer.epoch(),
                producer.baseSequence(), producer.transactional(), RecordBatch.NO_PARTITION_LEADER_EPOCH)) {
            records.forEach(builder::append);
            return builder.build();
        }
    }

    static MemoryRecords batch(Compression codec, List<SimpleRecord> records) {
        return batch(codec, Producer.NONE, records);
    }

    static SimpleRecord record(long timestamp, String key, String value, Header... headers) {
        return new SimpleRecord(timestamp, bytes(key), bytes(value), headers);
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static Header header(String name, String value) {
        return new RecordHeader(name, bytes(value));
    }

    /** Every combination of null, empty and present key and value, and every kind of header. */
    static List<SimpleRecord> corners(long timestamp) {
        List<SimpleRecord> records = new ArrayList<>();
        for (String key : Arrays.asList("key", "", null)) {
            for (String value : Arrays.asList("value", "", null)) {
                records.add(record(timestamp + records.size(), key, value));
            }
        }
        records.add(record(timestamp + 9, "headers", "all kinds",
            header("plain", "one"), header("twice", "first"), header("twice", "second"), header("null", null),
            header("empty", ""), header("", "nameless"), header("quote\"\\\n", "escapes"), header("größe-ключ-🚂", "ü")));
        return records;
    }

    /** Timestamps that fall below the first record's, so that deltas are negative, and the highest one in the middle. */
    static List<SimpleRecord> outOfOrder(long timestamp) {
        List<SimpleRecord> records = new ArrayList<>();
        for (long delta : new long[] {0, -1, 5_000, -64, 63, -1_000_000, 86_400, 0}) {
            records.add(record(timestamp + delta, "delta", Long.toString(delta)));
        }
        return records;
    }

    /** JSON-like rows, the common case of a log. */
    List<SimpleRecord> rows(long timestamp, int count, int words) {
        List<SimpleRecord> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String value = "{\"id\":" + random.nextInt(1_000_000) + ",\"text\":\"" + text(words) + "\"}";
            records.add(record(timestamp + i * 10L, "user-" + random.nextInt(50), value));
        }
        return records;
    }

    SimpleRecord noise(long timestamp, int length) {
        byte[] value = new byte[length];
        random.nextBytes(value);
        return new SimpleRecord(timestamp, bytes("noise-" + length), value);
    }

    private String text(int words) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < words; i++) {
            text.append(i == 0 ? "" : " ").append(WORDS[random.nextInt(WORDS.length)]);
        }
        return text.toString();
    }
}
