//! Appending: as leader (offsets and epoch are stamped) and as follower (bytes are kept).

use std::sync::Arc;

use super::{
    AppendError, CommitPoint, PartitionLog, Writer,
    epochs::LeaderEpochs,
    producers::{Check, EndTransaction, Origin, ProducerAppend},
};
use crate::{
    error::IoError,
    io::SyncKind,
    limits::{MAX_GROUP_BYTES, MAX_LOG_END, MAX_RELATIVE_OFFSET},
    record::{Batch, BatchError, Decoder, SealedBatch, TimestampType},
    segment::SegmentError,
    types::{Durability, LeaderEpoch, NO_EPOCH, Offset},
};

/// What an append did.
#[derive(Debug)]
pub struct Appended {
    /// Base offset of each batch, in the order given; of the first copy where a batch was one that
    /// its producer had sent before.
    pub base_offsets: Vec<Offset>,
    /// Log end after the append, to be passed to [`PartitionLog::commit`]: it knows these records from
    /// others that may come to stand at their offsets after a truncation.
    pub end: CommitPoint,
    /// Time that the records bear, where `message.timestamp.type` is `LogAppendTime`; milliseconds.
    pub log_append_time: Option<i64>,
    /// The batches' buffers, for reuse.
    pub buffers: Vec<Vec<u8>>,
}

/// What is known of batches with their final offsets, all for one segment, and what the producers'
/// state becomes.
struct Group {
    producers: ProducerAppend,
    bytes: usize,
    max_timestamp: i64,
    /// Base offset of the first batch.
    first: Option<Offset>,
    /// Offset behind the last batch.
    end: Offset,
}

impl PartitionLog {
    /// Appends batches as the leader of term `epoch`: checks producers' sequences, stamps offsets and
    /// epoch in place, rolls where needed and writes the group with one operation. All are appended
    /// or none is.
    ///
    /// The records are *written* when this returns; [`PartitionLog::commit`] makes them durable.
    pub fn append(
        &self,
        mut batches: Vec<SealedBatch>,
        epoch: LeaderEpoch,
    ) -> Result<Appended, AppendError> {
        self.offer(&mut batches, epoch)
    }

    /// As [`PartitionLog::append`], for a caller who will try again: where nothing was appended, `batches`
    /// holds what it held.
    pub fn offer(
        &self,
        batches: &mut Vec<SealedBatch>,
        epoch: LeaderEpoch,
    ) -> Result<Appended, AppendError> {
        for batch in &*batches {
            self.check_from_producer(batch)?;
        }
        let log_append_time = (self.config.timestamp_type == TimestampType::LogAppendTime)
            .then(|| self.clock.wall_ms());
        if let Some(now) = log_append_time {
            for batch in &mut *batches {
                batch.set_log_append_time(now);
            }
        }

        let mut writer = self.writer.lock();
        writer.check_open()?;
        Self::check_epoch(epoch, self.latest_epoch())?;
        let mut group = Group::new(&writer, Origin::Client);
        let records: Offset =
            batches.iter().map(|batch| batch.header().last_offset_delta as i64 + 1).sum();
        if group.end > MAX_LOG_END - records {
            return Err(AppendError::Exhausted { log_end: group.end });
        }
        let mut base_offsets = Vec::with_capacity(batches.len());
        let mut repeated = Vec::new();
        for (place, batch) in batches.iter_mut().enumerate() {
            let refuse = |error| AppendError::Batch { position: 0, error };
            let marker = marker_of(batch).map_err(refuse)?;
            match group.producers.check(&writer.producers, batch.header(), group.end, marker)? {
                Check::Duplicate { base_offset, .. } => {
                    base_offsets.push(base_offset);
                    repeated.push(place);
                }
                Check::New => {
                    batch.stamp(group.end, epoch);
                    base_offsets.push(group.end);
                    group.note(batch)?;
                }
            }
        }
        let mut copies: Vec<_> =
            repeated.iter().rev().map(|place| batches.remove(*place)).collect();
        let written = self.write(&mut writer, group, batches);
        if written.is_err() {
            for (place, copy) in repeated.into_iter().zip(copies.drain(..).rev()) {
                batches.insert(place, copy);
            }
        }
        let mut buffers = written?;
        buffers.extend(copies.into_iter().map(SealedBatch::into_bytes));
        Ok(Appended { base_offsets, end: self.tail.end(), log_append_time, buffers })
    }

