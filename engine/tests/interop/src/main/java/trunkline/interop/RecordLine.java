package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.Record;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The JSON line of a data record, built as bytes because a large folder has millions of them.
 * Field order, spacing and escapes are those of serde_json's compact form, so lines can be compared as bytes.
 */
final class RecordLine {
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);

    private final byte[] prefix;
    private byte[] line = new byte[4096];
    private int length;

    RecordLine(TopicPartition partition) {
        add("{\"topic\":");
        addString(partition.topic());
        add(",\"partition\":" + partition.partition() + ",\"offset\":");
        prefix = Arrays.copyOf(line, length);
    }

    /** Renders the record and its newline. The bytes are valid until the next call: see {@link #length}. */
    byte[] render(Record record) {
        length = 0;
        add(prefix);
        add(Long.toString(record.offset()));
        add(",\"timestamp\":");
        add(Long.toString(record.timestamp()));
        add(",\"key\":");
        addHex(record.key());
        add(",\"value\":");
        addHex(record.value());
        add(",\"headers\":[");
        String separator = "[";
        for (Header header : record.headers()) {
            add(separator);
            addString(header.key());
            add(",");
            addHex(header.value() == null ? null : ByteBuffer.wrap(header.value()));
            add("]");
            separator = ",[";
        }
        add("]}\n");
        return line;
    }

    int length() {
        return length;
    }

    private void addHex(ByteBuffer bytes) {
        if (bytes == null) {
            add("null");
            return;
        }
        reserve(2 * bytes.remaining() + 2);
        line[length++] = '"';
        for (int i = bytes.position(); i < bytes.limit(); i++) {
            byte b = bytes.get(i);
            line[length++] = HEX[(b >> 4) & 0xf];
            line[length++] = HEX[b & 0xf];
        }
        line[length++] = '"';
    }

    private void addString(String text) {
        StringBuilder escaped = new StringBuilder(text.length() + 2);
        Json.appendString(escaped, text);
        add(escaped.toString());
    }

    private void add(String text) {
        add(text.getBytes(StandardCharsets.UTF_8));
    }

    private void add(byte[] bytes) {
        reserve(bytes.length);
        System.arraycopy(bytes, 0, line, length, bytes.length);
        length += bytes.length;
    }

    private void reserve(int more) {
        if (line.length - length < more) {
            line = Arrays.copyOf(line, Math.max(2 * line.length, length + more));
        }
    }
}
