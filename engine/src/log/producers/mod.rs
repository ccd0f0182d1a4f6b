//! What one partition remembers of its idempotent and transactional producers: epochs, sequences,
//! open transactions (Kafka: `ProducerStateManager`, `ProducerAppendInfo`).
//!
//! An append is checked whole before it is written and noted after:
//! [`ProducerStates::begin`] → [`ProducerAppend::check`] for each batch → the write →
//! [`ProducerStates::apply`]. A write that fails drops the [`ProducerAppend`] and nothing changed.
//! Batches without a producer id pass through all of it without a look-up or an allocation.

use std::collections::BTreeMap;

use crate::{record::BatchHeader, types::Offset};

mod append;
mod snapshot;
mod transactions;
mod window;

pub use crate::segment::AbortedTransaction;
pub use append::{Check, Origin, ProducerAppend, ProducerError};
pub use snapshot::{load_newest_snapshot, snapshot_offsets, snapshot_path};
pub use transactions::EndTransaction;
pub use window::{BatchMeta, Window};

use append::Event;
pub(super) use transactions::Transactions;

/// Epoch of a producer that is not known.
const NO_PRODUCER_EPOCH: i16 = -1;

/// What is known of one producer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The id, at least 0.
    pub producer_id: i64,
    /// Its latest epoch.
    pub epoch: i16,
    /// Term of the coordinator that last ended a transaction of it, −1 when none did.
    pub coordinator_epoch: i32,
    /// Largest timestamp of its last batch or marker, milliseconds.
    pub last_timestamp: i64,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
    /// Its last batches in this epoch.
    pub window: Window,
    /// When this engine last noted the producer, milliseconds of the wall clock.
    seen_ms: i64,
}

impl ProducerEntry {
    fn new(producer_id: i64) -> Self {
        Self {
            producer_id,
            epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: -1,
            transaction_start: None,
            window: Window::default(),
            seen_ms: 0,
        }
    }

    /// Sequence of the last record in this epoch, −1 when there is none.
    pub fn last_sequence(&self) -> i32 {
        self.window.last().map_or(-1, |batch| batch.last_sequence)
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.window.clear();
            self.epoch = epoch;
        }
    }
}

/// The producers of one partition, as of [`ProducerStates::end_offset`].
#[derive(Debug, Clone)]
pub struct ProducerStates {
    producers: BTreeMap<i64, ProducerEntry>,
    transactions: Transactions,
    end_offset: Offset,
    /// Counts the changes, so that an append is applied to what it was checked against.
    generation: u64,
}

impl ProducerStates {
    /// No producers known, as of `end_offset`: all batches before it are forgotten or none exist.
    pub fn new(end_offset: Offset) -> Self {
        Self {
            producers: BTreeMap::new(),
            transactions: Transactions::default(),
            end_offset,
            generation: 0,
        }
    }

    /// Starts to check an append.
    pub fn begin(&self, origin: Origin) -> ProducerAppend {
        ProducerAppend::new(origin, self.generation)
    }

    /// Notes an append that was checked and written: its batches reach up to `end_offset`, the
    /// log's new end; `now_ms` reads the wall clock, if a producer is to be noted. Gives the transactions that it aborted, for the
    /// `.txnindex`.
    ///
    /// # Panics
    /// Where the state has changed since [`ProducerStates::begin`], or `end_offset` goes back.
    pub fn apply(
        &mut self,
        append: ProducerAppend,
        end_offset: Offset,
        now_ms: impl FnOnce() -> i64,
    ) -> Vec<AbortedTransaction> {
        assert_eq!(append.generation, self.generation, "the append was checked against this state");
        assert!(
            end_offset >= self.end_offset,
            "end {end_offset} must not be before {}",
            self.end_offset
        );
        let mut aborted = Vec::new();
        for event in append.events {
            match event {
                Event::Started { producer_id, first_offset } => {
                    self.transactions.start(producer_id, first_offset);
                }
                Event::Ended { producer_id, first_offset, last_offset, aborted: was_aborted } => {
                    let last_stable_offset = self.transactions.end(first_offset, last_offset);
                    if was_aborted {
                        aborted.push(AbortedTransaction {
                            producer_id,
                            first_offset,
                            last_offset,
                            last_stable_offset,
                        });
                    }
                }
            }
        }
        if !append.changed.is_empty() {
            let seen_ms = now_ms();
            let noted = append.changed.into_iter();
            self.producers
                .extend(noted.map(|(id, entry)| (id, ProducerEntry { seen_ms, ..entry })));
        }
        self.end_offset = end_offset;
        self.generation += 1;
        aborted
    }

    /// Notes one batch that stands in the log already (recovery, and a follower's replay). Never
    /// refused; one that lies below [`ProducerStates::end_offset`] is noted already and passed over.
    pub fn replay(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransaction>,
        now_ms: i64,
    ) -> Vec<AbortedTransaction> {
        if header.next_offset() <= self.end_offset {
            return Vec::new();
        }
        let mut append = self.begin(Origin::Replication);
        if let Err(error) = append.check(self, header, header.base_offset, marker) {
            unreachable!("what the log holds is not refused: {error}");
        }
        self.apply(append, header.next_offset(), || now_ms)
    }

    /// What is known of a producer id.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.producers.values()
    }

    /// How many producer ids are known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer id is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// The log offset up to which batches are noted; a snapshot taken now bears it as its name.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Those that are open or not settled.
    pub(super) fn transactions(&self) -> &Transactions {
        &self.transactions
    }

    /// First offset of the oldest transaction that is open, or whose end is not below the high
    /// watermark yet.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.transactions.first_unstable()
    }

    /// Up to where readers of committed data may read: the first unstable offset that is not below
    /// `log_start`, at most the high watermark.
    pub fn last_stable_offset(&self, log_start: Offset, high_watermark: Offset) -> Offset {
        self.first_unstable_offset()
            .map_or(high_watermark, |first| first.max(log_start).min(high_watermark))
    }

    /// The high watermark rose: transactions whose end marker is below it are settled.
    pub fn high_watermark_moved(&mut self, high_watermark: Offset) {
        self.transactions.settle_below(high_watermark);
    }

    /// The log start rose: ended transactions below it are settled. Producers stay, though their
    /// batches are gone.
    pub fn log_start_moved(&mut self, log_start: Offset) {
        self.transactions.settle_below(log_start);
        if self.end_offset < log_start {
            self.end_offset = log_start;
            self.generation += 1;
        }
    }

    /// Forgets the producers that were idle for `expiration_ms` and have no open transaction; how
    /// many.
    ///
    /// Idle is counted from when this engine noted the batch or loaded the snapshot. Kafka counts
    /// from the batch's own timestamp, which a client sets as it likes: a producer that replays old
    /// records would be forgotten between its batches, and a repeated send stored twice.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, entry| {
            entry.transaction_start.is_some()
                || now_ms.saturating_sub(entry.seen_ms) < expiration_ms
        });
        let expired = before - self.producers.len();
        if expired > 0 {
            self.generation += 1;
        }
        expired
    }
}

#[cfg(test)]
mod tests;
