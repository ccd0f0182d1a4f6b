//! The same cases over the machine's own files, by each backend, and over the simulated disk; then the latch, and the
//! lock against another process.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

use super::*;

/// Runs a case over each backend with an empty folder.
fn over_each(case: impl Fn(&Storage, &Path)) {
    for storage in [Storage::portable(), Storage::system()] {
        let folder = tempfile::tempdir().unwrap();
        case(&storage, folder.path());
    }
    let disk = ForgetfulDisk::new();
    disk.create_dir(Path::new("/data")).unwrap();
    case(&disk.storage(), Path::new("/data"));
}

fn names(storage: &Storage, dir: &Path) -> Vec<String> {
    let entries = storage.list(dir).unwrap();
    entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
}

#[test]
fn bytes_come_back_as_they_were_written() {
    over_each(|storage, dir| {
        let file = storage.open(&dir.join("a"), Open::CreateNew).unwrap();
        assert!(file.is_empty().unwrap());
        let buffer = file.write_at(0, b"0123456789".to_vec()).unwrap();
        assert_eq!(buffer, b"0123456789", "the buffer is handed back");
        file.write_at(10_000, b"far".to_vec()).unwrap();
        file.write_at(3, Vec::new()).unwrap();
        assert_eq!(file.len().unwrap(), 10_003);
        assert_eq!(file.read_at(2, 3).unwrap(), b"234");
        assert_eq!(file.read_at(9_999, 100).unwrap(), b"\0far", "a hole reads as zeros");
        assert_eq!(file.read_at(10_003, 5).unwrap(), b"");
        assert_eq!(file.read_at(1 << 40, 5).unwrap(), b"");
        assert_eq!(file.read_exact_at(8, 2).unwrap(), b"89");
        let error = file.read_exact_at(10_000, 4).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::UnexpectedEof);
        assert_eq!((error.position, error.path.as_path()), (Some(10_000), file.path()));

        let mut into = Vec::with_capacity(16);
        into.extend_from_slice(b"before ");
        let room = into.capacity() - into.len();
        let into = file.read_into(0, into).unwrap();
        assert_eq!(into[..10], *b"before 012", "behind what the buffer holds");
        assert_eq!(into.len(), 7 + room);
    });
}

#[test]
fn direct_reads_give_the_same_bytes_from_any_position() {
    over_each(|storage, dir| {
        let content: Vec<u8> = (0..9_000_123_u32).map(|n| (n / 7) as u8).collect();
        let file = storage.open(&dir.join("a"), Open::CreateNew).unwrap();
        file.write_at(0, content.clone()).unwrap();
        let direct = storage.open(&dir.join("a"), Open::Direct).unwrap();
        assert_eq!(direct.len().unwrap(), content.len() as u64);
        for position in [0, 1, 4_095, 4_096, 4_097, 4_200_000, 8_999_999, 9_000_123, 9_100_000] {
            for len in [0, 1, 61, 4_096, 5_000, 1 << 20, 9_000_123] {
                let from = position.min(content.len());
                let expected = &content[from..content.len().min(from + len)];
                let found = direct.read_at(position as u64, len).unwrap();
                assert!(found == expected, "{len} bytes from {position}: {}", found.len());
            }
        }
        let mut into = Vec::with_capacity(20);
        into.push(9);
        let into = direct.read_into(4_090, into).unwrap();
        assert_eq!((into[0], &into[1..]), (9, &content[4_090..4_090 + into.len() - 1]));
        let missing = storage.open(&dir.join("b"), Open::Direct).unwrap_err();
        assert!(missing.is_not_found());
        storage.drop_cached(&dir.join("b")).unwrap();
    });
}

#[test]
fn one_write_takes_more_buffers_than_one_system_call() {
    over_each(|storage, dir| {
        let file = storage.open(&dir.join("a"), Open::Create).unwrap();
        let data: Vec<Vec<u8>> = (0..2_500usize).map(|n| vec![n as u8; n % 7]).collect();
        let expected = data.concat();
        let mut buffers = data.clone();
        file.write_all_at(5, &mut buffers).unwrap();
        assert_eq!(buffers, data, "all handed back, in order");
        assert_eq!(file.read_at(5, expected.len() + 1).unwrap(), expected);
    });
}

#[test]
fn lengths_are_cut_extended_and_allocated() {
    over_each(|storage, dir| {
        let file = storage.open(&dir.join("a"), Open::Create).unwrap();
        file.write_at(0, vec![1; 5_000]).unwrap();
        file.set_len(3).unwrap();
        file.set_len(6).unwrap();
        assert_eq!(file.read_at(0, 100).unwrap(), [1, 1, 1, 0, 0, 0]);
        file.allocate(8_192).unwrap();
        file.allocate(10).unwrap();
        file.allocate(0).unwrap();
        assert_eq!(file.len().unwrap(), 8_192);
        assert_eq!(file.read_at(0, 10_000).unwrap()[..4], [1, 1, 1, 0]);
        file.sync(SyncKind::Data).unwrap();
    });
}

