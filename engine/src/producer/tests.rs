//! The room as a whole, on logs that are doubles. Where time matters the clock is moved by hand and
//! the sender is stepped by the test; no test waits for a duration.

use std::{
    collections::HashMap,
    hint::black_box,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    accumulator::{Accumulator, Placed, Placing},
    double::{Double, DoubleTopic, Failure},
    queue::TopicQueues,
    schedule::Look,
    sender::Sender,
    *,
};
use crate::{
    clock::{ManualClock, SystemClock},
    commit::{Strategy, wait_for},
    io::Storage,
    log::{
        AppendError::{Damaged, Failed},
        Isolation, LogDir, PartitionLog, UnrecoveredLog,
    },
    record::{Codec, Compression, Decoder, Header},
    topic::{Topic, TopicConfig},
    types::{Durability, TopicId, TopicName, TopicPartition},
};

const MS: Duration = Duration::from_millis(1);
const NOW: i64 = 1_700_000_000_000;

/// A producer without threads, with one topic.
struct Bench {
    clock: Arc<ManualClock>,
    accumulator: Arc<Accumulator>,
    sender: Sender,
    topic: Arc<DoubleTopic>,
}

impl Bench {
    fn new(options: ProducerOptions, topic: DoubleTopic) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let accumulator = Accumulator::new(clock.clone(), options);
        let sender = Sender::new(accumulator.clone(), false);
        Self { clock, accumulator, sender, topic: Arc::new(topic) }
    }

    fn small(options: ProducerOptions) -> Self {
        Self::new(options.batch_size(200), DoubleTopic::new(1, 200))
    }

    fn send(&self, record: &ProducerRecord<'_>) -> Result<Ack, SendError> {
        let owner = Arc::as_ptr(&self.topic) as usize;
        let topic = self.accumulator.topic(0, owner, || self.topic.queues())?;
        match self.accumulator.place(topic, record, &mut None)? {
            Placed::InBatch(ack) => Ok(ack),
            Placed::NeedsRoom(_) => Err(SendError::Full),
        }
    }

    fn send_text(&self, text: &str) -> Ack {
        self.send(&ProducerRecord::of_value(text.as_bytes())).unwrap()
    }

    fn log(&self) -> &Double {
        &self.topic.partitions[0]
    }

    fn step(&mut self) -> Look {
        let look = self.sender.step();
        self.sender.commit_now();
        look
    }

    fn step_after(&mut self, wait: Duration) -> Look {
        self.clock.advance(wait);
        self.step()
    }
}

fn offset(ack: Ack) -> i64 {
    assert!(ack.is_done(), "not decided");
    ack.wait().unwrap().offset.unwrap()
}

fn error(ack: Ack) -> SendError {
    assert!(ack.is_done(), "not decided");
    ack.wait().unwrap_err()
}

#[test]
fn a_batch_lingers_and_leaves_whole() {
    let mut bench = Bench::small(ProducerOptions::new().linger(5 * MS));
    let first = bench.send_text("a");
    bench.clock.advance(4 * MS);
    let second = bench.send_text("b");
    assert_eq!(bench.step(), Look::Nothing);
    assert!(!first.is_done());
    assert!(first.shares_batch_with(&second));
    assert_eq!(bench.step_after(MS), Look::Due);
    assert_eq!((offset(first), offset(second)), (0, 1));
    assert_eq!(bench.log().batch_sizes(), [2]);
    assert_eq!(bench.step_after(5 * MS), Look::Nothing);
}

#[test]
fn without_linger_a_batch_is_due_at_once() {
    let mut bench = Bench::small(ProducerOptions::new().linger(Duration::ZERO));
    let acks = ["a", "b"].map(|text| bench.send_text(text));
    assert_eq!(bench.step(), Look::Due);
    assert_eq!(acks.map(offset), [0, 1]);
    assert_eq!(bench.step(), Look::Nothing);
}

#[test]
fn a_full_batch_leaves_and_the_next_lingers() {
    let mut bench = Bench::small(ProducerOptions::new().linger(5 * MS));
    let acks: Vec<Ack> = (0..5).map(|_| bench.send_text(&"x".repeat(40))).collect();
    assert_eq!(bench.step(), Look::Due);
    assert_eq!(bench.log().batch_sizes(), [2, 2]);
    let done: Vec<bool> = acks.iter().map(Ack::is_done).collect();
    assert_eq!(done, [true, true, true, true, false]);
    bench.step_after(5 * MS);
    assert!(acks[4].is_done());
}

#[test]
fn a_flush_takes_what_was_sent_before() {
    let mut bench = Bench::small(ProducerOptions::new().linger(5 * MS));
    let before = bench.send_text("before");
    let upto = bench.accumulator.schedule.hurry();
    bench.step();
    assert_eq!(offset(before), 0);
    assert!(bench.accumulator.schedule.watermark().get() >= upto);
    let after = bench.send_text("after");
    assert_eq!(bench.step(), Look::Nothing);
    assert!(!after.is_done());
}

#[test]
fn timestamps_keys_and_headers_arrive() {
    let mut bench = Bench::small(ProducerOptions::new().linger(Duration::ZERO));
    let headers = [Header { name: "h", value: None }];
    let record = ProducerRecord::new(Some(b""), None).timestamp(7).headers(&headers);
    let acks = [bench.send(&record).unwrap(), bench.send_text("now")];
    bench.step();
    let timestamps = acks.map(|ack| ack.wait().unwrap().timestamp);
    assert_eq!(timestamps, [7, NOW]);
    let expected = [(0, 7, Some(vec![]), None), (1, NOW, None, Some(b"now".to_vec()))];
    assert_eq!(bench.log().records(), expected);
    bench.log().stamp_appends(99);
    let ack = bench.send_text("append time");
    bench.step();
    assert_eq!(ack.wait().unwrap().timestamp, 99);
}

#[test]
fn each_refusal_at_the_door_is_typed() {
    let options = ProducerOptions::new().max_request_size(300).buffer_memory(400);
    let mut topic = DoubleTopic::new(2, 200);
    topic.max_message_bytes = 250;
    let bench = Bench::new(options.batch_size(200), topic);
    let refused = |record: ProducerRecord<'_>| bench.send(&record).unwrap_err();
    let of = |bytes| ProducerRecord::of_value(&[0; 1000][..bytes]);
    assert!(matches!(
        refused(of(300)),
        SendError::RecordTooLarge { limit: 300, setting: "max.request.size", .. }
    ));
    assert!(matches!(
        refused(of(200)),
        SendError::RecordTooLarge { limit: 250, setting: "max.message.bytes", .. }
    ));
    assert!(matches!(
        refused(of(1).partition(2)),
        SendError::UnknownPartition { partition: 2, partitions: 2 }
    ));
    assert!(matches!(refused(of(1).timestamp(-2)), SendError::Record(_)));
    let memory = bench.accumulator.pool.available();
    assert_eq!(memory, 400, "a refusal keeps no memory");
    assert!(bench.accumulator.topic(0, 1, || unreachable!()).is_err(), "another engine's topic");
}

