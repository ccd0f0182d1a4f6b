//! The batches of one partition: one open, those before it complete, all in the order of their
//! records.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use super::{
    Ack, ProducerOptions, ProducerRecord, SendError,
    ack::Promise,
    partition_for_key,
    partitioner::{Choice, Load, Sticky},
    pool::Room,
    sink::{Owner, Sink},
    split::{Parts, TooLarge},
};
use crate::{
    log::AppendError,
    record::{BatchBuilder, BatchSettings, Codec, NewRecord, RecordError, SealedBatch},
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    topic::{OfflinePartition, Topic},
    types::Durability,
};

/// One topic, as a producer sees it.
#[derive(Debug)]
pub(super) struct TopicQueues {
    /// The topic's address, which tells it from the topics of other engines as long as it is kept.
    address: usize,
    /// The topic; `None` when it was deleted and let go.
    owner: Mutex<Option<Owner>>,
    pub(super) facts: Arc<TopicFacts>,
    /// Those that are here, by number.
    pub(super) partitions: Box<[Arc<PartitionQueue>]>,
    /// How many the topic has.
    count: u32,
    sticky: Sticky,
    /// Those that could not be opened.
    offline: Vec<OfflinePartition>,
}

/// What holds for all partitions of a topic.
#[derive(Debug)]
pub(super) struct TopicFacts {
    /// Compression and producer id of all batches.
    pub(super) settings: BatchSettings,
    /// Bytes that an open batch may take.
    pub(super) batch_bytes: usize,
    /// Largest sealed batch that the log takes.
    pub(super) max_message_bytes: usize,
    /// Bytes of sealed batches that one append takes, but at least one batch.
    pub(super) append_bytes: usize,
    /// Whether acknowledgements wait for the device.
    pub(super) durable: bool,
    /// By place among the partitions that are here.
    pub(super) loads: Box<[Load]>,
}

/// The batches of one partition that are not handed over yet.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    pub(super) number: u32,
    /// Its place among those that are here; the number, if none is missing.
    index: u32,
    /// `None` when the topic was deleted and let go.
    sink: Mutex<Option<Sink>>,
    pub(super) facts: Arc<TopicFacts>,
    /// All batches with a lower number have left the place of the open batch.
    left_below: AtomicU64,
    pub(super) queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) open: Option<OpenBatch>,
    complete: VecDeque<Parcel>,
    /// Nothing is handed over before: a batch is to be tried again.
    rests_until: Option<Duration>,
    /// Why no record is taken any more.
    refusal: Option<SendError>,
}

/// A batch that takes records.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) builder: BatchBuilder,
    /// Bytes that the batch may take.
    pub(super) limit: usize,
    pub(super) promise: Promise,
    pub(super) number: u64,
    pub(super) opened: Duration,
    pub(super) room: Room,
}

/// A complete batch on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) promise: Promise,
    /// Its number in the schedule; parts of a split batch share it.
    pub(super) number: u64,
    /// When its first record came.
    pub(super) opened: Duration,
    /// Time from the first record to the hand-over to the log.
    pub(super) queued: Duration,
    /// Its memory; of a split batch the last part that is sent has it.
    pub(super) room: Option<Room>,
    pub(super) content: Content,
    /// What is counted of the batch, once it is complete.
    pub(super) figures: Figures,
    /// What the log said when the batch was last tried.
    pub(super) last_error: Option<Arc<AppendError>>,
}

#[derive(Debug)]
pub(super) enum Content {
    Built(BatchBuilder),
    Sealed(SealedBatch),
    /// The batch is being sealed, or in the log's hands.
    HandedOver,
}

/// What is counted of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Figures {
    pub(super) records: u64,
    pub(super) raw_bytes: u64,
    pub(super) log_bytes: u64,
}

impl TopicQueues {
    /// The queues of a topic with `count` partitions, of which those with these numbers, in rising
    /// order, are here.
    pub(super) fn new(
        owner: Owner,
        facts: TopicFacts,
        count: u32,
        sinks: Vec<(u32, Sink)>,
        seed: u64,
    ) -> Self {
        assert_eq!(facts.loads.len(), sinks.len(), "one load a partition");
        // Where there is none, it is never asked.
        let sticky = Sticky::new(sinks.len().max(1) as u32, facts.batch_bytes, seed);
        let facts = Arc::new(facts);
        let queue = |(index, (number, sink))| {
            let facts = facts.clone();
            let (left_below, queue) = (AtomicU64::new(0), Mutex::default());
            let sink = Mutex::new(Some(sink));
            Arc::new(PartitionQueue { number, index, sink, facts, left_below, queue })
        };
        let partitions = (0..).zip(sinks).map(queue).collect();
        let (address, owner) = (owner.address(), Mutex::new(Some(owner)));
        Self { address, owner, facts, partitions, count, sticky, offline: Vec::new() }
    }

