//! A disk in memory that forgets, at a power cut, whatever was not synced.
//!
//! Stricter than any real file system, so that a missing sync shows:
//! - bytes, lengths and allocations of a file are durable after a sync of that file;
//! - names (creation, rename, removal) are durable after [`Disk::sync_dir`] of their folder, a folder's
//!   own name after one of its parent; a file whose name was never synced vanishes whole, a rename not
//!   synced is undone, a removal not synced comes back;
//! - a failed sync loses the bytes for good, and the next one says nothing of it, as on Linux: reads
//!   still show them, from the page cache; only [`Open::Direct`] shows what the device has.
//!
//! All that it does follows from the calls and the seeds: no time, no randomness, no hash order.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use fastrand::Rng;
use rustix::io::Errno;

use self::tree::{Node, NodeId, Tree};
use super::{Completion, Disk, Entry, Handle, Lock, Open, Operation, Pending, Storage};
use crate::sync::{Mutex, MutexGuard};

mod content;
mod tree;

/// Free space of a disk that was not filled up, in bytes.
const AMPLE: u64 = 1 << 40;

/// The disk. Cheap to clone: a clone is the same disk; [`ForgetfulDisk::fork`] copies it.
#[derive(Debug, Clone)]
pub struct ForgetfulDisk(Arc<Mutex<State>>);

/// What a power cut takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Everything that was not synced.
    Everything,
    /// By a seed: of a file's unsynced bytes any pages (4 KiB each, as they were at any time since
    /// the sync, in any order, zeros where a page never came) and its length of any time since; of a
    /// folder's unsynced changes the first few.
    Random(u64),
}

#[derive(Debug, Clone)]
struct State {
    tree: Tree,
    /// Open files by their number; none is ever closed, as handles are plain numbers.
    open: Vec<OpenFile>,
    /// Number of the first open file: those of the time before a power cut are known to nobody.
    first_handle: u64,
    locks: BTreeSet<PathBuf>,
    /// Bytes that may still be taken.
    free: u64,
    wall_ms: i64,
    operations: u64,
    bytes_read: u64,
    /// Operations until the power goes off.
    until_off: Option<u64>,
    off: bool,
    lies: bool,
    /// Which of the next ones fails: 1 is the next.
    failing_read: u64,
    failing_write: u64,
    failing_sync: u64,
}

#[derive(Debug, Clone, Copy)]
struct OpenFile {
    node: NodeId,
    writable: bool,
    direct: bool,
}

impl Default for ForgetfulDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl ForgetfulDisk {
    /// An empty disk with a root folder. Relative paths start there too.
    pub fn new() -> Self {
        Self::from_state(State {
            tree: Tree::new(),
            open: Vec::new(),
            first_handle: 0,
            locks: BTreeSet::new(),
            free: AMPLE,
            wall_ms: 0,
            operations: 0,
            bytes_read: 0,
            until_off: None,
            off: false,
            lies: false,
            failing_read: 0,
            failing_write: 0,
            failing_sync: 0,
        })
    }

    /// The disk as the engine uses it.
    pub fn storage(&self) -> Storage {
        Storage::new(Arc::new(self.clone()))
    }

    /// Cuts the power: gives the disk as it is when the power is back, with all locks released and all
    /// controls at rest. This one answers every call with an error from now on.
    #[must_use = "what is left is the disk that comes back"]
    pub fn power_cut(&self, loss: Loss) -> Self {
        let mut state = self.0.lock();
        state.off = true;
        let tree = match loss {
            Loss::Everything => state.tree.survivor(None),
            Loss::Random(seed) => state.tree.survivor(Some(&mut Rng::with_seed(seed))),
        };
        let fresh = Self::new();
        {
            let mut after = fresh.0.lock();
            after.free = (state.free + state.tree.charged()).saturating_sub(tree.charged());
            after.first_handle = state.first_handle + state.open.len() as u64;
            after.wall_ms = state.wall_ms;
            after.tree = tree;
        }
        fresh
    }

