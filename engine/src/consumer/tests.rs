//! The consumer against a partition's log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::*;
use crate::{
    clock::SystemClock,
    commit::Strategy,
    io::Storage,
    log::{LogDir, PartitionLog, UnrecoveredLog},
    record::{BatchBuilder, BatchSettings, Compression, Encoder, Marker, NewRecord, SealedBatch},
    topic::TopicConfig,
    types::{Durability, TopicId, TopicName},
};

const NOW: Duration = Duration::ZERO;

/// A topic in a folder that goes with it.
struct Fixture {
    topic: Arc<Topic>,
    _root: tempfile::TempDir,
}

impl std::ops::Deref for Fixture {
    type Target = Arc<Topic>;

    fn deref(&self) -> &Arc<Topic> {
        &self.topic
    }
}

fn topic(partitions: u32) -> Fixture {
    topic_with(partitions, &TopicConfig::default().durability(Durability::Written))
}

fn topic_with(partitions: u32, config: &TopicConfig) -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let storage = Storage::portable();
    let dir = Arc::new(LogDir::open(&storage, root.path(), Strategy::SyncEach).unwrap());
    let name = TopicName::new("orders").unwrap();
    let open = |number| {
        let partition = TopicPartition::new(name.clone(), number);
        let clock = Arc::new(SystemClock::new());
        let log = UnrecoveredLog::open(&dir, &partition, config.log_config(), clock).unwrap();
        Arc::new(log.recover().unwrap().0)
    };
    let logs = (0..partitions).map(open).collect();
    let topic = Topic::new(name.clone(), TopicId([1; 16]), 0, config.clone(), logs);
    Fixture { topic: Arc::new(topic), _root: root }
}

/// A batch of `values`, the first one at `timestamp`, each a millisecond later than the one before.
fn batch(compression: &str, timestamp: i64, values: &[String]) -> SealedBatch {
    let compression: Compression = compression.parse().unwrap();
    let settings = BatchSettings { compression, ..Default::default() };
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for (n, value) in values.iter().enumerate() {
        let (key, value) = (Some(value.as_bytes()), Some(value.as_bytes()));
        let record = NewRecord { timestamp: timestamp + n as i64, key, value, headers: &[] };
        builder.push(&record).unwrap();
    }
    builder.seal(&mut Encoder::new()).unwrap()
}

fn append(log: &PartitionLog, batches: Vec<SealedBatch>) {
    let end = log.append(batches, 0).unwrap().end;
    log.commit(end).unwrap();
}

/// Appends `count` records in batches of `size`, each with its offset for a value.
fn fill(log: &PartitionLog, compression: &str, count: usize, size: usize) {
    let start = log.watermarks().log_end as usize;
    for first in (start..start + count).step_by(size) {
        let values: Vec<_> =
            (first..(first + size).min(start + count)).map(|n| n.to_string()).collect();
        append(log, vec![batch(compression, 1000 + first as i64, &values)]);
    }
}

fn earliest() -> ConsumerOptions {
    ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Earliest)
}

fn consumer(options: ConsumerOptions, topic: &Arc<Topic>) -> Consumer {
    let mut consumer = Consumer::new(options).unwrap();
    for log in topic.partitions() {
        consumer.assign(topic, log.partition().partition).unwrap();
    }
    consumer
}

/// Partition, offset and value of each record; both ways of reading give the same.
fn drain(mut polled: Polled) -> Vec<(u32, Offset, String)> {
    let text = |record: &ConsumerRecord<'_>| {
        assert_eq!(record.key, record.value);
        String::from_utf8(record.value.unwrap().to_vec()).unwrap()
    };
    let mut records = Vec::new();
    let half = polled.len() / 2;
    for _ in 0..half {
        let record = polled.next_record().unwrap().unwrap();
        records.push((record.partition, record.offset, text(&record)));
    }
    polled
        .for_each(|record| records.push((record.partition, record.offset, text(record))))
        .unwrap();
    assert!(polled.is_empty() && polled.next_record().unwrap().is_none());
    records
}

