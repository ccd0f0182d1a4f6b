mod calls;
mod room;

use std::{
    io,
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use fastrand::Rng;

use super::*;
use crate::{
    error::IoError,
    io::{Disk, Entry, ForgetfulDisk, Handle, Lock, Loss, Open, Operation, Pending, SyncKind},
};

type Target = (Arc<CommitFile>, u64);

/// A disk whose syncs stop at a gate, until the test lets each go on.
#[derive(Debug)]
struct GatedDisk {
    disk: ForgetfulDisk,
    gate: Sender<AtGate>,
}

/// A submission of syncs that waits at the gate. Dropping it lets it go on.
#[derive(Debug)]
struct AtGate {
    /// Numbers of the files, in the order in which they were opened.
    files: Vec<u64>,
    _go_on: Sender<()>,
}

impl Disk for GatedDisk {
    fn submit(&self, operations: Vec<Operation>) -> Pending {
        let synced = |operation: &Operation| match operation {
            Operation::Sync { file: Handle::Simulated(number), .. } => Some(*number),
            _ => None,
        };
        let files: Vec<u64> = operations.iter().filter_map(synced).collect();
        if !files.is_empty() {
            let (go_on, gate) = mpsc::channel::<()>();
            // Without a test that listens the gate is open.
            if self.gate.send(AtGate { files, _go_on: go_on }).is_ok() {
                let _ = gate.recv();
            }
        }
        self.disk.submit(operations)
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<Handle> {
        self.disk.open(path, how)
    }
    fn len(&self, file: &Handle) -> io::Result<u64> {
        self.disk.len(file)
    }
    fn set_len(&self, file: &Handle, len: u64) -> io::Result<()> {
        self.disk.set_len(file, len)
    }
    fn allocate(&self, file: &Handle, len: u64) -> io::Result<()> {
        self.disk.allocate(file, len)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }
}

/// Three files behind a gate.
struct Gated {
    disk: ForgetfulDisk,
    group: Arc<GroupCommit>,
    files: Vec<Arc<CommitFile>>,
    gate: Receiver<AtGate>,
}

impl Gated {
    fn new() -> Self {
        let disk = ForgetfulDisk::new();
        let (sender, gate) = mpsc::channel();
        let storage = Storage::new(Arc::new(GatedDisk { disk: disk.clone(), gate: sender }));
        let files = files_of(&storage, Path::new("/"), 3);
        Self { group: GroupCommit::new(storage, Strategy::SyncEach), disk, files, gate }
    }

    /// Writes 100 more bytes to a file; gives what makes them durable.
    fn append(&self, file: usize) -> Target {
        append(&self.files[file], 100, 1)
    }

    /// Commits on a thread of its own.
    fn commit(&self, targets: &[Target]) -> thread::JoinHandle<Result<(), CommitError>> {
        let (group, targets) = (self.group.clone(), targets.to_vec());
        thread::spawn(move || group.commit(&targets))
    }

    fn at_gate(&self, files: &[u64]) -> AtGate {
        let at_gate = self.gate.recv_timeout(Duration::from_mins(1)).expect("somebody leads");
        assert_eq!(at_gate.files, files);
        at_gate
    }

    /// Waits until so many stand by for files that others lead.
    fn until_standing_by(&self, count: usize) {
        while self.group.line.lock().len() < count {
            thread::yield_now();
        }
    }

    fn syncs(&self) -> u64 {
        self.group.metrics().syncs.get()
    }

    fn assert_at_rest(&self) {
        assert!(self.group.line.lock().is_empty());
        assert!(!self.files.iter().any(|file| file.is_led()));
    }
}

fn files_of(storage: &Storage, dir: &Path, count: usize) -> Vec<Arc<CommitFile>> {
    let open = |n: usize| storage.open(&dir.join(n.to_string()), Open::CreateNew).unwrap();
    let files = (0..count).map(|n| CommitFile::new(open(n), 0)).collect();
    storage.sync_dir(dir).unwrap();
    files
}

fn append(file: &Arc<CommitFile>, len: usize, byte: u8) -> Target {
    let (at, end) = (file.written_end(), file.written_end() + len as u64);
    file.file().write_at(at, vec![byte; len]).unwrap();
    file.written(end);
    (file.clone(), end)
}

/// What is left of a file after a power cut now.
fn after_cut(disk: &ForgetfulDisk, file: &CommitFile) -> Vec<u8> {
    let left = disk.fork().power_cut(Loss::Everything);
    left.storage().read(file.file().path(), 1 << 30).unwrap()
}

fn is_truncated(result: &Result<(), CommitError>) -> bool {
    matches!(result, Err(CommitError::Truncated { .. }))
}

#[test]
fn who_comes_during_a_sync_is_served_by_the_next() {
    let this = Gated::new();
    let first = this.commit(&[this.append(0)]);
    let at_gate = this.at_gate(&[0]);
    let later: Vec<_> = (0..5).map(|_| this.commit(&[this.append(0)])).collect();
    this.until_standing_by(5);
    drop(at_gate);
    first.join().unwrap().unwrap();
    drop(this.at_gate(&[0]));
    for commit in later {
        commit.join().unwrap().unwrap();
    }
    assert_eq!((this.syncs(), this.files[0].durable_end()), (2, 600));
    let metrics = this.group.metrics();
    assert_eq!((metrics.commits.get(), metrics.rounds.get(), metrics.served.get()), (6, 2, 6));
    this.assert_at_rest();
}

#[test]
fn bytes_that_were_written_after_the_sync_began_need_another() {
    let this = Gated::new();
    let early = this.append(0);
    let first = this.commit(std::slice::from_ref(&early));
    let at_gate = this.at_gate(&[0]);
    let late = this.append(0);
    drop(at_gate);
    first.join().unwrap().unwrap();
    assert_eq!(this.files[0].durable_end(), early.1, "the end of before the sync");
    let second = this.commit(&[late]);
    drop(this.at_gate(&[0]));
    second.join().unwrap().unwrap();
    this.group.commit(&[early]).unwrap();
    assert_eq!(this.syncs(), 2, "what is durable already needs no sync");
}

#[test]
fn a_set_leads_what_is_free_and_waits_for_the_rest() {
    let this = Gated::new();
    let [a, b, c] = [0, 1, 2].map(|file| this.append(file));
    let first = this.commit(std::slice::from_ref(&a));
    let at_a = this.at_gate(&[0]);
    // Two sets that cross each other, each with a file that somebody else has.
    let second = this.commit(&[a.clone(), b.clone()]);
    let at_b = this.at_gate(&[1]);
    let third = this.commit(&[c, b, a]);
    let at_c = this.at_gate(&[2]);
    drop(at_c);
    this.until_standing_by(1);
    drop(at_b);
    this.until_standing_by(2);
    drop(at_a);
    for commit in [first, second, third] {
        commit.join().unwrap().unwrap();
    }
    assert_eq!(this.syncs(), 3);
    this.assert_at_rest();
}

#[test]
fn many_files_go_in_one_submission_each_once() {
    let this = Gated::new();
    let [a, b, c] = [0, 1, 2].map(|file| this.append(file));
    let more = this.append(1);
    let commit = this.commit(&[c, a, b, more.clone(), more]);
    drop(this.at_gate(&[2, 0, 1]));
    commit.join().unwrap().unwrap();
    assert_eq!((this.group.metrics().rounds.get(), this.group.metrics().served.get()), (1, 5));
    this.group.commit(&[]).unwrap();
}

#[test]
fn a_failed_sync_fails_all_who_wait_on_its_file_and_nobody_else() {
    let this = Gated::new();
    let [a, b] = [0, 1].map(|file| this.append(file));
    let first = this.commit(std::slice::from_ref(&a));
    let at_gate = this.at_gate(&[0]);
    let group = this.group.clone();
    let both = [a.clone(), b.clone()];
    let second = thread::spawn(move || group.commit_each(&both));
    drop(this.at_gate(&[1]));
    this.until_standing_by(1);
    this.disk.fail_sync(1);
    drop(at_gate);
    assert!(matches!(first.join().unwrap(), Err(CommitError::Io(_))));
    let results = second.join().unwrap();
    assert!(matches!(&results[0], Err(CommitError::Io(error)) if error.operation == "sync"));
    assert!(results[1].is_ok() && b.0.durable_end() == b.1);

    let syncs = this.syncs();
    let later = IoError::from(this.group.commit(&[a]).unwrap_err());
    assert_eq!((later.operation, later.source.raw_os_error()), ("sync", Some(5)));
    assert_eq!(this.syncs(), syncs, "a failed sync is never tried again");
    assert_eq!(this.files[0].durable_end(), 0);
    let others = this.commit(&[this.append(1), this.append(2)]);
    drop(this.at_gate(&[1, 2]));
    others.join().unwrap().unwrap();
    this.assert_at_rest();
}

#[test]
fn a_failed_write_latches_for_the_commit_too() {
    let this = Gated::new();
    let target = this.append(0);
    this.disk.fail_write(1);
    this.files[0].file().write_at(100, vec![1]).unwrap_err();
    let operations = this.disk.operations();
    let error = IoError::from(this.group.commit(&[target]).unwrap_err());
    assert_eq!((error.operation, this.disk.operations()), ("write", operations));
}

/// The leader's sync is under way when the file is cut and written anew: it must not say that the
/// new bytes are durable.
#[test]
fn a_sync_that_began_before_a_truncation_raises_nothing() {
    let this = Gated::new();
    let (kept, cut) = (this.append(0), this.append(0));
    let first = this.commit(std::slice::from_ref(&cut));
    let at_gate = this.at_gate(&[0]);
    let second = this.commit(std::slice::from_ref(&kept));
    this.until_standing_by(1);

    this.files[0].reset(kept.1);
    this.files[0].file().set_len(kept.1).unwrap();
    drop(at_gate);
    let at_gate = this.at_gate(&[0]);
    assert!(is_truncated(&first.join().unwrap()));
    assert_eq!(this.files[0].durable_end(), 0, "the first sync says nothing any more");
    let anew = this.append(0);
    assert_eq!(anew.1, cut.1, "other bytes, same end");
    drop(at_gate);
    second.join().unwrap().unwrap();
    assert_eq!(this.files[0].durable_end(), kept.1);
    let third = this.commit(&[anew]);
    drop(this.at_gate(&[0]));
    third.join().unwrap().unwrap();
    this.assert_at_rest();
}

#[test]
fn a_truncation_wakes_who_waits_for_what_it_cuts_off() {
    let this = Gated::new();
    let (low, high) = (this.append(0), this.append(0));
    let first = this.commit(&[low]);
    let at_gate = this.at_gate(&[0]);
    let second = this.commit(std::slice::from_ref(&high));
    this.until_standing_by(1);
    this.files[0].reset(0);
    assert!(is_truncated(&second.join().unwrap()), "while the sync is still under way");
    drop(at_gate);
    assert!(is_truncated(&first.join().unwrap()));
    assert!(is_truncated(&this.group.commit(&[high])), "beyond the written end: cut off");
    assert_eq!(this.syncs(), 1);
    this.assert_at_rest();
}

#[test]
fn a_truncation_leaves_those_below_it_to_be_served() {
    let this = Gated::new();
    let (low, high) = (this.append(0), this.append(0));
    let first = this.commit(std::slice::from_ref(&low));
    let at_gate = this.at_gate(&[0]);
    let cut_off = this.commit(std::slice::from_ref(&high));
    this.until_standing_by(1);
    let waiting = this.commit(std::slice::from_ref(&low));
    this.until_standing_by(2);
    this.files[0].reset(low.1);
    assert!(is_truncated(&cut_off.join().unwrap()));
    drop(at_gate);
    // The cut made the first sync worthless: one of the two others leads the next.
    drop(this.at_gate(&[0]));
    first.join().unwrap().unwrap();
    waiting.join().unwrap().unwrap();
    this.assert_at_rest();
}

/// Who is called to lead may have no use for the file any more, after a truncation, although it still
/// waits for another one.
#[test]
fn a_call_to_lead_is_passed_on() {
    let this = Gated::new();
    let first = this.commit(&[this.append(0)]);
    let at_gate = this.at_gate(&[0]);
    let other = this.append(1);
    let others = this.commit(std::slice::from_ref(&other));
    let other_at_gate = this.at_gate(&[1]);
    let late = this.append(0);
    let absent = StandBy { waker: Waker::noop().clone(), targets: vec![late.clone()] };
    this.group.line.lock().push(absent);
    let second = this.commit(&[late]);
    this.until_standing_by(2);
    drop(at_gate);
    first.join().unwrap().unwrap();
    assert_eq!(this.group.line.lock().len(), 1, "one is called, the first in line");

    let mut waits_elsewhere = [other.0.enlist(other.1)];
    assert!(matches!(this.group.next_turn(&mut waits_elsewhere, true), Turn::StandBy));
    drop(this.at_gate(&[0]));
    second.join().unwrap().unwrap();
    drop(other_at_gate);
    others.join().unwrap().unwrap();
    assert!(matches!(this.group.next_turn(&mut waits_elsewhere, true), Turn::Over));
    this.assert_at_rest();
}

/// Threads that append to and commit random sets of files; with `check`, after each commit.
fn hammer(storage: &Storage, dir: &Path, check: impl Fn(&[Target]) + Sync) {
    const THREADS: u64 = 8;
    let files = files_of(storage, dir, 4);
    let appending: Vec<Mutex<()>> = files.iter().map(|_| Mutex::default()).collect();
    let group = GroupCommit::new(storage.clone(), Strategy::SyncEach);
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (files, appending, group, check) = (&files, &appending, &group, &check);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                for _ in 0..100 {
                    let mut targets = Vec::new();
                    for file in 0..files.len() {
                        if rng.bool() {
                            let _guard = appending[file].lock();
                            targets.push(append(&files[file], rng.usize(1..200), file as u8 + 1));
                        }
                    }
                    rng.shuffle(&mut targets);
                    group.commit(&targets).unwrap();
                    check(&targets);
                }
            });
        }
    });
    let metrics = group.metrics();
    assert_eq!(metrics.commits.get(), THREADS * 100);
    assert!(metrics.syncs.get() <= metrics.served.get(), "never more syncs than were asked for");
    assert!(metrics.rounds.get() <= metrics.syncs.get());
    assert!(group.line.lock().is_empty());
    assert!(files.iter().all(|file| file.durable_end() == file.written_end()));
}