#[test]
fn an_oversized_record_travels_alone() {
    let mut bench = Bench::small(ProducerOptions::new().linger(5 * MS));
    let acks = ["a", &"x".repeat(1000), "b"].map(|text| bench.send_text(text));
    bench.step_after(5 * MS);
    assert_eq!(acks.map(offset), [0, 1, 2]);
    assert_eq!(bench.log().batch_sizes(), [1, 1, 1]);
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY);
}

#[test]
fn memory_is_taken_until_the_acknowledgement_and_waiters_end_the_linger() {
    let options = ProducerOptions::new().linger(5 * MS).buffer_memory(400).max_request_size(400);
    let mut bench = Bench::small(options);
    let text = "x".repeat(100);
    let acks = [bench.send_text(&text), bench.send_text(&text)];
    let record = ProducerRecord::of_value(text.as_bytes());
    assert!(matches!(bench.send(&record), Err(SendError::Full)));
    let topic = Arc::clone(
        bench.accumulator.topic(0, Arc::as_ptr(&bench.topic) as usize, || unreachable!()).unwrap(),
    );
    let accumulator = bench.accumulator.clone();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || wait_for(accumulator.placing(topic, record), None));
        while bench.accumulator.pool.waiting() == 0 {
            thread::yield_now();
        }
        // The clock stands still: nothing but the waiter makes the open batch due.
        while !acks[1].is_done() {
            bench.step();
        }
        let ack = waiter.join().unwrap().unwrap().unwrap();
        bench.step_after(5 * MS);
        assert_eq!(offset(ack), 2);
    });
    assert_eq!(bench.accumulator.pool.available(), 400);
}

#[test]
fn a_full_disk_is_tried_again_in_order() {
    let mut bench = Bench::small(ProducerOptions::new().linger(Duration::ZERO));
    bench.log().fail_next([Failure::DiskFull, Failure::DiskFull]);
    let mut acks = vec![bench.send_text("a")];
    bench.step();
    for text in ["b", "c"] {
        acks.push(bench.send_text(&text.repeat(60)));
    }
    bench.step();
    assert_eq!(bench.log().appends(), 1, "the partition rests");
    bench.step_after(DEFAULT_RETRY_BACKOFF);
    assert_eq!(bench.log().appends(), 2);
    assert!(acks.iter().all(|ack| !ack.is_done()));
    bench.step_after(DEFAULT_RETRY_BACKOFF);
    let offsets: Vec<i64> = acks.into_iter().map(offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
    assert_eq!(bench.log().texts(), ["a".into(), "b".repeat(60), "c".repeat(60)]);
    let metrics = bench.accumulator.counters.snapshot();
    assert_eq!((metrics.retries, metrics.records, metrics.failed_records), (1 + 3, 3, 0));
}

#[test]
fn what_was_not_delivered_in_time_expires_in_order() {
    let options = ProducerOptions::new().linger(Duration::ZERO).delivery_timeout(150 * MS);
    let mut bench = Bench::small(options);
    bench.log().fail_next([Failure::DiskFull, Failure::DiskFull]);
    let old = bench.send_text("old");
    bench.step();
    bench.clock.advance(60 * MS);
    let young = bench.send_text("young");
    bench.step_after(40 * MS);
    assert!(!old.is_done(), "100 ms: tried again, in vain");
    bench.step_after(100 * MS);
    let SendError::Expired { last, .. } = error(old) else { panic!("not expired") };
    assert!(last.unwrap().is_disk_full(), "what the log said last");
    assert_eq!(offset(young), 0);
    let metrics = bench.accumulator.counters.snapshot();
    assert_eq!((metrics.expired_records, metrics.failed_records), (1, 1));
}

#[test]
fn a_long_backoff_does_not_put_the_expiry_off() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(200);
    let options = options.delivery_timeout(150 * MS).retry_backoff(Duration::from_hours(1));
    let mut bench = Bench::new(options, DoubleTopic::new(2, 200));
    bench.topic.partitions.iter().for_each(|log| log.fail_next([Failure::DiskFull; 2]));
    let send = |bench: &Bench, index| bench.send(&ProducerRecord::of_value(b"a").partition(index));
    let old = send(&bench, 1).unwrap();
    bench.clock.advance(100 * MS);
    let young = send(&bench, 0).unwrap();
    bench.step();
    bench.step_after(50 * MS);
    assert!(matches!(error(old), SendError::Expired { .. }));
    assert!(!young.is_done());
    bench.step_after(100 * MS);
    assert!(matches!(error(young), SendError::Expired { .. }));
}

#[test]
fn a_batch_size_of_0_sends_each_record_alone() {
    let options = ProducerOptions::new().batch_size(0);
    assert_eq!(options.check(), Ok(()), "Kafka allows it");
    let mut bench = Bench::new(options, DoubleTopic::new(1, 0));
    let acks = ["a", "b", "c"].map(|text| bench.send_text(text));
    bench.step_after(DEFAULT_LINGER);
    assert_eq!(acks.map(offset), [0, 1, 2]);
    assert_eq!(bench.log().batch_sizes(), [1, 1, 1]);
}

#[test]
fn a_broken_log_fails_the_batch_and_not_the_next() {
    let mut bench = Bench::small(ProducerOptions::new().linger(Duration::ZERO));
    bench.log().fail_next([Failure::Broken]);
    let lost = [bench.send_text("a"), bench.send_text("b")];
    bench.step();
    for ack in lost {
        assert!(matches!(error(ack), SendError::Append(_)));
    }
    let next = bench.send_text("c");
    bench.step();
    assert_eq!(offset(next), 0);
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY);
}

