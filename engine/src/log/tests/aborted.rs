//! The aborted transactions of a folder that Kafka closed, whose index of them has no checksum.

use std::path::Path;

use super::bench::{Bench, NOW_MS, ROOT, build, one, small, transactional};
use crate::{
    io::Open,
    log::{LogConfig, state::STATE_FILE},
    record::{Marker, control_batch},
    segment::{SEALS_FILE, Suffix, file_name},
    types::Offset,
};

/// Two aborted transactions: one within the first segment, and one that ends in the next, which is not the
/// last. Closed, and nothing of ours beside it.
fn closed_by_kafka() -> Bench {
    let bench = Bench::new(LogConfig { segment_bytes: 300, ..small() });
    for (sequence, value) in ["0", "2", "3"].into_iter().enumerate() {
        let settings = transactional(3, sequence as i32);
        bench.log.append(vec![build(settings, NOW_MS, &[value])], 1).unwrap();
        if value != "2" {
            bench.log.append(vec![control_batch(Marker::Abort, 3, 0, 0, NOW_MS)], 1).unwrap();
        }
    }
    bench.append_each(5..9);
    assert_eq!(bench.bases(), [0, 4, 8]);
    bench.close();
    for ours in [bench.log.path().join(SEALS_FILE), Path::new(ROOT).join(STATE_FILE)] {
        bench.storage().remove_file(&ours).unwrap();
    }
    bench
}

fn ranges(bench: &Bench) -> Vec<(Offset, Offset)> {
    let aborted = bench.log.aborted_transactions(0, 9).unwrap();
    aborted.iter().map(|it| (it.first_offset, it.last_offset)).collect()
}

#[test]
fn the_batches_are_believed_over_an_index_without_a_checksum() {
    // Before the first record there are no producers, whether a snapshot says so or not.
    for (base, removed) in [(0, None), (0, Some(0)), (4, None)] {
        let bench = closed_by_kafka();
        if let Some(removed) = removed {
            let snapshot = bench.log.path().join(format!("{removed:020}.snapshot"));
            bench.storage().remove_file(&snapshot).unwrap();
        }
        // The low byte of the first entry's first offset.
        let path = bench.log.path().join(file_name(base, Suffix::TxnIndex));
        let file = bench.storage().open(&path, Open::Write).unwrap();
        assert_eq!(file.len().unwrap(), 34);
        file.write_at(17, vec![if base == 0 { 1 } else { 3 }]).unwrap();
        let bench = bench.kill();
        assert!(bench.report.clean);
        assert_eq!(ranges(&bench), [(0, 1), (2, 4)], "{base}, {removed:?}");
    }
}

/// The segment that is appended to has no seal either: its index is put right before it is gone on with.
#[test]
fn the_last_segments_index_is_put_right_by_the_batches() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    bench.append_each(0..2);
    bench.log.append(vec![build(transactional(3, 0), NOW_MS, &["2"])], 1).unwrap();
    bench.log.append(vec![control_batch(Marker::Abort, 3, 0, 0, NOW_MS)], 1).unwrap();
    bench.append_each(4..6);
    assert_eq!(ranges(&bench), [(2, 3)]);
    bench.close();
    for ours in [bench.log.path().join(SEALS_FILE), Path::new(ROOT).join(STATE_FILE)] {
        bench.storage().remove_file(&ours).unwrap();
    }
    let path = bench.log.path().join(file_name(0, Suffix::TxnIndex));
    let sound = bench.storage().read(&path, 1 << 10).unwrap();
    let file = bench.storage().open(&path, Open::Write).unwrap();
    file.write_at(17, vec![1]).unwrap();
    let bench = bench.kill();
    assert!(bench.report.clean);
    assert_eq!(ranges(&bench), [(2, 3)]);
    assert_eq!(bench.storage().read(&path, 1 << 10).unwrap(), sound);
}

/// Where a transaction began before a segment, only the producers' snapshot tells it.
#[test]
fn without_a_snapshot_the_index_of_a_later_segment_is_all_there_is() {
    let bench = closed_by_kafka();
    for name in bench.files(".snapshot") {
        bench.storage().remove_file(&bench.log.path().join(name)).unwrap();
    }
    let bench = bench.kill();
    assert!(bench.report.clean);
    assert_eq!(ranges(&bench), [(0, 1), (2, 4)]);
}

/// The live batches of a segment whose deleted ones are damaged get a segment of their own, which begins
/// without an index.
#[test]
fn what_is_dug_out_of_a_damaged_segment_knows_its_aborted_transactions() {
    let config = LogConfig { segment_bytes: 4_000, index_interval_bytes: 1 << 20, ..small() };
    let bench = Bench::new(config);
    bench.append_each(0..12);
    let settings = transactional(3, 0);
    bench.log.append(vec![build(settings, NOW_MS, &["0012"])], 1).unwrap();
    bench.log.append(vec![control_batch(Marker::Abort, 3, 0, 0, NOW_MS)], 1).unwrap();
    bench.append_each(14..17);
    bench.log.delete_records_before(12).unwrap();
    bench.checkpoint();
    // The length of the batch at 11: no walk from the segment's begin comes past it.
    let path = bench.log.path().join(file_name(0, Suffix::Log));
    let file = bench.storage().open(&path, Open::Write).unwrap();
    file.write_at(11 * one() + 8, vec![0x7F]).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.report.deleted_damage.len(), 1, "{:?}", bench.report);
    assert_eq!(bench.bases(), [12]);
    let aborted = bench.log.aborted_transactions(12, 17).unwrap();
    assert_eq!(aborted.iter().map(|it| it.first_offset).collect::<Vec<_>>(), [12]);
}
