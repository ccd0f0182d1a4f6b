//! The backend over Linux's io_uring: the operations of a submission, over any number of files, go to the kernel by
//! one system call and are worked on side by side. All of the engine's unsafe code for it.
//!
//! What must follow something else is not even handed over before that has ended: an order in a queue is no
//! promise, and a link between two entries is broken by a short write. So a submission goes in rounds, of at
//! most one operation a file. A single operation is a plain system call, which costs less.

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs, io,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
    process, ptr,
    sync::Arc,
};

use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};
use rustix::io::Errno;

use super::{
    Completion, Disk, Entry, Handle, Lock, Map, Open, Operation, Pending, PortableDisk, SyncKind,
    portable::{self, os},
    write_back,
};

/// Entries of a thread's ring: operations that one system call takes.
const ENTRIES: u32 = 256;

thread_local! {
    /// Only its own thread submits to a ring and reaps from it, which spares the kernel locks and interrupts.
    static RING: RefCell<Option<IoUring>> = const { RefCell::new(None) };
}

/// The machine's own files, many at once by io_uring. What has no queue (opening, names, lengths, maps) is as
/// [`PortableDisk`] does it.
#[derive(Debug)]
pub struct UringDisk {
    plain: PortableDisk,
}

impl UringDisk {
    /// The machine's own files; an error where the kernel does not lend a ring: it is too old (5.6, and 6.1 for
    /// rings of one thread), forbids it (`kernel.io_uring_disabled`, seccomp), or locks no more memory.
    pub fn new() -> io::Result<Self> {
        let ring = ring()?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Read::CODE, opcode::Writev::CODE, opcode::Fsync::CODE];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(Errno::NOSYS.into());
        }
        Ok(Self { plain: PortableDisk::new() })
    }
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder().setup_single_issuer().setup_defer_taskrun().dontfork().build(ENTRIES)
}

impl Disk for UringDisk {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Handle> {
        self.plain.open(path, how)
    }

    fn submit(&self, operations: Vec<Operation>) -> Pending {
        if operations.len() < 2 {
            return self.plain.submit(operations);
        }
        RING.with_borrow_mut(|mine| {
            if mine.is_none() {
                // Another thread was lent one, and this one is not: so be it.
                *mine = ring().inspect_err(|error| tracing::debug!(%error, "no ring")).ok();
            }
            match mine {
                Some(ring) => Pending::completed(Submission::new(operations).perform(ring)),
                None => self.plain.submit(operations),
            }
        })
    }

    fn perform(&self, operation: Operation) -> Completion {
        self.plain.perform(operation)
    }

    fn send(
        &self,
        file: &Handle,
        position: u64,
        len: usize,
        socket: BorrowedFd<'_>,
    ) -> io::Result<usize> {
        self.plain.send(file, position, len, socket)
    }

    fn len(&self, file: &Handle) -> io::Result<u64> {
        self.plain.len(file)
    }

    fn set_len(&self, file: &Handle, len: u64) -> io::Result<()> {
        self.plain.set_len(file, len)
    }

    fn allocate(&self, file: &Handle, len: u64) -> io::Result<()> {
        self.plain.allocate(file, len)
    }

    fn in_place_on(&self, file: &Handle) -> io::Result<Option<u64>> {
        self.plain.in_place_on(file)
    }

    fn map(&self, file: &Handle) -> io::Result<Option<Arc<Map>>> {
        self.plain.map(file)
    }

