//! Appending, rolling over limits, failing disks.

use super::*;
use crate::{io::SyncKind, segment::AbortedTransaction};

#[test]
fn a_segment_starts_empty_and_says_so() {
    let folder = Folder::new(4096);
    let active = folder.create(100);
    let segment = active.segment().clone();
    assert_eq!((active.len(), active.next_offset()), (0, 100));
    assert_eq!(segment.max_timestamp().unwrap(), None);
    assert_eq!(active.first_timestamp(), None);
    assert_eq!(segment.locate(100).unwrap(), None);
    assert_eq!(segment.find_timestamp(0, 0).unwrap(), None);
    assert_eq!(segment.read(0, 100, 100, true).unwrap().to_vec(), Vec::<u8>::new());
    let (_, seal) = active.seal().unwrap();
    assert_eq!((seal.log_len, seal.next_offset, seal.index_crc), (0, 100, 0));
    assert_eq!(folder.open(100, Trust::Seal(&seal)).unwrap().next_offset(), 100);
}

#[test]
fn the_roll_has_what_it_asks_for() {
    let mut folder = Folder::new(0);
    folder.options.max_index_bytes = 36; // 4 offset entries, 3 time entries, of which 1 is kept
    let mut active = folder.create(7);
    assert!(active.relative_offset_fits(7 + i64::from(i32::MAX)));
    assert!(!active.relative_offset_fits(8 + i64::from(i32::MAX)));
    for n in 0..8 {
        assert_eq!(active.is_index_full(), n > 2, "before batch {n}");
        active.append(&mut vec![batch(7 + n, &[n * 10], 10)]).unwrap();
    }
    assert_eq!(active.first_timestamp(), Some(0));
    let (sealed, _) = active.seal().unwrap();
    assert_eq!(folder.bytes(7, Suffix::Index).len(), 2 * 8);
    assert_eq!(folder.bytes(7, Suffix::TimeIndex).len(), 3 * 12);
    assert_eq!(sealed.locate(14).unwrap().unwrap().1.base_offset, 14);
}

#[test]
fn what_i32_cannot_say_is_refused() {
    let folder = Folder::new(4096);
    let mut active = folder.create(0);
    let far = i64::from(i32::MAX);
    let refused = active.append(&mut vec![batch(0, &[1], 1), batch(far, &[1, 2], 1)]);
    assert!(
        matches!(refused, Err(SegmentError::Full { last_offset, .. }) if last_offset == far + 1)
    );
    assert_eq!(active.len(), 0);
}

#[test]
fn a_full_disk_leaves_nothing_half_written_and_passes() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(3, 100)).unwrap();
    let (len, log) = (active.len(), folder.bytes(0, Suffix::Log));
    folder.disk.fill_up(150);
    let more = || vec![batch(6, &[9], 100), batch(7, &[9], 100)];
    let Err(SegmentError::Io(error)) = active.append(&mut more()) else {
        panic!("the disk is full")
    };
    assert!(error.is_disk_full());
    assert_eq!((active.len(), active.next_offset()), (len, 6));
    assert_eq!(folder.bytes(0, Suffix::Log), log);
    folder.disk.fill_up(1 << 20);
    active.append(&mut more()).unwrap();
    assert_eq!(active.segment().locate(7).unwrap().unwrap().1.base_offset, 7);
}

#[test]
fn a_roll_that_finds_the_disk_full_gives_the_segment_back() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(20, 10)).unwrap();
    folder.disk.fill_up(10);
    let failure = active.seal().unwrap_err();
    assert!(matches!(&failure.error, SegmentError::Io(error) if error.is_disk_full()));
    let mut active = *failure.segment;
    folder.disk.fill_up(1 << 20);
    active.append(&mut vec![batch(40, &[1_000], 10)]).unwrap();
    let (_, seal) = active.seal().unwrap();
    let sealed = folder.sealed(0, 41, Some(seal));
    assert_eq!(sealed.find_timestamp(1_000, 0).unwrap(), Some((1_000, 40)));
    assert_eq!((folder.rebuilds(), folder.fallbacks()), (0, 0));
}

