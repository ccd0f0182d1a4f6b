package trunkline.interop;

import java.util.Map;

/** A topic of one partition: its configuration and what is done to its log before the broker stops. */
record Fixture(String topic, Map<String, String> config, Content content) {
    interface Content {
        void fill(Partition partition) throws Exception;
    }
}
