//! Why a record is not accepted, or is not in the log.

use std::{sync::Arc, time::Duration};

use crate::{
    log::{AppendError, CommitError},
    record::RecordError,
    topic::OfflineReason,
};

/// Why a record is not accepted (`send`), or did not reach its acknowledgement
/// ([`Ack`](super::Ack)). All records of one batch share the error: it is cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The producer was closed before the record was handed over to the log. It is not there.
    #[error("the producer is closed")]
    Closed,
    /// A thread of the producer panicked, and the producer ended with it. Of a record that was handed
    /// over to the log before, nobody knows whether it is there.
    #[error("a thread of the producer panicked")]
    Stopped,
    /// `try_send`: there is no free memory now. Nothing was sent.
    #[error("buffer.memory is in use")]
    Full,
    /// `send`: no memory within `max.block.ms`. Nothing was sent.
    #[error(
        "no {needed} bytes of buffer.memory within max.block.ms ({max_block:?}), {available} free"
    )]
    Blocked {
        /// Bytes that the batch needs.
        needed: usize,
        /// Bytes that are free; who came before has a right to them.
        available: usize,
        /// How long the record waited.
        max_block: Duration,
    },
    /// The record can never be sent with these settings.
    #[error("the record takes {bytes} bytes in a batch, {setting} allows {limit}")]
    RecordTooLarge {
        /// Bytes of a batch that holds only this record.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
        /// Kafka's name of the setting.
        setting: &'static str,
    },
    /// The record can't be written in Kafka's format, or the codec failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The topic has no such partition.
    #[error("partition {partition} of a topic that has {partitions}")]
    UnknownPartition {
        /// The partition that the record names.
        partition: u32,
        /// How many the topic has.
        partitions: u32,
    },
    /// This engine does not hold the partition: the topic was adopted from a broker's folder, and
    /// that broker had a part of it.
    #[error("partition {partition} is not in this engine's log dirs")]
    PartitionNotHere {
        /// The partition.
        partition: u32,
    },
    /// The partition could not be opened when the engine was; or, of a record that any partition may take,
    /// none of the topic could.
    #[error("partition {partition} is offline: {reason}")]
    PartitionOffline {
        /// The partition.
        partition: u32,
        /// Why.
        reason: Arc<OfflineReason>,
    },
    /// The topic was deleted.
    #[error("the topic was deleted")]
    TopicDeleted,
    /// The topic belongs to another engine than those this producer sent to before.
    #[error("the topic belongs to another engine")]
    ForeignTopic,
    /// `delivery.timeout.ms` was over before the log took the record. It is not there.
    #[error("not delivered within delivery.timeout.ms ({delivery_timeout:?})")]
    Expired {
        /// The setting.
        delivery_timeout: Duration,
        /// What the log said last, if the batch was tried.
        #[source]
        last: Option<Arc<AppendError>>,
    },
    /// The append failed; the record is not in the log.
    #[error("append: {0}")]
    Append(Arc<AppendError>),
    /// The record was written and is not durable, or nobody knows: it was cut off, or the sync
    /// failed. After a failed sync the partition takes no more records of this producer.
    #[error("commit: {0}")]
    Commit(Arc<CommitError>),
}
