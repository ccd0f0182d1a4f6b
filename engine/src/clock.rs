//! Time behind a seam, so that a simulation can own it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::time::ClockId;

/// Where the engine reads time from. Timers use [`Clock::monotonic`]; only record timestamps and
/// retention use the wall clock, which may jump.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall clock: milliseconds since 1970-01-01 UTC, as in a record's timestamp.
    fn wall_ms(&self) -> i64;
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        // Once a record, and so without the detour over `SystemTime` and `Duration`.
        let now = rustix::time::clock_gettime(ClockId::Realtime);
        now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    start_ms: i64,
    elapsed_us: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `wall_ms`.
    pub fn new(wall_ms: i64) -> Self {
        Self { start_ms: wall_ms, elapsed_us: AtomicU64::new(0) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.elapsed_us.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> i64 {
        self.start_ms + (self.elapsed_us.load(Ordering::SeqCst) / 1000) as i64
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.elapsed_us.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(1_000);
        assert_eq!((clock.wall_ms(), clock.monotonic()), (1_000, Duration::ZERO));
        clock.advance(Duration::from_micros(2_500));
        assert_eq!((clock.wall_ms(), clock.monotonic()), (1_002, Duration::from_micros(2_500)));
    }

    #[test]
    fn the_system_clock_is_past_2020() {
        assert!(SystemClock::new().wall_ms() > 1_577_836_800_000);
    }
}