    /// The queues of `topic`, for a producer with `options`.
    pub(super) fn of(topic: &Arc<Topic>, options: &ProducerOptions) -> Self {
        let config = topic.config();
        let compression = options.compression.unwrap_or_else(|| config.compression());
        let log_config = config.log_config();
        let group_bytes = log_config.max_group_bytes();
        let max_message_bytes = log_config.max_message_bytes.min(group_bytes);
        // What is not compressed must fit as it is.
        let batch_limit =
            if compression.codec == Codec::None { max_message_bytes } else { usize::MAX };
        let durability =
            log_config.durability.max(options.durability.unwrap_or(Durability::Written));
        let logs = topic.partitions();
        let facts = TopicFacts {
            settings: BatchSettings { compression, ..BatchSettings::default() },
            batch_bytes: options.batch_size.min(batch_limit),
            max_message_bytes,
            append_bytes: options.max_request_size.min(group_bytes),
            durable: durability == Durability::Durable,
            loads: logs.iter().map(|_| Load::default()).collect(),
        };
        let sinks = logs.iter().map(|log| (log.partition().partition, Sink::Log(log.clone())));
        let seed = options.partitioner_seed.map_or_else(
            || fastrand::u64(..),
            // Topics draw on their own, each the same again with the same seed.
            |seed| seed.wrapping_add(u64::from(topic.number())),
        );
        let owner = Owner::Topic(topic.clone());
        let queues = Self::new(owner, facts, topic.partition_count(), sinks.collect(), seed);
        Self { offline: topic.offline().to_vec(), ..queues }
    }

    /// The partition of `record`; with a [`Choice`], it is the sticky one and to be confirmed by
    /// [`Self::is_still`] under the lock of its queue.
    #[inline]
    pub(super) fn choose(
        &self,
        record: &ProducerRecord<'_>,
    ) -> Result<(&Arc<PartitionQueue>, Option<Choice>), SendError> {
        let partition = match (record.partition, record.key) {
            (Some(named), _) => self.numbered(named)?,
            (None, _) if self.count == 0 => return Err(self.absent(None)),
            (None, Some(key)) => self.numbered(partition_for_key(key, self.count))?,
            (None, None) if self.partitions.len() == 1 => &self.partitions[0],
            (None, None) if self.partitions.is_empty() => return Err(self.absent(None)),
            (None, None) => {
                let choice = self.sticky.peek();
                return Ok((&self.partitions[choice.partition() as usize], Some(choice)));
            }
        };
        Ok((partition, None))
    }

    #[inline]
    fn numbered(&self, partition: u32) -> Result<&Arc<PartitionQueue>, SendError> {
        // Nearly always none is missing, and the number is the place.
        match self.partitions.get(partition as usize) {
            Some(queue) if queue.number == partition => Ok(queue),
            _ => self.search(partition),
        }
    }

    #[cold]
    fn search(&self, partition: u32) -> Result<&Arc<PartitionQueue>, SendError> {
        if partition >= self.count {
            return Err(SendError::UnknownPartition { partition, partitions: self.count });
        }
        match self.partitions.binary_search_by_key(&partition, |queue| queue.number) {
            Ok(index) => Ok(&self.partitions[index]),
            Err(_) => Err(self.absent(Some(partition))),
        }
    }

    /// Why a partition takes no records; of any partition where none is named.
    fn absent(&self, partition: Option<u32>) -> SendError {
        let is_it = |it: &&OfflinePartition| partition.is_none_or(|n| n == it.partition.partition);
        match self.offline.iter().find(is_it) {
            Some(OfflinePartition { partition, reason, .. }) => SendError::PartitionOffline {
                partition: partition.partition,
                reason: reason.clone(),
            },
            None => SendError::PartitionNotHere { partition: partition.unwrap_or_default() },
        }
    }

