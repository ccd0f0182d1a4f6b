//! Appends: stamps, producers, fencing, rolls.

use std::time::Duration;

use super::bench::{Bench, NOW_MS, batch, batch_at, batch_of, build, one, small};
use crate::{
    io::Loss,
    log::{AppendError, Isolation, LogConfig, producers::ProducerError},
    record::{BatchSettings, Decoder, SealedBatch, TimestampType},
    types::{Durability, Offset},
};

/// The bytes that a follower would fetch.
fn fetched(bench: &Bench) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = 0;
    loop {
        let fetched = bench.log.fetch(next, 1 << 20, Isolation::LogEnd).unwrap();
        if fetched.is_empty() {
            return bytes;
        }
        next = fetched.next_offset();
        bytes.extend_from_slice(fetched.bytes());
    }
}

#[test]
fn a_leader_stamps_offsets_and_epoch_and_gives_the_buffers_back() {
    let bench = Bench::new(LogConfig::default());
    let appended = bench.log.append(vec![batch(&["0", "1"]), batch(&["2"])], 7).unwrap();
    assert_eq!((appended.base_offsets, appended.end.offset()), (vec![0, 2], 3));
    assert_eq!((appended.buffers.len(), appended.log_append_time), (2, None));

    let fetched = bench.log.fetch(0, 1 << 20, Isolation::LogEnd).unwrap();
    let headers: Vec<_> = fetched.batches().map(|batch| *batch.unwrap().header()).collect();
    assert_eq!(headers.iter().map(|header| header.base_offset).collect::<Vec<_>>(), [0, 2]);
    assert!(headers.iter().all(|header| header.leader_epoch == 7));
    assert_eq!(bench.log.leader_epochs().latest().unwrap().epoch, 7);
    assert_eq!(bench.offsets(), [0, 1, 2]);
}

#[test]
fn nothing_to_append_is_no_error() {
    let bench = Bench::new(LogConfig::default());
    assert_eq!(bench.log.append(Vec::new(), 1).unwrap().end.offset(), 0);
    assert_eq!(bench.log.append_as_follower(&[]).unwrap().end.offset(), 0);
    assert!(bench.log.leader_epochs().latest().is_none());
}

#[test]
fn log_append_time_is_the_leaders_clock() {
    let timestamp_type = TimestampType::LogAppendTime;
    let bench = Bench::new(LogConfig { timestamp_type, ..LogConfig::default() });
    bench.clock.advance(Duration::from_secs(5));
    let appended = bench.log.append(vec![batch_at(7, &["0", "1"])], 1).unwrap();
    assert_eq!(appended.log_append_time, Some(NOW_MS + 5_000));
    let fetched = bench.log.fetch(0, 1 << 20, Isolation::LogEnd).unwrap();
    let found = fetched.batches().next().unwrap().unwrap();
    let mut decoder = Decoder::new();
    for record in found.records(&mut decoder).unwrap() {
        assert_eq!(record.unwrap().timestamp, NOW_MS + 5_000);
    }
}

#[test]
fn a_follower_keeps_every_byte_and_passes_over_what_it_has() {
    let leader = Bench::new(small());
    for value in 0..20 {
        let (epoch, text) = (value / 6, value.to_string());
        leader.log.append(vec![batch_of(9, value, &[&text])], epoch).unwrap();
    }
    let bytes = fetched(&leader);
    let follower = Bench::new(LogConfig::default());
    let end = follower.log.append_as_follower(&bytes[..]).unwrap().end.offset();
    assert_eq!(end, 20);
    assert_eq!(fetched(&follower), bytes);
    assert_eq!(follower.log.leader_epochs(), leader.log.leader_epochs());

    let again = follower.log.append_as_follower(&bytes).unwrap();
    assert_eq!((again.end.offset(), again.base_offsets.len()), (20, 0));
    // What the follower knows of the producer it knows as a leader too.
    let repeated = follower.log.append(vec![batch_of(9, 19, &["19"])], 4).unwrap();
    assert_eq!((repeated.base_offsets, repeated.end.offset()), (vec![19], 20));
}