#[test]
fn files_open_as_asked() {
    over_each(|storage, dir| {
        let path = dir.join("a");
        for how in [Open::Read, Open::Write] {
            assert!(storage.open(&path, how).unwrap_err().is_not_found());
        }
        assert!(storage.open(&dir.join("no/a"), Open::Create).unwrap_err().is_not_found());
        storage.open(&path, Open::Create).unwrap().write_at(0, vec![7]).unwrap();
        let error = storage.open(&path, Open::CreateNew).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::AlreadyExists);
        assert_eq!(storage.open(&path, Open::Create).unwrap().len().unwrap(), 1, "kept");
        storage.open(&path, Open::Write).unwrap().write_at(1, vec![8]).unwrap();
        let reader = storage.open(&path, Open::Read).unwrap();
        assert_eq!(reader.read_at(0, 9).unwrap(), [7, 8]);
        assert!(reader.write_at(0, vec![9]).is_err());
        assert!(storage.open(dir, Open::Write).is_err(), "a folder is no file");
    });
}

#[test]
fn small_files_are_replaced_whole() {
    over_each(|storage, dir| {
        let path = dir.join("checkpoint");
        storage.replace(&path, b"a long first content").unwrap();
        storage.open(&dir.join("checkpoint.tmp"), Open::Create).unwrap();
        storage.replace(&path, b"second").unwrap();
        assert_eq!(storage.read(&path, 6).unwrap(), b"second");
        assert_eq!(names(storage, dir), ["checkpoint"]);
        let error = storage.read(&path, 5).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::FileTooLarge);
    });
}

#[test]
fn names_are_listed_moved_and_removed() {
    over_each(|storage, dir| {
        let inner = dir.join("t-0/inner");
        storage.create_dir_all(&inner).unwrap();
        storage.create_dir_all(&inner).unwrap();
        for name in ["b", "a", "c"] {
            let file = storage.open(&dir.join(name), Open::CreateNew).unwrap();
            file.write_at(0, name.repeat(3).into_bytes()).unwrap();
        }
        let entries = storage.list(dir).unwrap();
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.to_str().unwrap(), entry.is_dir, entry.len))
            .collect();
        assert_eq!(seen, [("a", false, 3), ("b", false, 3), ("c", false, 3), ("t-0", true, 0)]);

        storage.rename(&dir.join("a"), &dir.join("b")).unwrap();
        assert_eq!(storage.read(&dir.join("b"), 9).unwrap(), b"aaa", "replaced");
        storage.rename(&dir.join("c"), &inner.join("c")).unwrap();
        storage.rename(&dir.join("t-0"), &dir.join("t-0.x-delete")).unwrap();
        assert_eq!(storage.read(&dir.join("t-0.x-delete/inner/c"), 9).unwrap(), b"ccc");
        assert!(storage.rename(&dir.join("a"), &dir.join("z")).unwrap_err().is_not_found());
        assert_eq!(names(storage, dir), ["b", "t-0.x-delete"]);
        assert!(storage.exists(&dir.join("b")).unwrap());
        assert!(!storage.exists(&dir.join("no/folder")).unwrap());

        storage.remove_file(&dir.join("b")).unwrap();
        storage.remove_file(&dir.join("b")).unwrap();
        storage.sync_dir(dir).unwrap();
        storage.remove_dir_all(&dir.join("t-0.x-delete")).unwrap();
        assert!(names(storage, dir).is_empty());
        assert!(storage.list(&dir.join("gone")).unwrap_err().is_not_found());
        assert!(storage.sync_dir(&dir.join("gone")).unwrap_err().is_not_found());
        assert!(storage.free_bytes(dir).unwrap() > 0);
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    over_each(|storage, dir| {
        let path = dir.join("a");
        let file = storage.open(&path, Open::Create).unwrap();
        file.write_at(0, b"bytes".to_vec()).unwrap();
        storage.rename(&path, &dir.join("b")).unwrap();
        storage.remove_file(&dir.join("b")).unwrap();
        file.write_at(5, b"!".to_vec()).unwrap();
        assert_eq!(file.read_at(0, 9).unwrap(), b"bytes!");
        assert_eq!(storage.open(&path, Open::Create).unwrap().len().unwrap(), 0, "another file");
    });
}

