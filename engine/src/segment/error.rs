//! Why an operation on a segment failed.

use std::path::{Path, PathBuf};

use crate::{
    error::{Corruption, IoError},
    record::HeaderError,
};

/// Why an operation on a segment failed.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk refused. A full disk ([`IoError::is_disk_full`]) passes; nothing half-written stays.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The bytes cannot be what was written.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The log was truncated while it was read: take a new snapshot and read again.
    #[error("{} was truncated while it was read", path.display())]
    Truncated {
        /// The `.log` file.
        path: PathBuf,
    },
    /// Positions and relative offsets of a segment are stored as `i32`: these batches need a new one.
    #[error(
        "{} holds {len} bytes and cannot take {incoming} more, up to offset {last_offset}",
        path.display()
    )]
    Full {
        /// The `.log` file.
        path: PathBuf,
        /// Its bytes.
        len: u64,
        /// Bytes that were to be appended.
        incoming: u64,
        /// Last offset of the last batch.
        last_offset: i64,
    },
}

impl SegmentError {
    /// A header that does not parse, at byte `position` of `path`.
    pub(super) fn header(path: &Path, position: u64, error: &HeaderError) -> Self {
        let at = position + error.position as u64;
        Corruption::new(path, at, error.what, error.expected, error.found).into()
    }
}
