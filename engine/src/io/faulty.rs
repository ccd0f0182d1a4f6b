//! A simulated disk on which any call can go wrong, with a trace of all that was asked of it.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use rustix::io::Errno;

use super::{
    Completion, Disk, Entry, ForgetfulDisk, Handle, Lock, Map, Open, Operation, Pending, Storage,
};
use crate::{
    clock::ManualClock,
    sync::{Condvar, Mutex},
};

/// What is asked of a disk: the methods of [`Disk`], and the operations that it performs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is what `Disk` and `Operation` say of it")]
pub enum Verb {
    Open,
    Read,
    Write,
    Sync,
    Len,
    SetLen,
    Allocate,
    List,
    CreateDir,
    Rename,
    RemoveFile,
    RemoveDir,
    SyncDir,
    Lock,
    FreeBytes,
    WriteBack,
}

impl Verb {
    /// Whether it changes what is there.
    fn changes(self) -> bool {
        use Verb::{
            Allocate, CreateDir, Open, RemoveDir, RemoveFile, Rename, SetLen, Sync, SyncDir, Write,
            WriteBack,
        };
        matches!(
            self,
            Open | Write
                | Sync
                | SetLen
                | Allocate
                | CreateDir
                | Rename
                | RemoveFile
                | RemoveDir
                | SyncDir
                | WriteBack
        )
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// EIO, and nothing is done. What a sync was to make durable never will be, although reads show it; nor with
    /// another error.
    Io,
    /// All is done, and then EIO is told.
    DoneThenIo,
    /// ENOSPC, and nothing is done.
    NoSpace,
    /// EINTR, and nothing is done.
    Interrupted,
    /// EAGAIN, and nothing is done.
    Again,
    /// EMFILE: no descriptor is left to open a file.
    TooManyFiles,
    /// A write does its first half, then finds the disk full.
    Short,
    /// A write does its first half, a sync makes any of the sectors durable; then EIO.
    ShortThenIo,
    /// Nothing is done, and all is said to be well: a lost write, a sync that lies.
    Lost,
    /// A write goes a page too far (every other call: not far enough), and all is said to be well.
    Misdirected,
    /// One bit of what is written or read is another, and all is said to be well.
    Flipped,
    /// All is well after a while ([`FaultyDisk::drive`]).
    Slow(Duration),
}

impl Fault {
    /// One of each kind.
    pub const ALL: &'static [Self] = &[
        Self::Io,
        Self::DoneThenIo,
        Self::NoSpace,
        Self::Interrupted,
        Self::Again,
        Self::TooManyFiles,
        Self::Short,
        Self::ShortThenIo,
        Self::Lost,
        Self::Misdirected,
        Self::Flipped,
        Self::Slow(Duration::from_secs(90)),
    ];

    /// Whether this can go wrong with such a call.
    pub fn fits(self, verb: Verb) -> bool {
        use Verb::{
            Allocate, CreateDir, List, Lock, Open, Read, RemoveFile, Rename, SetLen, Sync, SyncDir,
            Write, WriteBack,
        };
        match self {
            Self::Io | Self::Interrupted | Self::Again | Self::Slow(_) => true,
            Self::DoneThenIo => verb.changes() || verb == Lock,
            // A removal too: some file systems write a new tree before they give up the old one.
            Self::NoSpace => matches!(
                verb,
                Open | Write
                    | Allocate
                    | CreateDir
                    | Rename
                    | SetLen
                    | Sync
                    | SyncDir
                    | WriteBack
                    | RemoveFile
                    | Lock
            ),
            Self::TooManyFiles => matches!(verb, Open | List | SyncDir | Lock),
            Self::Short | Self::Misdirected => verb == Write,
            Self::ShortThenIo => matches!(verb, Write | Sync | WriteBack),
            Self::Lost => verb.changes() && verb != Open,
            Self::Flipped => matches!(verb, Read | Write),
        }
    }