fn offsets(polled: Polled) -> Vec<Offset> {
    drain(polled).into_iter().map(|(_, offset, _)| offset).collect()
}

#[test]
fn records_come_in_order_across_batches_and_polls() {
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = topic(1);
        fill(&topic.partitions()[0], compression, 100, 30);
        let options = earliest().max_poll_records(7).max_partition_fetch_bytes(400);
        let mut consumer = consumer(options, &topic);
        let place = topic.partitions()[0].partition().clone();
        let mut seen = 0;
        while seen < 100 {
            let records = drain(consumer.poll(NOW).unwrap());
            assert!((1..=7).contains(&records.len()), "{}", records.len());
            for (_, offset, value) in records {
                assert_eq!((offset, value), (seen, seen.to_string()));
                seen += 1;
            }
            assert_eq!(consumer.position(&place), Some(seen));
            assert_eq!(consumer.lag(&place), Some(100 - seen as u64));
        }
        assert!(!consumer.poll(NOW).unwrap().says_something());
    }
}

#[test]
fn what_a_poll_left_is_given_without_a_second_fetch() {
    let topic = topic(1);
    fill(&topic.partitions()[0], "none", 100, 100);
    let mut consumer = consumer(earliest().max_poll_records(40), &topic);
    let lengths: Vec<_> = (0..3).map(|_| consumer.poll(NOW).unwrap().len()).collect();
    assert_eq!(lengths, [40, 40, 20]);
    assert_eq!(consumer.metrics().fetches.get(), 1);
    assert_eq!(consumer.metrics().records.get(), 100);
}

