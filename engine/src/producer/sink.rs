//! The seam to the log: a partition's log, or a double that fails on demand.

use std::sync::Arc;

use crate::{error::IoError, record::SealedBatch, types::Offset};

/// Where a partition's batches go.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    /// A double.
    #[cfg(test)]
    Double(Arc<super::double::Double>),
}

/// The topic that the partitions belong to.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    /// A double.
    #[cfg(test)]
    Double(Arc<super::double::DoubleTopic>),
}

/// What an append did.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Base offset of each batch.
    pub(super) base_offsets: Vec<Offset>,
    /// Log end offset after the append.
    pub(super) end: Offset,
    /// Time that the records bear, where it is not their own; milliseconds.
    pub(super) append_time: Option<i64>,
    /// The batches' buffers, for reuse.
    pub(super) buffers: Vec<Vec<u8>>,
}

/// Nothing was appended.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: Arc<IoError>,
    /// All batches, in order, where it makes sense to try again.
    pub(super) retry: Option<Vec<SealedBatch>>,
}

impl Sink {
    /// Appends all batches, or none.
    pub(super) fn append(&self, batches: Vec<SealedBatch>) -> Result<Accepted, Refused> {
        match *self {
            #[cfg(test)]
            Self::Double(ref double) => double.append(batches),
        }
    }

    /// Makes what lies before each offset durable, with one commit for all. One result each.
    pub(super) fn commit(points: &[(&Self, Offset)]) -> Vec<Result<(), IoError>> {
        let commit = |(sink, upto): &(&Self, Offset)| match **sink {
            #[cfg(test)]
            Self::Double(ref double) => double.commit(*upto),
        };
        points.iter().map(commit).collect()
    }

    /// Those that give the same number share a log dir, and are committed together.
    pub(super) fn log_dir(&self) -> usize {
        match *self {
            #[cfg(test)]
            Self::Double(ref double) => double.log_dir,
        }
    }
}

impl Owner {
    /// Tells topics apart, as long as they are there.
    #[inline]
    pub(super) fn address(&self) -> usize {
        match *self {
            #[cfg(test)]
            Self::Double(ref topic) => Arc::as_ptr(topic) as usize,
        }
    }

    /// Whether the topic was deleted.
    pub(super) fn is_deleted(&self) -> bool {
        match *self {
            #[cfg(test)]
            Self::Double(ref topic) => topic.deleted.load(std::sync::atomic::Ordering::Relaxed),
        }
    }
}
