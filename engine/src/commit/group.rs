//! Group commit: one sync serves all who wait on a file. No thread of its own: who finds a file that
//! nobody syncs leads it.

use std::{sync::Arc, task::Waker};

use parking_lot::Mutex;

use super::{
    file::{CommitError, CommitFile, Enlisted, SyncTarget},
    parking::{park_until, thread_waker},
};
use crate::{
    io::{File, Storage, SyncKind},
    metrics::Counter,
};

/// How many files are made durable at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// One fdatasync a file, all submitted together. Assumes of the disk: a successful fdatasync means
    /// that the file's bytes, and its length, are on the device. An error belongs to its file.
    ///
    /// Later strategies (parallel direct writes and one flush, one syncfs) stand here when a
    /// measurement chose them, each with its assumption and with the reach of its errors: the file
    /// that failed, or the whole log dir where that can't be known.
    #[default]
    SyncEach,
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
        let mut stood_by = false;
        while waits.iter_mut().filter_map(Enlisted::undecided).count() > 0 {
            if let Some(round) = self.lead_or_stand_by(&waits) {
                round.perform();
            } else {
                stood_by = true;
                park_until(None);
            }
        }
        if stood_by {
            // It may have been woken to lead a file that it no longer waits for: somebody else must.
            self.leave_line();
        }
        let results: Vec<_> = waits.into_iter().filter_map(|wait| wait.outcome).collect();
        self.metrics.served.add(results.iter().filter(|result| result.is_ok()).count() as u64);
        results
    }

    /// Counts since the start.
    pub fn metrics(&self) -> &CommitMetrics {
        &self.metrics
    }

    /// Leads those files that are waited for and that nobody leads; stands by when there is none.
    fn lead_or_stand_by(&self, waits: &[Enlisted<'_>]) -> Option<Round<'_>> {
        let wanted = || waits.iter().filter(|wait| wait.outcome.is_none());
        let mut line = self.line.lock();
        let waker = thread_waker();
        line.retain(|other| !other.waker.will_wake(&waker));
        let lead = |wait: &Enlisted<'_>| Some((wait.file.clone(), wait.file.lead()?));
        let files: Vec<_> = wanted().filter_map(lead).collect();
        if files.is_empty() {
            let targets = wanted().map(|wait| (wait.file.clone(), wait.end)).collect();
            line.push(StandBy { waker, targets });
            return None;
        }
        Some(Round { group: self, files })
    }

    fn leave_line(&self) {
        let mut line = self.line.lock();
        let waker = thread_waker();
        line.retain(|other| !other.waker.will_wake(&waker));
        call_leaders(&mut line);
    }
}

/// Wakes, for each file that is not led, one of those who still need a sync of it. Whoever is woken
/// leads, or finds that somebody was faster, and stands by again.
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
        let results = match self.group.strategy {
            Strategy::SyncEach => {
                let files: Vec<File> =
                    self.files.iter().map(|(file, _)| file.file().clone()).collect();
                self.group.storage.sync_all(&files, SyncKind::Data)
            }
        };
        for ((file, target), result) in self.files.iter().zip(results) {
            match result {
                Ok(()) => file.synced(*target),
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
        call_leaders(&mut line);
    }
}

#[cfg(test)]
mod tests;
