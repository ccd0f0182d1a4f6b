//! `--recover`: opens every partition as the engine does after a crash, closes it again, and tells
//! what that changed.

use std::{fmt::Write as _, path::Path, sync::Arc};

use serde::Serialize;
use trunkline::{
    clock::SystemClock,
    commit::Strategy,
    error::IoError,
    io::Storage,
    log::{ClosedLog, LogConfig, LogDir, RecoveryReport, UnrecoveredLog},
    types::TopicPartition,
};

use super::VerifyError;
use crate::folder::PartitionFolder;

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
    for partition in partitions {
        let config = config(&partition.name);
        let clock = Arc::new(SystemClock::new());
        let (log, report) =
            UnrecoveredLog::open(&log_dir, &partition.name, config, clock)?.recover()?;
        logs.push(log);
        recoveries.push(report.into());
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
    Ok(recoveries)
}
