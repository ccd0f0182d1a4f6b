package trunkline.interop;

import java.nio.file.Path;
import java.util.Arrays;

/** Entry point: one subcommand a run, exit code 0 only when it did all that was asked. */
public final class Main {
    private static final String USAGE = """
        usage: write DIR                      write a data folder as a cleanly stopped broker leaves it
               dump DIR                       one JSON line for each data record
               check [--unclean] DIR          let Kafka inspect and open every partition
               murmur2                        hash and partition vectors
               batches DIR                    golden single-batch files with a description of each
               append DIR TOPIC-PARTITION N   open a partition with Kafka and append N batches""";

    public static void main(String[] args) throws Exception {
        boolean checking = args.length > 0 && args[0].equals("check");
        // Read once, when Kafka's first logger is made.
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", checking ? "warn" : "off");
        System.exit(run(args));
    }

    private static int run(String[] args) throws Exception {
        String command = args.length == 0 ? "" : args[0];
        String[] rest = args.length == 0 ? args : Arrays.copyOfRange(args, 1, args.length);
        if (command.equals("write") && rest.length == 1) {
            return WriteCommand.run(Path.of(rest[0]));
        } else if (command.equals("dump") && rest.length == 1) {
            return DumpCommand.run(Path.of(rest[0]));
        } else if (command.equals("check") && rest.length == 1) {
            return CheckCommand.run(Path.of(rest[0]), false);
        } else if (command.equals("check") && rest.length == 2 && rest[0].equals("--unclean")) {
            return CheckCommand.run(Path.of(rest[1]), true);
        } else if (command.equals("murmur2") && rest.length == 0) {
            return Murmur2Command.run();
        } else if (command.equals("batches") && rest.length == 1) {
            return BatchesCommand.run(Path.of(rest[0]));
        } else if (command.equals("append") && rest.length == 3) {
            return AppendCommand.run(Path.of(rest[0]), rest[1], Integer.parseInt(rest[2]));
        }
        System.err.println(USAGE);
        return 2;
    }

    private Main() { }
}