    /// Appends what a follower fetched from its leader, byte for byte: offsets, epochs and timestamps
    /// are kept, each batch's checksum is verified. All are appended or none is. Batches that end below
    /// the log end are there already and passed over.
    pub fn append_as_follower(&self, bytes: &[u8]) -> Result<Appended, AppendError> {
        let fetched = parse(bytes)?;

        let mut writer = self.writer.lock();
        writer.check_open()?;
        let mut group = Group::new(&writer, Origin::Replication);
        let mut batches = Vec::with_capacity(fetched.len());
        let mut base_offsets = Vec::with_capacity(fetched.len());
        let mut latest = self.latest_epoch();
        for (batch, marker) in fetched {
            if batch.header().next_offset() <= group.end {
                continue;
            }
            let found = batch.header().base_offset;
            let follows = found == group.end || (self.config.compacted && found > group.end);
            if !follows {
                return Err(AppendError::OutOfOrder { log_end: group.end, found });
            }
            latest = Self::check_epoch(batch.header().leader_epoch, latest)?;
            group.producers.check(&writer.producers, batch.header(), found, marker)?;
            base_offsets.push(found);
            group.note(&batch)?;
            batches.push(batch);
        }
        let buffers = self.write(&mut writer, group, &mut batches)?;
        let end = self.tail.end();
        Ok(Appended { base_offsets, end, log_append_time: None, buffers })
    }

    /// Why any append of now would be refused; a full disk shows only in an append.
    pub fn check_appends(&self) -> Result<(), AppendError> {
        let writer = self.writer.lock();
        writer.check_open()?;
        writer.file.file().failure().map_or(Ok(()), |error| Err(error.duplicate().into()))
    }

    /// A producer's batch has base offset 0, a record for each offset, and a bounded size.
    fn check_from_producer(&self, batch: &SealedBatch) -> Result<(), AppendError> {
        let (found, limit) = (batch.bytes().len(), self.config.max_message_bytes);
        if found > limit {
            return Err(AppendError::BatchTooLarge { found, limit });
        }
        let header = batch.header();
        let (records, offsets) = (header.record_count, header.last_offset_delta as i64 + 1);
        if records as i64 != offsets {
            return Err(AppendError::Sparse { records, offsets });
        }
        Ok(())
    }

    /// Terms never fall along a log: what a reader checks batches by relies on it.
    fn check_epoch(found: LeaderEpoch, current: LeaderEpoch) -> Result<LeaderEpoch, AppendError> {
        if found < current && !twin!(StaleLeaderAccepted) {
            return Err(AppendError::Fenced { found, current });
        }
        Ok(found)
    }

    fn latest_epoch(&self) -> LeaderEpoch {
        self.epochs.load().latest().map_or(NO_EPOCH, |latest| latest.epoch)
    }

    /// Writes a group with one operation, then lets everybody see it.
    fn write(
        &self,
        writer: &mut Writer,
        group: Group,
        batches: &mut Vec<SealedBatch>,
    ) -> Result<Vec<Vec<u8>>, AppendError> {
        let Group { producers, bytes, max_timestamp, end, .. } = group;
        let Some(first) = batches.first().map(|batch| *batch.header()) else {
            return Ok(Vec::new());
        };
        if let Some(error) = writer.active.file().failure() {
            // Before the epochs are noted: a term that cannot begin must not stand over what is half-written.
            return Err(error.duplicate().into());
        }
        let limit = self.config.max_group_bytes();
        if bytes > limit {
            return Err(AppendError::GroupTooLarge { found: bytes, limit });
        }
        self.settle_epochs(writer)?;
        if self.must_roll(writer, bytes as u64, end - 1, max_timestamp) {
            // A gap may be wider than a segment's reach: the next one then begins behind it.
            let next = writer.active.next_offset();
            let reaches = end - 1 - next <= MAX_RELATIVE_OFFSET;
            self.roll(writer, if reaches { next } else { first.base_offset })?;
        }
        self.make_way(writer, bytes as u64)?;
        let before = self.note_epochs(writer, batches)?;
        let (count, records) = (batches.len(), end - first.base_offset);
        let appended = writer.active.append(batches);
        writer.active.take_room().into_iter().for_each(|end| writer.file.room(end));
        let buffers = appended.inspect_err(|_| {
            // A term that began with these batches has not begun: others of it may stand elsewhere.
            writer.epochs_ahead |= !Arc::ptr_eq(&before, &self.epochs.load());
            self.epochs.store(before);
        })?;

        let changes_transactions = producers.changes_transactions();
        let aborted = writer.producers.apply(producers, end, || self.clock.wall_ms());
        for transaction in aborted {
            // The batches stand: the entry is written at the latest before a checkpoint passes it.
            if let Err(error) = writer.active.append_aborted(transaction) {
                tracing::warn!(%error, "an aborted transaction is missing from its index");
            }
        }
        let transactions = changes_transactions.then(|| {
            writer.producers.high_watermark_moved(self.readable().get());
            writer.producers.transactions().clone()
        });
        self.tail.appended(end, writer.active.segment().len(), transactions);
        self.metrics.batches.add(count as u64);
        self.metrics.records.add(records as u64);
        self.metrics.bytes.add(bytes as u64);
        Ok(buffers)
    }