    /// Whether the caller is told that all is well although it is not: what it acknowledges then may be
    /// lost, but must never be wrong.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Lost | Self::Misdirected | Self::Flipped)
    }

    /// Whether it passes: who was refused once may go on. After EIO, and after a sync that failed for whatever
    /// reason, nobody knows what the device has.
    pub fn is_transient(self, verb: Verb) -> bool {
        match self {
            Self::NoSpace | Self::Again | Self::Interrupted => {
                !matches!(verb, Verb::Sync | Verb::SyncDir | Verb::WriteBack)
            }
            Self::TooManyFiles => verb != Verb::SyncDir,
            Self::Short | Self::Slow(_) => true,
            _ => false,
        }
    }

    fn error(self) -> Option<io::Error> {
        let errno = match self {
            Self::Io => Errno::IO,
            Self::NoSpace => Errno::NOSPC,
            Self::Interrupted => Errno::INTR,
            Self::Again => Errno::AGAIN,
            Self::TooManyFiles => Errno::MFILE,
            Self::DoneThenIo
            | Self::Short
            | Self::ShortThenIo
            | Self::Lost
            | Self::Misdirected
            | Self::Flipped
            | Self::Slow(_) => return None,
        };
        Some(errno.into())
    }
}

/// A page, which a misdirected write misses by.
const PAGE: u64 = 4096;

/// A [`ForgetfulDisk`] with a plan of what goes wrong, and a trace of all that was asked of it (feature
/// `sim`). Cheap to clone: a clone is the same disk.
///
/// Calls are numbered from 1. What a call's number is follows from the calls alone: the same seeded work
/// makes the same calls, and the same trace. So a fault can be put at each call in turn: EIO, ENOSPC,
/// EINTR, EAGAIN, EMFILE, a short write, an error after all was done; or, without a word, a write or a sync that is lost, a write that
/// lands elsewhere, a flipped bit ([`Fault`]). A call takes long by a simulated clock
/// ([`FaultyDisk::drive`]), or until it is let go ([`FaultyDisk::hold`]).
///
/// Not modelled: more than one fault a call; reads that are short before the end of a file (a [`Disk`]
/// does not give such); faults that stay, as of a device that is gone: plan them for each call. Work on
/// several threads makes its calls in an order of the machine's own: for a trace keep to one
/// ([`Housekeeping::Manual`](crate::options::Housekeeping::Manual),
/// [`recovery_threads`](crate::options::EngineOptions::recovery_threads) 1, no producer).
///
/// # Example
///
/// A system that links the engine, with each fault at each call: what was acknowledged outlives it and a
/// power cut behind it.
///
/// ```
/// use std::sync::Arc;
/// use trunkline::{
///     Engine, EngineOptions, TopicConfig,
///     clock::ManualClock,
///     io::{Fault, FaultyDisk, ForgetfulDisk, Loss, Storage},
///     options::Housekeeping,
/// };
///
/// let open = |storage: Storage| {
///     let options = EngineOptions::new("/data")
///         .storage(storage)
///         .clock(Arc::new(ManualClock::new(0)))
///         .housekeeping(Housekeeping::Manual)
///         .recovery_threads(1_usize)
///         .seed(1_u64);
///     Engine::open(options)
/// };
/// let run = |call, fault| {
///     let disk = FaultyDisk::new(ForgetfulDisk::new());
///     disk.plan(call, fault);
///     let made = open(disk.storage())
///         .is_ok_and(|engine| engine.create_topic("orders", 1, TopicConfig::default()).is_ok());
///     (disk, made)
/// };
/// let (sound, made) = run(u64::MAX, Fault::Io);
/// assert!(made && sound.struck().is_empty());
/// assert_eq!(run(u64::MAX, Fault::Io).0.trace(), sound.trace(), "the same seed, the same calls");
/// for call in 1..=sound.calls() {
///     for fault in Fault::ALL.iter().copied().filter(|fault| !fault.is_silent()) {
///         let (disk, made) = run(call, fault);
///         let left = disk.below().power_cut(Loss::Everything);
///         let engine = open(left.storage())?;
///         assert!(engine.topic("orders").is_some() || !made, "{fault:?} at call {call}");
///     }
/// }
/// # Ok::<(), trunkline::engine::OpenError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    disk: ForgetfulDisk,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    verbs: Option<Vec<Verb>>,
    trace: u64,
    plan: BTreeMap<u64, Fault>,
    struck: Vec<(Verb, Fault)>,
    clock: Option<Arc<ManualClock>>,
    /// Calls of this kind wait.
    held: Option<Verb>,
    /// How many wait.
    waiting: u64,
}

