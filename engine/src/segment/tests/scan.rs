//! Scans of whole, torn and rotten logs.

use super::*;
use crate::segment::{Scan, ScanStart, scan};

struct Log {
    folder: Folder,
    starts: Vec<u64>,
}

impl Log {
    fn of(batches: &[SealedBatch]) -> Self {
        let folder = Folder::new(4096);
        let lens = batches.iter().map(|batch| batch.bytes().len() as u64);
        let starts = lens.scan(0, |end, len| Some(std::mem::replace(end, *end + len))).collect();
        let bytes: Vec<u8> = batches.iter().flat_map(|b| b.bytes().to_vec()).collect();
        folder.overwrite(0, Suffix::Log, &bytes);
        Self { folder, starts }
    }

    fn bytes(&self) -> Vec<u8> {
        self.folder.bytes(0, Suffix::Log)
    }

    /// Scans `bytes` in place of the log.
    fn scan(&self, bytes: &[u8], gaps_allowed: bool) -> Scan {
        self.folder.overwrite(0, Suffix::Log, bytes);
        let path = file_path(&self.folder.dir, 0, Suffix::Log);
        let file = self.folder.storage.open(&path, Open::Read).unwrap();
        let start = ScanStart { position: 0, expected_offset: 0 };
        let mut seen = 0;
        let found = scan(&file, rule(gaps_allowed), start, u64::MAX, |position, batch| {
            assert_eq!(position, seen);
            seen += batch.bytes().len() as u64;
        });
        let found = found.unwrap();
        assert_eq!(found.valid_end, seen);
        found
    }
}

#[test]
fn a_whole_log_is_read_to_its_end() {
    let log = Log::of(&plain_batches(40, 100_000));
    let found = log.scan(&log.bytes(), false);
    let len = log.bytes().len() as u64;
    assert_eq!(found, Scan { valid_end: len, next_offset: 80, damage: None });
}

#[test]
fn a_scan_begins_and_ends_where_it_is_told() {
    let log = Log::of(&plain_batches(10, 50));
    let path = file_path(&log.folder.dir, 0, Suffix::Log);
    let file = log.folder.storage.open(&path, Open::Read).unwrap();
    let start = ScanStart { position: log.starts[4], expected_offset: 8 };
    let mut bases = Vec::new();
    let on_batch = |_, batch: &crate::record::Batch<'_>| bases.push(batch.header().base_offset);
    let found = scan(&file, rule(false), start, log.starts[7], on_batch).unwrap();
    assert_eq!(found, Scan { valid_end: log.starts[7], next_offset: 14, damage: None });
    assert_eq!(bases, [8, 10, 12]);
    let start = ScanStart { position: log.starts[4], expected_offset: 9 };
    let found = scan(&file, rule(false), start, u64::MAX, |_, _| ()).unwrap();
    let damage = found.damage.unwrap();
    assert_eq!((damage.corruption.what, damage.corruption.found.as_str()), ("base offset", "8"));
    assert_eq!(damage.resumes_at.map(|(position, _)| position), Some(log.starts[5]));
}

#[test]
fn every_cut_is_a_torn_tail() {
    let log = Log::of(&plain_batches(4, 10));
    let bytes = log.bytes();
    for len in 0..bytes.len() {
        let found = log.scan(&bytes[..len], false);
        let whole = log.starts.iter().rposition(|start| *start <= len as u64).unwrap();
        assert_eq!((found.valid_end, found.next_offset), (log.starts[whole], whole as i64 * 2));
        match found.damage {
            None => assert_eq!(found.valid_end, len as u64),
            Some(damage) => {
                assert!(damage.is_torn_tail());
                assert_eq!(damage.position, found.valid_end);
                assert_eq!(damage.valid_after_end, found.valid_end);
            }
        }
    }
}

#[test]
fn reserved_zeros_are_told_from_garbage() {
    let log = Log::of(&plain_batches(4, 10));
    let good = log.bytes();
    for zeros in [1, 60, 61, 100, 3 << 20] {
        let damage = log.scan(&[&good[..], &vec![0; zeros]].concat(), false).damage.unwrap();
        assert!(damage.all_zero && damage.is_torn_tail(), "{zeros} zeros");
    }
    let mut tail = vec![0; 3 << 20];
    *tail.last_mut().unwrap() = 1;
    let damage = log.scan(&[&good[..], &tail].concat(), false).damage.unwrap();
    assert!(!damage.all_zero && damage.is_torn_tail());
}

