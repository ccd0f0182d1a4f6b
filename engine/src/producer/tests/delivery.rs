//! What is acknowledged when, what is split, and what is let go.

use super::*;

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
