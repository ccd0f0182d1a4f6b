//! Where a recovery finds the end of a log.

use super::bench::{Bench, one, small};
use crate::{
    io::Open,
    log::LogConfig,
    segment::{SEALS_FILE, Suffix, file_name},
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