#[test]
fn batches_behind_a_flipped_bit_are_found() {
    let log = Log::of(&plain_batches(8, 20));
    let good = log.bytes();
    let (start, next) = (log.starts[3], log.starts[4]);
    for bit in start * 8..next * 8 {
        let mut bytes = good.clone();
        bytes[bit as usize / 8] ^= 1 << (bit % 8);
        let found = log.scan(&bytes, false);
        if (12..16).contains(&(bit / 8 - start)) {
            assert_eq!(found.damage, None); // the leader epoch
            continue;
        }
        let damage = found.damage.unwrap();
        assert_eq!((found.valid_end, found.next_offset, damage.position), (start, 6, start));
        let (position, header) = damage.resumes_at.unwrap();
        // A base offset that only jumps ahead leaves a batch whose CRC is good.
        let jumps = position == start && header.base_offset > 6;
        assert!(jumps || (position, header.base_offset) == (next, 8), "bit {bit}");
        assert_eq!(damage.valid_after_end, good.len() as u64);
        let lost = if jumps { 0 } else { next - start };
        assert_eq!(damage.valid_after_bytes, good.len() as u64 - start - lost);
    }
}

#[test]
fn valid_batches_are_counted_over_several_damages() {
    let log = Log::of(&plain_batches(8, 20));
    let mut bytes = log.bytes();
    for n in [2, 5, 7] {
        bytes[log.starts[n] as usize + 70] ^= 1;
    }
    let damage = log.scan(&bytes, false).damage.unwrap();
    assert_eq!(damage.resumes_at.map(|(position, _)| position), Some(log.starts[3]));
    let between = log.starts[5] - log.starts[3] + log.starts[7] - log.starts[6];
    assert_eq!(damage.valid_after_bytes, between);
    assert_eq!(damage.valid_after_end, log.starts[7]);
}

#[test]
fn what_stood_there_before_does_not_continue_the_log() {
    let mut batches = plain_batches(4, 20);
    batches.extend(plain_batches(2, 20)); // offsets 0 and 2 again: a stale or misdirected write
    let log = Log::of(&batches);
    let found = log.scan(&log.bytes(), false);
    assert_eq!(found.next_offset, 8);
    assert!(found.damage.unwrap().is_torn_tail());
}

#[test]
fn gaps_are_damage_unless_they_are_allowed() {
    let batches = vec![batch(0, &[1], 5), batch(5, &[1], 5), batch(9, &[1], 5)];
    let log = Log::of(&batches);
    let found = log.scan(&log.bytes(), true);
    assert_eq!((found.next_offset, found.damage), (10, None));
    let damage = log.scan(&log.bytes(), false).damage.unwrap();
    assert_eq!(damage.resumes_at.map(|(position, _)| position), Some(log.starts[1]));
    assert_eq!(damage.valid_after_end, log.bytes().len() as u64);
}

#[test]
fn a_lying_length_is_believed_no_further_than_the_file_goes() {
    let log = Log::of(&plain_batches(3, 20));
    let mut bytes = log.bytes();
    let at = log.starts[2] as usize + 8;
    bytes[at..at + 4].copy_from_slice(&(200_i32 << 20).to_be_bytes());
    let damage = log.scan(&bytes, false).damage.unwrap();
    assert!(damage.is_torn_tail());
    assert_eq!(damage.corruption.position, at as u64);
}

#[test]
fn a_search_that_costs_too_much_says_that_it_was_given_up() {
    // Headers of batches that claim all that follows, one behind the other, none of them true.
    let log = Log::of(&plain_batches(1, 20));
    let mut bytes = log.bytes();
    let mut header = *batch(2, &[1], 1).header();
    let len = 2 << 20;
    while bytes.len() < len {
        let mut fake = [0; crate::limits::BATCH_HEADER];
        header.batch_length = ((len - bytes.len()) as i32 - 12).max(1_000);
        header.write(&mut fake);
        bytes.extend_from_slice(&fake);
    }
    bytes.truncate(len);
    let damage = log.scan(&bytes, false).damage.unwrap();
    assert!(damage.undecided && damage.resumes_at.is_none() && !damage.is_torn_tail());
}
