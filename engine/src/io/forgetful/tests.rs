use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::io::{File, SyncKind};

const DIR: &str = "/data";

/// A disk with a durable folder [`DIR`].
fn disk() -> ForgetfulDisk {
    let disk = ForgetfulDisk::new();
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.settle();
    disk
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// A file that is durable with `content`.
fn durable_file(disk: &ForgetfulDisk, name: &str, content: &[u8]) -> File {
    let file = disk.storage().open(&path(name), Open::CreateNew).unwrap();
    file.write_at(0, content.to_vec()).unwrap();
    disk.settle();
    file
}

fn content(disk: &ForgetfulDisk, name: &str) -> Option<Vec<u8>> {
    match disk.storage().read(&path(name), 1 << 30) {
        Err(error) if error.is_not_found() => None,
        other => Some(other.unwrap()),
    }
}

fn after_cut(disk: &ForgetfulDisk, name: &str) -> Option<Vec<u8>> {
    content(&disk.fork().power_cut(Loss::Everything), name)
}

#[test]
fn bytes_are_durable_after_their_sync_and_not_before() {
    let disk = disk();
    let file = durable_file(&disk, "a", b"old");
    file.write_at(1, b"NEW, longer".to_vec()).unwrap();
    assert_eq!(after_cut(&disk, "a").unwrap(), b"old");
    file.sync(SyncKind::Data).unwrap();
    file.set_len(2).unwrap();
    assert_eq!(after_cut(&disk, "a").unwrap(), b"oNEW, longer");
    file.sync(SyncKind::Data).unwrap();
    file.set_len(4).unwrap();
    file.sync(SyncKind::All).unwrap();
    assert_eq!(after_cut(&disk, "a").unwrap(), b"oN\0\0", "bytes that were cut off are zeros");
}

#[test]
fn a_name_is_durable_after_the_sync_of_its_folder_and_not_before() {
    let disk = disk();
    let storage = disk.storage();
    let file = storage.open(&path("a"), Open::Create).unwrap();
    file.write_at(0, b"bytes".to_vec()).unwrap();
    file.sync(SyncKind::All).unwrap();
    assert_eq!(after_cut(&disk, "a"), None, "the file's own sync does not keep its name");
    storage.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(after_cut(&disk, "a").unwrap(), b"bytes");

    storage.rename(&path("a"), &path("b")).unwrap();
    assert_eq!(content(&disk, "b").unwrap(), b"bytes");
    assert_eq!((after_cut(&disk, "a").unwrap(), after_cut(&disk, "b")), (b"bytes".to_vec(), None));
    storage.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!((after_cut(&disk, "a"), after_cut(&disk, "b").unwrap()), (None, b"bytes".to_vec()));

    storage.remove_file(&path("b")).unwrap();
    assert_eq!(content(&disk, "b"), None);
    assert_eq!(after_cut(&disk, "b").unwrap(), b"bytes", "a removal not synced comes back");
    storage.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(after_cut(&disk, "b"), None);
}

#[test]
fn a_synced_name_of_a_file_never_synced_is_an_empty_file() {
    let disk = disk();
    let file = disk.storage().open(&path("a"), Open::Create).unwrap();
    file.write_at(0, b"bytes".to_vec()).unwrap();
    disk.storage().sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(after_cut(&disk, "a").unwrap(), b"");
}

#[test]
fn a_folder_needs_the_sync_of_its_parent() {
    let disk = disk();
    let storage = disk.storage();
    let (outer, inner) = (path("t-0"), path("t-0/inner"));
    disk.create_dir(&outer).unwrap();
    disk.create_dir(&inner).unwrap();
    let synced_inside = || {
        storage.sync_dir(&outer).unwrap();
        disk.fork().power_cut(Loss::Everything).storage()
    };
    assert!(!synced_inside().exists(&outer).unwrap(), "its own sync does not keep its name");
    storage.sync_dir(Path::new(DIR)).unwrap();
    assert!(synced_inside().exists(&inner).unwrap());
    storage.remove_dir_all(&outer).unwrap();
    assert!(!storage.exists(&outer).unwrap());
    let restored = disk.power_cut(Loss::Everything).storage();
    assert!(restored.exists(&inner).unwrap(), "removals not synced come back");
}

#[test]
fn a_move_between_folders_needs_both_syncs() {
    let disk = disk();
    durable_file(&disk, "a", b"bytes");
    let storage = disk.storage();
    let other = path("other");
    storage.create_dir_all(&other).unwrap();
    disk.settle();
    storage.rename(&path("a"), &other.join("a")).unwrap();
    assert_eq!(after_cut(&disk, "a").unwrap(), b"bytes");
    storage.sync_dir(&other).unwrap();
    assert_eq!(after_cut(&disk, "other/a").unwrap(), b"bytes");
    assert!(after_cut(&disk, "a").is_some(), "the old name goes with its own folder's sync");
    storage.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(after_cut(&disk, "a"), None);
}

/// Cuts the power at every operation of a replacement: the old or the new content, whole.
#[test]
fn a_replaced_file_is_old_or_new_at_every_point() {
    let disk = disk();
    durable_file(&disk, "a", b"the old content");
    let new = vec![7; 10_000];
    let (mut old_seen, mut new_seen) = (0, 0);
    for operations in 0.. {
        let run = disk.fork();
        run.power_off_after(operations);
        let finished = run.storage().replace(&path("a"), &new).is_ok();
        for loss in (0..20).map(Loss::Random).chain([Loss::Everything]) {
            let found = content(&run.power_cut(loss), "a").unwrap();
            assert!(found == b"the old content" || found == new, "torn at operation {operations}");
            assert!(!finished || found == new, "lost after it was answered");
            *(if found == new { &mut new_seen } else { &mut old_seen }) += 1;
        }
        if finished {
            break;
        }
    }
    assert!(old_seen > 0 && new_seen > 0, "{old_seen} {new_seen}");
}

/// The twin of the test above with its syncs left out.
#[test]
fn a_replacement_without_its_syncs_is_caught() {
    let disk = disk();
    durable_file(&disk, "a", b"the old content");
    disk.lie_about_sync(true);
    disk.storage().replace(&path("a"), &[7; 10_000]).unwrap();
    let torn = |seed| {
        let found = content(&disk.power_cut(Loss::Random(seed)), "a").unwrap();
        found != b"the old content" && found != [7; 10_000]
    };
    assert!((0..50).any(torn));
    assert_eq!(content(&disk.power_cut(Loss::Everything), "a").unwrap(), b"the old content");
}

#[test]
fn random_losses_tear_reorder_and_leave_zeros() {
    let disk = disk();
    let file = durable_file(&disk, "a", &[1; 4096]);
    for page in 0..4u8 {
        file.write_at(u64::from(page) * 4096, vec![2 + page; 4096]).unwrap();
    }
    let (mut shorter, mut reordered, mut zeros, mut whole, mut nothing) = (0, 0, 0, 0, 0);
    for seed in 0..300 {
        let found = content(&disk.power_cut(Loss::Random(seed)), "a").unwrap();
        assert_eq!(found, content(&disk.power_cut(Loss::Random(seed)), "a").unwrap());
        assert!(found.len().is_multiple_of(4096) && (4096..=16384).contains(&found.len()));
        for (number, page) in found.chunks(4096).enumerate() {
            assert!(page.iter().all(|byte| *byte == page[0]), "a page is kept or lost as one");
            let old = u8::from(number == 0);
            assert!(page[0] == old || page[0] == 2 + number as u8, "{number}: {}", page[0]);
        }
        shorter += i32::from(found.len() < 16384);
        zeros += i32::from(found.last() == Some(&0));
        reordered += i32::from(found[0] == 1 && found.len() > 4096 && found[4096] == 3);
        whole += i32::from(found.len() == 16384 && found.iter().all(|byte| *byte > 1));
        nothing += i32::from(found == [1; 4096]);
    }
    let seen = [shorter, reordered, zeros, whole, nothing];
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}

#[test]
fn a_failed_sync_loses_the_bytes_although_the_next_one_succeeds() {
    let disk = disk();
    durable_file(&disk, "a", b"");
    let open = || disk.storage().open(&path("a"), Open::Write).unwrap();
    let file = open();
    file.write_at(0, vec![1; 4096]).unwrap();
    disk.fail_sync(1);
    assert_eq!(file.sync(SyncKind::Data).unwrap_err().source.raw_os_error(), Some(5));
    assert_eq!(file.read_at(0, 1).unwrap(), [1], "the page cache still shows them");
    let other = open();
    other.write_at(4096, vec![2; 10]).unwrap();
    other.sync(SyncKind::Data).unwrap();
    let found = after_cut(&disk, "a").unwrap();
    assert_eq!((found[0], found[4096], found.len()), (0, 2, 4106));
}

#[test]
fn after_a_failed_sync_the_cache_shows_what_the_device_lacks_until_it_is_dropped() {
    let disk = disk();
    let storage = disk.storage();
    let file = durable_file(&disk, "a", &[1; 5_000]);
    file.write_at(4_096, vec![2; 8_000]).unwrap();
    disk.fail_sync(1);
    file.sync(SyncKind::Data).unwrap_err();
    let again = storage.open(&path("a"), Open::Write).unwrap();
    again.write_at(0, vec![3]).unwrap();
    let cached = |at| again.read_at(at, 1).unwrap()[0];
    assert_eq!((cached(0), cached(4_096), cached(9_000)), (3, 2, 2));
    let direct = storage.open(&path("a"), Open::Direct).unwrap();
    let on_device = |at| direct.read_at(at, 1).unwrap()[0];
    // What waits for write-back is not lost.
    assert_eq!((on_device(0), on_device(4_096), on_device(9_000)), (3, 1, 0));
    assert_eq!((cached(0), cached(4_096), cached(9_000)), (3, 1, 0));
}

#[test]
fn a_full_disk_writes_what_fits_and_has_room_again_after_a_removal() {
    let disk = disk();
    let file = durable_file(&disk, "a", b"1234");
    let spare = durable_file(&disk, "b", &[0; 100]);
    disk.fill_up(6);
    file.write_at(0, b"abcd".to_vec()).unwrap();
    let mut buffers = vec![b"efg".to_vec(), b"hijk".to_vec()];
    let error = file.write_all_at(4, &mut buffers).unwrap_err();
    assert_eq!(buffers, [b"efg".to_vec(), b"hijk".to_vec()], "handed back");
    assert!(error.is_disk_full());
    assert_eq!(content(&disk, "a").unwrap(), b"abcdefghij", "a short write comes first");
    assert!(file.allocate(100).unwrap_err().is_disk_full());
    file.set_len(4).unwrap();
    assert_eq!(disk.free_bytes(Path::new(DIR)).unwrap(), 6);
    drop(spare);
    disk.storage().remove_file(&path("b")).unwrap();
    file.write_at(4, vec![9; 106]).unwrap();
    assert!(file.write_at(110, vec![9]).unwrap_err().is_disk_full());
    assert!(file.failure().is_none());
}

#[test]
fn after_a_cut_old_handles_fail_and_locks_are_free() {
    let disk = disk();
    let file = durable_file(&disk, "a", b"old");
    let lock = disk.storage().lock(&path(".lock")).unwrap();
    assert_eq!(disk.lock(&path(".lock")).unwrap_err().kind(), ErrorKind::WouldBlock);
    let fresh = disk.power_cut(Loss::Everything);
    assert!(file.read_at(0, 3).is_err() && file.write_at(0, vec![0]).is_err());
    assert!(file.len().is_err() && disk.list(Path::new(DIR)).is_err());
    let retaken = fresh.storage().lock(&path(".lock")).unwrap();
    drop(lock);
    assert!(fresh.lock(&path(".lock")).is_err(), "the old lock's end frees nothing");
    drop(retaken);
    assert!(fresh.lock(&path(".lock")).is_ok());
    let reopened = fresh.storage().open(&path("a"), Open::Read).unwrap();
    assert!(reopened.write_at(0, vec![0]).is_err(), "opened to read only");
    assert_eq!(fresh.len(&Handle::Simulated(0)).unwrap_err().raw_os_error(), Some(9));
}

#[test]
fn a_cut_by_sectors_tears_pages_and_no_sectors() {
    let disk = disk();
    // 14 sectors, of which 7 lie in each of two pages.
    durable_file(&disk, "a", &[1; 8192]).write_at(512, vec![2; 7168]).unwrap();
    let torn_by = |loss| {
        let left = content(&disk.fork().power_cut(loss), "a").unwrap();
        assert!(left.chunks(512).all(|sector| sector == [1; 512] || sector == [2; 512]));
        let new = |page: &[u8]| page.chunks(512).filter(|sector| sector[0] == 2).count();
        left.chunks(4096).filter(|page| (1..7).contains(&new(page))).count()
    };
    let by_sectors: usize = (0..100).map(|seed| torn_by(Loss::Sectors(seed))).sum();
    let by_pages: usize = (0..100).map(|seed| torn_by(Loss::Random(seed))).sum();
    assert!(by_sectors > 50 && by_pages == 0, "pages torn: {by_sectors}, {by_pages}");
}

#[test]
fn a_killed_process_leaves_what_it_wrote() {
    let disk = disk();
    let file = durable_file(&disk, "a", b"old");
    let _lock = disk.storage().lock(&path(".lock")).unwrap();
    file.write_at(0, b"new".to_vec()).unwrap();
    disk.storage().rename(&path("a"), &path("b")).unwrap();
    disk.fail_sync(1);
    disk.power_off_after(0);
    assert!(file.write_at(0, b"not".to_vec()).is_err(), "it died before");
    let left = disk.kill();
    assert_eq!(content(&left, "b").unwrap(), b"new");
    assert!(left.lock(&path(".lock")).is_ok() && file.read_at(0, 3).is_err());
    assert_eq!(after_cut(&left, "a").unwrap(), b"old", "it is not durable yet");
    left.storage().open(&path("b"), Open::Write).unwrap().sync(SyncKind::All).unwrap();
    left.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(after_cut(&left, "b").unwrap(), b"new");
}

#[test]
fn a_fork_goes_its_own_way() {
    let disk = disk();
    let file = durable_file(&disk, "a", b"old");
    file.write_at(0, b"new".to_vec()).unwrap();
    let fork = disk.fork();
    file.write_at(0, b"NEW".to_vec()).unwrap();
    file.sync(SyncKind::Data).unwrap();
    assert_eq!(content(&fork, "a").unwrap(), b"new");
    assert_eq!(after_cut(&fork, "a").unwrap(), b"old");
    assert_eq!(after_cut(&disk, "a").unwrap(), b"NEW");
}

#[test]
fn ten_thousand_cuts_of_a_small_log_are_quick() {
    let disk = disk();
    let file = durable_file(&disk, "a", b"");
    for batch in 0..20u64 {
        file.write_at(batch * 300, vec![1 + batch as u8; 300]).unwrap();
        if batch == 9 {
            file.sync(SyncKind::Data).unwrap();
        }
    }
    for seed in 0..10_000 {
        let found = content(&disk.fork().power_cut(Loss::Random(seed)), "a").unwrap();
        assert!(found.len() >= 3000 && (0..3000).all(|at| found[at] == 1 + (at / 300) as u8));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Allocate(u64),
    Sync,
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = (0..20_000u64, 1..10_000usize, 1..=255u8);
    prop_oneof![
        4 => bytes.prop_map(|(at, len, byte)| Step::Write(at, vec![byte; len])),
        2 => (0..20_000u64).prop_map(Step::SetLen),
        1 => (0..20_000u64).prop_map(Step::Allocate),
        2 => Just(Step::Sync),
        1 => Just(Step::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Against two plain byte strings: the file as it is and as it is on the device.
    #[test]
    fn a_file_is_what_two_byte_strings_are(steps in prop::collection::vec(step(), 1..30)) {
        let mut disk = disk();
        let mut file = durable_file(&disk, "a", b"");
        let (mut now, mut durable) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Write(at, data) => {
                    now.resize(now.len().max(at as usize + data.len()), 0);
                    now[at as usize..at as usize + data.len()].copy_from_slice(&data);
                    file.write_at(at, data).unwrap();
                }
                Step::SetLen(len) => {
                    now.resize(len as usize, 0);
                    file.set_len(len).unwrap();
                }
                Step::Allocate(len) => {
                    now.resize(now.len().max(len as usize), 0);
                    file.allocate(len).unwrap();
                }
                Step::Sync => {
                    durable.clone_from(&now);
                    file.sync(SyncKind::Data).unwrap();
                }
                Step::PowerCut => {
                    disk = disk.power_cut(Loss::Everything);
                    file = disk.storage().open(&path("a"), Open::Write).unwrap();
                    now.clone_from(&durable);
                }
            }
            prop_assert_eq!(&content(&disk, "a").unwrap(), &now);
        }
        prop_assert_eq!(&after_cut(&disk, "a").unwrap(), &durable);
    }
}

/// What is written back waits in the device's cache for a sync of any file; blocks that are not durably the
/// file's wait for a sync of their own.
#[test]
fn what_is_written_back_is_durable_with_the_next_flush_where_its_blocks_are() {
    let (written, prepared, cut) = (vec![7; 4096], 2 * 4096, Loss::Everything);
    let made = |is_flushed: bool, grow: &dyn Fn(&File)| {
        let disk = ForgetfulDisk::new();
        let storage = disk.storage();
        let [file, other] = ["/a", "/b"].map(|path| storage.open(Path::new(path), Open::Create));
        let (file, other) = (file.unwrap(), other.unwrap());
        file.write_at(0, vec![0; prepared]).unwrap();
        storage.sync_all(&[file.clone(), other.clone()], SyncKind::Data);
        storage.sync_dir(Path::new("/")).unwrap();
        grow(&file);
        file.write_at(4096, written.clone()).unwrap();
        let position = 4096;
        let operation =
            Operation::WriteBack { file: file.state.handle.clone(), position, len: 4096 };
        disk.submit(vec![operation]).wait().remove(0).result.unwrap();
        if is_flushed {
            other.sync(SyncKind::Data).unwrap();
        }
        disk.power_cut(cut).storage().read(Path::new("/a"), 1 << 20).unwrap()
    };
    let overwritten = [vec![0; 4096], written.clone()].concat();
    assert_eq!(made(true, &|_| {}), overwritten);
    assert_eq!(made(false, &|_| {}), vec![0; prepared], "nothing flushed the device's cache");
    let cut_off = |file: &File| file.set_len(5000).unwrap();
    assert_eq!(made(true, &cut_off), vec![0; prepared], "the block was given up and taken anew");
    let again = |file: &File| {
        file.set_len(4096).unwrap();
        file.sync(SyncKind::Data).unwrap();
    };
    assert_eq!(made(true, &again), vec![0; 4096], "the length is not durable");
}
