//! The moving end of a log: its watermarks and the files that a commit must sync. One short lock,
//! no I/O under it.

use std::{sync::Arc, task::Waker};

use super::{CommitError, producers::Transactions};
use crate::{
    commit::{CommitFile, Generation, Watermark, Watermarks, WatermarksSnapshot, wake_all},
    io::File,
    sync::Mutex,
    types::{Durability, Offset},
};

/// What has to be synced before the records below `covers` are durable.
#[derive(Debug, Clone)]
pub struct CommitPlan {
    /// Each file, and up to which byte.
    pub targets: Vec<(Arc<CommitFile>, u64)>,
    /// Every record below is durable once all targets are.
    pub covers: Offset,
    pub(super) generation: Generation,
}

/// Up to where records are to be made durable, and which ones: those that stood in the log when its
/// `generation` was. Offsets alone do not tell records from others that took their place after a
/// truncation.
///
/// [`Appended::end`](super::Appended::end) is one. One made from an [`Offset`] means whatever stands
/// before that offset when the commit begins: for who flushes a log, not for who appended to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPoint {
    upto: Offset,
    generation: Option<Generation>,
}

impl CommitPoint {
    /// The offset behind the last of the records.
    pub fn offset(self) -> Offset {
        self.upto
    }
}

impl From<Offset> for CommitPoint {
    fn from(upto: Offset) -> Self {
        Self { upto, generation: None }
    }
}

/// Watermarks, and the files behind them.
#[derive(Debug)]
pub(super) struct Tail {
    state: Mutex<State>,
    /// Rises with what consumers may read.
    readable: Watermark,
    durability: Durability,
}

#[derive(Debug)]
struct State {
    marks: Watermarks,
    /// Files with bytes that are not durable, oldest first; the last one is appended to.
    files: Vec<Arc<CommitFile>>,
    /// Those of the log as it is; `None` while it is cut.
    transactions: Option<Transactions>,
}

impl Tail {
    /// The tail of a log that was just opened, with the file that is appended to. What recovery left
    /// is all there is: a partition without followers is its own in-sync set.
    pub(super) fn new(
        marks: Watermarks,
        active: Arc<CommitFile>,
        durability: Durability,
        transactions: Transactions,
    ) -> Self {
        let (files, transactions) = (vec![active], Some(transactions));
        let tail = Self {
            state: Mutex::new(State { marks, files, transactions }),
            readable: Watermark::new(0),
            durability,
        };
        tail.event(|state| {
            let end = state.marks.snapshot().log_end;
            state.marks.high_watermark_moved(end);
        });
        tail
    }

    pub(super) fn snapshot(&self) -> WatermarksSnapshot {
        self.state.lock().marks.snapshot()
    }

    pub(super) fn readable(&self) -> &Watermark {
        &self.readable
    }

    /// Up to where readers of committed data may read; `None` while the log is cut.
    pub(super) fn last_stable(&self) -> Option<Offset> {
        let mut state = self.state.lock();
        let (log_start, readable) = (state.marks.snapshot().log_start, self.readable.get());
        let transactions = state.transactions.as_mut()?;
        transactions.settle_below(readable);
        let unstable = transactions.first_unstable();
        Some(unstable.map_or(readable, |first| first.max(log_start).min(readable)))
    }

    /// Records below `end` stand in the active file, whose bytes end at `bytes`. With `transactions`,
    /// where some began or ended.
    pub(super) fn appended(&self, end: Offset, bytes: u64, transactions: Option<Transactions>) {
        self.event(|state| {
            if transactions.is_some() {
                state.transactions = transactions;
            }
            state.active().written(bytes);
            state.marks.appended(end);
            if twin!(DurableWhenWritten) {
                let generation = state.marks.snapshot().generation;
                state.marks.synced(end, generation);
            }
            if self.durability == Durability::Written {
                state.marks.high_watermark_moved(end);
            }
        });
    }

    /// A new file is appended to from now on.
    pub(super) fn rolled(&self, active: Arc<CommitFile>) {
        let mut state = self.state.lock();
        state.files.retain(|file| file.durable_end() < file.written_end());
        state.files.push(active);
    }