/// Sends `count` records without a key, each in a batch of its own, and tells which partitions they
/// came to.
fn spread(bench: &mut Bench, count: usize) -> Vec<u32> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let ack = bench.send_text(&"x".repeat(100));
        bench.step();
        assert!(ack.is_done(), "not decided");
        seen.push(ack.wait().unwrap().partition);
    }
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn a_partition_that_refuses_appends_costs_one_batch_and_comes_back() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(200);
    let mut bench = Bench::new(options, DoubleTopic::new(3, 200));
    let record = ProducerRecord::of_value(b"a");
    assert_eq!(spread(&mut bench, 100), [0, 1, 2]);
    bench.topic.partitions[1].set_damaged(true);
    let named = bench.send(&record.partition(1)).unwrap();
    bench.step();
    assert!(matches!(error(named), SendError::Append(why) if matches!(*why, Damaged(_))));
    for _ in 0..3 {
        assert_eq!(spread(&mut bench, 100), [0, 2]);
        bench.step_after(DEFAULT_RETRY_BACKOFF);
    }
    let named = bench.send(&record.partition(1)).unwrap();
    bench.step();
    assert!(matches!(error(named), SendError::Append(_)), "who names it hears why");
    bench.topic.partitions[1].set_damaged(false);
    assert_eq!(spread(&mut bench, 100), [0, 2], "nobody knows yet");
    bench.step_after(DEFAULT_RETRY_BACKOFF);
    assert_eq!(spread(&mut bench, 100), [0, 1, 2]);
    assert_eq!(bench.step_after(DEFAULT_RETRY_BACKOFF), Look::Nothing, "it is not asked any more");

    bench.topic.partitions.iter().for_each(|log| log.set_damaged(true));
    let lost: Vec<_> = (0..9).map(|_| bench.send_text(&"x".repeat(100))).collect();
    bench.step();
    assert!(lost.into_iter().all(|ack| matches!(error(ack), SendError::Append(_))));
    bench.topic.partitions[2].set_damaged(false);
    bench.step_after(DEFAULT_RETRY_BACKOFF);
    assert_eq!(spread(&mut bench, 100), [2]);
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY);
}

#[test]
fn the_sticky_partition_is_left_at_once_when_it_refuses() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(100_000);
    let mut bench = Bench::new(options, DoubleTopic::new(2, 100_000));
    for failure in [Failure::DiskFull, Failure::Broken] {
        let sticky = spread(&mut bench, 10);
        assert_eq!(sticky.len(), 1, "the batch is not full by far");
        bench.topic.partitions[sticky[0] as usize].fail_next([failure]);
        let met = bench.send_text("a");
        bench.step();
        assert_ne!(spread(&mut bench, 10), sticky);
        bench.step_after(DEFAULT_RETRY_BACKOFF);
        assert_eq!(met.wait().is_ok(), failure == Failure::DiskFull);
    }
}

#[test]
fn a_log_that_takes_no_changes_turns_records_without_a_key_away() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(100_000);
    let mut bench = Bench::new(options, DoubleTopic::new(2, 100_000));
    let sticky = spread(&mut bench, 10);
    bench.topic.partitions[sticky[0] as usize].fail_next([Failure::HalfWay]);
    let met = bench.send_text("a");
    bench.step();
    let why = error(met);
    assert!(matches!(&why, SendError::Append(why) if matches!(**why, Failed { .. })), "{why}");
    assert_ne!(spread(&mut bench, 10), sticky);
}

#[test]
fn a_topic_without_partitions_takes_no_records() {
    let (name, config) = (TopicName::new("none").unwrap(), TopicConfig::default());
    let topic = Arc::new(Topic::new(name, TopicId([1; 16]), 0, config, Vec::new()));
    let producer = Producer::new(Arc::new(SystemClock::new()), ProducerOptions::new()).unwrap();
    let records = [ProducerRecord::new(Some(b"key"), None), ProducerRecord::of_value(b"value")];
    for record in records {
        let refused = producer.send(&topic, &record);
        assert!(matches!(refused, Err(SendError::PartitionNotHere { partition: 0 })));
    }
    let named = producer.send(&topic, &records[0].partition(0));
    assert!(matches!(named, Err(SendError::UnknownPartition { partition: 0, partitions: 0 })));
}

#[test]
fn the_backlog_of_a_full_disk_does_not_use_up_the_memory() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(200);
    let options = options.buffer_memory(1_000).max_request_size(1_000);
    let mut bench = Bench::new(options, DoubleTopic::new(2, 200));
    bench.topic.partitions[0].fail_next([Failure::DiskFull; 3]);
    let named = bench.send(&ProducerRecord::of_value(b"a").partition(0)).unwrap();
    bench.step();
    for _ in 0..2 {
        assert_eq!(spread(&mut bench, 100), [1]);
        bench.step_after(DEFAULT_RETRY_BACKOFF);
    }
    assert!(!named.is_done());
    bench.step_after(DEFAULT_RETRY_BACKOFF);
    assert_eq!(offset(named), 0);
    assert_eq!(spread(&mut bench, 100), [0, 1]);
}

#[test]
fn a_partition_whose_backlog_expired_is_drawn_again() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(200);
    let mut bench =
        Bench::new(options.delivery_timeout(DEFAULT_RETRY_BACKOFF), DoubleTopic::new(2, 200));
    bench.topic.partitions[0].fail_next([Failure::DiskFull]);
    let named = bench.send(&ProducerRecord::of_value(b"a").partition(0)).unwrap();
    bench.step();
    assert_eq!(spread(&mut bench, 100), [1]);
    bench.step_after(DEFAULT_RETRY_BACKOFF);
    assert!(matches!(error(named), SendError::Expired { .. }));
    assert_eq!(spread(&mut bench, 100), [0, 1]);
}

#[test]
fn a_failed_sync_turns_records_without_a_key_away() {
    let mut topic = DoubleTopic::new(2, 200);
    topic.durable = true;
    let mut bench = Bench::new(ProducerOptions::new().linger(Duration::ZERO), topic);
    for (partition, left) in [(0, Some([1])), (1, None)] {
        bench.topic.partitions[partition].fail_commits();
        let record = ProducerRecord::of_value(b"a").partition(partition as u32);
        let lost = bench.send(&record).unwrap();
        bench.step();
        assert!(matches!(error(lost), SendError::Commit(_)));
        bench.step_after(DEFAULT_RETRY_BACKOFF);
        if let Some(left) = left {
            assert_eq!(spread(&mut bench, 100), left);
        } else {
            let refused = bench.send(&ProducerRecord::of_value(b"a"));
            assert!(matches!(refused, Err(SendError::Commit(_))), "all are refused");
        }
    }
}

#[test]
fn durable_acknowledgements_wait_for_the_commit() {
    let mut topic = DoubleTopic::new(2, 200);
    topic.durable = true;
    let mut bench = Bench::new(ProducerOptions::new().linger(Duration::ZERO), topic);
    let record = ProducerRecord::of_value(b"a");
    let acks = [0, 1, 0].map(|index| bench.send(&record.partition(index)).unwrap());
    bench.sender.step();
    assert!(acks.iter().all(|ack| !ack.is_done()));
    assert!(bench.accumulator.pool.available() < DEFAULT_BUFFER_MEMORY, "memory is held so long");
    bench.sender.commit_now();
    assert_eq!(acks.map(offset), [0, 0, 1]);
    let durable: Vec<i64> = bench.topic.partitions.iter().map(|log| log.durable()).collect();
    assert_eq!(durable, [2, 1]);
}

