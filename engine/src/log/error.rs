//! Why an operation on a log fails: one enum an operation.

use std::path::PathBuf;

use super::{LogConfigError, PersistError, producers::ProducerError, state::LogStartConflict};
use crate::{
    commit::CommitError as FileCommitError,
    error::{Corruption, IoError},
    record::BatchError,
    segment::SegmentError,
    types::{LeaderEpoch, Offset},
};

/// Why nothing was appended. Nothing of the group stands in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A batch is larger than `max.message.bytes`.
    #[error("a batch of {found} bytes is larger than max.message.bytes ({limit})")]
    BatchTooLarge {
        /// Bytes of the batch.
        found: usize,
        /// The setting.
        limit: usize,
    },
    /// The group must fit one segment.
    #[error("a group of {found} bytes is larger than what one append takes ({limit})")]
    GroupTooLarge {
        /// Bytes of the group.
        found: usize,
        /// The smaller of `segment.bytes` and [`crate::limits::MAX_GROUP_BYTES`].
        limit: usize,
    },
    /// A producer's batch must hold a record for each offset it spans.
    #[error("a batch with {records} records spans {offsets} offsets")]
    Sparse {
        /// Records in the batch.
        records: i32,
        /// Offsets that it spans.
        offsets: i64,
    },
    /// The bytes of a follower's append are no batches.
    #[error("byte {position} of the fetched bytes: {error}")]
    Batch {
        /// Where the batch starts.
        position: usize,
        /// What is wrong with it.
        error: BatchError,
    },
    /// A follower must append what follows its log end.
    #[error("the batch at offset {found} does not follow the log end {log_end}")]
    OutOfOrder {
        /// The log end offset.
        log_end: Offset,
        /// The batch's base offset.
        found: Offset,
    },
    /// A group's offsets must fit one segment ([`crate::limits::MAX_RELATIVE_OFFSET`]): a follower of a
    /// compacted log appends what stands before the gap by itself, then the rest.
    #[error(
        "the batch at offset {found} is too far from offset {first} to stand in one group with it"
    )]
    TooFar {
        /// Base offset of the group's first batch.
        first: Offset,
        /// Base offset of the batch that must come with a later append.
        found: Offset,
    },
    /// A later leader has written here.
    #[error("leader epoch {found} is fenced by epoch {current}")]
    Fenced {
        /// The epoch of this append.
        found: LeaderEpoch,
        /// The latest one.
        current: LeaderEpoch,
    },
    /// The log has no offsets left ([`crate::limits::MAX_LOG_END`]).
    #[error("the log ends at offset {log_end} and has no offsets left")]
    Exhausted {
        /// The log end offset.
        log_end: Offset,
    },
    /// The producer's epoch or sequence is refused.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A write failed. A full disk passes ([`AppendError::is_disk_full`]); what else fails stays.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Acknowledged data of this partition is damaged: the owner must decide first.
    #[error("appends are refused until the damage is dealt with: {0}")]
    Damaged(Corruption),
    /// A change of the log (a roll, a checkpoint, a truncation, its close) stopped half-way: what is on
    /// disk is not known. Nothing is changed any more, reads go on. Opened again, the log is verified
    /// from the device.
    #[error("{}", failed(.cause.as_ref()))]
    Failed {
        /// What stopped it, where the disk did.
        cause: Option<IoError>,
    },
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
}

impl From<SegmentError> for AppendError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io(error) => Self::Io(error),
            SegmentError::Corrupt(corruption) => Self::Damaged(corruption),
            SegmentError::Full { len, incoming, .. } => Self::GroupTooLarge {
                found: incoming as usize,
                limit: (i32::MAX as u64).saturating_sub(len) as usize,
            },
            truncated @ SegmentError::Truncated { .. } => {
                unreachable!("the writer alone truncates: {truncated}")
            }
        }
    }
}

