//! A producer's settings, by Kafka's names and with Kafka's defaults (4.x).

use std::time::Duration;

use crate::{
    limits::{BATCH_HEADER, MAX_BATCH_BYTES},
    record::{Compression, CompressionError},
    types::Durability,
};

/// Whose acknowledgement is waited for (`acks`). What the acknowledgement of one node means is
/// another question: [`Durability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Acks {
    /// Nobody's: a record is done when it is handed over to the log, and its offset is not known.
    None,
    /// The leader's.
    Leader,
    /// That of all in-sync replicas. A partition without followers is its own in-sync set.
    #[default]
    All,
}

/// Settings of a [`Producer`](super::Producer). Each can be set by name or by the method of the
/// same name:
///
/// ```
/// use std::time::Duration;
/// use trunkline::producer::ProducerOptions;
/// let options = ProducerOptions::new().batch_size(128 << 10).linger(Duration::from_millis(20));
/// assert_eq!(options.batch_size, 131_072);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerOptions {
    /// `batch.size`: largest batch, in bytes before compression, header included. A record that
    /// does not fit gets a batch of its own. (Kafka bounds the estimated compressed bytes; here the
    /// setting is what it says about memory.) Default [`DEFAULT_BATCH_SIZE`].
    pub batch_size: usize,
    /// `linger.ms`: how long a batch waits for more records. Default [`DEFAULT_LINGER`].
    pub linger: Duration,
    /// `buffer.memory`: bytes of records that are not acknowledged yet. Default
    /// [`DEFAULT_BUFFER_MEMORY`].
    pub buffer_memory: usize,
    /// `max.block.ms`: how long `send` waits for memory. Default [`DEFAULT_MAX_BLOCK`].
    pub max_block: Duration,
    /// `delivery.timeout.ms`: how long after its batch was opened a record may still be handed to
    /// the log. Default [`DEFAULT_DELIVERY_TIMEOUT`].
    pub delivery_timeout: Duration,
    /// `retry.backoff.ms`: pause of a partition before a batch is tried again, or its log is asked
    /// whether it takes appends again; below 1 ms it counts as that. Default
    /// [`DEFAULT_RETRY_BACKOFF`].
    pub retry_backoff: Duration,
    /// `max.request.size`: largest record, in bytes before compression with its batch's header,
    /// and largest sum of batches that one append takes. Default [`DEFAULT_MAX_REQUEST_SIZE`].
    pub max_request_size: usize,
    /// `acks`. Default [`Acks::All`].
    pub acks: Acks,
    /// What an acknowledgement means, where that is more than the topic's setting; a producer can't
    /// wait for less. Default: the topic's.
    pub durability: Option<Durability>,
    /// `compression.type`. Default: the topic's, none where the topic leaves it to the producer.
    pub compression: Option<Compression>,
    /// Seed of the draws between partitions. Default: another one each time.
    pub partitioner_seed: Option<u64>,
}

/// Default of `batch.size`, bytes.
pub const DEFAULT_BATCH_SIZE: usize = 16 << 10;
/// Default of `linger.ms` (since Kafka 4.0, KIP-1030).
pub const DEFAULT_LINGER: Duration = Duration::from_millis(5);
/// Default of `buffer.memory`, bytes.
pub const DEFAULT_BUFFER_MEMORY: usize = 32 << 20;
/// Default of `max.block.ms`.
pub const DEFAULT_MAX_BLOCK: Duration = Duration::from_mins(1);
/// Default of `delivery.timeout.ms`.
pub const DEFAULT_DELIVERY_TIMEOUT: Duration = Duration::from_mins(2);
/// Default of `retry.backoff.ms`.
pub const DEFAULT_RETRY_BACKOFF: Duration = Duration::from_millis(100);
/// Default of `max.request.size`, bytes.
pub const DEFAULT_MAX_REQUEST_SIZE: usize = 1 << 20;