#[test]
fn a_failed_sync_fails_all_that_follows() {
    let mut topic = DoubleTopic::new(2, 200);
    topic.durable = true;
    let mut bench = Bench::new(ProducerOptions::new(), topic);
    bench.log().fail_commits();
    let record = ProducerRecord::of_value(b"a");
    let send = |bench: &Bench, index| bench.send(&record.partition(index));
    let acks = [send(&bench, 0).unwrap(), send(&bench, 1).unwrap()];
    bench.clock.advance(DEFAULT_LINGER);
    bench.sender.step();
    let waiting = send(&bench, 0).unwrap();
    bench.sender.commit_now();
    let [failed, healthy] = acks;
    assert!(matches!(error(failed), SendError::Commit(_)));
    assert_eq!(offset(healthy), 0);
    assert!(matches!(error(waiting), SendError::Commit(_)));
    assert!(matches!(send(&bench, 0), Err(SendError::Commit(_))));
    assert!(send(&bench, 1).is_ok());
}

#[test]
fn without_acks_a_record_is_done_at_the_hand_over() {
    let mut bench = Bench::small(ProducerOptions::new().acks(Acks::None).linger(5 * MS));
    bench.log().fail_next([Failure::Broken]);
    let ack = bench.send_text("lost, and nobody learns it");
    assert!(!ack.is_done());
    bench.step_after(5 * MS);
    let expected = RecordMetadata { partition: 0, offset: None, timestamp: NOW };
    assert_eq!(ack.wait().unwrap(), expected);
    assert_eq!(bench.accumulator.counters.snapshot().failed_records, 1);
}

#[test]
fn a_batch_too_large_for_its_topic_is_split() {
    let mut topic = DoubleTopic::new(1, 10_000);
    topic.compression = Compression::new(Codec::Lz4);
    topic.max_message_bytes = 1_000;
    let mut bench = Bench::new(ProducerOptions::new().linger(5 * MS), topic);
    let mut random = fastrand::Rng::with_seed(5);
    let values: Vec<Vec<u8>> = (0..50).map(|_| (0..90).map(|_| random.u8(..)).collect()).collect();
    let send = |value: &Vec<u8>| bench.send(&ProducerRecord::of_value(value)).unwrap();
    let mut acks: Vec<Ack> = values.iter().map(send).collect();
    let huge: Vec<u8> = (0..2_000).map(|_| random.u8(..)).collect();
    let lost = send(&huge);
    acks.push(send(&values[0]));
    assert!(acks[0].shares_batch_with(&lost));
    bench.step_after(5 * MS);
    assert!(matches!(
        error(lost),
        SendError::RecordTooLarge { limit: 1_000, setting: "max.message.bytes", .. }
    ));
    let offsets: Vec<i64> = acks.into_iter().map(offset).collect();
    assert_eq!(offsets, (0..51).collect::<Vec<i64>>());
    let arrived = bench.log().records().into_iter().map(|(.., value)| value.unwrap());
    assert!(arrived.eq(values.iter().chain([&values[0]]).cloned()));
    assert_eq!(bench.accumulator.counters.snapshot().splits, 1);
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY);
    assert_eq!(bench.step_after(5 * MS), Look::Nothing);
    let upto = bench.accumulator.schedule.hurry();
    assert_eq!(bench.accumulator.schedule.watermark().get(), upto, "every share is decided");
}

#[test]
fn a_split_batch_keeps_its_memory_until_its_last_part_is_decided() {
    let mut topic = DoubleTopic::new(1, 10_000);
    topic.compression = Compression::new(Codec::Lz4);
    topic.max_message_bytes = 1_000;
    topic.durable = true;
    let mut bench = Bench::new(ProducerOptions::new().linger(5 * MS), topic);
    let mut random = fastrand::Rng::with_seed(5);
    let values: Vec<Vec<u8>> =
        [90, 90, 2_000].map(|bytes| (0..bytes).map(|_| random.u8(..)).collect()).into();
    let send = |value: &Vec<u8>| bench.send(&ProducerRecord::of_value(value)).unwrap();
    let mut acks: Vec<Ack> = values.iter().map(send).collect();
    bench.clock.advance(5 * MS);
    bench.sender.step();
    assert!(matches!(error(acks.pop().unwrap()), SendError::RecordTooLarge { .. }));
    assert!(!acks.iter().any(Ack::is_done));
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY - 10_000);
    bench.sender.commit_now();
    assert!(acks.iter().all(Ack::is_done));
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY);
}

#[test]
fn keys_choose_partitions_and_the_rest_is_spread() {
    let bench_of = |seed: u64| {
        let options = ProducerOptions::new().batch_size(1_000).partitioner_seed(seed);
        Bench::new(options.linger(Duration::ZERO), DoubleTopic::new(4, 1_000))
    };
    let mut bench = bench_of(9);
    for number in 0..100u32 {
        let key = number.to_string();
        let ack = bench.send(&ProducerRecord::new(Some(key.as_bytes()), None)).unwrap();
        bench.step();
        assert_eq!(ack.wait().unwrap().partition, partition_for_key(key.as_bytes(), 4));
    }
    let mut bytes = [0; 4];
    for _ in 0..40_000 {
        let ack = bench.send(&ProducerRecord::of_value(&[1; 90])).unwrap();
        bench.step();
        bytes[ack.wait().unwrap().partition as usize] += 90;
    }
    for share in bytes {
        assert!((800_000..1_000_000).contains(&share), "{bytes:?}");
    }
}

#[test]
fn entries_of_batches_that_left_do_not_pile_up() {
    let mut bench = Bench::small(ProducerOptions::new().linger(Duration::from_mins(1)));
    bench.log().forget();
    for _ in 0..5_000 {
        bench.send_text(&"x".repeat(100));
        bench.step();
    }
    assert!(bench.accumulator.schedule.lingering() <= 512);
}

#[test]
fn deleted_topics_are_let_go() {
    let mut bench = Bench::small(ProducerOptions::new().linger(Duration::ZERO));
    bench.send_text("a");
    bench.step();
    let deleted = Arc::downgrade(&bench.topic);
    let waiting = bench.send_text("b");
    bench.topic.deleted.store(true, Ordering::Relaxed);
    bench.topic = Arc::new(DoubleTopic::new(1, 200));
    let owner = Arc::as_ptr(&bench.topic) as usize;
    bench.accumulator.topic(1, owner, || bench.topic.queues()).unwrap();
    assert!(deleted.upgrade().is_none());
    assert!(matches!(error(waiting), SendError::TopicDeleted));
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY);
}

