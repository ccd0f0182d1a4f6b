//! The run itself: producers send by their schedules, acknowledgements are gathered, the moments
//! in between are told to whoever watches.

mod gathering;
mod lane;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use crate::{
    hlog::{HlogError, IntervalLog},
    keys::Keys,
    latency::{Latencies, Recorder},
    pacing::GeneratorLag,
    payload::Pool,
    rate::Rate,
    stop::Stop,
    target::{Counters, Target, TargetError},
    usage::Usage,
    workload::Workload,
};
use gathering::Gathering;
use lane::{Lane, LaneEnd};
use plan::Plan;

/// What a run needs.
#[derive(Debug)]
pub struct Job<'a> {
    /// What to do.
    pub workload: &'a Workload,
    /// The empty folder of the log.
    pub dir: &'a Path,
    /// The values.
    pub pool: &'a Pool,
    /// The keys.
    pub keys: &'a Keys,
    /// Where interval histograms go.
    pub hlog: Option<IntervalLog>,
    /// Bytes of memory that were touched for this run ([`crate::memory`]).
    pub memory_touched: u64,
    /// Whether the log is meant to stay: it then is closed cleanly.
    pub keep: bool,
    /// The wish to stop.
    pub stop: &'a Stop,
}

/// A moment of a run under way.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Whether the warm-up is still on.
    pub warming_up: bool,
    /// The part that is done, 0 to 1.
    pub done: f64,
    /// Records a second, lately.
    pub rate: f64,
    /// The slowest of lately, microseconds.
    pub recent_max_us: f64,
}

/// The raw figures of a finished run.
#[derive(Debug, Clone)]
pub struct Measured {
    /// When it began.
    pub started: String,
    /// End of the warm-up, nanoseconds after the start.
    pub from_ns: u64,
    /// End of the measured time, nanoseconds after the start; `None` where a number of records was
    /// asked for.
    pub until_ns: Option<u64>,
    /// Of all producers.
    pub latencies: Latencies,
    /// The engine's, in the measured time.
    pub counters: Counters,
    /// The process's, in the measured time, without pacing.
    pub usage: Usage,
    /// The generator's; `None` at rate `max`.
    pub lag: Option<GeneratorLag>,
    /// Records that were due in the measured time and not sent in it.
    pub unsent: u64,
    /// Bytes touched before.
    pub memory_touched: u64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The engine refused something.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Records were not acknowledged: nothing that was measured would count.
    #[error("{records} records failed, the first with: {reason}")]
    Delivery {
        /// How many.
        records: u64,
        /// The first one's error.
        reason: String,
    },
    /// The histogram log could not be written.
    #[error(transparent)]
    Hlog(#[from] HlogError),
    /// Stopped before the disk was full.
    #[error("the disk has less than 1GiB left: stopped")]
    DiskFull,
    /// Stopped by the user.
    #[error("stopped")]
    Interrupted,
}

/// Runs `job`, telling `watch` about ten times a second.
///
/// # Panics
/// When the rate is a percentage: a sweep resolves these before.
pub fn run(mut job: Job<'_>, watch: &mut dyn FnMut(&Moment)) -> Result<Measured, RunError> {
    let workload = job.workload;
    assert!(!matches!(workload.rate, Rate::PercentOfMax(_)), "a sweep resolves percentages");
    let target = Target::open(job.dir, &workload.topic())?;
    let plan = Plan::new(workload);
    let recorders: Vec<Arc<Recorder>> = (0..workload.producers)
        .map(|_| Recorder::new(plan.measured_from_ns, plan.until_ns, plan.is_open_loop()).into())
        .collect();
    let mut producers = Vec::new();
    for recorder in &recorders {
        producers.push(target.producer(&workload.producer(), recorder.clone())?);
    }

    let failures = Failures::default();
    let gate = Mutex::new(());
    let (mut gathering, outcome, ends) = thread::scope(|scope| {
        let (plan, shared, failures, gate) = (&plan, Shared::of(&job), &failures, &gate);
        // The clock starts when every thread has: their making is no lateness of anything.
        let closed = gate.lock();
        let (ready, all_ready) = mpsc::channel::<()>();
        let threads: Vec<_> = (0..)
            .zip(producers.into_iter().zip(&recorders))
            .map(|(index, (producer, recorder))| {
                let ready = ready.clone();
                scope.spawn(move || {
                    drop(ready);
                    drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
                    let Some(begun) = plan.begun() else { return Ok(LaneEnd::default()) };
                    recorder.begin(begun.start);
                    let lane = Lane::new(plan, begun, index, recorder.clone(), shared);
                    lane.run(producer, failures)
                })
            })
            .collect();
        drop(ready);
        while all_ready.recv().is_ok() {}
        let begun = plan.begin();
        if let Some(hlog) = &mut job.hlog {
            hlog.begin(begun.wall);
        }
        drop(closed);
        let mut gathering = Gathering::new(plan, begun.start, &recorders);
        let outcome = gathering.watch(
            &target,
            &mut job.hlog,
            shared,
            failures,
            &|| threads.iter().all(thread::ScopedJoinHandle::is_finished),
            watch,
        );
        if outcome.is_err() {
            failures.note(1);
            target.give_up();
        }
        let ends: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (gathering, outcome, ends)
    });
    let (counters, usage) = outcome?;
    gathering.gather();
    gathering.finish(&mut job.hlog)?;
    let failed = target.counters().failed;
    // What is removed anyway need not be synced first.
    let closed = if job.keep { target.close() } else { Ok(()) };
    if job.stop.wished() {
        return Err(RunError::Interrupted);
    }
    let latencies = gathering.total;
    if latencies.failed > 0 {
        let reason = latencies.failure.unwrap_or_default();
        return Err(RunError::Delivery { records: latencies.failed, reason });
    }

    let mut lag = GeneratorLag::default();
    let (mut unsent, mut spun_cpu_ns) = (0, 0);
    for end in ends {
        let end = end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        lag.merge(&end.lag);
        unsent += end.unsent;
        spun_cpu_ns += end.spun_cpu_ns;
    }
    if failed > 0 {
        let reason = "with acks 0 nobody hears why".into();
        return Err(RunError::Delivery { records: failed, reason });
    }
    closed?;
    Ok(Measured {
        started: plan.begin().started.clone(),
        from_ns: plan.measured_from_ns,
        until_ns: plan.until_ns,
        latencies,
        counters,
        usage: Usage { cpu_ns: usage.cpu_ns.saturating_sub(spun_cpu_ns), ..usage },
        lag: plan.is_open_loop().then_some(lag),
        unsent,
        memory_touched: job.memory_touched,
    })
}

/// What the producers' threads share.
#[derive(Debug, Clone, Copy)]
struct Shared<'a> {
    dir: &'a Path,
    pool: &'a Pool,
    keys: &'a Keys,
    stop: &'a Stop,
}

impl<'a> Shared<'a> {
    fn of(job: &Job<'a>) -> Self {
        Self { dir: job.dir, pool: job.pool, keys: job.keys, stop: job.stop }
    }
}

/// Set as soon as a run can no longer succeed, so that all threads end.
#[derive(Debug, Default)]
struct Failures(AtomicU64);

impl Failures {
    fn note(&self, records: u64) {
        self.0.fetch_add(records, Ordering::Relaxed);
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}
