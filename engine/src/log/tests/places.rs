//! What a reader finds damaged is named: file, byte, what was expected and what is there.

use super::bench::{Bench, NOW_MS, batch_at, small};
use crate::{
    error::Corruption,
    io::Open,
    log::{Isolation, LogConfig, ReadError},
    record::BatchHeader,
    segment::{Suffix, file_name},
    types::Offset,
};

/// Batches of these many records, with the position and the header of each in the second segment.
fn second_segment(bench: &Bench) -> Vec<(u64, BatchHeader)> {
    for (number, count) in [3, 1, 2, 1, 3, 2, 1].into_iter().enumerate() {
        let values = vec!["value"; count];
        bench.log.append(vec![batch_at(NOW_MS + number as i64, &values)], 5).unwrap();
    }
    let set = bench.log.segments.load();
    let headers: Vec<_> = set.as_slice()[1].headers(0).map(Result::unwrap).collect();
    assert!(headers.len() > 2, "{headers:?}");
    headers
}

/// Writes `bytes` at `at` of the second segment.
fn overwrite(bench: &Bench, at: u64, bytes: &[u8]) {
    let path = bench.log.path().join(file_name(bench.bases()[1], Suffix::Log));
    bench.storage().open(&path, Open::Write).unwrap().write_at(at, bytes.to_vec()).unwrap();
}

/// Reads from `from` on until something is refused; gives that, and where the sound batches end.
fn refusal(bench: &Bench, mut from: Offset) -> (Offset, Corruption) {
    loop {
        match bench.log.fetch(from, 1 << 20, Isolation::LogEnd) {
            Ok(fetched) if !fetched.is_empty() => from = fetched.next_offset(),
            Err(ReadError::Corrupt(corruption)) => return (from, corruption),
            other => panic!("nothing is refused: {:?}", other.err()),
        }
    }
}

#[test]
fn a_fetch_tells_where_its_batches_stand() {
    let bench = Bench::new(LogConfig { segment_bytes: 300, ..small() });
    let headers = second_segment(&bench);
    for (position, header) in &headers {
        let fetched = bench.log.fetch(header.base_offset, 1 << 20, Isolation::LogEnd).unwrap();
        assert_eq!(fetched.position(), *position);
        assert!(fetched.path().ends_with(file_name(bench.bases()[1], Suffix::Log)));
        let mut batches = fetched.batches();
        let mut positions = Vec::new();
        while let (at, Some(batch)) = (batches.position(), batches.next()) {
            positions.push((at as u64 + position, batch.unwrap().header().base_offset));
        }
        let behind = headers.iter().filter(|(at, _)| at >= position);
        assert_eq!(positions, behind.map(|(at, it)| (*at, it.base_offset)).collect::<Vec<_>>());
    }
}

/// What is written over a header, and what is said of it.
struct Change {
    /// Byte of the header.
    at: u64,
    bytes: Vec<u8>,
    what: &'static str,
    expected: String,
    found: String,
}

/// None of these is in a checksum's reach.
fn changes(header: &BatchHeader) -> [Change; 3] {
    let change = |at, bytes: &[u8], what, expected: String, found: String| {
        let bytes = bytes.to_vec();
        Change { at, bytes, what, expected, found }
    };
    let (expected, found) = (header.base_offset, header.base_offset + 1);
    [
        change(16, &[3], "magic", "2".into(), "3".into()),
        change(0, &found.to_be_bytes(), "base offset", expected.to_string(), found.to_string()),
        change(12, &4_i32.to_be_bytes(), "leader epoch", "5".into(), "4".into()),
    ]
}

#[test]
fn a_header_that_does_not_fit_its_neighbour_is_named() {
    for change in 0..3 {
        for place in [1, 2] {
            let bench = Bench::new(LogConfig { segment_bytes: 300, ..small() });
            let headers = second_segment(&bench);
            let (position, header) = headers[place];
            let Change { at, bytes, what, expected, found } = &changes(&header)[change];
            overwrite(&bench, position + at, bytes);
            let (sound_until, corruption) = refusal(&bench, headers[0].1.base_offset);
            assert!(sound_until <= header.base_offset);
            assert!(corruption.path.ends_with(file_name(bench.bases()[1], Suffix::Log)));
            assert_eq!((corruption.position, corruption.what), (position + at, *what));
            assert!(corruption.expected.contains(expected), "{corruption}");
            assert!(corruption.found.contains(found), "{corruption}");
        }
    }
}

/// The checksum stands at byte 17 of a header.
#[test]
fn a_batch_that_does_not_fit_its_checksum_is_named() {
    let bench = Bench::new(LogConfig { segment_bytes: 300, ..small() });
    let headers = second_segment(&bench);
    let (position, header) = headers[2];
    overwrite(&bench, position + header.total_bytes() as u64 - 1, b"?");
    for (from, sound) in [(0, 2), (1, 1), (2, 0)] {
        let fetched = bench.log.fetch(headers[from].1.base_offset, 1 << 20, Isolation::LogEnd);
        let fetched = fetched.unwrap();
        let mut batches = fetched.batches();
        assert!(batches.by_ref().take(sound).all(|batch| batch.is_ok()));
        let corruption = batches.next().unwrap().unwrap_err();
        assert_eq!((corruption.position, corruption.what), (position + 17, "crc"));
        assert!(batches.next().is_none(), "nothing behind it is believed");
    }
}

/// In a compacted log offsets have gaps, but never go back.
#[test]
fn a_gap_is_damage_only_where_nothing_was_compacted() {
    for (compacted, by, is_damage) in [(false, 1, true), (true, 1, false), (true, -1, true)] {
        let bench = Bench::new(LogConfig { segment_bytes: 300, compacted, ..small() });
        let headers = second_segment(&bench);
        let (position, header) = headers[1];
        let first = headers[0].1.base_offset;
        overwrite(&bench, position, &(header.base_offset + by).to_be_bytes());
        let fetched = bench.log.fetch(first, 1 << 20, Isolation::LogEnd).unwrap();
        let sound = header.base_offset..=header.base_offset;
        assert_eq!(sound.contains(&fetched.next_offset()), is_damage, "{by}, {compacted}");
    }
}