#[test]
fn a_deleted_topic_is_let_go_without_waiting_for_another() {
    let mut bench = Bench::small(ProducerOptions::new().linger(Duration::ZERO));
    let waiting = bench.send_text("a");
    let log = Arc::downgrade(&bench.topic.partitions[0]);
    bench.topic.deleted.store(true, Ordering::Relaxed);
    bench.topic = Arc::new(DoubleTopic::new(1, 200));
    bench.accumulator.release_deleted();
    assert!(log.upgrade().is_none());
    assert!(matches!(error(waiting), SendError::TopicDeleted));
    assert_eq!(bench.accumulator.pool.available(), DEFAULT_BUFFER_MEMORY);

    // Deleted between the look of whoever sends and the moment when it is known here.
    bench.topic.deleted.store(true, Ordering::Relaxed);
    let log = Arc::downgrade(&bench.topic.partitions[0]);
    let owner = Arc::as_ptr(&bench.topic) as usize;
    bench.accumulator.topic(1, owner, || bench.topic.queues()).unwrap();
    bench.topic = Arc::new(DoubleTopic::new(1, 200));
    assert!(log.upgrade().is_none());
}

/// A producer with threads, and its topic.
fn live(
    options: ProducerOptions,
    topic: DoubleTopic,
) -> (Producer, Arc<TopicQueues>, Arc<DoubleTopic>) {
    let producer = Producer::new(Arc::new(SystemClock::new()), options).unwrap();
    let topic = Arc::new(topic);
    let queues = producer.accumulator.topic(0, Arc::as_ptr(&topic) as usize, || topic.queues());
    let queues = queues.unwrap().clone();
    (producer, queues, topic)
}

#[test]
fn threads_share_a_producer_and_every_record_arrives_once_in_order() {
    const THREADS: u32 = 4;
    const RECORDS: u32 = 20_000;
    let mut topic = DoubleTopic::new(3, 1_000);
    topic.partitions = (0..3).map(Double::new).collect();
    topic.durable = true;
    let options = ProducerOptions::new().batch_size(1_000).buffer_memory(20_000).linger(MS);
    let options = options.retry_backoff(MS).max_request_size(5_000);
    let (producer, queues, topic) = live(options, topic);
    for log in &topic.partitions {
        log.fail_next([Failure::DiskFull; 3]);
    }
    let send_all = |thread: u32| {
        let mut acks = Vec::new();
        for number in 0..RECORDS {
            let value = [thread.to_be_bytes(), number.to_be_bytes()].concat();
            let record = ProducerRecord::of_value(&value);
            let record = if number % 3 == 0 { record.partition(thread % 3) } else { record };
            acks.push((number, producer.send_to(&queues, &record).unwrap()));
        }
        acks
    };
    let mut acked: HashMap<(u32, i64), (u32, u32)> = HashMap::new();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || send_all(thread))).collect();
        for (thread, sent) in (0..).zip(threads) {
            for (number, ack) in sent.join().unwrap() {
                let done = ack.wait().unwrap();
                let place = (done.partition, done.offset.unwrap());
                assert_eq!(acked.insert(place, (thread, number)), None, "two records, one place");
            }
        }
    });
    for (partition, log) in (0..).zip(&topic.partitions) {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for (offset, _, _, value) in log.records() {
            let value = value.unwrap();
            let word = |at: usize| u32::from_be_bytes(value[at..at + 4].try_into().unwrap());
            let (thread, number) = (word(0), word(4));
            assert_eq!(acked.remove(&(partition, offset)), Some((thread, number)));
            let before = last.insert(thread, number);
            assert!(before.is_none_or(|before| before < number), "the order of a thread is kept");
        }
    }
    assert!(acked.is_empty(), "acknowledged and not there: {acked:?}");
    let metrics = producer.metrics();
    assert_eq!(metrics.records, u64::from(THREADS * RECORDS));
    assert_eq!((metrics.failed_records, metrics.waiting), (0, 0));
    producer.close(Duration::MAX).unwrap();
    assert_eq!(producer.metrics().buffer_available, 20_000);
}

#[test]
fn a_flush_of_a_live_producer_leaves_nothing_behind() {
    let options = ProducerOptions::new().linger(Duration::from_mins(1));
    let (producer, queues, topic) = live(options, DoubleTopic::new(2, 1_000));
    for round in 1..=3 {
        let acks: Vec<Ack> = (0..100)
            .map(|_| producer.send_to(&queues, &ProducerRecord::of_value(&[0; 90])).unwrap())
            .collect();
        if round == 3 {
            wait_for(producer.flush_async(), None).unwrap();
        } else {
            producer.flush();
        }
        assert!(acks.iter().all(Ack::is_done));
        let records: usize = topic.partitions.iter().map(|log| log.records().len()).sum();
        assert_eq!(records, 100 * round);
    }
    let metrics = producer.metrics();
    assert!(metrics.average_batch_records() > 3.0 && metrics.raw_bytes == metrics.log_bytes);
}

#[test]
fn a_close_sends_what_it_can_and_fails_the_rest() {
    let options = ProducerOptions::new().linger(Duration::from_mins(1)).batch_size(200);
    let (producer, queues, topic) = live(options, DoubleTopic::new(1, 200));
    let send = || producer.send_to(&queues, &ProducerRecord::of_value(&[0; 100]));
    let first = send().unwrap();
    producer.flush();
    topic.partitions[0].hold(true);
    let in_hand = send().unwrap();
    let next = send().unwrap(); // completes the batch in front of it
    topic.partitions[0].wait_for_append();
    let behind = [next, send().unwrap()];
    let outcome = thread::scope(|scope| {
        let closing = scope.spawn(|| producer.close(Duration::ZERO));
        while !matches!(send(), Err(SendError::Closed)) {
            thread::yield_now();
        }
        topic.partitions[0].hold(false);
        closing.join().unwrap()
    });
    assert!(matches!(outcome, Err(CloseError::Unsent { records: 2.. })), "{outcome:?}");
    assert_eq!(offset(first), 0);
    assert_eq!(offset(in_hand), 1);
    for ack in behind {
        assert!(matches!(error(ack), SendError::Closed));
    }
    assert_eq!(producer.close(Duration::MAX), outcome, "the outcome stays");
    producer.flush();
}

