//! Limits, and what is said of a file that is not as it should be.

use super::*;
use crate::segment::{AbortedTransaction, Damage, ScanStart, TxnIndex, scan};

#[test]
fn a_file_that_is_shorter_than_its_log_is_named() {
    let folder = Folder::new(4096);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(4, 100)).unwrap();
    let segment = active.segment().clone();
    let starts: Vec<u64> = headers(&segment).into_iter().map(|(position, _)| position).collect();
    let len = segment.len();
    active.file().set_len(len - 30).unwrap();
    // From a position on, so many bytes at most; a batch's size where that is less.
    for (from, max_bytes) in [(2, 1 << 20), (3, 0), (3, 1 << 20)] {
        let refused = corruption(segment.read(starts[from], u64::MAX, max_bytes, true));
        assert_eq!((refused.position, refused.what), (len - 30, "file length"));
        assert_eq!(refused.expected, format!("at least {len} bytes"));
        assert_eq!(refused.found, (len - 30).to_string());
    }
    assert!(segment.read(starts[0], u64::MAX, starts[2] as usize, true).is_ok());
}

#[test]
fn positions_end_where_an_i32_does() {
    let folder = Folder::new(4096);
    let last = batch(1, &[1], 10);
    let bytes = last.bytes().len() as u64;
    for beyond in [0, 1] {
        let mut active = folder.create(beyond * 10);
        let base = active.base_offset();
        // As if so much stood there already; the simulated disk takes a write behind a hole.
        active.segment().published().appended(i32::MAX as u64 - bytes + beyond as u64, base);
        let appended = active.append(&mut vec![batch(base, &[1], 10)]);
        assert_eq!(appended.is_ok(), beyond == 0, "{appended:?}");
        if let Err(SegmentError::Full { len, incoming, .. }) = appended {
            assert_eq!(len + incoming, i32::MAX as u64 + 1);
        }
    }
    // The sizes of several batches count together.
    let mut active = folder.create(100);
    active.segment().published().appended(i32::MAX as u64 - bytes, 100);
    let two = active.append(&mut vec![batch(100, &[1], 10), batch(101, &[1], 10)]);
    assert!(matches!(two, Err(SegmentError::Full { incoming, .. }) if incoming == 2 * bytes));
}

#[test]
fn the_largest_timestamp_is_that_of_the_earliest_batch_that_has_it() {
    for times in [[1, 0, 1], [0, 0, 0], [5, 9, 9]] {
        let folder = Folder::new(4096);
        let mut active = folder.create(0);
        assert_eq!(active.segment().max_timestamp().unwrap(), None);
        for (offset, time) in times.iter().enumerate() {
            active.append(&mut vec![batch(offset as i64, &[*time], 10)]).unwrap();
        }
        let largest = *times.iter().max().unwrap();
        let earliest = times.iter().position(|time| *time == largest).unwrap() as i64;
        assert_eq!(active.segment().max_timestamp().unwrap(), Some((largest, earliest)));
        let found = folder.sealed(0, 3, None).max_timestamp().unwrap();
        assert_eq!(found, Some((largest, earliest)));
    }
}

/// An appender cuts its own tables: they hold through its truncations, and need no second reading.
#[test]
fn an_appenders_tables_hold_through_its_truncations() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(400, 1_000)).unwrap();
    let (_, seal) = active.seal().unwrap();
    let mut active = folder.open(0, Trust::Seal(&seal)).unwrap();
    active.truncate_to(700).unwrap();
    let before = folder.disk.bytes_read();
    assert_eq!(active.segment().locate(690).unwrap().unwrap().1.base_offset, 690);
    let read = folder.disk.bytes_read() - before;
    assert!(read < 30_000, "{read} bytes to find one of {}", active.len());
}

#[test]
fn index_files_are_as_long_as_their_entries_after_reopening() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(20, 50)).unwrap();
    active.write_indexes().unwrap();
    drop(active);
    let files = || [Suffix::Index, Suffix::TimeIndex].map(|suffix| folder.bytes(0, suffix));
    let before = files();
    let mut active = folder.open(0, Trust::Indexes).unwrap();
    let operations = folder.disk.operations();
    active.write_indexes().unwrap();
    assert_eq!(folder.disk.operations(), operations, "what is written is not written again");
    assert_eq!(files(), before);
    for offset in 40..43 {
        let before = files();
        active.append(&mut vec![batch(offset, &[1_000 + offset], 50)]).unwrap();
        active.write_indexes().unwrap();
        for (now, before) in files().iter().zip(&before) {
            assert!(now.starts_with(before));
        }
        let [index, timeindex] = files().map(|file| file.len());
        let [index_before, timeindex_before] = before.map(|file| file.len());
        assert_eq!((index - index_before, timeindex - timeindex_before), (8, 12));
    }
}

