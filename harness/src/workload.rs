//! One workload: everything that decides what a run does.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use trunkline::{record::Compression, types::Durability};

use crate::{
    acks::Acks,
    keys::{KEY_BYTES, KeyKind},
    payload::PayloadKind,
    percentile,
    rate::Rate,
    size::ByteSize,
    span::Span,
    target::{ProducerSettings, TopicSettings},
};

/// How long records are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// This many after the warm-up, over all producers.
    Records(u64),
    /// This long after the warm-up.
    Duration(Duration),
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// How long.
    pub extent: Extent,
    /// Sent before, and not counted.
    pub warmup: Duration,
    /// Bytes of a value.
    pub record_size: ByteSize,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Producers, each with a thread of its own.
    pub producers: u32,
    /// `linger.ms`.
    pub linger_ms: u64,
    /// `batch.size`.
    pub batch_size: ByteSize,
    /// `compression.type` and level.
    pub compression: Compression,
    /// `acks`.
    pub acks: Acks,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// How many records a second are offered.
    pub rate: Rate,
    /// How keys are chosen.
    pub keys: KeyKind,
    /// What values are made of.
    pub payload: PayloadKind,
    /// `buffer.memory` of each producer.
    pub buffer_memory: ByteSize,
    /// Of payload and keys.
    pub seed: u64,
    /// When a percentile is earned.
    pub percentiles: percentile::Rule,
}

/// A guess of what the engine takes at most, in bytes a second: only to know how much memory to
/// touch and how much room to ask for.
const GUESSED_MAX_BYTES_PER_SECOND: u64 = 800_000_000;
/// Bytes that a record takes beside key and value, at most.
const FRAMING: u64 = 24;

impl Workload {
    /// The engine's topic settings.
    pub fn topic(&self) -> TopicSettings {
        TopicSettings {
            partitions: self.partitions,
            durability: self.durability,
            largest_batch: self.largest_batch(),
        }
    }

    /// Whether the engine takes these settings, so that no sweep finds out in its middle.
    pub fn check(&self) -> Result<(), String> {
        let memory = self.buffer_memory;
        let needs = |what, needed: ByteSize| {
            Err(format!(
                "{what} takes {needed}, and buffer.memory has {memory}: raise --buffer-memory"
            ))
        };
        if self.batch_size > memory {
            return needs("a full batch", self.batch_size);
        }
        if ByteSize(self.single_batch()) > memory {
            return needs("a record with its batch", ByteSize(self.single_batch()));
        }
        self.producer().check()
    }

    /// The engine's producer settings.
    pub fn producer(&self) -> ProducerSettings {
        ProducerSettings {
            linger: Duration::from_millis(self.linger_ms),
            batch_size: self.batch_size.0 as usize,
            largest_batch: self.largest_batch(),
            compression: self.compression,
            acks: self.acks,
            buffer_memory: self.buffer_memory.0 as usize,
            seed: self.seed,
        }
    }

    /// Bytes of a record's key and value.
    pub fn record_bytes(&self) -> u64 {
        let key = if self.keys == KeyKind::None { 0 } else { KEY_BYTES as u64 };
        self.record_size.0 + key
    }

    /// Bytes that the run will write at most, as far as one can know before.
    pub fn expected_bytes(&self) -> u64 {
        let record = self.record_bytes() + FRAMING;
        let seconds = |duration: Duration| duration.as_secs_f64();
        let over = |duration: Duration| match self.rate {
            Rate::PerSecond(rate) => (rate as f64 * seconds(duration)) as u64 * record,
            Rate::Max | Rate::PercentOfMax(_) => {
                (GUESSED_MAX_BYTES_PER_SECOND as f64 * seconds(duration)) as u64
            }
        };
        let measured = match self.extent {
            Extent::Records(records) => records.saturating_mul(record),
            Extent::Duration(duration) => over(duration),
        };
        measured.saturating_add(over(self.warmup))
    }

    /// The settings as the result names them.
    pub fn config(&self) -> Config {
        let (records, duration) = match self.extent {
            Extent::Records(records) => (Some(records), None),
            Extent::Duration(duration) => (None, Some(duration.as_secs_f64())),
        };
        Config {
            records,
            duration_seconds: duration,
            warmup_seconds: self.warmup.as_secs_f64(),
            record_size_bytes: self.record_size.0,
            partitions: self.partitions,
            producers: self.producers,
            linger_ms: self.linger_ms,
            batch_size_bytes: self.batch_size.0,
            compression: self.compression.to_string(),
            acks: self.acks.to_string(),
            durability: self.durability.to_string(),
            rate: self.rate.to_string(),
            rate_per_second: match self.rate {
                Rate::PerSecond(rate) => Some(rate),
                Rate::Max | Rate::PercentOfMax(_) => None,
            },
            keys: self.keys.to_string(),
            payload: self.payload.to_string(),
            buffer_memory_bytes: self.buffer_memory.0,
            seed: self.seed,
            percentiles: self.percentiles.to_string(),
        }
    }

