//! Gathers acknowledgements while the producers send, tells the watcher, keeps the interval log.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Failures, Moment, RunError, Shared, plan::Plan};
use crate::{
    hlog::{HlogError, IntervalLog},
    latency::{Latencies, Recorder},
    precondition,
    target::{Counters, Target},
    usage::Usage,
};

/// How often the watcher is told.
const TICK: Duration = Duration::from_millis(100);
/// Length of an interval of the histogram log and between looks at the disk's free space.
const INTERVAL: Duration = Duration::from_secs(1);

/// Gathers what the recorders hold, again and again.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    plan: &'a Plan,
    start: Instant,
    recorders: &'a [Arc<Recorder>],
    pub(super) total: Latencies,
    interval: Latencies,
    spare: Latencies,
    interval_from: Duration,
    records_before: (Duration, u64),
    rate: f64,
}

impl<'a> Gathering<'a> {
    /// `start` is that of the run.
    pub(super) fn new(plan: &'a Plan, start: Instant, recorders: &'a [Arc<Recorder>]) -> Self {
        Self {
            plan,
            start,
            recorders,
            total: Latencies::default(),
            interval: Latencies::default(),
            spare: Latencies::default(),
            interval_from: Duration::ZERO,
            records_before: (Duration::ZERO, 0),
            rate: 0.0,
        }
    }

    /// Watches until `finished`; what the engine did and the process used from the end of the warm-up
    /// until the end of the measured time.
    pub(super) fn watch(
        &mut self,
        target: &Target,
        hlog: &mut Option<IntervalLog>,
        shared: Shared<'_>,
        failures: &Failures,
        finished: &dyn Fn() -> bool,
        watch: &mut dyn FnMut(&Moment),
    ) -> Result<(Counters, Usage), RunError> {
        let at = |ns| self.start + Duration::from_nanos(ns);
        let mut marks = Marks::new(at(self.plan.measured_from_ns), self.plan.until_ns.map(at));
        // Without a warm-up nothing may happen before the first reading.
        if self.plan.measured_from_ns == 0 {
            marks.from = Some(Totals::now(target));
        }
        let mut given_up = false;
        while !finished() {
            let tick = Instant::now() + TICK;
            sleep_unless(marks.next().map_or(tick, |mark| mark.min(tick)), finished);
            marks.pass(target);
            self.gather();
            if self.total.failed > 0 {
                failures.note(self.total.failed);
            }
            // A full disk is tried again for as long as a producer is open, and its sender waits.
            if !given_up && (failures.any() || shared.stop.wished()) {
                target.give_up();
                given_up = true;
            }
            let elapsed = self.start.elapsed();
            if elapsed.saturating_sub(self.interval_from) >= INTERVAL {
                self.close_interval(elapsed, hlog)?;
                let free = precondition::free_bytes(shared.dir);
                if free.is_some_and(|free| free < precondition::SPARE_BYTES) {
                    return Err(RunError::DiskFull);
                }
            }
            watch(&self.moment(elapsed));
        }
        Ok(marks.between(target))
    }

    /// Takes what has come since the last time.
    pub(super) fn gather(&mut self) {
        for recorder in self.recorders {
            recorder.take(&mut self.spare);
            self.total.merge(&self.spare);
            self.interval.merge(&self.spare);
        }
    }

    fn close_interval(
        &mut self,
        elapsed: Duration,
        hlog: &mut Option<IntervalLog>,
    ) -> Result<(), HlogError> {
        if let Some(hlog) = hlog {
            hlog.write(self.interval_from, elapsed, &self.interval)?;
        }
        self.interval = Latencies::default();
        self.interval_from = elapsed;
        Ok(())
    }

    pub(super) fn finish(&mut self, hlog: &mut Option<IntervalLog>) -> Result<(), HlogError> {
        let elapsed = self.start.elapsed();
        self.close_interval(elapsed, hlog)?;
        hlog.take().map_or(Ok(()), IntervalLog::finish)
    }

    fn moment(&mut self, elapsed: Duration) -> Moment {
        let (before, records) = self.records_before;
        let passed = elapsed.saturating_sub(before).as_secs_f64();
        if passed >= 0.5 {
            self.rate = (self.total.records - records) as f64 / passed;
            self.records_before = (elapsed, self.total.records);
        }
        Moment {
            warming_up: (elapsed.as_nanos() as u64) < self.plan.measured_from_ns,
            done: self.plan.done(elapsed, self.total.records),
            rate: self.rate,
            recent_max_us: self.interval.response.max() as f64 / 1_000.0,
        }
    }
}

/// The engine's and the process's totals at one moment.
#[derive(Debug, Clone, Copy)]
struct Totals(Counters, Usage);

impl Totals {
    fn now(target: &Target) -> Self {
        Self(target.counters(), Usage::now())
    }
}

/// The two ends of the measured time, and the totals there once they have passed.
#[derive(Debug)]
struct Marks {
    from_at: Instant,
    until_at: Option<Instant>,
    from: Option<Totals>,
    until: Option<Totals>,
}

impl Marks {
    fn new(from_at: Instant, until_at: Option<Instant>) -> Self {
        Self { from_at, until_at, from: None, until: None }
    }

    /// The one that is still to come.
    fn next(&self) -> Option<Instant> {
        match (self.from, self.until) {
            (None, _) => Some(self.from_at),
            (Some(_), None) => self.until_at,
            (Some(_), Some(_)) => None,
        }
    }

    fn pass(&mut self, target: &Target) {
        if self.next().is_some_and(|mark| Instant::now() >= mark) {
            let totals = Some(Totals::now(target));
            if self.from.is_none() { self.from = totals } else { self.until = totals }
        }
    }

    /// What came between; up to now where the end has not passed, or where there is none.
    fn between(&self, target: &Target) -> (Counters, Usage) {
        let until = self.until.unwrap_or_else(|| Totals::now(target));
        let from = self.from.unwrap_or(until);
        (until.0.since(from.0), until.1.since(from.1))
    }
}

/// Sleeps until `wake`, in short steps that end when `finished`: a short run must not be made long.
fn sleep_unless(wake: Instant, finished: &dyn Fn() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    while !finished() {
        let left = wake.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(STEP));
    }
}