    /// The log end and the records before it, as they are now.
    pub(super) fn end(&self) -> CommitPoint {
        let marks = self.snapshot();
        CommitPoint { upto: marks.log_end, generation: Some(marks.generation) }
    }

    /// From here on the point means the records that stand before it now, if it was but an offset.
    pub(super) fn pinned(&self, point: CommitPoint) -> CommitPoint {
        let generation = point.generation.unwrap_or_else(|| self.snapshot().generation);
        CommitPoint { generation: Some(generation), ..point }
    }

    /// What makes the records of a pinned point, and with them all that stand in the log now, durable;
    /// `None` when they are. `Truncated` when they are not all there any more. One look: who looks twice
    /// may miss what others do in between.
    pub(super) fn plan(&self, point: CommitPoint) -> Result<Option<CommitPlan>, CommitError> {
        let CommitPoint { upto, generation } = point;
        let state = self.state.lock();
        let marks = state.marks.snapshot();
        let is_kept = state.marks.is_kept(upto, generation.unwrap_or(marks.generation));
        if !is_kept || upto > marks.log_end {
            return Err(CommitError::Truncated { upto });
        }
        if upto <= marks.durable_end {
            return Ok(None);
        }
        Ok(Some(CommitPlan {
            targets: state.files.iter().map(|file| (file.clone(), file.written_end())).collect(),
            covers: marks.log_end,
            generation: marks.generation,
        }))
    }

    /// Whether no truncation came since `generation`.
    pub(super) fn is_current(&self, generation: Generation) -> bool {
        self.snapshot().generation == generation
    }

    /// The targets of a plan are durable. `false` when a truncation overtook it.
    pub(super) fn synced(&self, plan: &CommitPlan) -> bool {
        self.event(|state| {
            let later = race!(PlanCoversLater).then(|| state.marks.snapshot().log_end);
            let current = state.marks.synced(later.unwrap_or(plan.covers), plan.generation);
            if current && self.durability == Durability::Durable {
                state.marks.high_watermark_moved(plan.covers);
            }
            let active = state.active().clone();
            state.files.retain(|file| {
                Arc::ptr_eq(file, &active) || file.durable_end() < file.written_end()
            });
            current
        })
    }

    pub(super) fn checkpointed(&self, recovery_point: Offset, generation: Generation) -> bool {
        self.event(|state| state.marks.checkpointed(recovery_point, generation))
    }

    pub(super) fn start_advanced(&self, to: Offset) {
        self.event(|state| state.marks.start_advanced(to));
    }

    /// The log is going to be cut to `offset`: from now on nobody may read, commit or wait for what is
    /// behind. `new_end` says how many bytes of each file stay.
    pub(super) fn truncating(&self, offset: Offset, new_end: impl Fn(&File) -> u64) {
        let mut state = self.state.lock();
        state.marks.truncated_to(offset);
        state.transactions = None;
        let mut wakers = self.lower_readable(&state);
        // Under the lock: a plan made in between would wait for bytes that go, and say so of records
        // that stay.
        for file in &state.files {
            let end = new_end(file.file());
            if end < file.written_end() {
                wakers.extend(file.reset_quietly(end));
            }
        }
        drop(state);
        wake_all(wakers);
    }

    /// The cut is durable; `active` is appended to from now on, `transactions` are those that are left.
    /// What was not durable before the cut, and stays, still is to be synced.
    pub(super) fn truncated(&self, active: Arc<CommitFile>, transactions: Transactions) {
        let mut state = self.state.lock();
        state.transactions = Some(transactions);
        state.files.retain(|file| {
            file.durable_end() < file.written_end() && !file.file().is_same(active.file())
        });
        state.files.push(active);
    }

    /// The log was emptied and goes on at `offset`.
    pub(super) fn restarted(&self, offset: Offset, active: Arc<CommitFile>) {
        let mut state = self.state.lock();
        state.marks.restarted_at(offset);
        state.marks.high_watermark_moved(offset);
        state.files = vec![active];
        state.transactions = Some(Transactions::default());
        let wakers = self.lower_readable(&state);
        drop(state);
        wake_all(wakers);
    }

