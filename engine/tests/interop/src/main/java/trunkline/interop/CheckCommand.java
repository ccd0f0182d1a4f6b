package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.storage.internals.log.UnifiedLog;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * {@code check [--unclean] DIR}: Kafka's verdict on a data folder. Prints a summary line for each partition, a line for
 * each fault and note, and leaves the folder as it is: all work happens on copies, one partition at a time.
 */
final class CheckCommand {
    private final DataFolder folder;
    private final boolean unclean;
    private final Report report = new Report(System.out);

    static int run(Path dir, boolean unclean) throws IOException {
        CheckCommand check = new CheckCommand(new DataFolder(dir), unclean);
        check.checkAll();
        return check.report.clean() ? 0 : 1;
    }

    private CheckCommand(DataFolder folder, boolean unclean) {
        this.folder = folder;
        this.unclean = unclean;
    }

    private void checkAll() throws IOException {
        if (!checkNames()) {
            return;
        }
        if (!unclean && !folder.hasCleanShutdownMarker()) {
            report.note(folder.path(), "no clean-shutdown marker: a broker would recover these logs");
        }
        Map<TopicPartition, Long> recoveryPoints = readCheckpoint(DataFolder.RECOVERY_POINTS);
        Map<TopicPartition, Long> logStarts = readCheckpoint(DataFolder.LOG_STARTS);
        for (Map.Entry<TopicPartition, Path> partition : folder.partitions().entrySet()) {
            TopicPartition name = partition.getKey();
            Partition.Start start = new Partition.Start(
                logStarts.getOrDefault(name, 0L), recoveryPoints.getOrDefault(name, 0L), !unclean);
            try (FolderCopy copy = new FolderCopy(partition.getValue())) {
                new PartitionCheck(name, partition.getValue(), copy, start, report).run();
            }
        }
    }

    /** A broker takes every subfolder for a partition and gives the whole data folder up at the first other name. */
    private boolean checkNames() throws IOException {
        for (Path subfolder : folder.subfolders()) {
            try {
                UnifiedLog.parseTopicPartitionName(subfolder.toFile());
            } catch (RuntimeException e) {
                report.fault(subfolder, e.getMessage());
            }
        }
        return report.clean();
    }

    private Map<TopicPartition, Long> readCheckpoint(String name) throws IOException {
        Path file = folder.path().resolve(name);
        if (!Files.exists(file)) {
            report.note(file, "missing: a broker would take 0 for every partition");
        }
        try {
            return folder.readCheckpoint(name);
        } catch (RuntimeException e) {
            report.fault(file, e.toString());
            return Map.of();
        }
    }
}
