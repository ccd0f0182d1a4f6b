//! Fetches, look-ups by time, watermarks and commits.

use std::{path::Path, sync::Arc};

use super::bench::{
    Bench, NOW_MS, ROOT, batch, batch_at, batch_of, build, partition, read, small, transactional,
};
use crate::{
    io::{Loss, Open},
    log::{
        CommitError, Isolation, LogConfig, ReadError, UnrecoveredLog, commit_all, state::STATE_FILE,
    },
    record::{Marker, SealedBatch, control_batch},
    segment::{SEALS_FILE, Suffix, file_name},
    types::{Durability, Offset, TopicPartition},
};

fn written() -> LogConfig {
    LogConfig { durability: Durability::Written, ..small() }
}

#[test]
fn a_fetch_gives_whole_batches_and_the_first_one_whatever_its_size() {
    let bench = Bench::new(LogConfig::default());
    bench.log.append(vec![batch(&["0", "1", "2"]), batch(&["3"]), batch(&["4", "5"])], 1).unwrap();
    let sizes: Vec<usize> = {
        let fetched = bench.log.fetch(0, 1 << 20, Isolation::LogEnd).unwrap();
        fetched.batches().map(|batch| batch.unwrap().bytes().len()).collect()
    };
    let total: usize = sizes.iter().sum();
    for max_bytes in 0..total + 2 {
        let fetched = bench.log.fetch(0, max_bytes, Isolation::LogEnd).unwrap();
        let mut expected = sizes[0];
        let fits: usize = sizes[1..]
            .iter()
            .map_while(|size| {
                expected += size;
                (expected <= max_bytes).then_some(*size)
            })
            .sum();
        assert_eq!(fetched.bytes().len(), sizes[0] + fits, "at most {max_bytes}");
    }
    for (offset, first) in [(0, 0), (1, 0), (2, 0), (3, 3), (4, 4), (5, 4)] {
        let fetched = bench.log.fetch(offset, 1, Isolation::LogEnd).unwrap();
        assert_eq!(fetched.first_offset(), first);
        assert_eq!(fetched.batches().count(), 1);
    }
}

#[test]
fn what_is_outside_the_log_is_out_of_range() {
    let bench = Bench::new(small());
    bench.append_each(0..9);
    bench.log.delete_records_before(3).unwrap();
    for offset in [Offset::MIN, -1, 0, 2, 10, Offset::MAX] {
        let refused = bench.log.fetch(offset, 100, Isolation::Committed);
        let right = matches!(
            refused,
            Err(ReadError::OutOfRange { log_start: 3, log_end: 9, offset: found }) if found == offset
        );
        assert!(right, "{refused:?}");
    }
    let end = bench.log.fetch(9, 100, Isolation::LogEnd).unwrap();
    assert!(end.is_empty());
    assert_eq!((end.first_offset(), end.next_offset()), (9, 9));
}

#[test]
fn consumers_of_a_durable_partition_see_what_is_durable() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    for value in 3..9 {
        bench.append(&[&value.to_string()]);
    }
    let durable = bench.log.watermarks().durable_end;
    assert!((3..9).contains(&durable), "a roll commits what is before it: {durable}");
    let committed = read(&bench.log, 0, Isolation::Committed).unwrap();
    assert_eq!(committed.len() as Offset, durable);
    assert_eq!(read(&bench.log, 0, Isolation::LogEnd).unwrap().len(), 9);
    let waiting = bench.log.fetch(8, 1 << 20, Isolation::Committed).unwrap();
    assert!(waiting.is_empty());
    assert_eq!((waiting.first_offset(), waiting.next_offset()), (8, 8));
    bench.log.commit(9).unwrap();
    assert_eq!(bench.log.readable().get(), 9);
    assert_eq!(bench.marks(), [0, 0, 9, 9, 9]);
    assert_eq!(read(&bench.log, 0, Isolation::Committed).unwrap().len(), 9);
}

#[test]
fn consumers_of_a_written_partition_see_what_is_written() {
    let bench = Bench::new(written());
    for value in 0..9 {
        bench.append(&[&value.to_string()]);
        assert_eq!(bench.log.readable().get(), value + 1);
    }
    assert_eq!(bench.marks(), [0, 0, 0, 9, 9]);
    assert_eq!(read(&bench.log, 0, Isolation::Committed).unwrap().len(), 9);
    bench.log.commit(9).unwrap();
    assert_eq!(bench.marks(), [0, 0, 9, 9, 9]);
    assert_eq!(bench.cut_power(Loss::Everything).offsets().len(), 9);
}

