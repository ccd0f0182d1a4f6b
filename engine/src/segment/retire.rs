//! Giving a segment up in Kafka's two steps: its files are renamed to `.deleted`, and removed once
//! whoever still reads them has had time to end.

use std::path::PathBuf;

use super::{FileName, Segment, SegmentError, Stage, Suffix};

/// The files of a segment. The log goes first: an index without a log is an orphan that every start
/// removes, a log without an index one that every start would build again.
const FILES: [Suffix; 4] = [Suffix::Log, Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex];

impl Segment {
    /// Renames the segment's files to `.deleted`; durable once the caller has synced the folder. Gives
    /// the new paths, in the order in which they are to be removed. Those who hold the segment read on.
    pub fn retire(&self) -> Result<Vec<PathBuf>, SegmentError> {
        // Opened and read before their names go, for readers who come to them only later. (The other
        // indexes can be had from the log.)
        self.file()?;
        if let Err(SegmentError::Io(error)) = self.transactions() {
            return Err(error.into());
        }
        let mut retired = Vec::with_capacity(FILES.len());
        for suffix in FILES {
            let name = FileName { base_offset: self.base_offset(), suffix, stage: Stage::Deleted };
            let path = self.dir().join(name.to_string());
            match self.storage().rename(&self.file_path(suffix), &path) {
                Err(error) if error.is_not_found() => {}
                other => {
                    other?;
                    retired.push(path);
                }
            }
        }
        Ok(retired)
    }
}
