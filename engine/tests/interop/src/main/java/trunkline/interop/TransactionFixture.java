package trunkline.interop;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.server.common.TransactionVersion;

import java.io.IOException;
import java.io.UncheckedIOException;

/** Three producers interleaved over several segments: commits, aborts, and one transaction left open. */
final class TransactionFixture {
    private static final int COORDINATOR_EPOCH = 11;

    private final Partition partition;
    private final Records records = new Records(5);

    static void fill(Partition partition) throws IOException {
        new TransactionFixture(partition).fill();
    }

    private TransactionFixture(Partition partition) {
        this.partition = partition;
    }

    /** Keeps count of one producer's sequence. */
    private static final class Sender {
        final long id;
        final boolean transactional;
        short epoch;
        int nextSequence = 0;

        Sender(long id, int epoch, boolean transactional) {
            this.id = id;
            this.epoch = (short) epoch;
            this.transactional = transactional;
        }
    }

    private void fill() throws IOException {
        Sender first = new Sender(4000, 0, true);
        Sender second = new Sender(4001, 2, true);
        Sender idempotent = new Sender(4002, 0, false);
        for (int round = 0; round < 8; round++) {
            send(first, 3);
            send(idempotent, 2);
            send(second, 4);
            send(first, 1);
            // Both orders of begin and end: a transaction inside another, and two that overlap.
            if (round % 2 == 0) {
                end(second, round % 4 == 0 ? ControlRecordType.ABORT : ControlRecordType.COMMIT);
                end(first, ControlRecordType.COMMIT);
            } else {
                end(first, round == 3 ? ControlRecordType.ABORT : ControlRecordType.COMMIT);
                send(second, 2);
                end(second, ControlRecordType.ABORT);
            }
            plain(2);
        }
        endAndBumpEpoch(first);
        send(idempotent, 5);
        send(second, 3);
        plain(1);
    }

    private void send(Sender sender, int count) throws IOException {
        Records.Producer producer =
            new Records.Producer(sender.id, sender.epoch, sender.nextSequence, sender.transactional);
        Compression codec = sender.id == 4001 ? Compression.zstd().build() : Compression.NONE;
        partition.append(Records.batch(codec, producer, records.rows(tick(), count, 12)), 0);
        sender.nextSequence += count;
    }

    private void plain(int count) throws IOException {
        partition.append(Records.batch(Compression.NONE, records.rows(tick(), count, 12)), 0);
    }

    private void end(Sender sender, ControlRecordType type) {
        MemoryRecords marker = marker(sender, type);
        partition.appendMarker(marker, 0, TransactionVersion.TV_0.featureLevel());
        // The index of aborted transactions records the stable offset, which the high watermark bounds.
        advanceHighWatermark();
    }

    /** A second-generation transaction ends in a higher epoch, and the producer's sequence starts over. */
    private void endAndBumpEpoch(Sender sender) throws IOException {
        send(sender, 2);
        sender.epoch++;
        sender.nextSequence = 0;
        partition.appendMarker(marker(sender, ControlRecordType.COMMIT), 0, TransactionVersion.TV_2.featureLevel());
        advanceHighWatermark();
        send(sender, 2);
        end(sender, ControlRecordType.COMMIT);
    }

    private MemoryRecords marker(Sender sender, ControlRecordType type) {
        return MemoryRecords.withEndTransactionMarker(tick(), sender.id, sender.epoch,
            new EndTransactionMarker(type, COORDINATOR_EPOCH));
    }

    private void advanceHighWatermark() {
        try {
            partition.log.updateHighWatermark(partition.log.logEndOffset());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private long tick() {
        partition.time.sleep(250);
        return partition.time.milliseconds();
    }
}
