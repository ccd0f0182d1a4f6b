//! The one place where the harness meets the engine: open a log, send records, learn when each was
//! acknowledged, read the counters.

mod double;
mod in_flight;

use std::{path::Path, sync::Arc, time::Duration};

use trunkline::{record::Compression, types::Durability};

use crate::{acks::Acks, latency::Recorder};
use double as engine;
use in_flight::InFlight;

/// How the log is laid out.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// Number of partitions.
    pub partitions: u32,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Largest batch that is sent, in bytes.
    pub batch_size: usize,
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
}

/// Totals since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
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
    pub fn since(self, earlier: Self) -> Self {
        Self {
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
    fn new(operation: &'static str, reason: impl ToString) -> Self {
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

/// An open log with one topic.
#[derive(Debug)]
pub struct Target {
    log: engine::Log,
    partitions: u32,
}

impl Target {
    /// Makes a new log in the empty folder `dir`.
    pub fn open(dir: &Path, topic: &TopicSettings) -> Result<Self, TargetError> {
        let log = engine::Log::create(dir, topic.durability)
            .map_err(|error| TargetError::new("open", error))?;
        Ok(Self { log, partitions: topic.partitions })
    }

    /// A producer of its own, for one thread. Acknowledgements go to `recorder`.
    pub fn producer(
        &self,
        settings: &ProducerSettings,
        recorder: Arc<Recorder>,
    ) -> Result<Producer, TargetError> {
        let producer = self.log.producer(settings);
        let in_flight = InFlight::new(recorder, self.partitions);
        Ok(Producer { producer, in_flight, partitions: self.partitions })
    }

    /// Totals of now.
    pub fn counters(&self) -> Counters {
        self.log.counters()
    }

    /// Closes the log cleanly.
    pub fn close(self) -> Result<(), TargetError> {
        drop(self.log);
        Ok(())
    }
}

/// One thread's producer and the records that it has not heard of yet.
#[derive(Debug)]
pub struct Producer {
    producer: engine::Producer,
    in_flight: InFlight,
    partitions: u32,
}

impl Producer {
    /// Sends a record; waits while `buffer.memory` is in use.
    pub fn send(&mut self, record: Outgoing<'_>) -> Result<(), TargetError> {
        let ack = self
            .producer
            .send(record.key, record.value, record.timestamp_ms)
            .map_err(|error| TargetError::new("send", error))?;
        // Without a key the sticky partitioner stays with one batch at a time.
        let slot = record.key.map_or(0, |key| engine::partition_for_key(key, self.partitions));
        self.in_flight.sent(slot, ack, record.tag);
        Ok(())
    }

    /// Hands what was acknowledged since to the recorder. Never waits.
    pub fn harvest(&mut self) {
        self.in_flight.harvest();
    }

    /// Sends what is still lingering, and waits for every acknowledgement.
    pub fn finish(mut self) -> Result<(), TargetError> {
        self.producer.flush().map_err(|error| TargetError::new("flush", error))?;
        self.in_flight.wait_for_all();
        Ok(())
    }
}