    /// Whether the sticky partition is still `choice`, in whose queue the caller stands. One that is
    /// down is left now; at a batch's boundary a switch that waited for one is made.
    #[inline]
    pub(super) fn is_still(&self, choice: Option<Choice>, queue: &Queue) -> bool {
        let Some(choice) = choice else { return true };
        if !self.sticky.is_current(choice) {
            return false;
        }
        let loads = &self.facts.loads;
        if loads[choice.partition() as usize].is_down() {
            self.sticky.leave(choice, loads);
        } else if queue.open.is_none() {
            self.sticky.count(choice, 0, true, loads);
        }
        self.sticky.is_current(choice)
    }

    /// Counts bytes that were put into `queue`.
    #[inline]
    pub(super) fn count(&self, choice: Option<Choice>, bytes: usize, queue: &Queue) {
        if let Some(choice) = choice {
            self.sticky.count(choice, bytes, queue.open.is_none(), &self.facts.loads);
        }
    }

    /// Whether these are the queues of the topic at this address.
    #[inline]
    pub(super) fn is_of(&self, owner: usize) -> bool {
        self.address == owner
    }

    /// Lets go of the topic and its logs when it was deleted: takes no more records, and gives all
    /// batches that are here to `fail`. (Its number is never given to another.)
    pub(super) fn release_if_deleted(
        &self,
        mut fail: impl FnMut(&Arc<PartitionQueue>, Vec<Parcel>),
    ) {
        if self.owner.lock().take_if(|owner| owner.is_deleted()).is_some() {
            for partition in &self.partitions {
                fail(partition, partition.refuse(&SendError::TopicDeleted));
                *partition.sink.lock() = None;
            }
        }
    }
}

impl PartitionQueue {
    /// Where the batches go.
    pub(super) fn sink(&self) -> Result<Sink, SendError> {
        self.sink.lock().clone().ok_or(SendError::TopicDeleted)
    }

    /// The number of batches that are not decided.
    pub(super) fn queued(&self) -> &AtomicU32 {
        &self.load().queued
    }

    /// Whether the log refuses appends, as far as is known; records without a key then go elsewhere.
    pub(super) fn is_down(&self) -> bool {
        self.load().is_down()
    }

    /// The log refuses appends; gives whether that was known.
    pub(super) fn goes_down(&self) -> bool {
        self.load().set_down(true)
    }

    /// The log takes appends again. A partition that takes no more records stays down.
    pub(super) fn comes_up(&self) {
        let queue = self.queue.lock();
        if queue.refusal.is_none() {
            self.load().set_down(false);
        }
    }

    /// Whether a batch is to be tried again, later than `now`.
    pub(super) fn rests(&self, now: Duration) -> bool {
        self.queue.lock().rests_until.is_some_and(|until| now < until)
    }

    fn load(&self) -> &Load {
        &self.facts.loads[self.index as usize]
    }

    /// Whether batch `number` does not lie open any more.
    pub(super) fn has_left(&self, number: u64) -> bool {
        number < self.left_below.load(Ordering::Relaxed)
    }

    /// Completes the open batch, if there is one.
    pub(super) fn complete(&self, queue: &mut Queue) -> bool {
        let Some(open) = queue.open.take() else { return false };
        self.left_below.store(open.number + 1, Ordering::Relaxed);
        queue.complete.push_back(open.into());
        true
    }

    /// Moves complete batches to the end of `into`, up to `limit` bytes but at least one, and
    /// the open one when its number is below `open_below`. `true`: more are left.
    pub(super) fn take(
        &self,
        open_below: u64,
        now: Duration,
        limit: usize,
        into: &mut Vec<Parcel>,
    ) -> bool {
        let mut queue = self.queue.lock();
        if queue.open.as_ref().is_some_and(|open| open.number < open_below) {
            self.complete(&mut queue);
        }
        if queue.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        queue.rests_until = None;
        let mut bytes = 0;
        while let Some(first) = queue.complete.front() {
            bytes += first.bytes();
            if bytes > limit && !into.is_empty() {
                return true;
            }
            into.extend(queue.complete.pop_front());
        }
        false
    }

    /// Takes batches back, before all others; they are tried again after `until`.
    pub(super) fn put_back(&self, parcels: Vec<Parcel>, until: Duration) {
        let mut queue = self.queue.lock();
        queue.rests_until = Some(until);
        for parcel in parcels.into_iter().rev() {
            queue.complete.push_front(parcel);
        }
    }

