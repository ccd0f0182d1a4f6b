package trunkline.interop;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** Collects what a check finds and prints it as it comes: faults fail the check, notes do not. */
final class Report {
    /** One broken index can hold a million wrong entries; the first few say it all. */
    private static final int MAX_FAULTS_A_FILE = 10;

    private final PrintStream out;
    private final Map<Path, Integer> faultsByFile = new HashMap<>();
    private int faults = 0;

    Report(PrintStream out) {
        this.out = out;
    }

    void fault(Path file, String message) {
        faults++;
        int ofThisFile = faultsByFile.merge(file, 1, Integer::sum);
        if (ofThisFile <= MAX_FAULTS_A_FILE) {
            out.println("FAULT " + file + ": " + message);
        } else if (ofThisFile == MAX_FAULTS_A_FILE + 1) {
            out.println("FAULT " + file + ": further faults of this file are not listed");
        }
    }

    void note(Path file, String message) {
        out.println("note " + file + ": " + message);
    }

    void line(String text) {
        out.println(text);
    }

    boolean clean() {
        return faults == 0;
    }
}
