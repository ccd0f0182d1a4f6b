//! What a segment is after it was opened again, where some of it is damaged, wrong or not to be had.

use super::*;
use crate::{
    io::{Fault, FaultyDisk},
    segment::{AbortedTransaction, OffsetRule, ScanStart, Seals, TxnIndex, scan},
};

/// 16 batches of two records, 32 offsets, with a few index entries; batch `damaged` does not fit its checksum.
fn damaged(damaged: usize) -> Folder {
    let folder = Folder::new(150);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(16, 20)).unwrap();
    let starts: Vec<u64> = headers(active.segment()).iter().map(|(start, _)| *start).collect();
    active.seal().unwrap();
    let mut bytes = folder.bytes(0, Suffix::Log);
    bytes[starts[damaged] as usize + 70] ^= 1;
    folder.overwrite(0, Suffix::Log, &bytes);
    folder
}

#[test]
fn a_damaged_batch_leaves_the_largest_timestamp_unknown() {
    for place in [0, 7, 14] {
        let folder = damaged(place);
        let active = folder.open(0, Trust::Nothing).unwrap();
        assert_eq!(active.next_offset(), 32);
        let largest = active.segment().max_timestamp().unwrap();
        assert_eq!(largest, Some((i64::MAX, 31)), "batch {place}");
    }
    // Where the index leads behind the damage it is not looked at, and what is read is believed.
    let active = damaged(0).open(0, Trust::Indexes).unwrap();
    assert_eq!(active.segment().max_timestamp().unwrap(), Some((310, 31)));
}

#[test]
fn a_damaged_last_batch_leaves_the_end_unknown() {
    for trust in [Trust::Nothing, Trust::Indexes] {
        let refused = damaged(15).open(0, trust);
        assert!(matches!(refused, Err(SegmentError::Corrupt(_))), "{refused:?}");
    }
}

#[test]
fn a_cut_behind_a_damaged_batch_leaves_the_largest_timestamp_unknown() {
    let folder = damaged(3);
    let mut active = folder.open(0, Trust::Nothing).unwrap();
    active.truncate_to(20).unwrap();
    assert_eq!(active.segment().max_timestamp().unwrap(), Some((i64::MAX, 19)));
}

#[test]
fn a_seal_of_another_length_is_no_seal() {
    let folder = Folder::new(150);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(16, 20)).unwrap();
    let (_, mut seal) = active.seal().unwrap();
    (seal.log_len, seal.next_offset) = (seal.log_len + 1, 40);
    assert_eq!(folder.open(0, Trust::Seal(&seal)).unwrap().next_offset(), 32);
}

