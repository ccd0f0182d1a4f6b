package trunkline.interop;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.ByteBufferOutputStream;
import org.apache.kafka.common.utils.Utils;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * {@code batches DIR}: golden batches, {@code <name>.bin} with the bytes and {@code <name>.json} with all that went in.
 * A writer that puts the JSON's fields together must arrive at the same bytes wherever the codec is none.
 */
final class BatchesCommand {
    private static final long NOW = Records.BASE_TIME_MS;

    private final Path dir;

    static int run(Path dir) throws IOException {
        Files.createDirectories(dir);
        new BatchesCommand(dir).writeAll();
        return 0;
    }

    private BatchesCommand(Path dir) {
        this.dir = dir;
    }

    /** The fields a batch is made from, at a plain producer's values until set otherwise. */
    private static final class Spec {
        CompressionType codec = CompressionType.NONE;
        TimestampType timestampType = TimestampType.CREATE_TIME;
        long logAppendTime = RecordBatch.NO_TIMESTAMP;
        long deleteHorizon = RecordBatch.NO_TIMESTAMP;
        long baseOffset = 0;
        int leaderEpoch = 0;
        long producerId = RecordBatch.NO_PRODUCER_ID;
        int producerEpoch = RecordBatch.NO_PRODUCER_EPOCH;
        int baseSequence = RecordBatch.NO_SEQUENCE;
        boolean transactional = false;
        /** Empty: consecutive from the base offset. */
        long[] offsets = {};
        long lastOffset = -1;
        final List<SimpleRecord> records;

        Spec(List<SimpleRecord> records) {
            this.records = records;
        }

        Spec producer(long id, int epoch, int sequence, boolean isTransactional) {
            producerId = id;
            producerEpoch = epoch;
            baseSequence = sequence;
            transactional = isTransactional;
            return this;
        }

        Spec at(long offset, int epoch) {
            baseOffset = offset;
            leaderEpoch = epoch;
            return this;
        }

        Spec codec(CompressionType type) {
            codec = type;
            return this;
        }
    }

    private void writeAll() throws IOException {
        write("one-record", new Spec(List.of(Records.record(NOW, "key", "value"))));
        write("null-key-null-value", new Spec(List.of(Records.record(NOW, null, null))));
        write("corners", new Spec(Records.corners(NOW)).at(42, 3));
        write("negative-timestamp-delta", new Spec(Records.outOfOrder(NOW)).at(1_000, 1));
        write("no-timestamp", new Spec(List.of(Records.record(RecordBatch.NO_TIMESTAMP, "k", "v"))));
        write("timestamp-zero", new Spec(List.of(Records.record(0, "k", "v"), Records.record(Long.MAX_VALUE, "k", "v"))));
        write("large-offset", new Spec(Records.corners(NOW)).at((1L << 40) + 7, Integer.MAX_VALUE));
        write("leader-epoch-none", new Spec(Records.corners(NOW)).at(0, RecordBatch.NO_PARTITION_LEADER_EPOCH));
        write("many-records", new Spec(new Records(7).rows(NOW, 200, 3)));
        write("varint-widths", new Spec(varintWidths()));
        for (CompressionType codec : CompressionType.values()) {
            if (codec != CompressionType.NONE) {
                write("codec-" + codec.name, new Spec(new Records(8).rows(NOW, 30, 20)).at(500, 2).codec(codec));
                write("codec-" + codec.name + "-corners", new Spec(Records.corners(NOW)).codec(codec));
            }
        }
        writeProducers();
        writeTimes();
        writeCompacted();
        writeControl();
        writeEmpty();
    }

    private void writeProducers() throws IOException {
        List<SimpleRecord> rows = new Records(9).rows(NOW, 4, 6);
        write("idempotent", new Spec(rows).at(10, 0).producer(4000, 5, 17, false));
        write("transactional", new Spec(rows).at(20, 0).producer(4001, 0, 0, true));
        write("sequence-wraps", new Spec(rows).at(30, 0).producer(4002, Short.MAX_VALUE, Integer.MAX_VALUE - 1, false));
        write("transactional-zstd",
            new Spec(rows).at(40, 9).producer(Long.MAX_VALUE, 1, 3, true).codec(CompressionType.ZSTD));
    }

    private void writeTimes() throws IOException {
        for (CompressionType codec : List.of(CompressionType.NONE, CompressionType.LZ4)) {
            Spec appendTime = new Spec(Records.outOfOrder(NOW)).at(70, 1).codec(codec);
            appendTime.timestampType = TimestampType.LOG_APPEND_TIME;
            appendTime.logAppendTime = NOW + 12_345;
            write("log-append-time" + (codec == CompressionType.NONE ? "" : "-" + codec.name), appendTime);
        }
    }

    private void writeCompacted() throws IOException {
        Spec gaps = new Spec(new Records(10).rows(NOW, 3, 6)).at(100, 2).producer(4003, 0, 50, false);
        gaps.offsets = new long[] {103, 107, 108};
        gaps.lastOffset = 112;
        write("compacted-gaps", gaps);

        Spec tombstones = new Spec(List.of(Records.record(NOW, "a", null), Records.record(NOW + 5, "b", null))).at(200, 2);
        tombstones.deleteHorizon = NOW + 86_400_000;
        write("delete-horizon", tombstones);
    }