#[test]
fn records_that_are_held_stay_while_the_consumer_goes_on() {
    for compression in ["none", "zstd"] {
        let topic = topic(1);
        fill(&topic.partitions()[0], compression, 50, 50);
        let mut consumer = consumer(earliest().max_poll_records(20), &topic);
        let held: Vec<_> = (0..3).map(|_| consumer.poll(NOW).unwrap()).collect();
        let seen: Vec<_> = held.into_iter().rev().map(offsets).collect();
        let expected: Vec<Vec<i64>> =
            vec![(40..50).collect(), (20..40).collect(), (0..20).collect()];
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_poll_that_was_given_up_in_the_middle_disturbs_nothing() {
    let topic = topic(1);
    fill(&topic.partitions()[0], "lz4", 60, 60);
    let mut consumer = consumer(earliest().max_poll_records(20), &topic);
    let mut polled = consumer.poll(NOW).unwrap();
    assert_eq!(polled.next_record().unwrap().unwrap().offset, 0);
    drop(polled);
    assert_eq!(offsets(consumer.poll(NOW).unwrap()), (20..40).collect::<Vec<_>>());
    let place = topic.partitions()[0].partition().clone();
    consumer.seek(&place, Seek::Offset(3)).unwrap();
    assert_eq!(offsets(consumer.poll(NOW).unwrap()), (3..23).collect::<Vec<_>>());
}

#[test]
fn partitions_take_turns() {
    let topic = topic(3);
    topic.partitions().iter().for_each(|log| fill(log, "none", 50, 10));
    let mut consumer = consumer(earliest().max_poll_records(20), &topic);
    let turns: Vec<_> = (0..6)
        .map(|_| {
            let records = drain(consumer.poll(NOW).unwrap());
            assert!(records.iter().all(|record| record.0 == records[0].0));
            records[0].0
        })
        .collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn seeking_by_offset_end_beginning_and_time() {
    let topic = topic(1);
    let log = &topic.partitions()[0];
    fill(log, "none", 30, 10);
    let place = log.partition().clone();
    let mut consumer = consumer(earliest(), &topic);
    assert_eq!(consumer.seek(&place, Seek::Offset(17)).unwrap(), 17);
    assert_eq!(offsets(consumer.poll(NOW).unwrap()), (17..30).collect::<Vec<_>>());
    assert_eq!(consumer.seek(&place, Seek::End).unwrap(), 30);
    assert!(consumer.poll(NOW).unwrap().is_empty());
    fill(log, "none", 1, 1);
    assert_eq!(offsets(consumer.poll(NOW).unwrap()), [30]);
    assert_eq!(consumer.seek(&place, Seek::Beginning).unwrap(), 0);
    assert_eq!(consumer.seek(&place, Seek::Timestamp(1010)).unwrap(), 10);
    assert_eq!(offsets(consumer.poll(NOW).unwrap())[0], 10);
    assert_eq!(consumer.seek(&place, Seek::Timestamp(99_999)).unwrap(), 31);
    assert!(matches!(consumer.seek(&place, Seek::Offset(-1)), Err(SeekError::Negative { .. })));
    assert!(consumer.unassign(&place) && !consumer.unassign(&place));
    assert!(matches!(consumer.seek(&place, Seek::End), Err(SeekError::NotAssigned(_))));
    assert!(matches!(consumer.poll(NOW), Err(PollError::NothingAssigned)));
}

#[test]
fn the_policy_says_where_to_start() {
    let topic = topic(1);
    fill(&topic.partitions()[0], "none", 10, 10);
    let mut latest = consumer(ConsumerOptions::new(), &topic);
    let mut none =
        consumer(ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::None), &topic);
    fill(&topic.partitions()[0], "none", 1, 1);
    assert_eq!(offsets(latest.poll(NOW).unwrap()), [10]);
    assert!(matches!(none.poll(NOW), Err(PollError::NoPosition(_))));
    none.seek(topic.partitions()[0].partition(), Seek::Beginning).unwrap();
    assert_eq!(none.poll(NOW).unwrap().len(), 11);
}

#[test]
fn a_position_that_the_log_no_longer_holds_is_reported() {
    let topic = topic(1);
    let log = &topic.partitions()[0];
    fill(log, "none", 30, 10);
    let place = log.partition().clone();
    let mut lenient = consumer(earliest(), &topic);
    let mut strict =
        consumer(ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::None), &topic);
    strict.seek(&place, Seek::Offset(5)).unwrap();
    log.delete_records_before(20).unwrap();

    let polled = lenient.poll(NOW).unwrap();
    let (from, to) = (0, 20);
    let reset = Reset { partition: place.clone(), from, to, log_start: 20, log_end: 30 };
    assert_eq!(polled.resets(), [reset]);
    let more = lenient.poll(NOW).unwrap();
    let seen: Vec<_> = offsets(polled).into_iter().chain(offsets(more)).collect();
    assert_eq!(seen, (20..30).collect::<Vec<_>>());

    let error = strict.poll(NOW).unwrap_err();
    assert!(matches!(error, PollError::OutOfRange { offset: 5, log_start: 20, log_end: 30, .. }));
    strict.seek(&place, Seek::Offset(31)).unwrap();
    assert!(matches!(strict.poll(NOW), Err(PollError::OutOfRange { offset: 31, .. })));
}

#[test]
fn paused_partitions_keep_what_was_fetched() {
    let topic = topic(2);
    topic.partitions().iter().for_each(|log| fill(log, "none", 10, 10));
    let mut consumer = consumer(earliest().max_poll_records(4), &topic);
    let places: Vec<_> = consumer.assignment().cloned().collect();
    assert_eq!(drain(consumer.poll(NOW).unwrap())[0].0, 0);
    assert!(consumer.pause(&places[0]));
    for _ in 0..3 {
        assert_eq!(drain(consumer.poll(NOW).unwrap())[0].0, 1);
    }
    assert!(consumer.poll(NOW).unwrap().is_empty());
    consumer.pause(&places[1]);
    assert!(consumer.poll(NOW).unwrap().is_empty());
    consumer.resume(&places[0]);
    assert_eq!(offsets(consumer.poll(NOW).unwrap()), [4, 5, 6, 7]);
}

#[test]
fn control_batches_are_passed_over() {
    let topic = topic(1);
    let log = &topic.partitions()[0];
    fill(log, "none", 2, 2);
    append(log, vec![crate::record::control_batch(Marker::Commit, 7, 0, 0, 5)]);
    fill(log, "none", 1, 1);
    append(log, vec![crate::record::control_batch(Marker::Abort, 7, 0, 0, 5)]);
    let mut consumer = consumer(earliest(), &topic);
    let polled = consumer.poll(NOW).unwrap();
    assert_eq!(offsets(polled), [0, 1, 3]);
    assert!(!consumer.poll(NOW).unwrap().says_something());
    assert_eq!(consumer.position(log.partition()), Some(5));
}

#[test]
fn fetch_min_bytes_are_waited_for_across_partitions() {
    let topic = topic(2);
    let options = earliest().fetch_min_bytes(600).fetch_max_wait(Duration::from_hours(1));
    let mut consumer = consumer(options, &topic);
    let mut context = Context::from_waker(Waker::noop());
    let mut polls = 0;
    loop {
        let mut polling = std::pin::pin!(consumer.poll_async());
        match polling.as_mut().poll(&mut context) {
            Poll::Pending => fill(&topic.partitions()[polls % 2], "none", 1, 1),
            Poll::Ready(polled) => {
                // A batch with one small record takes a little over 70 bytes.
                assert_eq!(polled.unwrap().len(), polls);
                break;
            }
        }
        polls += 1;
    }
    assert!((7..=9).contains(&polls), "{polls}");
}

#[test]
fn a_limit_that_is_reached_ends_the_wait_for_fetch_min_bytes() {
    let topic = topic(1);
    fill(&topic.partitions()[0], "none", 10, 1);
    let options = earliest().fetch_min_bytes(1 << 20).max_partition_fetch_bytes(100);
    let mut consumer = consumer(options, &topic);
    let mut context = Context::from_waker(Waker::noop());
    let polling = std::pin::pin!(consumer.poll_async());
    let Poll::Ready(Ok(polled)) = polling.poll(&mut context) else { panic!("waits in vain") };
    assert!(!polled.is_empty());
}

#[test]
fn an_append_wakes_a_poll_that_waits() {
    let topic = topic(3);
    let mut consumer = consumer(earliest(), &topic);
    std::thread::scope(|scope| {
        let appender = scope.spawn(|| fill(&topic.partitions()[2], "none", 1, 1));
        let polled = consumer.poll(Duration::MAX).unwrap();
        assert_eq!(drain(polled), [(2, 0, "0".to_owned())]);
        appender.join().unwrap();
    });
}

#[test]
fn deletion_and_close_end_a_poll_with_a_typed_error() {
    let topic = topic(2);
    let mut consumer = consumer(earliest().fetch_min_bytes(1000), &topic);
    fill(&topic.partitions()[1], "none", 1, 1);
    topic.partitions()[0].abandon();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    assert!(matches!(consumer.poll(NOW), Err(PollError::Closed(_))));
    assert!(topic.set_deleted() && !topic.set_deleted());
    assert!(matches!(consumer.poll(NOW), Err(PollError::Deleted(_))));
    let error = consumer.assign(&topic, 0).unwrap_err();
    assert!(matches!(error, AssignError::Deleted(_)));
}

#[test]
fn assigning_what_is_not_there_or_twice_is_refused() {
    let topic = topic(1);
    let mut consumer = consumer(earliest(), &topic);
    let error = consumer.assign(&topic, 1).unwrap_err();
    assert!(matches!(error, AssignError::NoPartition { partition: 1, count: 1, .. }));
    assert!(matches!(consumer.assign(&topic, 0), Err(AssignError::Twice(_))));
}

#[test]
fn a_stable_reader_that_starts_at_the_end_misses_no_open_transaction() {
    let topic = topic(1);
    let log = &topic.partitions()[0];
    fill(log, "none", 2, 2);
    let settings = BatchSettings {
        producer_id: 7,
        producer_epoch: 0,
        transactional: true,
        ..Default::default()
    };
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings { base_sequence: 0, ..settings });
    builder
        .push(&NewRecord { timestamp: 0, key: None, value: Some(b"open"), headers: &[] })
        .unwrap();
    append(log, vec![builder.seal(&mut Encoder::new()).unwrap()]);
    let latest = ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Latest);
    let mut stable = consumer(latest.isolation(IsolationLevel::ReadCommitted), &topic);
    let place = log.partition().clone();
    assert!(stable.poll(NOW).unwrap().is_empty());
    assert_eq!(stable.position(&place), Some(2), "not behind the open transaction");
    assert_eq!(stable.seek(&place, Seek::End).unwrap(), 2);
    assert_eq!(stable.lag(&place), Some(0));
    append(log, vec![crate::record::control_batch(Marker::Commit, 7, 0, 0, 5)]);
    assert_eq!(stable.poll(NOW).unwrap().len(), 1);
}

