//! [`Producer`] and [`Consumer`]: those who send, the thread that seals and appends, the one that
//! commits, and who waits for records.

use std::{sync::Arc, time::Duration};

use crate::{
    benches::Bench,
    commit::wait_for,
    consumer::{AutoOffsetReset, Consumer, ConsumerOptions},
    explore::{FEW, Scenario},
    producer::{Producer, ProducerOptions, ProducerRecord, SendError},
    race::Race,
    sync::thread,
    topic::{Topic, TopicConfig},
    types::TopicId,
};

const fn scenario(name: &'static str, run: fn(), races: &'static [Race]) -> Scenario {
    Scenario { structure: "producer", name, run, schedules: FEW, races }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        "every_send_is_acknowledged",
        every_send_is_acknowledged,
        &[Race::SleepsUnasked, Race::InboxLetGo],
    ),
    scenario("a_flush_waits_for_all", a_flush_waits_for_all, &[Race::HurryInSilence]),
    scenario("little_memory_is_enough", little_memory_is_enough, &[Race::ExhaustedUnsaid]),
    scenario(
        "a_consumer_hears_of_what_is_sent",
        a_consumer_hears_of_what_is_sent,
        &[Race::ReadersNotWoken],
    ),
    scenario("a_close_beside_sends", a_close_beside_sends, &[Race::CloseInSilence]),
];

// No time passes by itself.
const LONG: Duration = Duration::from_hours(1);
const FOR_EVER: Duration = Duration::from_hours(3);

fn producer(options: ProducerOptions) -> (Producer, Arc<Topic>, Bench) {
    let bench = Bench::new(100);
    let name = bench.log.partition().topic.clone();
    let logs = vec![bench.log.clone()];
    let topic = Topic::new(name, TopicId::ZERO, 0, TopicConfig::default(), logs);
    let options = options.max_block(FOR_EVER).delivery_timeout(FOR_EVER).partitioner_seed(1_u64);
    (Producer::new(bench.clock.clone(), options).unwrap(), Arc::new(topic), bench)
}

/// Two send, and each waits for its record before it sends the next.
fn every_send_is_acknowledged() {
    let (producer, topic, bench) = producer(ProducerOptions::new().linger(Duration::ZERO));
    thread::scope(|scope| {
        for key in [b"a", b"b"] {
            let (producer, topic, log) = (&producer, &topic, &bench.log);
            scope.spawn(move || {
                for _ in 0..2 {
                    let ack = producer.send(topic, &ProducerRecord::new(Some(key), None)).unwrap();
                    let offset = ack.wait().unwrap().offset.unwrap();
                    assert!(offset < log.watermarks().durable_end, "{offset} is not durable");
                }
            });
        }
    });
    producer.close(FOR_EVER).unwrap();
    assert_eq!(bench.log.watermarks().log_end, 4);
}

/// What lingers for ever is sent by a flush, whoever sent it.
fn a_flush_waits_for_all() {
    let (producer, topic, _bench) = producer(ProducerOptions::new().linger(LONG));
    thread::scope(|scope| {
        for key in [b"a", b"b"] {
            let (producer, topic) = (&producer, &topic);
            scope.spawn(move || {
                let ack = producer.send(topic, &ProducerRecord::new(Some(key), None)).unwrap();
                producer.flush();
                assert!(ack.is_done());
            });
        }
    });
}

/// There is memory for one batch, and nothing makes it due but those who wait for memory.
fn little_memory_is_enough() {
    const BATCH: usize = 128;
    let options = ProducerOptions::new().linger(LONG).batch_size(BATCH).buffer_memory(BATCH);
    let (producer, topic, bench) = producer(options);
    thread::scope(|scope| {
        for key in [b"a", b"b", b"c"] {
            let (producer, topic) = (&producer, &topic);
            scope.spawn(move || {
                producer.send(topic, &ProducerRecord::new(Some(key), Some(&[0; 20]))).unwrap();
            });
        }
    });
    producer.close(FOR_EVER).unwrap();
    assert_eq!(bench.log.watermarks().log_end, 3);
}

/// One waits for records of two others.
fn a_consumer_hears_of_what_is_sent() {
    let (producer, topic, _bench) = producer(ProducerOptions::new().linger(Duration::ZERO));
    let mut consumer =
        Consumer::new(ConsumerOptions::default().auto_offset_reset(AutoOffsetReset::Earliest))
            .unwrap();
    consumer.assign(&topic, 0).unwrap();
    thread::scope(|scope| {
        for key in [b"a", b"b"] {
            let (producer, topic) = (&producer, &topic);
            scope.spawn(move || {
                producer.send(topic, &ProducerRecord::new(Some(key), None)).unwrap();
            });
        }
        scope.spawn(move || {
            let mut next = 0;
            while next < 2 {
                let mut polled = wait_for(consumer.poll_async(), None).unwrap().unwrap();
                while let Some(record) = polled.next_record().unwrap() {
                    assert_eq!(record.offset, next);
                    next += 1;
                }
            }
        });
    });
}

/// A close waits for what came before it; what comes behind is refused.
fn a_close_beside_sends() {
    let (producer, topic, bench) = producer(ProducerOptions::new().linger(LONG));
    let sent = thread::scope(|scope| {
        let sending = [b"a", b"b"].map(|key| {
            let (producer, topic) = (&producer, &topic);
            scope.spawn(move || {
                match producer.send(topic, &ProducerRecord::new(Some(key), None)) {
                    // A send that overlaps the close may come too late for it.
                    Ok(ack) => match ack.wait() {
                        Ok(_) => 1,
                        Err(SendError::Closed) => 0,
                        Err(error) => panic!("{error}"),
                    },
                    Err(SendError::Closed) => 0,
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let closing = scope.spawn(|| producer.close(FOR_EVER));
        let _ = closing.join().unwrap();
        sending.map(|thread| thread.join().unwrap()).iter().sum::<i64>()
    });
    assert_eq!(bench.log.watermarks().log_end, sent, "what was refused is not in the log");
}
