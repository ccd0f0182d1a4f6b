//! Group commit: one sync serves all who wait on a file. No thread of its own: who finds a file that
//! nobody syncs leads it.

use std::{sync::Arc, task::Waker};

use super::{
    file::{CommitError, CommitFile, Enlisted, SyncTarget},
    parking::{park_until, thread_waker},
};
use crate::{io::Storage, metrics::Counter, sync::Mutex};

/// How many files are made durable at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// One fdatasync a file, all submitted together. Assumes of the disk: a successful fdatasync means
    /// that the file's bytes, and its length, are on the device. An error belongs to its file.
    SyncEach,
    /// As [`Strategy::SyncEach`], but of many files that are committed at once, those whose new bytes lie in
    /// space that was prepared durably are written back side by side, and one fdatasync flushes the device's
    /// cache for all of them: a round costs one flush, not one a file. Where the file system is not known
    /// to overwrite in place (only ext4 is) every file is synced by itself. Assumes that an fdatasync
    /// flushes the device's cache whole; where it fails, that is the failure of every file of its round.
    #[default]
    FlushOnce,
}

/// Counts of a [`GroupCommit`].
#[derive(Debug, Default)]
pub struct CommitMetrics {
    /// Calls of [`GroupCommit::commit`] and [`GroupCommit::commit_each`].
    pub commits: Counter,
    /// Submissions: syncs of one leader that were started together.
    pub rounds: Counter,
    /// Files synced, failed syncs included.
    pub syncs: Counter,
    /// Of these, files that were written back, and shared one flush with others.
    pub flushed_together: Counter,
    /// Targets (a file and an end) that became durable. `served / syncs`: waiters served by a sync.
    pub served: Counter,
}

/// The commits of one log dir.
///
/// Locks, in the order in which they may be held: `line`, then a file's, then a watermark's.
#[derive(Debug)]
pub struct GroupCommit {
    storage: Storage,
    strategy: Strategy,
    /// Those who found all of their files led by others. A file is led and given back under this
    /// lock, so none of them can sleep on a file that nobody leads.
    line: Mutex<Vec<StandBy>>,
    metrics: CommitMetrics,
}

#[derive(Debug)]
struct StandBy {
    waker: Waker,
    /// What it waits for.
    targets: Vec<(Arc<CommitFile>, u64)>,
}

impl GroupCommit {
    /// Commits of files of `storage`.
    pub fn new(storage: Storage, strategy: Strategy) -> Arc<Self> {
        let (line, metrics) = (Mutex::default(), CommitMetrics::default());
        Arc::new(Self { storage, strategy, line, metrics })
    }

    /// Blocks until each file is durable up to its end (bytes), or will never be. Gives the first
    /// error when all of them are decided: `durable_end` then tells which of the others succeeded.
    ///
    /// Call it when [`CommitFile::written`] has been told of these ends. An end beyond the written one
    /// has been cut off by a truncation.
    pub fn commit(&self, targets: &[(Arc<CommitFile>, u64)]) -> Result<(), CommitError> {
        self.commit_each(targets).into_iter().collect()
    }

    /// [`GroupCommit::commit`] with one result a target, in order.
    pub fn commit_each(&self, targets: &[(Arc<CommitFile>, u64)]) -> Vec<Result<(), CommitError>> {
        self.metrics.commits.add(1);
        let mut waits: Vec<_> = targets.iter().map(|(file, end)| file.enlist(*end)).collect();
        if waits.iter().any(|wait| wait.outcome.is_none()) {
            self.wait_for_all(&mut waits);
        }
        let results: Vec<_> = waits.into_iter().filter_map(|wait| wait.outcome).collect();
        self.metrics.served.add(results.iter().filter(|result| result.is_ok()).count() as u64);
        results
    }

    /// Counts since the start.
    pub fn metrics(&self) -> &CommitMetrics {
        &self.metrics
    }