/// An entry is due by the bytes since the last one, whether the segment was reopened in between or not.
#[test]
fn a_segment_that_is_reopened_has_the_same_indexes() {
    let files = |reopened_at: Option<usize>| {
        let folder = Folder::new(400);
        let mut active = folder.create(0);
        for (at, batch) in plain_batches(30, 10).into_iter().enumerate() {
            if reopened_at == Some(at) {
                let (_, seal) = active.seal().unwrap();
                active = folder.open(0, Trust::Seal(&seal)).unwrap();
            }
            active.append(&mut vec![batch]).unwrap();
        }
        active.seal().unwrap();
        folder.bytes(0, Suffix::Index)
    };
    let expected = files(None);
    assert!((3 * 8..20 * 8).contains(&expected.len()), "{}", expected.len());
    for at in 1..30 {
        assert_eq!(files(Some(at)), expected, "reopened before batch {at}");
    }
}

/// As `tables_read_before_a_truncation_are_not_believed_after_it`, where the index files are gone and the
/// tables come from the log.
#[test]
fn tables_made_before_a_truncation_are_not_believed_after_it() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut (0..10).map(|n| batch(n, &[n * 10], 20)).collect()).unwrap();
    let (sealed, _) = active.seal().unwrap();
    for suffix in [Suffix::Index, Suffix::TimeIndex] {
        folder.storage.remove_file(&file_path(&folder.dir, 0, suffix)).unwrap();
    }
    assert_eq!(sealed.find_timestamp(55, 0).unwrap(), Some((60, 6)));
    assert_eq!(sealed.locate(7).unwrap().unwrap().1.base_offset, 7);
    let mut active = ActiveSegment::reopen(&sealed).unwrap();
    active.truncate_to(3).unwrap();
    // The batch at offset 5 is as the old table says; what stands before it is not.
    for (offset, timestamp) in [(3, 95), (4, 40), (5, 50), (6, 60)] {
        active.append(&mut vec![batch(offset, &[timestamp], 20)]).unwrap();
    }
    assert_eq!(sealed.find_timestamp(55, 0).unwrap(), Some((95, 3)));
    assert_eq!(sealed.locate(5).unwrap().unwrap().1.base_offset, 5);
}

#[test]
fn an_index_of_aborted_transactions_that_does_not_fit_its_seal_is_damaged() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(5, 10)).unwrap();
    let entry = AbortedTransaction {
        producer_id: 5,
        first_offset: 2,
        last_offset: 5,
        last_stable_offset: 6,
    };
    active.append_aborted(entry).unwrap();
    let (_, seal) = active.seal().unwrap();
    let mut bytes = folder.bytes(0, Suffix::TxnIndex);
    bytes[9] ^= 1; // of the producer's id, in which nothing else would show it
    folder.overwrite(0, Suffix::TxnIndex, &bytes);
    let sealed = folder.sealed(0, 10, Some(seal.clone()));
    let found = corruption(sealed.transactions().map(TxnIndex::len));
    assert_eq!((found.position, found.what), (0, "checksum of the file"));
    assert!(folder.open(0, Trust::Seal(&seal)).is_err());
    // Without the seal nothing tells.
    assert_eq!(folder.sealed(0, 10, None).transactions().unwrap().len(), 1);
}

#[test]
fn only_what_is_new_is_written_to_the_index_of_aborted_transactions() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(20, 10)).unwrap();
    let aborted = |last_offset| AbortedTransaction {
        producer_id: 5,
        first_offset: last_offset - 1,
        last_offset,
        last_stable_offset: last_offset + 1,
    };
    let entries: Vec<_> = [5, 9, 15].map(aborted).into();
    for entry in &entries {
        active.append_aborted(*entry).unwrap();
    }
    let whole = folder.bytes(0, Suffix::TxnIndex);
    assert_eq!(whole.len(), 3 * 34);
    // What recovery learns from the batches takes the place of what was there from an offset on.
    active.restore_transactions(9, vec![aborted(10)]).unwrap();
    let index = active.segment().transactions().unwrap();
    assert_eq!(index.iter().collect::<Vec<_>>(), [aborted(5), aborted(10)]);
    let now = folder.bytes(0, Suffix::TxnIndex);
    assert_eq!((now.len(), &now[..34]), (2 * 34, &whole[..34]));
    let before = folder.disk.operations();
    active.restore_transactions(9, vec![aborted(10)]).unwrap();
    active.restore_transactions(6, vec![aborted(10)]).unwrap();
    assert_eq!(folder.disk.operations(), before, "nothing changes, nothing is written");
}

