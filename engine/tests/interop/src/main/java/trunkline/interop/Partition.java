package trunkline.interop;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogAppendInfo;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/** One of Kafka's partition logs, opened as a broker's log manager opens it but with our clock and scheduler. */
final class Partition implements AutoCloseable {
    /** Well above any age a producer id reaches here, so that none is forgotten on opening. */
    private static final int PRODUCER_ID_EXPIRATION_MS = Integer.MAX_VALUE;

    final UnifiedLog log;
    final FixedTime time;
    private final ManualScheduler scheduler = new ManualScheduler();

    /** What a broker knows of a log before it opens it. */
    record Start(long logStartOffset, long recoveryPoint, boolean cleanShutdown) {
        static final Start EMPTY = new Start(0, 0, true);
    }

    Partition(Path folder, Map<String, String> config, Start start, FixedTime time,
              Optional<Uuid> topicId) throws IOException {
        this.time = time;
        this.log = UnifiedLog.create(
            folder.toFile(),
            new LogConfig(config),
            start.logStartOffset(),
            start.recoveryPoint(),
            scheduler,
            new BrokerTopicStats(),
            time,
            15 * 60 * 1000,
            new ProducerStateManagerConfig(PRODUCER_ID_EXPIRATION_MS, false),
            60_000,
            new LogDirFailureChannel(1),
            start.cleanShutdown(),
            topicId);
    }

    TopicPartition name() {
        return log.topicPartition();
    }

    LogAppendInfo append(MemoryRecords records, int leaderEpoch) throws IOException {
        return log.appendAsLeader(records, leaderEpoch);
    }

    /** Appends an end-of-transaction marker as the transaction coordinator would. */
    void appendMarker(MemoryRecords marker, int leaderEpoch, short transactionVersion) {
        log.appendAsLeader(marker, leaderEpoch, AppendOrigin.COORDINATOR, RequestLocal.noCaching(),
            VerificationGuard.SENTINEL, transactionVersion);
    }

    void runBackgroundWork() {
        scheduler.runAll();
    }

    /** Closes as a stopping broker does: flush with the active segment, close, then let delayed deletions happen. */
    @Override
    public void close() {
        log.flush(true);
        log.close();
        scheduler.runAll();
    }
}
