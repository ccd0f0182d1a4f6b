//! What a producer did so far.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::queue::Figures;
use crate::metrics::Counter;

/// A producer's counts since it was made. Records and bytes are those of acknowledged batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerMetrics {
    /// Records in the log.
    pub records: u64,
    /// Batches in the log.
    pub batches: u64,
    /// Bytes of these batches before compression, headers included.
    pub raw_bytes: u64,
    /// Bytes of these batches as they stand in the log.
    pub log_bytes: u64,
    /// Sum over batches of the time from the first record to the hand-over to the log.
    pub queue_time: Duration,
    /// Longest such time.
    pub queue_time_max: Duration,
    /// Batches that were tried again, counted each time.
    pub retries: u64,
    /// Batches that were split because they were too large for the topic.
    pub splits: u64,
    /// Records that failed, those that expired included.
    pub failed_records: u64,
    /// Records that failed because `delivery.timeout.ms` was over.
    pub expired_records: u64,
    /// Times that `send` or `send_async` found no memory and waited.
    pub memory_waits: u64,
    /// `buffer.memory`, bytes.
    pub buffer_total: u64,
    /// Bytes of it that are free now.
    pub buffer_available: u64,
    /// Senders that wait for memory now.
    pub waiting: u64,
    /// `batch.size`, bytes.
    pub batch_size: u64,
}

impl ProducerMetrics {
    /// Mean bytes of a batch before compression; 0 without batches.
    pub fn average_batch_bytes(&self) -> f64 {
        ratio(self.raw_bytes, self.batches)
    }

    /// Mean records of a batch; 0 without batches.
    pub fn average_batch_records(&self) -> f64 {
        ratio(self.records, self.batches)
    }

    /// Mean share of `batch.size` that a batch takes before compression; above 1 where records are
    /// larger than a batch.
    pub fn average_batch_fill(&self) -> f64 {
        ratio(self.raw_bytes, self.batches * self.batch_size.max(1))
    }

    /// How many times smaller compression made the batches: bytes before divided by bytes after.
    /// (Kafka's metric is the inverse.) 1 without batches.
    pub fn compression_ratio(&self) -> f64 {
        if self.log_bytes == 0 { 1.0 } else { ratio(self.raw_bytes, self.log_bytes) }
    }

    /// Mean time from a batch's first record to its hand-over to the log.
    pub fn average_queue_time(&self) -> Duration {
        let nanos = self.queue_time.as_nanos() / u128::from(self.batches.max(1));
        Duration::from_nanos(nanos as u64)
    }
}

fn ratio(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

/// The counters behind [`ProducerMetrics`]; touched once a batch.
#[derive(Debug, Default)]
pub(super) struct Counters {
    records: Counter,
    batches: Counter,
    raw_bytes: Counter,
    log_bytes: Counter,
    queue_nanos: Counter,
    queue_nanos_max: AtomicU64,
    pub(super) retries: Counter,
    pub(super) splits: Counter,
    pub(super) failed_records: Counter,
    pub(super) expired_records: Counter,
    pub(super) memory_waits: Counter,
}

impl Counters {
    /// A batch is acknowledged; it was handed over to the log `queued` after its first record.
    pub(super) fn acknowledged(&self, figures: Figures, queued: Duration) {
        self.records.add(figures.records);
        self.batches.add(1);
        self.raw_bytes.add(figures.raw_bytes);
        self.log_bytes.add(figures.log_bytes);
        let nanos = queued.as_nanos() as u64;
        self.queue_nanos.add(nanos);
        self.queue_nanos_max.fetch_max(nanos, Ordering::Relaxed);
    }

    /// The counts now; what is not counted here is 0.
    pub(super) fn snapshot(&self) -> ProducerMetrics {
        let longest = self.queue_nanos_max.load(Ordering::Relaxed);
        ProducerMetrics {
            records: self.records.get(),
            batches: self.batches.get(),
            raw_bytes: self.raw_bytes.get(),
            log_bytes: self.log_bytes.get(),
            queue_time: Duration::from_nanos(self.queue_nanos.get()),
            queue_time_max: Duration::from_nanos(longest),
            retries: self.retries.get(),
            splits: self.splits.get(),
            failed_records: self.failed_records.get(),
            expired_records: self.expired_records.get(),
            memory_waits: self.memory_waits.get(),
            ..ProducerMetrics::default()
        }
    }
}
