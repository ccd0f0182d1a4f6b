//! The seam to the log: a partition's log, or in tests a double that fails on demand.

use std::sync::Arc;

use crate::{
    commit,
    log::{AppendError, CommitError, CommitPoint, PartitionLog, commit_all},
    record::SealedBatch,
    topic::Topic,
    types::Offset,
};

/// Where a partition's batches go.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    /// Its log.
    Log(Arc<PartitionLog>),
    /// A double.
    #[cfg(test)]
    Double(Arc<super::double::Double>),
}

/// The topic that the partitions belong to.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    /// A topic.
    Topic(Arc<Topic>),
    /// A double.
    #[cfg(test)]
    Double(Arc<super::double::DoubleTopic>),
}

/// What an append did.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Base offset of each batch.
    pub(super) base_offsets: Vec<Offset>,
    /// Log end after the append.
    pub(super) end: CommitPoint,
    /// Time that the records bear, where it is not their own; milliseconds.
    pub(super) append_time: Option<i64>,
    /// The batches' buffers, for reuse.
    pub(super) buffers: Vec<Vec<u8>>,
}

impl Sink {
    /// Appends all batches, or none; refused, they are in `batches` as they were.
    pub(super) fn append(&self, batches: &mut Vec<SealedBatch>) -> Result<Accepted, AppendError> {
        let log = match self {
            Self::Log(log) => log,
            #[cfg(test)]
            Self::Double(double) => return double.append(batches),
        };
        // The term of whoever leads here now; a log that had no leader yet begins with term 0.
        let epoch = log.leader_epochs().latest().map_or(0, |latest| latest.epoch);
        let appended = log.offer(batches, epoch)?;
        Ok(Accepted {
            base_offsets: appended.base_offsets,
            end: appended.end,
            append_time: appended.log_append_time,
            buffers: appended.buffers,
        })
    }

    /// Why any append of now would be refused; a full disk shows only in an append.
    pub(super) fn check(&self) -> Result<(), AppendError> {
        match self {
            Self::Log(log) => log.check_appends(),
            #[cfg(test)]
            Self::Double(double) => double.check(),
        }
    }

    /// Makes what lies before each point durable, with as few syncs as can be. One result each.
    pub(super) fn commit(points: &[(Self, CommitPoint)]) -> Vec<Result<(), CommitError>> {
        #[cfg(test)]
        if let [(Self::Double(_), _), ..] = points {
            return super::double::commit_all(points);
        }
        let log_of = |(sink, upto): &(Self, CommitPoint)| match sink {
            Self::Log(log) => (log.clone(), *upto),
            #[cfg(test)]
            Self::Double(_) => unreachable!("doubles and logs in one log dir"),
        };
        commit_all(&points.iter().map(log_of).collect::<Vec<_>>())
    }

    /// Those that give the same number share a log dir, and are committed together.
    pub(super) fn log_dir(&self) -> usize {
        match self {
            Self::Log(log) => Arc::as_ptr(log.dir()) as usize,
            #[cfg(test)]
            Self::Double(double) => double.log_dir,
        }
    }
}

impl Owner {
    /// Tells topics apart, as long as they are there.
    #[inline]
    pub(super) fn address(&self) -> usize {
        match self {
            Self::Topic(topic) => Arc::as_ptr(topic) as usize,
            #[cfg(test)]
            Self::Double(topic) => Arc::as_ptr(topic) as usize,
        }
    }

    /// Whether the topic was deleted.
    pub(super) fn is_deleted(&self) -> bool {
        match self {
            Self::Topic(topic) => topic.is_deleted(),
            #[cfg(test)]
            Self::Double(topic) => topic.deleted.load(crate::sync::atomic::Ordering::Relaxed),
        }
    }
}

/// Whether the log refused the batches for its own state, not for what they are: the next ones meet
/// the same.
pub(super) fn is_refusal(error: &AppendError) -> bool {
    matches!(
        error,
        AppendError::Io(_)
            | AppendError::Damaged(_)
            | AppendError::Failed { .. }
            | AppendError::Closed
            | AppendError::Exhausted { .. }
            | AppendError::Fenced { .. }
    )
}

/// Whether a sync failed, after which nothing that its log says is trusted. (Otherwise the records
/// were cut off before they were durable, and the log goes on.)
pub(super) fn is_sync_failure(error: &CommitError) -> bool {
    matches!(error, CommitError::File(commit::CommitError::Io(_)))
}