#[test]
fn records_that_are_not_durable_yet_are_not_given() {
    let topic = topic_with(1, &TopicConfig::default());
    let log = &topic.partitions()[0];
    let end = log.append(vec![batch("none", 0, &["a".to_owned()])], 0).unwrap().end;
    let mut committed = consumer(earliest(), &topic);
    assert!(committed.poll(NOW).unwrap().is_empty());
    log.commit(end).unwrap();
    assert_eq!(committed.poll(NOW).unwrap().len(), 1);
}

#[test]
fn a_damaged_batch_is_an_error_each_time_and_never_passed_over() {
    let topic = topic(2);
    topic.partitions().iter().for_each(|log| fill(log, "none", 30, 10));
    let log = &topic.partitions()[0];
    let path = log.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let damaged = bytes.len() / 2;
    bytes[damaged] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let mut consumer = consumer(earliest().max_poll_records(1000), &topic);
    let seen = drain(consumer.poll(NOW).unwrap());
    let of = |partition| seen.iter().filter(|record| record.0 == partition).count();
    assert_eq!((of(0), of(1)), (10, 30));
    for _ in 0..3 {
        let Err(PollError::Corrupt { partition, source }) = consumer.poll(NOW) else {
            panic!("the damage is not reported")
        };
        assert_eq!((partition.partition, source.path), (0, path.clone()));
        assert!(source.position <= damaged as u64);
        assert_eq!(consumer.position(log.partition()), Some(10));
    }
    fill(&topic.partitions()[1], "none", 1, 1);
    let mut outcomes = [consumer.poll(NOW), consumer.poll(NOW)].map(|outcome| outcome.is_ok());
    outcomes.sort_unstable();
    assert_eq!(outcomes, [false, true]);
}

