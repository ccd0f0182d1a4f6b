//! Every bit of a small segment's files, flipped: a right answer or a typed error.

use super::*;
use crate::{error::Corruption, record::Batch, segment::Seal};

fn sealed_folder(mut batches: Vec<SealedBatch>) -> (Folder, Seal) {
    let folder = Folder::new(150);
    let mut active = folder.create(0);
    active.append(&mut batches).unwrap();
    let (_, seal) = active.seal().unwrap();
    (folder, seal)
}

/// Calls `check` once a bit of the file.
fn for_each_flip(folder: &Folder, suffix: Suffix, mut check: impl FnMut(usize)) {
    let good = folder.bytes(0, suffix);
    assert!(!good.is_empty());
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        folder.overwrite(0, suffix, &bytes);
        check(bit);
    }
    folder.overwrite(0, suffix, &good);
}

/// Answers of a segment of 16 plain batches.
fn assert_right(segment: &Segment, what: &str) {
    for offset in 0..32 {
        let (_, header) = segment.locate(offset).unwrap().unwrap();
        assert_eq!(header.base_offset, offset / 2 * 2, "{what}: offset {offset}");
    }
    for offset in 0..32 {
        for timestamp in [offset * 10 - 9, offset * 10] {
            let found = segment.find_timestamp(timestamp, 0).unwrap();
            assert_eq!(found, Some((offset * 10, offset)), "{what}: timestamp {timestamp}");
        }
    }
    assert_eq!(segment.find_timestamp(311, 0).unwrap(), None, "{what}");
    assert_eq!(segment.max_timestamp().unwrap(), Some((310, 31)), "{what}");
}

#[test]
fn a_flipped_bit_of_an_index_changes_no_answer() {
    let (folder, seal) = sealed_folder(plain_batches(16, 20));
    for suffix in [Suffix::Index, Suffix::TimeIndex] {
        for_each_flip(&folder, suffix, |bit| {
            let what = format!("{suffix} bit {bit}");
            let before = folder.rebuilds();
            assert_right(&folder.sealed(0, 32, Some(seal.clone())), &what);
            assert!(folder.rebuilds() > before, "{what}: the checksum must tell");
            assert_right(&folder.sealed(0, 32, None), &what);
        });
    }
    assert_right(&folder.sealed(0, 32, Some(seal)), "as it was");
}

#[test]
fn a_flipped_bit_of_an_index_is_survived_when_opened_for_append() {
    let (folder, seal) = sealed_folder(plain_batches(16, 20));
    let files = [Suffix::Index, Suffix::TimeIndex].map(|s| (s, folder.bytes(0, s)));
    for suffix in [Suffix::Index, Suffix::TimeIndex] {
        for_each_flip(&folder, suffix, |bit| {
            let active = folder.open(0, Trust::Seal(&seal)).unwrap();
            assert_right(active.segment(), &format!("{suffix} bit {bit}"));
            let (_, again) = active.seal().unwrap();
            assert_eq!(again, seal);
        });
        for (suffix, bytes) in &files {
            assert_eq!(folder.bytes(0, *suffix), *bytes);
        }
    }
}

#[test]
fn a_missing_or_cut_index_is_rebuilt() {
    let (folder, _) = sealed_folder(plain_batches(16, 20));
    for suffix in [Suffix::Index, Suffix::TimeIndex] {
        let good = folder.bytes(0, suffix);
        for len in 0..good.len() {
            folder.overwrite(0, suffix, &good[..len]);
            assert_right(&folder.sealed(0, 32, None), &format!("{suffix} cut to {len}"));
        }
        folder.storage.remove_file(&file_path(&folder.dir, 0, suffix)).unwrap();
        assert_right(&folder.sealed(0, 32, None), "removed");
        assert_right(folder.open(0, Trust::Indexes).unwrap().segment(), "removed");
        folder.overwrite(0, suffix, &good);
    }
}