#[test]
fn eio_on_a_write_latches_and_reads_go_on() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(3, 100)).unwrap();
    folder.disk.fail_write(1);
    assert!(active.append(&mut vec![batch(6, &[9], 100)]).is_err());
    assert!(active.append(&mut vec![batch(6, &[9], 100)]).is_err());
    assert_eq!(headers(active.segment()).len(), 3);
}

#[test]
fn a_failed_creation_leaves_no_file() {
    let mut folder = Folder::new(0);
    folder.options.preallocate = Some(1 << 20);
    folder.disk.fill_up(1_000);
    let made = ActiveSegment::create(&folder.storage, &folder.dir, 0, &folder.options).map(|_| ());
    assert!(matches!(made, Err(SegmentError::Io(error)) if error.is_disk_full()));
    assert!(folder.storage.list(&folder.dir).unwrap().is_empty());
    folder.disk.fill_up(1 << 30);
    folder.create(0);
}

#[test]
fn reserved_space_stays_until_the_seal() {
    let mut folder = Folder::new(0);
    folder.options.preallocate = Some(1 << 16);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(3, 100)).unwrap();
    assert_eq!(active.truncate_to(Offset::MAX).unwrap().removed_bytes, 0);
    assert_eq!(folder.bytes(0, Suffix::Log).len(), 1 << 16);
    assert_eq!(headers(active.segment()).len(), 3);
    let (sealed, _) = active.seal().unwrap();
    assert_eq!(folder.bytes(0, Suffix::Log).len() as u64, sealed.len());
}

#[test]
fn index_files_are_always_as_long_as_their_entries() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(10, 10)).unwrap();
    active.write_indexes().unwrap();
    assert_eq!(folder.bytes(0, Suffix::Index).len(), 9 * 8);
    assert_eq!(folder.bytes(0, Suffix::TimeIndex).len(), 9 * 12);
    active.truncate_to(11).unwrap();
    assert_eq!(folder.bytes(0, Suffix::Index).len(), 4 * 8);
    assert_eq!(folder.bytes(0, Suffix::TimeIndex).len(), 4 * 12);
    assert_eq!((active.next_offset(), active.index_files().len()), (10, 2));
    drop(active);
    // As Kafka leaves them after a crash: reserved to their full size.
    let reserved = [folder.bytes(0, Suffix::Index), vec![0; 4096]].concat();
    folder.overwrite(0, Suffix::Index, &reserved);
    let active = folder.open(0, Trust::Indexes).unwrap();
    assert_eq!((folder.bytes(0, Suffix::Index).len(), folder.rebuilds()), (0, 1));
    active.seal().unwrap();
    assert_eq!(folder.bytes(0, Suffix::Index).len(), 4 * 8);
}

#[test]
fn opening_with_a_seal_reads_no_batch_but_the_first() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(50, 100)).unwrap();
    let (_, seal) = active.seal().unwrap();
    let mut log = folder.bytes(0, Suffix::Log);
    log[5_000..].fill(0xEE);
    folder.overwrite(0, Suffix::Log, &log);
    let mut active = folder.open(0, Trust::Seal(&seal)).unwrap();
    assert_eq!((active.next_offset(), active.first_timestamp()), (100, Some(10)));
    assert_eq!(active.segment().max_timestamp().unwrap(), Some((990, 99)));
    active.append(&mut vec![batch(100, &[2_000], 10)]).unwrap();
    let located = active.segment().locate(100).unwrap();
    assert_eq!(located.map(|(position, _)| position), Some(log.len() as u64));
    // Without the seal the headers are looked at, and tell.
    let opened = folder.open(0, Trust::Nothing).map(|_| ());
    assert!(matches!(opened, Err(SegmentError::Corrupt(_))));
}