#[test]
fn what_was_committed_survives_a_power_cut() {
    let disk = ForgetfulDisk::new();
    hammer(&disk.storage(), Path::new("/"), |targets| {
        let left = disk.fork().power_cut(Loss::Everything).storage();
        for (file, end) in targets {
            assert!(file.durable_end() >= *end);
            let path = file.file().path();
            let byte = path.to_str().unwrap()[1..].parse::<u8>().unwrap() + 1;
            let found = left.read(path, 1 << 30).unwrap();
            assert!(found.len() as u64 >= *end && found.iter().all(|it| *it == byte));
        }
    });
}

/// The twin of the test above, on a disk that lies.
#[test]
fn a_sync_that_does_nothing_is_caught() {
    let disk = ForgetfulDisk::new();
    let file = files_of(&disk.storage(), Path::new("/"), 1).remove(0);
    let group = GroupCommit::new(disk.storage(), Strategy::SyncEach);
    disk.lie_about_sync(true);
    group.commit(&[append(&file, 10, 1)]).unwrap();
    assert!(after_cut(&disk, &file).is_empty());
}

#[test]
fn many_threads_commit_real_files() {
    let folder = tempfile::tempdir().unwrap();
    hammer(&Storage::portable(), folder.path(), |targets| {
        assert!(targets.iter().all(|(file, end)| file.durable_end() >= *end));
    });
}

