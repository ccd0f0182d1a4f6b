//! The one seam to files. Shaped for completion: operations own their buffers, are submitted in
//! batches over several files, state the order write → sync, and finish by completion.
//!
//! [`Disk`] is what a backend gives: [`PortableDisk`] (any Unix, completes inline) or a simulated
//! one (feature `sim`: `ForgetfulDisk`, `FaultyDisk`, for tests of your own system too). [`Storage`] and [`File`] are what the engine uses: the same verbs with typed errors, and the
//! latch: after a failed sync, or EIO on a write, a file refuses every later write and sync, because
//! the page cache can no longer be trusted and a second sync would lie. ENOSPC, short writes and
//! EINTR never latch; reads go on.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    io::{self, ErrorKind},
    ops::Range,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

#[cfg(any(test, feature = "sim"))]
mod faulty;
#[cfg(any(test, feature = "sim"))]
mod forgetful;
mod map;
mod portable;
#[cfg(target_os = "linux")]
mod uring;
mod write_back;

#[cfg(any(test, feature = "sim"))]
pub use faulty::{Fault, FaultyDisk, Verb};
#[cfg(any(test, feature = "sim"))]
pub use forgetful::{ForgetfulDisk, Loss};
pub use map::Map;
pub use portable::PortableDisk;
#[cfg(target_os = "linux")]
pub use uring::UringDisk;

use crate::error::IoError;

/// Bytes that are copied at a time to a socket, where they must be.
const SEND_BYTES: usize = 128 << 10;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to read.
    Read,
    /// An existing file, to read what stands on the device: after a failed write-back the page cache
    /// shows bytes as clean that the device lacks. Bytes that wait for write-back are written first; what
    /// else the cache holds of the file is dropped, so that reads through it say the same from now on.
    ///
    /// Where the file system refuses to read past its cache (`O_DIRECT`: tmpfs before Linux 6.6, some
    /// network file systems, systems other than Linux) that drop is all there is.
    Direct,
    /// An existing file, to read and write.
    Write,
    /// To read and write; made when absent. The entry is durable after [`Disk::sync_dir`].
    Create,
    /// To read and write; must not exist yet.
    CreateNew,
}

/// A backend's open file. Cheap to clone; closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub enum Handle {
    /// A descriptor of the operating system.
    Os(Arc<std::fs::File>),
    /// One that reads past the page cache, and so by whole, aligned blocks ([`Open::Direct`]).
    Direct(Arc<std::fs::File>),
    /// A simulated disk's open file, by its number.
    Simulated(u64),
}

/// What a sync makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// The bytes, and what of the metadata is needed to read them (fdatasync).
    Data,
    /// Everything (fsync).
    All,
}

/// One operation of a submission. It owns its buffers until it completes.
#[derive(Debug)]
pub enum Operation {
    /// Reads at `position` into the spare capacity of `into` (appends at most
    /// `into.capacity() - into.len()` bytes; fewer only at the end of the file).
    Read {
        /// The file.
        file: Handle,
        /// Byte position in the file.
        position: u64,
        /// Where the bytes go.
        into: Vec<u8>,
    },
    /// Writes all of `data`, one buffer behind the other, from `position` on.
    Write {
        /// The file.
        file: Handle,
        /// Byte position in the file.
        position: u64,
        /// The bytes.
        data: Vec<Vec<u8>>,
    },
    /// Makes durable what the file held when this submission reached it, all earlier writes of this
    /// submission included: a sync never overtakes a write that stands before it, and is not
    /// performed (`ErrorKind::Interrupted` never; `ErrorKind::Other`) when such a write failed.
    Sync {
        /// The file.
        file: Handle,
        /// How much.
        kind: SyncKind,
    },
    /// Brings bytes that stand in the file to its device, which may hold them in a cache of its own: they are
    /// durable once a sync of *any* file of that device, begun later, has succeeded. That holds for bytes
    /// that are overwritten in place ([`Disk::in_place_on`]) where the file's length and blocks have been
    /// durable before. A failure says as little of what the device has as that of a sync does.
    WriteBack {
        /// The file.
        file: Handle,
        /// First byte.
        position: u64,
        /// Number of bytes.
        len: u64,
    },
}

