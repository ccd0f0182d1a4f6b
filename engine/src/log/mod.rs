//! One partition: append, read, roll, retain, truncate, recover.
//!
//! [`UnrecoveredLog::recover`] gives a [`PartitionLog`]; all its methods take `&self`. One appender
//! at a time holds the writer's lock; readers pin a snapshot of the segments and go by the
//! watermarks, so they never wait for a write.

mod aborted;
mod append;
mod buried;
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
mod range;
mod recover;
mod retention;
pub mod state;
mod tail;
#[cfg(test)]
mod tests;
mod truncate;

use std::{
    mem,
    path::{Path, PathBuf},
    ptr,
    sync::Arc,
    time::Duration,
};

pub use append::Appended;
pub use config::{LogConfig, LogConfigError, OnDamage};
pub use dir::{DirError, LOCK_FILE, LogDir, PersistError};
pub use error::{AppendError, ChangeError, CommitError, OpenError, ReadError};
pub use fetch::{Batches, Fetched, Isolation};
pub use maintain::ClosedLog;
pub use range::FetchedRange;
pub use recover::{Cut, DamagedRange, RecoveryReport, UnrecoveredLog};
pub use tail::{CommitPlan, CommitPoint};

use epochs::LeaderEpochs;
use producers::ProducerStates;
use tail::Tail;

use crate::{
    clock::Clock,
    commit::{CommitError as FileCommitError, CommitFile, Watermark, WatermarksSnapshot},
    error::{Corruption, IoError},
    io::Storage,
    metrics::Counter,
    segment::{ActiveSegment, Seals, Segment, SegmentOptions, SegmentSet},
    sync::{ArcSwap, Mutex},
    types::{Durability, Offset, TopicPartition},
};

/// One partition's log. An engine's are those of its [topics](crate::topic::Topic::partition), and it
/// opens and closes them; who needs no more than one log opens it by [`UnrecoveredLog`].
// Locks, in the order in which they may be held: `changes`, `writer`, `snapshots`, those of [`LogDir`],
// the tail's.
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
    /// Held while a producers' snapshot is written: a roll and a checkpoint may write that of one offset.
    snapshots: Mutex<()>,
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
    /// Whether the file of leader epochs may name a term that did not begin, as its first append failed.
    epochs_ahead: bool,
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
    /// A change of the log stopped half-way, or is under way: what is on disk must be looked at anew. What
    /// stopped it, where the disk did.
    Failed(Option<IoError>),
    /// And how.
    Closed(ClosedLog),
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
        if let Some(offset) = self.tail.last_stable() {
            return offset;
        }
        // The log is being cut: what is left open shows at its end.
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

    /// Makes the records before `upto` durable; returns once they are. Who appended them passes
    /// [`Appended::end`]: should a truncation have taken them meanwhile, the answer is
    /// [`CommitError::Truncated`], whatever stands in their place. One that cut behind them changes
    /// nothing. Who waits for many partitions of one log dir calls [`commit_all`], so that they share
    /// syncs.
    pub fn commit(&self, upto: impl Into<CommitPoint>) -> Result<(), CommitError> {
        self.commit_pinned(self.tail.pinned(upto.into()))
    }

    fn commit_pinned(&self, point: CommitPoint) -> Result<(), CommitError> {
        while let Some(plan) = self.tail.plan(point)? {
            match self.dir.commit().commit(&plan.targets) {
                // What was cut off may not be what is waited for: the next plan tells.
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
/// all their files. One result each, in order: an error of one is not another's. Points of one
/// partition best stand side by side: they share a sync.
pub fn commit_all<P: Copy + Into<CommitPoint>>(
    wanted: &[(Arc<PartitionLog>, P)],
) -> Vec<Result<(), CommitError>> {
    let points: Vec<(&PartitionLog, CommitPoint)> =
        wanted.iter().map(|(log, upto)| (&**log, log.tail.pinned((*upto).into()))).collect();
    let mut plans: Vec<(&PartitionLog, CommitPlan)> =
        points.chunk_by(|a, b| ptr::eq(a.0, b.0)).filter_map(first_plan).collect();
    while let Some(dir) = plans.first().map(|(log, _)| log.dir.clone()) {
        let (here, elsewhere) =
            mem::take(&mut plans).into_iter().partition(|(log, _)| Arc::ptr_eq(&log.dir, &dir));
        plans = elsewhere;
        commit_plans(&dir, here);
    }
    points.into_iter().map(|(log, point)| log.commit_pinned(point)).collect()
}

/// A plan for points of one log, if one of them needs any: it is good for all that stands there. An error
/// is met again by who waits for that point.
fn first_plan<'a>(
    points: &[(&'a PartitionLog, CommitPoint)],
) -> Option<(&'a PartitionLog, CommitPlan)> {
    points.iter().find_map(|(log, point)| Some((*log, log.tail.plan(*point).ok().flatten()?)))
}

/// One submission for plans of one log dir. What fails is met again by who waits for it.
fn commit_plans(dir: &LogDir, plans: Vec<(&PartitionLog, CommitPlan)>) {
    let targets: Vec<_> = plans.iter().flat_map(|(_, plan)| plan.targets.clone()).collect();
    let mut results = dir.commit().commit_each(&targets).into_iter();
    for (log, plan) in plans {
        let results = results.by_ref().take(plan.targets.len());
        if results.filter(Result::is_err).count() == 0 {
            log.tail.synced(&plan);
        }
    }
}

impl Writer {
    fn check_open(&self) -> Result<(), AppendError> {
        match &self.state {
            WriterState::Open => Ok(()),
            WriterState::Damaged(corruption) => Err(AppendError::Damaged(corruption.clone())),
            WriterState::Failed(cause) => {
                Err(AppendError::Failed { cause: cause.as_ref().map(IoError::duplicate) })
            }
            WriterState::Closed(_) => Err(AppendError::Closed),
        }
    }

    /// Whether the log's ends may be changed: so they may where it is damaged.
    fn check_changes(&self) -> Result<(), ChangeError> {
        match &self.state {
            WriterState::Open | WriterState::Damaged(_) => Ok(()),
            WriterState::Failed(cause) => {
                Err(ChangeError::Failed { cause: cause.as_ref().map(IoError::duplicate) })
            }
            WriterState::Closed(_) => Err(ChangeError::Closed),
        }
    }

    /// The outcome of a change. One that stopped half-way leaves its cause to those who come later.
    fn ended<T>(&mut self, outcome: Result<T, ChangeError>) -> Result<T, ChangeError> {
        if let (WriterState::Failed(cause), Err(error)) = (&mut self.state, &outcome) {
            *cause = error.io().map(IoError::duplicate);
        }
        outcome
    }
}

impl LogMetrics {
    fn fetched(&self, bytes: u64) {
        self.fetches.add(1);
        self.fetched_bytes.add(bytes);
    }
}