const _: () = assert!(DEFAULT_BATCH_SIZE <= DEFAULT_MAX_REQUEST_SIZE);
const _: () = assert!(DEFAULT_MAX_REQUEST_SIZE <= DEFAULT_BUFFER_MEMORY);
const _: () = assert!(DEFAULT_MAX_REQUEST_SIZE <= MAX_BATCH_BYTES);

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A number is outside its range.
    #[error("{setting} must be {smallest} to {largest}, found {found}")]
    OutOfRange {
        /// Kafka's name of the setting.
        setting: &'static str,
        /// Smallest value.
        smallest: usize,
        /// Largest value.
        largest: usize,
        /// The value.
        found: usize,
    },
    /// A batch would expire before it has lingered.
    #[error(
        "delivery.timeout.ms ({delivery_timeout:?}) must be longer than linger.ms ({linger:?})"
    )]
    ExpiresBeforeLinger {
        /// `delivery.timeout.ms`.
        delivery_timeout: Duration,
        /// `linger.ms`.
        linger: Duration,
    },
    /// The codec lacks the level.
    #[error("compression.type: {0}")]
    Compression(#[from] CompressionError),
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            batch_size: DEFAULT_BATCH_SIZE,
            linger: DEFAULT_LINGER,
            buffer_memory: DEFAULT_BUFFER_MEMORY,
            max_block: DEFAULT_MAX_BLOCK,
            delivery_timeout: DEFAULT_DELIVERY_TIMEOUT,
            retry_backoff: DEFAULT_RETRY_BACKOFF,
            max_request_size: DEFAULT_MAX_REQUEST_SIZE,
            acks: Acks::default(),
            durability: None,
            compression: None,
            partitioner_seed: None,
        }
    }
}

impl ProducerOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether each setting is in its range and they fit together.
    pub fn check(&self) -> Result<(), OptionsError> {
        let within = |setting, found, smallest, largest| {
            let fits = (smallest..=largest).contains(&found);
            let refusal = OptionsError::OutOfRange { setting, smallest, largest, found };
            if fits { Ok(()) } else { Err(refusal) }
        };
        within("batch.size", self.batch_size, 0, MAX_BATCH_BYTES)?;
        within("max.request.size", self.max_request_size, BATCH_HEADER, MAX_BATCH_BYTES)?;
        within("buffer.memory", self.buffer_memory, self.batch_size.max(BATCH_HEADER), usize::MAX)?;
        if self.delivery_timeout <= self.linger {
            let (delivery_timeout, linger) = (self.delivery_timeout, self.linger);
            return Err(OptionsError::ExpiresBeforeLinger { delivery_timeout, linger });
        }
        Ok(self.compression.map_or(Ok(()), Compression::check)?)
    }
}

setters! {
    ProducerOptions {
        batch_size: usize,
        linger: Duration,
        buffer_memory: usize,
        max_block: Duration,
        delivery_timeout: Duration,
        retry_backoff: Duration,
        max_request_size: usize,
        acks: Acks,
        durability: Durability,
        compression: Compression,
        partitioner_seed: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Codec;

    #[test]
    fn defaults_are_kafkas_and_pass() {
        let options = ProducerOptions::new();
        assert_eq!((options.batch_size, options.linger), (16_384, Duration::from_millis(5)));
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |options: ProducerOptions| options.check().unwrap_err().to_string();
        let text = refused(ProducerOptions::new().buffer_memory(100));
        assert_eq!(text, format!("buffer.memory must be 16384 to {}, found 100", usize::MAX));
        let text = refused(ProducerOptions::new().delivery_timeout(Duration::ZERO));
        assert_eq!(text, "delivery.timeout.ms (0ns) must be longer than linger.ms (5ms)");
        let same = ProducerOptions::new().linger(Duration::ZERO).delivery_timeout(Duration::ZERO);
        assert!(refused(same).contains("longer than linger.ms"), "it expires when it may leave");
        let compression = Compression { codec: Codec::Snappy, level: Some(1) };
        assert!(refused(ProducerOptions::new().compression(compression)).contains("no levels"));
    }
}
