//! A log in memory that fails when it is told to.

use std::{collections::VecDeque, io, sync::Arc};

use super::{
    partitioner::Load,
    queue::{TopicFacts, TopicQueues},
    sink::{Accepted, Owner, Sink},
};
use crate::{
    commit,
    error::{Corruption, IoError},
    log::{AppendError, CommitError, CommitPoint},
    record::{BatchSettings, Compression, Decoder, SealedBatch},
    sync::{Condvar, Mutex, atomic::AtomicBool},
    types::Offset,
};

/// One partition.
#[derive(Debug)]
pub(super) struct Double {
    pub(super) log_dir: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: Offset,
    durable: Offset,
    batches: Vec<SealedBatch>,
    appends: usize,
    /// Batches are forgotten, for measurements.
    forgets: bool,
    failures: VecDeque<Failure>,
    commits: Commits,
    /// Commits wait.
    commits_held: bool,
    /// Every append is refused.
    damage: Option<Corruption>,
    /// Appends wait.
    held: bool,
    inside: usize,
    append_time: Option<i64>,
}

/// Offset, timestamp, key and value.
type Stored = (Offset, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// What the next append does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The disk is full; later it has room again.
    DiskFull,
    /// The file is broken.
    Broken,
    /// A change of the log stopped half-way before.
    HalfWay,
    /// The log's code is.
    Panic,
}

/// What commits do from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Commits {
    #[default]
    Work,
    Fail,
    Panic,
}

impl Failure {
    fn error(self) -> AppendError {
        let kind = match self {
            Self::DiskFull => io::ErrorKind::StorageFull,
            Self::Broken | Self::Panic => io::ErrorKind::Other,
            Self::HalfWay => return AppendError::Failed { cause: None },
        };
        IoError::new("write", "double", kind.into()).into()
    }
}

impl Double {
    pub(super) fn new(log_dir: usize) -> Arc<Self> {
        Arc::new(Self { log_dir, state: Mutex::default(), changed: Condvar::new() })
    }

    pub(super) fn append(&self, batches: &mut Vec<SealedBatch>) -> Result<Accepted, AppendError> {
        let mut state = self.state.lock();
        state.inside += 1;
        self.changed.notify_all();
        while state.held {
            self.changed.wait(&mut state);
        }
        state.inside -= 1;
        state.appends += 1;
        if let Some(damage) = &state.damage {
            return Err(AppendError::Damaged(damage.clone()));
        }
        if let Some(failure) = state.failures.pop_front() {
            assert_ne!(failure, Failure::Panic, "the double panics as it was told");
            return Err(failure.error());
        }
        let mut base_offsets = Vec::with_capacity(batches.len());
        for batch in &mut *batches {
            batch.stamp(state.next, 0);
            base_offsets.push(state.next);
            state.next = batch.header().next_offset();
        }
        let (end, append_time) = (state.next, state.append_time);
        if !state.forgets {
            state.batches.extend(batches.iter().cloned());
        }
        let buffers = batches.drain(..).map(SealedBatch::into_bytes).collect();
        Ok(Accepted { base_offsets, end: end.into(), append_time, buffers })
    }

    fn commit(&self, upto: Offset) -> Result<(), CommitError> {
        let mut state = self.state.lock();
        while state.commits_held {
            self.changed.wait(&mut state);
        }
        assert_ne!(state.commits, Commits::Panic, "the double panics as it was told");
        if state.commits == Commits::Fail {
            let error = IoError::new("sync", "double", io::ErrorKind::Other.into());
            return Err(commit::CommitError::Io(error).into());
        }
        state.durable = state.durable.max(upto);
        Ok(())
    }

