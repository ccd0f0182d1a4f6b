package trunkline.interop;

import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/** Hands each printed line to a consumer at once, so that output of any length passes through a line's memory. */
final class LineSink extends OutputStream {
    private final Consumer<String> consumer;
    private final ByteArrayOutputStream line = new ByteArrayOutputStream();

    private LineSink(Consumer<String> consumer) {
        this.consumer = consumer;
    }

    static PrintStream printingTo(Consumer<String> consumer) {
        return new PrintStream(new LineSink(consumer), false, StandardCharsets.UTF_8);
    }

    @Override
    public void write(int b) {
        if (b == '\n') {
            consumer.accept(line.toString(StandardCharsets.UTF_8));
            line.reset();
        } else {
            line.write(b);
        }
    }

    @Override
    public void write(byte[] bytes, int offset, int length) {
        int from = offset;
        for (int i = offset; i < offset + length; i++) {
            if (bytes[i] == '\n') {
                line.write(bytes, from, i - from);
                write('\n');
                from = i + 1;
            }
        }
        line.write(bytes, from, offset + length - from);
    }

    @Override
    public void close() {
        if (line.size() > 0) {
            write('\n');
        }
    }
}
