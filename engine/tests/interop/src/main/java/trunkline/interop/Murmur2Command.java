package trunkline.interop;

import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;

/** {@code murmur2}: lines of key in hex ({@code -} if empty), signed hash, partition of 7. */
final class Murmur2Command {
    private static final int PARTITIONS = 7;

    static int run() {
        StringBuilder out = new StringBuilder();
        for (byte[] key : keys()) {
            out.append(key.length == 0 ? "-" : HexFormat.of().formatHex(key))
                .append(' ').append(Utils.murmur2(key))
                .append(' ').append(BuiltInPartitioner.partitionForKey(key, PARTITIONS))
                .append('\n');
        }
        System.out.print(out);
        return 0;
    }

    private static List<byte[]> keys() {
        List<byte[]> keys = new ArrayList<>();
        Random random = new Random(2);
        for (int length = 0; length <= 64; length++) {
            for (int copy = 0; copy < (length == 0 ? 1 : 3); copy++) {
                keys.add(bytes(random, length));
            }
        }
        // The tail bytes of a key are widened to ints: a sign extension there shows only above 0x7f.
        for (int length = 1; length <= 16; length++) {
            keys.add(filled(length, 0xff));
            keys.add(filled(length, 0x80));
            keys.add(filled(length, 0x00));
        }
        for (int b = 0; b < 256; b += 15) {
            keys.add(new byte[] {(byte) b});
        }
        for (String text : List.of("key", "user-42", "21", "foobar", "a-little-bit-long-string",
                "a-little-bit-longer-string", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                "größe", "ключ", "キー", "🔑🔑", "\u0000", "é", "e\u0301", "naïve café", "Straße 7", "emoji 🚂 train")) {
            keys.add(text.getBytes(StandardCharsets.UTF_8));
        }
        for (int length : new int[] {127, 128, 129, 255, 1000, 1023, 4096}) {
            keys.add(bytes(random, length));
        }
        return keys;
    }

    private static byte[] bytes(Random random, int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return bytes;
    }

    private static byte[] filled(int length, int value) {
        byte[] bytes = new byte[length];
        Arrays.fill(bytes, (byte) value);
        return bytes;
    }

    private Murmur2Command() { }
}
