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
