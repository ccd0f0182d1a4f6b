//! A disk in memory that forgets, at a power cut, whatever was not synced.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use fastrand::Rng;
use rustix::io::Errno;

use self::{
    content::Unit,
    state::{OpenFile, State, strikes},
    tree::{Node, NodeId, Tree},
};
use super::{Disk, Entry, Handle, Lock, Map, Open, Operation, Pending, Storage, map};
use crate::sync::{Mutex, MutexGuard};

mod content;
mod state;
mod tree;

/// Free space of a disk that was not filled up, in bytes.
const AMPLE: u64 = 1 << 40;

/// A disk in memory that forgets, at a power cut, whatever was not synced: for tests of the engine, and of
/// whatever links it or keeps its own files by [`Storage`] (feature `sim`). Cheap to clone: a clone is the
/// same disk; [`ForgetfulDisk::fork`] copies it.
///
/// In these respects as strict as a real file system may be, or stricter, so that a missing sync shows:
/// - bytes, lengths and allocations of a file are durable after a sync of that file; before, a power cut
///   keeps none of them, or any pages or sectors, each as it was at a time of its own ([`Loss`]);
/// - bytes that are written back ([`Operation::WriteBack`]) wait in the device's cache for the next sync of any
///   file; those of a block that is not durably the file's stay out of it;
/// - names (creation, rename, removal) are durable after [`Disk::sync_dir`] of their folder, a folder's
///   own name after one of its parent; a file whose name was never synced vanishes whole, a rename not
///   synced is undone, a removal not synced comes back;
/// - a failed sync loses the bytes for good, and what the device had in its cache, and the next one says nothing of it, as on Linux: reads
///   still show them, from the page cache; only [`Open::Direct`] shows what the device has.
///
/// A full disk, single EIOs and syncs that lie are set by methods; a [`FaultyDisk`](super::FaultyDisk) above
/// it makes any call go wrong.
///
/// Not modelled: changes of one folder that reach the device out of order; sectors that are torn within, or
/// that rot by themselves; a device that takes a write and gives up an older, synced one, or what stands beside
/// it in a block; blocks that show what another file had in them (ext4 with `data=writeback`); a write-back
/// that fails before any sync, of a file that is then closed and opened again, so that nobody is told; a
/// mapped page that cannot be had; a page cache that does not forget when it is asked to; quotas and
/// permissions; more than one device, more than one machine. All that it does follows from the calls and the seeds: no time, no
/// randomness, no hash order.
///
/// # Example
///
/// A system of one's own, here a counter in a file, with the power going at each of its operations in turn:
///
/// ```
/// use std::path::Path;
/// use trunkline::{
///     error::IoError,
///     io::{ForgetfulDisk, Loss, Open, Storage, SyncKind},
/// };
///
/// fn save(storage: &Storage, counter: u8) -> Result<(), IoError> {
///     let new = Path::new("/counter.new");
///     let file = storage.open(new, Open::Create)?;
///     file.write_at(0, vec![counter])?;
///     file.sync(SyncKind::Data)?; // leave this out, or the next sync, and the test fails
///     storage.rename(new, Path::new("/counter"))?;
///     storage.sync_dir(Path::new("/"))
/// }
///
/// let disk = ForgetfulDisk::new();
/// save(&disk.storage(), 1)?;
/// for operations in 0.. {
///     let disk = disk.fork();
///     disk.power_off_after(operations);
///     let is_saved = save(&disk.storage(), 2).is_ok();
///     for loss in [Loss::Everything, Loss::Random(operations), Loss::Sectors(operations)] {
///         let left = disk.fork().power_cut(loss);
///         let counter = left.storage().read(Path::new("/counter"), 1)?;
///         assert!(counter == [2] || (counter == [1] && !is_saved), "{counter:?}, {loss:?}");
///     }
///     if is_saved {
///         break;
///     }
/// }
/// # Ok::<(), IoError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ForgetfulDisk(Arc<Mutex<State>>);

