//! Why a consumer's operation fails: one enum an operation.

use std::sync::Arc;

use crate::{
    error::{Corruption, IoError},
    log::ReadError,
    topic::OfflineReason,
    types::{Offset, TopicName, TopicPartition},
};

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
}

/// Why a partition was not assigned.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// The topic has no such partition here.
    #[error("topic {topic} has no partition {partition} here: it has {count}")]
    NoPartition {
        /// The topic.
        topic: TopicName,
        /// The number asked for.
        partition: u32,
        /// Partitions of the topic.
        count: u32,
    },
    /// The partition could not be opened.
    #[error("partition {partition} is offline: {reason}")]
    Offline {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        reason: Arc<OfflineReason>,
    },
    /// The consumer has it already.
    #[error("partition {0} is assigned already")]
    Twice(TopicPartition),
    /// The topic was deleted.
    #[error("topic {0} was deleted")]
    Deleted(TopicName),
}

/// Why a position was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SeekError {
    /// The consumer does not have the partition.
    #[error("partition {0} is not assigned")]
    NotAssigned(TopicPartition),
    /// No offset is negative.
    #[error("offset {offset} of {partition} is negative")]
    Negative {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        offset: Offset,
    },
    /// The record of that time could not be looked for.
    #[error("{partition}: {source}")]
    Read {
        /// The partition.
        partition: TopicPartition,
        /// What failed.
        source: ReadError,
    },
}

/// Why a poll gave no records. The positions are as they were: nothing was skipped, and the next poll
/// tries again.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// There is nothing to poll.
    #[error("no partition is assigned")]
    NothingAssigned,
    /// The partition has no position, and `auto.offset.reset` is `none`.
    #[error("partition {0} has no position: seek, or set auto.offset.reset")]
    NoPosition(TopicPartition),
    /// The log no longer holds the position, and `auto.offset.reset` is `none`.
    #[error(
        "offset {offset} of {partition} is out of range: the log holds {log_start} to {log_end}"
    )]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: Offset,
        /// First offset that can be read.
        log_start: Offset,
        /// Offset of the next record.
        log_end: Offset,
    },
    /// The topic was deleted: unassign it.
    #[error("topic {0} was deleted")]
    Deleted(TopicName),
    /// The engine was closed.
    #[error("partition {0} is closed")]
    Closed(TopicPartition),
    /// Bytes on disk cannot be what was written.
    #[error("{partition}: {source}")]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// Where, and what.
        source: Corruption,
    },
    /// A system call failed.
    #[error("{partition}: {source}")]
    Io {
        /// The partition.
        partition: TopicPartition,
        /// What failed.
        source: IoError,
    },
}
