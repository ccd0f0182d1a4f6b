package trunkline.interop;

import org.apache.kafka.common.record.internal.FileLogInputStream.FileChannelRecordBatch;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.storage.internals.log.LogFileUtils;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.BiConsumer;

/**
 * One pass over a segment's batch headers, comparing both its indexes on the way. It is stricter than DumpLogSegments,
 * which stops at an index entry of zeros, and linear where that tool reads the rest of the log for each time index entry.
 */
final class SegmentWalk {
    private static final int OFFSET_ENTRY_BYTES = 8;
    private static final int TIME_ENTRY_BYTES = 12;

    private final Path logFile;
    private final long baseOffset;
    private final long logStart;
    private final boolean clean;
    private final BiConsumer<Path, String> faults;

    /** Batches that reach past the log start, control batches and empty ones included. */
    long liveBatches = 0;
    long batches = 0;
    boolean producersSeen = false;
    long nextOffset;

    SegmentWalk(Path logFile, long logStart, boolean clean, BiConsumer<Path, String> faults) {
        this.logFile = logFile;
        this.baseOffset = LogFileUtils.offsetFromFile(logFile.toFile());
        this.logStart = logStart;
        this.clean = clean;
        this.faults = faults;
        this.nextOffset = baseOffset;
    }

    long baseOffset() {
        return baseOffset;
    }

    void walk(LeaderEpochs leaderEpochs) throws IOException {
        OffsetEntries offsets = new OffsetEntries(sibling(LogFileUtils.INDEX_FILE_SUFFIX));
        TimeEntries times = new TimeEntries(sibling(LogFileUtils.TIME_INDEX_FILE_SUFFIX));
        long maxTimestamp = -1;
        int position = 0;
        try (FileRecords records = FileRecords.open(logFile.toFile(), false)) {
            for (FileChannelRecordBatch batch : records.batches()) {
                if (batch.baseOffset() < nextOffset) {
                    faults.accept(logFile, "batch at " + position + " starts at offset " + batch.baseOffset()
                        + ", below " + nextOffset);
                }
                maxTimestamp = Math.max(maxTimestamp, batch.maxTimestamp());
                offsets.compare(position, batch.lastOffset());
                times.compare(batch.lastOffset(), batch.maxTimestamp(), maxTimestamp);
                nextOffset = batch.nextOffset();
                position += batch.sizeInBytes();
                batches++;
                if (batch.lastOffset() >= logStart) {
                    liveBatches++;
                    producersSeen |= batch.hasProducerId();
                    leaderEpochs.compare(batch);
                }
            }
        } catch (RuntimeException e) {
            faults.accept(logFile, "after " + position + " bytes: " + e);
        }
        offsets.finish();
        times.finish();
    }

    long timeEntries() throws IOException {
        Path file = sibling(LogFileUtils.TIME_INDEX_FILE_SUFFIX);
        return Files.exists(file) ? Files.size(file) / TIME_ENTRY_BYTES : 0;
    }

    Path sibling(String suffix) {
        String name = logFile.getFileName().toString();
        return logFile.resolveSibling(name.substring(0, name.length() - LogFileUtils.LOG_FILE_SUFFIX.length()) + suffix);
    }

    /** An index file's entries, one at a time beside the walk. */
    private abstract class Entries {
        final Path file;
        final ByteBuffer bytes;
        private final int entryBytes;

        Entries(Path file, int entryBytes) throws IOException {
            this.file = file;
            this.entryBytes = entryBytes;
            boolean exists = Files.exists(file);
            // A crash may strike between a new segment's files; Kafka itself makes an index when it first needs it.
            if (!exists && (clean || Files.size(logFile) > 0)) {
                faults.accept(file, "missing");
            }
            bytes = ByteBuffer.wrap(exists ? Files.readAllBytes(file) : new byte[0]);
            if (bytes.limit() % entryBytes != 0) {
                faults.accept(file, "length " + bytes.limit() + " is no multiple of " + entryBytes);
                bytes.limit(bytes.limit() - bytes.limit() % entryBytes);
            }
        }

        /** Reports the entry at hand and steps over it. */
        void reject(String why) {
            faults.accept(file, "entry " + bytes.position() / entryBytes + " " + why);
            bytes.position(bytes.position() + entryBytes);
        }

        boolean more() {
            return bytes.hasRemaining();
        }

        void finish() {
            if (more()) {
                long left = bytes.remaining() / entryBytes;
                reject("points past the last batch, or is zero padding; " + left + " such entries");
            }
        }
    }

    private final class OffsetEntries extends Entries {
        OffsetEntries(Path file) throws IOException {
            super(file, OFFSET_ENTRY_BYTES);
        }

        void compare(int position, long lastOffset) {
            while (more() && filePosition() < position) {
                reject("gives position " + filePosition() + ", where no batch starts, or is out of order");
            }
            if (more() && filePosition() == position) {
                if (offset() != lastOffset) {
                    reject("gives offset " + offset() + " for the batch at " + position + " that ends at " + lastOffset);
                } else {
                    bytes.position(bytes.position() + OFFSET_ENTRY_BYTES);
                }
            }
        }

        private long offset() {
            return baseOffset + bytes.getInt(bytes.position());
        }

        private int filePosition() {
            return bytes.getInt(bytes.position() + 4);
        }
    }

    private final class TimeEntries extends Entries {
        private long previousTimestamp = -1;

        TimeEntries(Path file) throws IOException {
            super(file, TIME_ENTRY_BYTES);
        }

        void compare(long lastOffset, long batchMax, long maxSoFar) {
            while (more() && offset() < lastOffset) {
                reject("gives offset " + offset() + ", where no batch ends, or is out of order");
            }
            if (more() && offset() == lastOffset) {
                if (timestamp() != batchMax || timestamp() != maxSoFar) {
                    reject("gives timestamp " + timestamp() + " for offset " + lastOffset + "; its batch has " + batchMax
                        + ", the log up to it " + maxSoFar);
                } else if (timestamp() <= previousTimestamp) {
                    reject("repeats or falls below timestamp " + previousTimestamp);
                } else {
                    previousTimestamp = timestamp();
                    bytes.position(bytes.position() + TIME_ENTRY_BYTES);
                }
            }
        }

        private long timestamp() {
            return bytes.getLong(bytes.position());
        }

        private long offset() {
            return baseOffset + bytes.getInt(bytes.position() + 8);
        }
    }
}
