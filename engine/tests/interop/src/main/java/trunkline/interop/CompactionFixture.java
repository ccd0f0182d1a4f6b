package trunkline.interop;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.TransactionVersion;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.utils.Throttler;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A log that Kafka's cleaner went over twice: offset gaps, batches partly and wholly emptied, tombstones with a delete
 * horizon and others gone after theirs, transaction markers without their records, and an uncleaned head.
 */
final class CompactionFixture {
    private static final long DELETE_RETENTION_MS = 60_000;
    private static final int KEYS = 40;

    static final Map<String, String> CONFIG = Map.of(
        TopicConfig.CLEANUP_POLICY_CONFIG, TopicConfig.CLEANUP_POLICY_COMPACT,
        TopicConfig.DELETE_RETENTION_MS_CONFIG, Long.toString(DELETE_RETENTION_MS),
        LogConfig.INTERNAL_SEGMENT_BYTES_CONFIG, "8192",
        TopicConfig.INDEX_INTERVAL_BYTES_CONFIG, "256");

    private final Partition partition;
    private int written = 0;

    static void fill(Partition partition) throws Exception {
        new CompactionFixture(partition).fill();
    }

    private CompactionFixture(Partition partition) {
        this.partition = partition;
    }

    private void fill() throws Exception {
        // A producer whose only batch is wholly overwritten: the cleaner keeps it as an empty batch.
        send(Compression.NONE, new Records.Producer(5002, (short) 0, 0, false), updates(3, KEYS));
        for (int i = 0; i < 12; i++) {
            Compression codec = i % 3 == 0 ? Compression.gzip().build() : Compression.NONE;
            send(codec, new Records.Producer(5000, (short) 0, i * 5, false), updates(5, KEYS));
        }
        transaction(5001, 0, ControlRecordType.ABORT);
        transaction(5003, 0, ControlRecordType.COMMIT);
        transaction(5003, 4, ControlRecordType.ABORT);
        send(Compression.NONE, Records.Producer.NONE, tombstones(0, 3));
        send(Compression.NONE, Records.Producer.NONE, updates(7, KEYS));
        partition.log.roll();
        long cleaned = clean(0);

        for (int i = 0; i < 6; i++) {
            send(Compression.zstd().build(), Records.Producer.NONE, updates(5, KEYS / 3));
        }
        transaction(5003, 8, ControlRecordType.COMMIT);
        send(Compression.NONE, Records.Producer.NONE, tombstones(6, 8));
        partition.log.roll();
        partition.time.sleep(2 * DELETE_RETENTION_MS);
        clean(cleaned);

        send(Compression.NONE, new Records.Producer(5000, (short) 0, 60, false), updates(5, KEYS));
        send(Compression.NONE, Records.Producer.NONE, updates(4, KEYS));
    }

    private void send(Compression codec, Records.Producer producer, List<SimpleRecord> records) throws IOException {
        partition.append(Records.batch(codec, producer, records), 0);
        partition.log.updateHighWatermark(partition.log.logEndOffset());
    }

    private void transaction(long producerId, int sequence, ControlRecordType end) throws IOException {
        send(Compression.NONE, new Records.Producer(producerId, (short) 1, sequence, true), updates(4, KEYS));
        MemoryRecords marker = MemoryRecords.withEndTransactionMarker(tick(), producerId, (short) 1,
            new EndTransactionMarker(end, 1));
        partition.appendMarker(marker, 0, TransactionVersion.TV_0.featureLevel());
        partition.log.updateHighWatermark(partition.log.logEndOffset());
    }

    private List<SimpleRecord> updates(int count, int keys) {
        List<SimpleRecord> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int n = written++;
            records.add(Records.record(tick(), "key-" + n * 7 % keys, "update " + n, Records.header("n", Integer.toString(n))));
        }
        return records;
    }

    private List<SimpleRecord> tombstones(int from, int to) {
        List<SimpleRecord> records = new ArrayList<>();
        for (int key = from; key < to; key++) {
            records.add(Records.record(tick(), "key-" + key, null));
            records.add(Records.record(tick(), "gone-" + key, null));
        }
        return records;
    }

    /** One run of the cleaner over all but the active segment. Returns the first offset it did not clean. */
    private long clean(long firstDirtyOffset) throws Exception {
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(64 * 1024), 64 * 1024, 1024 * 1024, 0.9,
            new Throttler(Double.MAX_VALUE, Long.MAX_VALUE, "cleaner-io", "bytes", Time.SYSTEM), partition.time, name -> { });
        LogToClean dirty =
            new LogToClean(partition.log, firstDirtyOffset, partition.log.activeSegment().baseOffset(), false);
        long firstUncleaned = cleaner.clean(dirty).getKey();
        partition.runBackgroundWork();
        return firstUncleaned;
    }

    private long tick() {
        partition.time.sleep(100);
        return partition.time.milliseconds();
    }
}