#[test]
fn an_error_that_was_not_told_yet_goes_with_its_position() {
    let damaged = || {
        let topic = topic(2);
        topic.partitions().iter().for_each(|log| fill(log, "none", 30, 10));
        let path = topic.partitions()[0].path().join("00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        topic
    };
    let polled_once = |topic: &Fixture| {
        let mut consumer = consumer(earliest().max_poll_records(1000), topic);
        assert_eq!(consumer.poll(NOW).unwrap().len(), 10 + 30);
        consumer
    };
    let topic = damaged();
    let places: Vec<_> = topic.partitions().iter().map(|log| log.partition().clone()).collect();
    let mut sought = polled_once(&topic);
    sought.seek(&places[0], Seek::Offset(20)).unwrap();
    assert_eq!(offsets(sought.poll(NOW).unwrap()), (20..30).collect::<Vec<_>>());

    let mut unassigned = polled_once(&topic);
    unassigned.unassign(&places[0]);
    unassigned.assign(&topic, 0).unwrap();
    unassigned.seek(&places[0], Seek::End).unwrap();
    assert!(unassigned.poll(NOW).unwrap().is_empty());

    let mut elsewhere = polled_once(&topic);
    elsewhere.seek(&places[1], Seek::Beginning).unwrap();
    let error = elsewhere.poll(NOW).unwrap_err();
    assert!(matches!(error, PollError::Corrupt { partition, .. } if partition == places[0]));
    assert_eq!(elsewhere.poll(NOW).unwrap().len(), 30);
}

#[test]
fn a_setting_out_of_range_is_named() {
    let refused = Consumer::new(ConsumerOptions::new().max_poll_records(0)).unwrap_err();
    let text = format!("max.poll.records must be 1 to {}, found 0", usize::MAX);
    assert_eq!(refused.to_string(), text);
}

/// Appends, as a follower does, a transactional batch of a producer.
fn follow(log: &PartitionLog, producer_id: i64, values: &[&str]) {
    follow_as(log, producer_id, true, values);
}

fn follow_as(log: &PartitionLog, producer_id: i64, transactional: bool, values: &[&str]) {
    let settings =
        BatchSettings { producer_id, producer_epoch: 0, transactional, ..Default::default() };
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for value in values {
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: 0, key: value, value, headers: &[] }).unwrap();
    }
    follow_batch(log, builder.seal(&mut Encoder::new()).unwrap());
}

