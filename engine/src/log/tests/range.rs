//! Batches that are found to be sent, not read.

use std::{
    io::{ErrorKind, Read},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
};

use super::bench::{
    Bench, NOW_MS, batch, batch_of, build, one, open_real, read, small, transactional,
};
use crate::{
    io::{Open, PortableDisk, SyncKind},
    log::{FetchedRange, Isolation, LogConfig, PartitionLog, ReadError, state::PartitionState},
    record::{Marker, control_batch},
    segment::{Suffix, file_path},
    types::Offset,
};

/// What a receiver gets of a range that is sent in parts of any size.
fn sent(range: &FetchedRange) -> Vec<u8> {
    let (near, mut far) = UnixStream::pair().unwrap();
    let received = thread::spawn(move || {
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut at = 0;
    loop {
        match range.send(at, &near).unwrap() {
            0 => break,
            count => at += count as u64,
        }
    }
    drop(near);
    received.join().unwrap().unwrap()
}

/// Batches behind damage were found, and the owner cuts the log there: what takes their place is not sent for them.
#[test]
fn what_takes_the_place_of_damage_is_not_sent() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    bench.append_each(0..10);
    bench
        .dir
        .note(bench.log.partition(), PartitionState { recovery_point: 0, ..bench.log.state() });
    bench.dir.persist().unwrap();
    let path = file_path(bench.log.path(), 0, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    file.write_at(2 * one() + 70, vec![0xAA; 4]).unwrap();
    file.sync(SyncKind::All).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
    let range = bench.log.fetch_range(5, 1 << 20, Isolation::LogEnd).unwrap();
    assert_eq!((range.first_offset(), range.next_offset()), (5, 10));
    bench.log.cut_damage().unwrap().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let is_refused = || matches!(range.send(0, &near), Err(ReadError::Truncated { .. }));
    assert!(is_refused());
    bench.append_each(2..20);
    assert!(is_refused(), "other batches stand there now");
}

/// A file that ends too early is no end of a range.
#[test]
fn a_range_that_the_file_does_not_have_is_an_error() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    bench.append_each(0..3);
    let range = bench.log.fetch_range(0, 1 << 20, Isolation::LogEnd).unwrap();
    let path = file_path(bench.log.path(), 0, Suffix::Log);
    bench.storage().open(&path, Open::Write).unwrap().set_len(one()).unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    assert_eq!(range.send(0, &near).unwrap() as u64, one());
    let refused = range.send(one(), &near).unwrap_err().to_string();
    assert!(refused.contains("length of the file: expected at least"), "{refused}");
}

/// A range is what a fetch gives, for each offset, size and isolation.
fn agrees(log: &PartitionLog) {
    let marks = log.watermarks();
    let mut ranges = 0;
    for isolation in [Isolation::LogEnd, Isolation::Committed, Isolation::Stable] {
        for offset in marks.log_start - 1..=marks.log_end + 1 {
            for max_bytes in [0, 1, one() - 1, one(), one() + 1, 3 * one() - 1, 5 * one(), 1 << 20]
            {
                let place = format!("{isolation:?}, offset {offset}, {max_bytes} bytes");
                let range = log.fetch_range(offset, max_bytes, isolation);
                let fetched = log.fetch(offset, max_bytes as usize, isolation);
                let (Ok(range), Ok(fetched)) = (&range, &fetched) else {
                    assert_eq!(range.is_err(), fetched.is_err(), "{place}: {range:?} {fetched:?}");
                    continue;
                };
                let ends = |first: Offset, next: Offset| (first, next);
                assert_eq!(
                    ends(range.first_offset(), range.next_offset()),
                    ends(fetched.first_offset(), fetched.next_offset()),
                    "{place}"
                );
                assert_eq!(range.len(), fetched.bytes().len() as u64, "{place}");
                assert_eq!(range.aborted(), fetched.aborted(), "{place}");
                if let Some(found) = range.range() {
                    assert_eq!(
                        (found.path(), found.position()),
                        (fetched.path(), fetched.position())
                    );
                    assert_eq!(sent(range), fetched.bytes(), "{place}");
                    ranges += 1;
                }
            }
        }
    }
    assert!(ranges > 100, "{ranges}");
}

/// Nothing is a range too, and no fetch that counts.
#[test]
fn an_empty_range_is_empty() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    let fetches = || (bench.log.metrics().fetches.get(), bench.log.metrics().fetched_bytes.get());
    let before = fetches();
    let nothing = bench.log.fetch_range(3, 1 << 20, Isolation::LogEnd).unwrap();
    assert!(nothing.is_empty() && nothing.range().is_none());
    assert_eq!(fetches(), before);
    let all = bench.log.fetch_range(0, 1 << 20, Isolation::LogEnd).unwrap();
    assert!(!all.is_empty());
    assert_eq!(fetches(), (before.0 + 1, before.1 + 3 * one()));
}