    fn mapped_len(&self, file: &Handle) -> io::Result<u64> {
        self.plain.mapped_len(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.plain.list(dir)
    }

    fn list_names(&self, dir: &Path, measured: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>> {
        self.plain.list_names(dir, measured)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.plain.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plain.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.plain.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.plain.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plain.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.plain.lock(path)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.plain.free_bytes(dir)
    }
}

/// Operations that are under way, in the order in which they were given.
struct Submission {
    /// Without those that have ended.
    operations: Vec<Option<Operation>>,
    completions: Vec<Option<Completion>>,
    /// Files that a write of this submission failed on.
    failed: Vec<Arc<fs::File>>,
}

impl Submission {
    fn new(operations: Vec<Operation>) -> Self {
        let completions = operations.iter().map(|_| None).collect();
        let operations = operations.into_iter().map(Some).collect();
        Self { operations, completions, failed: Vec::new() }
    }

    fn perform(mut self, ring: &mut IoUring) -> Vec<Completion> {
        let mut round = self.next_round();
        while !round.is_empty() {
            self.start_write_backs(&round);
            let queued: Vec<usize> =
                round.iter().copied().filter(|at| self.goes_by_ring(*at)).collect();
            for part in queued.chunks(ENTRIES as usize) {
                self.queue(ring, part);
            }
            // What goes no other way, meanwhile or not.
            for at in round {
                if let Some(operation) = self.operations[at].take() {
                    self.completions[at] = Some(portable::perform(operation, &mut self.failed));
                }
            }
            round = self.next_round();
        }
        self.completions.into_iter().flatten().collect()
    }

    /// The first operation of each file that has any left.
    fn next_round(&self) -> Vec<usize> {
        let left = self.operations.iter().enumerate().filter_map(|(at, operation)| {
            Some((os(file_of(operation.as_ref()?)).map_or(ptr::null(), Arc::as_ptr), at))
        });
        let mut left: Vec<(*const fs::File, usize)> = left.collect();
        left.sort_unstable();
        left.dedup_by_key(|(file, _)| *file);
        left.into_iter().map(|(_, at)| at).collect()
    }

    fn start_write_backs(&self, round: &[usize]) {
        write_back::start(round.iter().filter_map(|at| self.operations[*at].as_ref()));
    }

    /// Whether an operation is one for the ring: direct reads align their memory, write-backs have been started
    /// already, and a sync behind a failed write is none.
    fn goes_by_ring(&self, at: usize) -> bool {
        match &self.operations[at] {
            Some(Operation::Read { file, .. }) => matches!(file, Handle::Os(_)),
            Some(Operation::Write { file, data, .. }) => {
                matches!(file, Handle::Os(_)) && data.iter().any(|bytes| !bytes.is_empty())
            }
            Some(Operation::Sync { file, .. }) => os(file)
                .is_ok_and(|file| !self.failed.iter().any(|failed| Arc::ptr_eq(failed, file))),
            Some(Operation::WriteBack { .. }) | None => false,
        }
    }

    /// Hands operations to the kernel, at most as many as the ring has entries, and waits for all of them.
    fn queue(&mut self, ring: &mut IoUring, part: &[usize]) {
        let slices: Vec<Vec<libc::iovec>> = part.iter().map(|at| self.slices(*at)).collect();
        let mut results: Vec<Option<i32>> = vec![None; part.len()];
        for (place, at) in part.iter().enumerate() {
            let Some(entry) = self.entry(*at, &slices[place], place as u64) else { continue };
            // SAFETY: what the entry points to is owned by `self.operations` and `slices`, neither of which is
            // touched before `wait` has seen this entry's completion; it does not return or unwind before.
            #[expect(unsafe_code, reason = "the kernel is lent memory")]
            let pushed = unsafe { ring.submission().push(&entry) };
            if pushed.is_err() {
                break; // full, which it is not: the rest goes the plain way
            }
            results[place] = Some(0);
        }
        let wanted = results.iter().filter(|result| result.is_some()).count();
        wait(ring, wanted, |place, result| results[place] = Some(result));
        drop(slices);
        for (at, result) in part.iter().zip(results) {
            if let Some(result) = result {
                self.end(*at, result);
            }
        }
    }

    fn slices(&self, at: usize) -> Vec<libc::iovec> {
        let Some(Operation::Write { data, .. }) = &self.operations[at] else { return Vec::new() };
        let slice = |bytes: &Vec<u8>| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        data.iter().take(portable::MAX_SLICES).map(slice).collect()
    }

    fn entry(&mut self, at: usize, slices: &[libc::iovec], place: u64) -> Option<squeue::Entry> {
        let operation = self.operations[at].as_mut()?;
        let fd = types::Fd(os(file_of(operation)).ok()?.as_raw_fd());
        let entry = match operation {
            Operation::Read { position, into, .. } => {
                let room = into.spare_capacity_mut();
                let len = u32::try_from(room.len()).unwrap_or(u32::MAX);
                opcode::Read::new(fd, room.as_mut_ptr().cast(), len).offset(*position).build()
            }
            Operation::Write { position, .. } => {
                let len = slices.len() as u32;
                opcode::Writev::new(fd, slices.as_ptr(), len).offset(*position).build()
            }
            Operation::Sync { kind, .. } => {
                let flags = match kind {
                    SyncKind::Data => types::FsyncFlags::DATASYNC,
                    SyncKind::All => types::FsyncFlags::empty(),
                };
                opcode::Fsync::new(fd).flags(flags).build()
            }
            Operation::WriteBack { .. } => return None,
        };
        Some(entry.user_data(place))
    }

    /// An operation that the kernel has ended. One that it did in part, or would not do now, is finished by plain
    /// calls.
    fn end(&mut self, at: usize, result: i32) {
        let Some(mut operation) = self.operations[at].take() else { return };
        let is_to_be_tried =
            [Errno::INTR, Errno::AGAIN].iter().any(|it| -it.raw_os_error() == result);
        let outcome = match &mut operation {
            Operation::Read { position, into, .. } if result > 0 => {
                let before = into.len();
                // SAFETY: the kernel has written so many bytes behind the first `before`, within the capacity.
                #[expect(unsafe_code, reason = "memory that the kernel has filled")]
                unsafe {
                    into.set_len(before + result as usize);
                }
                *position += result as u64;
                if into.len() == into.capacity() { Some(Ok(result as usize)) } else { None }
            }
            Operation::Read { into, .. } if result == 0 && into.capacity() > into.len() => {
                Some(Ok(0))
            }
            Operation::Write { data, .. } => {
                let total: usize = data.iter().map(Vec::len).sum();
                // What a short write has left out is written again with the rest: the bytes are the same.
                (result >= 0 && result as usize == total).then_some(Ok(total))
            }
            Operation::Sync { .. } if result == 0 => Some(Ok(0)),
            _ => None,
        };
        let outcome = match outcome {
            None if result < 0 && !is_to_be_tried => {
                Some(Err(io::Error::from_raw_os_error(-result)))
            }
            other => other,
        };
        let Some(result) = outcome else {
            let read =
                matches!(operation, Operation::Read { .. }).then_some(result.max(0) as usize);
            let mut completion = portable::perform(operation, &mut self.failed);
            completion.result = completion.result.map(|count| count + read.unwrap_or(0));
            self.completions[at] = Some(completion);
            return;
        };
        if let (Err(_), Operation::Write { file, .. }) = (&result, &operation) {
            self.failed.extend(os(file).ok().cloned());
        }
        let buffers = match operation {
            Operation::Read { into, .. } => vec![into],
            Operation::Write { data, .. } => data,
            Operation::Sync { .. } | Operation::WriteBack { .. } => Vec::new(),
        };
        self.completions[at] = Some(Completion { result, buffers });
    }
}

fn file_of(operation: &Operation) -> &Handle {
    match operation {
        Operation::Read { file, .. }
        | Operation::Write { file, .. }
        | Operation::Sync { file, .. }
        | Operation::WriteBack { file, .. } => file,
    }
}

/// Submits what is queued and waits until `wanted` operations have ended. While any of them is under way the kernel
/// has memory of ours: there is no way out before, not even a panic.
fn wait(ring: &mut IoUring, wanted: usize, mut ended: impl FnMut(usize, i32)) {
    let mut left = wanted;
    while left > 0 {
        if let Err(error) = ring.submit_and_wait(left)
            && !matches!(
                error.raw_os_error().map(Errno::from_raw_os_error),
                Some(Errno::INTR | Errno::AGAIN | Errno::BUSY)
            )
        {
            tracing::error!(%error, "the kernel does not say what became of memory that it was lent");
            process::abort();
        }
        for completion in ring.completion() {
            let completion: cqueue::Entry = completion;
            ended(completion.user_data() as usize, completion.result());
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use fastrand::Rng;

    use super::*;

    /// Where the kernel lends no ring there is nothing to test.
    fn disk() -> Option<UringDisk> {
        UringDisk::new().inspect_err(|error| println!("not tested: no io_uring: {error}")).ok()
    }

    /// Operations of one submission over `files`, by a seed.
    fn submission(rng: &mut Rng, files: &[Handle]) -> Vec<Operation> {
        let operation = |rng: &mut Rng| {
            let file = files[rng.usize(..files.len())].clone();
            let position = rng.u64(..20_000);
            match rng.u8(..6) {
                0..3 => {
                    let buffers = rng.usize(..5);
                    let buffer = |_| (0..rng.usize(..4_000)).map(|at| (at % 251) as u8).collect();
                    Operation::Write { file, position, data: (0..buffers).map(buffer).collect() }
                }
                3 => {
                    let mut into = Vec::with_capacity(rng.usize(..9_000));
                    into.resize(rng.usize(..=into.capacity().min(100)), 7);
                    Operation::Read { file, position, into }
                }
                4 => Operation::Sync { file, kind: SyncKind::Data },
                _ => Operation::WriteBack { file, position, len: rng.u64(..9_000) },
            }
        };
        (0..rng.usize(..600)).map(|_| operation(rng)).collect()
    }

    #[test]
    fn submissions_do_what_plain_calls_do() {
        let Some(uring) = disk() else { return };
        let folder = tempfile::tempdir().unwrap();
        let open = |disk: &dyn Disk, name: &str| -> Vec<Handle> {
            let path = |n| folder.path().join(format!("{name}{n}"));
            (0..5).map(|n| disk.open(&path(n), Open::CreateNew).unwrap()).collect()
        };
        let plain = PortableDisk::new();
        let (ours, theirs) = (open(&uring, "a"), open(&plain, "b"));
        for seed in 0..12 {
            let submit = |disk: &dyn Disk, files: &[Handle]| {
                let submission = submission(&mut Rng::with_seed(seed), files);
                let completions = disk.submit(submission).wait().into_iter();
                completions.map(|it| (it.result.unwrap(), it.buffers)).collect::<Vec<_>>()
            };
            assert_eq!(submit(&uring, &ours), submit(&plain, &theirs), "seed {seed}");
        }
        let content = |name: &str| -> Vec<Vec<u8>> {
            (0..5).map(|n| fs::read(folder.path().join(format!("{name}{n}"))).unwrap()).collect()
        };
        assert_eq!(content("a"), content("b"));
        assert!(content("a").iter().all(|bytes| bytes.len() > 20_000));
    }

    #[test]
    fn a_sync_behind_a_failed_write_is_not_performed_and_others_are() {
        let Some(disk) = disk() else { return };
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&path, b"as it was").unwrap();
        let readable = disk.open(&path, Open::Read).unwrap();
        let other = disk.open(&other, Open::Create).unwrap();
        let mut operations = Vec::new();
        for file in [&readable, &other] {
            let (file, data) = (file.clone(), vec![vec![1; 10]]);
            operations.push(Operation::Write { file: file.clone(), position: 0, data });
            operations.push(Operation::Sync { file, kind: SyncKind::All });
        }
        let completions = disk.submit(operations).wait();
        let results: Vec<_> = completions.iter().map(|it| it.result.as_ref().ok()).collect();
        assert_eq!(results, [None, None, Some(&10), Some(&0)]);
        let errors: Vec<_> =
            completions[..2].iter().map(|it| it.result.as_ref().unwrap_err().to_string()).collect();
        assert!(errors[0].contains("os error 9"), "{errors:?}");
        assert!(errors[1].contains("not synced"), "{errors:?}");
        assert_eq!(completions[0].buffers, [[1; 10]], "the buffers are handed back");
        assert_eq!(fs::read(&path).unwrap(), b"as it was");
    }

    #[test]
    fn more_files_than_entries_on_many_threads() {
        let Some(disk) = disk() else { return };
        let folder = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for thread in 0..4_u8 {
                let (disk, folder) = (&disk, &folder);
                scope.spawn(move || {
                    let files: Vec<_> = (0..2 * ENTRIES + 3)
                        .map(|n| {
                            let path = folder.path().join(format!("{thread}-{n}"));
                            disk.open(&path, Open::Create).unwrap()
                        })
                        .collect();
                    let write = |file: &Handle| Operation::Write {
                        file: file.clone(),
                        position: 3,
                        data: vec![vec![thread; 100], vec![thread + 1; 50]],
                    };
                    let read = |file: &Handle| Operation::Read {
                        file: file.clone(),
                        position: 0,
                        into: Vec::with_capacity(200),
                    };
                    let operations = files.iter().map(write).chain(files.iter().map(read));
                    let completions = disk.submit(operations.collect()).wait();
                    let expected = [vec![0; 3], vec![thread; 100], vec![thread + 1; 50]].concat();
                    for completion in &completions[files.len()..] {
                        assert_eq!(completion.buffers[0], expected);
                        assert_eq!(completion.result.as_ref().unwrap(), &153);
                    }
                });
            }
        });
    }
}
