//! With its own threads: sharing, closing, panics, and wakers that do as they like.

use super::*;

/// A producer with threads, and its topic.
pub(super) fn live(
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
