package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.record.internal.FileLogInputStream.FileChannelRecordBatch;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.storage.internals.log.LogFileUtils;

import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** {@code dump DIR}: every data record in the segment files, whatever the checkpoints say. Opens files only to read. */
final class DumpCommand {
    static int run(Path dir) throws IOException {
        boolean whole = true;
        try (OutputStream out = new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16)) {
            for (Map.Entry<TopicPartition, Path> partition : new DataFolder(dir).partitions().entrySet()) {
                RecordLine line = new RecordLine(partition.getKey());
                for (Path segment : segments(partition.getValue())) {
                    whole &= dumpSegment(segment, line, out);
                }
            }
        }
        return whole ? 0 : 1;
    }

    /** The segment files of a partition folder in offset order, which their zero-padded names are in. */
    static List<Path> segments(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(LogFileUtils.LOG_FILE_SUFFIX)).sorted().toList();
        }
    }

    private static boolean dumpSegment(Path segment, RecordLine line, OutputStream out) throws IOException {
        long read = 0;
        try (FileRecords records = FileRecords.open(segment.toFile(), false)) {
            for (FileChannelRecordBatch batch : records.batches()) {
                batch.ensureValid();
                read += batch.sizeInBytes();
                if (batch.isControlBatch()) {
                    continue;
                }
                for (Record record : batch) {
                    out.write(line.render(record), 0, line.length());
                }
            }
        } catch (RuntimeException e) {
            System.err.println(segment + ": " + e);
            return false;
        }
        long trailing = Files.size(segment) - read;
        if (trailing > 0) {
            System.err.println(segment + ": " + trailing + " bytes after the last whole batch");
        }
        return trailing == 0;
    }

    private DumpCommand() { }
}
