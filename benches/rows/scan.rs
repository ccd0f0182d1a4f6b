//! A warm log read from end to end, each batch's checksum verified.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
};

use trunkline::{
    log::{Isolation, PartitionLog},
    record::Batch,
};

use super::append::{append_again, written_log};
use crate::{
    mapped::map,
    pairs::{Group, Work, timed},
    sealed,
};

/// Batches that are read.
pub const BATCHES: usize = 8192;
/// Records of each.
pub const RECORDS: usize = 16;
/// Bytes that are asked for at a time.
pub const FETCH_BYTES: usize = 1 << 20;

/// The group's name.
pub const NAME: &str = "scan warm, 1024 B x 16";

fn check_all(bytes: &[u8]) -> usize {
    let (mut at, mut batches) = (0, 0);
    while at < bytes.len() {
        at += Batch::check(&bytes[at..]).expect("a valid batch").header().total_bytes();
        batches += 1;
    }
    batches
}

/// A log whose first, sealed segment is to be read: the segment's path, and what is in it.
pub fn scanned(folder: &Path) -> (PartitionLog, PathBuf, Work) {
    let batch = sealed(RECORDS, 1024);
    let bytes = (BATCHES * batch.len()) as u64;
    let log = written_log(folder, bytes);
    let mut spare = Some(batch);
    // The last one begins the next segment.
    for _ in 0..=BATCHES {
        append_again(&log, &mut spare);
    }
    let path = folder.join("bench-0/00000000000000000000.log");
    (log, path, Work { bytes, units: BATCHES as u64, unit: "batches" })
}

/// The mapped file, and the engine.
pub fn group(folder: &Path) -> Group<'static> {
    let (log, path, work) = scanned(&folder.join("scan"));
    let file = fs::File::open(&path).expect("opens");
    let mut group = Group::new(NAME, work);
    let map = map(&file).expect("maps");
    group.row("limit: mapped, CRC32C", move || {
        timed(|| assert_eq!(check_all(black_box(&map)), BATCHES))
    });
    group.row("trunkline", move || {
        timed(|| {
            let (mut offset, mut batches) = (0, 0);
            let end = (BATCHES * RECORDS) as i64;
            while offset < end {
                let fetched = log.fetch(offset, FETCH_BYTES, Isolation::LogEnd).expect("reads");
                for batch in fetched.batches() {
                    black_box(batch.expect("valid"));
                    batches += 1;
                }
                offset = fetched.next_offset();
            }
            assert_eq!(batches, BATCHES);
        })
    });
    group
}