    /// Takes no more records, and gives all batches that are here. The first reason stays.
    pub(super) fn refuse(&self, why: &SendError) -> Vec<Parcel> {
        let mut queue = self.queue.lock();
        queue.refusal.get_or_insert_with(|| why.clone());
        self.load().set_down(true);
        self.complete(&mut queue);
        mem::take(&mut queue.complete).into()
    }

    /// Why no record is taken any more, if that is so.
    pub(super) fn refusal(&self) -> Option<SendError> {
        self.queue.lock().refusal.clone()
    }
}

impl Queue {
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), SendError> {
        self.refusal.as_ref().map_or(Ok(()), |why| Err(why.clone()))
    }
}

impl OpenBatch {
    /// Whether a record of at most `bytes` fits.
    #[inline]
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.builder.raw_bytes() + bytes <= self.limit
    }

    /// Whether no record can fit any more.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.builder.raw_bytes() >= self.limit
    }

    #[inline]
    pub(super) fn push(&mut self, record: &NewRecord<'_>) -> Result<Ack, RecordError> {
        let index = self.builder.push(record)?;
        Ok(Ack::new(self.promise.fate(), index, record.timestamp))
    }
}

impl From<OpenBatch> for Parcel {
    fn from(open: OpenBatch) -> Self {
        let figures = Figures {
            records: u64::from(open.builder.record_count()),
            raw_bytes: open.builder.raw_bytes() as u64,
            log_bytes: 0,
        };
        Self {
            figures,
            promise: open.promise,
            number: open.number,
            opened: open.opened,
            queued: Duration::ZERO,
            room: Some(open.room),
            content: Content::Built(open.builder),
            last_error: None,
        }
    }
}

impl Parcel {
    /// Bytes that the batch adds to an append, as far as they are known.
    pub(super) fn bytes(&self) -> usize {
        match &self.content {
            Content::Built(builder) => builder.raw_bytes(),
            Content::Sealed(_) | Content::HandedOver => self.figures.log_bytes as usize,
        }
    }

    /// The batch, to be sealed; `None` where it is.
    pub(super) fn take_builder(&mut self) -> Option<BatchBuilder> {
        match mem::replace(&mut self.content, Content::HandedOver) {
            Content::Built(builder) => Some(builder),
            other => {
                self.content = other;
                None
            }
        }
    }

    /// The batch is sealed.
    pub(super) fn put_sealed(&mut self, batch: SealedBatch) {
        self.figures.log_bytes = batch.bytes().len() as u64;
        self.content = Content::Sealed(batch);
    }

    /// The sealed batch, to hand over to the log at `now`.
    pub(super) fn hand_over(&mut self, now: Duration) -> SealedBatch {
        self.queued = now.saturating_sub(self.opened);
        match mem::replace(&mut self.content, Content::HandedOver) {
            Content::Sealed(batch) => batch,
            other => panic!("a batch is sealed before it is handed over: {other:?}"),
        }
    }

    /// Goes on as several; the memory stays with the last that is sent.
    pub(super) fn split(mut self, parts: Parts) -> Vec<(Self, Result<(), TooLarge>)> {
        let firsts: Vec<u32> = parts.iter().map(|(first, _)| *first).collect();
        let promises = self.promise.split(&firsts);
        let part_of = |(promise, (_, part)): (Promise, (u32, Result<SealedBatch, TooLarge>))| {
            let mut parcel = Self {
                promise,
                number: self.number,
                opened: self.opened,
                queued: self.queued,
                room: None,
                content: Content::HandedOver,
                figures: Figures { records: 1, ..Figures::default() },
                last_error: None,
            };
            let fits = part.map(|batch| {
                parcel.figures.records = batch.header().record_count as u64;
                parcel.figures.raw_bytes = batch.raw_bytes() as u64;
                parcel.put_sealed(batch);
            });
            (parcel, fits)
        };
        let mut parcels: Vec<_> = promises.into_iter().zip(parts).map(part_of).collect();
        // Those that are too large fail at once.
        if let Some((last, _)) = parcels.iter_mut().rfind(|(_, fits)| fits.is_ok()) {
            last.room = self.room.take();
        }
        parcels
    }
}
