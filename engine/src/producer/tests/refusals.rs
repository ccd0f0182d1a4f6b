//! A log refuses, its disk is full, its records expire: the sender tries again, spreads elsewhere, or gives up.

use super::*;

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
