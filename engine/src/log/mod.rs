//! One partition: append, read, roll, retain, truncate, recover.
//!
//! [`UnrecoveredLog::recover`] gives a [`PartitionLog`]; all its methods take `&self`. One appender
//! at a time holds the writer's lock; readers pin a snapshot of the segments and go by the
//! watermarks, so they never wait for a write.

mod aborted;
mod append;
mod check;
pub mod checkpoint;
mod config;
mod damage;
mod derived;
mod dir;
pub mod epochs;
mod error;
mod fetch;
mod folder;
#[cfg(test)]
mod kafka_folder_tests;
mod lines;
mod maintain;
pub mod producers;
mod recover;
mod retention;
pub mod state;
mod tail;
#[cfg(test)]
mod tests;
mod truncate;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use append::Appended;
pub use config::{LogConfig, OnDamage};
pub use dir::{DirError, LOCK_FILE, LogDir};
pub use error::{AppendError, ChangeError, CommitError, OpenError, ReadError};
pub use fetch::{Batches, Fetched, Isolation};
pub use maintain::ClosedLog;
pub use recover::{Cut, DamagedRange, RecoveryReport, UnrecoveredLog};
pub use tail::CommitPlan;

use epochs::LeaderEpochs;
use producers::ProducerStates;
use tail::Tail;

use crate::{
    clock::Clock,
    commit::{CommitError as FileCommitError, CommitFile, Watermark, WatermarksSnapshot},
    error::Corruption,
    io::Storage,
    metrics::Counter,
    segment::{ActiveSegment, Seals, Segment, SegmentOptions, SegmentSet},
    types::{Durability, Offset, TopicPartition},
};

/// One partition's log.
///
/// Locks, in the order in which they may be held: `changes`, `writer`, those of [`LogDir`], the tail's.
#[derive(Debug)]
pub struct PartitionLog {
    partition: TopicPartition,
    path: PathBuf,
    dir: Arc<LogDir>,
    clock: Arc<dyn Clock>,
    config: LogConfig,
    options: SegmentOptions,
    segments: ArcSwap<SegmentSet>,
    epochs: ArcSwap<LeaderEpochs>,
    tail: Tail,
    /// Held by what changes the log other than by appending, from its first look to its last step: a
    /// checkpoint, retention and a truncation that overtook each other would claim or delete what is
    /// not there, or what is there again.
    changes: Mutex<()>,
    writer: Mutex<Writer>,
    /// Where acknowledged data is damaged, oldest first.
    damage: ArcSwap<Vec<DamagedRange>>,
    metrics: LogMetrics,
}

/// What only the appender touches.
#[derive(Debug)]
struct Writer {
    active: ActiveSegment,
    file: Arc<CommitFile>,
    producers: ProducerStates,
    seals: Seals,
    /// Drawn off `segment.ms` for the active segment, milliseconds.
    jitter_ms: i64,
    rng: fastrand::Rng,
    /// Sealed segments whose indexes are not known to be durable.
    unsynced: Vec<Arc<Segment>>,
    /// Files that are deleted once no reader can have pinned them: when, and which.
    doomed: Vec<(Duration, PathBuf)>,
    next_retention: Duration,
    state: WriterState,
}

#[derive(Debug)]
enum WriterState {
    Open,
    /// Acknowledged data is damaged and nobody has decided.
    Damaged(Corruption),
    /// A change of the log stopped half-way, or is under way: what is on disk must be looked at anew.
    Failed,
    Closed,
}

impl WriterState {
    /// Whether nothing may be changed any more.
    fn is_over(&self) -> bool {
        matches!(self, Self::Failed | Self::Closed)
    }
}

/// What happened to one log.
#[derive(Debug, Default)]
pub struct LogMetrics {
    /// Batches appended.
    pub batches: Counter,
    /// Records appended.
    pub records: Counter,
    /// Bytes of log appended.
    pub bytes: Counter,
    /// Fetches that gave bytes.
    pub fetches: Counter,
    /// Bytes that fetches gave.
    pub fetched_bytes: Counter,
    /// Segments rolled.
    pub rolls: Counter,
    /// Segments deleted.
    pub deleted_segments: Counter,
}

impl PartitionLog {
    /// Which partition this is.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log dir that holds it.
    pub fn dir(&self) -> &Arc<LogDir> {
        &self.dir
    }

