//! The moving end of a log: its watermarks and the files that a commit must sync. One short lock,
//! no I/O under it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    commit::{CommitFile, Generation, Watermark, Watermarks, WatermarksSnapshot},
    io::File,
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
}

impl Tail {
    /// The tail of a log that was just opened, with the file that is appended to. What recovery left
    /// is all there is: a partition without followers is its own in-sync set.
    pub(super) fn new(marks: Watermarks, active: Arc<CommitFile>, durability: Durability) -> Self {
        let tail = Self {
            state: Mutex::new(State { marks, files: vec![active] }),
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

    /// Records below `end` stand in the active file, whose bytes end at `bytes`.
    pub(super) fn appended(&self, end: Offset, bytes: u64) {
        self.event(|state| {
            state.active().written(bytes);
            state.marks.appended(end);
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

    /// What makes every record durable that stands in the log now; `None` when all are.
    pub(super) fn plan(&self) -> Option<CommitPlan> {
        let state = self.state.lock();
        let marks = state.marks.snapshot();
        (marks.durable_end < marks.log_end).then(|| CommitPlan {
            targets: state.files.iter().map(|file| (file.clone(), file.written_end())).collect(),
            covers: marks.log_end,
            generation: marks.generation,
        })
    }

    /// The targets of a plan are durable. `false` when a truncation overtook it.
    pub(super) fn synced(&self, plan: &CommitPlan) -> bool {
        self.event(|state| {
            let current = state.marks.synced(plan.covers, plan.generation);
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

    /// The log is going to be cut: `new_end` says how many bytes of each file stay. Who waits for bytes
    /// that go hears of it before they go.
    pub(super) fn truncating(&self, new_end: impl Fn(&File) -> u64) {
        for file in &self.state.lock().files {
            let end = new_end(file.file());
            if end < file.written_end() {
                file.reset(end);
            }
        }
    }

    /// The log was cut to `offset`, durably; `active` is appended to from now on.
    pub(super) fn truncated(&self, offset: Offset, active: Arc<CommitFile>) {
        self.event(|state| {
            state.marks.truncated_to(offset);
            state.files = vec![active];
        });
        self.lower_readable();
    }

    /// The log was emptied and goes on at `offset`.
    pub(super) fn restarted(&self, offset: Offset, active: Arc<CommitFile>) {
        self.event(|state| {
            state.marks.restarted_at(offset);
            state.marks.high_watermark_moved(offset);
            state.files = vec![active];
        });
        self.lower_readable();
    }

    /// Performs an event and lets readers see what became readable.
    fn event<T>(&self, event: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = event(&mut state);
        self.readable.raise(self.readable_end(&state));
        result
    }

    fn lower_readable(&self) {
        let state = self.state.lock();
        self.readable.reset(self.readable_end(&state));
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
