package trunkline.interop;

import org.apache.kafka.common.utils.Time;

import java.util.function.Supplier;

/** A clock that moves only when told to, so that what Kafka writes does not depend on the day. */
final class FixedTime implements Time {
    private long nowMs;

    FixedTime(long nowMs) {
        this.nowMs = nowMs;
    }

    @Override
    public long milliseconds() {
        return nowMs;
    }

    @Override
    public long nanoseconds() {
        return nowMs * 1_000_000L;
    }

    @Override
    public void sleep(long ms) {
        nowMs += ms;
    }

    @Override
    public void waitObject(Object obj, Supplier<Boolean> condition, long deadlineMs) {
        throw new UnsupportedOperationException("nothing waits here");
    }
}
