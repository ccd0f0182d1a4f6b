//! An index file on disk: always entries × their size long, so that whoever opens it next takes no
//! reserved or torn bytes for entries.

use super::{Segment, SegmentError, Suffix};
use crate::io::{File, Open};

/// An index file and how many of its table's entries it holds.
#[derive(Debug)]
pub(super) struct IndexFile {
    pub(super) file: File,
    entry_bytes: usize,
    written: usize,
    /// The file may be longer than its entries.
    long: bool,
}

impl IndexFile {
    /// Opens the file, made when absent, and keeps its first `written` entries.
    pub(super) fn open(
        segment: &Segment,
        suffix: Suffix,
        entry_bytes: usize,
        written: usize,
    ) -> Result<Self, SegmentError> {
        let file = segment.storage().open(&segment.file_path(suffix), Open::Create)?;
        let long = file.len()? != (written * entry_bytes) as u64;
        let mut index = Self { file, entry_bytes, written, long };
        index.trim()?;
        Ok(index)
    }

    /// Entries that the file holds.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Writes entries behind those that the file holds.
    pub(super) fn append(&mut self, entries: Vec<u8>) -> Result<(), SegmentError> {
        self.trim()?;
        if entries.is_empty() {
            return Ok(());
        }
        let count = entries.len() / self.entry_bytes;
        let position = (self.written * self.entry_bytes) as u64;
        self.file.write_at(position, entries).inspect_err(|_| self.long = true)?;
        self.written += count;
        Ok(())
    }

    /// The table holds `len` entries now.
    pub(super) fn truncated(&mut self, len: usize) {
        if len < self.written {
            (self.written, self.long) = (len, true);
        }
    }

    /// Cuts off what stands behind the entries.
    pub(super) fn trim(&mut self) -> Result<(), SegmentError> {
        if self.long {
            self.file.set_len((self.written * self.entry_bytes) as u64)?;
            self.long = false;
        }
        Ok(())
    }
}
