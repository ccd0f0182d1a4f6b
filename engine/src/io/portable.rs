//! The backend for any Unix: pread, pwritev, fdatasync, completing inline.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::UNIX_EPOCH,
};

use rustix::{
    buffer::spare_capacity,
    fs::{FallocateFlags, FlockOperation},
    io::Errno,
};

use super::{
    Completion, Disk, Entry, Handle, Lock, Map, Open, Operation, Pending, SyncKind, map, write_back,
};

/// Buffers that one pwritev takes (Linux: `UIO_MAXIOV` 1024).
pub(super) const MAX_SLICES: usize = 1024;

/// The machine's own files, through plain system calls.
#[derive(Debug)]
pub struct PortableDisk {
    maps: bool,
}

impl PortableDisk {
    /// The machine's own files.
    pub fn new() -> Self {
        // Elsewhere there is no room for many maps of a segment's size.
        Self { maps: cfg!(target_pointer_width = "64") }
    }

    /// As [`PortableDisk::new`], but every read is a system call with an error of its own: of a mapped
    /// file a page that was read before, was dropped since and is not given again by the disk ends the
    /// process (SIGBUS).
    pub fn without_maps() -> Self {
        Self { maps: false }
    }
}

impl Default for PortableDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk for PortableDisk {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Handle> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Direct => return open_direct(path),
            Open::Read => &mut options,
            Open::Write => options.write(true),
            Open::Create => options.write(true).create(true).truncate(false),
            Open::CreateNew => options.write(true).create_new(true),
        };
        Ok(Handle::Os(Arc::new(options.open(path)?)))
    }

    fn submit(&self, operations: Vec<Operation>) -> Pending {
        write_back::start(&operations);
        let mut failed: Vec<Arc<fs::File>> = Vec::new();
        Pending::completed(
            operations.into_iter().map(|operation| perform(operation, &mut failed)).collect(),
        )
    }

    fn perform(&self, operation: Operation) -> Completion {
        perform(operation, &mut Vec::new())
    }

    #[cfg(target_os = "linux")]
    fn send(
        &self,
        file: &Handle,
        position: u64,
        len: usize,
        socket: BorrowedFd<'_>,
    ) -> io::Result<usize> {
        let file = os(file)?;
        let mut at = position;
        Ok(rustix::io::retry_on_intr(|| rustix::fs::sendfile(socket, file, Some(&mut at), len))?)
    }

    fn len(&self, file: &Handle) -> io::Result<u64> {
        Ok(os(file)?.metadata()?.len())
    }

    fn set_len(&self, file: &Handle, len: u64) -> io::Result<()> {
        map::set_len(os(file)?, len)
    }

    fn allocate(&self, file: &Handle, len: u64) -> io::Result<()> {
        let file = os(file)?;
        if len == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(file.as_fd(), FallocateFlags::empty(), 0, len) {
            // Some file systems cannot reserve: a longer file is all that can be had there.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if file.metadata()?.len() < len => {
                file.set_len(len)
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn in_place_on(&self, file: &Handle) -> io::Result<Option<u64>> {
        write_back::in_place_on(os(file)?)
    }

    fn map(&self, file: &Handle) -> io::Result<Option<Arc<Map>>> {
        if self.maps { Map::of(os(file)?) } else { Ok(None) }
    }

    fn mapped_len(&self, file: &Handle) -> io::Result<u64> {
        map::mapped_len(os(file)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.list_names(dir, &|_| true)
    }

    fn list_names(&self, dir: &Path, measured: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !measured(&name) {
                let is_dir = entry.file_type()?.is_dir();
                entries.push(Entry { name, is_dir, len: 0, modified_ms: 0 });
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => entries.push(describe(name, &metadata)),
                Err(error) if error.kind() == ErrorKind::NotFound => {} // removed meanwhile
                Err(error) => return Err(error),
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        ProcessLock::take(path).map(|lock| Box::new(lock) as Box<dyn Lock>)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

pub(super) fn os(handle: &Handle) -> io::Result<&Arc<fs::File>> {
    match handle {
        Handle::Os(file) | Handle::Direct(file) => Ok(file),
        Handle::Simulated(_) => {
            Err(io::Error::new(ErrorKind::InvalidInput, "a handle of another backend"))
        }
    }
}

fn describe(name: OsString, metadata: &fs::Metadata) -> Entry {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Entry {
        name,
        is_dir: metadata.is_dir(),
        len: if metadata.is_dir() { 0 } else { metadata.len() },
        modified_ms: modified.map_or(0, |since| since.as_millis() as i64),
    }
}

/// Performs one operation; `failed` lists the files of this submission that a write failed on.
pub(super) fn perform(operation: Operation, failed: &mut Vec<Arc<fs::File>>) -> Completion {
    match operation {
        Operation::Read { file, position, mut into } => {
            let result = match &file {
                Handle::Direct(file) => read_direct(file, position, &mut into),
                other => os(other).and_then(|file| read(file, position, &mut into)),
            };
            Completion { result, buffers: vec![into] }
        }
        Operation::Write { file, position, data } => {
            let result = os(&file).and_then(|file| {
                write(file, position, &data).inspect_err(|_| failed.push(file.clone()))
            });
            Completion { result, buffers: data }
        }
        Operation::Sync { file, kind } => {
            let result = os(&file).and_then(|file| {
                if failed.iter().any(|other| Arc::ptr_eq(other, file)) {
                    return Err(io::Error::other("not synced: a write before it failed"));
                }
                sync(file, kind).map(|()| 0)
            });
            Completion { result, buffers: Vec::new() }
        }
        Operation::WriteBack { file, position, len } => {
            let result = os(&file).and_then(|file| write_back::finish(file, position, len));
            Completion { result: result.map(|()| 0), buffers: Vec::new() }
        }
    }
}

fn read(file: &fs::File, position: u64, into: &mut Vec<u8>) -> io::Result<usize> {
    let before = into.len();
    let wanted = into.capacity() - before;
    while into.len() - before < wanted {
        let at = position + (into.len() - before) as u64;
        match rustix::io::pread(file, spare_capacity(into), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(into.len() - before)
}

/// Opens a file to read past the page cache, which drops what it holds of it and is not to be written
/// back. (What is, the direct reads of Linux write back first.)
#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<Handle> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32);
    let (file, is_direct) = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            (fs::File::open(path)?, false)
        }
        other => (other?, true),
    };
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    let file = Arc::new(file);
    Ok(if is_direct { Handle::Direct(file) } else { Handle::Os(file) })
}

#[cfg(not(target_os = "linux"))]
fn open_direct(path: &Path) -> io::Result<Handle> {
    Ok(Handle::Os(Arc::new(fs::File::open(path)?)))
}

/// What direct reads align to, in memory and in the file: the largest block of any disk in use, bytes.
const BLOCK: usize = 4096;
/// Largest direct read, bytes.
const DIRECT_READ: usize = 4 << 20;

fn read_direct(file: &fs::File, position: u64, into: &mut Vec<u8>) -> io::Result<usize> {
    let before = into.len();
    let wanted = into.capacity() - before;
    let size = (wanted.saturating_add(BLOCK).next_multiple_of(BLOCK)).min(DIRECT_READ);
    // The Vec may begin anywhere: an aligned part of it is read into.
    let mut room = vec![0; size + BLOCK];
    let start = room.as_ptr().align_offset(BLOCK);
    let blocks = &mut room[start..start + size];
    while into.len() - before < wanted {
        let at = position + (into.len() - before) as u64;
        let skip = (at % BLOCK as u64) as usize;
        let left = wanted - (into.len() - before);
        let needed = skip.saturating_add(left).min(size).next_multiple_of(BLOCK);
        let count = match rustix::io::pread(file, &mut blocks[..needed], at - skip as u64) {
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            // Refused only now, as by a disk of larger blocks: through the cache, which was emptied.
            Err(Errno::INVAL) => return read_cached(file, at, into).map(|_| into.len() - before),
            Err(error) => return Err(error.into()),
        };
        let found = blocks[..count].get(skip..).unwrap_or_default();
        into.extend_from_slice(&found[..found.len().min(left)]);
        // Only the end of the file cuts a block short.
        if count == 0 || count % BLOCK != 0 {
            break;
        }
    }
    Ok(into.len() - before)
}

#[cfg(target_os = "linux")]
fn read_cached(file: &fs::File, position: u64, into: &mut Vec<u8>) -> io::Result<usize> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    rustix::fs::fcntl_setfl(file, flags - rustix::fs::OFlags::DIRECT)?;
    read(file, position, into)
}

#[cfg(not(target_os = "linux"))]
fn read_cached(file: &fs::File, position: u64, into: &mut Vec<u8>) -> io::Result<usize> {
    read(file, position, into)
}

fn write(file: &fs::File, position: u64, data: &[Vec<u8>]) -> io::Result<usize> {
    let total: usize = data.iter().map(Vec::len).sum();
    let (mut written, mut buffer, mut within) = (0, 0, 0);
    while written < total {
        // A short write leaves off in the middle of a buffer.
        while within == data[buffer].len() {
            (buffer, within) = (buffer + 1, 0);
        }
        let first = &data[buffer][within..];
        let mut count =
            match write_some(file, position + written as u64, first, &data[buffer + 1..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
        written += count;
        while count > 0 {
            let here = count.min(data[buffer].len() - within);
            (within, count) = (within + here, count - here);
            if count > 0 {
                (buffer, within) = (buffer + 1, 0);
            }
        }
    }
    Ok(written)
}

/// As much of `first`, and of `rest` behind it, as one system call takes.
fn write_some(
    file: &fs::File,
    position: u64,
    first: &[u8],
    rest: &[Vec<u8>],
) -> rustix::io::Result<usize> {
    if rest.is_empty() {
        return rustix::io::pwrite(file, first, position);
    }
    let rest = rest.iter().take(MAX_SLICES - 1).map(|data| IoSlice::new(data));
    let slices: Vec<_> = std::iter::once(IoSlice::new(first)).chain(rest).collect();
    rustix::io::pwritev(file, &slices, position)
}

fn sync(file: &fs::File, kind: SyncKind) -> io::Result<()> {
    loop {
        let result = match kind {
            SyncKind::Data => rustix::fs::fdatasync(file),
            SyncKind::All => rustix::fs::fsync(file),
        };
        // EINTR means that nothing was tried, so this is no retry after a failure.
        if result != Err(Errno::INTR) {
            return Ok(result?);
        }
    }
}

/// fcntl locks belong to a process: a second open within this one would succeed, and closing it
/// would release the first. This set is the lock among ourselves.
static HELD: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
struct ProcessLock {
    path: PathBuf,
    file: Option<fs::File>,
}

impl ProcessLock {
    fn take(path: &Path) -> io::Result<Self> {
        let parent = super::parent_of(path).ok_or(ErrorKind::InvalidInput)?.canonicalize()?;
        let path = parent.join(path.file_name().ok_or(ErrorKind::InvalidInput)?);
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(&path) {
            return Err(io::Error::new(ErrorKind::WouldBlock, "held by this process"));
        }
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => {
                return Err(io::Error::new(ErrorKind::WouldBlock, "held by another process"));
            }
            Err(error) => return Err(error.into()),
        }
        held.insert(path.clone());
        Ok(Self { path, file: Some(file) })
    }
}

impl Lock for ProcessLock {}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed while nobody else can take it: to close any file of this path lets go of all locks on
        // it that this process has.
        self.file = None;
        held.remove(&self.path);
    }
}