fn end(log: &PartitionLog, producer_id: i64, marker: Marker) {
    follow_batch(log, crate::record::control_batch(marker, producer_id, 0, 0, 5));
}

fn follow_batch(log: &PartitionLog, mut batch: SealedBatch) {
    batch.stamp(log.watermarks().log_end, 0);
    log.append_as_follower(batch.bytes()).unwrap();
}

#[test]
fn records_of_aborted_transactions_are_not_given_to_a_stable_consumer() {
    let topic = topic(1);
    let log = &topic.partitions()[0];
    follow(log, 1, &["a0", "a1"]); // 0, 1: aborted
    follow(log, 2, &["b0"]); // 2: committed
    fill(log, "none", 1, 1); // 3: of no transaction
    follow(log, 1, &["a2"]); // 4: aborted
    end(log, 1, Marker::Abort);
    follow(log, 1, &["a3"]); // 6: its next transaction, committed
    follow(log, 3, &["c0"]); // 7: aborted
    end(log, 2, Marker::Commit);
    end(log, 1, Marker::Commit);
    fill(log, "none", 1, 1); // 10
    end(log, 3, Marker::Abort);
    follow(log, 1, &["a4"]); // 12: aborted
    follow_as(log, 1, false, &["a5"]); // 13: the same producer's, of no transaction
    end(log, 1, Marker::Abort);
    follow(log, 2, &["b1"]); // 15: open
    fill(log, "none", 1, 1); // 16: behind it
    let read = |isolation, from, max_bytes| {
        let options = earliest().isolation(isolation).max_partition_fetch_bytes(max_bytes);
        let mut consumer = consumer(options, &topic);
        consumer.seek(log.partition(), Seek::Offset(from)).unwrap();
        let mut found = Vec::new();
        loop {
            let polled = consumer.poll(NOW).unwrap();
            if polled.is_empty() {
                return (found, consumer.position(log.partition()).unwrap());
            }
            found.extend(offsets(polled));
        }
    };
    for max_bytes in [1, 200, 1 << 20] {
        let (found, position) = read(IsolationLevel::ReadCommitted, 0, max_bytes);
        assert_eq!((found, position), (vec![2, 3, 6, 10, 13], 15));
        // From within an aborted batch, and behind all of its records.
        assert_eq!(read(IsolationLevel::ReadCommitted, 1, max_bytes).0, [2, 3, 6, 10, 13]);
        assert_eq!(read(IsolationLevel::ReadCommitted, 5, max_bytes).0, [6, 10, 13]);
        let all = [0, 1, 2, 3, 4, 6, 7, 10, 12, 13, 15, 16];
        assert_eq!(read(IsolationLevel::ReadUncommitted, 0, max_bytes), (all.to_vec(), 17));
    }
}