/// A fault that goes off.
#[derive(Debug, Clone, Copy)]
struct Strike {
    fault: Fault,
    /// Number of the call.
    call: u64,
    /// The trace up to it: what is drawn, is drawn from there.
    trace: u64,
}

impl FaultyDisk {
    /// `disk`, with which nothing goes wrong yet.
    pub fn new(disk: ForgetfulDisk) -> Self {
        Self { disk, state: Arc::default() }
    }

    /// The disk as the engine uses it.
    pub fn storage(&self) -> Storage {
        Storage::new(Arc::new(self.clone()))
    }

    /// The disk below, without faults: for a look at what is there, a fork, or a power cut.
    pub fn below(&self) -> &ForgetfulDisk {
        &self.disk
    }

    /// Plans that call number `call` goes wrong, if that can go wrong with what it is.
    pub fn plan(&self, call: u64, fault: Fault) {
        self.state.0.lock().plan.insert(call, fault);
    }

    /// The clock that a slow call moves on.
    pub fn drive(&self, clock: &Arc<ManualClock>) {
        self.state.0.lock().clock = Some(clock.clone());
    }

    /// Holds back every call of this kind, as a device does that does not answer, until
    /// [`FaultyDisk::let_go`]: for a system that has threads.
    pub fn hold(&self, verb: Verb) {
        self.state.0.lock().held = Some(verb);
    }

    /// Lets go of the calls that are held back, and holds no more.
    pub fn let_go(&self) {
        self.state.0.lock().held = None;
        self.state.1.notify_all();
    }

    /// Waits until a call is held back. `false`: none was within `timeout`, or none will be, as nothing is
    /// to be held any more.
    pub fn wait_held(&self, timeout: Duration) -> bool {
        let mut state = self.state.0.lock();
        let is_open = |state: &mut State| state.held.is_some() && state.waiting == 0;
        self.state.1.wait_while_for(&mut state, is_open, timeout);
        state.waiting > 0
    }

    /// Begins to keep what each call is ([`FaultyDisk::verbs`]).
    pub fn keep_verbs(&self) {
        self.state.0.lock().verbs = Some(Vec::new());
    }

    /// What each call was, from the first.
    pub fn verbs(&self) -> Vec<Verb> {
        self.state.0.lock().verbs.clone().unwrap_or_default()
    }

    /// Number of calls so far.
    pub fn calls(&self) -> u64 {
        self.state.0.lock().calls
    }

    /// A hash of all calls so far, of what they were given and in which order.
    pub fn trace(&self) -> u64 {
        self.state.0.lock().trace
    }

    /// The faults that went off so far.
    pub fn struck(&self) -> Vec<(Verb, Fault)> {
        self.state.0.lock().struck.clone()
    }

    /// Counts a call and notes it in the trace; gives what goes wrong with it, or the error where nothing is
    /// done.
    fn call(&self, verb: Verb, given: &[&[u8]]) -> io::Result<Option<Strike>> {
        let mut state = self.state.0.lock();
        state.calls += 1;
        if let Some(verbs) = &mut state.verbs {
            verbs.push(verb);
        }
        let mut trace = step(state.trace, &[verb as u8]);
        for given in given {
            trace = step(trace, given);
        }
        state.trace = trace;
        let call = state.calls;
        if state.held == Some(verb) {
            state.waiting += 1;
            self.state.1.notify_all();
            self.state.1.wait_while(&mut state, |state| state.held == Some(verb));
            state.waiting -= 1;
        }
        let Some(fault) = state.plan.remove(&call).filter(|fault| fault.fits(verb)) else {
            return Ok(None);
        };
        state.struck.push((verb, fault));
        if let (Fault::Slow(time), Some(clock)) = (fault, &state.clock) {
            clock.advance(time);
        }
        // Below, the bytes are lost: a file system takes its pages for clean whatever the write-back failed of.
        let is_below = matches!(verb, Verb::Sync | Verb::WriteBack);
        let error = fault.error().filter(|_| !is_below);
        error.map_or(Ok(Some(Strike { fault, call, trace })), Err)
    }

