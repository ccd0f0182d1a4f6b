package trunkline.interop;

import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;

/** A partition's leader epoch checkpoint, held against the epochs its batches carry. Kafka itself never compares them. */
final class LeaderEpochs {
    private final Path file;
    private final TreeMap<Long, Integer> epochByStart = new TreeMap<>();
    private final BiConsumer<Path, String> faults;
    private boolean differs = false;

    LeaderEpochs(Path folder, BiConsumer<Path, String> faults) throws IOException {
        this.file = LeaderEpochCheckpointFile.newFile(folder.toFile()).toPath();
        this.faults = faults;
        if (Files.exists(file)) {
            new LeaderEpochCheckpointFile(file.toFile(), new LogDirFailureChannel(1)).read()
                .forEach(entry -> epochByStart.put(entry.startOffset(), entry.epoch()));
        }
    }

    /**
     * For batches past the log start. Kafka cuts the checkpoint's front off at once when records are deleted, its log start
     * up to a minute later: batches before the first entry are let be. Reports the first mismatch.
     */
    void compare(RecordBatch batch) {
        if (differs || batch.partitionLeaderEpoch() < 0) {
            return;
        }
        Map.Entry<Long, Integer> entry = epochByStart.floorEntry(batch.lastOffset());
        if (entry == null && epochByStart.isEmpty()) {
            mismatch("no leader epoch", batch);
        } else if (entry != null && entry.getValue() != batch.partitionLeaderEpoch()) {
            mismatch("leader epoch " + entry.getValue(), batch);
        }
    }

    private void mismatch(String given, RecordBatch batch) {
        differs = true;
        faults.accept(file, "gives " + given + " for offset " + batch.lastOffset() + ", whose batch has "
            + batch.partitionLeaderEpoch());
    }
}
