//! What follows from a workload once its start is known.

use std::{
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

/// Times and numbers that follow from the workload.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) start: Instant,
    pub(super) started: String,
    pub(super) start_ms: i64,
    pub(super) measured_from_ns: u64,
    pub(super) until_ns: Option<u64>,
    quota: Option<u64>,
    rate: Option<u64>,
    pub(super) producers: u64,
    pub(super) may_spin: bool,
}

impl Plan {
    pub(super) fn new(workload: &Workload, start: Instant) -> Self {
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
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start,
            started: date::rfc3339_now(),
            start_ms: since_1970.as_millis() as i64,
            measured_from_ns,
            until_ns,
            quota,
            rate,
            producers: u64::from(workload.producers),
            // One core at least stays the engine's.
            may_spin: (workload.producers as usize) < cores,
        }
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