    /// A call that gives something, done or done and denied.
    fn or_denied<T>(
        &self,
        verb: Verb,
        given: &[&[u8]],
        below: impl FnOnce(&ForgetfulDisk) -> io::Result<T>,
    ) -> io::Result<T> {
        let fault = self.call(verb, given)?.map(|strike| strike.fault);
        let done = below(&self.disk)?;
        if fault == Some(Fault::DoneThenIo) { Err(Errno::IO.into()) } else { Ok(done) }
    }

    fn write(&self, file: Handle, position: u64, mut data: Vec<Vec<u8>>) -> Completion {
        let given: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let place = [number(&file), position].map(u64::to_be_bytes).concat();
        let strike = match self.call(Verb::Write, &[&[place.as_slice()], &given[..]].concat()) {
            Ok(strike) => strike,
            Err(error) => return Completion { result: Err(error), buffers: data },
        };
        let total: usize = data.iter().map(Vec::len).sum();
        let write = |position, data| self.below_one(Operation::Write { file, position, data });
        let Some(Strike { fault, call, trace }) = strike else { return write(position, data) };
        match fault {
            Fault::Lost => Completion { result: Ok(total), buffers: data },
            Fault::Misdirected if call % 2 == 0 && position >= PAGE => write(position - PAGE, data),
            Fault::Misdirected => write(position + PAGE, data),
            Fault::Short | Fault::ShortThenIo => {
                let half = data.concat()[..total / 2].to_vec();
                let result = write(position, vec![half]).result;
                let error = if fault == Fault::Short { Errno::NOSPC } else { Errno::IO };
                Completion { result: result.and(Err(error.into())), buffers: data }
            }
            Fault::Flipped => {
                let mut flipped = data.concat();
                flip(&mut flipped, trace);
                let result = write(position, vec![flipped]).result;
                Completion { result, buffers: std::mem::take(&mut data) }
            }
            Fault::DoneThenIo => {
                let Completion { result, buffers } = write(position, data);
                Completion { result: result.and(Err(Errno::IO.into())), buffers }
            }
            _ => write(position, data),
        }
    }

    fn read(&self, file: Handle, position: u64, into: Vec<u8>) -> Completion {
        let place = [number(&file), position, into.capacity() as u64].map(u64::to_be_bytes);
        let strike = match self.call(Verb::Read, &[&place.concat()]) {
            Ok(strike) => strike,
            Err(error) => return Completion { result: Err(error), buffers: vec![into] },
        };
        let before = into.len();
        let mut completion = self.below_one(Operation::Read { file, position, into });
        if let (Some(Strike { fault: Fault::Flipped, trace, .. }), Some(buffer)) =
            (strike, completion.buffers.first_mut())
        {
            flip(&mut buffer[before..], trace);
        }
        completion
    }

    /// A sync or a write-back of `file`.
    fn sync(&self, verb: Verb, file: &Handle, given: &[&[u8]], operation: Operation) -> Completion {
        let result = match self.call(verb, given) {
            Err(error) => Err(error),
            Ok(None) => return self.below_one(operation),
            Ok(Some(Strike { fault: Fault::Lost, .. })) => Ok(0),
            Ok(Some(Strike { fault: Fault::ShortThenIo, trace, .. })) => {
                self.disk.lose_unsynced(file, Some(trace)).and(Err(Errno::IO.into()))
            }
            Ok(Some(Strike { fault, .. })) => {
                if let Some(error) = fault.error() {
                    self.disk.lose_unsynced(file, None).and(Err(error))
                } else {
                    let result = self.below_one(operation).result;
                    if fault == Fault::DoneThenIo {
                        result.and(Err(Errno::IO.into()))
                    } else {
                        result
                    }
                }
            }
        };
        Completion { result, buffers: Vec::new() }
    }

    fn below_one(&self, operation: Operation) -> Completion {
        self.disk.submit(vec![operation]).wait().remove(0)
    }

