use std::{thread, time::Duration};

use super::*;
use crate::io::{Loss, SyncKind};

#[test]
fn calls_are_held_back_until_they_are_let_go() {
    let disk = FaultyDisk::new(ForgetfulDisk::new());
    let file = disk.storage().open(Path::new("/a"), Open::CreateNew).unwrap();
    assert!(!disk.wait_held(Duration::from_mins(1)), "nothing is to be held");
    disk.hold(Verb::Sync);
    assert!(!disk.wait_held(Duration::ZERO), "nobody has called");
    file.write_at(0, vec![1]).unwrap();
    thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync(SyncKind::Data));
        assert!(disk.wait_held(Duration::from_mins(1)));
        assert!(!sync.is_finished());
        let kept = disk.below().fork().power_cut(Loss::Everything);
        assert!(kept.storage().open(Path::new("/a"), Open::Read).is_err(), "not durable");
        disk.let_go();
        sync.join().unwrap().unwrap();
    });
    file.sync(SyncKind::Data).unwrap();
}

#[test]
fn a_fault_strikes_the_call_that_it_is_planned_for_and_the_trace_tells_calls_apart() {
    let run = |value: u8, faults: &[(u64, Fault)]| {
        let disk = FaultyDisk::new(ForgetfulDisk::new());
        disk.keep_verbs();
        for (call, fault) in faults {
            disk.plan(*call, *fault);
        }
        let file = disk.storage().open(Path::new("/a"), Open::CreateNew).unwrap();
        let write = file.write_at(0, vec![value; 9000]).map(drop);
        let read = file.read_at(0, 9000);
        (disk, write, read)
    };
    let (disk, ..) = run(1, &[]);
    assert_eq!(disk.verbs(), [Verb::Open, Verb::Write, Verb::Read]);
    assert_eq!((disk.calls(), run(1, &[]).0.trace()), (3, disk.trace()), "the same calls");
    assert_ne!(run(2, &[]).0.trace(), disk.trace(), "other bytes");
    for (fault, len, is_told) in [
        (Fault::Io, 0, true),
        (Fault::Short, 4500, true),
        (Fault::ShortThenIo, 4500, true),
        (Fault::DoneThenIo, 9000, true),
        (Fault::Lost, 0, false),
        (Fault::Misdirected, 13_096, false),
        (Fault::Flipped, 9000, false),
    ] {
        let (disk, write, _) = run(1, &[(2, fault)]);
        let found = disk.below().storage().read(Path::new("/a"), 1 << 20).unwrap();
        assert_eq!((found.len(), write.is_err()), (len, is_told), "{fault:?}");
        assert_eq!(disk.struck(), [(Verb::Write, fault)]);
    }
    let (disk, ..) = run(1, &[(1, Fault::Misdirected), (3, Fault::NoSpace)]);
    assert!(disk.struck().is_empty(), "these calls cannot fail so");
}

#[test]
fn what_is_done_and_then_denied_is_done() {
    let disk = FaultyDisk::new(ForgetfulDisk::new());
    let storage = disk.storage();
    let (a, b) = (Path::new("/a"), Path::new("/b"));
    let denied = || disk.plan(disk.calls() + 1, Fault::DoneThenIo);
    denied();
    assert!(storage.open(a, Open::CreateNew).is_err());
    let file = storage.open(a, Open::Write).unwrap();
    denied();
    assert!(file.write_at(0, vec![1; 100]).is_err());
    assert_eq!(disk.below().storage().read(a, 1000).unwrap().len(), 100);
    denied();
    assert!(storage.rename(a, b).is_err());
    denied();
    assert!(storage.sync_dir(Path::new("/")).is_err());
    let left = disk.below().power_cut(Loss::Everything).storage();
    assert!(left.exists(b).unwrap() && !left.exists(a).unwrap());
    assert_eq!(disk.struck().len(), 4);
}

#[test]
fn any_bit_may_flip_and_a_write_may_go_either_way() {
    let mut flipped = std::collections::BTreeSet::new();
    let mut lens = std::collections::BTreeSet::new();
    for call in 2..60 {
        for fault in [Fault::Flipped, Fault::Misdirected] {
            let disk = FaultyDisk::new(ForgetfulDisk::new());
            let file = disk.storage().open(Path::new("/a"), Open::CreateNew).unwrap();
            (2..call).for_each(|_| drop(file.read_at(0, 1)));
            disk.plan(call, fault);
            file.write_at(PAGE, vec![0; 512]).unwrap();
            let found = disk.below().storage().read(Path::new("/a"), 1 << 20).unwrap();
            if fault == Fault::Flipped {
                let at = found.iter().position(|byte| *byte != 0).expect("a bit is another");
                assert_eq!(found.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
                flipped.insert((at, found[at]));
            } else {
                lens.insert(found.len());
            }
        }
    }
    assert!(flipped.len() > 40, "{flipped:?}");
    assert_eq!(lens.into_iter().collect::<Vec<_>>(), [512, 2 * 4096 + 512]);
}

#[test]
fn a_sync_that_fails_half_way_makes_some_sectors_durable_and_no_later_sync_the_others() {
    let mut kept = std::collections::BTreeSet::new();
    for value in 0..40 {
        let disk = FaultyDisk::new(ForgetfulDisk::new());
        let path = Path::new("/a");
        let file = disk.storage().open(path, Open::CreateNew).unwrap();
        disk.storage().sync_dir(Path::new("/")).unwrap();
        file.write_at(0, vec![value + 1; 2048]).unwrap();
        disk.plan(disk.calls() + 1, Fault::ShortThenIo);
        assert!(file.sync(SyncKind::All).is_err());
        assert_eq!(file.read_exact_at(0, 2048).unwrap(), [value + 1; 2048], "reads show it");
        disk.storage().open(path, Open::Write).unwrap().sync(SyncKind::All).unwrap();
        let after = disk.below().power_cut(Loss::Everything).storage();
        let sectors = after.read(path, 1 << 20).unwrap();
        kept.insert(sectors.chunks(512).map(|it| it[0] != 0).collect::<Vec<_>>());
    }
    assert!(kept.len() > 5, "any of them: {kept:?}");
    assert!(kept.iter().any(|it| it.contains(&false)) && kept.iter().any(|it| it.contains(&true)));
}
