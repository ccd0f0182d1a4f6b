package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.CompressionType;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * {@code append DIR TOPIC-PARTITION N}: a broker's next run on a folder, cut down to one partition: open it after a
 * clean shutdown, append N batches as leader, stop cleanly.
 */
final class AppendCommand {
    static int run(Path dir, String name, int batches) throws Exception {
        DataFolder folder = new DataFolder(dir);
        Optional<Map.Entry<TopicPartition, Path>> target = folder.partitions().entrySet().stream()
            .filter(partition -> partition.getKey().toString().equals(name)).findFirst();
        if (target.isEmpty()) {
            System.err.println(dir + " holds no partition " + name);
            return 1;
        }
        append(folder, target.get().getKey(), target.get().getValue(), batches);
        return 0;
    }

    private static void append(DataFolder folder, TopicPartition name, Path partitionFolder, int batches) throws Exception {
        Map<TopicPartition, Long> recoveryPoints = folder.readCheckpoint(DataFolder.RECOVERY_POINTS);
        Map<TopicPartition, Long> logStarts = folder.readCheckpoint(DataFolder.LOG_STARTS);
        folder.clearCleanShutdownMarker();
        Partition.Start start = new Partition.Start(
            logStarts.getOrDefault(name, 0L), recoveryPoints.getOrDefault(name, 0L), true);
        // An hour past the fixtures' start, so that no topic's time rules get in the way.
        FixedTime time = new FixedTime(Records.BASE_TIME_MS + 3_600_000);
        try (Partition partition =
                 new Partition(partitionFolder.toAbsolutePath(), Map.of(), start, time, Optional.empty())) {
            long from = partition.log.logEndOffset();
            fill(partition, batches);
            recoveryPoints.put(name, partition.log.logEndOffset());
            System.out.println(name + " logStart=" + partition.log.logStartOffset()
                + " appendedFrom=" + from + " logEnd=" + partition.log.logEndOffset());
        }
        folder.writeCheckpoint(DataFolder.RECOVERY_POINTS, recoveryPoints);
        folder.writeCheckpoint(DataFolder.LOG_STARTS, logStarts);
        folder.markCleanShutdown();
    }

    private static void fill(Partition partition, int batches) throws Exception {
        Records records = new Records(6);
        CompressionType[] codecs = CompressionType.values();
        int leaderEpoch = partition.log.latestEpoch().orElse(0);
        for (int i = 0; i < batches; i++) {
            Compression codec = Compression.of(codecs[i % codecs.length]).build();
            partition.append(Records.batch(codec, records.rows(partition.time.milliseconds(), 1 + i % 3, 8)), leaderEpoch);
            partition.time.sleep(1_000);
        }
    }

    private AppendCommand() { }
}