    private void writeControl() throws IOException {
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT)) {
            MemoryRecords marker = MemoryRecords.withEndTransactionMarker(300, NOW, 4, 4001, (short) 2,
                new EndTransactionMarker(type, 11));
            Map<String, Object> control = new LinkedHashMap<>();
            control.put("type", type.name());
            control.put("coordinatorEpoch", 11);
            SimpleRecord record = new SimpleRecord(marker.records().iterator().next());
            write("control-" + type.name().toLowerCase(), marker.buffer(), List.of(record), control);
        }
    }

    private void writeEmpty() throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(DefaultRecordBatch.RECORD_BATCH_OVERHEAD);
        DefaultRecordBatch.writeEmptyHeader(buffer, RecordBatch.MAGIC_VALUE_V2, 4004, (short) 3, 8, 400, 409, 6,
            TimestampType.CREATE_TIME, NOW, false, false);
        buffer.flip();
        write("empty", buffer, List.of(), null);
        buffer.clear();
        DefaultRecordBatch.writeEmptyHeader(buffer, RecordBatch.MAGIC_VALUE_V2, 4005, (short) 0, RecordBatch.NO_SEQUENCE,
            410, 410, 6, TimestampType.CREATE_TIME, NOW, true, true);
        buffer.flip();
        write("empty-control", buffer, List.of(), null);
    }

    /** Lengths and deltas on both sides of each varint width that stays small on disk. */
    private static List<SimpleRecord> varintWidths() {
        List<SimpleRecord> records = new ArrayList<>();
        for (long delta : new long[] {0, 63, 64, 8_191, 8_192, 1_048_575, 1_048_576, (1L << 27) - 1, 1L << 27, 1L << 34, 1L << 40}) {
            records.add(Records.record(NOW + delta, "+" + delta, "v"));
            records.add(Records.record(NOW - delta, "-" + delta, "v"));
        }
        for (int length : new int[] {1, 62, 63, 64, 65, 8_191, 8_192}) {
            records.add(Records.record(NOW, "length", "x".repeat(length)));
        }
        return records;
    }

    private void write(String name, Spec spec) throws IOException {
        write(name, build(spec), spec.records, null);
    }

    private static ByteBuffer build(Spec spec) {
        ByteBufferOutputStream out = new ByteBufferOutputStream(4096);
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(out, RecordBatch.MAGIC_VALUE_V2,
            Compression.of(spec.codec).build(), spec.timestampType, spec.baseOffset, spec.logAppendTime, spec.producerId,
            (short) spec.producerEpoch, spec.baseSequence, spec.transactional, false, spec.leaderEpoch,
            Integer.MAX_VALUE, spec.deleteHorizon);
        for (int i = 0; i < spec.records.size(); i++) {
            long offset = spec.offsets.length == 0 ? spec.baseOffset + i : spec.offsets[i];
            builder.appendWithOffset(offset, spec.records.get(i));
        }
        if (spec.lastOffset >= 0) {
            builder.overrideLastOffset(spec.lastOffset);
        }
        return builder.build().buffer();
    }

    private void write(String name, ByteBuffer bytes, List<SimpleRecord> inputs, Map<String, Object> control) throws IOException {
        Files.write(dir.resolve(name + ".bin"), Utils.toArray(bytes.duplicate()));
        Files.writeString(dir.resolve(name + ".json"), Json.pretty(describe(bytes, inputs, control)));
    }

    /** Header fields as Kafka reads them back; of the records what went in, for reading does not show the raw deltas. */
    private static Map<String, Object> describe(ByteBuffer bytes, List<SimpleRecord> inputs, Map<String, Object> control) {
        MutableRecordBatch batch = MemoryRecords.readableRecords(bytes.duplicate()).batches().iterator().next();
        batch.ensureValid();
        long baseTimestamp = bytes.getLong(bytes.position() + 27);
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("sizeInBytes", batch.sizeInBytes());
        fields.put("baseOffset", batch.baseOffset());
        fields.put("partitionLeaderEpoch", batch.partitionLeaderEpoch());
        fields.put("magic", batch.magic());
        fields.put("crc", batch.checksum());
        fields.put("attributes", bytes.getShort(bytes.position() + 21));
        fields.put("codec", batch.compressionType().name);
        fields.put("timestampType", batch.timestampType().name);
        fields.put("isTransactional", batch.isTransactional());
        fields.put("isControl", batch.isControlBatch());
        fields.put("deleteHorizonMs", batch.deleteHorizonMs().isPresent() ? batch.deleteHorizonMs().getAsLong() : null);
        fields.put("lastOffsetDelta", batch.lastOffset() - batch.baseOffset());
        fields.put("lastOffset", batch.lastOffset());
        fields.put("baseTimestamp", baseTimestamp);
        fields.put("maxTimestamp", batch.maxTimestamp());
        fields.put("producerId", batch.producerId());
        fields.put("producerEpoch", batch.producerEpoch());
        fields.put("baseSequence", batch.baseSequence());
        fields.put("lastSequence", batch.lastSequence());
        fields.put("recordsCount", batch.countOrNull());
        fields.put("control", control);
        List<Object> records = new ArrayList<>();
        batch.forEach(record -> records.add(describe(record, inputs.get(records.size()), baseTimestamp, batch.baseOffset())));
        fields.put("records", records);
        return fields;
    }

    /** {@code timestamp} is what a reader sees; {@code timestampDelta} what the record holds, which append time hides. */
    private static Map<String, Object> describe(Record record, SimpleRecord input,
                                                long baseTimestamp, long baseOffset) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("offset", record.offset());
        fields.put("offsetDelta", record.offset() - baseOffset);
        fields.put("timestamp", record.timestamp());
        fields.put("timestampDelta", input.timestamp() - baseTimestamp);
        fields.put("sequence", record.sequence());
        fields.put("key", record.hasKey() ? Utils.toArray(record.key()) : null);
        fields.put("value", record.hasValue() ? Utils.toArray(record.value()) : null);
        List<Object> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(Arrays.asList(header.key(), header.value()));
        }
        fields.put("headers", headers);
        return fields;
    }
}