/// An entry may name another batch of the same millisecond: no batch shows that, the strict lookup
/// does without it.
#[test]
fn equal_timestamps_hide_no_record() {
    let batches = (0..30).map(|n| batch(n, &[1_000 + n / 10], 30)).collect();
    let (folder, _) = sealed_folder(batches);
    for_each_flip(&folder, Suffix::TimeIndex, |bit| {
        let segment = folder.sealed(0, 30, None);
        for n in 0..3 {
            let found = segment.find_timestamp(1_000 + n, 0).unwrap();
            assert_eq!(found, Some((1_000 + n, n * 10)), "bit {bit}");
        }
    });
}

/// A log's answers, or the first error.
fn read_all(segment: &Segment, count: i64) -> Result<Vec<Vec<u8>>, SegmentError> {
    let mut batches = Vec::new();
    for n in 0..count {
        let Some((position, header)) = segment.locate(n * 2)? else { continue };
        let bytes = segment.read(position, u64::MAX, 0, true)?.to_vec();
        let batch =
            Batch::check(&bytes).map_err(|e| e.into_corruption(segment.path(), position))?;
        assert_eq!(*batch.header(), header);
        batches.push(bytes);
    }
    Ok(batches)
}

#[test]
fn a_flipped_bit_of_the_log_gives_a_right_answer_or_a_typed_error() {
    let originals = plain_batches(12, 10);
    let (folder, seal) = sealed_folder(plain_batches(12, 10));
    let starts: Vec<u64> =
        headers(&folder.sealed(0, 24, None)).into_iter().map(|(position, _)| position).collect();
    for_each_flip(&folder, Suffix::Log, |bit| {
        let byte = bit as u64 / 8;
        let start = starts[starts.partition_point(|start| *start <= byte) - 1];
        let in_epoch = (12..16).contains(&(byte - start));
        for seal in [None, Some(seal.clone())] {
            let segment = folder.sealed(0, 24, seal);
            match read_all(&segment, 12) {
                Err(SegmentError::Corrupt(error)) => {
                    assert_eq!(error.path, segment.path());
                    let place = (start..=starts.last().unwrap() + 100).contains(&error.position);
                    assert!(place, "bit {bit} of batch {start}: {error}");
                }
                Err(error) => panic!("bit {bit}: {error}"),
                // The leader epoch stands outside the CRC: the epoch checkpoint finds that.
                Ok(found) => {
                    assert!(in_epoch, "bit {bit} was not noticed");
                    assert_eq!(found.len(), originals.len());
                }
            }
        }
    });
}

#[test]
fn batches_before_the_damage_are_still_found() {
    let (folder, _) = sealed_folder(plain_batches(16, 20));
    let damaged = headers(&folder.sealed(0, 32, None))[7].0 as usize;
    let mut log = folder.bytes(0, Suffix::Log);
    log[damaged + 8] = 0x7F; // a batch length of 2 GB
    folder.overwrite(0, Suffix::Log, &log);
    folder.storage.remove_file(&file_path(&folder.dir, 0, Suffix::Index)).unwrap();
    let segment = folder.sealed(0, 32, None);
    for offset in 0..14 {
        assert_eq!(segment.locate(offset).unwrap().unwrap().1.base_offset, offset / 2 * 2);
    }
    let error = segment.locate(25).unwrap_err();
    let SegmentError::Corrupt(Corruption { position, what, .. }) = error else { panic!("{error}") };
    assert_eq!((position, what), (damaged as u64 + 8, "batch length"));
}

#[test]
fn a_log_that_lost_its_end_is_no_shorter_log() {
    let (folder, seal) = sealed_folder(plain_batches(16, 20));
    let cut = headers(&folder.sealed(0, 32, None))[10].0;
    let log = folder.bytes(0, Suffix::Log);
    folder.overwrite(0, Suffix::Log, &log[..cut as usize]);
    // Found at the start, by the length of the folder's entry …
    let segment = folder.sealed(0, 32, Some(seal.clone()));
    assert!(segment.seal().is_none());
    assert!(matches!(segment.locate(28), Err(SegmentError::Corrupt(_))));
    // … or while it is open.
    let (storage, dir) = (&folder.storage, &folder.dir);
    let len = log.len() as u64;
    let segment = Segment::sealed(storage, dir, 0, len, 32, Some(seal), &folder.options);
    assert!(matches!(segment.read(cut, len, 1_000, true), Err(SegmentError::Corrupt(_))));
    assert!(matches!(segment.locate(28), Err(SegmentError::Corrupt(_))));
}