#[test]
fn stable_readers_stop_at_the_first_open_transaction() {
    let bench = Bench::new(written());
    let settings = transactional(3, 0);
    bench.append(&["0"]);
    bench.log.append(vec![build(settings, NOW_MS, &["1"])], 1).unwrap();
    bench.append(&["2"]);
    assert_eq!(bench.log.last_stable_offset(), 1);
    assert_eq!(read(&bench.log, 0, Isolation::Stable).unwrap().len(), 1);
    assert_eq!(read(&bench.log, 0, Isolation::Committed).unwrap().len(), 3);
    bench.log.append(vec![control_batch(Marker::Commit, 3, 0, 0, NOW_MS)], 1).unwrap();
    assert_eq!(bench.log.last_stable_offset(), 4);
    assert!(bench.log.fetch(3, 1 << 20, Isolation::Stable).unwrap().next_offset() == 4);
}

#[test]
fn every_offset_is_found_by_its_time() {
    let bench = Bench::new(small());
    // Two records a batch, a millisecond apart, a batch every 10 ms; one straggler from the past.
    for n in 0..20 {
        let at = if n == 7 { NOW_MS } else { NOW_MS + n * 10 };
        bench.log.append(vec![batch_at(at, &["a", "b"])], 1).unwrap();
    }
    bench.log.commit(40).unwrap();
    let timestamps: Vec<(i64, Offset)> = (0..20)
        .flat_map(|n| {
            let at = if n == 7 { NOW_MS } else { NOW_MS + n * 10 };
            [(at, n * 2), (at + 1, n * 2 + 1)]
        })
        .collect();
    let check = |bench: &Bench| {
        let start = bench.log.watermarks().log_start;
        for asked in NOW_MS - 5..NOW_MS + 200 {
            let mut later =
                timestamps.iter().filter(|(at, offset)| *at >= asked && *offset >= start);
            let found = bench.log.offset_for_timestamp(asked).unwrap();
            assert_eq!(found.as_ref(), later.next(), "first record at {asked} or later");
        }
    };
    check(&bench);
    let bench = bench.reopen();
    check(&bench);
    bench.log.delete_records_before(13).unwrap();
    check(&bench);
    check(&bench.kill());
}

#[test]
fn a_time_beyond_what_may_be_read_is_not_found() {
    let bench = Bench::new(LogConfig::default());
    bench.log.append(vec![batch_at(NOW_MS, &["0"])], 1).unwrap();
    bench.log.commit(1).unwrap();
    bench.log.append(vec![batch_at(NOW_MS + 9, &["1"])], 1).unwrap();
    assert_eq!(bench.log.offset_for_timestamp(NOW_MS + 1).unwrap(), None);
    bench.log.commit(2).unwrap();
    assert_eq!(bench.log.offset_for_timestamp(NOW_MS + 1).unwrap(), Some((NOW_MS + 9, 1)));
}

#[test]
fn nothing_can_be_durable_beyond_the_log_end() {
    let bench = Bench::new(LogConfig::default());
    let end = bench.append_each(0..3);
    let refused = bench.log.commit(end + 1);
    assert!(matches!(refused, Err(CommitError::Truncated { upto: 4 })), "{refused:?}");
    bench.log.commit(end).unwrap();
    bench.log.commit(0).unwrap();
}

#[test]
fn one_sync_serves_all_who_wait() {
    let bench = Bench::new(LogConfig::default());
    for value in 0..50 {
        bench.append(&[&value.to_string()]);
    }
    let syncs = || bench.dir.commit().metrics().syncs.get();
    let before = syncs();
    bench.log.commit(1).unwrap();
    for upto in 1..=50 {
        bench.log.commit(upto).unwrap();
    }
    assert_eq!(syncs() - before, 1);
}

