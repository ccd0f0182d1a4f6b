//! A consumer's settings, under Kafka's names and with its defaults (4.x).

use std::time::Duration;

use super::OptionsError;
use crate::log::Isolation;

/// Default of `fetch.min.bytes`.
pub const DEFAULT_FETCH_MIN_BYTES: usize = 1;
/// Default of `fetch.max.bytes`: 50 MiB.
pub const DEFAULT_FETCH_MAX_BYTES: usize = 50 << 20;
/// Default of `max.partition.fetch.bytes`: 1 MiB.
pub const DEFAULT_MAX_PARTITION_FETCH_BYTES: usize = 1 << 20;
/// Default of `fetch.max.wait.ms`.
pub const DEFAULT_FETCH_MAX_WAIT: Duration = Duration::from_millis(500);
/// Default of `max.poll.records`.
pub const DEFAULT_MAX_POLL_RECORDS: usize = 500;

const _: () = assert!(DEFAULT_FETCH_MIN_BYTES <= DEFAULT_MAX_PARTITION_FETCH_BYTES);
const _: () = assert!(DEFAULT_MAX_PARTITION_FETCH_BYTES <= DEFAULT_FETCH_MAX_BYTES);

/// Where to start when there is no position, or the log no longer holds it (`auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AutoOffsetReset {
    /// At the first record.
    Earliest,
    /// Behind the last record.
    #[default]
    Latest,
    /// Nowhere: it is an error.
    None,
}

/// How far a consumer sees (`isolation.level`); never behind what is committed, since nobody should act
/// on what a crash can take back. To read up to the log end is a follower's and a tool's business:
/// [`PartitionLog::fetch`](crate::log::PartitionLog::fetch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// What is committed ([`Isolation::Committed`]), the records of open and aborted transactions
    /// included.
    #[default]
    ReadUncommitted,
    /// No further than the first open transaction, and without the records of aborted ones
    /// ([`Isolation::Stable`]).
    ReadCommitted,
}

impl From<IsolationLevel> for Isolation {
    fn from(level: IsolationLevel) -> Self {
        match level {
            IsolationLevel::ReadUncommitted => Self::Committed,
            IsolationLevel::ReadCommitted => Self::Stable,
        }
    }
}

/// Settings of a [`Consumer`](super::Consumer).
///
/// ```
/// use trunkline::consumer::{AutoOffsetReset, ConsumerOptions};
/// let options = ConsumerOptions::new()
///     .auto_offset_reset(AutoOffsetReset::Earliest)
///     .max_poll_records(10_000);
/// assert_eq!(options.fetch_min_bytes, 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// `fetch.min.bytes`: a poll waits until so many bytes are there, for `fetch.max.wait.ms` at
    /// most, or until a limit is reached. Default [`DEFAULT_FETCH_MIN_BYTES`].
    pub fetch_min_bytes: usize,
    /// `fetch.max.bytes`: bytes that are fetched ahead at most, of all partitions together; but the
    /// first batch whatever its size. Default [`DEFAULT_FETCH_MAX_BYTES`].
    pub fetch_max_bytes: usize,
    /// `max.partition.fetch.bytes`: bytes of one partition that are fetched ahead at most; but the
    /// first batch whatever its size. Default [`DEFAULT_MAX_PARTITION_FETCH_BYTES`].
    pub max_partition_fetch_bytes: usize,
    /// `fetch.max.wait.ms`: how long `fetch.min.bytes` are waited for. Default
    /// [`DEFAULT_FETCH_MAX_WAIT`].
    pub fetch_max_wait: Duration,
    /// `max.poll.records`: records that one poll gives at most, at least 1. Default
    /// [`DEFAULT_MAX_POLL_RECORDS`].
    pub max_poll_records: usize,
    /// `auto.offset.reset`: where to start when there is no position, or the log no longer holds it.
    /// Default [`AutoOffsetReset::Latest`]: a fresh consumer, without a [`seek`](super::Consumer::seek),
    /// gets only what is committed after it was assigned its partition, none of what stands there
    /// already.
    pub auto_offset_reset: AutoOffsetReset,
    /// `isolation.level`: how far the consumer sees. Default: what is committed. Control records are
    /// given at no level.
    pub isolation: IsolationLevel,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            fetch_min_bytes: DEFAULT_FETCH_MIN_BYTES,
            fetch_max_bytes: DEFAULT_FETCH_MAX_BYTES,
            max_partition_fetch_bytes: DEFAULT_MAX_PARTITION_FETCH_BYTES,
            fetch_max_wait: DEFAULT_FETCH_MAX_WAIT,
            max_poll_records: DEFAULT_MAX_POLL_RECORDS,
            auto_offset_reset: AutoOffsetReset::default(),
            isolation: IsolationLevel::default(),
        }
    }
}

impl ConsumerOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the settings fit.
    pub fn check(&self) -> Result<(), OptionsError> {
        match self.max_poll_records {
            0 => Err(OptionsError::OutOfRange {
                setting: "max.poll.records",
                smallest: 1,
                largest: usize::MAX,
                found: 0,
            }),
            _ => Ok(()),
        }
    }
}

setters! {
    ConsumerOptions {
        fetch_min_bytes: usize,
        fetch_max_bytes: usize,
        max_partition_fetch_bytes: usize,
        fetch_max_wait: Duration,
        max_poll_records: usize,
        auto_offset_reset: AutoOffsetReset,
        isolation: IsolationLevel,
    }
}
