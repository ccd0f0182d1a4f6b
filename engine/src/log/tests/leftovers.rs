//! What a failed operation left behind, and what the next open makes of it.

use std::path::Path;

use super::bench::{Bench, NOW_MS, ROOT, build, one, small, transactional};
use crate::{
    clock::Clock,
    io::{Fault, FaultyDisk, Loss, Open},
    log::{
        LogConfig,
        checkpoint::{CLEAN_SHUTDOWN, read_clean_shutdown},
        folder::files_of,
        state::STATE_FILE,
    },
    record::{Marker, control_batch},
    segment::{Suffix, file_name, file_path},
    types::Offset,
};

/// Segments of five batches.
fn fives() -> Bench {
    Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() })
}

fn make_empty(bench: &Bench, base: Offset) {
    let path = file_path(bench.log.path(), base, Suffix::Log);
    bench.storage().open(&path, Open::Create).unwrap();
}

/// Flips a bit of the value in the batch at `offset`.
fn flip(bench: &Bench, offset: Offset) {
    let path = file_path(bench.log.path(), offset / 5 * 5, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    let at = (offset % 5 + 1) as u64 * one() - 2;
    let byte = file.read_exact_at(at, 1).unwrap()[0];
    file.write_at(at, vec![byte ^ 1]).unwrap();
}

/// A roll failed, and so did its clean-up; then the log went on below the new segment's base.
#[test]
fn an_empty_last_segment_that_the_log_has_overtaken_goes() {
    for (base, bases) in [(6, &[0, 5][..]), (7, &[0, 5]), (8, &[0, 5, 8])] {
        let bench = fives();
        bench.append_each(0..8);
        make_empty(&bench, base);
        let bench = bench.kill();
        assert!(bench.report.cut.is_none() && bench.report.damage.is_empty());
        assert_eq!((bench.bases(), bench.files(".log").len()), (bases.to_vec(), bases.len()));
        bench.append_each(8..12);
        assert_eq!(bench.cut_power(Loss::Everything).offsets(), (0..12).collect::<Vec<_>>());
    }
}

#[test]
fn an_empty_segment_between_two_others_goes() {
    for base in [3, 7] {
        let bench = fives();
        bench.append_each(0..12);
        make_empty(&bench, base);
        let bench = bench.kill();
        assert_eq!(bench.report.damage, []);
        assert_eq!((bench.bases(), bench.files(".log").len()), (vec![0, 5, 10], 3), "{base}");
        assert_eq!(bench.offsets(), (0..12).collect::<Vec<_>>());
    }
}

#[test]
fn an_empty_segment_behind_damage_is_no_damage_of_its_own() {
    let bench = fives();
    bench.append_each(0..12);
    flip(&bench, 6);
    make_empty(&bench, 20);
    let bench = bench.kill();
    let damaged: Vec<_> = bench.log.damage().iter().map(|range| range.offset).collect();
    assert_eq!(damaged, [6]);
}

#[test]
fn damage_that_ends_at_the_log_start_is_not_told_with_the_damage_behind_it() {
    let bench = fives();
    bench.append_each(0..8);
    bench.log.delete_records_before(2).unwrap();
    for offset in [1, 3] {
        flip(&bench, offset);
    }
    let bench = bench.kill();
    let damaged: Vec<_> = bench.log.damage().iter().map(|range| range.offset).collect();
    assert_eq!(damaged, [3], "{:?}", bench.report);
}

/// The log start came down with the cut; what the checkpoint said before would delete what came after.
#[test]
fn a_cut_below_the_log_start_is_where_the_log_begins_after_a_crash() {
    for loss in [Loss::Everything, Loss::Random(7)] {
        let bench = fives();
        bench.append_each(0..9);
        bench.log.delete_records_before(8).unwrap();
        assert_eq!(bench.log.truncate_to(6).unwrap(), 6);
        bench.append_each(6..8);
        let bench = bench.cut_power(loss);
        assert_eq!((bench.marks()[0], bench.offsets()), (6, vec![6, 7]));
    }
}

/// Only deleted records are left in the segment that is opened again: its indexes may be gone.
#[test]
fn a_cut_to_the_log_start_makes_lost_indexes_anew_and_any_other_refuses() {
    for (offset, is_made_anew) in [(7, true), (10, false)] {
        let bench = Bench::new(LogConfig { segment_bytes: 400, ..small() });
        for first in (0..15).step_by(3) {
            let values = [first, first + 1, first + 2].map(|offset| format!("{offset:04}"));
            bench.append(&values.each_ref().map(String::as_str));
        }
        bench.log.commit(15).unwrap();
        assert_eq!(bench.bases(), [0, 12]);
        bench.log.delete_records_before(6).unwrap();
        let index = bench.log.path().join(file_name(0, Suffix::TxnIndex));
        let file = bench.storage().open(&index, Open::Create).unwrap();
        file.write_at(0, vec![7; 33]).unwrap();
        // The batch from 6 to 8 goes whole.
        let cut = bench.log.truncate_to(offset);
        assert_eq!(cut.is_ok(), is_made_anew, "{cut:?}");
        if is_made_anew {
            assert_eq!(bench.marks()[0], 6);
            bench.append_each(6..8);
            assert_eq!(bench.kill().offsets(), [6, 7]);
        }
    }
}

#[test]
fn an_error_is_not_taken_for_a_missing_file() {
    let bench = fives();
    bench.append_each(0..12);
    bench.close();
    let first = bench.log.segments.load().first().unwrap().clone();
    for call in 1..12 {
        let disk = FaultyDisk::new(bench.disk.fork());
        disk.plan(call, Fault::Io);
        let marker = read_clean_shutdown(&disk.storage(), Path::new(ROOT));
        assert!(marker.is_err() || marker.is_ok_and(|it| it.is_some()), "{call}");
        let disk = FaultyDisk::new(bench.disk.fork());
        disk.plan(call, Fault::Io);
        let files = files_of(&disk.storage(), &first);
        assert!(files.is_err() || files.is_ok_and(|files| files.len() == 3), "{call}");
    }
    assert!(bench.storage().exists(&Path::new(ROOT).join(CLEAN_SHUTDOWN)).unwrap());
}

/// The transaction began in a segment that is gone, and so is the snapshot that knew of it.
#[test]
fn a_crash_keeps_what_only_an_index_knows_of_a_transaction() {
    let bench = fives();
    bench.append_each(0..3);
    bench.log.append(vec![build(transactional(3, 0), NOW_MS, &["0003"])], 1).unwrap();
    bench.append_each(4..8);
    bench.log.append(vec![control_batch(Marker::Abort, 3, 0, 0, NOW_MS)], 1).unwrap();
    bench.append_each(9..10);
    bench.log.delete_records_before(6).unwrap();
    bench.log.step(bench.clock.monotonic()).unwrap();
    assert_eq!(bench.bases()[0], 5, "where it began is gone");
    let ranges = |bench: &Bench| -> Vec<(Offset, Offset)> {
        let aborted = bench.log.aborted_transactions(6, 10).unwrap();
        aborted.iter().map(|it| (it.first_offset, it.last_offset)).collect()
    };
    let known = ranges(&bench);
    assert_eq!(known, [(3, 8)]);
    for name in bench.files(".snapshot") {
        bench.storage().remove_file(&bench.log.path().join(name)).unwrap();
    }
    bench.storage().remove_file(&Path::new(ROOT).join(STATE_FILE)).unwrap();
    let bench = bench.kill();
    assert!(!bench.report.clean);
    assert_eq!(ranges(&bench), known);
}
