//! One partition of a consumer: its position, and what was fetched ahead.

use std::{
    collections::{HashSet, VecDeque},
    ops::{Add, Deref, Sub},
    sync::Arc,
};

use super::{
    ConsumerOptions, PollError,
    polled::{Slice, StoredBatch},
};
use crate::{
    commit::Watermark,
    log::{Fetched, Isolation, PartitionLog, ReadError},
    record::{Batch, BatchError, Decoder, Marker},
    segment::AbortedTransaction,
    topic::Topic,
    types::{Offset, TopicPartition},
};

/// A partition that is assigned to a consumer.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) topic: Arc<Topic>,
    pub(super) log: Arc<PartitionLog>,
    pub(super) place: Arc<TopicPartition>,
    /// Offset of the record that comes next; `None`: nobody said where to start.
    pub(super) position: Option<Offset>,
    pub(super) paused: bool,
    /// What is wrong at the position, to be told at a later poll: records came first.
    pub(super) deferred: Option<PollError>,
    /// Batches that were fetched and not given out; the first one perhaps in part.
    ahead: VecDeque<StoredBatch>,
    /// Sizes of those.
    size: Ahead,
    /// Where the partition could be read up to when the last fetch began.
    seen: Offset,
}

/// What a fetch did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// Nothing was there.
    Nothing,
    /// So much came.
    Got(Ahead),
    /// The log does not hold the position.
    OutOfRange {
        /// First offset that it holds.
        log_start: Offset,
        /// Its log end.
        log_end: Offset,
    },
}

/// How much was fetched and not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ahead {
    /// Bytes of whole batches.
    pub(super) bytes: usize,
    /// Their records, but for those that are passed over.
    pub(super) records: usize,
}

impl Ahead {
    fn of(stored: &StoredBatch) -> Self {
        let header = &stored.header;
        let records = if stored.passed_over { 0 } else { header.record_count as usize };
        Self { bytes: header.total_bytes(), records }
    }

    /// Whether a poll's limits are reached, so that fetching more would be in vain.
    pub(super) fn is_enough(self, options: &ConsumerOptions) -> bool {
        let too_many = self.records >= options.max_poll_records;
        too_many || self.bytes >= options.fetch_max_bytes.max(1)
    }
}

impl Add for Ahead {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, records: self.records + other.records }
    }
}

impl Sub for Ahead {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { bytes: self.bytes - other.bytes, records: self.records - other.records }
    }
}

impl Assigned {
    pub(super) fn new(topic: Arc<Topic>, log: Arc<PartitionLog>) -> Self {
        Self {
            place: Arc::new(log.partition().clone()),
            topic,
            log,
            position: None,
            paused: false,
            deferred: None,
            ahead: VecDeque::new(),
            size: Ahead::default(),
            seen: 0,
        }
    }

    /// Goes on at `position`; what was fetched ahead, or met there, is dropped.
    pub(super) fn move_to(&mut self, position: Offset) {
        self.position = Some(position);
        self.deferred = None;
        self.ahead.clear();
        self.size = Ahead::default();
    }

    /// Keeps an error for a later poll.
    pub(super) fn defer(&mut self, error: PollError) {
        self.deferred.get_or_insert(error);
    }

    /// Bytes that may still be fetched ahead; `None` at the limit.
    pub(super) fn room(&self, limit: usize) -> Option<usize> {
        let room = limit.saturating_sub(self.size.bytes);
        (room > 0 || self.size.bytes == 0).then_some(room)
    }

    /// What was fetched and not given out.
    pub(super) fn ahead(&self) -> Ahead {
        self.size
    }

    /// What the log must become readable up to before a fetch can give more.
    pub(super) fn awaits(&self) -> Offset {
        self.next_fetch().max(self.seen) + 1
    }

    fn next_fetch(&self) -> Offset {
        let behind = self.ahead.back().map(|last| last.header.next_offset());
        behind.or(self.position).unwrap_or(0)
    }

    /// Fetches what is there, about `max_bytes`. A damaged batch is an error when it comes first;
    /// those before it are given first.
    pub(super) fn fetch(
        &mut self,
        max_bytes: usize,
        isolation: Isolation,
        decoder: &mut Decoder,
    ) -> Result<Fetch, PollError> {
        if self.topic.is_deleted() {
            return Err(PollError::Deleted(self.topic.name().clone()));
        }
        let from = self.next_fetch();
        self.seen = self.log.readable().get();
        if self.seen == from {
            return Ok(Fetch::Nothing);
        }
        let fetched = loop {
            match self.log.fetch(from, max_bytes, isolation) {
                Ok(fetched) => break Arc::new(fetched),
                Err(ReadError::Truncated { .. }) => {}
                Err(ReadError::OutOfRange { log_start, log_end, .. }) => {
                    return Ok(Fetch::OutOfRange { log_start, log_end });
                }
                Err(ReadError::Corrupt(source)) => return Err(self.corrupt(source)),
                Err(ReadError::Io(source)) => {
                    return Err(PollError::Io { partition: self.place(), source });
                }
            }
        };
        self.store(&fetched, decoder)
    }