#[test]
fn an_index_that_kafka_wrote_per_append_is_right_too() {
    // Before 4.3 an entry was made per append: last offset of its last batch, position of its first.
    let (folder, _) = sealed_folder(plain_batches(16, 20));
    let position_of = |n: usize| headers(&folder.sealed(0, 32, None))[n].0 as u32;
    let entries: Vec<u8> = [(4, 6), (9, 12)]
        .into_iter()
        .flat_map(|(first, last): (usize, u32)| {
            [(last * 2 + 1).to_be_bytes(), position_of(first).to_be_bytes()].concat()
        })
        .collect();
    folder.overwrite(0, Suffix::Index, &entries);
    let segment = folder.sealed(0, 32, None);
    assert_right(&segment, "entries per append");
    assert_eq!(folder.rebuilds(), 1);
}

/// Timestamps of the batches' first records: spikes, and the same millisecond again in later batches, with
/// larger ones between.
const UNEVEN: [i64; 20] = [2, 4, 8, 4, 4, 14, 8, 14, 11, 4, 17, 14, 17, 17, 20, 8, 23, 20, 23, 3];
/// One spike, and many entries of a time index before it is reached again.
const SPIKED: [i64; 20] = [2, 3, 18, 4, 5, 6, 7, 8, 9, 10, 11, 4, 12, 13, 14, 18, 23, 20, 23, 3];

/// Batches of two records, the second a millisecond older.
fn uneven_batches(times: [i64; 20]) -> Vec<SealedBatch> {
    (0..).zip(times).map(|(n, at)| batch(n * 2, &[at, at - 1], 0)).collect()
}