    /// Performs an event and lets readers see what became readable.
    fn event<T>(&self, event: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = event(&mut state);
        let reached = self.readable.raise_quietly(self.readable_end(&state));
        // Wakers run foreign code.
        drop(state);
        if !race!(ReadersNotWoken) {
            wake_all(reached);
        }
        result
    }

    /// As an event, but readers may have to go back.
    fn lower_readable(&self, state: &State) -> Vec<Waker> {
        let end = self.readable_end(state);
        let mut wakers = self.readable.reset_quietly(end);
        wakers.extend(self.readable.raise_quietly(end));
        wakers
    }

    /// Nobody acts on a record that a power cut can take back.
    fn readable_end(&self, state: &State) -> Offset {
        let marks = state.marks.snapshot();
        match self.durability {
            Durability::Written => marks.high_watermark,
            Durability::Durable => marks.high_watermark.min(marks.durable_end),
        }
    }
}

impl State {
    fn active(&self) -> &Arc<CommitFile> {
        self.files.last().expect("a log always has a file that is appended to")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::{Context, Wake},
    };

    use super::*;
    use crate::io::{ForgetfulDisk, Open};

    /// A file of the disk, with `written` bytes of which none is durable.
    fn file(disk: &ForgetfulDisk, name: &str, written: u64) -> Arc<CommitFile> {
        let file = disk.storage().open(&Path::new("/").join(name), Open::Create).unwrap();
        let file = CommitFile::new(file, 0);
        file.written(written);
        file
    }

    fn tail(active: &Arc<CommitFile>, durability: Durability) -> Tail {
        let marks = Watermarks::recovered(0, 0);
        Tail::new(marks, active.clone(), durability, Transactions::default())
    }

    fn plan(tail: &Tail) -> CommitPlan {
        tail.plan(tail.end()).unwrap().expect("something is to be synced")
    }

    fn ends(plan: &CommitPlan) -> Vec<u64> {
        plan.targets.iter().map(|(_, end)| *end).collect()
    }

    /// It was written and rolled while the sync went on, so nobody has synced it.
    #[test]
    fn a_file_that_came_behind_a_plan_is_in_the_next_one() {
        let disk = ForgetfulDisk::new();
        let first = file(&disk, "first", 0);
        let tail = tail(&first, Durability::Durable);
        tail.appended(1, 10, None);
        let early = plan(&tail);
        tail.rolled(file(&disk, "second", 0));
        tail.appended(2, 20, None);
        tail.rolled(file(&disk, "third", 0));
        tail.appended(3, 30, None);
        first.durable().raise(10);
        assert!(tail.synced(&early));
        assert_eq!(tail.snapshot().durable_end, 1);
        assert_eq!(ends(&plan(&tail)), [20, 30], "and the first is done");
    }

    #[test]
    fn a_plan_during_a_cut_waits_for_no_byte_that_goes() {
        let disk = ForgetfulDisk::new();
        let tail = tail(&file(&disk, "first", 0), Durability::Durable);
        tail.appended(4, 40, None);
        tail.rolled(file(&disk, "second", 0));
        tail.appended(8, 50, None);
        tail.truncating(2, |_| 20);
        assert_eq!(ends(&plan(&tail)), [20, 20]);
    }

    #[derive(Default)]
    struct Called(AtomicUsize);

    impl Wake for Called {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_task_that_waits_for_records_is_called_when_they_can_be_read() {
        let disk = ForgetfulDisk::new();
        let first = file(&disk, "first", 0);
        let tail = tail(&first, Durability::Durable);
        let called = Arc::new(Called::default());
        let waker = Waker::from(called.clone());
        let mut reached = pin!(tail.readable().reached(1));
        assert!(reached.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        tail.appended(1, 10, None);
        assert_eq!(called.0.load(Relaxed), 0, "a power cut could take it back");
        first.durable().raise(10);
        assert!(tail.synced(&plan(&tail)));
        assert_eq!(called.0.load(Relaxed), 1);
        assert!(reached.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
}