#[test]
fn many_files_are_synced_together() {
    over_each(|storage, dir| {
        let open = |n: usize| storage.open(&dir.join(n.to_string()), Open::Create).unwrap();
        let files: Vec<File> = (0..5).map(open).collect();
        for file in &files {
            file.write_at(0, vec![1]).unwrap();
        }
        assert_eq!(
            storage.sync_all(&files, SyncKind::Data).iter().filter(|it| it.is_ok()).count(),
            5
        );
        assert!(storage.sync_all(&[], SyncKind::Data).is_empty());
        assert!(files[0].is_same(&files[0].clone()) && !files[0].is_same(&files[1]));
    });
}

#[test]
fn a_lock_is_taken_once_in_a_process() {
    over_each(|storage, dir| {
        let path = dir.join(".lock");
        let lock = storage.lock(&path).unwrap();
        let error = storage.lock(&path).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::WouldBlock);
        assert_eq!((error.operation, error.path.as_path()), ("lock", path.as_path()));
        drop(lock);
        drop(storage.lock(&path).unwrap());
        assert!(storage.exists(&path).unwrap(), "the file stays");
        assert!(storage.lock(&dir.join("no/.lock")).unwrap_err().is_not_found());
    });
}

/// Set for the process that [`OtherProcess`] is: the path that it locks.
const LOCK_PATH: &str = "TRUNKLINE_TEST_LOCK_PATH";

/// The other process's part: no test by itself.
#[test]
fn the_other_process_of_the_lock_test() {
    let Some(path) = env::var_os(LOCK_PATH) else { return };
    let lock = Storage::portable().lock(Path::new(&path));
    println!("\nlock {}", if lock.is_ok() { "taken" } else { "refused" });
    // Until the other side closes the pipe.
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}

/// This test binary as a second process that tries to lock a path, and holds it until [`Self::end`].
struct OtherProcess {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl OtherProcess {
    /// Starts it; gives also what it says of the lock.
    fn lock(path: &Path) -> (String, Self) {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "io::tests::the_other_process_of_the_lock_test", "--nocapture"])
            .env(LOCK_PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map(Result::unwrap);
        let said = lines.find(|line| line.starts_with("lock ")).unwrap();
        (said, Self { child, output })
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        io::copy(&mut self.output, &mut io::sink()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_lock_is_against_every_other_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".lock");
    let storage = Storage::portable();

    let lock = storage.lock(&path).unwrap();
    let (said, other) = OtherProcess::lock(&path);
    assert_eq!(said, "lock refused");
    other.end();
    drop(lock);

    let (said, other) = OtherProcess::lock(&path);
    assert_eq!(said, "lock taken");
    assert_eq!(storage.lock(&path).unwrap_err().source.kind(), ErrorKind::WouldBlock);
    other.end();
    drop(storage.lock(&path).unwrap());
}

/// Java takes fcntl locks, and flock would not exclude them.
#[test]
#[cfg(target_os = "linux")]
fn a_lock_is_an_fcntl_lock() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".lock");
    let _lock = Storage::portable().lock(&path).unwrap();
    let inode = format!(":{}", std::fs::metadata(&path).unwrap().ino());
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else {
        eprintln!("SKIPPED: /proc/locks cannot be read here");
        return;
    };
    let ours: Vec<&str> = locks
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word.ends_with(&inode)))
        .collect();
    if ours.is_empty() {
        eprintln!("SKIPPED: /proc/locks does not show this folder's file system");
        return;
    }
    assert!(ours.iter().all(|line| line.contains("POSIX") && line.contains("WRITE")), "{ours:?}");
}

/// A simulated disk with an open file of ten durable bytes.
fn simulated_file() -> (ForgetfulDisk, File) {
    let disk = ForgetfulDisk::new();
    let file = disk.storage().open(Path::new("/a"), Open::CreateNew).unwrap();
    file.write_at(0, vec![1; 10]).unwrap();
    disk.settle();
    (disk, file)
}

fn refuses_writes_but_reads(file: &File) {
    let first = file.failure().expect("latched").to_string();
    for refused in [
        file.write_at(0, vec![2]).map(drop),
        file.sync(SyncKind::All),
        file.set_len(1),
        file.allocate(99),
        file.clone().sync(SyncKind::Data),
    ] {
        assert_eq!(refused.unwrap_err().to_string(), first, "says what happened first");
    }
    assert_eq!(file.read_at(9, 5).unwrap(), [1]);
}

#[test]
fn a_failed_sync_latches() {
    let (disk, file) = simulated_file();
    disk.fail_sync(1);
    let error = file.sync(SyncKind::Data).unwrap_err();
    assert_eq!((error.operation, error.source.raw_os_error()), ("sync", Some(5)));
    let operations = disk.operations();
    refuses_writes_but_reads(&file);
    assert_eq!(disk.operations(), operations, "a failed sync is never tried again");
}