#[test]
fn a_follower_refuses_gaps_and_damaged_bytes_whole() {
    let leader = Bench::new(LogConfig::default());
    leader.append_each(0..4);
    let bytes = fetched(&leader);
    let one = bytes.len() / 4;
    let follower = Bench::new(LogConfig::default());
    let gap = follower.log.append_as_follower(&bytes[one..]);
    assert!(matches!(gap, Err(AppendError::OutOfOrder { log_end: 0, found: 1 })), "{gap:?}");
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        // Offsets and epochs stand outside the checksum; batches below the log end are passed over.
        let outside = matches!(at / 8 % one, 0..=7 | 12..=15);
        assert!(outside || follower.log.append_as_follower(&flipped).is_err(), "bit {at}");
    }
    let torn = follower.log.append_as_follower(&bytes[..bytes.len() - 1]);
    assert!(matches!(torn, Err(AppendError::Batch { .. })), "{torn:?}");
}

/// The bytes of batches that stand far apart, as a compacted leader has them.
fn at(offsets: &[Offset]) -> Vec<u8> {
    let batch = |offset: &Offset| {
        let mut batch = batch(&[&offset.to_string()]);
        batch.stamp(*offset, 1);
        batch.into_bytes()
    };
    offsets.iter().flat_map(batch).collect()
}

#[test]
fn a_follower_follows_over_gaps_wider_than_a_segment() {
    const FAR: Offset = 1 << 31;
    let config = LogConfig { compacted: true, ..LogConfig::default() };
    for first in [0, FAR + 7] {
        let bench = Bench::new(config.clone());
        let offsets = [first, first + 1, first + 1 + FAR, first + FAR * 2, first + FAR * 5];
        bench.log.append_as_follower(&at(&offsets[..2])).unwrap();
        let [.., a, b, c] = offsets;
        let refused = bench.log.append_as_follower(&at(&[a, b, c]));
        let right = matches!(refused, Err(AppendError::TooFar { first, found }) if (first, found) == (a, c));
        assert!(right, "{refused:?}");
        assert_eq!(bench.offsets(), offsets[..2], "all or none");
        for group in [&[a, b][..], &[c]] {
            let end = bench.log.append_as_follower(&at(group)).unwrap().end;
            bench.log.commit(end).unwrap();
        }
        assert_eq!(bench.offsets(), offsets);
        assert_eq!(bench.bases().last(), Some(&c));
        // Nothing has expired: the log starts where it did, and readers come over each gap.
        bench.log.step(Duration::ZERO).unwrap();
        assert_eq!(bench.log.watermarks().log_start, 0);
        let bench = bench.kill();
        assert_eq!(bench.offsets(), offsets);
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), offsets);
        assert!(bench.report.damage.is_empty() && bench.report.cut.is_none());
        let bench = bench.reopen();
        assert!(bench.report.clean);
        assert_eq!(bench.offsets(), offsets);
        assert_eq!(bench.log.truncate_to(a + 5).unwrap(), a + 5, "in the gap");
        assert_eq!(bench.offsets(), offsets[..3]);
        bench.log.append_as_follower(&at(&[c])).unwrap();
        assert_eq!(bench.kill().offsets(), [first, first + 1, a, c]);
    }
}