#[test]
fn a_truncation_into_a_sealed_segment_reaches_its_readers() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(20, 100)).unwrap();
    let first_form = active.segment().clone();
    let (sealed, _) = active.seal().unwrap();
    let mut walk = sealed.headers(0);
    walk.next().unwrap().unwrap();
    let mut active = ActiveSegment::reopen(&sealed).unwrap();
    active.truncate_to(20).unwrap();
    active.append(&mut vec![batch(20, &[7_777], 500)]).unwrap();
    let ended = walk.find_map(Result::err);
    assert!(matches!(ended, Some(SegmentError::Truncated { .. })));
    for segment in [&first_form, &sealed, active.segment()] {
        assert_eq!((segment.next_offset(), headers(segment).len()), (21, 11));
        assert_eq!(segment.find_timestamp(5_000, 0).unwrap(), Some((7_777, 20)));
        assert_eq!(segment.max_timestamp().unwrap(), Some((7_777, 20)));
        assert!(segment.transactions().unwrap().is_empty());
    }
}

#[test]
fn tables_read_before_a_truncation_are_not_believed_after_it() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut (0..10).map(|n| batch(n, &[n * 10], 20)).collect()).unwrap();
    let (sealed, _) = active.seal().unwrap();
    assert_eq!(sealed.find_timestamp(55, 0).unwrap(), Some((60, 6)));
    let mut active = ActiveSegment::reopen(&sealed).unwrap();
    active.truncate_to(3).unwrap();
    // The batch at offset 5 is as the old table says; what stands before it is not.
    for (offset, timestamp) in [(3, 95), (4, 40), (5, 50), (6, 60)] {
        active.append(&mut vec![batch(offset, &[timestamp], 20)]).unwrap();
    }
    for segment in [&sealed, active.segment()] {
        assert_eq!(segment.find_timestamp(55, 0).unwrap(), Some((95, 3)));
    }
}

#[test]
fn a_truncation_that_the_disk_refuses_is_made_good_later() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(20, 100)).unwrap();
    folder.disk.fail_sync(1);
    assert!(active.file().sync(SyncKind::Data).is_err()); // latches: the log cannot be cut
    assert!(active.truncate_to(10).is_err());
    assert_eq!((active.next_offset(), headers(active.segment()).len()), (10, 5));
    assert!(active.append(&mut vec![batch(10, &[1], 1)]).is_err());
    assert!(active.truncate_to(10).is_err());
}

#[test]
fn aborted_transactions_are_kept_cut_and_read_again() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(20, 10)).unwrap();
    let aborted = |first_offset, last_offset| AbortedTransaction {
        producer_id: 5,
        first_offset,
        last_offset,
        last_stable_offset: last_offset + 1,
    };
    for entry in [aborted(2, 5), aborted(4, 9), aborted(20, 31)] {
        active.append_aborted(entry).unwrap();
    }
    active.truncate_to(20).unwrap();
    assert_eq!(folder.bytes(0, Suffix::TxnIndex).len(), 2 * 34);
    assert_eq!(active.index_files().len(), 3);
    let (_, seal) = active.seal().unwrap();
    let sealed = folder.sealed(0, 20, Some(seal.clone()));
    let mut found = Vec::new();
    assert!(!sealed.aborted_transactions(6, 20, &mut found).unwrap());
    assert_eq!(found, [aborted(4, 9)]);
    let mut active = folder.open(0, Trust::Seal(&seal)).unwrap();
    active.append_aborted(aborted(10, 19)).unwrap();
    assert_eq!(folder.bytes(0, Suffix::TxnIndex).len(), 3 * 34);
    drop(active);
    let mut bytes = folder.bytes(0, Suffix::TxnIndex);
    bytes[1] = 1;
    folder.overwrite(0, Suffix::TxnIndex, &bytes);
    let opened = folder.open(0, Trust::Indexes).map(|_| ());
    assert!(matches!(opened, Err(SegmentError::Corrupt(error)) if error.position == 0));
    // Until somebody says what belongs in it the file stays: a crash in between must not leave an empty one.
    let mut active = folder.open(0, Trust::Nothing).unwrap();
    assert!(active.segment().transactions().unwrap().is_empty());
    assert_eq!(folder.bytes(0, Suffix::TxnIndex), bytes);
    active.restore_transactions(0, vec![aborted(2, 5)]).unwrap();
    assert_eq!(folder.bytes(0, Suffix::TxnIndex), aborted(2, 5).encode());
    active.restore_transactions(0, Vec::new()).unwrap();
    assert!(folder.bytes(0, Suffix::TxnIndex).is_empty());
}

