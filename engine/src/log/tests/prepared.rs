//! Zeros that are written ahead of the batches of a durable log.

use std::path::Path;

use super::bench::{Bench, ROOT, batch, small};
use crate::{
    io::{Loss, Open, SyncKind},
    log::{Isolation, LogConfig},
    segment::{Suffix, file_path},
    types::{Durability, Offset},
};

const BLOCK: u64 = 4096;

fn prepared() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, prepare_bytes: 2 * BLOCK, ..small() }
}

fn bytes_of(bench: &Bench, base: Offset) -> Vec<u8> {
    let path = file_path(bench.log.path(), base, Suffix::Log);
    let file = bench.storage().open(&path, Open::Read).unwrap();
    file.read_exact_at(0, file.len().unwrap() as usize).unwrap()
}

/// Batches of about 400 bytes, committed, until the log has `upto` bytes.
fn fill(bench: &Bench, upto: u64) {
    let value = "x".repeat(320);
    while bench.log.size().1 < upto {
        let end = bench.log.append(vec![batch(&[&value])], 1).unwrap().end;
        bench.log.commit(end).unwrap();
    }
}

#[test]
fn zeros_stand_ahead_of_the_batches_as_far_as_these_have_come_up_to_a_limit() {
    let bench = Bench::new(prepared());
    let mut lens = Vec::new();
    for _ in 0..200 {
        fill(&bench, bench.log.size().1 + 1);
        let (len, bytes) = (bench.log.size().1, bytes_of(&bench, 0));
        let ahead = bytes.len() as u64 - len;
        assert!((bytes.len() as u64).is_multiple_of(BLOCK), "{len} of {}", bytes.len());
        assert!(ahead <= 3 * BLOCK, "{len} of {}", bytes.len());
        assert!(bytes[len as usize..].iter().all(|byte| *byte == 0));
        lens.push(bytes.len());
    }
    lens.dedup();
    assert!(lens.len() < 20, "most appends overwrite: {lens:?}");
    let len = bench.log.size().1;
    bench.close();
    assert_eq!(bytes_of(&bench, 0).len() as u64, len, "Kafka's shape");
}

#[test]
fn a_roll_gives_the_rest_back() {
    let bench = Bench::new(LogConfig { segment_bytes: 6000, ..prepared() });
    fill(&bench, 20_000);
    let bases = bench.bases();
    for (place, base) in bases.iter().enumerate().take(bases.len() - 1) {
        let len = bench.log.segments.load().as_slice()[place].len();
        assert_eq!(bytes_of(&bench, *base).len() as u64, len);
    }
    let end = bench.log.watermarks().log_end;
    for loss in [Loss::Everything, Loss::Random(1), Loss::Sectors(2)] {
        let disk = bench.disk.power_cut(loss);
        let again = Bench::open(&disk, bench.clock.clone(), bench.config.clone()).unwrap();
        let report = &again.report;
        assert!(report.cut.is_none() && report.damage.is_empty(), "{report:?}");
        assert_eq!(again.log.watermarks().log_end, end);
    }
}

#[test]
fn where_nobody_waits_for_a_sync_nothing_is_prepared() {
    let durability = Durability::Written;
    let bench = Bench::new(LogConfig { durability, ..prepared() });
    fill(&bench, 10_000);
    assert_eq!(bytes_of(&bench, 0).len() as u64, bench.log.size().1);
}

#[test]
fn a_full_disk_has_room_for_batches_before_zeros() {
    let bench = Bench::new(prepared());
    fill(&bench, 5_000);
    let len = bytes_of(&bench, 0).len() as u64;
    bench.disk.fill_up(700);
    fill(&bench, len + 300);
    assert!(bytes_of(&bench, 0).len() as u64 <= len + 700);
    let end = bench.log.watermarks().log_end;
    let value = "x".repeat(320);
    let full = loop {
        if let Err(error) = bench.log.append(vec![batch(&[&value])], 1) {
            break error;
        }
    };
    assert!(full.is_disk_full(), "{full}");
    bench.disk.fill_up(1 << 20);
    fill(&bench, len + 3000);
    let bench = bench.kill();
    assert!(bench.log.watermarks().log_end > end && bench.report.cut.is_none());
}

/// As many zeros as were ahead are neither damage of their own nor kept aside.
#[test]
fn rot_before_the_zeros_is_told_alone() {
    let config = LogConfig { segment_bytes: 6000, prepare_bytes: 64 * BLOCK, ..small() };
    let bench = Bench::new(config);
    fill(&bench, 16_000);
    let (first, last) = (bench.bases()[1], *bench.bases().last().unwrap());
    let path = file_path(bench.log.path(), first, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    file.write_at(100, vec![0xAA; 4]).unwrap();
    file.sync(SyncKind::All).unwrap();
    let zeros = bytes_of(&bench, last).iter().rev().take_while(|byte| **byte == 0).count() as u64;
    assert!(zeros > BLOCK / 2, "{zeros}");
    let bench = bench.kill();
    assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
    let free = bench.storage().free_bytes(Path::new(ROOT)).unwrap();
    let cut = bench.log.cut_damage().unwrap().unwrap();
    assert!(cut.bytes < 16_000 && !cut.kept_aside.is_empty(), "{cut:?}");
    assert!(bench.storage().free_bytes(Path::new(ROOT)).unwrap() + 16_000 > free);
}

/// A batch of which only the first page came: the rest of its place has the zeros from before.
#[test]
fn a_batch_torn_within_the_zeros_is_cut_off() {
    let bench = Bench::new(prepared());
    fill(&bench, 9_000);
    let end = bench.log.watermarks().log_end;
    let large = "y".repeat(6000);
    bench.log.append(vec![batch(&[&large])], 1).unwrap();
    let mut torn = 0;
    for seed in 0..60 {
        let disk = bench.disk.power_cut(Loss::Random(seed));
        let again = Bench::open(&disk, bench.clock.clone(), bench.config.clone()).unwrap();
        assert!(again.log.watermarks().log_end >= end && again.log.damage().is_empty());
        if let Some(cut) = &again.report.cut {
            assert!((1..=6000 + 2 * BLOCK).contains(&cut.bytes), "{cut:?}");
            torn += 1;
        }
        again.append(&["after"]);
        let fetched = again.log.fetch(end, 1 << 20, Isolation::LogEnd).unwrap();
        assert!(fetched.batches().all(|batch| batch.is_ok()));
    }
    assert!(torn > 5, "{torn}");
}