#[test]
fn a_poll_goes_on_behind_what_it_passes_over() {
    let topic = topic(1);
    let log = &topic.partitions()[0];
    for _ in 0..50 {
        follow(log, 1, &["a", "b", "c"]);
    }
    end(log, 1, Marker::Abort);
    // More than a poll fetches, and more records than it gives.
    let options = earliest().isolation(IsolationLevel::ReadCommitted).max_poll_records(2);
    let mut stable = consumer(options.max_partition_fetch_bytes(300), &topic);
    let place = log.partition().clone();
    let mut context = Context::from_waker(Waker::noop());
    let mut polling = Box::pin(stable.poll_async());
    assert!(polling.as_mut().poll(&mut context).is_pending(), "nothing to give, nothing to do");
    drop(polling);
    assert_eq!(stable.position(&place), Some(151));
    follow(log, 1, &["d"]);
    assert!(stable.poll(NOW).unwrap().is_empty());
    assert_eq!(stable.position(&place), Some(151), "the transaction is open");
    let mut polling = Box::pin(stable.poll_async());
    assert!(polling.as_mut().poll(&mut context).is_pending());
    end(log, 1, Marker::Commit);
    let Poll::Ready(Ok(polled)) = polling.as_mut().poll(&mut context) else {
        panic!("waits in vain")
    };
    drop(polling);
    assert_eq!(offsets(polled), [151]);
    // A poll that only passes over what is left moves behind it.
    assert!(stable.poll(NOW).unwrap().is_empty());
    assert_eq!(stable.position(&place), Some(153));
}

/// Counts the calls of a waker.
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_poll_passes_over_no_more_than_its_time_and_a_fetch_allow() {
    let topic = topic(1);
    let log = &topic.partitions()[0];
    for _ in 0..50 {
        follow(log, 1, &["a", "b", "c"]);
    }
    end(log, 1, Marker::Abort);
    fill(log, "none", 1, 1); // 151
    let options = earliest().isolation(IsolationLevel::ReadCommitted);
    let mut stable = consumer(options.max_partition_fetch_bytes(300).fetch_max_bytes(600), &topic);
    let place = log.partition().clone();
    let mut polls = 0;
    let found = loop {
        let before = stable.position(&place).unwrap();
        let polled = stable.poll(NOW).unwrap();
        let passed = stable.position(&place).unwrap() - before;
        assert!((1..40).contains(&passed), "each gets on, a little: {passed}");
        polls += 1;
        if !polled.is_empty() {
            break offsets(polled);
        }
    };
    assert_eq!(found, [151]);
    assert!(polls > 4, "{polls}");
    stable.seek(&place, Seek::Beginning).unwrap();
    let patient = stable.poll(Duration::from_mins(1)).unwrap();
    assert_eq!(offsets(patient), [151], "who has time hears of it at once");

    // A task lets others run meanwhile, and asks to be polled again.
    stable.seek(&place, Seek::Beginning).unwrap();
    let calls = Arc::new(Calls(0.into()));
    let waker = Waker::from(calls.clone());
    let mut context = Context::from_waker(&waker);
    let mut polling = Box::pin(stable.poll_async());
    let mut pauses = 0;
    let polled = loop {
        match polling.as_mut().poll(&mut context) {
            Poll::Ready(polled) => break polled.unwrap(),
            Poll::Pending => pauses += 1,
        }
        assert_eq!(calls.0.load(Ordering::Relaxed), pauses);
    };
    assert_eq!((offsets(polled), pauses > 2), (vec![151], true));
}