/// Appends, commits and truncations at once. Whenever nobody appends, a power cut must leave what the
/// durable end claims, as it was written last.
#[test]
fn the_durable_end_never_claims_too_much_under_truncations() {
    const THREADS: u64 = 6;
    let disk = ForgetfulDisk::new();
    let storage = disk.storage();
    let files = files_of(&storage, Path::new("/"), 3);
    let group = GroupCommit::new(storage, Strategy::SyncEach);
    // What each file holds; the lock of who appends to it or cuts it.
    let contents: Vec<Mutex<Vec<u8>>> = files.iter().map(|_| Mutex::default()).collect();
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (files, group, contents, disk) = (&files, &group, &contents, &disk);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                for _ in 0..200 {
                    let which = rng.usize(..files.len());
                    let (file, mut content) = (&files[which], contents[which].lock());
                    if rng.u8(..4) == 0 {
                        let end = rng.usize(..=content.len());
                        content.truncate(end);
                        file.reset(end as u64);
                        file.file().set_len(end as u64).unwrap();
                        file.file().sync(SyncKind::Data).unwrap();
                    } else {
                        let (len, byte) = (rng.usize(1..100), rng.u8(1..));
                        let target = append(file, len, byte);
                        content.resize(target.1 as usize, byte);
                        drop(content);
                        let other = &files[rng.usize(..files.len())];
                        let other = (other.clone(), other.written_end());
                        for result in group.commit_each(&[other, target]) {
                            assert!(result.is_ok() || is_truncated(&result));
                        }
                        content = contents[which].lock();
                    }
                    let durable = file.durable_end() as usize;
                    let left = after_cut(disk, file);
                    assert!(durable <= content.len() && left[..durable] == content[..durable]);
                }
            });
        }
    });
    assert!(group.line.lock().is_empty() && !files.iter().any(|file| file.is_led()));
}
