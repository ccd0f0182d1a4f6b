//! The face of the room.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    Ack, OptionsError, ProducerMetrics, ProducerOptions, ProducerRecord, SendError,
    accumulator::{Accumulator, Placed},
    queue::TopicQueues,
    sender::{Sender, is_on_our_thread},
};
use crate::{
    clock::Clock,
    commit::wait_for,
    sync::{
        Mutex,
        thread::{self, JoinHandle},
    },
    topic::Topic,
};

/// Sends records. Many threads may share one: order is kept for each thread within a partition.
///
/// It owns a thread that sends, and one more a log dir once it waits for that device; both end with
/// it. Dropping it is [`close`](Self::close) without patience: records that the log has not taken
/// yet fail with [`SendError::Closed`], and the drop waits only for what the disk has in hand.
pub struct Producer {
    pub(super) accumulator: Arc<Accumulator>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why there is no producer.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// A setting is refused.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The thread that sends could not be started.
    #[error("start the sender's thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why a producer was not closed in peace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// It was closed before everything was sent.
    #[error("{records} records were not sent before the producer was closed")]
    Unsent {
        /// Records that failed with [`SendError::Closed`].
        records: u64,
    },
    /// One of its threads had panicked; what was not acknowledged has failed with
    /// [`SendError::Stopped`].
    #[error("a thread of the producer panicked")]
    Stopped,
    /// A waker closed it, on one of its own threads, which end when the waker returns.
    #[error("the producer is being closed")]
    UnderWay,
}

/// A producer, as the engine remembers it: without keeping it.
#[derive(Debug, Clone)]
pub(crate) struct WeakProducer(Weak<Accumulator>);

impl WeakProducer {
    /// Whether the producer is still there.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Lets go of the logs of topics that were deleted; records that wait for them fail.
    pub(crate) fn release_deleted(&self) {
        if let Some(accumulator) = self.0.upgrade() {
            accumulator.release_deleted();
        }
    }
}

impl Producer {
    /// A producer with its sender's thread.
    pub fn new(clock: Arc<dyn Clock>, options: ProducerOptions) -> Result<Self, ProducerError> {
        options.check()?;
        let accumulator = Accumulator::new(clock, options);
        let sender = Sender::new(accumulator.clone(), true);
        let builder = thread::Builder::new().name("trunkline-send".into());
        let thread = builder.spawn(move || sender.run()).map_err(ProducerError::Thread)?;
        Ok(Self { accumulator, thread: Mutex::new(Some(thread)) })
    }

