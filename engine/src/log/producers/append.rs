//! Checks the batches of one append against the producers' state, one after the other, as if those
//! before had been stored already.

use std::collections::BTreeMap;

use super::{
    BatchMeta, EndTransaction, NO_PRODUCER_EPOCH, ProducerEntry, ProducerStates,
    window::{follows, sequence_after},
};
use crate::{record::BatchHeader, types::Offset};

/// Where an append comes from, and so how much of it is checked (Kafka: `AppendOrigin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A producer sent it to this leader: epochs and sequences are checked, repetitions found.
    Client,
    /// A coordinator on this leader made it: epochs are checked; it has no sequences.
    Coordinator,
    /// It stands in a log already, the leader's or our own: noted, never refused.
    Replication,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Store it.
    New,
    /// It is stored already: acknowledge the first copy and store nothing.
    Duplicate {
        /// Offset of the first copy's first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its largest timestamp, milliseconds.
        timestamp: i64,
    },
}

/// Why a batch is refused. `offset` is where it would have been stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A later epoch of this producer was seen: this instance is fenced.
    #[error(
        "producer {producer_id} at offset {offset}: epoch {found} is fenced by epoch {current}"
    )]
    InvalidEpoch {
        /// The producer.
        producer_id: i64,
        /// Where the batch would have been stored.
        offset: Offset,
        /// The batch's epoch.
        found: i16,
        /// The latest epoch that was seen.
        current: i16,
    },
    /// A batch before this one is missing, or it is an old repetition that is no longer remembered.
    #[error(
        "producer {producer_id} at offset {offset}: epoch {epoch} must go on with sequence \
         {expected}, found {found}"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// Where the batch would have been stored.
        offset: Offset,
        /// The batch's epoch.
        epoch: i16,
        /// The sequence that must come next.
        expected: i32,
        /// The batch's base sequence.
        found: i32,
    },
    /// A batch that bears a producer id needs an epoch and a sequence.
    #[error(
        "producer {producer_id} at offset {offset}: epoch and sequence must be at least 0, found \
         {epoch} and {sequence}"
    )]
    NoSequence {
        /// The producer.
        producer_id: i64,
        /// Where the batch would have been stored.
        offset: Offset,
        /// The batch's epoch.
        epoch: i16,
        /// The batch's base sequence.
        sequence: i32,
    },
    /// The producer's transaction is open, and the batch is not part of it.
    #[error(
        "producer {producer_id} at offset {offset}: its transaction, open since offset \
         {transaction_start}, takes transactional batches only"
    )]
    NotInTransaction {
        /// The producer.
        producer_id: i64,
        /// Where the batch would have been stored.
        offset: Offset,
        /// First offset of the open transaction.
        transaction_start: Offset,
    },
    /// A later coordinator has ended a transaction of this producer: the marker's is fenced.
    #[error(
        "producer {producer_id} at offset {offset}: transaction marker of coordinator epoch \
         {found} is fenced by epoch {current}"
    )]
    CoordinatorFenced {
        /// The producer.
        producer_id: i64,
        /// Where the marker would have been stored.
        offset: Offset,
        /// The marker's coordinator epoch.
        found: i32,
        /// The latest coordinator epoch that was seen.
        current: i32,
    },
}

/// What happens to a transaction once the append is stored; in the order of the log.
#[derive(Debug)]
pub(super) enum Event {
    Started { producer_id: i64, first_offset: Offset },
    Ended { producer_id: i64, first_offset: Offset, last_offset: Offset, aborted: bool },
}

/// An append under check: the state as it will be, laid over the state as it is. Neither
/// collection allocates before a batch with a producer id is checked.
#[derive(Debug)]
pub struct ProducerAppend {
    origin: Origin,
    pub(super) generation: u64,
    pub(super) changed: BTreeMap<i64, ProducerEntry>,
    pub(super) events: Vec<Event>,
}

impl ProducerAppend {
    pub(super) fn new(origin: Origin, generation: u64) -> Self {
        Self { origin, generation, changed: BTreeMap::new(), events: Vec::new() }
    }

    /// Whether a transaction begins or ends with it.
    pub(in crate::log) fn changes_transactions(&self) -> bool {
        !self.events.is_empty()
    }

    /// Checks the next batch, which would be stored from `base_offset` on (the header's own base
    /// offset is not looked at). `states` must be the one that [`ProducerStates::begin`] was called
    /// on, unchanged. `marker` is what a control batch holds; `None` for a data batch and for a
    /// control batch whose record was compacted away.
    ///
    /// After an error the append as a whole is to be refused.
    ///
    /// # Panics
    /// Where `states` has changed since.
    pub fn check(
        &mut self,
        states: &ProducerStates,
        header: &BatchHeader,
        base_offset: Offset,
        marker: Option<EndTransaction>,
    ) -> Result<Check, ProducerError> {
        // As Kafka, which takes every negative id for none.
        if header.producer_id < 0 {
            return Ok(Check::New);
        }
        assert_eq!(self.generation, states.generation, "the state is the one that was begun on");
        let id = header.producer_id;
        let known = self.changed.get(&id).or_else(|| states.producers.get(&id)).copied();
        if header.attributes.is_control() {
            if let Some(marker) = marker {
                let entry = known.unwrap_or_else(|| ProducerEntry::new(id));
                self.end_transaction(entry, header, base_offset, marker)?;
            }
            return Ok(Check::New);
        }
        if self.origin == Origin::Client {
            if twin!(RepeatsAccepted) {
                return Ok(Check::New);
            }
            if let Some(first_copy) = known.and_then(|entry| find_duplicate(&entry, header)) {
                return Ok(first_copy);
            }
            check_sequence(known.as_ref(), header, base_offset)?;
        }
        let entry = known.unwrap_or_else(|| ProducerEntry::new(id));
        self.add_batch(entry, header, base_offset)?;
        Ok(Check::New)
    }