#[test]
fn a_close_in_time_sends_everything() {
    let options = ProducerOptions::new().linger(Duration::from_mins(1));
    let (producer, queues, topic) = live(options, DoubleTopic::new(1, 16_384));
    let ack = producer.send_to(&queues, &ProducerRecord::of_value(b"a")).unwrap();
    producer.close(Duration::MAX).unwrap();
    assert_eq!(offset(ack), 0);
    assert_eq!(topic.partitions[0].texts(), ["a"]);
}

#[test]
fn a_dropped_producer_leaves_no_ack_and_no_thread_waiting() {
    let options = ProducerOptions::new().linger(Duration::from_mins(1));
    let (producer, queues, _topic) = live(options, DoubleTopic::new(1, 16_384));
    let ack = producer.send_to(&queues, &ProducerRecord::of_value(b"a")).unwrap();
    let shared = Arc::downgrade(&producer.accumulator);
    drop(producer);
    assert!(matches!(error(ack), SendError::Closed));
    assert!(shared.upgrade().is_none(), "the threads ended and let go of what they shared");
}

/// Drops a producer when it is woken, as a task may that an executor polls at once.
struct DropWhenWoken(Mutex<Option<Producer>>);

impl Wake for DropWhenWoken {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().take());
    }
}

#[test]
fn a_waker_may_drop_the_producer() {
    for durable in [false, true] {
        let mut topic = DoubleTopic::new(1, 200);
        topic.durable = durable;
        let (producer, queues, topic) = live(ProducerOptions::new(), topic);
        topic.partitions[0].hold(true);
        let mut ack = producer.send_to(&queues, &ProducerRecord::of_value(b"a")).unwrap();
        let shared = Arc::downgrade(&producer.accumulator);
        let waker = Waker::from(Arc::new(DropWhenWoken(Mutex::new(Some(producer)))));
        assert!(Pin::new(&mut ack).poll(&mut Context::from_waker(&waker)).is_pending());
        topic.partitions[0].hold(false);
        assert_eq!(ack.wait().unwrap().offset, Some(0));
        drop(waker);
        while shared.upgrade().is_some() {
            thread::yield_now();
        }
    }
}

#[test]
fn a_panic_of_the_sender_fails_everything_and_blocks_nobody() {
    let (producer, queues, topic) =
        live(ProducerOptions::new().linger(Duration::ZERO), DoubleTopic::new(1, 200));
    topic.partitions[0].fail_next([Failure::Panic]);
    let ack = producer.send_to(&queues, &ProducerRecord::of_value(b"a")).unwrap();
    assert!(matches!(ack.wait(), Err(SendError::Stopped)));
    producer.flush();
    while producer.send_to(&queues, &ProducerRecord::of_value(b"a")).is_ok() {
        thread::yield_now();
    }
    let refused = producer.send_to(&queues, &ProducerRecord::of_value(b"a")).unwrap_err();
    assert!(matches!(refused, SendError::Stopped), "{refused}");
    assert_eq!(producer.close(Duration::MAX), Err(CloseError::Stopped));
    assert_eq!(producer.close(Duration::ZERO), Err(CloseError::Stopped));
}

#[test]
fn a_panic_of_a_committer_fails_everything_and_blocks_nobody() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(200);
    let options = options.buffer_memory(400).max_request_size(400).max_block(Duration::MAX);
    let mut topic = DoubleTopic::new(1, 200);
    topic.durable = true;
    let (producer, queues, topic) = live(options, topic);
    let log = &topic.partitions[0];
    log.hold_commits(true);
    log.panic_in_commits();
    let record = ProducerRecord::of_value(&[0; 100]);
    // In the committer's hands, or in its inbox.
    let acks = [(); 2].map(|()| producer.send_to(&queues, &record).unwrap());
    thread::scope(|scope| {
        let sent = scope.spawn(|| producer.send_to(&queues, &record).and_then(Ack::wait));
        let flush = scope.spawn(|| producer.flush());
        while producer.metrics().waiting == 0 {
            thread::yield_now();
        }
        log.hold_commits(false);
        flush.join().unwrap();
        assert!(matches!(sent.join().unwrap(), Err(SendError::Stopped)));
    });
    for ack in acks {
        assert!(matches!(ack.wait(), Err(SendError::Stopped)));
    }
    producer.flush();
    assert!(matches!(producer.send_to(&queues, &record), Err(SendError::Stopped)));
    assert_eq!(producer.close(Duration::MAX), Err(CloseError::Stopped));
    assert_eq!(producer.metrics().buffer_available, 400);
}

#[test]
fn whoever_closes_a_producer_that_is_being_closed_waits_for_the_end() {
    let options = ProducerOptions::new().linger(Duration::ZERO).batch_size(200);
    let (producer, queues, topic) = live(options, DoubleTopic::new(1, 200));
    let log = &topic.partitions[0];
    log.hold(true);
    let ack = producer.send_to(&queues, &ProducerRecord::of_value(b"a")).unwrap();
    log.wait_for_append();
    let behind = producer.send_to(&queues, &ProducerRecord::of_value(b"b")).unwrap();
    thread::scope(|scope| {
        let closing = [(); 2].map(|()| scope.spawn(|| producer.close(Duration::ZERO)));
        for _ in 0..10_000 {
            assert!(
                !closing.iter().any(thread::ScopedJoinHandle::is_finished),
                "the log has a batch in hand"
            );
            thread::yield_now();
        }
        log.hold(false);
        for one in closing {
            assert_eq!(one.join().unwrap(), Err(CloseError::Unsent { records: 1 }));
            assert!(ack.is_done() && behind.is_done());
        }
    });
    assert_eq!(offset(ack), 0);
}

/// Closes a producer when it is woken.
struct CloseWhenWoken(Arc<Producer>, Mutex<Option<Result<(), CloseError>>>);

impl Wake for CloseWhenWoken {
    fn wake(self: Arc<Self>) {
        *self.1.lock() = Some(self.0.close(Duration::MAX));
    }
}

#[test]
fn a_waker_that_closes_a_producer_being_closed_is_told_so() {
    let (producer, queues, topic) = live(ProducerOptions::new(), DoubleTopic::new(1, 200));
    let producer = Arc::new(producer);
    topic.partitions[0].hold(true);
    let mut ack = producer.send_to(&queues, &ProducerRecord::of_value(b"a")).unwrap();
    let closer = Arc::new(CloseWhenWoken(producer.clone(), Mutex::default()));
    let waker = Waker::from(closer.clone());
    assert!(Pin::new(&mut ack).poll(&mut Context::from_waker(&waker)).is_pending());
    topic.partitions[0].wait_for_append();
    thread::scope(|scope| {
        let closing = scope.spawn(|| producer.close(Duration::ZERO));
        topic.partitions[0].hold(false);
        assert_eq!(closing.join().unwrap(), Ok(()));
    });
    assert_eq!(*closer.1.lock(), Some(Err(CloseError::UnderWay)));
    assert_eq!(offset(ack), 0);
}

