package trunkline.interop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.CRC32C;

/** A partition folder copied to a temporary place: opening a log writes to it, and so may Kafka's read-only tools. */
final class FolderCopy implements AutoCloseable {
    private final Path original;
    private final Path parent;
    private final Path folder;

    FolderCopy(Path original) throws IOException {
        this.original = original.toAbsolutePath();
        parent = Files.createTempDirectory("kafka-oracle");
        folder = Files.createDirectory(parent.resolve(original.getFileName()));
        for (Path file : files(original)) {
            Files.copy(file, folder.resolve(file.getFileName()));
        }
    }

    Path folder() {
        return folder;
    }

    /** A message about the copy as one about the original. */
    String inOriginalTerms(String message) {
        return message.replace(folder.toString(), original.toString()).replace(parent.toString(), original.getParent().toString());
    }

    Path inOriginal(Path file) {
        return original.resolve(folder.relativize(file));
    }

    void delete(String suffix) throws IOException {
        for (Path file : files()) {
            if (file.toString().endsWith(suffix)) {
                Files.delete(file);
            }
        }
    }

    List<Path> files() throws IOException {
        return files(folder);
    }

    /** A state to compare later: the content of small files, of segments the size. */
    SortedMap<String, String> fingerprint() throws IOException {
        SortedMap<String, String> state = new TreeMap<>();
        for (Path file : files()) {
            String content = Files.size(file) + " bytes";
            if (!file.toString().endsWith(".log")) {
                CRC32C crc = new CRC32C();
                crc.update(Files.readAllBytes(file));
                content += String.format(" crc32c %08x", crc.getValue());
            }
            state.put(file.getFileName().toString(), content);
        }
        return state;
    }

    /** What became of the files between two states, in words. */
    static List<String> changes(SortedMap<String, String> before, SortedMap<String, String> after) {
        List<String> changes = new ArrayList<>();
        before.forEach((name, content) -> {
            if (!after.containsKey(name)) {
                changes.add("removed " + name + " (" + content + ")");
            } else if (!after.get(name).equals(content)) {
                changes.add("changed " + name + " from " + content + " to " + after.get(name));
            }
        });
        after.forEach((name, content) -> {
            if (!before.containsKey(name)) {
                changes.add("added " + name + " (" + content + ")");
            }
        });
        return changes;
    }

    private static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(Files::isRegularFile).sorted().toList();
        }
    }

    @Override
    public void close() throws IOException {
        for (Path file : files()) {
            Files.delete(file);
        }
        Files.delete(folder);
        Files.delete(parent);
    }
}
