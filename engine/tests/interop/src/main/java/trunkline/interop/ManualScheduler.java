package trunkline.interop;

import org.apache.kafka.server.util.Scheduler;

import java.util.ArrayDeque;
import java.util.concurrent.Delayed;
import java.util.concurrent.FutureTask;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/**
 * Keeps Kafka's background work (flushes, delayed file deletions) until {@link #runAll}, whatever its delay.
 * Periodic work is dropped: nothing here runs long enough to need it.
 */
final class ManualScheduler implements Scheduler {
    private final ArrayDeque<Task> waiting = new ArrayDeque<>();

    @Override
    public ScheduledFuture<?> schedule(String name, Runnable work, long delayMs, long periodMs) {
        Task task = new Task(work, delayMs);
        if (periodMs < 0) {
            waiting.add(task);
        }
        return task;
    }

    void runAll() {
        for (Task task = waiting.poll(); task != null; task = waiting.poll()) {
            task.runOrThrow();
        }
    }

    @Override
    public void startup() { }

    @Override
    public void shutdown() {
        runAll();
    }

    @Override
    public void resizeThreadPool(int newSize) { }

    private static final class Task extends FutureTask<Void> implements ScheduledFuture<Void> {
        private final long delayMs;

        Task(Runnable work, long delayMs) {
            super(work, null);
            this.delayMs = delayMs;
        }

        void runOrThrow() {
            run();
            if (!isCancelled()) {
                try {
                    get();
                } catch (Exception e) {
                    throw new IllegalStateException("Kafka's background work failed", e);
                }
            }
        }

        @Override
        public long getDelay(TimeUnit unit) {
            return unit.convert(delayMs, TimeUnit.MILLISECONDS);
        }

        @Override
        public int compareTo(Delayed other) {
            return Long.compare(getDelay(TimeUnit.MILLISECONDS), other.getDelay(TimeUnit.MILLISECONDS));
        }
    }
}
