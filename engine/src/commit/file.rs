//! One file's written end and durable end.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    task::{Poll, Waker},
};

use super::watermark::{Reached, WaitError, Watermark, wake_all};
use crate::{
    error::IoError,
    io::{File, Overwritten},
    sync::Mutex,
};

/// A file that is appended to, with the ends of its written and of its durable bytes.
///
/// Ends are byte positions. The appender calls [`CommitFile::written`] after its write and before it
/// asks for a commit; a truncation calls [`CommitFile::reset`] before it cuts the file.
#[derive(Debug)]
pub struct CommitFile {
    file: File,
    durable: Watermark,
    /// Guards `durable` too: it is raised and reset only under this lock.
    state: Mutex<State>,
    /// The device on which bytes of the file are overwritten in place, once somebody asked.
    in_place_on: OnceLock<Option<u64>>,
}

#[derive(Debug)]
struct State {
    written: u64,
    /// Counts truncations: a sync that began before one says nothing about bytes written after it.
    generation: u64,
    /// Whether somebody syncs this file now.
    led: bool,
    room: Room,
}

/// Space of the file behind its durable bytes.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// Bytes before this one were written, with zeros or with what was appended.
    end: u64,
    /// Bytes before this one were so when a sync began that succeeded: length and blocks are durable.
    durable: u64,
    /// Counts cuts: a sync that began before one says nothing about room made after it.
    cuts: u64,
}

/// What a sync that begins now will have made durable when it succeeds.
#[derive(Debug, Clone, Copy)]
pub(super) struct SyncTarget {
    end: u64,
    generation: u64,
    room: Room,
    /// First byte that was not durable.
    start: u64,
}

/// Why bytes did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The sync failed: the file is latched, and whether the bytes are on the device is unknown.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A truncation cut the bytes off.
    #[error("{}: the bytes before {end} were cut off before they were durable", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The end that was to be durable.
        end: u64,
    },
}

impl From<CommitError> for IoError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Io(error) => error,
            CommitError::Truncated { path, end } => {
                let source = std::io::Error::other("cut off by a truncation before it was durable");
                Self::at("commit", path, end, source)
            }
        }
    }
}

impl CommitFile {
    /// `file`, whose first `durable` bytes are written and durable.
    pub fn new(file: File, durable: u64) -> Arc<Self> {
        let room = Room { end: durable, durable, cuts: 0 };
        let state = Mutex::new(State { written: durable, generation: 0, led: false, room });
        let (durable, in_place_on) = (Watermark::new(durable as i64), OnceLock::new());
        Arc::new(Self { file, durable, state, in_place_on })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// All bytes before `end` are written. Ends rise, except through [`CommitFile::reset`].
    ///
    /// # Panics
    /// When the end goes back.
    pub fn written(&self, end: u64) {
        let mut state = self.state.lock();
        assert!(end >= state.written, "written end went back from {} to {end}", state.written);
        state.written = end;
        state.room.end = state.room.end.max(end);
    }

    /// The file's bytes reach to `end`: behind those that are appended zeros were written, which they will
    /// overwrite, or such zeros were cut off. The next sync makes that space durable.
    pub fn room(&self, end: u64) {
        self.state.lock().room.reaches(end);
    }

    /// End of the written bytes.
    pub fn written_end(&self) -> u64 {
        self.state.lock().written
    }

    /// End of the durable bytes.
    pub fn durable_end(&self) -> u64 {
        self.durable.get() as u64
    }

    /// The durable end, to wait for. It rises only when somebody commits.
    pub fn durable(&self) -> &Watermark {
        &self.durable
    }

    /// The file is going to be cut to `end` (0: removed). Commits under way beyond `end` get
    /// [`CommitError::Truncated`], and a sync under way raises nothing. To make the cut itself durable
    /// is the caller's part, before anything is appended.
    ///
    /// # Panics
    /// When `end` lies beyond the written end.
    pub fn reset(&self, end: u64) {
        wake_all(self.reset_quietly(end));
    }

    /// [`CommitFile::reset`] for a caller that holds a lock: [`wake_all`] is called without it.
    pub(crate) fn reset_quietly(&self, end: u64) -> Vec<Waker> {
        let mut state = self.state.lock();
        assert!(end <= state.written, "cut to {end}, beyond the written end {}", state.written);
        state.written = end;
        state.generation += 1;
        state.room.reaches(end);
        self.durable.reset_quietly(end as i64)
    }

    /// Begins to wait for `end`, unless those bytes are gone already. Atomic with
    /// [`CommitFile::reset`]: no later truncation of them goes unnoticed.
    pub(super) fn enlist(self: &Arc<Self>, end: u64) -> Enlisted<'_> {
        let state = self.state.lock();
        let mut reached = self.durable.reached(end as i64);
        let outcome = if end > state.written {
            Some(Err(self.refusal(end, self.latched_or_truncated())))
        } else {
            poll(&mut reached).map(|result| result.map_err(|error| self.refusal(end, error)))
        };
        drop(state);
        Enlisted { file: self, end, reached, outcome }
    }