/// The end of an [`Operation`], in the order of the submission, with its buffers back.
#[derive(Debug)]
pub struct Completion {
    /// Bytes read or written (0 for a sync or a write-back). A write that fails may have written a part.
    pub result: io::Result<usize>,
    /// The buffers of the operation: one for a read, all for a write, none for the others.
    pub buffers: Vec<Vec<u8>>,
}

/// A submission under way.
#[derive(Debug)]
pub struct Pending(Vec<Completion>);

impl Pending {
    /// A submission that completed inline.
    pub fn completed(completions: Vec<Completion>) -> Self {
        Self(completions)
    }

    /// Waits for every operation and gives their completions in the order of the submission.
    pub fn wait(self) -> Vec<Completion> {
        self.0
    }
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length in bytes (0 for a folder).
    pub len: u64,
    /// Last modification, milliseconds since 1970-01-01 UTC.
    pub modified_ms: i64,
}

/// A lock against other processes, held until it is dropped.
pub trait Lock: fmt::Debug + Send + Sync {}

/// What a backend gives. Plain `io::Error`s: [`Storage`] adds operation, path and position.
pub trait Disk: fmt::Debug + Send + Sync {
    /// What metrics call it.
    fn name(&self) -> &'static str {
        "another"
    }
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Handle>;
    /// Starts operations over any number of files; those of one file are performed in order.
    fn submit(&self, operations: Vec<Operation>) -> Pending;
    /// One operation, waited for: what most callers want, without the lists of a submission.
    fn perform(&self, operation: Operation) -> Completion {
        let mut completions = self.submit(vec![operation]).wait();
        assert_eq!(completions.len(), 1, "a backend completes each operation once");
        completions.remove(0)
    }
    /// Sends at most `len` bytes of a file, from `position` on, and gives how many `socket` took; 0 only at
    /// the end of the file.
    fn send(
        &self,
        file: &Handle,
        position: u64,
        len: usize,
        socket: BorrowedFd<'_>,
    ) -> io::Result<usize> {
        let into = Vec::with_capacity(len.min(SEND_BYTES));
        let operation = Operation::Read { file: file.clone(), position, into };
        let completion = self.perform(operation);
        completion.result?;
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(socket, &completion.buffers[0]))?)
    }
    /// Length of a file, in bytes.
    fn len(&self, file: &Handle) -> io::Result<u64>;
    /// Cuts or extends (with zeros) a file to `len` bytes. What is mapped of it is not cut off:
    /// `ErrorKind::ResourceBusy`.
    fn set_len(&self, file: &Handle, len: u64) -> io::Result<()>;
    /// Reserves blocks for the first `len` bytes; the length becomes at least `len`, new bytes are 0.
    fn allocate(&self, file: &Handle, len: u64) -> io::Result<()>;
    /// The device (a number) on which bytes of the file stay where they are when they are overwritten, so
    /// that an [`Operation::WriteBack`] and a sync of another file of that device make them durable. `None`
    /// where it is not known that they do.
    fn in_place_on(&self, _file: &Handle) -> io::Result<Option<u64>> {
        Ok(None)
    }
    /// Maps the bytes that a file has now, to be read without a copy; `None` where it has none, or where
    /// this backend or the system does not map. What is mapped must not be overwritten.
    fn map(&self, _file: &Handle) -> io::Result<Option<Arc<Map>>> {
        Ok(None)
    }
    /// How many bytes of the file, from the first on, are in a [`Map`] that anybody in this process holds.
    fn mapped_len(&self, _file: &Handle) -> io::Result<u64> {
        Ok(0)
    }
    /// The entries of a folder, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// As [`Disk::list`], but length and time are told only of entries whose names are `measured`: each
    /// costs a system call. Those of others may be 0.
    fn list_names(&self, dir: &Path, _measured: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>> {
        self.list(dir)
    }
    /// Makes a folder; those above it must be there. `ErrorKind::AlreadyExists` when it is.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file or folder, replacing a file that stands in the way.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder's entries (creations, renames, removals) durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock file at `path`, made when absent, against every other process
    /// (POSIX fcntl, as Java's `FileChannel.tryLock`) and within this one.
    /// `ErrorKind::WouldBlock` when somebody has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// Bytes that can still be written to the file system of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// A disk with typed errors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage(Arc<dyn Disk>);

impl Storage {
    /// Files of `disk`.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self(disk)
    }

    /// The machine's own files, many at once by io_uring where the kernel lends a ring; otherwise as
    /// [`Storage::portable`].
    pub fn system() -> Self {
        #[cfg(target_os = "linux")]
        match UringDisk::new() {
            Ok(disk) => return Self::new(Arc::new(disk)),
            Err(error) => tracing::info!(%error, "no io_uring: plain system calls"),
        }
        Self::portable()
    }

    /// The backend's name, for metrics: `io_uring`, `portable`, or what it calls itself.
    pub fn backend(&self) -> &'static str {
        self.0.name()
    }

    /// The machine's own files, by plain system calls.
    pub fn portable() -> Self {
        Self::new(Arc::new(PortableDisk::new()))
    }

    /// Opens a file.
    pub fn open(&self, path: &Path, how: Open) -> Result<File, IoError> {
        let handle = self.0.open(path, how).map_err(|error| IoError::new("open", path, error))?;
        let state = FileState { path: path.into(), handle, failed: OnceLock::new() };
        Ok(File { disk: self.0.clone(), state: Arc::new(state) })
    }

    /// The whole content of a small file, at most `limit` bytes.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, IoError> {
        let file = self.open(path, Open::Read)?;
        let len = file.len()?;
        if len > limit {
            let text = format!("{len} bytes long, expected at most {limit}");
            return Err(IoError::new("read", path, io::Error::new(ErrorKind::FileTooLarge, text)));
        }
        file.read_at(0, len as usize)
    }

    /// Replaces a small file so that after a crash the old or the new content is there, whole:
    /// writes `<path>.tmp`, syncs it, renames it, syncs the folder.
    pub fn replace(&self, path: &Path, content: &[u8]) -> Result<(), IoError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let file = self.open(&temporary, Open::Create)?;
        file.set_len(0)?;
        file.write_at(0, content.to_vec())?;
        if !twin!(RenameBeforeSync) {
            file.sync(SyncKind::All)?;
        }
        drop(file);
        self.rename(&temporary, path)?;
        if twin!(RenameNotSynced) { Ok(()) } else { self.sync_parent(path) }
    }

    /// The entries of a folder, sorted by name.
    pub fn list(&self, dir: &Path) -> Result<Vec<Entry>, IoError> {
        self.0.list(dir).map_err(|error| IoError::new("list", dir, error))
    }

    /// The entries of a folder, sorted by name; length and time only of those whose names are `measured`, as
    /// each costs a system call. Those of others may be 0.
    pub fn list_names(
        &self,
        dir: &Path,
        measured: impl Fn(&OsStr) -> bool,
    ) -> Result<Vec<Entry>, IoError> {
        let entries = self.0.list_names(dir, &measured);
        entries.map_err(|error| IoError::new("list", dir, error))
    }

    /// Whether a file or folder of that name is there.
    pub fn exists(&self, path: &Path) -> Result<bool, IoError> {
        let (Some(parent), Some(name)) = (parent_of(path), path.file_name()) else {
            return Ok(true);
        };
        match self.list_names(parent, |_| false) {
            Ok(entries) => Ok(entries.iter().any(|entry| entry.name == name)),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a folder and those above it, durably: the entry of each is synced before the next is made.
    /// The entry of the deepest one that is there already is synced too: whoever made it may have died
    /// before.
    pub fn create_dir_all(&self, dir: &Path) -> Result<(), IoError> {
        let Some(parent) = parent_of(dir) else { return Ok(()) };
        match self.0.open(dir, Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create_dir_all(parent)?;
                self.0
                    .create_dir(dir)
                    .map_err(|error| IoError::new("create folder", dir, error))?;
                self.sync_dir(parent)
            }
            _ => match self.sync_dir(parent) {
                // Not made by us, who may not even look into the folder above.
                Err(error) if error.source.kind() == ErrorKind::PermissionDenied => Ok(()),
                other => other,
            },
        }
    }

    /// What is read of a file from now on is what stands on the device ([`Open::Direct`]); no error where
    /// there is no such file.
    pub fn drop_cached(&self, path: &Path) -> Result<(), IoError> {
        match self.open(path, Open::Direct) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Renames a file or folder; durable after [`Storage::sync_dir`] of its parent.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.0.rename(from, to).map_err(|error| IoError::new("rename", from, error))
    }

    /// Removes a file; no error when it is gone already.
    pub fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        match self.0.remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(IoError::new("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a folder and all within.
    pub fn remove_dir_all(&self, dir: &Path) -> Result<(), IoError> {
        for entry in self.list_names(dir, |_| false)? {
            let path = dir.join(&entry.name);
            if entry.is_dir { self.remove_dir_all(&path)? } else { self.remove_file(&path)? }
        }
        self.0.remove_dir(dir).map_err(|error| IoError::new("remove folder", dir, error))
    }

    /// Makes a folder's entries durable.
    pub fn sync_dir(&self, dir: &Path) -> Result<(), IoError> {
        self.0.sync_dir(dir).map_err(|error| IoError::new("sync folder", dir, error))
    }

    /// Makes the entry `path` of its folder durable.
    pub fn sync_parent(&self, path: &Path) -> Result<(), IoError> {
        parent_of(path).map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    /// Takes a lock file against every other process.
    pub fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, IoError> {
        self.0.lock(path).map_err(|error| IoError::new("lock", path, error))
    }

    /// Bytes that can still be written to the file system of `dir`.
    pub fn free_bytes(&self, dir: &Path) -> Result<u64, IoError> {
        self.0.free_bytes(dir).map_err(|error| IoError::new("stat file system", dir, error))
    }

    /// Syncs many files in one submission. One result a file, in order.
    pub fn sync_all(&self, files: &[File], kind: SyncKind) -> Vec<Result<(), IoError>> {
        let healthy: Vec<&File> = files.iter().filter(|file| file.check_latch().is_ok()).collect();
        let operations = healthy
            .iter()
            .map(|file| Operation::Sync { file: file.state.handle.clone(), kind })
            .collect();
        let completions = self.0.submit(operations).wait();
        for (file, completion) in healthy.iter().zip(completions) {
            let mut result = completion.result;
            if result.is_err() && twin!(FailedSyncTriedAgain) {
                let again = Operation::Sync { file: file.state.handle.clone(), kind };
                result = self.0.submit(vec![again]).wait().remove(0).result;
            }
            if let Err(error) = result {
                file.latch(IoError::new("sync", &file.state.path, error));
            }
        }
        files.iter().map(File::check_latch).collect()
    }

    /// Syncs many files. Those of which bytes alone were overwritten are written back, and one sync a device
    /// flushes its cache for all of them ([`Operation::WriteBack`]). One result a file, in order. Where
    /// that sync fails none of those files is to be trusted, and all are latched.
    pub fn sync_together(&self, files: &[(File, Option<Overwritten>)]) -> Vec<Result<(), IoError>> {
        let (mut devices, mut apart) = (BTreeMap::<u64, Vec<_>>::new(), Vec::new());
        for (file, overwritten) in files.iter().filter(|(file, _)| file.failure().is_none()) {
            match overwritten {
                Some(Overwritten { device, range }) => {
                    devices.entry(*device).or_default().push((file, range.clone()));
                }
                None => apart.push(file.clone()),
            }
        }
        // Its own sync writes a single file back as well.
        let alone = devices.extract_if(.., |_, files| files.len() == 1);
        apart.extend(alone.flat_map(|(_, files)| files).map(|(file, _)| file.clone()));
        let devices: Vec<_> = devices.into_values().collect();
        self.write_back(&devices.concat());
        let sound =
            |(file, _): &(&File, Range<u64>)| file.failure().is_none().then(|| (*file).clone());
        let carriers: Vec<Option<File>> =
            devices.iter().map(|files| files.iter().find_map(sound)).collect();
        let flushed = carriers.iter().flatten().filter(|_| !twin!(FlushLeftOut));
        self.sync_all(&apart.iter().chain(flushed).cloned().collect::<Vec<_>>(), SyncKind::Data);
        for (files, carrier) in devices.iter().zip(&carriers) {
            let Some(failure) = carrier.as_ref().and_then(File::failure) else { continue };
            for (file, _) in files.iter().filter(|_| !twin!(FlushFailedForOne)) {
                file.latch(failure.duplicate());
            }
        }
        files.iter().map(|(file, _)| file.check_latch()).collect()
    }

    fn write_back(&self, files: &[(&File, Range<u64>)]) {
        let operation = |(file, range): &(&File, Range<u64>)| Operation::WriteBack {
            file: file.state.handle.clone(),
            position: range.start,
            len: range.end - range.start,
        };
        let completions = self.0.submit(files.iter().map(operation).collect()).wait();
        for ((file, range), completion) in files.iter().zip(completions) {
            if let Err(error) = completion.result {
                file.latch(IoError::at("write back", &file.state.path, range.start, error));
            }
        }
    }
}

/// Bytes of a file that were overwritten where length and blocks are durable, on a device that keeps them in
/// their place ([`Disk::in_place_on`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwritten {
    /// The device.
    pub device: u64,
    /// Positions in the file.
    pub range: Range<u64>,
}

/// The folder that holds `path`; `.` for a bare name.
fn parent_of(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// An open file with its latch. Cheap to clone; clones share the latch.
#[derive(Debug, Clone)]
pub struct File {
    disk: Arc<dyn Disk>,
    state: Arc<FileState>,
}

#[derive(Debug)]
struct FileState {
    path: PathBuf,
    handle: Handle,
    failed: OnceLock<IoError>,
}

impl File {
    /// Where the file was when it was opened.
    pub fn path(&self) -> &Path {
        &self.state.path
    }

    /// Whether `other` is the same open file.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    /// The error that latched this file, if one did.
    pub fn failure(&self) -> Option<&IoError> {
        self.state.failed.get()
    }

    /// Length in bytes.
    pub fn len(&self) -> Result<u64, IoError> {
        self.disk.len(&self.state.handle).map_err(|error| self.error("stat", error))
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> Result<bool, IoError> {
        Ok(self.len()? == 0)
    }

    /// Maps the file's bytes of now; `None` where they are to be read plainly. What is mapped must not be
    /// overwritten.
    pub(crate) fn map(&self) -> Result<Option<Arc<Map>>, IoError> {
        self.disk.map(&self.state.handle).map_err(|error| self.error("map", error))
    }

    /// The device on which bytes of the file are overwritten in place ([`Disk::in_place_on`]).
    pub fn in_place_on(&self) -> Result<Option<u64>, IoError> {
        let answer = self.disk.in_place_on(&self.state.handle);
        answer.map_err(|error| self.error("stat", error))
    }

    /// How many bytes of the file, from the first on, somebody in this process holds mapped.
    pub fn mapped_len(&self) -> Result<u64, IoError> {
        self.disk.mapped_len(&self.state.handle).map_err(|error| self.error("stat", error))
    }

    /// Cuts or extends the file to `len` bytes. What is mapped is not cut off (`ErrorKind::ResourceBusy`).
    pub fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.check_latch()?;
        self.disk.set_len(&self.state.handle, len).map_err(|error| self.error("truncate", error))
    }

    /// Reserves blocks for the first `len` bytes.
    pub fn allocate(&self, len: u64) -> Result<(), IoError> {
        self.check_latch()?;
        self.disk.allocate(&self.state.handle, len).map_err(|error| self.error("allocate", error))
    }

    /// At most `len` bytes from `position` on; fewer only at the end of the file.
    pub fn read_at(&self, position: u64, len: usize) -> Result<Vec<u8>, IoError> {
        self.read_into(position, Vec::with_capacity(len))
    }

    /// Exactly `len` bytes from `position` on; `UnexpectedEof` where the file ends before.
    pub fn read_exact_at(&self, position: u64, len: usize) -> Result<Vec<u8>, IoError> {
        let bytes = self.read_at(position, len)?;
        if bytes.len() < len {
            let text = format!("expected {len} bytes, found {}", bytes.len());
            let error = io::Error::new(ErrorKind::UnexpectedEof, text);
            return Err(IoError::at("read", &self.state.path, position, error));
        }
        Ok(bytes)
    }

    /// Appends to `into` what its spare capacity takes, from `position` on; fewer bytes only at the
    /// end of the file. The buffer is handed back.
    pub fn read_into(&self, position: u64, into: Vec<u8>) -> Result<Vec<u8>, IoError> {
        let operation = Operation::Read { file: self.state.handle.clone(), position, into };
        let mut completion = self.disk.perform(operation);
        match completion.result {
            Ok(_) => Ok(completion.buffers.pop().unwrap_or_default()),
            Err(error) => Err(IoError::at("read", &self.state.path, position, error)),
        }
    }

    /// Sends at most `len` bytes from `position` on, and gives how many `socket` took; 0 only at the end of
    /// the file.
    pub fn send(
        &self,
        position: u64,
        len: usize,
        socket: BorrowedFd<'_>,
    ) -> Result<usize, IoError> {
        let sent = self.disk.send(&self.state.handle, position, len, socket);
        sent.map_err(|error| IoError::at("send", &self.state.path, position, error))
    }

    /// Writes `data` at `position`, all of it, and hands the buffer back.
    pub fn write_at(&self, position: u64, data: Vec<u8>) -> Result<Vec<u8>, IoError> {
        let mut buffers = vec![data];
        self.write_all_at(position, &mut buffers)?;
        Ok(buffers.pop().unwrap_or_default())
    }

    /// Writes many buffers, one behind the other, as one operation. They are in `data` again when it
    /// returns, whether it failed or not.
    pub fn write_all_at(&self, position: u64, data: &mut Vec<Vec<u8>>) -> Result<(), IoError> {
        self.check_latch()?;
        let file = self.state.handle.clone();
        let operation = Operation::Write { file, position, data: std::mem::take(data) };
        let completion = self.disk.perform(operation);
        *data = completion.buffers;
        let Err(error) = completion.result else { return Ok(()) };
        let latches = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
        let error = IoError::at("write", &self.state.path, position, error);
        if latches {
            self.latch(error.duplicate());
        }
        Err(error)
    }

    /// Makes the file's bytes durable. A failure latches.
    pub fn sync(&self, kind: SyncKind) -> Result<(), IoError> {
        self.check_latch()?;
        let operation = Operation::Sync { file: self.state.handle.clone(), kind };
        if let Err(error) = self.disk.perform(operation).result {
            self.latch(self.error("sync", error));
        }
        self.check_latch()
    }

    fn check_latch(&self) -> Result<(), IoError> {
        self.state.failed.get().map_or(Ok(()), |failure| Err(failure.duplicate()))
    }

    fn latch(&self, error: IoError) {
        tracing::error!(%error, "the file refuses all further writes");
        let _ = self.state.failed.set(error);
    }

    fn error(&self, operation: &'static str, source: io::Error) -> IoError {
        IoError::new(operation, &self.state.path, source)
    }
}

#[cfg(test)]
mod tests;
