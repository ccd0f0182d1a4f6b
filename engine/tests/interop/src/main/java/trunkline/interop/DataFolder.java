package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.storage.internals.checkpoint.CleanShutdownFileHandler;
import org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.UnifiedLog;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/** A broker's data folder: its partition folders and the checkpoints beside them, under the names Kafka gives them. */
final class DataFolder {
    static final String RECOVERY_POINTS = "recovery-point-offset-checkpoint";
    static final String LOG_STARTS = "log-start-offset-checkpoint";
    static final String HIGH_WATERMARKS = "replication-offset-checkpoint";
    static final String CLEANED_OFFSETS = "cleaner-offset-checkpoint";

    /** The one folder name a broker passes over. */
    private static final String TIERED_STORAGE_CACHE = "remote-log-index-cache";

    static final Comparator<TopicPartition> BY_NAME =
        Comparator.comparing(TopicPartition::topic).thenComparing(TopicPartition::partition);

    private final Path path;

    DataFolder(Path path) {
        this.path = path;
    }

    Path path() {
        return path;
    }

    /** The live partitions by topic, then number. Folders under deletion or in flight between disks are left out. */
    SortedMap<TopicPartition, Path> partitions() throws IOException {
        SortedMap<TopicPartition, Path> found = new TreeMap<>(BY_NAME);
        for (Path folder : subfolders()) {
            if (!isSetAside(folder)) {
                found.put(UnifiedLog.parseTopicPartitionName(folder.toFile()), folder);
            }
        }
        return found;
    }

    List<Path> subfolders() throws IOException {
        try (Stream<Path> entries = Files.list(path)) {
            return entries.filter(Files::isDirectory).filter(folder -> !folder.endsWith(TIERED_STORAGE_CACHE)).sorted().toList();
        }
    }

    static boolean isSetAside(Path folder) {
        String name = folder.getFileName().toString();
        return name.endsWith("-delete") || name.endsWith("-future") || name.endsWith("-stray");
    }

    /** A missing file reads as empty: Kafka's class would create it, and we never write to a folder we inspect. */
    Map<TopicPartition, Long> readCheckpoint(String name) throws IOException {
        Path file = path.resolve(name);
        return Files.exists(file) ? checkpoint(file).read() : new HashMap<>();
    }

    void writeCheckpoint(String name, Map<TopicPartition, Long> offsets) throws IOException {
        SortedMap<TopicPartition, Long> ordered = new TreeMap<>(BY_NAME);
        ordered.putAll(offsets);
        checkpoint(path.resolve(name)).write(ordered);
    }

    boolean hasCleanShutdownMarker() {
        return cleanShutdownMarker().exists();
    }

    void markCleanShutdown() throws Exception {
        long brokerEpoch = 7;
        cleanShutdownMarker().write(brokerEpoch);
    }

    void clearCleanShutdownMarker() throws Exception {
        cleanShutdownMarker().delete();
    }

    private CleanShutdownFileHandler cleanShutdownMarker() {
        return new CleanShutdownFileHandler(path.toString());
    }

    private static OffsetCheckpointFile checkpoint(Path file) throws IOException {
        return new OffsetCheckpointFile(file.toAbsolutePath().toFile(), new LogDirFailureChannel(1));
    }
}