    fn add_batch(
        &mut self,
        mut entry: ProducerEntry,
        header: &BatchHeader,
        base_offset: Offset,
    ) -> Result<(), ProducerError> {
        self.check_epoch(&entry, header, base_offset)?;
        let producer_id = entry.producer_id;
        entry.set_epoch(header.producer_epoch);
        entry.window.push(BatchMeta {
            last_sequence: header.last_sequence(),
            last_offset: base_offset + header.last_offset_delta as i64,
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        entry.last_timestamp = header.max_timestamp;
        match (entry.transaction_start, header.attributes.is_transactional()) {
            (Some(transaction_start), false) if self.origin != Origin::Replication => {
                let offset = base_offset;
                return Err(ProducerError::NotInTransaction {
                    producer_id,
                    offset,
                    transaction_start,
                });
            }
            (None, true) => {
                entry.transaction_start = Some(base_offset);
                self.events.push(Event::Started { producer_id, first_offset: base_offset });
            }
            _ => {}
        }
        self.changed.insert(producer_id, entry);
        Ok(())
    }

    fn end_transaction(
        &mut self,
        mut entry: ProducerEntry,
        header: &BatchHeader,
        base_offset: Offset,
        marker: EndTransaction,
    ) -> Result<(), ProducerError> {
        let producer_id = entry.producer_id;
        // The same marker sent again after its transaction ended is stored once more, harmlessly
        // (KAFKA-19999).
        let stale = marker.raises_epoch
            && header.producer_epoch == entry.epoch
            && entry.transaction_start.is_some();
        if stale && self.origin != Origin::Replication {
            return Err(invalid_epoch(&entry, header, base_offset));
        }
        self.check_epoch(&entry, header, base_offset)?;
        let (found, current) = (marker.coordinator_epoch, entry.coordinator_epoch);
        if found < current {
            let offset = base_offset;
            let error = ProducerError::CoordinatorFenced { producer_id, offset, found, current };
            self.refuse(error)?;
        }
        if let Some(first_offset) = entry.transaction_start.take() {
            self.events.push(Event::Ended {
                producer_id,
                first_offset,
                last_offset: base_offset,
                aborted: marker.aborted,
            });
        }
        entry.set_epoch(header.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = header.max_timestamp;
        self.changed.insert(producer_id, entry);
        Ok(())
    }

    fn check_epoch(
        &self,
        entry: &ProducerEntry,
        header: &BatchHeader,
        base_offset: Offset,
    ) -> Result<(), ProducerError> {
        if header.producer_epoch < entry.epoch {
            self.refuse(invalid_epoch(entry, header, base_offset))?;
        }
        Ok(())
    }

    /// What is in the log already is said and taken; all else is refused.
    fn refuse(&self, error: ProducerError) -> Result<(), ProducerError> {
        if self.origin != Origin::Replication {
            return Err(error);
        }
        tracing::warn!(%error, "the log holds a batch that a leader refuses");
        Ok(())
    }
}

fn invalid_epoch(entry: &ProducerEntry, header: &BatchHeader, offset: Offset) -> ProducerError {
    ProducerError::InvalidEpoch {
        producer_id: entry.producer_id,
        offset,
        found: header.producer_epoch,
        current: entry.epoch,
    }
}

fn find_duplicate(entry: &ProducerEntry, header: &BatchHeader) -> Option<Check> {
    if entry.epoch != header.producer_epoch || header.base_sequence < 0 {
        return None;
    }
    let first_copy = entry.window.find(header.base_sequence, header.last_sequence())?;
    Some(Check::Duplicate {
        base_offset: first_copy.first_offset(),
        last_offset: first_copy.last_offset,
        timestamp: first_copy.timestamp,
    })
}

/// A producer that is not known may go on with any sequence: its earlier batches were deleted, or
/// it was forgotten. A known one goes on where it stopped, and a new epoch starts at 0.
fn check_sequence(
    known: Option<&ProducerEntry>,
    header: &BatchHeader,
    offset: Offset,
) -> Result<(), ProducerError> {
    let BatchHeader { producer_id, producer_epoch: epoch, base_sequence, .. } = *header;
    if epoch < 0 || base_sequence < 0 {
        let sequence = base_sequence;
        return Err(ProducerError::NoSequence { producer_id, offset, epoch, sequence });
    }
    let Some(entry) = known.filter(|entry| entry.epoch != NO_PRODUCER_EPOCH) else {
        return Ok(());
    };
    if epoch < entry.epoch {
        return Err(invalid_epoch(entry, header, offset));
    }
    let last = if epoch == entry.epoch { entry.last_sequence() } else { -1 };
    if follows(last, base_sequence) {
        return Ok(());
    }
    Err(ProducerError::OutOfOrderSequence {
        producer_id,
        offset,
        epoch,
        expected: sequence_after(last),
        found: base_sequence,
    })
}
