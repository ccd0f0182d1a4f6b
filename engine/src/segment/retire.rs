//! Giving a segment up in Kafka's two steps: its files are renamed to `.deleted`, and removed once
//! whoever still reads them has had time to end.

use std::path::Path;

use super::{FileName, Segment, SegmentError, Stage, Suffix};
use crate::{error::IoError, io::Storage, types::Offset};

/// The files of a segment. The log goes first: an index without a log is an orphan that every start
/// removes, a log without an index one that every start would build again.
const FILES: [Suffix; 4] = [Suffix::Log, Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex];

impl Segment {
    /// Renames the segment's files to `.deleted`; durable once the caller has synced the folder.
    /// Those who hold the segment read on.
    pub fn retire(&self) -> Result<(), SegmentError> {
        // Opened before its name goes, for readers who come to it only later. (Its indexes can be
        // had from the log.)
        self.file()?;
        for suffix in FILES {
            let gone = retired_name(self.base_offset(), suffix);
            let renamed = self.storage().rename(&self.file_path(suffix), &self.dir().join(gone));
            tolerate_absence(renamed)?;
        }
        Ok(())
    }
}

/// Removes the files of a retired segment.
pub fn remove_retired(
    storage: &Storage,
    dir: &Path,
    base_offset: Offset,
) -> Result<(), SegmentError> {
    for suffix in FILES {
        storage.remove_file(&dir.join(retired_name(base_offset, suffix)))?;
    }
    Ok(())
}

fn retired_name(base_offset: Offset, suffix: Suffix) -> String {
    FileName { base_offset, suffix, stage: Stage::Deleted }.to_string()
}

fn tolerate_absence(result: Result<(), IoError>) -> Result<(), IoError> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
