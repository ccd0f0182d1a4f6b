//! `--recover`: opens every partition as the engine does after a crash, closes it again, and tells
//! what that changed.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use trunkline::{
    clock::SystemClock,
    commit::Strategy,
    error::IoError,
    io::Storage,
    log::{ClosedLog, LogConfig, LogDir, RecoveryReport, UnrecoveredLog},
    segment::{Suffix, file_path},
    types::TopicPartition,
};

use super::VerifyError;
use crate::folder::{Listing, PartitionFolder};

/// What recovery did to one partition.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    /// The partition: `<topic>-<number>`.
    pub partition: String,
    /// Whether the folder was as a clean close leaves it, so that nothing was checked.
    pub clean: bool,
    /// First offset that can be read.
    pub log_start: i64,
    /// Offset of the next record.
    pub log_end: i64,
    /// Offset from which batches were checked.
    pub checked_from: i64,
    /// Bytes of log that were checked.
    pub checked_bytes: u64,
    /// Bytes that were cut off the end.
    pub cut_bytes: u64,
    /// Why, with file and position.
    pub cut_cause: Option<String>,
    /// Files that keep what was cut off, where whole batches were among it.
    pub kept_aside: Vec<String>,
    /// Acknowledged data that is damaged and was left in place, with file and position.
    pub damaged: Vec<String>,
    /// Files beside the log that were made anew, with what was wrong.
    pub rebuilt: Vec<String>,
}

impl From<RecoveryReport> for Recovery {
    fn from(report: RecoveryReport) -> Self {
        let cut = report.cut.as_ref();
        Self {
            partition: report.partition.to_string(),
            clean: report.clean,
            log_start: report.log_start,
            log_end: report.log_end,
            checked_from: report.checked_from,
            checked_bytes: report.checked_bytes,
            cut_bytes: cut.map_or(0, |cut| cut.bytes),
            cut_cause: cut.map(|cut| cut.cause.to_string()),
            kept_aside: cut
                .map(|cut| cut.kept_aside.iter().map(|path| path.display().to_string()).collect())
                .unwrap_or_default(),
            damaged: report.damage.iter().map(|range| range.corruption.to_string()).collect(),
            rebuilt: report.rebuilt.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Recovery {
    /// Tells of an index file that the engine made anew without a word. To go on with what stood there
    /// is none of it.
    fn compare(&mut self, before: &BTreeMap<PathBuf, Entries>, after: &BTreeMap<PathBuf, Vec<u8>>) {
        for (path, bytes) in after {
            let why = match before.get(path) {
                None => "it was missing",
                Some(entries) if !entries.begin(bytes) => "its entries did not fit the log",
                Some(_) => continue,
            };
            let path = path.display().to_string();
            if !self.rebuilt.iter().any(|told| told.contains(&path)) {
                self.rebuilt.push(format!("{path}: {why}"));
            }
        }
    }

    /// For people: a line, and one more for each thing that was changed.
    pub(super) fn text(&self) -> String {
        let Self { partition, log_start, log_end, .. } = self;
        let mut text = format!("recovered {partition}: offsets {log_start} to {log_end}, ");
        // Writing to a string cannot fail.
        let _ = if self.clean {
            writeln!(text, "closed cleanly, nothing to check")
        } else {
            writeln!(text, "{} bytes checked from offset {}", self.checked_bytes, self.checked_from)
        };
        if let Some(cause) = &self.cut_cause {
            let _ = writeln!(text, "  cut off {} bytes: {cause}", self.cut_bytes);
        }
        for (what, items) in [
            ("kept aside in", &self.kept_aside),
            ("left in place, appends are refused:", &self.damaged),
            ("made anew:", &self.rebuilt),
        ] {
            for item in items {
                let _ = writeln!(text, "  {what} {item}");
            }
        }
        if !self.damaged.is_empty() {
            text.push_str(
                "  to append again, put a sound copy of the folder in its place, or give up what stands \
                 from the damage on: --recover --cut-damage (see --help)\n",
            );
        }
        text
    }
}

/// Opens and closes the data folder `dir` with its partitions.
pub(super) fn recover(
    storage: &Storage,
    dir: &Path,
    partitions: &[PartitionFolder],
    config: impl Fn(&TopicPartition) -> LogConfig,
) -> Result<Vec<Recovery>, VerifyError> {
    let log_dir = Arc::new(LogDir::open(storage, dir, Strategy::SyncEach)?);
    let mut logs = Vec::new();
    let mut recoveries = Vec::new();
    let before = partitions
        .iter()
        .map(|partition| indexes(storage, partition, |bytes| Entries::of(&bytes)))
        .collect::<Result<Vec<_>, _>>()?;
    for partition in partitions {
        let config = config(&partition.name);
        let clock = Arc::new(SystemClock::new());
        let (log, report) =
            UnrecoveredLog::open(&log_dir, &partition.name, config, clock)?.recover()?;
        logs.push(log);
        recoveries.push(Recovery::from(report));
    }
    let mut all_clean = true;
    for log in logs {
        all_clean &= log.close()? == ClosedLog::Clean;
    }
    // A folder with damage is not closed: the next open must find it again.
    if all_clean {
        log_dir.close().map_err(IoError::from)?;
    } else {
        log_dir.persist().map_err(IoError::from)?;
    }
    for ((partition, before), recovery) in partitions.iter().zip(before).zip(&mut recoveries) {
        recovery.compare(&before, &indexes(storage, partition, |bytes| bytes)?);
    }
    Ok(recoveries)
}

/// The entries of an index file, without the zeros that were reserved behind them.
struct Entries {
    len: usize,
    crc: u32,
}

impl Entries {
    fn of(bytes: &[u8]) -> Self {
        let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self { len, crc: crc32c::crc32c(&bytes[..len]) }
    }

    /// Whether `bytes` begin with them.
    fn begin(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.len).is_some_and(|bytes| crc32c::crc32c(bytes) == self.crc)
    }
}

/// The index files of a partition, each as `keep` keeps it.
fn indexes<T>(
    storage: &Storage,
    partition: &PartitionFolder,
    keep: impl Fn(Vec<u8>) -> T,
) -> Result<BTreeMap<PathBuf, T>, IoError> {
    let listing = Listing::read(storage, &partition.path)?;
    let mut indexes = BTreeMap::new();
    for suffix in [Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex] {
        for (base_offset, len) in listing.of(suffix) {
            let path = file_path(&partition.path, base_offset, suffix);
            let bytes = storage.read(&path, len)?;
            indexes.insert(path, keep(bytes));
        }
    }
    Ok(indexes)
}
