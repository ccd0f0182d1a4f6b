package trunkline.interop;

import org.apache.kafka.tools.DumpLogSegments;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Runs Kafka's DumpLogSegments on one file and turns what it prints into faults. The tool has no exit code and no API:
 * it prints problems among its output and throws only on some, so its streams are read line by line.
 */
final class DumpTool {
    /** Above this the tool is spared printing each record; it still decodes them all. */
    private static final long FULL_OUTPUT_BYTES = 64L << 20;

    /** What the tool prints to its standard output, within ordinary lines, when something is wrong. */
    private static final List<String> BAD_OUTPUT = List.of("isvalid: false", "isValid: false", " invalid bytes at the end of ");

    private static final String TIMESTAMP_MISMATCH = "Found timestamp mismatch in ";

    private static final Pattern GAP = Pattern.compile("  (-?\\d+) is followed by (-?\\d+)");

    private final Consumer<String> faults;

    private DumpTool(Consumer<String> faults) {
        this.faults = faults;
    }

    /** Reports each problem as the tool words it. The tool may create missing index files: give it a copy. */
    static void inspect(Path file, long size, boolean withTimeIndex, Consumer<String> faults) {
        DumpTool tool = new DumpTool(faults);
        String name = file.getFileName().toString();
        if (name.endsWith(".log")) {
            if (size <= FULL_OUTPUT_BYTES) {
                tool.run(file, "--deep-iteration");
            } else {
                tool.run(file, "--deep-iteration", "--skip-record-metadata");
            }
        } else if (name.endsWith(".index") || name.endsWith(".timeindex")) {
            // The sanity check alone ends before the entries are compared with the log, so both are run.
            tool.run(file, "--deep-iteration", "--index-sanity-check");
            if (withTimeIndex || name.endsWith(".index")) {
                tool.run(file, "--deep-iteration");
            }
        } else if (name.endsWith(".txnindex") || name.endsWith(".snapshot")) {
            tool.run(file, "--deep-iteration");
        }
    }

    private void run(Path file, String... options) {
        List<String> args = new ArrayList<>();
        Collections.addAll(args, options);
        Collections.addAll(args, "--files", file.toString());
        PrintStream out = System.out;
        PrintStream err = System.err;
        try (PrintStream outLines = LineSink.printingTo(this::output); PrintStream errLines = LineSink.printingTo(this::error)) {
            System.setOut(outLines);
            System.setErr(errLines);
            DumpLogSegments.main(args.toArray(String[]::new));
        } catch (Exception e) {
            faults.accept("DumpLogSegments " + String.join(" ", options) + " threw " + e);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
    }

    private void output(String line) {
        if (BAD_OUTPUT.stream().anyMatch(line::contains)) {
            faults.accept("DumpLogSegments: " + line);
        }
    }

    /**
     * Its error output is problems only, but for one thing: it counts offsets from 0 and calls every step but +1
     * non-consecutive, so that each later segment and each compacted one is listed. Only a step back is a fault.
     */
    private void error(String line) {
        Matcher gap = GAP.matcher(line);
        if (gap.matches()) {
            if (Long.parseLong(gap.group(2)) <= Long.parseLong(gap.group(1))) {
                faults.accept("DumpLogSegments: offset" + line);
            }
        } else if (!line.startsWith("Non-consecutive offsets in ") && !falseTimestampAlarm(line)) {
            faults.accept("DumpLogSegments: " + line.strip());
        }
    }

    /**
     * The tool takes the highest timestamp of the records, which is -1 for a batch that compaction emptied, though such a
     * batch keeps its own in the header. The headline is dropped with it: each real mismatch has a line of its own.
     */
    private static boolean falseTimestampAlarm(String line) {
        return line.startsWith(TIMESTAMP_MISMATCH) || line.endsWith(", log timestamp: -1");
    }
}