#[test]
fn an_empty_log_is_taken_for_a_new_one_and_one_with_bytes_is_not() {
    let folder = Folder::new(150);
    folder.overwrite(0, Suffix::Log, &[]);
    folder.create(0);
    folder.overwrite(0, Suffix::Log, &[0]);
    let again = ActiveSegment::create(&folder.storage, &folder.dir, 0, &folder.options);
    let Err(SegmentError::Io(error)) = again else { panic!("{again:?}") };
    assert_eq!(error.source.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(folder.bytes(0, Suffix::Log), [0], "it is not ours to remove");
}

/// Whether who uses a disk takes an error for a missing file.
type IsFooled<'a> = &'a dyn Fn(&Storage) -> bool;

/// Each call fails in turn: with EIO, which is no missing file.
#[test]
fn an_error_is_not_taken_for_a_missing_file() {
    let folder = Folder::new(150);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(16, 20)).unwrap();
    let aborted = AbortedTransaction {
        producer_id: 1,
        first_offset: 2,
        last_offset: 5,
        last_stable_offset: 2,
    };
    active.restore_transactions(0, vec![aborted]).unwrap();
    let (_, seal) = active.seal().unwrap();
    let mut seals = Seals::default();
    seals.insert(seal);
    seals.store(&folder.storage, &folder.dir).unwrap();
    let tries: [(&str, IsFooled<'_>); 4] = [
        ("seals", &|storage| Seals::load(storage, &folder.dir).is_ok_and(|it| it.get(0).is_none())),
        ("transactions", &|storage| {
            let options = folder.options.clone();
            let len = folder.bytes(0, Suffix::Log).len() as u64;
            let sealed = Segment::sealed(storage, &folder.dir, 0, len, 32, None, &options);
            sealed.transactions().is_ok_and(TxnIndex::is_empty)
        }),
        ("open", &|storage| {
            let opened =
                ActiveSegment::open(storage, &folder.dir, 0, &folder.options, Trust::Indexes);
            opened.is_ok_and(|it| it.segment().transactions().is_ok_and(TxnIndex::is_empty))
        }),
        ("create", &|storage| {
            let made = ActiveSegment::create(storage, &folder.dir, 32, &folder.options);
            made.is_err_and(|error| match error {
                SegmentError::Io(error) => error.is_not_found(),
                _ => false,
            })
        }),
    ];
    for (name, is_fooled) in tries {
        for call in 1..40 {
            let disk = FaultyDisk::new(folder.disk.fork());
            disk.plan(call, Fault::Io);
            assert!(!is_fooled(&disk.storage()), "{name}, call {call}");
        }
    }
    // A seal or a cut that leaves the index of aborted transactions longer than they are would be believed.
    for call in 1..40 {
        let disk = FaultyDisk::new(folder.disk.fork());
        disk.plan(call, Fault::Io);
        let (storage, options) = (disk.storage(), &folder.options);
        let opened = ActiveSegment::open(&storage, &folder.dir, 0, options, Trust::Indexes);
        let cut = opened.and_then(|mut active| active.truncate_to(4));
        let path = file_path(&folder.dir, 0, Suffix::TxnIndex);
        if cut.is_ok() {
            assert_eq!(disk.below().storage().open(&path, Open::Read).unwrap().len().unwrap(), 0);
        }
    }
    // A segment that is given up without one of its names would come back.
    for call in 1..40 {
        let disk = FaultyDisk::new(folder.disk.fork());
        let storage = disk.storage();
        let len = folder.bytes(0, Suffix::Log).len() as u64;
        let sealed = Segment::sealed(&storage, &folder.dir, 0, len, 32, None, &folder.options);
        disk.plan(call, Fault::Io);
        let retired = sealed.retire();
        if !disk.struck().is_empty() {
            assert!(retired.is_err(), "call {call}");
        }
    }
}

#[test]
fn a_walk_ends_at_a_batch_that_is_longer_than_the_log() {
    let folder = damaged(3);
    let len = folder.bytes(0, Suffix::Log).len() as u64;
    let sealed =
        Segment::sealed(&folder.storage, &folder.dir, 0, len - 1, 32, None, &folder.options);
    let last = sealed.headers(0).last().unwrap();
    let Err(SegmentError::Corrupt(error)) = last else { panic!("{last:?}") };
    assert_eq!(error.what, "batch length");
}

/// What a scan of `bytes` finds where it stops.
fn stopped(bytes: &[u8]) -> crate::segment::Damage {
    let folder = Folder::new(150);
    folder.overwrite(0, Suffix::Log, bytes);
    let file = folder.storage.open(&file_path(&folder.dir, 0, Suffix::Log), Open::Read).unwrap();
    let rule = OffsetRule { base: 0, end: Offset::MAX, gaps_allowed: false };
    let start = ScanStart { position: 0, expected_offset: 0 };
    scan(&file, rule, start, u64::MAX, |_, _| {}).unwrap().damage.expect("it stops")
}

#[test]
fn a_scan_finds_the_smallest_batch_at_the_very_end() {
    let small = batch(9, &[1], 0);
    for junk in 1..100 {
        let bytes = [&vec![0xAA; junk][..], small.bytes()].concat();
        let resumes = stopped(&bytes).resumes_at.expect("the batch is found");
        assert_eq!((resumes.0, resumes.1.base_offset), (junk as u64, 9));
    }
}

#[test]
fn only_zeros_are_reserved_space() {
    assert!(stopped(&[0; 200]).all_zero);
    for junk in [&[7; 2][..], &[1, 2, 3], &[0; 99]] {
        let bytes = [junk, &[0; 5], &[u8::from(junk.len() == 99); 2]].concat();
        assert!(!stopped(&bytes).all_zero, "{junk:?}");
    }
}

/// Closed, with an entry of each batch, and the timestamps `at`; `change` makes a time index of another.
fn opened_with(at: &[i64], change: impl Fn(&mut Vec<[u8; 12]>)) -> (Folder, ActiveSegment) {
    let folder = Folder::new(1);
    let mut active = folder.create(0);
    let mut batches: Vec<_> = (0..).zip(at).map(|(offset, at)| batch(offset, &[*at], 20)).collect();
    active.append(&mut batches).unwrap();
    active.seal().unwrap();
    let bytes = folder.bytes(0, Suffix::TimeIndex);
    let mut entries = bytes.as_chunks().0.to_vec();
    change(&mut entries);
    folder.overwrite(0, Suffix::TimeIndex, entries.as_flattened());
    let before = folder.rebuilds();
    let active = folder.open(0, Trust::Indexes).unwrap();
    assert!(folder.rebuilds() - before <= 1);
    (folder, active)
}

#[test]
fn a_time_entry_that_its_batch_contradicts_has_the_indexes_made_anew() {
    let at = [10, 20, 30, 40, 50];
    let (folder, _) = opened_with(&at, |_| {});
    assert_eq!(folder.rebuilds(), 0, "a sound index is used");
    for from_last in [1, 2] {
        let (folder, active) = opened_with(&at, |entries| {
            let place = entries.len() - from_last;
            entries[place][7] += 1; // the timestamp's low byte
        });
        assert_eq!(folder.rebuilds(), 1, "{from_last}");
        assert_eq!(active.segment().max_timestamp().unwrap(), Some((50, 4)));
        assert_eq!(active.segment().find_timestamp(41, 0).unwrap(), Some((50, 4)));
    }
}

/// No batch contradicts an entry that names a later one of the same timestamp.
#[test]
fn the_first_of_the_records_with_the_largest_timestamp_is_found_whatever_the_last_entry_names() {
    let (_, active) = opened_with(&[10, 20, 30, 30, 30], |entries| {
        let last = entries.last_mut().unwrap();
        assert_eq!(last[8..], [0, 0, 0, 2]);
        last[11] = 4;
    });
    assert_eq!(active.segment().max_timestamp().unwrap(), Some((30, 2)));
    assert_eq!(active.segment().find_timestamp(21, 0).unwrap(), Some((30, 2)));
}