/// Damage between a range and what is committed: where it is known the range ends there, and where it is not
/// nothing tells where the range would have to end.
#[test]
fn a_range_ends_at_damage_before_what_is_committed() {
    let config = LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 1 << 20, ..small() };
    let bench = Bench::new(config);
    bench.append_each(0..5);
    bench.log.append(vec![build(transactional(7, 0), NOW_MS, &["0005"])], 1).unwrap();
    bench.append_each(6..8);
    let state = PartitionState { recovery_point: 0, ..bench.log.state() };
    bench.dir.note(bench.log.partition(), state);
    bench.dir.persist().unwrap();
    let path = file_path(bench.log.path(), 0, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    let stable = |bench: &Bench, from| bench.log.fetch_range(from, 1 << 20, Isolation::Stable);
    assert_eq!(stable(&bench, 1).unwrap().next_offset(), 5);
    file.write_at(3 * one() + 16, vec![0xAA]).unwrap();
    file.sync(SyncKind::All).unwrap();
    assert!(matches!(stable(&bench, 1), Err(ReadError::Corrupt(_))));
    let bench = bench.kill();
    assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
    let range = stable(&bench, 1).unwrap();
    assert_eq!((range.first_offset(), range.next_offset()), (1, 3));
    assert_eq!(stable(&bench, 4).unwrap().next_offset(), 5);
}

#[test]
fn a_range_is_what_a_fetch_gives() {
    for index_interval_bytes in [1, 200, 4096] {
        for segment_bytes in [5 * one(), 1 << 20] {
            let config = LogConfig { segment_bytes, index_interval_bytes, ..small() };
            let bench = Bench::new(config);
            bench.append_each(0..12);
            bench.log.delete_records_before(2).unwrap();
            bench.append(&["12", "13", "14"]);
            bench.append(&["15"]);
            agrees(&bench.log);
            agrees(&bench.reopen().log);
        }
    }
}

#[test]
fn a_range_ends_at_an_open_transaction() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    bench.append_each(0..3);
    let append = |batch| {
        let end = bench.log.append(vec![batch], 1).unwrap().end;
        bench.log.commit(end).unwrap();
    };
    append(build(transactional(7, 0), NOW_MS, &["3"]));
    append(control_batch(Marker::Abort, 7, 0, 0, NOW_MS));
    append(batch_of(9, 0, &["5", "6"]));
    append(build(transactional(7, 1), NOW_MS, &["7"]));
    append(batch(&["8"]));
    let range = bench.log.fetch_range(0, 1 << 20, Isolation::Stable).unwrap();
    assert_eq!((range.next_offset(), range.aborted().len()), (7, 1));
    agrees(&bench.log);
}

#[test]
fn a_range_stops_before_damage_and_goes_on_behind_it() {
    let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
    bench.append_each(0..12);
    let path = file_path(bench.log.path(), 0, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    file.write_at(2 * one() + 70, vec![0xAA; 4]).unwrap();
    file.sync(SyncKind::All).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.log.damage().len(), 1);
    let ends = |offset| {
        let range = bench.log.fetch_range(offset, 1 << 20, Isolation::LogEnd)?;
        Ok::<_, ReadError>((range.first_offset(), range.next_offset(), range.len() / one()))
    };
    assert_eq!(ends(0).unwrap(), (0, 2, 2));
    assert!(matches!(ends(2), Err(ReadError::Corrupt(_))));
    assert_eq!(ends(5).unwrap(), (5, 10, 5));
}

#[test]
fn a_range_that_was_cut_off_is_not_sent() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    bench.append_each(0..10);
    let range = bench.log.fetch_range(0, 1 << 20, Isolation::LogEnd).unwrap();
    bench.log.truncate_to(5).unwrap();
    bench.append_each(5..10);
    let (near, _far) = UnixStream::pair().unwrap();
    let refused = range.send(0, &near);
    assert!(matches!(refused, Err(ReadError::Truncated { .. })), "{refused:?}");
}

#[test]
fn files_go_to_sockets_on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (_dir, log) = open_real(PortableDisk::new(), folder.path(), LogConfig::default());
    let log = Arc::new(log);
    let value = "x".repeat(1000);
    for _ in 0..40 {
        log.append(vec![batch(&[value.as_str(); 10])], 1).unwrap();
    }
    log.commit(400).unwrap();
    let mut next = 0;
    let mut bytes = 0;
    while next < 400 {
        let range = log.fetch_range(next, 30_000, Isolation::Committed).unwrap();
        let received = sent(&range);
        let fetched = log.fetch(next, 30_000, Isolation::Committed).unwrap();
        assert_eq!(received, fetched.bytes());
        (next, bytes) = (range.next_offset(), bytes + range.len());
    }
    assert_eq!(bytes, log.size().1);
    assert_eq!(read(&log, 0, Isolation::Committed).unwrap().len(), 400);
    // A socket that nobody reads from takes so much and no more.
    let range = log.fetch_range(0, u64::MAX, Isolation::Committed).unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut at = 0;
    let error = loop {
        match range.send(at % range.len(), &near) {
            Ok(count) => at += count as u64,
            Err(error) => break error,
        }
    };
    let ReadError::Io(error) = &error else { panic!("{error}") };
    assert_eq!(error.source.kind(), ErrorKind::WouldBlock);
    assert_eq!((error.operation, at > 0), ("send", true));
}
