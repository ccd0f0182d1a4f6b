//! What an open found, and what an engine counts.

use std::{path::PathBuf, sync::Arc};

use crate::{
    log::{LogDir, PartitionLog, RecoveryReport},
    topic::OfflinePartition,
    types::TopicName,
};

/// What was found and done when an engine was opened.
#[derive(Debug, Clone, Default)]
pub struct EngineReport {
    /// The log dirs.
    pub log_dirs: Vec<LogDirReport>,
    /// Each partition that was opened, by name and number.
    pub partitions: Vec<RecoveryReport>,
    /// Each partition that could not be opened, by name and number. The engine goes on without it.
    pub offline: Vec<OfflinePartition>,
    /// Topics that were found, not created by an engine: a broker's.
    pub adopted: Vec<TopicName>,
    /// Folders that were left alone: they are no partition of a topic here.
    pub foreign: Vec<PathBuf>,
    /// Folders that were removed: of deleted topics, and of topics whose creation a crash ended.
    pub removed: Vec<PathBuf>,
    /// Copies of the list of topics that were damaged while another was not; they were replaced.
    pub damaged_catalogs: Vec<String>,
}

/// What was found of a log dir.
#[derive(Debug, Clone)]
pub struct LogDirReport {
    /// The folder.
    pub path: PathBuf,
    /// Whether it was closed cleanly before: whether the clean-shutdown marker stood there. A new folder
    /// has none, so `false` is no sign of a crash there ([`EngineReport::is_clean`] is).
    pub was_closed_cleanly: bool,
    /// Checkpoints that could not be believed, and why.
    pub damaged_checkpoints: Vec<String>,
}

impl EngineReport {
    /// Whether everything was opened, and nothing had to be checked, cut or made anew.
    pub fn is_clean(&self) -> bool {
        self.damaged_catalogs.is_empty()
            && self.offline.is_empty()
            && self.log_dirs.iter().all(|dir| dir.damaged_checkpoints.is_empty())
            && self
                .partitions
                .iter()
                .all(|report| report.clean && report.cut.is_none() && report.damage.is_empty())
    }
}

impl LogDirReport {
    pub(super) fn of(dir: &LogDir) -> Self {
        Self {
            path: dir.path().into(),
            was_closed_cleanly: dir.was_closed_cleanly(),
            damaged_checkpoints: dir.damaged().iter().map(ToString::to_string).collect(),
        }
    }
}

/// Counts of an engine since it was opened; of its partitions those that are there now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineMetrics {
    /// Batches appended.
    pub batches: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes of log appended.
    pub bytes: u64,
    /// Fetches that gave bytes.
    pub fetches: u64,
    /// Bytes that fetches gave.
    pub fetched_bytes: u64,
    /// Segments rolled.
    pub rolls: u64,
    /// Segments deleted.
    pub deleted_segments: u64,
    /// Each log dir's commits.
    pub log_dirs: Vec<LogDirMetrics>,
}

/// Counts of a log dir's group commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirMetrics {
    /// The folder.
    pub path: PathBuf,
    /// Waits for records to become durable.
    pub commits: u64,
    /// Submissions of syncs.
    pub rounds: u64,
    /// Files synced.
    pub syncs: u64,
    /// Of these, files that shared one flush of the device's cache with others.
    pub flushed_together: u64,
    /// Ends of files that became durable: `served / syncs` waits shared a sync.
    pub served: u64,
    /// How the files are reached: `io_uring`, `portable`, or what a backend of one's own calls itself.
    pub backend: &'static str,
}

impl EngineMetrics {
    /// Files synced in all log dirs.
    pub fn syncs(&self) -> u64 {
        self.log_dirs.iter().map(|dir| dir.syncs).sum()
    }

    pub(super) fn of<'a>(
        dirs: &[Arc<LogDir>],
        logs: impl Iterator<Item = &'a Arc<PartitionLog>>,
    ) -> Self {
        let mut sum = Self::default();
        for log in logs {
            let metrics = log.metrics();
            sum.batches += metrics.batches.get();
            sum.records += metrics.records.get();
            sum.bytes += metrics.bytes.get();
            sum.fetches += metrics.fetches.get();
            sum.fetched_bytes += metrics.fetched_bytes.get();
            sum.rolls += metrics.rolls.get();
            sum.deleted_segments += metrics.deleted_segments.get();
        }
        sum.log_dirs = dirs.iter().map(|dir| LogDirMetrics::of(dir)).collect();
        sum
    }
}

impl LogDirMetrics {
    fn of(dir: &LogDir) -> Self {
        let metrics = dir.commit().metrics();
        Self {
            path: dir.path().into(),
            commits: metrics.commits.get(),
            rounds: metrics.rounds.get(),
            syncs: metrics.syncs.get(),
            flushed_together: metrics.flushed_together.get(),
            served: metrics.served.get(),
            backend: dir.storage().backend(),
        }
    }
}
