//! Over logs on a disk.

use super::*;

/// A topic on the disk, in a folder that goes with it.
pub(super) fn topic_on_disk(
    partitions: u32,
    config: &TopicConfig,
) -> (Arc<Topic>, tempfile::TempDir) {
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