    /// In a `Durable` partition no more bytes may be on their way to the device than one group can be:
    /// recovery takes whatever reaches further behind a hole for rotten, acknowledged data
    /// (`log/damage.rs`). Waits for so much of what is there as makes room for `bytes` more, so that
    /// a sync under way is enough as a rule. Under the lock: who appends next would wait for the same.
    fn make_way(&self, writer: &Writer, bytes: u64) -> Result<(), AppendError> {
        let file = &writer.file;
        let needed = (file.written_end() + bytes).saturating_sub(MAX_GROUP_BYTES as u64);
        let is_bounded = self.config.durability == Durability::Durable && !twin!(BacklogUnbounded);
        if is_bounded && file.durable_end() < needed {
            self.dir.commit().commit(&[(file.clone(), needed)]).map_err(IoError::from)?;
        }
        Ok(())
    }

    /// A term's first offset is durable before a record of that term is written, so that the epochs
    /// are never behind the log. Gives them as they were.
    fn note_epochs(
        &self,
        writer: &mut Writer,
        batches: &[SealedBatch],
    ) -> Result<Arc<LeaderEpochs>, AppendError> {
        let known = self.epochs.load_full();
        let latest = known.latest().map(|entry| entry.epoch);
        if batches.iter().all(|batch| Some(batch.header().leader_epoch) == latest) {
            return Ok(known);
        }
        let mut epochs = LeaderEpochs::clone(&known);
        let mut changed = false;
        for batch in batches {
            changed |= epochs.observe(batch.header().base_offset, batch.header().leader_epoch);
        }
        if changed {
            if !twin!(EpochsNotStored) {
                // A failure may come behind the change.
                let stored = epochs.store(self.storage(), &self.path);
                stored.inspect_err(|_| writer.epochs_ahead = true)?;
            }
            self.epochs.store(Arc::new(epochs));
        }
        Ok(known)
    }

    /// Has the file of leader epochs say what memory does where a failed append has left a term in it that did
    /// not begin. What reached the file of its batches goes first, durably: should they come back after a
    /// power cut, their term must be known.
    pub(super) fn settle_epochs(&self, writer: &mut Writer) -> Result<(), SegmentError> {
        if !writer.epochs_ahead || twin!(FailedTermForgotten) {
            return Ok(());
        }
        writer.active.trim()?;
        writer.active.take_room().into_iter().for_each(|end| writer.file.room(end));
        writer.active.file().sync(SyncKind::All)?;
        self.epochs.load().store(self.storage(), &self.path)?;
        writer.epochs_ahead = false;
        Ok(())
    }

    /// Kafka's rules (`LogSegment.shouldRoll`), the group being the unit.
    fn must_roll(&self, writer: &Writer, bytes: u64, last_offset: Offset, newest_ms: i64) -> bool {
        let segment = writer.active.segment();
        if segment.is_empty() {
            return !writer.active.relative_offset_fits(last_offset);
        }
        let full = segment.len() + bytes > self.config.segment_bytes;
        let age_limit = self.config.segment_ms.saturating_sub(writer.jitter_ms);
        let old = writer
            .active
            .first_timestamp()
            .is_some_and(|first| newest_ms.saturating_sub(first) > age_limit);
        full || old
            || writer.active.is_index_full()
            || !writer.active.relative_offset_fits(last_offset)
    }
}

impl Group {
    fn new(writer: &Writer, origin: Origin) -> Self {
        Self {
            producers: writer.producers.begin(origin),
            bytes: 0,
            max_timestamp: i64::MIN,
            first: None,
            end: writer.active.segment().next_offset(),
        }
    }

    fn note(&mut self, batch: &SealedBatch) -> Result<(), AppendError> {
        let header = batch.header();
        let first = *self.first.get_or_insert(header.base_offset);
        if header.last_offset() - first > MAX_RELATIVE_OFFSET {
            return Err(AppendError::TooFar { first, found: header.base_offset });
        }
        self.bytes += batch.bytes().len();
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        self.end = header.next_offset();
        Ok(())
    }
}

/// The batches in `bytes`, which must be whole, with what the control batches among them say.
fn parse(bytes: &[u8]) -> Result<Vec<(SealedBatch, Option<EndTransaction>)>, AppendError> {
    let mut batches = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        let refuse = |error| AppendError::Batch { position, error };
        let batch = SealedBatch::from(Batch::check(&bytes[position..]).map_err(refuse)?);
        let marker = marker_of(&batch).map_err(refuse)?;
        position += batch.bytes().len();
        batches.push((batch, marker));
    }
    Ok(batches)
}

/// What a control batch says of its producer's transaction; `None` for a data batch.
fn marker_of(batch: &SealedBatch) -> Result<Option<EndTransaction>, BatchError> {
    if !batch.header().attributes.is_control() {
        return Ok(None);
    }
    Ok(batch.batch().marker(&mut Decoder::new())?.map(EndTransaction::from))
}