    /// Puts a record into a batch of its partition, and blocks for `max.block.ms` at most where there
    /// is no memory for it. The [`Ack`] tells when and where it stands in the log.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use trunkline::{producer::{Producer, ProducerRecord, SendError}, topic::Topic};
    /// # fn send(producer: &Producer, topic: &Arc<Topic>) -> Result<(), SendError> {
    /// let record = ProducerRecord::new(Some(b"train 12"), Some(b"departed"));
    /// let placed = producer.send(topic, &record)?.wait()?;
    /// println!("partition {}, offset {:?}", placed.partition, placed.offset);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn send(&self, topic: &Arc<Topic>, record: &ProducerRecord<'_>) -> Result<Ack, SendError> {
        self.send_to(self.queues(topic)?, record)
    }

    /// [`send`](Self::send) that never blocks: [`SendError::Full`] where there is no memory now.
    pub fn try_send(
        &self,
        topic: &Arc<Topic>,
        record: &ProducerRecord<'_>,
    ) -> Result<Ack, SendError> {
        self.try_send_to(self.queues(topic)?, record)
    }

    /// [`send`](Self::send) that awaits memory, with no limit of its own: a caller that has one drops
    /// the future, and nothing was sent.
    pub fn send_async<'a>(
        &self,
        topic: &Arc<Topic>,
        record: ProducerRecord<'a>,
    ) -> impl Future<Output = Result<Ack, SendError>> + Send + use<'a> {
        let placing =
            self.queues(topic).map(|queues| self.accumulator.placing(queues.clone(), record));
        async { placing?.await }
    }

    /// Makes all batches due, whatever their linger, and blocks until every record that was sent
    /// before is acknowledged or has failed; its [`Ack`] says which.
    ///
    /// Called by a waker, that is on a producer's own thread, it makes them due and waits for nothing.
    pub fn flush(&self) {
        let upto = self.accumulator.schedule.hurry();
        if is_on_our_thread() {
            return;
        }
        // An error means that the producer was closed: then, too, all is decided.
        let _ = self.accumulator.schedule.watermark().wait_until(upto, None);
    }

    /// [`flush`](Self::flush), to be awaited.
    pub async fn flush_async(&self) {
        let upto = self.accumulator.schedule.hurry();
        let _ = self.accumulator.schedule.watermark().reached(upto).await;
    }

    /// Takes no more records, sends what is here for at most `timeout`, fails the rest with
    /// [`SendError::Closed`], and ends the threads. An operation that the disk has in hand is waited
    /// for, whatever the timeout. Where the producer is being closed already the shorter patience
    /// counts, and each call returns when that is done, as does a later one: with the same outcome.
    ///
    /// Called by a waker, that is on a producer's own thread, it waits for nothing: the threads end
    /// when the waker returns, and the outcome is [`CloseError::UnderWay`].
    pub fn close(&self, timeout: Duration) -> Result<(), CloseError> {
        if timeout.is_zero() {
            // First of all, or the close would make everything due.
            self.accumulator.schedule.abort();
        }
        let upto = self.accumulator.close();
        if is_on_our_thread() {
            self.accumulator.schedule.abort();
            return Err(CloseError::UnderWay);
        }
        let deadline = Instant::now().checked_add(timeout);
        let _ = self.accumulator.schedule.watermark().wait_until(upto, deadline);
        self.accumulator.schedule.abort();
        // Held until the thread has ended: whoever closes too waits here.
        let mut thread = self.thread.lock();
        if thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the sender panicked; what it had in hand has failed");
        }
        drop(thread);
        match self.accumulator.abandoned() {
            _ if self.accumulator.is_stopped() => Err(CloseError::Stopped),
            0 => Ok(()),
            records => Err(CloseError::Unsent { records }),
        }
    }

    /// What was done so far.
    pub fn metrics(&self) -> ProducerMetrics {
        let (accumulator, pool) = (&self.accumulator, &self.accumulator.pool);
        ProducerMetrics {
            buffer_total: pool.total() as u64,
            buffer_available: pool.available() as u64,
            waiting: pool.waiting() as u64,
            batch_size: accumulator.options.batch_size as u64,
            ..accumulator.counters.snapshot()
        }
    }

    /// The settings.
    pub fn options(&self) -> &ProducerOptions {
        &self.accumulator.options
    }

    pub(crate) fn downgrade(&self) -> WeakProducer {
        WeakProducer(Arc::downgrade(&self.accumulator))
    }

    #[inline]
    fn queues(&self, topic: &Arc<Topic>) -> Result<&Arc<TopicQueues>, SendError> {
        if topic.is_deleted() {
            return Err(SendError::TopicDeleted);
        }
        let add = || TopicQueues::of(topic, &self.accumulator.options);
        self.accumulator.topic(topic.number(), Arc::as_ptr(topic) as usize, add)
    }

    #[inline]
    pub(super) fn send_to(
        &self,
        topic: &Arc<TopicQueues>,
        record: &ProducerRecord<'_>,
    ) -> Result<Ack, SendError> {
        match self.accumulator.place(topic, record, &mut None)? {
            Placed::InBatch(ack) => Ok(ack),
            Placed::NeedsRoom(needed) => self.send_slowly(topic, record, needed),
        }
    }

    #[cold]
    fn send_slowly(
        &self,
        topic: &Arc<TopicQueues>,
        record: &ProducerRecord<'_>,
        needed: usize,
    ) -> Result<Ack, SendError> {
        // A waker that waits here would wait for the thread that it is called on.
        let max_block =
            if is_on_our_thread() { Duration::ZERO } else { self.accumulator.options.max_block };
        let deadline = Instant::now().checked_add(max_block);
        let placing = self.accumulator.placing(topic.clone(), *record);
        wait_for(placing, deadline).unwrap_or_else(|| {
            let available = self.accumulator.pool.available();
            Err(SendError::Blocked { needed, available, max_block })
        })
    }

    pub(super) fn try_send_to(
        &self,
        topic: &Arc<TopicQueues>,
        record: &ProducerRecord<'_>,
    ) -> Result<Ack, SendError> {
        match self.accumulator.place(topic, record, &mut None)? {
            Placed::InBatch(ack) => Ok(ack),
            Placed::NeedsRoom(_) => {
                // Whoever comes again finds memory sooner when nothing lingers.
                self.accumulator.schedule.exhausted();
                Err(SendError::Full)
            }
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("options", self.options()).finish_non_exhaustive()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // Who wants to know calls `close`; each lost record's `Ack` says so too.
        let _ = self.close(Duration::ZERO);
    }
}