/// The damage that a scan of `bytes` finds.
fn damage(bytes: &[u8], gaps_allowed: bool) -> Damage {
    let folder = Folder::new(4096);
    folder.overwrite(0, Suffix::Log, bytes);
    let path = file_path(&folder.dir, 0, Suffix::Log);
    let file = folder.storage.open(&path, Open::Read).unwrap();
    let start = ScanStart { position: 0, expected_offset: 0 };
    let found = scan(&file, rule(gaps_allowed), start, u64::MAX, |_, _| {}).unwrap();
    found.damage.expect("it is damaged")
}

#[test]
fn a_scan_names_the_byte_that_is_wrong() {
    let batches = plain_batches(3, 20);
    let one = batches[0].bytes().len();
    let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[one + at] = to;
        damage(&bytes, false).corruption
    };
    for (at, to, place, what) in [
        (16, 3, 16, "magic"),
        (22, 5, 21, "codec"),
        (9, 0xFF, 8, "batch length"),
        (7, 9, 0, "base offset"),
        (one - 1, 77, 17, "crc"),
    ] {
        let found = changed(at, to);
        assert_eq!((found.position, found.what), ((one + place) as u64, what), "{found}");
    }
    let torn = damage(&bytes[..3 * one - 1], false).corruption;
    assert_eq!((torn.position, torn.what), (2 * one as u64 + 8, "batch length"));
    assert_eq!(torn.expected, format!("a batch of at most {} bytes", one - 1));
    assert_eq!(torn.found, format!("{one} bytes"));
}

/// Zeros up to the end, of any length: no header fits where fewer than 61 are left.
#[test]
fn zeros_of_any_length_are_zeros() {
    let sound = batch(0, &[1], 5);
    for zeros in 1..200 {
        let bytes = [sound.bytes(), &vec![0; zeros]].concat();
        let found = damage(&bytes, false);
        assert!(found.all_zero && found.is_torn_tail(), "{zeros}");
        let bytes = [&bytes[..], &[1]].concat();
        assert!(!damage(&bytes, false).all_zero, "{zeros} and a one");
    }
}

/// A batch that ends with the file is found behind a damage, and one that would end behind it is not.
#[test]
fn a_batch_behind_a_damage_ends_with_the_file_at_the_latest() {
    let (first, last) = (batch(0, &[1], 5), batch(1, &[1], 5));
    for junk in [1, 60, 61, 62, 300] {
        let bytes = [first.bytes(), &vec![9; junk], last.bytes()].concat();
        let found = damage(&bytes, false);
        let at = (first.bytes().len() + junk) as u64;
        assert_eq!(found.resumes_at.map(|(position, _)| position), Some(at), "behind {junk}");
        assert_eq!(found.valid_after_end, bytes.len() as u64);
        assert_eq!(found.valid_after_bytes, last.bytes().len() as u64);
        assert_eq!(damage(&bytes[..bytes.len() - 1], false).resumes_at, None);
    }
}

#[test]
fn what_is_empty_says_so() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    let segment = active.segment().clone();
    let empty = |expected: bool| {
        let tables = segment.live_tables();
        assert_eq!(active_is_empty(&segment), [expected; 2]);
        assert_eq!([tables.offsets.is_empty(), tables.times.is_empty()], [expected; 2]);
        assert_eq!(segment.transactions().unwrap().is_empty(), expected);
    };
    empty(true);
    active.append(&mut plain_batches(3, 10)).unwrap();
    let entry = AbortedTransaction {
        producer_id: 5,
        first_offset: 0,
        last_offset: 1,
        last_stable_offset: 2,
    };
    active.append_aborted(entry).unwrap();
    empty(false);
}

fn active_is_empty(segment: &Segment) -> [bool; 2] {
    [segment.is_empty(), segment.view().is_empty()]
}

#[test]
fn a_view_is_current_until_the_log_is_cut() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(3, 10)).unwrap();
    let segment = active.segment().clone();
    let view = segment.view();
    active.append(&mut vec![batch(6, &[1], 10)]).unwrap();
    assert!(view.is_current());
    active.truncate_to(6).unwrap();
    assert!(!view.is_current());
}

#[test]
fn a_log_that_ends_early_says_where() {
    let folder = Folder::new(4096);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(4, 10)).unwrap();
    let len = active.len();
    drop(active);
    let found = corruption(folder.sealed(0, 20, None).locate(15));
    assert_eq!((found.position, found.what), (len, "offset behind the last batch"));
    assert_eq!((found.expected.as_str(), found.found.as_str()), ("20", "8"));
}

