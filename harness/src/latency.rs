//! Latencies of acknowledged records: stamped once a batch, kept in histograms of nanoseconds.
//!
//! At 2 to 8 million records a second a histogram entry a record would be felt. Records of a batch
//! share the moment of their acknowledgement, and records that left in one burst share their tag, so
//! runs of equal tags are entered as one.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use hdrhistogram::Histogram;

use crate::{
    groups::{Group, Groups},
    tag::{self, Stamps},
};

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
    /// The records in `response`, by batch.
    pub groups: Groups,
    /// Records of the measured time that were acknowledged, whenever that was.
    pub records: u64,
    /// Records that were acknowledged within the measured time, whenever they were sent.
    pub acknowledged: u64,
    /// Records that failed, warm-up included.
    pub failed: u64,
    /// The first failure's words.
    pub failure: Option<String>,
    /// Latest acknowledgement of `records`, in nanoseconds since the start.
    pub last_ns: u64,
}

impl Default for Latencies {
    /// None yet.
    fn default() -> Self {
        Self {
            response: histogram(),
            service: histogram(),
            groups: Groups::default(),
            records: 0,
            acknowledged: 0,
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
        self.groups.merge(&other.groups);
        self.records += other.records;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.last_ns = self.last_ns.max(other.last_ns);
        if self.failure.is_none() {
            self.failure.clone_from(&other.failure);
        }
    }

    fn clear(&mut self) {
        self.response.reset();
        self.service.reset();
        self.groups = Groups::default();
        (self.records, self.acknowledged) = (0, 0);
        (self.failed, self.last_ns, self.failure) = (0, 0, None);
    }

    fn enter(
        &mut self,
        stamps: Stamps,
        now_ns: u64,
        count: u64,
        open_loop: bool,
        group: &mut Group,
    ) {
        let response = now_ns.saturating_sub(stamps.intended_ns);
        self.response.saturating_record_n(response, count);
        group.enter(response, count);
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
    start: OnceLock<Instant>,
    measured_from_ns: u64,
    until_ns: u64,
    open_loop: bool,
    latencies: Mutex<Latencies>,
}

impl Recorder {
    /// Keeps the latencies of records whose intended time is `measured_from_ns` ([`tag::aligned`])
    /// after the start or later, and counts the acknowledgements from then until `until_ns`; `None`:
    /// to the last one.
    ///
    /// # Panics
    /// When `measured_from_ns` is not aligned.
    pub fn new(measured_from_ns: u64, until_ns: Option<u64>, open_loop: bool) -> Self {
        assert_eq!(
            measured_from_ns,
            tag::aligned(measured_from_ns),
            "a tag can tell the two apart"
        );
        let latencies = Mutex::new(Latencies::default());
        let until_ns = until_ns.unwrap_or(u64::MAX);
        Self { start: OnceLock::new(), measured_from_ns, until_ns, open_loop, latencies }
    }

    /// The run starts; before that nothing is sent, and so nothing acknowledged.
    pub fn begin(&self, start: Instant) {
        self.start.get_or_init(|| start);
    }

    /// The records of one batch were acknowledged `at`: their tags, in the order of their sending.
    pub fn acknowledged(&self, tags: &[u64], at: Instant) {
        let start = *self.start.get_or_init(|| at);
        self.acknowledged_at(tags, at.saturating_duration_since(start).as_nanos() as u64);
    }

    /// Records were due, and at `now_ns` they are given up unsent. Their age is what is known of their
    /// latency; to leave them out would make a run look the better the later it is.
    pub fn given_up(&self, due_ns: impl Iterator<Item = u64>, now_ns: u64) {
        let mut latencies = self.lock();
        let mut group = Group::default();
        for due_ns in due_ns.filter(|due_ns| *due_ns >= self.measured_from_ns) {
            let age = now_ns.saturating_sub(due_ns);
            latencies.response.saturating_record(age);
            group.enter(age, 1);
        }
        latencies.groups.add(group);
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
        if (self.measured_from_ns..self.until_ns).contains(&now_ns) {
            latencies.acknowledged += tags.len() as u64;
        }
        let mut group = Group::default();
        let mut counted = false;
        for run in tags.chunk_by(|a, b| a == b) {
            let stamps = Stamps::unpack(run[0]);
            if stamps.intended_ns >= self.measured_from_ns {
                let count = run.len() as u64;
                latencies.enter(stamps, now_ns, count, self.open_loop, &mut group);
                counted = true;
            }
        }
        if counted {
            latencies.last_ns = latencies.last_ns.max(now_ns);
            latencies.groups.add(group);
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
        let recorder = Recorder::new(0, None, true);
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
        let recorder = Recorder::new(1_000_064, None, false);
        recorder.acknowledged_at(&[tag(900_000, 900_000), tag(1_000_064, 1_000_064)], 2_000_000);
        let mut taken = Latencies::default();
        recorder.take(&mut taken);
        assert_eq!((taken.records, taken.response.len(), taken.service.len()), (1, 1, 0));
        recorder.acknowledged_at(&[tag(0, 0)], 3_000_000);
        recorder.take(&mut taken);
        assert_eq!((taken.records, taken.last_ns), (0, 0));
    }

    #[test]
    fn throughput_counts_what_is_acknowledged_in_the_measured_time_whenever_it_was_sent() {
        let recorder = Recorder::new(128_000, Some(256_000), false);
        recorder.acknowledged_at(&[tag(0, 0); 5], 127_999);
        recorder.acknowledged_at(&[tag(0, 0); 3], 128_000);
        recorder.acknowledged_at(&[tag(128_000, 128_000); 2], 255_999);
        recorder.acknowledged_at(&[tag(255_000, 255_000); 7], 256_000);
        let mut taken = Latencies::default();
        recorder.take(&mut taken);
        assert_eq!((taken.acknowledged, taken.records), (3 + 2, 2 + 7));
        assert_eq!((taken.response.len(), taken.last_ns), (9, 256_000));
    }

    #[test]
    fn what_is_given_up_counts_with_its_age() {
        let recorder = Recorder::new(1_024, None, true);
        recorder.given_up([0, 1_024, 2_048].into_iter(), 10_001_024);
        let mut taken = Latencies::default();
        recorder.take(&mut taken);
        assert_eq!((taken.response.len(), taken.service.len(), taken.records), (2, 0, 0));
        assert!(taken.response.min() >= 9_990_000, "{}", taken.response.min());
    }

    #[test]
    fn intervals_and_producers_are_merged() {
        let mut all = Latencies::default();
        for producer in 1..=3_u64 {
            let recorder = Recorder::new(0, None, true);
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
