package trunkline.interop;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogStartOffsetIncrementReason;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What {@code write} writes. */
final class Fixtures {
    static final List<Fixture> ALL = List.of(
        codec(CompressionType.NONE),
        codec(CompressionType.GZIP),
        codec(CompressionType.SNAPPY),
        codec(CompressionType.LZ4),
        codec(CompressionType.ZSTD),
        new Fixture("append-time", Map.of(TopicConfig.MESSAGE_TIMESTAMP_TYPE_CONFIG, "LogAppendTime"), Fixtures::appendTime),
        new Fixture("segments", smallSegments(12 * 1024, 1024), Fixtures::segments),
        new Fixture("transactions", smallSegments(4 * 1024, 512), TransactionFixture::fill),
        new Fixture("compacted", CompactionFixture.CONFIG, CompactionFixture::fill),
        new Fixture("deleted", smallSegments(4 * 1024, 1024), Fixtures::deleted));

    static Map<String, String> smallSegments(int segmentBytes, int indexIntervalBytes) {
        return Map.of(
            // segment.bytes itself may not go below 1 MiB since Kafka 4.1.
            LogConfig.INTERNAL_SEGMENT_BYTES_CONFIG, Integer.toString(segmentBytes),
            TopicConfig.INDEX_INTERVAL_BYTES_CONFIG, Integer.toString(indexIntervalBytes));
    }

    private static Fixture codec(CompressionType type) {
        return new Fixture("codec-" + type.name, Map.of(), partition -> codecBatches(partition, type));
    }

    private static void codecBatches(Partition partition, CompressionType type) throws IOException {
        Compression codec = Compression.of(type).build();
        Records records = new Records(1);
        long now = partition.time.milliseconds();
        partition.append(Records.batch(codec, Records.corners(now)), 0);
        partition.append(Records.batch(codec, Records.outOfOrder(now)), 0);
        partition.append(Records.batch(codec, records.rows(now + 1_000, 20, 40)), 0);
        partition.append(Records.batch(codec, List.of(Records.record(now + 2_000, null, "one small record"))), 0);
        partition.append(Records.batch(codec, noisy(records, now + 3_000, 5, 700)), 0);
        partition.append(Records.batch(codec, severalBlocks(records, now + 4_000, type)), 0);
        partition.append(Records.batch(codec, records.rows(now + 6_000, 3, 5)), 0);
    }

    private static List<SimpleRecord> noisy(Records records, long now, int count, int length) {
        List<SimpleRecord> noise = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            noise.add(records.noise(now + i, length));
        }
        return noise;
    }

    /**
     * Three blocks of a block codec (snappy 32 KiB, lz4 64 KiB), the first of noise: lz4 stores a block that does not shrink
     * as it is and says so in its length. Elsewhere such a size would only be ballast.
     */
    private static List<SimpleRecord> severalBlocks(Records records, long now, CompressionType type) {
        int blockBytes = switch (type) {
            case SNAPPY -> 32 * 1024;
            case LZ4 -> 64 * 1024;
            default -> 4 * 1024;
        };
        List<SimpleRecord> batch = new ArrayList<>();
        batch.add(records.noise(now, blockBytes));
        batch.addAll(records.rows(now + 1, 3 * blockBytes / 1024, 55));
        return batch;
    }

    private static void appendTime(Partition partition) throws IOException {
        Records records = new Records(2);
        for (CompressionType type : CompressionType.values()) {
            partition.time.sleep(1_500);
            long producedAt = partition.time.milliseconds() - 700;
            partition.append(Records.batch(Compression.of(type).build(), Records.outOfOrder(producedAt)), 0);
            partition.time.sleep(1);
            partition.append(Records.batch(Compression.of(type).build(), records.rows(producedAt, 4, 10)), 0);
        }
    }

    private static void segments(Partition partition) throws IOException {
        Records records = new Records(3);
        int[] leaderEpochs = {0, 1, 3, 7};
        for (int i = 0; i < 60; i++) {
            // Every fifth batch is old, so the time index skips what the offset index holds.
            long timestamp = partition.time.milliseconds() - (i % 5 == 4 ? 60_000 : 0);
            Compression codec = i % 2 == 0 ? Compression.NONE : Compression.lz4().build();
            partition.append(Records.batch(codec, records.rows(timestamp, 1 + i % 4, 25)), leaderEpochs[i / 15]);
            partition.time.sleep(1_000);
        }
    }

    private static void deleted(Partition partition) throws IOException {
        Records records = new Records(4);
        for (int i = 0; i < 24; i++) {
            partition.append(Records.batch(Compression.NONE, records.rows(partition.time.milliseconds(), 5, 15)), i / 8);
            partition.time.sleep(1_000);
        }
        partition.log.updateHighWatermark(partition.log.logEndOffset());
        // Once with the deletion it leads to, once without: the folder keeps a whole segment below its log start.
        deleteRecordsBefore(partition, partition.log.logSegments().get(1).baseOffset() + 7);
        partition.log.deleteOldSegments();
        deleteRecordsBefore(partition, partition.log.logSegments().get(1).baseOffset() + 12);
    }

    private static void deleteRecordsBefore(Partition partition, long offset) {
        partition.log.maybeIncrementLogStartOffset(offset, LogStartOffsetIncrementReason.ClientRecordDeletion);
    }

    private Fixtures() { }
}