    pub(super) fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        self.state.lock().failures.extend(failures);
    }

    pub(super) fn fail_commits(&self) {
        self.state.lock().commits = Commits::Fail;
    }

    pub(super) fn panic_in_commits(&self) {
        self.state.lock().commits = Commits::Panic;
    }

    /// Commits wait until they are let go.
    pub(super) fn hold_commits(&self, held: bool) {
        self.state.lock().commits_held = held;
        self.changed.notify_all();
    }

    /// All appends are refused until the damage is mended.
    pub(super) fn set_damaged(&self, damaged: bool) {
        let damage = Corruption::new("double", 0, "crc", 1, 2);
        self.state.lock().damage = damaged.then_some(damage);
    }

    pub(super) fn check(&self) -> Result<(), AppendError> {
        let damage = self.state.lock().damage.clone();
        damage.map_or(Ok(()), |damage| Err(AppendError::Damaged(damage)))
    }

    pub(super) fn forget(&self) {
        self.state.lock().forgets = true;
    }

    pub(super) fn stamp_appends(&self, ms: i64) {
        self.state.lock().append_time = Some(ms);
    }

    /// Appends wait until they are let go.
    pub(super) fn hold(&self, held: bool) {
        self.state.lock().held = held;
        self.changed.notify_all();
    }

    /// Blocks until an append waits inside.
    pub(super) fn wait_for_append(&self) {
        let mut state = self.state.lock();
        while state.inside == 0 {
            self.changed.wait(&mut state);
        }
    }

    pub(super) fn durable(&self) -> Offset {
        self.state.lock().durable
    }

    pub(super) fn appends(&self) -> usize {
        self.state.lock().appends
    }

    /// Records a batch.
    pub(super) fn batch_sizes(&self) -> Vec<i32> {
        self.state.lock().batches.iter().map(|batch| batch.header().record_count).collect()
    }

    /// All records.
    pub(super) fn records(&self) -> Vec<Stored> {
        let mut decoder = Decoder::new();
        let mut all = Vec::new();
        for batch in &self.state.lock().batches {
            for record in batch.batch().records(&mut decoder).unwrap() {
                let record = record.unwrap();
                let (key, value) =
                    (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
                all.push((record.offset, record.timestamp, key, value));
            }
        }
        all
    }

    /// The values as text.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
        self.records().into_iter().map(|(.., value)| text(value)).collect()
    }
}

pub(super) fn commit_all(points: &[(Sink, CommitPoint)]) -> Vec<Result<(), CommitError>> {
    let commit = |(sink, upto): &(Sink, CommitPoint)| match sink {
        Sink::Double(double) => double.commit(upto.offset()),
        Sink::Log(log) => log.commit(*upto),
    };
    points.iter().map(commit).collect()
}

/// A topic of doubles.
#[derive(Debug)]
pub(super) struct DoubleTopic {
    pub(super) partitions: Vec<Arc<Double>>,
    pub(super) deleted: AtomicBool,
    pub(super) compression: Compression,
    pub(super) batch_bytes: usize,
    pub(super) max_message_bytes: usize,
    pub(super) append_bytes: usize,
    pub(super) durable: bool,
    /// Partitions that are not here.
    pub(super) missing: Vec<u32>,
}

impl DoubleTopic {
    pub(super) fn new(partitions: usize, batch_bytes: usize) -> Self {
        Self {
            partitions: (0..partitions).map(|_| Double::new(0)).collect(),
            deleted: AtomicBool::new(false),
            compression: Compression::default(),
            batch_bytes,
            max_message_bytes: 1 << 20,
            append_bytes: 1 << 20,
            missing: Vec::new(),
            durable: false,
        }
    }

    pub(super) fn queues(self: &Arc<Self>) -> TopicQueues {
        let facts = TopicFacts {
            settings: BatchSettings { compression: self.compression, ..BatchSettings::default() },
            batch_bytes: self.batch_bytes,
            max_message_bytes: self.max_message_bytes,
            append_bytes: self.append_bytes,
            durable: self.durable,
            loads: self.partitions.iter().map(|_| Load::default()).collect(),
        };
        let count = (self.partitions.len() + self.missing.len()) as u32;
        let numbers = (0..count).filter(|number| !self.missing.contains(number));
        let sinks = numbers.zip(self.partitions.iter().cloned().map(Sink::Double)).collect();
        TopicQueues::new(Owner::Double(self.clone()), facts, count, sinks, 1)
    }
}
