//! From `send` to a batch: the way of a record, and what producer and sender share.
//!
//! A record costs a look at its topic, the choice of a partition, one short lock that nobody else
//! holds for long, its encoding straight into the open batch, and one more reference to the
//! batch's fate. Memory, clock, schedule and wake-ups are a batch's business.
//!
//! Locks, in the order in which they may be held: the topics' table, a partition's queue, then
//! schedule or pool.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Ack, ProducerOptions, ProducerRecord, SendError,
    ack::Promise,
    metrics::Counters,
    pool::{Pool, Room, Take},
    queue::{OpenBatch, Parcel, PartitionQueue, TopicQueues},
    schedule::Schedule,
    topics::Topics,
};
use crate::{
    clock::Clock,
    limits::BATCH_HEADER,
    record::{BatchBuilder, Codec},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What a producer's threads share.
#[derive(Debug)]
pub(super) struct Accumulator {
    pub(super) options: ProducerOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pool: Arc<Pool>,
    pub(super) schedule: Schedule,
    pub(super) counters: Counters,
    topics: Topics,
    /// Held to add a topic; `true`: shut, none is added.
    shut: Mutex<bool>,
    closing: AtomicBool,
    /// A thread of the producer panicked. Set before `closing`.
    stopped: AtomicBool,
    /// Records that were failed when everything was shut.
    abandoned: AtomicU64,
}

/// How far a record came.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is in a batch.
    InBatch(Ack),
    /// A batch must be opened for it, which takes this many bytes of memory.
    NeedsRoom(usize),
}

impl Accumulator {
    pub(super) fn new(clock: Arc<dyn Clock>, options: ProducerOptions) -> Arc<Self> {
        let schedule = Schedule::new(options.linger);
        let pool = Pool::new(options.buffer_memory, options.batch_size.max(BATCH_HEADER));
        Arc::new(Self {
            options,
            clock,
            pool,
            schedule,
            counters: Counters::default(),
            topics: Topics::new(),
            shut: Mutex::new(false),
            closing: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            abandoned: AtomicU64::new(0),
        })
    }

    /// The queues of topic `number`, added by `add` when they are new. `owner` is the topic's
    /// address.
    #[inline]
    pub(super) fn topic(
        &self,
        number: u32,
        owner: usize,
        add: impl FnOnce() -> TopicQueues,
    ) -> Result<&Arc<TopicQueues>, SendError> {
        let topic = match self.topics.get(number) {
            Some(topic) => topic,
            None => self.add_topic(number, add)?,
        };
        if topic.is_of(owner) { Ok(topic) } else { Err(SendError::ForeignTopic) }
    }

