//! Latencies of acknowledged records: stamped once a batch, kept in histograms of nanoseconds.
//!
//! At 2 to 8 million records a second a histogram entry a record would be felt. Records of a batch
//! share the moment of their acknowledgement, and records that left in one burst share their tag, so
//! runs of equal tags are entered as one.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use hdrhistogram::Histogram;

use crate::tag::{self, Stamps};

/// Significant digits of every histogram: 0.1 %.
const DIGITS: u8 = 3;

/// What a run's acknowledgements said, over some interval.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// From the intended send time to the acknowledgement, in nanoseconds.
    pub response: Histogram<u64>,
    /// From the actual send to the acknowledgement, in nanoseconds. Empty where the rate is `max`:
    /// there is no schedule, both are one, and `response` holds it.
    pub service: Histogram<u64>,
    /// Records acknowledged that count.
    pub records: u64,
    /// Records that failed, warm-up included.
    pub failed: u64,
    /// The first failure's words.
    pub failure: Option<String>,
    /// Latest acknowledgement that counts, in nanoseconds since the start.
    pub last_ns: u64,
}

impl Default for Latencies {
    /// None yet.
    fn default() -> Self {
        Self {
            response: histogram(),
            service: histogram(),
            records: 0,
            failed: 0,
            failure: None,
            last_ns: 0,
        }
    }
}

impl Latencies {
    /// Adds those of another interval or producer. Histograms are merged, never averaged.
    pub fn merge(&mut self, other: &Self) {
        self.response += &other.response;
        self.service += &other.service;
        self.records += other.records;
        self.failed += other.failed;
        self.last_ns = self.last_ns.max(other.last_ns);
        if self.failure.is_none() {
            self.failure.clone_from(&other.failure);
        }
    }

    fn clear(&mut self) {
        self.response.reset();
        self.service.reset();
        (self.records, self.failed, self.last_ns, self.failure) = (0, 0, 0, None);
    }

    fn enter(&mut self, stamps: Stamps, now_ns: u64, count: u64, open_loop: bool) {
        let response = now_ns.saturating_sub(stamps.intended_ns);
        self.response.saturating_record_n(response, count);
        if open_loop {
            let service = now_ns.saturating_sub(stamps.actual_ns);
            self.service.saturating_record_n(service, count);
        }
        self.records += count;
    }
}

/// An empty histogram that grows as needed.
///
/// # Panics
/// Never: its bounds are constants.
pub fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, DIGITS)
        .expect("constant bounds are valid");
    histogram.auto(true);
    histogram
}

/// Where one producer's acknowledgements arrive.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    measured_from_ns: u64,
    open_loop: bool,
    latencies: Mutex<Latencies>,
}

impl Recorder {
    /// Counts records whose intended time is `measured_from_ns` ([`tag::aligned`]) after `start` or
    /// later.
    ///
    /// # Panics
    /// When `measured_from_ns` is not aligned.
    pub fn new(start: Instant, measured_from_ns: u64, open_loop: bool) -> Self {
        assert_eq!(
            measured_from_ns,
            tag::aligned(measured_from_ns),
            "a tag can tell the two apart"
        );
        let latencies = Mutex::new(Latencies::default());
        Self { start, measured_from_ns, open_loop, latencies }
    }

    /// The records of one batch were acknowledged `at`: their tags, in the order of their sending.
    pub fn acknowledged(&self, tags: &[u64], at: Instant) {
        self.acknowledged_at(tags, at.saturating_duration_since(self.start).as_nanos() as u64);
    }

    /// The records of one batch have failed.
    pub fn failed(&self, records: u64, reason: &dyn std::fmt::Display) {
        let mut latencies = self.lock();
        latencies.failed += records;
        if latencies.failure.is_none() {
            latencies.failure = Some(reason.to_string());
        }
    }

    /// What came since the last call goes into `spare`, which is cleared before.
    pub fn take(&self, spare: &mut Latencies) {
        spare.clear();
        std::mem::swap(&mut *self.lock(), spare);
    }

    fn acknowledged_at(&self, tags: &[u64], now_ns: u64) {
        let mut latencies = self.lock();
        let mut counted = false;
        for run in tags.chunk_by(|a, b| a == b) {
            let stamps = Stamps::unpack(run[0]);
            if stamps.intended_ns >= self.measured_from_ns {
                latencies.enter(stamps, now_ns, run.len() as u64, self.open_loop);
                counted = true;
            }
        }
        if counted {
            latencies.last_ns = latencies.last_ns.max(now_ns);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Latencies> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(intended_ns: u64, actual_ns: u64) -> u64 {
        Stamps { intended_ns, actual_ns }.pack()
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_service_from_the_actual_one() {
        let recorder = Recorder::new(Instant::now(), 0, true);
        recorder.acknowledged_at(&[tag(128_000, 384_000); 3], 1_152_000);
        recorder.acknowledged_at(&[tag(256_000, 384_000)], 640_000);
        let mut taken = Latencies::default();
        recorder.take(&mut taken);
        assert_eq!((taken.records, taken.last_ns), (4, 1_152_000));
        assert_eq!((taken.response.len(), taken.service.len()), (4, 4));
        let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 500;
        assert!(near(taken.response.max(), 1_024_000) && near(taken.response.min(), 384_000));
        assert!(near(taken.service.max(), 768_000) && near(taken.service.min(), 256_000));
        recorder.take(&mut taken);
        assert_eq!((taken.records, taken.response.len()), (0, 0));
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let recorder = Recorder::new(Instant::now(), 1_000_064, false);
        recorder.acknowledged_at(&[tag(900_000, 900_000), tag(1_000_064, 1_000_064)], 2_000_000);
        let mut taken = Latencies::default();
        recorder.take(&mut taken);
        assert_eq!((taken.records, taken.response.len(), taken.service.len()), (1, 1, 0));
        recorder.acknowledged_at(&[tag(0, 0)], 3_000_000);
        recorder.take(&mut taken);
        assert_eq!((taken.records, taken.last_ns), (0, 0));
    }

    #[test]
    fn intervals_and_producers_are_merged() {
        let mut all = Latencies::default();
        for producer in 1..=3_u64 {
            let recorder = Recorder::new(Instant::now(), 0, true);
            recorder.acknowledged_at(&[tag(0, 0)], producer * 1_000_000);
            recorder.failed(2, &"disk full");
            let mut taken = Latencies::default();
            recorder.take(&mut taken);
            all.merge(&taken);
        }
        assert_eq!((all.records, all.failed, all.last_ns), (3, 6, 3_000_000));
        assert_eq!(all.failure.as_deref(), Some("disk full"));
        assert_eq!(all.response.len(), 3);
    }
}
