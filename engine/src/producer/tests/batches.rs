//! What is sent lingers, fills a batch and leaves; what no batch takes is refused at the door.

use super::*;

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