    /// Keeps the batches that were fetched, up to the first damaged one.
    fn store(&mut self, fetched: &Arc<Fetched>, decoder: &mut Decoder) -> Result<Fetch, PollError> {
        let mut got = Ahead::default();
        let mut aborted = Aborted::new(fetched.aborted());
        for batch in fetched.batches() {
            let batch = batch.and_then(|batch| {
                let at = fetched.position() + got.bytes as u64;
                let passed_over = aborted.passes_over(&batch, decoder);
                let refuse = |error: BatchError| error.into_corruption(fetched.path(), at);
                Ok((*batch.header(), passed_over.map_err(refuse)?))
            });
            match batch {
                Ok((header, passed_over)) => {
                    let (fetched, at) = (fetched.clone(), got.bytes);
                    let stored = StoredBatch { fetched, at, header, passed_over };
                    got = got + Ahead::of(&stored);
                    self.ahead.push_back(stored);
                }
                Err(_) if got.bytes == 0 && twin!(DamagePassedOver) => {
                    self.move_to(fetched.next_offset());
                }
                Err(source) if got.bytes == 0 => return Err(self.corrupt(source)),
                Err(_) => break,
            }
        }
        self.size = self.size + got;
        Ok(if got.bytes == 0 { Fetch::Nothing } else { Fetch::Got(got) })
    }

    /// Gives out at most `room` records; the position moves behind them.
    pub(super) fn take(
        &mut self,
        room: usize,
        decoder: &mut Decoder,
        into: &mut Vec<Slice>,
    ) -> Result<usize, PollError> {
        let mut taken = 0;
        while taken < room {
            let Some(stored) = self.ahead.front() else { break };
            let header = &stored.header;
            let from = self.position.unwrap_or(0).max(header.base_offset);
            let run = if stored.passed_over {
                Run { count: 0, until: header.next_offset() }
            } else {
                match run_of(stored, from, room - taken, decoder) {
                    Ok(run) => run,
                    Err(error) => {
                        let corruption = stored.corruption(error);
                        return Err(self.corrupt(corruption));
                    }
                }
            };
            self.position = Some(run.until.max(from));
            if run.count > 0 {
                let (place, batch) = (self.place.clone(), stored.clone());
                into.push(Slice { place, batch, from, count: run.count });
                taken += run.count;
            }
            if run.until >= header.next_offset() || twin!(RestOfBatchSkipped) {
                self.size = self.size - Ahead::of(stored);
                self.ahead.pop_front();
            }
        }
        Ok(taken)
    }

    pub(super) fn place(&self) -> TopicPartition {
        TopicPartition::clone(&self.place)
    }

    fn corrupt(&self, source: crate::error::Corruption) -> PollError {
        PollError::Corrupt { partition: self.place(), source }
    }
}

/// Which batches of a fetch no consumer sees: control batches, and those of aborted transactions
/// (Kafka: `CompletedFetch`).
struct Aborted {
    /// By first offset, the latest one first.
    to_come: Vec<AbortedTransaction>,
    /// Producers whose transaction is under way here, and was aborted.
    producers: HashSet<i64>,
}

impl Aborted {
    fn new(aborted: &[AbortedTransaction]) -> Self {
        let mut to_come = aborted.to_vec();
        to_come.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { to_come, producers: HashSet::new() }
    }

    /// Whether the next batch is passed over.
    fn passes_over(
        &mut self,
        batch: &Batch<'_>,
        decoder: &mut Decoder,
    ) -> Result<bool, BatchError> {
        let header = batch.header();
        while let Some(begun) = self.to_come.pop_if(|it| it.first_offset <= header.last_offset()) {
            self.producers.insert(begun.producer_id);
        }
        if !header.attributes.is_control() {
            let is_of_transaction = header.attributes.is_transactional();
            return Ok(is_of_transaction && self.producers.contains(&header.producer_id));
        }
        if self.producers.contains(&header.producer_id)
            && batch.marker(decoder)?.is_some_and(|marker| marker.kind == Marker::Abort)
        {
            self.producers.remove(&header.producer_id);
        }
        Ok(true)
    }
}

/// Records of a batch that are given out together.
struct Run {
    count: usize,
    /// Offset behind them.
    until: Offset,
}

/// The records of a batch from `from` on, `room` of them at most.
fn run_of(
    stored: &StoredBatch,
    from: Offset,
    room: usize,
    decoder: &mut Decoder,
) -> Result<Run, BatchError> {
    let header = &stored.header;
    let end = header.next_offset();
    let all = Run { count: header.record_count as usize, until: end };
    if from == header.base_offset && all.count <= room {
        return Ok(all);
    }
    if header.record_count == header.last_offset_delta + 1 {
        // No record is missing: offsets can be counted.
        let count = (end - from).clamp(0, room as i64);
        return Ok(Run { count: count as usize, until: (from + count).min(end) });
    }
    let mut count = 0;
    for record in stored.batch().records(decoder)? {
        let offset = record?.offset;
        if offset < from {
            continue;
        }
        if count == room {
            return Ok(Run { count, until: offset });
        }
        count += 1;
    }
    Ok(Run { count, until: end })
}

/// A partition's readable end, to wait for.
#[derive(Debug)]
pub(super) struct Readable(pub(super) Arc<PartitionLog>);

impl Deref for Readable {
    type Target = Watermark;

    fn deref(&self) -> &Watermark {
        self.0.readable()
    }
}