/// No checksum covers a header's place: what it may say there is held against what stands around it.
#[test]
fn a_reader_names_the_header_that_does_not_fit() {
    let batches = plain_batches(3, 20);
    let one = batches[0].bytes().len() as u64;
    // Byte of the second header, what is written there, the place and the field that are named.
    let cases: [(u64, &[u8], u64, &str); 5] = [
        (16, &[3], 16, "magic"),
        (8, &[0, 0, 9, 0], 8, "batch length"),
        (7, &[1], 0, "base offset"),
        (7, &[3], 0, "base offset"),
        (23, &[0, 0, 0, 9], 0, "last offset"),
    ];
    for (at, bytes, place, what) in cases {
        let folder = Folder::new(4096);
        let mut active = folder.create(0);
        active.append(&mut plain_batches(3, 20)).unwrap();
        active.file().write_at(one + at, bytes.to_vec()).unwrap();
        let found = corruption(active.segment().headers(0).collect::<Result<Vec<_>, _>>());
        assert_eq!((found.position, found.what), (one + place, what), "{found}");
    }
}

#[test]
fn offsets_never_go_back_and_have_gaps_only_where_they_may() {
    let one = plain_batches(1, 20)[0].bytes().len() as u64;
    for (gaps_allowed, base, is_sound) in
        [(false, 13, false), (true, 13, true), (true, 11, false), (false, 12, true)]
    {
        let mut folder = Folder::new(4096);
        folder.options.gaps_allowed = gaps_allowed;
        let mut active = folder.create(10);
        let stamped = |base: i64| batch(base, &[1, 2], 20);
        active.append(&mut vec![stamped(10), stamped(12), stamped(16)]).unwrap();
        active.file().write_at(one + 7, vec![base]).unwrap();
        let mut headers = active.segment().headers(0);
        assert!(headers.next().is_some_and(|header| header.is_ok()));
        assert_eq!(headers.next().unwrap().is_ok(), is_sound, "{base}, gaps: {gaps_allowed}");
        // Where what stands before is not known, at least the segment's name is.
        active.file().write_at(one + 7, vec![9]).unwrap();
        let found = corruption(active.segment().read(one, u64::MAX, 1 << 20, true));
        assert_eq!((found.position, found.what), (one, "base offset"));
        assert_eq!(found.expected, "at least 10");
        active.file().write_at(one + 7, vec![10]).unwrap();
        assert!(active.segment().read(one, u64::MAX, 0, true).is_ok());
    }
}

#[test]
fn a_truncation_says_what_it_took() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(4, 10)).unwrap();
    let one = active.len() / 4;
    let cut = active.truncate_to(4).unwrap();
    assert_eq!((cut.removed_bytes, cut.len, cut.next_offset), (2 * one, 2 * one, 4));
    assert_eq!(active.first_timestamp(), Some(10));
    let cut = active.truncate_to(0).unwrap();
    assert_eq!((cut.removed_bytes, cut.len, cut.next_offset), (2 * one, 0, 0));
    assert_eq!(active.first_timestamp(), None, "`segment.ms` counts from the next batch");
    active.append(&mut vec![batch(0, &[77], 10)]).unwrap();
    assert_eq!(active.first_timestamp(), Some(77));
}

/// Behind the last batch of a compacted segment there may be offsets without a record.
#[test]
fn a_truncation_into_a_gap_takes_offsets_alone() {
    let mut folder = Folder::new(0);
    folder.options.gaps_allowed = true;
    let mut active = folder.create(0);
    active.append(&mut plain_batches(2, 10)).unwrap();
    let (_, seal) = active.seal().unwrap();
    let seal = super::super::Seal { next_offset: 10, ..seal };
    for (to, end) in [(11, 10), (10, 10), (9, 9), (4, 4)] {
        let mut active = folder.open(0, Trust::Seal(&seal)).unwrap();
        assert_eq!(active.next_offset(), 10);
        let cut = active.truncate_to(to).unwrap();
        assert_eq!((cut.removed_bytes, cut.next_offset, active.next_offset()), (0, end, end));
    }
}

/// As after a truncation that was published, and whose cut of the file the disk refused.
#[test]
fn what_stands_behind_the_published_end_is_cut_before_the_next_append() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(2, 10)).unwrap();
    let (sealed, _) = active.seal().unwrap();
    let longer = [folder.bytes(0, Suffix::Log), vec![9; 5_000]].concat();
    folder.overwrite(0, Suffix::Log, &longer);
    let mut active = ActiveSegment::reopen(&sealed).unwrap();
    active.append(&mut vec![batch(4, &[1], 10)]).unwrap();
    assert_eq!(folder.bytes(0, Suffix::Log).len() as u64, active.len());
}