    /// Its settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// What an acknowledgement of this node means here.
    pub fn durability(&self) -> Durability {
        self.config.durability
    }

    /// Where the log stands.
    pub fn watermarks(&self) -> WatermarksSnapshot {
        self.tail.snapshot()
    }

    /// Rises with what consumers may read: `min(high watermark, durable end)` where the partition is
    /// `Durable`, else the high watermark.
    pub fn readable(&self) -> &Watermark {
        self.tail.readable()
    }

    /// Terms of the leaders that wrote the log.
    pub fn leader_epochs(&self) -> Arc<LeaderEpochs> {
        self.epochs.load_full()
    }

    /// Where acknowledged data was found damaged and nobody has decided yet.
    pub fn damage(&self) -> Arc<Vec<DamagedRange>> {
        self.damage.load_full()
    }

    /// Up to where readers of committed data may read.
    pub fn last_stable_offset(&self) -> Offset {
        let mut writer = self.writer.lock();
        let (log_start, readable) = (self.tail.snapshot().log_start, self.readable().get());
        writer.producers.high_watermark_moved(readable);
        writer.producers.last_stable_offset(log_start, readable)
    }

    /// Sizes of the log: segments and bytes.
    pub fn size(&self) -> (usize, u64) {
        let set = self.segments.load();
        (set.len(), set.iter().map(|segment| segment.len()).sum())
    }

    /// What happened so far.
    pub fn metrics(&self) -> &LogMetrics {
        &self.metrics
    }

    /// Makes the records below `upto` durable; returns once they are. Who waits for many partitions
    /// of one log dir calls [`commit_all`], so that they share syncs.
    pub fn commit(&self, upto: Offset) -> Result<(), CommitError> {
        while let Some(plan) = self.tail.plan(upto)? {
            match self.dir.commit().commit(&plan.targets) {
                // What was cut off may not be what is waited for.
                Err(FileCommitError::Truncated { .. })
                    if !self.tail.is_current(plan.generation) => {}
                other => other?,
            }
            self.tail.synced(&plan);
        }
        Ok(())
    }

    fn storage(&self) -> &Storage {
        self.dir.storage()
    }
}

/// Makes records durable in many partitions with as few syncs as can be: one submission a log dir for
/// all their files. One result each, in order: an error of one is not another's.
pub fn commit_all(wanted: &[(Arc<PartitionLog>, Offset)]) -> Vec<Result<(), CommitError>> {
    // An error here is met again below.
    let plan = |(log, upto): &(Arc<PartitionLog>, Offset)| log.tail.plan(*upto).ok().flatten();
    let mut plans: Vec<Option<CommitPlan>> = wanted.iter().map(plan).collect();
    let mut dirs: Vec<&Arc<LogDir>> = Vec::new();
    for (log, _) in wanted {
        if !dirs.iter().any(|dir| Arc::ptr_eq(dir, &log.dir)) {
            dirs.push(&log.dir);
        }
    }
    for dir in dirs {
        let here: Vec<(&PartitionLog, CommitPlan)> = wanted
            .iter()
            .zip(&mut plans)
            .filter(|((log, _), _)| Arc::ptr_eq(&log.dir, dir))
            .filter_map(|((log, _), plan)| Some((&**log, plan.take()?)))
            .collect();
        let targets: Vec<_> = here.iter().flat_map(|(_, plan)| plan.targets.clone()).collect();
        let mut results = dir.commit().commit_each(&targets).into_iter();
        for (log, plan) in here {
            let results = results.by_ref().take(plan.targets.len());
            if results.filter(Result::is_err).count() == 0 {
                log.tail.synced(&plan);
            }
        }
    }
    wanted.iter().map(|(log, upto)| log.commit(*upto)).collect()
}

impl Writer {
    fn check_open(&self) -> Result<(), AppendError> {
        match &self.state {
            WriterState::Open => Ok(()),
            WriterState::Damaged(corruption) => Err(AppendError::Damaged(corruption.clone())),
            WriterState::Failed | WriterState::Closed => Err(AppendError::Closed),
        }
    }
}

impl LogMetrics {
    fn fetched(&self, bytes: usize) {
        self.fetches.add(1);
        self.fetched_bytes.add(bytes as u64);
    }
}