#[test]
fn an_aborted_transaction_that_found_the_disk_full_is_written_before_a_checkpoint() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(10, 10)).unwrap();
    let entry = AbortedTransaction {
        producer_id: 7,
        first_offset: 2,
        last_offset: 5,
        last_stable_offset: 6,
    };
    folder.disk.fill_up(0);
    assert!(active.append_aborted(entry).is_err());
    folder.disk.fill_up(u64::MAX);
    let mut found = Vec::new();
    active.segment().aborted_transactions(0, 10, &mut found).unwrap();
    assert_eq!(found, [entry], "readers know it all the same");
    active.write_indexes().unwrap();
    assert_eq!(active.index_files().len(), 3);
    assert_eq!(folder.bytes(0, Suffix::TxnIndex), entry.encode());
}

#[test]
fn a_retired_segment_is_read_until_it_is_dropped() {
    let folder = Folder::new(0);
    let mut active = folder.create(0);
    active.append(&mut plain_batches(20, 10)).unwrap();
    let (_, seal) = active.seal().unwrap();
    let sealed = folder.sealed(0, 40, Some(seal));
    let retired = sealed.retire().unwrap();
    let names = || {
        let entries = folder.storage.list(&folder.dir).unwrap();
        entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert!(names().iter().all(|name| name.ends_with(".deleted")) && names().len() == 3);
    assert_eq!(sealed.locate(33).unwrap().unwrap().1.base_offset, 32);
    for path in retired {
        folder.storage.remove_file(&path).unwrap();
    }
    assert!(names().is_empty());
}

#[test]
fn a_retired_segment_still_knows_its_aborted_transactions() {
    let entry = AbortedTransaction {
        producer_id: 7,
        first_offset: 2,
        last_offset: 5,
        last_stable_offset: 6,
    };
    for damaged in [false, true] {
        let folder = Folder::new(0);
        let mut active = folder.create(0);
        active.append(&mut plain_batches(10, 10)).unwrap();
        active.append_aborted(entry).unwrap();
        let (_, seal) = active.seal().unwrap();
        if damaged {
            folder.overwrite(0, Suffix::TxnIndex, &entry.encode()[1..]);
        }
        // Nobody has asked for them before.
        let sealed = folder.sealed(0, 20, Some(seal));
        for path in sealed.retire().unwrap() {
            folder.storage.remove_file(&path).unwrap();
        }
        let mut found = Vec::new();
        match sealed.aborted_transactions(0, 20, &mut found) {
            Ok(_) => assert!(!damaged && found == [entry], "{found:?}"),
            Err(SegmentError::Corrupt(_)) => assert!(damaged),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Zeros stand behind the batches, half as many as those take up to as many, in whole blocks; whoever syncs is told of
/// each change.
#[test]
fn space_is_prepared_behind_the_batches_and_told() {
    let mut folder = Folder::new(0);
    folder.options.prepare_bytes = 3 * 4096;
    let mut active = folder.create(0);
    let mut expected = 0;
    for batch in plain_batches(40, 900) {
        let before = active.len();
        active.append(&mut vec![batch]).unwrap();
        let (len, told) = (active.len(), active.take_room());
        let bytes = folder.bytes(0, Suffix::Log);
        if len <= expected {
            assert!(told.is_empty(), "{before} to {len} lies in what was prepared");
        } else {
            let &[end] = told.as_slice() else { panic!("told {told:?}") };
            let most = len.min(3 * 4096);
            assert_eq!(end % 4096, 0);
            assert!((len + most / 2..len + most + 4096).contains(&end), "{len}: {end}");
            expected = end;
        }
        assert_eq!(bytes.len() as u64, expected);
        assert!(bytes[len as usize..].iter().all(|byte| *byte == 0));
    }
    active.truncate_to(20).unwrap();
    assert_eq!(active.take_room(), [active.len()]);
    assert_eq!(folder.bytes(0, Suffix::Log).len() as u64, active.len());
}