type Boxed = Pin<Box<Placing<'static>>>;

/// Polls a record's way into a batch when it is woken, as a task may that an executor polls at once.
struct PlaceWhenWoken(Mutex<Boxed>, Mutex<Option<Ack>>);

impl Wake for PlaceWhenWoken {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let placed = self.0.lock().as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(placed) = placed {
            *self.1.lock() = Some(placed.unwrap());
        }
    }
}

#[test]
fn a_batch_that_is_opened_behind_the_senders_back_does_not_linger_while_others_wait() {
    let options = ProducerOptions::new().linger(Duration::from_hours(1));
    let options = options.delivery_timeout(Duration::from_hours(2)).batch_size(200);
    let (producer, queues, topic) =
        live(options.buffer_memory(400).max_request_size(400), DoubleTopic::new(1, 200));
    let log = &topic.partitions[0];
    let of = |bytes| ProducerRecord::of_value(&[0; 400][..bytes]);
    let placing = |bytes| producer.accumulator.placing(queues.clone(), of(bytes));
    log.hold(true);
    let first = producer.send_to(&queues, &of(100)).unwrap();
    producer.accumulator.schedule.hurry();
    log.wait_for_append();
    let second = producer.send_to(&queues, &of(100)).unwrap();
    // Fits once both are acknowledged: woken on the sender's thread, between its look and its sleep.
    let third = PlaceWhenWoken(Mutex::new(Box::pin(placing(200))), Mutex::default());
    let third = Arc::new(third);
    third.clone().wake();
    // Fits once the third is, too.
    let mut fourth = Box::pin(placing(300));
    assert!(fourth.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(producer.metrics().waiting, 2);
    log.hold(false);
    let fourth = wait_for(fourth, None).unwrap().unwrap();
    producer.flush();
    let third = third.1.lock().take().unwrap();
    assert_eq!([first, second, third, fourth].map(offset), [0, 1, 2, 3]);
}

#[test]
fn a_send_blocks_for_memory_no_longer_than_told() {
    let options = ProducerOptions::new().batch_size(200).buffer_memory(400).max_request_size(400);
    let (producer, queues, topic) = live(options.max_block(MS), DoubleTopic::new(1, 200));
    topic.partitions[0].hold(true);
    let record = ProducerRecord::of_value(&[0; 100]);
    let acks = [(); 2].map(|()| producer.send_to(&queues, &record).unwrap());
    let refused = producer.send_to(&queues, &record).unwrap_err();
    assert!(matches!(refused, SendError::Blocked { needed: 200, available: 0, .. }), "{refused}");
    assert!(matches!(producer.try_send_to(&queues, &record), Err(SendError::Full)));
    assert_eq!(producer.metrics().memory_waits, 1);
    let placing = producer.accumulator.placing(queues.clone(), record);
    topic.partitions[0].hold(false);
    let placed = wait_for(placing, None).unwrap().unwrap();
    assert_eq!(placed.wait().unwrap().offset, Some(2));
    assert_eq!(acks.map(|ack| ack.wait().unwrap().offset), [Some(0), Some(1)]);
}

#[test]
fn a_partition_that_is_not_here_is_named_and_never_sticky() {
    let mut topic = DoubleTopic::new(2, 200);
    topic.missing = vec![0, 2];
    let mut bench = Bench::new(ProducerOptions::new().linger(Duration::ZERO), topic);
    let record = ProducerRecord::of_value(b"a");
    let send = |partition| bench.send(&record.partition(partition));
    assert!(matches!(send(0), Err(SendError::PartitionNotHere { partition: 0 })));
    assert!(matches!(send(2), Err(SendError::PartitionNotHere { partition: 2 })));
    assert!(matches!(send(4), Err(SendError::UnknownPartition { partitions: 4, .. })));
    let mut acks = vec![send(1).unwrap(), send(3).unwrap()];
    acks.extend((0..20).map(|_| bench.send(&record).unwrap()));
    bench.step();
    let mut seen: Vec<u32> = acks.into_iter().map(|ack| ack.wait().unwrap().partition).collect();
    assert_eq!(seen[..2], [1, 3]);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 3]);
}

#[test]
fn an_append_takes_no_more_than_told() {
    let mut topic = DoubleTopic::new(1, 200);
    topic.append_bytes = 500;
    let mut bench = Bench::new(ProducerOptions::new().linger(5 * MS).batch_size(200), topic);
    bench.log().fail_next([Failure::DiskFull]);
    let acks: Vec<Ack> = (0..7).map(|_| bench.send_text(&"x".repeat(100))).collect();
    bench.step_after(5 * MS);
    assert_eq!(bench.log().appends(), 1);
    bench.step_after(DEFAULT_RETRY_BACKOFF);
    while bench.step() == Look::Due {}
    let offsets: Vec<i64> = acks.into_iter().map(offset).collect();
    assert_eq!(offsets, (0..7).collect::<Vec<i64>>());
    assert_eq!(bench.log().appends(), 1 + 4, "two batches an append, the last alone");
}

/// A topic on the disk, in a folder that goes with it.
fn topic_on_disk(partitions: u32, config: &TopicConfig) -> (Arc<Topic>, tempfile::TempDir) {
    let root = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let dir = LogDir::open(&Storage::portable(), root.path(), Strategy::SyncEach).unwrap();
    let (dir, name) = (Arc::new(dir), TopicName::new("orders").unwrap());
    let open = |number| {
        let partition = TopicPartition::new(name.clone(), number);
        let clock = Arc::new(SystemClock::new());
        let log = UnrecoveredLog::open(&dir, &partition, config.log_config(), clock).unwrap();
        Arc::new(log.recover().unwrap().0)
    };
    let logs = (0..partitions).map(open).collect();
    let topic = Topic::new(name.clone(), TopicId([1; 16]), 0, config.clone(), logs);
    (Arc::new(topic), root)
}

/// The values in a log, by offset.
fn values(log: &PartitionLog) -> Vec<Vec<u8>> {
    let (mut decoder, mut values) = (Decoder::new(), Vec::new());
    let end = log.watermarks().log_end;
    while (values.len() as i64) < end {
        let fetched = log.fetch(values.len() as i64, 1 << 20, Isolation::Committed).unwrap();
        for batch in fetched.batches() {
            for record in batch.unwrap().records(&mut decoder).unwrap() {
                values.push(record.unwrap().value.unwrap().to_vec());
            }
        }
    }
    values
}

