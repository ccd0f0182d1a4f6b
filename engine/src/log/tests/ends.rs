//! Where a recovery finds the end of a log.

use super::bench::{Bench, one, small};
use crate::{
    io::{Loss, Open},
    log::LogConfig,
    segment::{SEALS_FILE, Suffix, file_name},
    types::Offset,
};

/// What was never durable, but was written, is there after the process died; only the torn batch goes.
#[test]
fn a_torn_tail_behind_deleted_records_takes_nothing_along() {
    let bench = Bench::new(LogConfig { segment_bytes: 4_000, ..small() });
    bench.append_each(0..5);
    bench.log.delete_records_before(5).unwrap();
    for value in 5..9 {
        bench.append(&[&format!("{value:04}")]);
    }
    let path = bench.log.path().join(file_name(0, Suffix::Log));
    bench.storage().open(&path, Open::Write).unwrap().set_len(9 * one() - 3).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.report.cut.as_ref().map(|cut| cut.offset), Some(8), "{:?}", bench.report);
    assert_eq!(bench.offsets(), [5, 6, 7]);
}

/// A roll trims the file before; a power cut may take the trimming and leave the next segment.
#[test]
fn reserved_space_whose_trimming_was_lost_is_trimmed_again() {
    let config = LogConfig { preallocate: true, segment_bytes: 5 * one(), ..small() };
    let bench = Bench::new(config);
    bench.append_each(0..5);
    bench.checkpoint();
    bench.append_each(5..7);
    assert_eq!(bench.bases(), [0, 5]);
    let path = bench.log.path().join(file_name(0, Suffix::Log));
    let len =
        |storage: &crate::io::Storage| storage.open(&path, Open::Read).unwrap().len().unwrap();
    bench.storage().open(&path, Open::Write).unwrap().set_len(6 * one()).unwrap();
    bench.storage().remove_file(&bench.log.path().join(SEALS_FILE)).unwrap();
    let bench = bench.kill();
    assert_eq!(len(&bench.storage()), 5 * one(), "{:?}", bench.report);
    assert_eq!(bench.offsets(), (0..7).collect::<Vec<_>>());
}

/// Cleaning that Kafka finished and did not get round to name: `LogLoader` takes it, and so do we.
#[test]
fn a_finished_cleaning_takes_its_place_for_good() {
    for (segment_bytes, base) in [(5 * one(), 5), (1 << 20, 0)] {
        a_cleaning_takes_its_place(segment_bytes, base);
    }
}

/// That of the segment at `base`, which may be the only one.
fn a_cleaning_takes_its_place(segment_bytes: u64, base: Offset) {
    let config = LogConfig { segment_bytes, compacted: true, ..small() };
    let bench = Bench::new(config);
    bench.append_each(0..12);
    bench.close();
    let (storage, dir) = (bench.storage(), bench.log.path().to_owned());
    for suffix in [Suffix::Log, Suffix::Index, Suffix::TimeIndex] {
        let live = dir.join(file_name(base, suffix));
        let mut swap = live.clone().into_os_string();
        swap.push(".swap");
        storage.rename(&live, swap.as_ref()).unwrap();
    }
    storage.sync_dir(&dir).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.offsets(), (0..12).collect::<Vec<_>>());
    assert!(bench.files(".swap").is_empty());
    let bench = bench.cut_power(Loss::Everything);
    assert_eq!(bench.offsets(), (0..12).collect::<Vec<_>>());
}

/// A seal, and our own state, know where a log ended that was closed.
#[test]
fn a_batch_that_is_missing_after_a_clean_close_is_missed() {
    for sealed in [true, false] {
        let bench = Bench::new(LogConfig { segment_bytes: 4_000, ..small() });
        bench.append_each(0..6);
        bench.close();
        let path = bench.log.path().join(file_name(0, Suffix::Log));
        bench.storage().open(&path, Open::Write).unwrap().set_len(5 * one()).unwrap();
        if !sealed {
            bench.storage().remove_file(&bench.log.path().join(SEALS_FILE)).unwrap();
        }
        let bench = bench.kill();
        assert!(!bench.report.clean);
        let found: Vec<_> = bench.report.damage.iter().map(|range| range.offset).collect();
        assert_eq!(found, [5], "{:?}", bench.report);
    }
}
