package trunkline.interop;

import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** Just enough JSON to write: maps keep their order, byte arrays become hex. */
final class Json {
    /** A readable rendering for descriptions: one field a line on the outside, lists of objects one object a line. */
    static String pretty(Map<String, ?> fields) {
        StringBuilder out = new StringBuilder("{\n");
        String separator = "";
        for (Map.Entry<String, ?> field : fields.entrySet()) {
            out.append(separator).append("  ");
            appendString(out, field.getKey());
            out.append(": ");
            if (field.getValue() instanceof List<?> list && !list.isEmpty()) {
                appendLines(out, list);
            } else {
                append(out, field.getValue());
            }
            separator = ",\n";
        }
        return out.append("\n}\n").toString();
    }

    private static void appendLines(StringBuilder out, List<?> list) {
        String separator = "[\n    ";
        for (Object item : list) {
            out.append(separator);
            append(out, item);
            separator = ",\n    ";
        }
        out.append("\n  ]");
    }

    private static void append(StringBuilder out, Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof byte[] bytes) {
            out.append('"').append(HexFormat.of().formatHex(bytes)).append('"');
        } else if (value instanceof List<?> list) {
            String separator = "";
            out.append('[');
            for (Object item : list) {
                out.append(separator);
                append(out, item);
                separator = ", ";
            }
            out.append(']');
        } else if (value instanceof Map<?, ?> map) {
            String separator = "";
            out.append('{');
            for (Map.Entry<?, ?> field : map.entrySet()) {
                out.append(separator);
                appendString(out, field.getKey().toString());
                out.append(": ");
                append(out, field.getValue());
                separator = ", ";
            }
            out.append('}');
        } else {
            appendString(out, value.toString());
        }
    }

    /** Escapes what JSON demands and nothing else, as serde_json does. */
    static void appendString(StringBuilder out, String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> out.append("\\\"");
                case '\\' -> out.append("\\\\");
                case '\b' -> out.append("\\b");
                case '\f' -> out.append("\\f");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                default -> {
                    if (c < 0x20) {
                        out.append(String.format("\\u%04x", (int) c));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        out.append('"');
    }

    private Json() { }
}
