//! Holds the payloads to what real records compress to. The targets were measured on real data, in
//! batches of 16 KiB (`harness.md` of the project's references): browser-compat records (JSON,
//! median 887 bytes), lines of a novel. One codec call a batch, as in the engine.

use super::{PayloadKind, Pool};

const BATCH: usize = 16 << 10;
const BATCHES: usize = 60;
/// Length, attributes, timestamp and offset deltas, null key, value length, header count.
const FRAMING: usize = 10;

/// Ratios of lz4 (level 1) and zstd (level 3).
fn ratios(kind: &PayloadKind, record_size: usize) -> (f64, f64) {
    let pool = Pool::small(kind, record_size, 42);
    let mut nth = 0;
    let (mut raw, mut lz4, mut zstd) = (0, 0, 0);
    for _ in 0..BATCHES {
        let mut batch = Vec::new();
        let mut in_batch = 0_u32;
        while batch.len() + FRAMING + record_size <= BATCH {
            let mut framing = [0, 0, 4, 0, 0, 1, 0xf0, 0x0f, 0, 0];
            framing[3..7].copy_from_slice(&in_batch.to_le_bytes());
            batch.extend_from_slice(&framing);
            batch.extend_from_slice(pool.record(nth));
            (nth, in_batch) = (nth + 1, in_batch + 1);
        }
        raw += batch.len();
        lz4 += lz4_flex::block::compress(&batch).len();
        zstd += zstd::bulk::compress(&batch, 3).unwrap().len();
    }
    (raw as f64 / lz4 as f64, raw as f64 / zstd as f64)
}

fn assert_near(what: &str, found: (f64, f64), target: (f64, f64)) {
    for (codec, found, target) in [("lz4", found.0, target.0), ("zstd", found.1, target.1)] {
        let off = found / target - 1.0;
        assert!(off.abs() <= 0.15, "{what}, {codec}: ratio {found:.2}, target {target:.2}");
    }
}

#[test]
fn json_compresses_like_browser_compat_records() {
    assert_near("json of 1 KiB", ratios(&PayloadKind::Json, 1024), (3.9, 5.6));
}

#[test]
fn text_compresses_like_lines_of_a_novel() {
    for size in [100, 1024] {
        assert_near("text", ratios(&PayloadKind::Text, size), (1.35, 2.05));
    }
}

#[test]
fn random_does_not_compress() {
    let (lz4, zstd) = ratios(&PayloadKind::Random, 1024);
    assert!((0.98..1.02).contains(&lz4) && (0.98..1.02).contains(&zstd), "{lz4:.3} {zstd:.3}");
}

/// What `docs/HARNESS.md` states of record sizes that have no target of their own.
#[test]
#[ignore = "prints the table of the docs"]
fn print_ratios() {
    for kind in [PayloadKind::Json, PayloadKind::Text, PayloadKind::Random] {
        for size in [100, 200, 500, 887, 1024, 2048, 4096] {
            let (lz4, zstd) = ratios(&kind, size);
            println!("{kind} {size}: lz4 {lz4:.2} zstd {zstd:.2}");
        }
    }
}