#[test]
fn a_gap_that_could_not_be_crossed_yet_is_tried_again() {
    const FAR: Offset = 1 << 33;
    let mut refused = 0;
    for room in (0..800).step_by(7) {
        let config = LogConfig { compacted: true, prepare_bytes: 0, ..LogConfig::default() };
        let bench = Bench::new(config);
        bench.log.append_as_follower(&at(&[0])).unwrap();
        bench.disk.fill_up(room);
        for _ in 0..2 {
            if let Err(full) = bench.log.append_as_follower(&at(&[FAR])) {
                assert!(full.is_disk_full(), "{full}");
                refused += 1;
            }
            let _ = bench.log.step(Duration::ZERO);
        }
        bench.disk.fill_up(1 << 20);
        let end = bench.log.append_as_follower(&at(&[FAR])).unwrap().end;
        bench.log.commit(end).unwrap();
        bench.log.step(Duration::ZERO).unwrap();
        assert_eq!(bench.offsets(), [0, FAR]);
        assert_eq!(bench.cut_power(Loss::Everything).offsets(), [0, FAR], "{room} bytes");
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_repeated_batch_is_acknowledged_with_its_first_offset_even_across_reopening() {
    let mut bench = Bench::new(small());
    for sequence in 0..8 {
        bench.log.append(vec![batch_of(5, sequence, &[&sequence.to_string()])], 1).unwrap();
    }
    let again = bench.log.append(vec![batch_of(5, 7, &["7"]), batch_of(5, 8, &["8"])], 1).unwrap();
    assert_eq!((again.base_offsets, again.end.offset()), (vec![7, 8], 9));
    assert_eq!(again.buffers.len(), 2);
    bench.log.commit(9).unwrap();
    for (round, expected) in (9..15).enumerate() {
        bench = match round % 3 {
            0 => bench.reopen(),
            1 => {
                bench.checkpoint();
                bench.kill()
            }
            _ => bench.cut_power(Loss::Everything),
        };
        let last = expected as i32 - 1;
        let again = bench.log.append(vec![batch_of(5, last, &["x"])], 1).unwrap();
        assert_eq!(
            (again.base_offsets, again.end.offset()),
            (vec![expected - 1], expected),
            "{round}"
        );
        let gap = bench.log.append(vec![batch_of(5, last + 2, &["x"])], 1);
        assert!(
            matches!(gap, Err(AppendError::Producer(ProducerError::OutOfOrderSequence { .. }))),
            "{gap:?}"
        );
        bench.log.append(vec![batch_of(5, last + 1, &[&expected.to_string()])], 1).unwrap();
        bench.log.commit(expected + 1).unwrap();
    }
    assert_eq!(bench.offsets(), (0..15).collect::<Vec<_>>());
}

#[test]
fn a_refused_batch_takes_its_whole_group_along() {
    let bench = Bench::new(LogConfig::default());
    bench.log.append(vec![batch_of(5, 0, &["0"])], 1).unwrap();
    let group = vec![batch(&["a"]), batch_of(5, 1, &["b"]), batch_of(5, 7, &["c"])];
    assert!(bench.log.append(group, 1).is_err());
    assert_eq!(bench.all().len(), 1);
    assert_eq!(bench.log.append(vec![batch_of(5, 1, &["1"])], 1).unwrap().base_offsets, [1]);
}

#[test]
fn an_older_leader_is_fenced() {
    let bench = Bench::new(LogConfig::default());
    bench.log.append(vec![batch(&["0"])], 5).unwrap();
    let fenced = bench.log.append(vec![batch(&["1"])], 4);
    assert!(matches!(fenced, Err(AppendError::Fenced { found: 4, current: 5 })), "{fenced:?}");
    bench.log.append(vec![batch(&["1"])], 6).unwrap();
    bench.log.commit(2).unwrap();
    let bench = bench.cut_power(Loss::Everything);
    assert!(bench.log.append(vec![batch(&["2"])], 5).is_err());
    assert_eq!(bench.log.leader_epochs().entries().len(), 2);
}

#[test]
fn a_term_is_durable_before_its_first_record() {
    let bench = Bench::new(LogConfig::default());
    bench.log.append(vec![batch(&["0"])], 5).unwrap();
    bench.log.commit(1).unwrap();
    bench.log.append(vec![batch(&["1"])], 6).unwrap();
    let bench = bench.cut_power(Loss::Random(3));
    let found = bench.log.leader_epochs().latest().unwrap().epoch;
    assert_eq!(found, if bench.report.log_end == 2 { 6 } else { 5 });
}

#[test]
fn batches_and_groups_have_limits() {
    let bench = Bench::new(LogConfig { max_message_bytes: 200, ..small() });
    let large = bench.log.append(vec![batch(&["x".repeat(200).as_str()])], 1);
    assert!(matches!(large, Err(AppendError::BatchTooLarge { limit: 200, .. })), "{large:?}");
    let group: Vec<_> = (0..6).map(|_| batch(&["0"])).collect();
    let large = bench.log.append(group, 1);
    assert!(matches!(large, Err(AppendError::GroupTooLarge { limit: 400, .. })), "{large:?}");
    assert_eq!(bench.append(&["0"]), 1);
}

#[test]
fn a_producers_batch_holds_a_record_for_each_offset() {
    let bench = Bench::new(LogConfig::default());
    let whole = batch(&["0", "1", "2"]);
    let mut header = *whole.header();
    header.last_offset_delta = 5;
    let mut bytes = whole.into_bytes();
    header.write(&mut bytes);
    header.crc = crc32c::crc32c(&bytes[21..]);
    header.write(&mut bytes);
    let sparse = bench.log.append(vec![SealedBatch::check(bytes).unwrap()], 1);
    let refused = matches!(sparse, Err(AppendError::Sparse { records: 3, offsets: 6 }));
    assert!(refused, "{sparse:?}");
}

#[test]
fn a_segment_is_rolled_before_it_would_pass_its_size() {
    let bench = Bench::new(small());
    bench.append_each(0..12);
    let one = one();
    assert_eq!(bench.log.metrics().rolls.get(), 11 / (400 / one));
    let largest = bench.log.segments.load().iter().map(|segment| segment.len()).max().unwrap();
    assert!(largest <= 400, "{largest}");
    assert_eq!(bench.offsets(), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_segment_is_rolled_by_the_age_of_the_incoming_batch() {
    let config = LogConfig { segment_ms: 1_000, ..LogConfig::default() };
    let bench = Bench::new(config);
    for (value, after_ms) in [0, 1_000, 999, 1_001, 500, 2_002].into_iter().enumerate() {
        bench.log.append(vec![batch_at(NOW_MS + after_ms, &[&value.to_string()])], 1).unwrap();
    }
    // 1,001 is too young for the first segment; 2,002 for the second, that began at 1,001.
    assert_eq!(bench.bases(), [0, 3, 5]);
}

#[test]
fn jitter_shortens_the_age_within_its_bounds() {
    let config = LogConfig { segment_ms: 1_000, segment_jitter_ms: 400, ..LogConfig::default() };
    let bench = Bench::new(config);
    let mut ages = Vec::new();
    let mut first = NOW_MS;
    for step in 0..20_000 {
        let now = NOW_MS + step;
        let before = bench.log.metrics().rolls.get();
        bench.log.append(vec![batch_at(now, &["x"])], 1).unwrap();
        if bench.log.metrics().rolls.get() > before {
            ages.push(now - first);
            first = now;
        }
    }
    assert!(ages.len() >= 20, "{ages:?}");
    assert!(ages.iter().all(|age| (601..=1_001).contains(age)), "{ages:?}");
    assert!(ages.iter().any(|age| *age != ages[0]), "{ages:?}");
}

#[test]
fn a_full_index_rolls() {
    let config =
        LogConfig { segment_index_bytes: 48, index_interval_bytes: 0, ..LogConfig::default() };
    let bench = Bench::new(config);
    for value in 0..12 {
        bench.log.append(vec![batch_at(NOW_MS + value, &[&value.to_string()])], 1).unwrap();
    }
    assert!(bench.log.metrics().rolls.get() >= 2, "{:?}", bench.bases());
    assert_eq!(bench.offsets(), (0..12).collect::<Vec<_>>());
    for name in bench.files(".index") {
        let len = bench.storage().read(&bench.log.path().join(&name), 1 << 20).unwrap().len();
        assert!(len <= 48 && len.is_multiple_of(8), "{name}: {len}");
    }
}

#[test]
fn an_older_epoch_of_a_producer_is_refused() {
    let bench = Bench::new(LogConfig::default());
    let settings = |producer_epoch, base_sequence| BatchSettings {
        producer_id: 3,
        producer_epoch,
        base_sequence,
        ..Default::default()
    };
    bench.log.append(vec![build(settings(1, 0), NOW_MS, &["0"])], 1).unwrap();
    let old = bench.log.append(vec![build(settings(0, 0), NOW_MS, &["1"])], 1);
    let refused = matches!(old, Err(AppendError::Producer(ProducerError::InvalidEpoch { .. })));
    assert!(refused, "{old:?}");
    bench.log.append(vec![build(settings(2, 0), NOW_MS, &["1"])], 1).unwrap();
}

#[test]
fn a_written_partition_syncs_nothing_on_append() {
    let bench = Bench::new(LogConfig { durability: Durability::Written, ..LogConfig::default() });
    bench.append(&["0"]);
    let before = bench.disk.operations();
    bench.append(&["1"]);
    assert_eq!(bench.disk.operations() - before, 1, "one write and nothing else");
}
