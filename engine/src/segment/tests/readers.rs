//! Readers beside the appender: what they see is whole, in order, and theirs to keep.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::record::Batch;

/// Reads the log from a place to its end, by whole batches, checking all there is to check.
fn read_on(segment: &Segment, from: Offset) -> Result<(), SegmentError> {
    let view = segment.view();
    let end = view.next_offset();
    let Some((mut position, mut header)) = view.locate(from)? else { return Ok(()) };
    assert!(header.base_offset <= from && from <= header.last_offset());
    let mut expected = header.base_offset;
    loop {
        let bytes = view.read(position, u64::MAX, 3_000, true)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            // The bytes are the log's, so nothing but a batch of the right offset may stand here.
            let batch = Batch::check(rest).unwrap();
            header = *batch.header();
            assert_eq!(header.base_offset, expected);
            expected = header.next_offset();
            rest = &rest[header.total_bytes()..];
        }
        position += bytes.len() as u64;
        if bytes.is_empty() {
            break;
        }
    }
    assert_eq!(expected, end);
    Ok(())
}

fn run_beside(active: &mut ActiveSegment, work: impl FnOnce(&mut ActiveSegment)) {
    let segment = active.segment().clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3_u64 {
            let (segment, done) = (&segment, &done);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(reader);
                while !done.load(Ordering::Relaxed) {
                    let from = random.i64(0..segment.next_offset().max(1));
                    let found = segment.find_timestamp(from * 10, 0);
                    for result in [read_on(segment, from), found.map(|_| ())] {
                        match result {
                            Ok(()) | Err(SegmentError::Truncated { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    if let Some((timestamp, offset)) = segment.max_timestamp().unwrap() {
                        assert_eq!(timestamp / 10, offset);
                    }
                }
            });
        }
        work(active);
        done.store(true, Ordering::Relaxed);
    });
}

/// Appends up to offset `end`; a record's timestamp is ten times its offset.
fn append_up_to(active: &mut ActiveSegment, end: Offset, random: &mut fastrand::Rng) {
    while active.next_offset() < end {
        let mut batches = Vec::new();
        let mut base = active.next_offset();
        for _ in 0..random.usize(1..5) {
            let timestamps: Vec<i64> = (0..random.i64(1..4)).map(|n| (base + n) * 10).collect();
            batches.push(batch(base, &timestamps, random.usize(0..400)));
            base += timestamps.len() as i64;
        }
        active.append(&mut batches).unwrap();
    }
}

#[test]
fn readers_follow_an_appending_segment() {
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions { index_interval_bytes: 500, ..SegmentOptions::default() };
    let mut active = ActiveSegment::create(&Storage::portable(), dir.path(), 0, &options).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    run_beside(&mut active, |active| append_up_to(active, 4_000, &mut random));
    assert_eq!(options.metrics.index_fallbacks.get(), 0);
}

#[test]
fn readers_survive_truncations_under_them() {
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions { index_interval_bytes: 500, ..SegmentOptions::default() };
    let mut active = ActiveSegment::create(&Storage::portable(), dir.path(), 0, &options).unwrap();
    let mut random = fastrand::Rng::with_seed(8);
    run_beside(&mut active, |active| {
        for _ in 0..60 {
            let next = active.next_offset();
            append_up_to(active, next + 100, &mut random);
            active.truncate_to(random.i64(0..active.next_offset())).unwrap();
        }
    });
    let expected = active.next_offset();
    let (sealed, _) = active.seal().unwrap();
    assert_eq!(headers(&sealed).last().map_or(0, |(_, header)| header.next_offset()), expected);
}