    /// A copy of everything, unsynced changes and controls included, with no lock held; for a test that
    /// cuts the power at many points of one run.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = State { locks: BTreeSet::new(), ..self.0.lock().clone() };
        Self::from_state(state)
    }

    /// Makes all that is there durable, as if it had been there for long.
    pub fn settle(&self) {
        self.0.lock().tree.sync();
    }

    /// Control: syncs of files and folders do nothing and say that all is well.
    pub fn lie_about_sync(&self, lies: bool) {
        self.0.lock().lies = lies;
    }

    /// Fault: the `nth` read from now on (1: the next) fails with EIO.
    pub fn fail_read(&self, nth: u64) {
        self.0.lock().failing_read = nth;
    }

    /// Fault: the `nth` write from now on (1: the next) fails with EIO and writes nothing.
    pub fn fail_write(&self, nth: u64) {
        self.0.lock().failing_write = nth;
    }

    /// Fault: the `nth` sync from now on (1: the next), of a file or a folder, fails with EIO. What it
    /// was to make durable never will be, although reads show it; names wait for the next sync.
    pub fn fail_sync(&self, nth: u64) {
        self.0.lock().failing_sync = nth;
    }

    /// Fault: files can grow by `bytes` more, all together; then a write does what it can and fails
    /// with ENOSPC. Cutting and removing files makes room; so does a larger `bytes`.
    pub fn fill_up(&self, bytes: u64) {
        self.0.lock().free = bytes;
    }

    /// Fault: after `operations` more (counted as by [`ForgetfulDisk::operations`]) the power is off
    /// and every call fails; [`ForgetfulDisk::power_cut`] then says what is left.
    pub fn power_off_after(&self, operations: u64) {
        self.0.lock().until_off = Some(operations);
    }

    /// What [`Entry::modified_ms`] says of files that are changed from now on.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        self.0.lock().wall_ms = wall_ms;
    }

    /// Number of calls so far that change or sync something, failed ones included: the points at which
    /// a power cut makes a difference.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Bytes that were read from files so far.
    pub fn bytes_read(&self) -> u64 {
        self.0.lock().bytes_read
    }

    fn from_state(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn on(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.0.lock();
        if state.off { Err(io::Error::other("the power is off")) } else { Ok(state) }
    }

    /// The state, to change it: counts an operation.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.0.lock();
        state.count()?;
        Ok(state)
    }
}

