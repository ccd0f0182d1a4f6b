//! What follows from a workload once its start is known.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    date,
    pacing::Schedule,
    rate::Rate,
    tag,
    workload::{Extent, Workload},
};

/// Time between the start's announcement and the first record.
const HEAD_START: Duration = Duration::from_millis(5);
/// After the measured time, what was due in it is sent for this part of it, …
const GRACE_PART: u64 = 10;
/// … and for this long at least.
const LEAST_GRACE: Duration = Duration::from_millis(100);

/// Times and numbers that follow from the workload.
#[derive(Debug)]
pub(super) struct Plan {
    begun: OnceLock<Begun>,
    pub(super) measured_from_ns: u64,
    /// End of the measured time, where it has one.
    pub(super) until_ns: Option<u64>,
    /// When what is due before `until_ns` and not sent is given up.
    pub(super) give_up_ns: u64,
    quota: Option<u64>,
    rate: Option<u64>,
    pub(super) producers: u64,
    pub(super) may_spin: bool,
}

/// The start, by each clock.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) start: Instant,
    pub(super) wall: SystemTime,
    pub(super) started: String,
    pub(super) start_ms: i64,
}

impl Plan {
    pub(super) fn new(workload: &Workload) -> Self {
        let measured_from_ns = tag::aligned(workload.warmup.as_nanos() as u64);
        let (until_ns, quota) = match workload.extent {
            Extent::Records(records) => (None, Some(records)),
            Extent::Duration(duration) => {
                (Some(measured_from_ns + duration.as_nanos() as u64), None)
            }
        };
        let rate = match workload.rate {
            Rate::PerSecond(rate) => Some(rate),
            Rate::Max | Rate::PercentOfMax(_) => None,
        };
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let grace = |until: u64| {
            let part = (until - measured_from_ns) / GRACE_PART;
            part.max(LEAST_GRACE.as_nanos() as u64)
        };
        Self {
            begun: OnceLock::new(),
            measured_from_ns,
            until_ns,
            give_up_ns: until_ns.map_or(u64::MAX, |until| until + grace(until)),
            quota,
            rate,
            producers: u64::from(workload.producers),
            // One core at least stays the engine's.
            may_spin: (workload.producers as usize) < cores,
        }
    }

    /// Everything is ready: the run starts in a moment.
    pub(super) fn begin(&self) -> &Begun {
        self.begun.get_or_init(|| {
            let wall = SystemTime::now() + HEAD_START;
            Begun {
                start: Instant::now() + HEAD_START,
                wall,
                started: date::rfc3339_now(),
                start_ms: wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
            }
        })
    }

    /// The start, once there is one.
    pub(super) fn begun(&self) -> Option<&Begun> {
        self.begun.get()
    }

    pub(super) fn is_open_loop(&self) -> bool {
        self.rate.is_some()
    }

    pub(super) fn schedule(&self, producer: u64) -> Schedule {
        match self.rate {
            Some(rate) => Schedule::Open { rate, producers: self.producers, producer },
            None => Schedule::Closed,
        }
    }

    /// Measured records of one producer, where their number is given.
    pub(super) fn quota_of(&self, producer: u64) -> Option<u64> {
        let quota = self.quota?;
        Some(quota / self.producers + u64::from(producer < quota % self.producers))
    }

    /// The part that is done at `elapsed`, with `records` measured so far.
    pub(super) fn done(&self, elapsed: Duration, records: u64) -> f64 {
        match (self.quota, self.until_ns) {
            (Some(quota), _) => records as f64 / quota.max(1) as f64,
            (None, Some(until)) => elapsed.as_nanos() as f64 / until.max(1) as f64,
            (None, None) => 0.0,
        }
        .min(1.0)
    }
}
