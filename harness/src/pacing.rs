//! When each record leaves. The open loop follows a schedule that nothing slows down: a record that
//! could not leave in time is still counted from the time it was due.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{latency, tag::Stamps};

/// With this much time left a thread sleeps: a wake-up costs 5 to 60 µs on a virtual machine.
const SLEEP_FROM_NS: u64 = 150_000;
/// It sleeps until this much before the time, and spins for the rest.
const WAKE_EARLY_NS: u64 = 70_000;
/// Longest sleep, so that a stop is seen.
const LONGEST_SLEEP_NS: u64 = 50_000_000;
/// Records that share one clock read while the thread does not wait.
const RECORDS_PER_CLOCK_READ: u32 = 8;

/// The schedule of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Record `i` of this producer is due `(i · producers + producer) / rate` after the start, so
    /// that the records of all producers are evenly spread.
    Open {
        /// Records a second over all producers.
        rate: u64,
        /// Number of producers.
        producers: u64,
        /// Which one this is, from 0.
        producer: u64,
    },
    /// A record is due when the engine has taken the one before.
    Closed,
}

impl Schedule {
    /// When record `index` is due, in nanoseconds since the start. 0 in the closed loop.
    pub fn due_ns(self, index: u64) -> u64 {
        match self {
            Self::Open { rate, producers, producer } => {
                let nth = index * producers + producer;
                match nth.checked_mul(1_000_000_000) {
                    Some(product) => product / rate,
                    // Past 18 billion records; the wide division is ten times as slow.
                    None => (u128::from(nth) * 1_000_000_000 / u128::from(rate)) as u64,
                }
            }
            Self::Closed => 0,
        }
    }

    /// Number of this producer's records that are due before `ns`. 0 in the closed loop.
    pub fn due_before(self, ns: u64) -> u64 {
        match self {
            Self::Open { rate, producers, producer } => {
                let all = (u128::from(ns) * u128::from(rate)).div_ceil(1_000_000_000) as u64;
                let index = all.saturating_sub(producer).div_ceil(producers);
                // Due times are rounded down, so the next one may be due just before as well.
                index + u64::from(self.due_ns(index) < ns)
            }
            Self::Closed => 0,
        }
    }
}

/// Lets one producer's records go in time and keeps account of what the generator itself did wrong.
#[derive(Debug)]
pub struct Pacer {
    start: Instant,
    schedule: Schedule,
    may_spin: bool,
    index: u64,
    now_ns: u64,
    since_clock_read: u32,
    woke_ns: u64,
    has_waited: bool,
    lag: GeneratorLag,
}

/// How late the generator was by its own fault: a record that was due before the thread woke up for
/// it. Lateness because the engine held the thread is none of it: that is latency.
#[derive(Debug, Clone)]
pub struct GeneratorLag {
    /// Lag of each paced record, in nanoseconds.
    pub histogram: hdrhistogram::Histogram<u64>,
    /// Time spent spinning, in nanoseconds.
    pub spun_ns: u64,
    /// Time spent sleeping, in nanoseconds.
    pub slept_ns: u64,
}

impl Default for GeneratorLag {
    /// None.
    fn default() -> Self {
        Self { histogram: latency::histogram(), spun_ns: 0, slept_ns: 0 }
    }
}

impl GeneratorLag {
    /// Adds another producer's.
    pub fn merge(&mut self, other: &Self) {
        self.histogram += &other.histogram;
        self.spun_ns += other.spun_ns;
        self.slept_ns += other.slept_ns;
    }
}

impl Pacer {
    /// A pacer whose schedule starts at `start`. A thread that may not spin leaves its core to the
    /// engine and wakes up a little late instead; the lag shows it.
    pub fn new(start: Instant, schedule: Schedule, may_spin: bool) -> Self {
        Self {
            start,
            schedule,
            may_spin,
            index: 0,
            now_ns: 0,
            since_clock_read: RECORDS_PER_CLOCK_READ,
            woke_ns: 0,
            has_waited: false,
            lag: GeneratorLag::default(),
        }
    }

