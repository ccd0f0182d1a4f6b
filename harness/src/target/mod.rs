//! The one place where the harness meets the engine: open a log, send records, learn when each was
//! acknowledged, read the counters.

mod in_flight;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use trunkline::{
    Engine, EngineOptions,
    limits::MAX_GROUP_BYTES,
    producer::{ProducerOptions, ProducerRecord, partition_for_key},
    record::Compression,
    topic::{Topic, TopicConfig},
    types::Durability,
};

use crate::{acks::Acks, latency::Recorder, size::ByteSize};
use in_flight::InFlight;

/// How the log is laid out.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// Number of partitions.
    pub partitions: u32,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Largest batch that is sent, in bytes: the topic must take it.
    pub largest_batch: usize,
}

/// How records are sent. Kafka's names, Kafka's meanings.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// `linger.ms`.
    pub linger: Duration,
    /// `batch.size`, bytes.
    pub batch_size: usize,
    /// `max.request.size`, bytes.
    pub largest_batch: usize,
    /// `compression.type` and level.
    pub compression: Compression,
    /// `acks`.
    pub acks: Acks,
    /// `buffer.memory`, bytes.
    pub buffer_memory: usize,
    /// Of the draws between partitions.
    pub seed: u64,
}

impl ProducerSettings {
    /// Whether the engine takes them, and does what they say.
    pub fn check(&self) -> Result<(), String> {
        self.options().check().map_err(|error| error.to_string())?;
        if self.largest_batch > MAX_GROUP_BYTES {
            let (batch, most) = (ByteSize(self.largest_batch as u64), MAX_GROUP_BYTES as u64);
            return Err(format!("a batch of {batch}: one append takes {}", ByteSize(most)));
        }
        Ok(())
    }

    fn options(&self) -> ProducerOptions {
        ProducerOptions::default()
            .linger(self.linger)
            .batch_size(self.batch_size)
            .max_request_size(self.largest_batch)
            .compression(self.compression)
            .acks(self.acks.into())
            .buffer_memory(self.buffer_memory)
            .max_block(PATIENCE)
            .delivery_timeout(PATIENCE)
            .partitioner_seed(self.seed)
    }
}

/// Totals since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Records that were acknowledged.
    pub records: u64,
    /// Records that failed.
    pub failed: u64,
    /// Batches that were appended.
    pub batches: u64,
    /// Bytes of those batches before compression, headers included.
    pub raw_bytes: u64,
    /// Bytes of those batches as they stand in the log.
    pub batch_bytes: u64,
    /// Syncs of files, folders included.
    pub fsyncs: u64,
}

impl Counters {
    /// What came since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            records: self.records.saturating_sub(earlier.records),
            failed: self.failed.saturating_sub(earlier.failed),
            batches: self.batches.saturating_sub(earlier.batches),
            raw_bytes: self.raw_bytes.saturating_sub(earlier.raw_bytes),
            batch_bytes: self.batch_bytes.saturating_sub(earlier.batch_bytes),
            fsyncs: self.fsyncs.saturating_sub(earlier.fsyncs),
        }
    }
}

/// What the engine said no to.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {reason}")]
pub struct TargetError {
    /// `"open"`, `"send"`, `"close"`.
    pub operation: &'static str,
    /// The engine's words.
    pub reason: String,
}

impl TargetError {
    fn new(operation: &'static str, reason: &dyn std::fmt::Display) -> Self {
        Self { operation, reason: reason.to_string() }
    }
}

/// One record on its way to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: &'a [u8],
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// [`crate::tag::Stamps`], handed to the [`Recorder`] with the acknowledgement.
    pub tag: u64,
}

/// Name of the topic that everything is sent to.
pub const TOPIC: &str = "harness";
/// `max.block.ms` and `delivery.timeout.ms`: a run waits for the engine however long it takes. To give
/// up on slow records would make the others look better.
const PATIENCE: Duration = Duration::from_hours(24);
/// How long a close may wait for records under way.
const CLOSE_TIMEOUT: Duration = Duration::from_mins(1);

