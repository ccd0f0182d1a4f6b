//! One partition of a consumer: its position, and what was fetched ahead.

use std::{
    collections::VecDeque,
    ops::{Add, Deref, Sub},
    sync::Arc,
};

use super::{
    ConsumerOptions, PollError,
    polled::{Slice, StoredBatch},
};
use crate::{
    commit::Watermark,
    log::{Isolation, PartitionLog, ReadError},
    record::{BatchError, BatchHeader, Decoder},
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
    /// Their records.
    pub(super) records: usize,
}

impl Ahead {
    fn of(header: &BatchHeader) -> Self {
        Self { bytes: header.total_bytes(), records: header.record_count as usize }
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
        let mut got = Ahead::default();
        for batch in fetched.batches() {
            match batch {
                Ok(batch) => {
                    let (header, at) = (*batch.header(), got.bytes);
                    self.ahead.push_back(StoredBatch { fetched: fetched.clone(), at, header });
                    got = got + Ahead::of(&header);
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
            let run = if header.attributes.is_control() {
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
            if run.until >= header.next_offset() {
                self.size = self.size - Ahead::of(header);
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