#[test]
fn many_partitions_share_one_submission_and_errors_stay_apart() {
    let bench = Bench::new(LogConfig::default());
    let logs: Vec<_> = (1..=4)
        .map(|number| {
            let partition = TopicPartition::new(partition().topic, number);
            let (config, clock) = (bench.config.clone(), bench.clock.clone());
            let open = UnrecoveredLog::open(&bench.dir, &partition, config, clock);
            Arc::new(open.unwrap().recover().unwrap().0)
        })
        .collect();
    for log in &logs {
        log.append(vec![batch(&["0"])], 1).unwrap();
    }
    let metrics = bench.dir.commit().metrics();
    let (rounds, syncs) = (metrics.rounds.get(), metrics.syncs.get());
    let wanted: Vec<_> = logs.iter().map(|log| (log.clone(), 1)).collect();
    assert!(commit_all(&wanted).iter().all(Result::is_ok));
    assert_eq!((metrics.rounds.get() - rounds, metrics.syncs.get() - syncs), (1, 4));

    for log in &logs {
        log.append(vec![batch_of(1, 0, &["1"])], 1).unwrap();
    }
    bench.disk.fail_sync(2);
    let wanted: Vec<_> = logs.iter().map(|log| (log.clone(), 2)).collect();
    let results = commit_all(&wanted);
    let failed: Vec<_> = results.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, false, false], "{results:?}");
    assert_eq!(logs[1].watermarks().durable_end, 1);
}

/// A producer's transactional batch.
fn of_transaction(producer_id: i64, base_sequence: i32, value: &str) -> SealedBatch {
    let settings = transactional(producer_id, base_sequence);
    build(settings, NOW_MS, &[value])
}

#[test]
fn a_stable_fetch_comes_with_the_aborted_transactions_that_touch_it() {
    let bench = Bench::new(LogConfig { segment_bytes: 200, ..written() });
    let appends = [
        of_transaction(3, 0, "0"),
        of_transaction(4, 0, "1"),
        control_batch(Marker::Abort, 3, 0, 0, NOW_MS),
        batch(&["3"]),
        of_transaction(3, 1, "4"),
        control_batch(Marker::Commit, 3, 0, 0, NOW_MS),
        control_batch(Marker::Abort, 4, 0, 0, NOW_MS),
    ];
    for batch in appends {
        bench.log.append(vec![batch], 1).unwrap();
    }
    assert!(bench.bases().len() > 2, "their markers stand in later segments");
    let expected: [&[Offset]; 7] = [&[0], &[0, 1], &[0, 1], &[1], &[1], &[1], &[1]];
    for (offset, expected) in (0..).zip(expected) {
        let fetched = bench.log.fetch(offset, 1, Isolation::Stable).unwrap();
        let first: Vec<_> = fetched.aborted().iter().map(|it| it.first_offset).collect();
        assert_eq!((fetched.next_offset(), &first[..]), (offset + 1, expected));
        let other = bench.log.fetch(offset, 1, Isolation::Committed).unwrap();
        assert!(other.aborted().is_empty());
    }
    let base = bench.bases()[1];
    bench.log.commit(7).unwrap();
    bench.log.delete_records_before(base).unwrap();
    bench.log.step(crate::clock::Clock::monotonic(&*bench.clock)).unwrap();
    let below = bench.log.aborted_transactions(base - 1, 7);
    assert!(matches!(below, Err(ReadError::OutOfRange { offset, .. }) if offset == base - 1));
    assert_eq!(bench.log.aborted_transactions(base, 7).unwrap().len(), 2);
}

/// As in a folder that Kafka closed.
#[test]
fn without_a_seal_a_damaged_batch_is_no_hindrance_to_times_before_it() {
    let bench = Bench::new(small());
    for n in 0..20 {
        bench.log.append(vec![batch_at(NOW_MS + n, &[&format!("{n:04}")])], 1).unwrap();
    }
    bench.close();
    for ours in [bench.log.path().join(SEALS_FILE), Path::new(ROOT).join(STATE_FILE)] {
        bench.storage().remove_file(&ours).unwrap();
    }
    // The last byte of the first segment's last batch.
    let (path, last) = (bench.log.path().join(file_name(0, Suffix::Log)), bench.bases()[1] - 1);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    let place = file.len().unwrap() - 1;
    let byte = file.read_exact_at(place, 1).unwrap()[0];
    file.write_at(place, vec![byte ^ 1]).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.log.watermarks().log_end, 20);
    for n in 0..last {
        let found = bench.log.offset_for_timestamp(NOW_MS + n).unwrap();
        assert_eq!(found, Some((NOW_MS + n, n)));
    }
    let refused = bench.log.offset_for_timestamp(NOW_MS + last);
    assert!(matches!(refused, Err(ReadError::Corrupt(_))), "{refused:?}");
}