    /// Waits until the next record is due and says when that was and when it leaves. `None` when
    /// `stop` says so.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Stamps> {
        let due_ns = self.schedule.due_ns(self.index);
        self.index += 1;
        self.has_waited = false;
        match self.schedule {
            Schedule::Closed => {
                self.glance();
                if self.since_clock_read == 1 && stop() {
                    return None;
                }
                Some(Stamps { intended_ns: self.now_ns, actual_ns: self.now_ns })
            }
            Schedule::Open { .. } => {
                if due_ns > self.now_ns {
                    if !self.wait_until(due_ns, stop) {
                        return None;
                    }
                } else {
                    self.glance();
                    if self.since_clock_read == 1 && stop() {
                        return None;
                    }
                }
                self.lag.histogram.saturating_record(self.woke_ns.saturating_sub(due_ns));
                Some(Stamps { intended_ns: due_ns, actual_ns: self.now_ns.max(due_ns) })
            }
        }
    }

    /// Whether the last record had to be waited for.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Forgets the generator's account so far: the warm-up is over.
    pub fn restart_account(&mut self) {
        self.lag.histogram.reset();
        (self.lag.spun_ns, self.lag.slept_ns) = (0, 0);
    }

    /// The generator's own account, at the end.
    pub fn into_lag(self) -> GeneratorLag {
        self.lag
    }

    fn wait_until(&mut self, due_ns: u64, stop: &dyn Fn() -> bool) -> bool {
        self.read_clock();
        // The thread was not waiting: it was busy sending until just now, and is early.
        while self.now_ns < due_ns {
            if stop() {
                return false;
            }
            let left = due_ns - self.now_ns;
            if left > SLEEP_FROM_NS || !self.may_spin {
                let early = if self.may_spin { WAKE_EARLY_NS } else { 0 };
                let from = self.now_ns;
                thread::sleep(Duration::from_nanos((left - early).min(LONGEST_SLEEP_NS)));
                self.read_clock();
                self.lag.slept_ns += self.now_ns - from;
            } else {
                let from = self.now_ns;
                while self.now_ns < due_ns {
                    std::hint::spin_loop();
                    self.read_clock();
                }
                self.lag.spun_ns += self.now_ns - from;
            }
            self.woke_ns = self.now_ns;
            self.has_waited = true;
        }
        true
    }

    fn glance(&mut self) {
        if self.since_clock_read >= RECORDS_PER_CLOCK_READ {
            self.read_clock();
        }
        self.since_clock_read += 1;
    }

    fn read_clock(&mut self) {
        self.now_ns = self.start.elapsed().as_nanos() as u64;
        self.since_clock_read = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_spreads_the_producers_evenly() {
        let of = |producer| Schedule::Open { rate: 1_000, producers: 4, producer };
        let mut due: Vec<u64> =
            (0..4).flat_map(|p| (0..5).map(move |index| of(p).due_ns(index))).collect();
        due.sort_unstable();
        assert_eq!(due, (0..20).map(|n| n * 1_000_000).collect::<Vec<u64>>());
    }

    #[test]
    fn a_schedule_does_not_drift() {
        let schedule = Schedule::Open { rate: 3, producers: 1, producer: 0 };
        assert_eq!(schedule.due_ns(3_000_000), 1_000_000_000_000_000);
        assert_eq!(schedule.due_ns(1), 333_333_333);
    }

    #[test]
    fn what_is_due_by_a_time_is_counted() {
        for (rate, producers) in [(1_000, 1), (3, 1), (7, 3), (999_983, 2)] {
            for producer in 0..producers {
                let schedule = Schedule::Open { rate, producers, producer };
                for ns in [0, 1, 1_000_000, 333_333_333, 333_333_334, 1_000_000_000, 1_500_000_001]
                {
                    let count = schedule.due_before(ns);
                    assert!(count == 0 || schedule.due_ns(count - 1) < ns, "{schedule:?} {ns}");
                    assert!(schedule.due_ns(count) >= ns, "{schedule:?} {ns}");
                }
            }
        }
    }

    #[test]
    fn no_record_leaves_before_it_is_due_and_none_is_left_out() {
        for may_spin in [true, false] {
            let schedule = Schedule::Open { rate: 20_000, producers: 1, producer: 0 };
            let start = Instant::now();
            let mut pacer = Pacer::new(start, schedule, may_spin);
            for index in 0..400 {
                let stamps = pacer.next(&|| false).unwrap();
                assert_eq!(stamps.intended_ns, schedule.due_ns(index));
                assert!(stamps.actual_ns >= stamps.intended_ns);
                assert!(start.elapsed().as_nanos() as u64 >= stamps.intended_ns);
            }
            assert_eq!(pacer.into_lag().histogram.len(), 400);
        }
    }

    #[test]
    fn lateness_that_the_engine_caused_is_no_generator_lag() {
        let schedule = Schedule::Open { rate: 1_000_000, producers: 1, producer: 0 };
        let mut pacer = Pacer::new(Instant::now(), schedule, true);
        pacer.next(&|| false).unwrap();
        thread::sleep(Duration::from_millis(20));
        // The next thousands are due already: the "engine" held the thread for 20 ms.
        for _ in 0..10_000 {
            let stamps = pacer.next(&|| false).unwrap();
            assert!(stamps.actual_ns >= stamps.intended_ns);
        }
        let lag = pacer.into_lag();
        assert_eq!(lag.histogram.len(), 10_001);
        assert!(lag.histogram.value_at_quantile(0.9) <= 1_000, "the engine's fault, not ours");
    }

    #[test]
    fn a_stop_is_seen() {
        let slow = Schedule::Open { rate: 1, producers: 1, producer: 0 };
        // The first is due after 25 µs: the thread spins for it and never sleeps.
        let fast = Schedule::Open { rate: 80_000, producers: 3, producer: 2 };
        for schedule in [slow, fast, Schedule::Closed] {
            let mut pacer = Pacer::new(Instant::now(), schedule, true);
            let sent = std::iter::from_fn(|| pacer.next(&|| true)).take(100).count();
            assert!(sent <= 1, "{schedule:?}: {sent}");
        }
    }

    #[test]
    fn the_closed_loop_is_never_ahead_of_its_clock() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, Schedule::Closed, true);
        for _ in 0..1_000 {
            let stamps = pacer.next(&|| false).unwrap();
            assert_eq!(stamps.intended_ns, stamps.actual_ns);
            assert!(start.elapsed().as_nanos() as u64 >= stamps.actual_ns);
        }
    }
}