#[test]
fn a_failed_sync_among_many_latches_its_file_only() {
    let disk = ForgetfulDisk::new();
    let open = |name| disk.storage().open(Path::new(name), Open::CreateNew).unwrap();
    let files = ["/a", "/b", "/c"].map(open);
    disk.fail_sync(2);
    let ok = |results: Vec<Result<(), IoError>>| -> Vec<bool> {
        results.iter().map(Result::is_ok).collect()
    };
    assert_eq!(ok(disk.storage().sync_all(&files, SyncKind::Data)), [true, false, true]);
    let operations = disk.operations();
    assert_eq!(ok(disk.storage().sync_all(&files, SyncKind::Data)), [true, false, true]);
    assert_eq!(disk.operations(), operations + 2, "the latched one is left out");
    assert!(files[1].failure().is_some() && files[2].failure().is_none());
}

#[test]
fn eio_on_a_write_latches() {
    let (disk, file) = simulated_file();
    disk.fail_write(2);
    file.write_at(0, vec![1]).unwrap();
    assert_eq!(file.write_at(0, vec![3]).unwrap_err().source.raw_os_error(), Some(5));
    refuses_writes_but_reads(&file);
}

#[test]
fn a_full_disk_and_a_failed_read_do_not_latch() {
    let (disk, file) = simulated_file();
    disk.fill_up(3);
    assert!(file.write_at(10, vec![2; 5]).unwrap_err().is_disk_full());
    assert!(file.failure().is_none());
    assert_eq!(file.read_at(0, 99).unwrap().len(), 13, "a short write came first");
    disk.fail_read(1);
    assert_eq!(file.read_at(0, 1).unwrap_err().source.raw_os_error(), Some(5));
    disk.fill_up(100);
    file.write_at(10, vec![2; 5]).unwrap();
    file.sync(SyncKind::Data).unwrap();
}

#[test]
fn a_sync_behind_a_failed_write_is_not_performed() {
    let disk = ForgetfulDisk::new();
    let handle = disk.open(Path::new("/a"), Open::CreateNew).unwrap();
    let other = disk.open(Path::new("/b"), Open::CreateNew).unwrap();
    disk.fail_write(1);
    let data = vec![vec![1]];
    let completions = disk
        .submit(vec![
            Operation::Write { file: handle.clone(), position: 0, data: data.clone() },
            Operation::Sync { file: handle, kind: SyncKind::Data },
            Operation::Write { file: other.clone(), position: 0, data },
            Operation::Sync { file: other, kind: SyncKind::Data },
        ])
        .wait();
    let ok: Vec<bool> = completions.iter().map(|completion| completion.result.is_ok()).collect();
    assert_eq!(ok, [false, false, true, true]);
    let kind = completions[1].result.as_ref().unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Other);
}

/// `/dev/full`: every write meets ENOSPC, and it cannot be synced.
#[test]
#[cfg(target_os = "linux")]
fn the_latch_on_a_real_descriptor() {
    let file = Storage::portable().open(Path::new("/dev/full"), Open::Write).unwrap();
    assert!(file.write_at(0, vec![1; 10]).unwrap_err().is_disk_full());
    assert!(file.failure().is_none());
    let error = file.sync(SyncKind::Data).unwrap_err();
    assert_eq!(error.operation, "sync");
    assert_eq!(file.write_at(0, vec![1]).unwrap_err().operation, "sync", "latched");
    assert_eq!(file.read_at(0, 4).unwrap(), [0; 4]);
}

#[test]
fn only_what_is_measured_has_a_length() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::portable();
    for (name, len) in [("a.log", 7), ("b.index", 5)] {
        storage.open(&dir.path().join(name), Open::Create).unwrap().set_len(len).unwrap();
    }
    std::fs::create_dir(dir.path().join("c.log")).unwrap();
    let entries = storage.list_names(dir.path(), |name| name == "a.log").unwrap();
    let told: Vec<_> =
        entries.iter().map(|it| (it.name.to_str().unwrap(), it.is_dir, it.len)).collect();
    assert_eq!(told, [("a.log", false, 7), ("b.index", false, 0), ("c.log", true, 0)]);
    let lens: Vec<_> = storage.list(dir.path()).unwrap().iter().map(|it| it.len).collect();
    assert_eq!(lens, [7, 5, 0]);
}

#[test]
fn the_folder_of_a_bare_name_is_the_current_one() {
    assert_eq!(super::parent_of(Path::new("data")), Some(Path::new(".")));
    assert_eq!(super::parent_of(Path::new("a/data")), Some(Path::new("a")));
    assert_eq!(super::parent_of(Path::new("/")), None);
    assert!(!Storage::portable().exists(Path::new("no-such-folder-is-here")).unwrap());
}