    /// Takes the lead for this file, when nobody has it.
    pub(super) fn lead(&self) -> Option<SyncTarget> {
        let mut state = self.state.lock();
        if state.led {
            return None;
        }
        state.led = true;
        let State { written: end, generation, room, .. } = *state;
        Some(SyncTarget { end, generation, room, start: self.durable_end() })
    }

    /// The bytes that a sync is to make durable, where all of them lie in space that is durable: what of them
    /// the device lacks are bytes alone.
    pub(super) fn overwritten(&self, target: &SyncTarget) -> Option<Overwritten> {
        let range = target.start..target.end;
        let is_room = !range.is_empty() && range.end <= target.room.durable;
        let device = is_room.then(|| self.in_place_on()).flatten()?;
        Some(Overwritten { device, range })
    }

    fn in_place_on(&self) -> Option<u64> {
        *self.in_place_on.get_or_init(|| {
            self.file.in_place_on().unwrap_or_else(|error| {
                tracing::debug!(%error, "each sync is one of its own");
                None
            })
        })
    }

    pub(super) fn is_led(&self) -> bool {
        self.state.lock().led
    }

    /// A sync that began at `target` succeeded; `is_whole` where it was one of this file. Nothing rises when
    /// the file was cut meanwhile: bytes below `target` may have been written anew since.
    pub(super) fn synced(&self, target: SyncTarget, is_whole: bool) {
        let mut state = self.state.lock();
        if is_whole || twin!(RoomBelievedUnsynced) {
            state.room.synced(target.room);
        }
        if state.generation != target.generation && !race!(GenerationIgnored) {
            return;
        }
        let end = if race!(SyncCountsLaterBytes) { state.written } else { target.end };
        let reached = self.durable.raise_quietly(end as i64);
        drop(state);
        wake_all(reached);
    }

    /// A sync failed: nothing of this file becomes durable any more.
    pub(super) fn failed(&self, error: IoError) {
        if !race!(FailureTellsNobody) {
            self.durable.fail(error);
        }
    }

    /// Gives the lead back.
    pub(super) fn release(&self) {
        self.state.lock().led = false;
    }

    fn latched_or_truncated(&self) -> WaitError {
        self.file.failure().map_or(WaitError::Truncated, |error| error.duplicate().into())
    }

    fn refusal(&self, end: u64, error: WaitError) -> CommitError {
        match error {
            WaitError::Failed(error) => CommitError::Io(error),
            WaitError::Truncated | WaitError::Closed => {
                CommitError::Truncated { path: self.file.path().into(), end }
            }
        }
    }
}

impl Room {
    fn reaches(&mut self, end: u64) {
        if end < self.end && !twin!(RoomOutlivesCut) {
            self.durable = self.durable.min(end);
            self.cuts += 1;
        }
        self.end = end;
        if twin!(RoomBelievedUnsynced) {
            self.durable = end;
        }
    }

    /// A sync succeeded that began when the room was so.
    fn synced(&mut self, then: Self) {
        if self.cuts == then.cuts {
            self.durable = self.durable.max(then.end);
        }
    }
}

/// One who waits until the bytes of `file` before `end` are durable. Its waker is the thread's.
#[derive(Debug)]
pub(super) struct Enlisted<'a> {
    pub(super) file: &'a Arc<CommitFile>,
    pub(super) end: u64,
    reached: Reached<&'a Watermark>,
    pub(super) outcome: Option<Result<(), CommitError>>,
}

impl Enlisted<'_> {
    /// Looks again; `None` when the waiting is over, one way or the other.
    pub(super) fn undecided(&mut self) -> Option<&mut Self> {
        if self.outcome.is_none() {
            let result = poll(&mut self.reached);
            self.outcome = result.map(|it| it.map_err(|error| self.file.refusal(self.end, error)));
        }
        self.outcome.is_none().then_some(self)
    }
}

fn poll(reached: &mut Reached<&Watermark>) -> Option<Result<(), WaitError>> {
    match reached.poll_thread() {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}
