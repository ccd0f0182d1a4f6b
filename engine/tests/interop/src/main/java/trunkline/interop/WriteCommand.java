package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.storage.internals.log.UnifiedLog;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/** {@code write DIR}: a data folder with one partition for each thing a reader of Kafka's format must get right. */
final class WriteCommand {
    private final DataFolder folder;
    private final Map<TopicPartition, Long> recoveryPoints = new HashMap<>();
    private final Map<TopicPartition, Long> logStarts = new HashMap<>();
    private final Map<TopicPartition, Long> highWatermarks = new HashMap<>();
    private final Map<TopicPartition, Long> cleanedOffsets = new HashMap<>();

    static int run(Path dir) throws Exception {
        if (Files.exists(dir) && !new DataFolder(dir).subfolders().isEmpty()) {
            System.err.println(dir + " holds partitions already");
            return 1;
        }
        Files.createDirectories(dir);
        new WriteCommand(new DataFolder(dir)).writeAll();
        return 0;
    }

    private WriteCommand(DataFolder folder) {
        this.folder = folder;
    }

    private void writeAll() throws Exception {
        for (Fixture fixture : Fixtures.ALL) {
            writeOne(fixture);
        }
        folder.writeCheckpoint(DataFolder.RECOVERY_POINTS, recoveryPoints);
        folder.writeCheckpoint(DataFolder.LOG_STARTS, logStarts);
        folder.writeCheckpoint(DataFolder.HIGH_WATERMARKS, highWatermarks);
        folder.writeCheckpoint(DataFolder.CLEANED_OFFSETS, cleanedOffsets);
        folder.markCleanShutdown();
    }

    private void writeOne(Fixture fixture) throws Exception {
        TopicPartition name = new TopicPartition(fixture.topic(), 0);
        Path partitionFolder = folder.path().resolve(name.toString()).toAbsolutePath();
        FixedTime time = new FixedTime(Records.BASE_TIME_MS);
        try (Partition partition =
                 new Partition(partitionFolder, fixture.config(), Partition.Start.EMPTY, time, Optional.of(topicId(fixture)))) {
            fixture.content().fill(partition);
            partition.runBackgroundWork();
            checkpoint(partition);
        }
    }

    /** A stopping broker flushes every log first, so its recovery points are the log ends. */
    private void checkpoint(Partition partition) {
        UnifiedLog log = partition.log;
        recoveryPoints.put(partition.name(), log.logEndOffset());
        highWatermarks.put(partition.name(), log.logEndOffset());
        // As Kafka's log manager: a log start that the first segment's name tells already is not written.
        if (log.logStartOffset() > log.logSegments().get(0).baseOffset()) {
            logStarts.put(partition.name(), log.logStartOffset());
        }
        if (log.config().compact) {
            cleanedOffsets.put(partition.name(), log.activeSegment().baseOffset());
        }
    }

    private static Uuid topicId(Fixture fixture) {
        return new Uuid(0x7472756e6b6c4000L, 0x8000000000000000L | fixture.topic().hashCode() & 0xffffffffL);
    }
}