    /// A record that does not fit `batch.size` gets a batch of its own.
    fn largest_batch(&self) -> usize {
        self.batch_size.0.max(self.single_batch()).max(1 << 20) as usize
    }

    /// Bytes of a batch of one record, at most.
    fn single_batch(&self) -> u64 {
        self.record_bytes() + FRAMING + 128
    }
}

impl fmt::Display for Workload {
    /// Everything but how long, on one line: a sweep knows its cells by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "linger-ms={} batch-size={} compression={} rate={} durability={} acks={} \
             record-size={} payload={} keys={} partitions={} producers={} buffer-memory={} seed={}",
            self.linger_ms,
            self.batch_size,
            self.compression,
            self.rate,
            self.durability,
            self.acks,
            self.record_size,
            self.payload,
            self.keys,
            self.partitions,
            self.producers,
            self.buffer_memory,
            self.seed,
        )?;
        match self.extent {
            Extent::Records(records) => write!(f, " records={records}")?,
            Extent::Duration(duration) => write!(f, " duration={}", Span(duration))?,
        }
        write!(f, " warmup={}", Span(self.warmup))
    }
}

/// The settings of a run: `config` in the JSON. Sizes in bytes, times in the unit of the name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Config {
    /// Records to measure; null where the run has a duration.
    pub records: Option<u64>,
    /// Seconds to measure; null where the run has a number of records.
    pub duration_seconds: Option<f64>,
    /// Seconds before, not counted.
    pub warmup_seconds: f64,
    /// Bytes of a value.
    pub record_size_bytes: u64,
    /// Partitions.
    pub partitions: u32,
    /// Producers, one thread each.
    pub producers: u32,
    /// `linger.ms`.
    pub linger_ms: u64,
    /// `batch.size`.
    pub batch_size_bytes: u64,
    /// Codec, with its level where one is set.
    pub compression: String,
    /// `0`, `1` or `all`.
    pub acks: String,
    /// `written` or `durable`.
    pub durability: String,
    /// The rate as it was asked for: `max`, a number, or a part of the maximum (`50%`).
    pub rate: String,
    /// Records a second that were offered; null where the rate is `max`.
    pub rate_per_second: Option<u64>,
    /// `none`, `uniform` or `zipf`.
    pub keys: String,
    /// `random`, `text`, `json` or `file:…`.
    pub payload: String,
    /// `buffer.memory` of each producer.
    pub buffer_memory_bytes: u64,
    /// Of payload and keys.
    pub seed: u64,
    /// How sure a percentile must be to be shown: within a `quarter` of the tail beyond it, or within
    /// a twentieth (`strict`).
    #[serde(default)]
    pub percentiles: String,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Kafka's defaults, a second at full speed.
    pub(crate) fn workload() -> Workload {
        Workload {
            extent: Extent::Duration(Duration::from_secs(1)),
            warmup: Duration::ZERO,
            record_size: ByteSize::kib(1),
            partitions: 1,
            producers: 1,
            linger_ms: 5,
            batch_size: ByteSize::kib(16),
            compression: Compression::default(),
            acks: Acks::All,
            durability: Durability::Durable,
            rate: Rate::Max,
            keys: KeyKind::None,
            payload: PayloadKind::Json,
            buffer_memory: ByteSize::mib(32),
            seed: 42,
            percentiles: percentile::Rule::Quarter,
        }
    }

    #[test]
    fn workloads_that_differ_are_told_apart() {
        let one = workload();
        let others = [
            Workload { linger_ms: 6, ..one.clone() },
            Workload { rate: Rate::PerSecond(7), ..one.clone() },
            Workload { extent: Extent::Records(7), ..one.clone() },
            Workload { seed: 7, ..one.clone() },
            Workload { payload: PayloadKind::Text, ..one.clone() },
        ];
        for other in others {
            assert_ne!(one.to_string(), other.to_string());
        }
    }

    #[test]
    fn the_bytes_to_come_are_estimated() {
        let records = Workload { extent: Extent::Records(1_000), ..workload() };
        assert_eq!(records.expected_bytes(), 1_000 * (1_024 + FRAMING));
        let paced =
            Workload { rate: Rate::PerSecond(100), warmup: Duration::from_secs(1), ..workload() };
        assert_eq!(paced.expected_bytes(), 200 * (1_024 + FRAMING));
    }
}