#[test]
fn what_a_truncation_took_is_not_acknowledged_with_what_took_its_place() {
    let (topic, _root) = topic_on_disk(1, &TopicConfig::default());
    let options = ProducerOptions::new().linger(Duration::ZERO);
    let accumulator = Accumulator::new(Arc::new(ManualClock::new(NOW)), options.clone());
    let mut sender = Sender::new(accumulator.clone(), false);
    let owner = Arc::as_ptr(&topic) as usize;
    let queues = accumulator.topic(0, owner, || TopicQueues::of(&topic, &options)).unwrap();
    let mut send = |value: &[u8]| {
        let placed = accumulator.place(queues, &ProducerRecord::of_value(value), &mut None);
        let Ok(Placed::InBatch(ack)) = placed else { panic!("{placed:?}") };
        sender.step();
        ack
    };
    // None of them is committed before the end.
    let [kept, lost, gone] = [b"0", b"1", b"2"].map(|value| send(value));
    topic.partitions()[0].truncate_to(1).unwrap();
    let [first, second] = [b"3", b"4"].map(|value| send(value));
    sender.commit_now();
    for ack in [lost, gone] {
        assert!(matches!(error(ack), SendError::Commit(_)));
    }
    assert_eq!([kept, first, second].map(offset), [0, 1, 2]);
    assert_eq!(values(&topic.partitions()[0]), [b"0", b"3", b"4"]);
}

#[test]
fn what_was_acknowledged_stands_in_the_log() {
    let written = TopicConfig::default().durability(Durability::Written);
    let durable = TopicConfig::default().with_compression("zstd".parse().unwrap());
    for config in [written, durable] {
        let (topic, _root) = topic_on_disk(3, &config);
        let options = ProducerOptions::new().batch_size(2_000).linger(MS);
        let producer = Producer::new(Arc::new(SystemClock::new()), options).unwrap();
        let texts: Vec<String> = (0..3_000).map(|number| format!("record {number}")).collect();
        let send =
            |text: &String| producer.send(&topic, &ProducerRecord::of_value(text.as_bytes()));
        let acks: Vec<Ack> = texts.iter().map(|text| send(text).unwrap()).collect();
        producer.flush();
        let logs: Vec<_> = topic.partitions().iter().map(|log| values(log)).collect();
        for (text, ack) in texts.iter().zip(acks) {
            let place = ack.wait().unwrap();
            let found = &logs[place.partition as usize][place.offset.unwrap() as usize];
            assert_eq!(found, text.as_bytes());
        }
        let durable = topic.partitions().iter().all(|log| {
            let marks = log.watermarks();
            marks.durable_end == marks.log_end
        });
        assert_eq!(durable, config.durability == Durability::Durable);
        let later = producer.send_async(&topic, ProducerRecord::new(Some(b"key"), None));
        let ack = wait_for(later, None).unwrap().unwrap();
        producer.close(Duration::MAX).unwrap();
        assert!(ack.is_done());
        assert!(matches!(send(&texts[0]), Err(SendError::Closed)));
        topic.set_deleted();
        assert!(matches!(send(&texts[0]), Err(SendError::TopicDeleted)));
    }
}

#[test]
fn a_producer_may_wait_for_more_than_the_topic_asks() {
    let config = TopicConfig::default().durability(Durability::Written);
    let (topic, _root) = topic_on_disk(1, &config);
    let options = ProducerOptions::new().durability(Durability::Durable);
    let producer = Producer::new(Arc::new(SystemClock::new()), options).unwrap();
    let ack = producer.try_send(&topic, &ProducerRecord::of_value(b"a")).unwrap();
    assert_eq!(ack.wait().unwrap().offset, Some(0));
    assert_eq!(topic.partitions()[0].watermarks().durable_end, 1);
}

/// Time that a thread was on a CPU, so that a busy machine tells the same.
fn cpu_nanos(path: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// Records a second, into the double and into a log. `cargo test --release -p trunkline --lib
/// producer::tests::measure -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn measure() {
    let sizes = [("16 KiB", 16 << 10), ("128 KiB", 128 << 10)];
    for (name, batch_size) in sizes {
        for (partitions, stamped) in [(1, false), (4, false), (4, true)] {
            let options = ProducerOptions::new().batch_size(batch_size);
            let (producer, queues, topic) = live(options, DoubleTopic::new(partitions, batch_size));
            for log in &topic.partitions {
                log.forget();
            }
            let owner = Arc::as_ptr(&topic) as usize;
            let stamps = if stamped { "given" } else { "taken" };
            drop(queues);
            let title = format!("double, {name}, {partitions} partitions, timestamps {stamps}");
            measure_sends(&title, &producer, stamped, |record| {
                let queues = producer.accumulator.topic(0, owner, || unreachable!()).unwrap();
                producer.send_to(queues, record)
            });
        }
        let config = TopicConfig::default().durability(Durability::Written);
        let (topic, _root) = topic_on_disk(4, &config);
        let options = ProducerOptions::new().batch_size(batch_size);
        let producer = Producer::new(Arc::new(SystemClock::new()), options).unwrap();
        let title = format!("log, written, {name}, 4 partitions");
        measure_sends(&title, &producer, false, |record| producer.send(&topic, record));
    }
}

fn measure_sends(
    title: &str,
    producer: &Producer,
    stamped: bool,
    send: impl Fn(&ProducerRecord<'_>) -> Result<Ack, SendError>,
) {
    const RECORDS: u64 = 10_000_000;
    let value = [b'x'; 100];
    let mut record = ProducerRecord::of_value(&value);
    record.timestamp = stamped.then_some(NOW);
    let (started, own) = (Instant::now(), cpu_nanos("/proc/thread-self/schedstat"));
    let all = process_cpu_nanos();
    for _ in 0..RECORDS {
        black_box(send(black_box(&record)).unwrap());
    }
    let own = cpu_nanos("/proc/thread-self/schedstat") - own;
    producer.flush();
    let all = process_cpu_nanos() - all;
    let metrics = producer.metrics();
    assert_eq!(metrics.records, RECORDS);
    println!(
        "{title}: {:.2} M records/s; CPU a record: {:.0} ns send, {:.0} ns sender; {:.0} records a \
         batch, {} memory waits",
        RECORDS as f64 / started.elapsed().as_secs_f64() / 1e6,
        own as f64 / RECORDS as f64,
        all.saturating_sub(own) as f64 / RECORDS as f64,
        metrics.average_batch_records(),
        metrics.memory_waits,
    );
}

/// The same of all threads.
fn process_cpu_nanos() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.map(|task| cpu_nanos(&task.path().join("schedstat").to_string_lossy())).sum()
}
