package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.message.DescribeProducersResponseData.ProducerState;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.storage.internals.log.FetchDataInfo;
import org.apache.kafka.storage.internals.log.LogFileUtils;
import org.apache.kafka.storage.internals.log.UnifiedLog;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;

/** The check of one partition, on a copy of its folder: the files as they lie, then the log as Kafka opens and reads it. */
final class PartitionCheck {
    /** A fetch as large as a consumer's whole response would be slow to start and no faster to finish. */
    private static final int FETCH_BYTES = 4 << 20;

    /** Batches × time index entries up to which Kafka's own time index check ends within seconds. */
    private static final long TIME_INDEX_WORK = 10_000_000;

    private final TopicPartition name;
    private final Path original;
    private final FolderCopy copy;
    private final Partition.Start start;
    private final Report report;

    private boolean sound = true;
    private boolean producersSeen = false;
    private long walkedBatches = 0;
    private long walkedEnd = 0;

    PartitionCheck(TopicPartition name, Path original, FolderCopy copy, Partition.Start start, Report report) {
        this.name = name;
        this.original = original;
        this.copy = copy;
        this.start = start;
        this.report = report;
    }

    void run() throws IOException {
        try {
            walkSegments();
        } catch (RuntimeException e) {
            fault(copy.folder(), e.toString());
        }
        for (Path file : copy.files()) {
            if (!file.toString().endsWith(".timeindex")) {
                DumpTool.inspect(file, Files.size(file), true, fault -> fault(file, fault));
            }
        }
        SortedMap<String, String> before = copy.fingerprint();
        List<ProducerState> producers = new ArrayList<>();
        withLog(start, log -> {
            compareEnds(log);
            read(log);
            producers.addAll(log.activeProducers());
        });
        if (start.cleanShutdown()) {
            FolderCopy.changes(before, copy.fingerprint()).forEach(change -> report.note(original, "on opening Kafka " + change));
        }
        if (producersSeen && sound) {
            replayProducers(producers);
        }
    }

    private void walkSegments() throws IOException {
        LeaderEpochs leaderEpochs = new LeaderEpochs(copy.folder(), this::fault);
        SegmentWalk previous = null;
        for (Path segment : DumpCommand.segments(copy.folder())) {
            SegmentWalk walk = new SegmentWalk(segment, start.logStartOffset(), start.cleanShutdown(), this::fault);
            if (previous != null && walk.baseOffset() < previous.nextOffset) {
                fault(segment, "starts below the end of the segment before it, " + previous.nextOffset);
            }
            walk.walk(leaderEpochs);
            walkedBatches += walk.liveBatches;
            walkedEnd = walk.nextOffset;
            producersSeen |= walk.producersSeen;
            previous = walk;
            inspectTimeIndex(walk);
        }
    }

    /** Without its offset index the tool cannot judge a time index, and would leave an empty offset index behind. */
    private void inspectTimeIndex(SegmentWalk walk) throws IOException {
        Path file = walk.sibling(LogFileUtils.TIME_INDEX_FILE_SUFFIX);
        if (Files.exists(file) && Files.exists(walk.sibling(LogFileUtils.INDEX_FILE_SUFFIX))) {
            boolean affordable = walk.timeEntries() * walk.batches <= TIME_INDEX_WORK;
            DumpTool.inspect(file, Files.size(file), affordable, fault -> fault(file, fault));
        }
    }

    private interface LogUse {
        void accept(UnifiedLog log) throws IOException;
    }

    private void withLog(Partition.Start how, LogUse use) {
        PrintStream err = System.err;
        // What Kafka logs at warning level or above while it opens, reads and closes a sound log is nothing at all.
        try (PrintStream warnings = LineSink.printingTo(line -> fault(copy.folder(), "Kafka warned: " + line))) {
            System.setErr(warnings);
            // A clock at zero: no producer id is old enough to be dropped.
            try (Partition partition = new Partition(copy.folder(), Map.of(), how, new FixedTime(0), Optional.empty())) {
                use.accept(partition.log);
            }
        } catch (Exception e) {
            fault(copy.folder(), "Kafka failed to open, read or close the log: " + e);
        } finally {
            System.setErr(err);
        }
    }

    /**
     * Kafka believes the newest snapshot, and after a clean stop without any it believes there are no producers: neither
     * shows when a log is opened. So the state it took over is held against one replayed from the batches alone.
     */
    private void replayProducers(List<ProducerState> loaded) throws IOException {
        Map<Long, ProducerState> byId = new HashMap<>();
        loaded.forEach(producer -> byId.put(producer.producerId(), producer));
        copy.delete(".snapshot");
        withLog(new Partition.Start(start.logStartOffset(), 0, false), log -> {
            for (ProducerState replayed : log.activeProducers()) {
                compare(byId.get(replayed.producerId()), replayed, log.logStartOffset());
            }
        });
    }

    private void compare(ProducerState loaded, ProducerState replayed, long logStart) {
        if (loaded == null) {
            fault(copy.folder(), "the log has producer " + replayed.producerId() + ", the snapshots do not");
            return;
        }
        boolean begunInLog = loaded.currentTxnStartOffset() == -1 || loaded.currentTxnStartOffset() >= logStart;
        if (loaded.producerEpoch() != replayed.producerEpoch() || loaded.lastSequence() != replayed.lastSequence()
                || begunInLog && loaded.currentTxnStartOffset() != replayed.currentTxnStartOffset()) {
            fault(copy.folder(), "the snapshots give producer " + loaded + ", the log " + replayed);
        }
    }

    private void compareEnds(UnifiedLog log) {
        if (log.logEndOffset() != walkedEnd) {
            fault(copy.folder(), "the files end at " + walkedEnd + ", the opened log at " + log.logEndOffset());
        }
    }

    private void read(UnifiedLog log) throws IOException {
        RecordLine line = new RecordLine(name);
        MessageDigest sha256 = sha256();
        long records = 0;
        long batches = 0;
        long next = log.logStartOffset();
        while (next < log.logEndOffset()) {
            FetchDataInfo fetched = log.read(next, FETCH_BYTES, FetchIsolation.LOG_END, true);
            long from = next;
            for (RecordBatch batch : fetched.records.batches()) {
                batch.ensureValid();
                batches++;
                for (Record record : batch) {
                    if (!batch.isControlBatch() && record.offset() >= log.logStartOffset()) {
                        records++;
                        sha256.update(line.render(record), 0, line.length());
                    }
                }
                next = batch.nextOffset();
            }
            if (next == from) {
                fault(copy.folder(), "a read at offset " + next + " of " + log.logEndOffset() + " gave nothing");
                break;
            }
        }
        if (batches != walkedBatches) {
            fault(copy.folder(), "the files hold " + walkedBatches + " batches past the log start, reading gave " + batches);
        }
        report.line(name + " logStart=" + log.logStartOffset() + " logEnd=" + log.logEndOffset()
            + " records=" + records + " batches=" + batches + " sha256=" + HexFormat.of().formatHex(sha256.digest()));
    }

    /** Names the file where the user has it, not its copy. */
    private void fault(Path file, String message) {
        sound = false;
        report.fault(copy.inOriginal(file), copy.inOriginalTerms(message));
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