    /// Puts a record into its batch. Where that takes memory it is tried once and not waited for:
    /// on [`Placed::NeedsRoom`] the caller comes again with `room`. What is not used is left there.
    #[inline]
    pub(super) fn place(
        &self,
        topic: &TopicQueues,
        record: &ProducerRecord<'_>,
        room: &mut Option<Room>,
    ) -> Result<Placed, SendError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(self.why_closed());
        }
        let record_of_now = record.stamped(|| self.clock.wall_ms());
        let bytes = BatchBuilder::record_bytes(&record_of_now);
        self.check_size(topic, record, bytes)?;
        loop {
            let (partition, choice) = topic.choose(record)?;
            let mut queue = partition.queue.lock();
            if !topic.is_still(choice, &queue) {
                continue;
            }
            queue.check_open()?;
            if let Some(open) = queue.open.as_mut().filter(|open| open.fits(bytes)) {
                let before = open.builder.raw_bytes();
                let ack = open.push(&record_of_now)?;
                let grown = open.builder.raw_bytes() - before;
                if open.is_full() {
                    partition.complete(&mut queue);
                    self.schedule.full(partition);
                }
                topic.count(choice, grown, &queue);
                return Ok(Placed::InBatch(ack));
            }
            if partition.complete(&mut queue) {
                self.schedule.full(partition);
                // A batch's boundary: the sticky partition may change here.
                if !topic.is_still(choice, &queue) {
                    continue;
                }
            }
            let needed = topic.facts.batch_bytes.max(BATCH_HEADER + bytes);
            let Some(mut taken) = room.take().or_else(|| self.pool.try_take(needed)) else {
                return Ok(Placed::NeedsRoom(needed));
            };
            let mut builder = BatchBuilder::new(taken.take_buffer(), topic.facts.settings);
            if let Err(error) = builder.push(&record_of_now) {
                // Memory goes back, and wakes others, when the queue is let go.
                *room = Some(taken);
                return Err(error.into());
            }
            let bytes = builder.raw_bytes();
            let open = self.open(partition, builder, taken);
            let ack = Ack::new(open.promise.fate(), 0, record_of_now.timestamp);
            let is_full = open.is_full();
            queue.open = Some(open);
            if is_full {
                partition.complete(&mut queue);
                self.schedule.full(partition);
            }
            topic.count(choice, bytes, &queue);
            return Ok(Placed::InBatch(ack));
        }
    }

    /// A future that places a record as soon as there is memory for it.
    pub(super) fn placing<'a>(
        self: &Arc<Self>,
        topic: Arc<TopicQueues>,
        record: ProducerRecord<'a>,
    ) -> Placing<'a> {
        Placing { accumulator: self.clone(), topic, record, room: None, take: None }
    }

    /// Refuses records from now on; gives what the schedule's watermark reaches when all those
    /// that are here are decided.
    pub(super) fn close(&self) -> i64 {
        self.closing.store(true, Ordering::Release);
        self.pool.close();
        self.schedule.close()
    }

    /// A thread of the producer panicked: everything ends. What is still here fails when the sender
    /// does.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.close();
        self.schedule.abort();
    }

    /// Whether a thread of the producer panicked.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Why no record is taken any more.
    fn why_closed(&self) -> SendError {
        if self.is_stopped() { SendError::Stopped } else { SendError::Closed }
    }

    /// Fails everything that is still here, and whatever comes.
    pub(super) fn shut(&self) {
        self.close();
        let why = self.why_closed();
        *self.shut.lock() = true;
        for topic in self.topics.iter() {
            for partition in &topic.partitions {
                let parcels = partition.refuse(&why);
                let records: u64 = parcels.iter().map(|parcel| parcel.figures.records).sum();
                self.abandoned.fetch_add(records, Ordering::Relaxed);
                self.fail(partition, parcels, &why);
            }
        }
        self.schedule.watermark().close();
    }

    /// Records that [`Self::shut`] failed.
    pub(super) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// These batches of `partition` have failed.
    pub(super) fn fail(
        &self,
        partition: &PartitionQueue,
        parcels: impl IntoIterator<Item = Parcel>,
        error: &SendError,
    ) {
        self.decide(partition, parcels, |parcel| {
            self.counters.failed_records.add(parcel.figures.records);
            parcel.promise.fail(error.clone());
        });
    }

    /// Decides batches of `partition`, one by one in their order, and gives their memory back.
    pub(super) fn decide(
        &self,
        partition: &PartitionQueue,
        parcels: impl IntoIterator<Item = Parcel>,
        mut decide: impl FnMut(&mut Parcel),
    ) {
        // Wakers are foreign code: no lock is held while they are called.
        let decide = |mut parcel: Parcel| {
            decide(&mut parcel);
            partition.queued().fetch_sub(1, Ordering::Relaxed);
            parcel.number
        };
        let numbers: Vec<u64> = parcels.into_iter().map(decide).collect();
        self.schedule.decided(&numbers);
    }

    #[inline]
    fn check_size(
        &self,
        topic: &TopicQueues,
        record: &ProducerRecord<'_>,
        bytes: usize,
    ) -> Result<(), SendError> {
        let bytes = BATCH_HEADER + bytes;
        let refuse = |limit, setting| Err(SendError::RecordTooLarge { bytes, limit, setting });
        if bytes > self.options.max_request_size {
            return refuse(self.options.max_request_size, "max.request.size");
        }
        if bytes > self.pool.total() {
            return refuse(self.pool.total(), "buffer.memory");
        }
        // The size above is an upper bound and compression may help: here only what can't fit.
        let payload = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let limit = topic.facts.max_message_bytes;
        let compresses = topic.facts.settings.compression.codec != Codec::None;
        if !compresses && BATCH_HEADER + payload > limit {
            return refuse(limit, "max.message.bytes");
        }
        Ok(())
    }

    /// Enters a batch with its first record into the books.
    fn open(
        &self,
        partition: &Arc<PartitionQueue>,
        builder: BatchBuilder,
        room: Room,
    ) -> OpenBatch {
        let opened = self.clock.monotonic();
        partition.queued().fetch_add(1, Ordering::Relaxed);
        let number = self.schedule.opened(partition, opened);
        let promise = Promise::new(partition.number);
        OpenBatch { builder, limit: room.bytes(), promise, number, opened, room }
    }

    /// Lets go of the logs of topics that were deleted, so that their files are closed. What is here
    /// for them fails.
    pub(super) fn release_deleted(&self) {
        // A topic that is being added is seen here, or sees for itself that it was deleted.
        let shut = self.shut.lock();
        let mut released = Vec::new();
        for topic in self.topics.iter() {
            topic.release_if_deleted(|partition, parcels| {
                released.push((partition.clone(), parcels));
            });
        }
        // Wakers are foreign code: no lock is held while they are called.
        drop(shut);
        for (partition, parcels) in released {
            self.fail(&partition, parcels, &SendError::TopicDeleted);
        }
    }

    /// Adds a topic, and lets go of the logs of those that were deleted.
    #[cold]
    fn add_topic(
        &self,
        number: u32,
        add: impl FnOnce() -> TopicQueues,
    ) -> Result<&Arc<TopicQueues>, SendError> {
        let shut = self.shut.lock();
        if *shut {
            return Err(self.why_closed());
        }
        let added = self.topics.get_or_add(number, add);
        drop(shut);
        self.release_deleted();
        Ok(added)
    }
}

/// See [`Accumulator::placing`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub(super) struct Placing<'a> {
    accumulator: Arc<Accumulator>,
    topic: Arc<TopicQueues>,
    record: ProducerRecord<'a>,
    room: Option<Room>,
    take: Option<Take>,
}

impl Future for Placing<'_> {
    type Output = Result<Ack, SendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            if let Some(take) = &mut this.take {
                match Pin::new(take).poll(context) {
                    Poll::Ready(Ok(room)) => this.room = Some(room),
                    Poll::Ready(Err(_)) => {
                        return Poll::Ready(Err(this.accumulator.why_closed()));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                this.take = None;
            }
            match this.accumulator.place(&this.topic, &this.record, &mut this.room)? {
                Placed::InBatch(ack) => return Poll::Ready(Ok(ack)),
                Placed::NeedsRoom(bytes) => {
                    let mut take = this.accumulator.pool.take(bytes);
                    let first = Pin::new(&mut take).poll(context);
                    match first {
                        Poll::Ready(Ok(room)) => this.room = Some(room),
                        Poll::Ready(Err(_)) => {
                            return Poll::Ready(Err(this.accumulator.why_closed()));
                        }
                        Poll::Pending => {
                            // In line first, then the call: the sender sees that somebody waits.
                            this.take = Some(take);
                            this.accumulator.counters.memory_waits.add(1);
                            this.accumulator.schedule.exhausted();
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }
}