/// An open log with one topic.
#[derive(Debug)]
pub struct Target {
    engine: Engine,
    topic: Arc<Topic>,
    /// All that were made: their counters are part of the totals.
    producers: Mutex<Vec<Arc<trunkline::producer::Producer>>>,
}

impl Target {
    /// Makes a new log in the empty folder `dir`.
    pub fn open(dir: &Path, topic: &TopicSettings) -> Result<Self, TargetError> {
        let engine = Engine::open(EngineOptions::new(dir))
            .map_err(|error| TargetError::new("open", &error))?;
        let largest = topic.largest_batch.max(TopicConfig::default().max_message_bytes as usize);
        let config = TopicConfig::default()
            .durability(topic.durability)
            .max_message_bytes(largest.try_into().unwrap_or(i32::MAX));
        let topic = engine
            .create_topic(TOPIC, topic.partitions, config)
            .map_err(|error| TargetError::new("create topic", &error))?;
        Ok(Self { engine, topic, producers: Mutex::default() })
    }

    /// A producer of its own, for one thread. Acknowledgements go to `recorder`.
    pub fn producer(
        &self,
        settings: &ProducerSettings,
        recorder: Arc<Recorder>,
    ) -> Result<Producer, TargetError> {
        let producer = self.engine.producer(settings.options());
        let producer = producer.map_err(|error| TargetError::new("open", &error))?;
        let producer = Arc::new(producer);
        self.producers.lock().unwrap_or_else(PoisonError::into_inner).push(producer.clone());
        let in_flight = InFlight::new(recorder, self.topic.partition_count());
        Ok(Producer { inner: producer, topic: self.topic.clone(), in_flight })
    }

    /// Totals of now.
    pub fn counters(&self) -> Counters {
        let mut counters =
            Counters { fsyncs: self.engine.metrics().syncs(), ..Counters::default() };
        for producer in &*self.producers.lock().unwrap_or_else(PoisonError::into_inner) {
            let metrics = producer.metrics();
            counters.records += metrics.records;
            counters.failed += metrics.failed_records;
            counters.batches += metrics.batches;
            counters.raw_bytes += metrics.raw_bytes;
            counters.batch_bytes += metrics.log_bytes;
        }
        counters
    }

    /// Closes the producers without patience: who waits in one of them for memory or for an
    /// acknowledgement gets an error at once.
    pub fn give_up(&self) {
        for producer in &*self.producers.lock().unwrap_or_else(PoisonError::into_inner) {
            // What it says is what we wanted.
            let _ = producer.close(Duration::ZERO);
        }
    }

    /// Closes the log cleanly.
    pub fn close(self) -> Result<(), TargetError> {
        let mut outcome = Ok(());
        for producer in self.producers.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let closed = producer.close(CLOSE_TIMEOUT);
            outcome = outcome.and(closed.map_err(|error| TargetError::new("close", &error)));
        }
        outcome.and(self.engine.close().map_err(|error| TargetError::new("close", &error)))
    }
}

/// One thread's producer and the records that it has not heard of yet.
#[derive(Debug)]
pub struct Producer {
    inner: Arc<trunkline::producer::Producer>,
    topic: Arc<Topic>,
    in_flight: InFlight,
}

impl Producer {
    /// Sends a record; waits while `buffer.memory` is in use.
    pub fn send(&mut self, record: Outgoing<'_>) -> Result<(), TargetError> {
        let outgoing =
            ProducerRecord::new(record.key, Some(record.value)).timestamp(record.timestamp_ms);
        let ack = self
            .inner
            .send(&self.topic, &outgoing)
            .map_err(|error| TargetError::new("send", &error))?;
        // Without a key the sticky partitioner stays with one batch at a time.
        let partitions = self.topic.partition_count();
        let slot = record.key.map_or(0, |key| partition_for_key(key, partitions));
        self.in_flight.sent(slot, ack, record.tag);
        Ok(())
    }

    /// Hands what was acknowledged since to the recorder. Never waits.
    pub fn harvest(&mut self) {
        self.in_flight.harvest();
    }

    /// Sends what is still lingering, and waits for every acknowledgement.
    pub fn finish(mut self) -> Result<(), TargetError> {
        self.inner.flush();
        self.in_flight.wait_for_all();
        Ok(())
    }
}
