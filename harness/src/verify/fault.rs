//! What `verify` finds: faults with file and position, notes, and counts.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use trunkline::error::{Corruption, IoError};

/// Faults of one file that are told; further ones are counted. A damaged index could fill a screen.
const TOLD_PER_FILE: u64 = 100;

/// Something that cannot be what was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// Byte position in it.
    pub byte: u64,
    /// What was looked at.
    pub what: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, byte, what, expected, found } = self;
        let file = file.display();
        write!(f, "{file}: byte {byte}: {what}: expected {expected}, found {found}")
    }
}

impl From<Corruption> for Fault {
    fn from(corruption: Corruption) -> Self {
        let Corruption { path, position, what, expected, found } = corruption;
        Self { file: path, byte: position, what: what.into(), expected, found }
    }
}

impl From<IoError> for Fault {
    fn from(error: IoError) -> Self {
        Self {
            byte: error.position.unwrap_or(0),
            what: error.operation.into(),
            expected: "success".into(),
            found: error.source.to_string(),
            file: error.path,
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Partitions.
    pub partitions: u64,
    /// Segments.
    pub segments: u64,
    /// Batches with a right CRC, control batches and empty ones included.
    pub batches: u64,
    /// Data records: those that `dump` prints.
    pub records: u64,
    /// Bytes of `.log` files.
    pub bytes: u64,
}

/// What was found in one partition, or in all.
#[derive(Debug, Default)]
pub struct Findings {
    /// The faults that are told.
    pub faults: Vec<Fault>,
    /// All of them, by file.
    per_file: BTreeMap<PathBuf, u64>,
    /// What is no fault but good to know.
    pub notes: Vec<String>,
    /// What was looked at.
    pub counts: Counts,
}

impl Findings {
    /// Takes a fault.
    pub(super) fn fault(&mut self, fault: impl Into<Fault>) {
        let fault = fault.into();
        let count = self.per_file.entry(fault.file.clone()).or_default();
        *count += 1;
        if *count <= TOLD_PER_FILE {
            self.faults.push(fault);
        }
    }

    /// Takes a fault given by its parts.
    pub(super) fn refuse(
        &mut self,
        file: &Path,
        byte: u64,
        what: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        let (expected, found) = (expected.to_string(), found.to_string());
        self.fault(Fault { file: file.into(), byte, what: what.into(), expected, found });
    }

    /// Takes a note.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// How many faults there are, told or not.
    pub fn fault_count(&self) -> u64 {
        self.per_file.values().sum()
    }

    /// Files with more faults than are told, and how many more.
    pub(super) fn untold(&self) -> impl Iterator<Item = (&Path, u64)> {
        let more = |count: &u64| count.checked_sub(TOLD_PER_FILE).filter(|more| *more > 0);
        self.per_file.iter().filter_map(move |(file, count)| Some((&**file, more(count)?)))
    }

    /// Adds what another found.
    pub(super) fn merge(&mut self, other: Self) {
        self.faults.extend(other.faults);
        for (file, count) in other.per_file {
            *self.per_file.entry(file).or_default() += count;
        }
        self.notes.extend(other.notes);
        let Counts { partitions, segments, batches, records, bytes } = other.counts;
        self.counts.partitions += partitions;
        self.counts.segments += segments;
        self.counts.batches += batches;
        self.counts.records += records;
        self.counts.bytes += bytes;
    }
}