/// What a power cut takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Everything that was not synced.
    Everything,
    /// By a seed: of a file's unsynced bytes any pages (4 KiB each, as they were at any time since
    /// the sync, in any order, zeros where a page never came) and its length of any time since; of a
    /// folder's unsynced changes the first few.
    Random(u64),
    /// As `Random`, but a device keeps or loses each sector (512 bytes), so that pages are torn.
    Sectors(u64),
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
            maps: false,
            mapped: Vec::new(),
            cached: Vec::new(),
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
        let tree = state.tree.survivor(match loss {
            Loss::Everything => None,
            Loss::Random(seed) => Some((Unit::Page, Rng::with_seed(seed))),
            Loss::Sectors(seed) => Some((Unit::Sector, Rng::with_seed(seed))),
        });
        state.restarted(tree)
    }

    /// Kills the process: gives the disk as the next one finds it. All that was written is there, synced or
    /// not; locks are released, controls at rest. This one answers every call with an error from now on.
    #[must_use = "what is left is the disk that the next process finds"]
    pub fn kill(&self) -> Self {
        let mut state = self.0.lock();
        state.off = true;
        state.restarted(state.tree.clone())
    }

    /// A copy of everything, unsynced changes and controls included, with no lock held; for a test that
    /// cuts the power at many points of one run.
    #[must_use]
    pub fn fork(&self) -> Self {
        let (locks, mapped) = (BTreeSet::new(), Vec::new());
        let state = State { locks, mapped, ..self.0.lock().clone() };
        Self::from_state(state)
    }

    /// Makes all that is there durable, as if it had been there for long.
    pub fn settle(&self) {
        self.0.lock().tree.sync();
    }

    /// From now on files can be mapped, as on a real disk: to read from a map calls no disk, and no error
    /// strikes there.
    pub fn map_files(&self) {
        self.0.lock().maps = true;
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

    /// Fault: the `nth` sync or write-back from now on (1: the next), of a file or a folder, fails with EIO. What it
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

    /// A sync that fails: what it was to make durable is lost for good, but for sectors that `some`, a seed,
    /// has drawn.
    pub(super) fn lose_unsynced(&self, file: &Handle, some: Option<u64>) -> io::Result<()> {
        let mut state = self.change()?;
        let node = state.opened(file)?.node;
        state.fail_sync(node, some.map(Rng::with_seed))
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
    fn name(&self) -> &'static str {
        "simulated"
    }

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
        if len < state.tree.file(node)?.content.len() && len < state.mapped_len(node) {
            return Err(map::busy());
        }
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

    fn in_place_on(&self, file: &Handle) -> io::Result<Option<u64>> {
        self.on()?.opened(file).map(|_| Some(0))
    }

    fn map(&self, file: &Handle) -> io::Result<Option<Arc<Map>>> {
        let mut state = self.on()?;
        let node = state.opened(file)?.node;
        let content = &state.tree.file(node)?.content;
        if !state.maps || content.len() == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(content.len() as usize);
        content.read(0, &mut bytes);
        let bytes = Arc::from(bytes);
        state.mapped.push((node, Arc::downgrade(&bytes)));
        Ok(Some(Map::copied(bytes)))
    }

    fn mapped_len(&self, file: &Handle) -> io::Result<u64> {
        let mut state = self.on()?;
        let node = state.opened(file)?.node;
        Ok(state.mapped_len(node))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.on()?;
        let folder = state.tree.folder(state.tree.find(dir)?)?;
        let describe = |(name, id): (&OsStr, NodeId)| match state.tree.node(id) {
            Node::File(file) => Entry {
                name: name.to_owned(),
                is_dir: false,
                len: file.content.len(),
                modified_ms: file.modified_ms,
            },
            Node::Folder(_) => {
                Entry { name: name.to_owned(), is_dir: true, len: 0, modified_ms: 0 }
            }
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
