//! Producers, consumers, direct appends and housekeeping on one folder at once.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use trunkline::{
    AutoOffsetReset::Earliest,
    ConsumerOptions, Engine, EngineOptions, ProducerOptions, ProducerRecord, TopicConfig,
    clock::{Clock, SystemClock},
    log::PartitionLog,
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord},
    topic::Topic,
};

const PARTITIONS: u32 = 2;
const SENDERS: usize = 3;
const RECORDS_A_SENDER: usize = 400;
const APPENDERS: usize = 2;
const BATCHES_AN_APPENDER: usize = 50;
const RECORDS: usize = SENDERS * RECORDS_A_SENDER + APPENDERS * BATCHES_AN_APPENDER;
/// Small, so that logs roll under their readers.
const SEGMENT_BYTES: i32 = 16 << 10;

#[test]
fn what_is_acknowledged_is_read_by_all_and_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        || EngineOptions::new(folder.path()).checkpoint_interval(Duration::from_millis(5));
    let engine = Engine::open(options()).unwrap();
    let config = TopicConfig::default().segment_bytes(SEGMENT_BYTES);
    let topic = engine.create_topic("work", PARTITIONS, config).unwrap();
    let options_of_producer = ProducerOptions::default().linger(Duration::from_millis(1));
    let producer = engine.producer(options_of_producer).unwrap();
    let done = AtomicBool::new(false);

    let acknowledged = thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read(&engine, &topic))).collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::hint::black_box((engine.metrics(), producer.metrics()));
                thread::yield_now();
            }
        });
        let writers: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (producer, topic) = (&producer, &topic);
                scope.spawn(move || {
                    let value = |number| format!("sent {sender} {number} {:>60}", "");
                    let values: Vec<_> = (0..RECORDS_A_SENDER).map(value).collect();
                    let send = |value: &String| {
                        producer.send(topic, &ProducerRecord::of_value(value.as_bytes())).unwrap()
                    };
                    let acks: Vec<_> = values.iter().map(send).collect();
                    let place = |ack: trunkline::producer::Ack| {
                        let sent = ack.wait().unwrap();
                        (sent.partition, sent.offset.unwrap())
                    };
                    acks.into_iter().map(place).zip(values).collect::<Vec<_>>()
                })
            })
            .chain((0..APPENDERS).map(|appender| {
                let log = &topic.partitions()[appender % PARTITIONS as usize];
                scope.spawn(move || {
                    let value = |number| format!("appended {appender} {number}");
                    let place = |value: String| {
                        let partition = log.partition().partition;
                        ((partition, append(log, value.as_bytes())), value)
                    };
                    (0..BATCHES_AN_APPENDER).map(value).map(place).collect()
                })
            }))
            .collect();
        let acknowledged: BTreeMap<_, _> =
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        assert_eq!(acknowledged.len(), RECORDS);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), acknowledged);
        }
        done.store(true, Ordering::Relaxed);
        acknowledged
    });

    producer.close(Duration::from_mins(1)).unwrap();
    engine.close().unwrap();
    let engine = Engine::open(options()).unwrap();
    assert_eq!(read(&engine, &engine.topic("work").unwrap()), acknowledged);
}

/// Appends a batch of one record and waits until it is durable; gives its offset.
fn append(log: &PartitionLog, value: &[u8]) -> i64 {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let timestamp = SystemClock::new().wall_ms();
    let record = NewRecord { timestamp, key: None, value: Some(value), headers: &[] };
    builder.push(&record).unwrap();
    let end = log.append(vec![builder.seal(&mut Encoder::new()).unwrap()], 0).unwrap().end;
    log.commit(end).unwrap();
    end.offset() - 1
}

/// Values by partition and offset, as they come, until all are there.
fn read(engine: &Engine, topic: &std::sync::Arc<Topic>) -> BTreeMap<(u32, i64), String> {
    let options = ConsumerOptions::default().auto_offset_reset(Earliest);
    let mut consumer = engine.consumer(options).unwrap();
    for partition in 0..PARTITIONS {
        consumer.assign(topic, partition).unwrap();
    }
    let mut values = BTreeMap::new();
    while values.len() < RECORDS {
        let mut polled = consumer.poll(Duration::from_secs(1)).unwrap();
        let starts = topic.partitions().iter().map(|log| log.watermarks().log_start);
        assert_eq!(starts.max(), Some(0), "what is deleted never comes");
        while let Some(record) = polled.next_record().unwrap() {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            let place = (record.partition, record.offset);
            assert!(values.insert(place, value).is_none(), "{place:?} came twice");
        }
    }
    values
}
