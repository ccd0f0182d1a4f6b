//! Segments that are read from the mapped file: what readers hold stays what it is, whatever becomes of
//! the log.

use std::{path::Path, sync::Arc};

use super::bench::{Bench, NOW_MS, ROOT, batch, one, open_real, small};
use crate::{
    clock::ManualClock,
    io::{ForgetfulDisk, Loss, Open, PortableDisk, SyncKind},
    log::{Fetched, Isolation, LogConfig, PartitionLog, ReadError},
    segment::{Suffix, file_path},
    types::Offset,
};

/// Twelve batches, five a segment, on a disk that maps.
fn mapped() -> Bench {
    let disk = ForgetfulDisk::new();
    disk.map_files();
    let bench = Bench::open(&disk, Arc::new(ManualClock::new(NOW_MS)), config()).unwrap();
    bench.append_each(0..12);
    assert_eq!(bench.bases(), [0, 5, 10]);
    bench
}

fn fetch(bench: &Bench, offset: Offset) -> Fetched {
    bench.log.fetch(offset, 1 << 20, Isolation::LogEnd).unwrap()
}

/// Offsets of a fetch's batches, each of which must be sound.
fn offsets(fetched: &Fetched) -> Vec<Offset> {
    fetched.batches().map(|batch| batch.unwrap().header().base_offset).collect()
}