    fn wait_for_all(&self, waits: &mut [Enlisted<'_>]) {
        let mut stood_by = false;
        loop {
            match self.next_turn(waits, stood_by) {
                Turn::Over => return,
                Turn::Lead(round) => {
                    stood_by = false;
                    round.perform();
                }
                Turn::StandBy => {
                    stood_by = true;
                    park_until(None);
                }
            }
        }
    }

    /// Looks at all that is waited for, and leads those files that nobody leads. Under the lock: a file
    /// that is not led has no sync whose success is still to be told, so none is synced in vain.
    fn next_turn(&self, waits: &mut [Enlisted<'_>], stood_by: bool) -> Turn<'_> {
        let waker = thread_waker();
        let mut line = self.line.lock();
        let in_line = line.iter().position(|other| other.waker.will_wake(&waker));
        let called = stood_by && in_line.is_none();
        in_line.map(|place| line.remove(place));
        let undecided: Vec<_> = waits.iter_mut().filter_map(Enlisted::undecided).collect();
        let files: Vec<_> = undecided
            .iter()
            .filter_map(|wait| Some((wait.file.clone(), wait.file.lead()?)))
            .collect();
        if race!(LineLetGo) {
            drop(line);
            line = self.line.lock();
        }
        if called && !race!(CallNotPassedOn) {
            // Perhaps to lead a file that it no longer waits for, after a truncation: others must.
            call_leaders(&mut line);
        }
        if undecided.is_empty() {
            return Turn::Over;
        }
        if !files.is_empty() {
            return Turn::Lead(Round { group: self, files });
        }
        let targets = undecided.iter().map(|wait| (wait.file.clone(), wait.end)).collect();
        line.push(StandBy { waker, targets });
        Turn::StandBy
    }
}

/// What one who waits does next.
enum Turn<'a> {
    Over,
    Lead(Round<'a>),
    StandBy,
}

/// Wakes, for each file that is not led, one of those who still need a sync of it. Whoever is woken
/// leads, or stands by again when somebody was faster, or passes the call on.
fn call_leaders(line: &mut Vec<StandBy>) {
    let mut called: Vec<Arc<CommitFile>> = Vec::new();
    line.retain(|waiter| {
        let before = called.len();
        for (file, end) in &waiter.targets {
            let needed = file.durable_end() < *end && !file.is_led();
            if needed && !called.iter().any(|other| Arc::ptr_eq(other, file)) {
                called.push(file.clone());
            }
        }
        if called.len() > before {
            waiter.waker.wake_by_ref();
        }
        called.len() == before
    });
}

/// Files that one waiter leads. When dropped, they are free again and others are called to lead.
struct Round<'a> {
    group: &'a GroupCommit,
    files: Vec<(Arc<CommitFile>, SyncTarget)>,
}

impl Round<'_> {
    fn perform(self) {
        let metrics = &self.group.metrics;
        metrics.rounds.add(1);
        metrics.syncs.add(self.files.len() as u64);
        let is_together = self.group.strategy == Strategy::FlushOnce && self.files.len() > 1;
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(file, target)| {
                let overwritten = is_together.then(|| file.overwritten(target)).flatten();
                (file.file().clone(), overwritten)
            })
            .collect();
        let overwritten = files.iter().filter(|(_, overwritten)| overwritten.is_some()).count();
        metrics.flushed_together.add(overwritten as u64);
        let results = if twin!(NoSyncOfLog) {
            files.iter().map(|_| Ok(())).collect()
        } else {
            self.group.storage.sync_together(&files)
        };
        for (((file, target), (_, overwritten)), result) in
            self.files.iter().zip(&files).zip(results)
        {
            match result {
                Ok(()) => file.synced(*target, overwritten.is_none()),
                Err(error) => file.failed(error),
            }
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let mut line = self.group.line.lock();
        for (file, _) in &self.files {
            file.release();
        }
        if !race!(ReleasedInSilence) {
            call_leaders(&mut line);
        }
    }
}

#[cfg(test)]
mod tests;