impl AppendError {
    /// Whether the same append may succeed later, once there is room on the disk.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io(error) if error.is_disk_full())
    }
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such offset (any more, or yet).
    #[error("offset {offset} is out of range: the log holds {log_start} to {log_end}")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// First offset that can be read.
        log_start: Offset,
        /// Offset of the next record.
        log_end: Offset,
    },
    /// The bytes on disk cannot be what was written.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The log was cut while it was read; fetch again.
    #[error("{} was truncated while it was read", path.display())]
    Truncated {
        /// The segment.
        path: PathBuf,
    },
}

impl From<SegmentError> for ReadError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io(error) => Self::Io(error),
            SegmentError::Corrupt(corruption) => Self::Corrupt(corruption),
            SegmentError::Truncated { path } => Self::Truncated { path },
            full @ SegmentError::Full { .. } => unreachable!("nobody appends here: {full}"),
        }
    }
}

/// Why records are not known to be durable.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The sync failed, or the records were cut off before it.
    #[error(transparent)]
    File(#[from] FileCommitError),
    /// The log was cut below the offset while it was committed.
    #[error("the records below offset {upto} were cut off before they were durable")]
    Truncated {
        /// The offset that was to be durable.
        upto: Offset,
    },
}

/// Why a change of the log's ends (truncation, deletion, checkpoint, close) failed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Only what lies between log start and high watermark can be deleted.
    #[error("offset {offset} is out of range: {low} to {high} can be asked for")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// Smallest offset.
        low: Offset,
        /// Largest offset.
        high: Offset,
    },
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The bytes on disk cannot be what was written.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// What had to be durable first is not.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The log dir was given back ([`PersistError::Released`]).
    #[error(transparent)]
    Released(PersistError),
    /// A change of the log (a roll, a checkpoint, a truncation, its close) stopped half-way: what is on
    /// disk is not known. Nothing is changed any more, reads go on. Opened again, the log is verified
    /// from the device.
    #[error("{}", failed(.cause.as_ref()))]
    Failed {
        /// What stopped it, where the disk did.
        cause: Option<IoError>,
    },
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
}

impl ChangeError {
    /// The failed system call, where that is the cause.
    pub(super) fn io(&self) -> Option<&IoError> {
        match self {
            Self::Io(error) | Self::Commit(CommitError::File(FileCommitError::Io(error))) => {
                Some(error)
            }
            Self::Failed { cause } => cause.as_ref(),
            _ => None,
        }
    }
}

fn failed(cause: Option<&IoError>) -> String {
    let cause = cause.map_or_else(String::new, |error| format!(" ({error})"));
    format!("a change of the log stopped half-way{cause}; reopen it to verify from the device")
}

impl From<SegmentError> for ChangeError {
    fn from(error: SegmentError) -> Self {
        match ReadError::from(error) {
            ReadError::Corrupt(corruption) => Self::Corrupt(corruption),
            ReadError::Io(error) => Self::Io(error),
            other => unreachable!("the writer alone truncates: {other}"),
        }
    }
}

impl From<PersistError> for ChangeError {
    fn from(error: PersistError) -> Self {
        match error {
            PersistError::Io(error) => Self::Io(error),
            released @ PersistError::Released { .. } => Self::Released(released),
        }
    }
}

/// Why a partition could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file cannot be what was written, and going on would hide or invent records.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The two checkpoints of the log start disagree.
    #[error(transparent)]
    LogStart(#[from] LogStartConflict),
    /// A setting is out of range; nothing was looked at.
    #[error(transparent)]
    Config(#[from] LogConfigError),
}

impl From<PersistError> for OpenError {
    fn from(error: PersistError) -> Self {
        Self::Io(error.into())
    }
}

impl From<SegmentError> for OpenError {
    fn from(error: SegmentError) -> Self {
        match ReadError::from(error) {
            ReadError::Corrupt(corruption) => Self::Corrupt(corruption),
            ReadError::Io(error) => Self::Io(error),
            other => unreachable!("nobody truncates a log that is being opened: {other}"),
        }
    }
}