#[test]
fn sealed_segments_are_mapped_and_the_active_one_is_read() {
    let bench = mapped();
    let fetched = fetch(&bench, 3);
    assert!(fetched.is_mapped());
    assert_eq!((offsets(&fetched), fetched.next_offset()), (vec![3, 4], 5));
    let read = bench.disk.bytes_read();
    assert_eq!(offsets(&fetch(&bench, 0)), [0, 1, 2, 3, 4]);
    assert_eq!(offsets(&fetch(&bench, 4)), [4]);
    assert_eq!(bench.disk.bytes_read(), read, "not even to find the place");
    assert!(!fetch(&bench, 10).is_mapped());
    assert_eq!(bench.offsets(), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_is_larger_than_asked_for_comes_mapped_too() {
    let bench = mapped();
    let fetched = bench.log.fetch(2, 1, Isolation::LogEnd).unwrap();
    assert!(fetched.is_mapped());
    assert_eq!(offsets(&fetched), [2]);
}

/// With nobody who holds bytes of it the file is cut in place.
#[test]
fn a_cut_into_a_mapped_segment_leaves_what_readers_hold() {
    for held in [true, false] {
        let bench = mapped();
        let fetched = fetch(&bench, 0);
        let before = fetched.bytes().to_vec();
        let set = bench.log.segments.load_full();
        let fetched = held.then_some(fetched);
        let free = bench.storage().free_bytes(Path::new(ROOT)).unwrap();
        assert_eq!(bench.log.truncate_to(2).unwrap(), 2);
        if let Some(fetched) = &fetched {
            assert_eq!(fetched.bytes(), before);
            assert_eq!(offsets(fetched), [0, 1, 2, 3, 4]);
        }
        bench.append_each(2..4);
        let stale = set.as_slice()[0].read(0, u64::MAX, 1 << 20, true);
        let found = stale.map(|bytes| bytes.len() as u64 / one());
        // The old segment ends where it was cut where a copy goes on, and has what came since where it does.
        assert_eq!(found.unwrap(), if held { 2 } else { 4 });
        assert_eq!(fetched.as_ref().map(Fetched::bytes), held.then_some(&before[..]));
        assert_eq!(bench.offsets(), [0, 1, 2, 3]);
        assert!(bench.files(".cleaned").is_empty());
        assert!(bench.storage().free_bytes(Path::new(ROOT)).unwrap() >= free);
        // It is sealed and mapped anew.
        bench.append_each(4..6);
        assert!(fetch(&bench, 0).is_mapped());
        for bench in [bench.cut_power(Loss::Everything), mapped_again(held)] {
            assert_eq!(bench.offsets(), [0, 1, 2, 3, 4, 5]);
        }
    }
}

/// The same, killed.
fn mapped_again(held: bool) -> Bench {
    let bench = mapped();
    let fetched = fetch(&bench, 0);
    let fetched = held.then_some(fetched);
    bench.log.truncate_to(2).unwrap();
    bench.append_each(2..6);
    drop(fetched);
    bench.kill()
}

#[test]
fn the_power_may_go_at_any_step_of_a_cut_into_held_bytes() {
    let mut steps = 0;
    loop {
        let bench = mapped();
        let fetched = fetch(&bench, 0);
        bench.disk.power_off_after(steps);
        let outcome = bench.log.truncate_to(2);
        assert_eq!(offsets(&fetched), [0, 1, 2, 3, 4]);
        for loss in [Loss::Everything, Loss::Sectors(steps), Loss::Random(steps)] {
            let again =
                Bench::open(&bench.disk.power_cut(loss), bench.clock.clone(), bench.config.clone())
                    .unwrap();
            let found = again.offsets();
            let end = found.len() as Offset;
            assert!(found == (0..end).collect::<Vec<_>>() && (2..=12).contains(&end), "{found:?}");
            assert!(outcome.is_err() || end == 2, "{found:?}");
            assert!(again.log.damage().is_empty() && again.files(".cleaned").is_empty());
        }
        if outcome.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 15, "{steps}");
}

/// The owner cuts the log at damage in a segment that somebody reads.
#[test]
fn damage_is_cut_off_under_who_holds_the_bytes() {
    let bench = mapped();
    let path = file_path(bench.log.path(), 5, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    file.write_at(2 * one() + 70, vec![0xAA; 4]).unwrap();
    file.sync(SyncKind::All).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
    let fetched = fetch(&bench, 5);
    assert!(fetched.is_mapped());
    let before = fetched.bytes().to_vec();
    let cut = bench.log.cut_damage().unwrap().unwrap();
    assert_eq!((cut.offset, cut.kept_aside.len()), (7, 2));
    assert_eq!(fetched.bytes(), before);
    bench.append_each(7..9);
    assert_eq!(bench.offsets(), (0..9).collect::<Vec<_>>());
    drop(fetched);
    assert_eq!(bench.kill().offsets(), (0..9).collect::<Vec<_>>());
}

/// Another program may have the folder now, and cut what it likes.
#[test]
fn a_closed_log_maps_nothing_any_more() {
    for abandons in [false, true] {
        let bench = mapped();
        let fetched = fetch(&bench, 0);
        assert!(fetched.is_mapped() && fetch(&bench, 5).is_mapped());
        if abandons {
            bench.log.abandon();
        } else {
            bench.close();
        }
        assert!(!fetch(&bench, 0).is_mapped() && !fetch(&bench, 5).is_mapped());
        assert_eq!(offsets(&fetch(&bench, 3)), [3, 4], "reads go on");
        let mapped_len = |base| {
            let path = file_path(bench.log.path(), base, Suffix::Log);
            bench.storage().open(&path, Open::Read).unwrap().mapped_len().unwrap()
        };
        assert_eq!((mapped_len(0), mapped_len(5)), (5 * one(), 0), "but what somebody holds");
        assert_eq!(offsets(&fetched), [0, 1, 2, 3, 4]);
    }
}

/// A segment is lost; the one before it, of which somebody holds bytes, is appended to again, with space that is
/// prepared and given back.
#[test]
fn behind_a_gap_the_log_goes_on_in_a_segment_that_is_held() {
    let disk = ForgetfulDisk::new();
    disk.map_files();
    let config = LogConfig { prepare_bytes: 1 << 16, ..config() };
    let bench = Bench::open(&disk, Arc::new(ManualClock::new(NOW_MS)), config).unwrap();
    bench.append_each(0..12);
    bench.log.truncate_to(9).unwrap();
    bench.append_each(9..13);
    bench.storage().remove_file(&file_path(bench.log.path(), 5, Suffix::Log)).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
    let fetched = fetch(&bench, 0);
    assert!(fetched.is_mapped());
    bench.log.cut_damage().unwrap().unwrap();
    bench.append_each(5..25);
    assert_eq!(bench.log.truncate_to(3).unwrap(), 3);
    assert_eq!(offsets(&fetched), [0, 1, 2, 3, 4]);
    bench.append_each(3..12);
    bench.close();
    assert_eq!(bench.kill().offsets(), (0..12).collect::<Vec<_>>());
}

/// Someone reads on in a set of segments that a cut has overtaken.
#[test]
fn who_holds_the_old_segments_hears_of_the_cut() {
    let bench = mapped();
    let fetched = fetch(&bench, 0);
    let set = bench.log.segments.load_full();
    let view = set.as_slice()[0].view();
    bench.log.truncate_to(2).unwrap();
    let refused = view.read(0, u64::MAX, 1 << 20, true).map(|bytes| bytes.len());
    let refused = refused.map_err(ReadError::from);
    assert!(matches!(refused, Err(ReadError::Truncated { .. })), "{refused:?}");
    assert_eq!(set.as_slice()[0].len(), 2 * one());
    drop(fetched);
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 5 * one(), ..small() }
}

/// Real pages: were the file shortened under them, this process would be killed.
#[test]
fn held_bytes_outlive_cut_deletion_and_close_on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, log) = open_real(PortableDisk::new(), folder.path(), config());
    let append = |log: &PartitionLog, values: std::ops::Range<Offset>| {
        for value in values {
            let batches = vec![batch(&[&format!("{value:04}")])];
            let end = log.append(batches, 1).unwrap().end;
            log.commit(end).unwrap();
        }
    };
    append(&log, 0..12);
    let fetch = |log: &PartitionLog, offset| log.fetch(offset, 1 << 20, Isolation::LogEnd).unwrap();
    let held = [fetch(&log, 0), fetch(&log, 5)];
    assert!(held.iter().all(Fetched::is_mapped));
    let before = held.each_ref().map(|fetched| fetched.bytes().to_vec());
    log.truncate_to(7).unwrap();
    append(&log, 7..13);
    log.delete_records_before(5).unwrap();
    log.close().unwrap();
    dir.close().unwrap();
    drop((log, dir));
    assert_eq!(held.each_ref().map(|fetched| fetched.bytes().to_vec()), before);
    assert_eq!(offsets(&held[1]), [5, 6, 7, 8, 9]);
    // Another life in the same process, with bytes of the first one still held.
    let (dir, log) = open_real(PortableDisk::new(), folder.path(), config());
    log.truncate_to(6).unwrap();
    append(&log, 6..8);
    assert_eq!(offsets(&fetch(&log, 5)), [5, 6, 7]);
    assert_eq!(offsets(&held[1]), [5, 6, 7, 8, 9]);
    drop((log, dir));
    let (_dir, log) = open_real(PortableDisk::without_maps(), folder.path(), config());
    append(&log, 8..13);
    let read = fetch(&log, 5);
    assert!(!read.is_mapped());
    assert_eq!(offsets(&read), [5, 6, 7, 8, 9]);
}