impl Disk for ForgetfulDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Handle> {
        let mut state = self.on()?;
        let found = match state.tree.find(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            other => Some(other?),
        };
        let node = match (found, how) {
            (Some(_), Open::CreateNew) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(node), _) => node,
            (None, Open::Read | Open::Direct | Open::Write) => {
                return Err(ErrorKind::NotFound.into());
            }
            (None, Open::Create | Open::CreateNew) => state.create_file(path)?,
        };
        let content = &mut state.tree.file_mut(node)?.content;
        let direct = how == Open::Direct;
        if direct {
            content.drop_clean();
        }
        let number = state.first_handle + state.open.len() as u64;
        let writable = !matches!(how, Open::Read | Open::Direct);
        state.open.push(OpenFile { node, writable, direct });
        Ok(Handle::Simulated(number))
    }

    fn submit(&self, operations: Vec<Operation>) -> Pending {
        let mut state = self.0.lock();
        let mut failed = Vec::new();
        let perform = |operation| state.perform(operation, &mut failed);
        Pending::completed(operations.into_iter().map(perform).collect())
    }

    fn len(&self, file: &Handle) -> io::Result<u64> {
        let state = self.on()?;
        let node = state.opened(file)?.node;
        Ok(state.tree.file(node)?.content.len())
    }

    fn set_len(&self, file: &Handle, len: u64) -> io::Result<()> {
        let mut state = self.change()?;
        let node = state.writable(file)?;
        let (wall_ms, file) = (state.wall_ms, state.tree.file_mut(node)?);
        let freed = file.charged.saturating_sub(len);
        file.content.set_len(len);
        file.charged -= freed;
        file.modified_ms = wall_ms;
        state.free += freed;
        Ok(())
    }

    fn allocate(&self, file: &Handle, len: u64) -> io::Result<()> {
        let mut state = self.change()?;
        let node = state.writable(file)?;
        let (free, file) = (state.free, state.tree.file_mut(node)?);
        let growth = len.saturating_sub(file.charged);
        if growth > free {
            return Err(Errno::NOSPC.into());
        }
        file.charged += growth;
        if len > file.content.len() {
            file.content.set_len(len);
        }
        state.free -= growth;
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.on()?;
        let folder = state.tree.folder(state.tree.find(dir)?)?;
        let describe = |(name, id): (&std::ffi::OsString, &NodeId)| match state.tree.node(*id) {
            Node::File(file) => Entry {
                name: name.clone(),
                is_dir: false,
                len: file.content.len(),
                modified_ms: file.modified_ms,
            },
            Node::Folder(_) => Entry { name: name.clone(), is_dir: true, len: 0, modified_ms: 0 },
        };
        Ok(folder.now.iter().map(describe).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.change()?.tree.create_folder(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        if let Some(replaced) = state.tree.rename(from, to)? {
            state.free_space_of(replaced)?;
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let removed = state.tree.remove_file(path)?;
        state.free_space_of(removed)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?.tree.remove_folder(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        if strikes(&mut state.failing_sync) {
            return Err(Errno::IO.into());
        }
        if state.lies {
            return state.tree.find(dir).map(drop);
        }
        state.tree.sync_folder(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.on()?;
        if state.locks.contains(path) {
            return Err(io::Error::new(ErrorKind::WouldBlock, "held by this process"));
        }
        match state.tree.find(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => drop(state.create_file(path)?),
            found => drop(found?),
        }
        state.locks.insert(path.into());
        Ok(Box::new(HeldLock { disk: self.clone(), path: path.into() }))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let state = self.on()?;
        state.tree.find(dir)?;
        Ok(state.free)
    }
}

impl State {
    fn count(&mut self) -> io::Result<()> {
        match &mut self.until_off {
            Some(0) => self.off = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        Ok(())
    }

    fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        self.count()?;
        let node = self.tree.create_file(path)?;
        self.tree.file_mut(node)?.modified_ms = self.wall_ms;
        Ok(node)
    }

    fn opened(&self, handle: &Handle) -> io::Result<OpenFile> {
        let Handle::Simulated(number) = handle else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a handle of another backend"));
        };
        let index = number.checked_sub(self.first_handle).map(|index| index as usize);
        let open = index.and_then(|index| self.open.get(index));
        open.copied().ok_or_else(|| Errno::BADF.into())
    }

    fn writable(&self, handle: &Handle) -> io::Result<NodeId> {
        let open = self.opened(handle)?;
        if open.writable { Ok(open.node) } else { Err(Errno::BADF.into()) }
    }

    /// Performs one operation; `failed` lists the files of this submission that a write failed on.
    fn perform(&mut self, operation: Operation, failed: &mut Vec<NodeId>) -> Completion {
        match operation {
            Operation::Read { file, position, mut into } => {
                let result = self.read(&file, position, &mut into);
                Completion { result, buffers: vec![into] }
            }
            Operation::Write { file, position, data } => {
                let result = self.write(&file, position, &data);
                if result.is_err() {
                    failed.extend(self.opened(&file).map(|open| open.node));
                }
                Completion { result, buffers: data }
            }
            Operation::Sync { file, .. } => {
                let result = self.sync(&file, failed).map(|()| 0);
                Completion { result, buffers: Vec::new() }
            }
        }
    }

    fn read(&mut self, file: &Handle, position: u64, into: &mut Vec<u8>) -> io::Result<usize> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        if strikes(&mut self.failing_read) {
            return Err(Errno::IO.into());
        }
        let OpenFile { node, direct, .. } = self.opened(file)?;
        let content = &self.tree.file(node)?.content;
        let count =
            if direct { content.read_direct(position, into) } else { content.read(position, into) };
        self.bytes_read += count as u64;
        Ok(count)
    }

    fn write(&mut self, file: &Handle, position: u64, data: &[Vec<u8>]) -> io::Result<usize> {
        self.count()?;
        if strikes(&mut self.failing_write) {
            return Err(Errno::IO.into());
        }
        let node = self.writable(file)?;
        let file = self.tree.file_mut(node)?;
        let mut bytes = data.concat();
        let total = bytes.len();
        // A write that finds too little room is short first; who goes on meets ENOSPC.
        let room = (file.charged + self.free).saturating_sub(position);
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        let short = bytes.len() < total;
        if !bytes.is_empty() {
            let growth = (position + bytes.len() as u64).saturating_sub(file.charged);
            file.charged += growth;
            self.free -= growth;
            file.content.write(position, bytes);
            file.modified_ms = self.wall_ms;
        }
        if short { Err(Errno::NOSPC.into()) } else { Ok(total) }
    }

    fn sync(&mut self, file: &Handle, failed: &[NodeId]) -> io::Result<()> {
        let node = self.opened(file)?.node;
        if failed.contains(&node) {
            return Err(io::Error::other("not synced: a write before it failed"));
        }
        self.count()?;
        let content = &mut self.tree.file_mut(node)?.content;
        if strikes(&mut self.failing_sync) {
            content.forget_unsynced();
            return Err(Errno::IO.into());
        }
        if !self.lies {
            content.sync();
        }
        Ok(())
    }

    fn free_space_of(&mut self, removed: NodeId) -> io::Result<()> {
        self.free += std::mem::take(&mut self.tree.file_mut(removed)?.charged);
        Ok(())
    }
}

/// Counts a fault down; `true` when it is its turn.
fn strikes(countdown: &mut u64) -> bool {
    let strikes = *countdown == 1;
    *countdown = countdown.saturating_sub(1);
    strikes
}

#[derive(Debug)]
struct HeldLock {
    disk: ForgetfulDisk,
    path: PathBuf,
}

impl Lock for HeldLock {}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.disk.0.lock().locks.remove(&self.path);
    }
}

#[cfg(test)]
mod tests;
