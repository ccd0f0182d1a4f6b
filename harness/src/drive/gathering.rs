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
    recorders: &'a [Arc<Recorder>],
    pub(super) total: Latencies,
    interval: Latencies,
    spare: Latencies,
    interval_from: Duration,
    records_before: (Duration, u64),
    rate: f64,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(plan: &'a Plan, recorders: &'a [Arc<Recorder>]) -> Self {
        Self {
            plan,
            recorders,
            total: Latencies::default(),
            interval: Latencies::default(),
            spare: Latencies::default(),
            interval_from: Duration::ZERO,
            records_before: (Duration::ZERO, 0),
            rate: 0.0,
        }
    }

    /// Watches until `finished`; the engine's and the process's totals at the end of the warm-up.
    pub(super) fn watch(
        &mut self,
        target: &Target,
        hlog: &mut Option<IntervalLog>,
        shared: Shared<'_>,
        failures: &Failures,
        finished: &dyn Fn() -> bool,
        watch: &mut dyn FnMut(&Moment),
    ) -> Result<(Counters, Usage), RunError> {
        let warm_at = self.plan.start + Duration::from_nanos(self.plan.measured_from_ns);
        let mut baseline = None;
        while !finished() {
            let now = Instant::now();
            let wake = match baseline {
                None => warm_at.min(now + TICK),
                Some(_) => now + TICK,
            };
            sleep_unless(wake, finished);
            if baseline.is_none() && Instant::now() >= warm_at {
                baseline = Some((target.counters(), Usage::now()));
            }
            self.gather();
            if self.total.failed > 0 {
                failures.note(self.total.failed);
            }
            let elapsed = self.plan.start.elapsed();
            if elapsed.saturating_sub(self.interval_from) >= INTERVAL {
                self.close_interval(elapsed, hlog)?;
                let free = precondition::free_bytes(shared.dir);
                if free.is_some_and(|free| free < precondition::SPARE_BYTES) {
                    return Err(RunError::DiskFull);
                }
            }
            watch(&self.moment(elapsed));
        }
        Ok(baseline.unwrap_or_else(|| (target.counters(), Usage::now())))
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
        let elapsed = self.plan.start.elapsed();
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