/// All timestamps looked up, and the largest one: each answer is right, or the error of a damage.
/// Gives the number of right ones.
fn right_times(segment: &Segment, times: [i64; 20], what: &str) -> usize {
    let is_right = |corrupt: Result<(), SegmentError>| match corrupt {
        Ok(()) => true,
        Err(SegmentError::Corrupt(error)) => {
            assert_eq!(error.path, segment.path(), "{what}");
            false
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let largest = segment.max_timestamp().map(|found| match found {
        // Of a damaged one that is appended to.
        Some((i64::MAX, _)) => {}
        found => assert_eq!(found, Some((23, 33)), "{what}"),
    });
    let mut right = usize::from(is_right(largest));
    for timestamp in 0..26 {
        let mut records = times.into_iter().flat_map(|at| [at, at - 1]).zip(0..);
        let expected = records.find(|(at, _)| *at >= timestamp);
        let found = segment.find_timestamp(timestamp, 0).map(|found| {
            assert_eq!(found, expected, "{what}: timestamp {timestamp}");
        });
        right += usize::from(is_right(found));
    }
    right
}

/// Without a seal nothing has a checksum but the batches: neither an entry nor a header is believed
/// that no batch vouches for.
#[test]
fn without_a_seal_a_flipped_bit_gives_no_wrong_time() {
    for (has_times, gaps_allowed) in [(true, false), (false, false), (true, true), (false, true)] {
        let batch_times = if has_times { UNEVEN } else { SPIKED };
        let (mut folder, _) = sealed_folder(uneven_batches(batch_times));
        folder.options.gaps_allowed = gaps_allowed;
        for suffix in [Suffix::Log, Suffix::TimeIndex, Suffix::Index] {
            let sound = headers(&folder.sealed(0, 40, None));
            let starts: Vec<u64> = sound.into_iter().map(|(position, _)| position).collect();
            let times = folder.bytes(0, Suffix::TimeIndex);
            assert!(times.len() > 4 * 12 || !has_times, "several entries");
            if !has_times {
                folder.storage.remove_file(&file_path(&folder.dir, 0, Suffix::TimeIndex)).unwrap();
                if suffix == Suffix::TimeIndex {
                    folder.overwrite(0, suffix, &times);
                    continue;
                }
            }
            let mut refused = 0;
            for_each_flip(&folder, suffix, |bit| {
                if gaps_allowed
                    && suffix == Suffix::Log
                    && starts.iter().any(|start| (*start..start + 8).contains(&(bit as u64 / 8)))
                {
                    return; // no checksum covers base offsets, only neighbours without a gap tell
                }
                let what = format!("{suffix} bit {bit}, time index {has_times}, {gaps_allowed}");
                refused += 27 - right_times(&folder.sealed(0, 40, None), batch_times, &what);
            });
            assert_eq!(refused > 0, suffix == Suffix::Log, "{suffix}: {refused} refused");
            folder.overwrite(0, Suffix::TimeIndex, &times);
        }
    }
}

/// What is appended, rolled and cut behind a damaged batch does not make up for it.
#[test]
fn a_damaged_batch_in_a_segment_that_is_appended_to_hides_its_largest_timestamp() {
    for suffix in [Suffix::Log, Suffix::TimeIndex] {
        let (folder, _) = sealed_folder(uneven_batches(UNEVEN));
        let files = [Suffix::Log, Suffix::Index, Suffix::TimeIndex];
        let sound = files.map(|suffix| (suffix, folder.bytes(0, suffix)));
        let mut hidden = 0;
        for_each_flip(&folder, suffix, |bit| {
            if bit % 3 > 0 {
                return; // of each byte two or three
            }
            let what = format!("{suffix} bit {bit}");
            for trust in [Trust::Indexes, Trust::Nothing] {
                let flipped = folder.bytes(0, suffix);
                let Ok(mut active) = folder.open(0, trust) else { continue };
                right_times(active.segment(), UNEVEN, &what);
                active.append(&mut vec![batch(40, &[21, 21], 400), batch(42, &[4, 4], 9)]).unwrap();
                active.truncate_to(40).unwrap();
                right_times(active.segment(), UNEVEN, &what);
                active.append(&mut vec![batch(40, &[22, 22], 400), batch(42, &[4, 4], 9)]).unwrap();
                let (sealed, seal) = active.seal().unwrap();
                right_times(&sealed, UNEVEN, &what);
                right_times(&folder.sealed(0, 44, Some(seal.clone())), UNEVEN, &what);
                right_times(&folder.sealed(0, 44, None), UNEVEN, &what);
                hidden += u32::from(seal.largest_timestamp.unwrap().0 == i64::MAX);
                for (suffix, bytes) in &sound {
                    folder.overwrite(0, *suffix, bytes);
                }
                folder.overwrite(0, suffix, &flipped);
            }
        });
        assert_eq!(hidden > 0, suffix == Suffix::Log);
    }
}

/// Found by fuzzing: where gaps are allowed, an offset that no index entry can hold was taken over from the
/// header, which no checksum covers there, and the open panicked.
#[test]
fn a_flipped_bit_of_an_offset_in_a_log_with_gaps_never_panics() {
    let (mut folder, _) = sealed_folder(plain_batches(3, 20));
    folder.options.gaps_allowed = true;
    folder.options.index_interval_bytes = 1;
    let last = folder.bytes(0, Suffix::Log).len() / 3 * 2;
    let mut refused = 0;
    for_each_flip(&folder, Suffix::Log, |bit| {
        if !(last..last + 8).contains(&(bit / 8)) {
            return;
        }
        for trust in [Trust::Indexes, Trust::Nothing] {
            match folder.open(0, trust) {
                Ok(active) => assert!(active.next_offset() <= 1 << 31),
                Err(SegmentError::Corrupt(error)) => {
                    assert_eq!(error.position, last as u64);
                    refused += 1;
                }
                Err(error) => panic!("bit {bit}: {error}"),
            }
        }
    });
    assert!(refused > 60, "most such offsets are refused: {refused}");
}
