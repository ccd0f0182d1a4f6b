//! What has to be done from time to time, and the thread that does it.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::Shared;
use crate::{
    error::IoError,
    log::{ChangeError, PartitionLog},
    sync::{
        Condvar, Mutex,
        thread::{self, JoinHandle},
    },
    topic::Topic,
    types::{Durability, Offset, TopicPartition},
};

/// When to do what.
#[derive(Debug, Default)]
pub(super) struct House {
    next_checkpoint: Duration,
    flushes: HashMap<TopicPartition, Flush>,
}

/// The last sync that `flush.ms` or `flush.messages` asked for.
#[derive(Debug, Clone, Copy)]
struct Flush {
    at: Duration,
    upto: Offset,
}

/// A deleted topic's folder.
#[derive(Debug)]
pub(super) struct Trash {
    /// When it may go, monotonic.
    pub(super) at: Duration,
    pub(super) path: PathBuf,
}

impl House {
    /// Of an engine that is opened at `now`.
    pub(super) fn new(now: Duration, checkpoint_interval: Duration) -> Self {
        let next_checkpoint = now.saturating_add(checkpoint_interval);
        Self { next_checkpoint, flushes: HashMap::new() }
    }
}

impl Shared {
    /// Does what is due at `now`, and gives the time of the next call. What fails is logged and tried
    /// again: the partition itself refuses what it must.
    pub(super) fn keep_house(&self, now: Duration) -> Duration {
        let mut house = self.house.lock();
        if self.is_closed() {
            return Duration::MAX;
        }
        let logs = self.logs();
        let mut next = self.empty_trash(now);
        if !house.flushes.is_empty() {
            let known: HashSet<_> = logs.iter().map(|(_, log)| log.partition()).collect();
            house.flushes.retain(|partition, _| known.contains(partition));
        }
        for (topic, log) in &logs {
            if topic.is_deleted() {
                continue;
            }
            let step = log.step(now).unwrap_or_else(|error| {
                tracing::error!(partition = %log.partition(), %error, "housekeeping failed");
                now.saturating_add(self.options.retention_check_interval)
            });
            next = next.min(step).min(house.flush(now, topic, log));
        }
        if house.next_checkpoint <= now {
            house.next_checkpoint = now.saturating_add(self.options.checkpoint_interval);
            self.checkpoint(&logs);
        } else {
            // What a segment holds that was sealed since is durable but for its indexes: with a
            // checkpoint, which costs little then, a recovery reads the last segments only.
            let mut rolled = logs;
            rolled.retain(|(topic, log)| !topic.is_deleted() && log.has_rolled_since_checkpoint());
            self.checkpoint(&rolled);
        }
        next.min(house.next_checkpoint)
    }

    /// Raises the recovery points of these logs and writes them.
    fn checkpoint(&self, logs: &[(Arc<Topic>, Arc<PartitionLog>)]) {
        let mut has_told = false;
        for (_, log) in logs {
            match log.checkpoint() {
                Ok(_) => has_told = true,
                // Its topic was deleted meanwhile, and is not spoken of again; or it takes no changes.
                Err(ChangeError::Closed | ChangeError::Failed { .. }) => {}
                Err(error) => {
                    tracing::error!(partition = %log.partition(), %error, "checkpoint failed");
                }
            }
        }
        let _registry = self.registry.lock();
        if !has_told || self.is_closed() {
            return;
        }
        for dir in &self.dirs {
            if let Err(error) = dir.persist() {
                tracing::error!(%error, "the checkpoints were not written");
            }
        }
    }

    /// Removes the folders whose time has come; gives the time of the next one.
    fn empty_trash(&self, now: Duration) -> Duration {
        let mut registry = self.registry.lock();
        let (due, left) =
            std::mem::take(&mut registry.trash).into_iter().partition(|trash| trash.at <= now);
        registry.trash = left;
        let next = registry.trash.iter().map(|trash| trash.at).min();
        drop(registry);
        let due: Vec<Trash> = due;
        for Trash { path, .. } in due {
            if let Err(error) = self.remove_folder(&path) {
                tracing::warn!(%error, "a deleted topic's folder stays until the next open");
            }
        }
        next.unwrap_or(Duration::MAX)
    }

    pub(super) fn remove_folder(&self, path: &std::path::Path) -> Result<(), IoError> {
        self.options.storage.remove_dir_all(path)?;
        self.options.storage.sync_parent(path)
    }
}

impl House {
    /// Syncs a log that is only `written`, where `flush.ms` or `flush.messages` ask for it; gives the
    /// time when that is due.
    fn flush(&mut self, now: Duration, topic: &Topic, log: &PartitionLog) -> Duration {
        let config = topic.config();
        let asked = config.flush_ms < i64::MAX || config.flush_messages < i64::MAX;
        if !asked || log.durability() == Durability::Durable {
            return Duration::MAX;
        }
        let end = log.watermarks().log_end;
        let start = Flush { at: now, upto: end };
        let last = self.flushes.entry(log.partition().clone()).or_insert(start);
        let every = Duration::from_millis(config.flush_ms as u64);
        if now.saturating_sub(last.at) >= every || end - last.upto >= config.flush_messages {
            if let Err(error) = log.commit(end) {
                tracing::error!(partition = %log.partition(), %error, "flush failed");
            }
            *last = start;
        }
        last.at.saturating_add(every)
    }
}

/// The housekeeping thread.
#[derive(Debug)]
pub(super) struct Keeper {
    bell: Arc<Bell>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Bell {
    stopped: Mutex<bool>,
    rung: Condvar,
}

impl Keeper {
    pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let heard = bell.clone();
        let builder = thread::Builder::new().name("trunkline-house".into());
        let thread = builder.spawn(move || keep(&shared, &heard))?;
        Ok(Self { bell, thread })
    }

    /// Ends the thread; what it is doing is done to the end.
    pub(super) fn stop(self) {
        *self.bell.stopped.lock() = true;
        self.bell.rung.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("the housekeeping thread had panicked");
        }
    }
}

fn keep(shared: &Shared, bell: &Bell) {
    loop {
        let next = shared.keep_house(shared.options.clock.monotonic());
        let mut stopped = bell.stopped.lock();
        if *stopped {
            return;
        }
        let pause = next.saturating_sub(shared.options.clock.monotonic());
        bell.rung.wait_for(&mut stopped, pause.min(LONGEST_PAUSE));
        if *stopped {
            return;
        }
    }
}

/// The thread looks at least this often: a topic that is made meanwhile has deadlines of its own.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