    /// A call that is lost, or goes below.
    fn or_lost(
        &self,
        verb: Verb,
        given: &[&[u8]],
        below: impl FnOnce(&ForgetfulDisk) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.call(verb, given)?.map(|strike| strike.fault) {
            Some(Fault::Lost) => Ok(()),
            Some(Fault::DoneThenIo) => below(&self.disk).and(Err(Errno::IO.into())),
            _ => below(&self.disk),
        }
    }
}

impl Disk for FaultyDisk {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Handle> {
        self.or_denied(Verb::Open, &[bytes_of(path), &[how as u8]], |disk| disk.open(path, how))
    }

    fn submit(&self, operations: Vec<Operation>) -> Pending {
        let mut failed = Vec::new();
        let perform = |operation| match operation {
            Operation::Read { file, position, into } => self.read(file, position, into),
            Operation::Write { file, position, data } => {
                let (handle, completion) = (number(&file), self.write(file, position, data));
                if completion.result.is_err() {
                    failed.push(handle);
                }
                completion
            }
            Operation::Sync { file, .. } if failed.contains(&number(&file)) => {
                let error = io::Error::other("not synced: a write before it failed");
                Completion { result: Err(error), buffers: Vec::new() }
            }
            Operation::Sync { ref file, kind } => {
                let file = file.clone();
                let given = [&number(&file).to_be_bytes()[..], &[kind as u8]];
                self.sync(Verb::Sync, &file, &given, operation)
            }
            Operation::WriteBack { ref file, position, len } => {
                let file = file.clone();
                let given = [number(&file), position, len].map(u64::to_be_bytes).concat();
                self.sync(Verb::WriteBack, &file, &[&given], operation)
            }
        };
        Pending::completed(operations.into_iter().map(perform).collect())
    }

    fn len(&self, file: &Handle) -> io::Result<u64> {
        self.call(Verb::Len, &[&number(file).to_be_bytes()])?;
        self.disk.len(file)
    }

    fn set_len(&self, file: &Handle, len: u64) -> io::Result<()> {
        let given = [number(file), len].map(u64::to_be_bytes).concat();
        self.or_lost(Verb::SetLen, &[&given], |disk| disk.set_len(file, len))
    }

    fn allocate(&self, file: &Handle, len: u64) -> io::Result<()> {
        let given = [number(file), len].map(u64::to_be_bytes).concat();
        self.or_lost(Verb::Allocate, &[&given], |disk| disk.allocate(file, len))
    }

    // No calls to a device, and no faults.
    fn map(&self, file: &Handle) -> io::Result<Option<Arc<Map>>> {
        self.disk.map(file)
    }

    fn mapped_len(&self, file: &Handle) -> io::Result<u64> {
        self.disk.mapped_len(file)
    }

    fn in_place_on(&self, file: &Handle) -> io::Result<Option<u64>> {
        self.disk.in_place_on(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.call(Verb::List, &[bytes_of(dir)])?;
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.or_lost(Verb::CreateDir, &[bytes_of(dir)], |disk| disk.create_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let given = [bytes_of(from), bytes_of(to)];
        self.or_lost(Verb::Rename, &given, |disk| disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.or_lost(Verb::RemoveFile, &[bytes_of(path)], |disk| disk.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.or_lost(Verb::RemoveDir, &[bytes_of(path)], |disk| disk.remove_dir(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.or_lost(Verb::SyncDir, &[bytes_of(dir)], |disk| disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.or_denied(Verb::Lock, &[bytes_of(path)], |disk| disk.lock(path))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.call(Verb::FreeBytes, &[bytes_of(dir)])?;
        self.disk.free_bytes(dir)
    }
}

fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn number(handle: &Handle) -> u64 {
    match handle {
        Handle::Simulated(number) => *number,
        _ => u64::MAX,
    }
}

/// The next state of the trace: the state before, the length, and the bytes' checksum, mixed.
fn step(trace: u64, given: &[u8]) -> u64 {
    let sum = u64::from(crc32c::crc32c_append(trace as u32, given));
    (trace.rotate_left(23) ^ (sum << 32 | given.len() as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Flips the bit that `draw` says.
fn flip(bytes: &mut [u8], draw: u64) {
    if let Some(bit) = draw.checked_rem(8 * bytes.len() as u64) {
        bytes[bit as usize / 8] ^= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests;
