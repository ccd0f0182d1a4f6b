//! Partitions that cannot be opened: the engine opens without them, says so, and leaves them as they are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use trunkline::{
    consumer::{AssignError, AutoOffsetReset, ConsumerOptions},
    engine::Engine,
    io::Storage,
    log::{OpenError, checkpoint},
    options::{EngineOptions, Housekeeping},
    producer::{Ack, ProducerOptions, ProducerRecord, SendError},
    topic::{OfflineReason, TOPICS_FILE, Topic, TopicConfig},
    types::{TopicName, TopicPartition},
};

fn open(root: &Path) -> Engine {
    Engine::open(EngineOptions::new(root).housekeeping(Housekeeping::Manual)).unwrap()
}

/// Topics `a`, of two partitions, and `b`, of one, with a record in each; closed.
fn prepared() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path());
    let config = TopicConfig::default().retention_ms(-1);
    for (name, partitions) in [("a", 2), ("b", 1)] {
        let topic = engine.create_topic(name, partitions, config.clone()).unwrap();
        for partition in 0..partitions {
            send(&engine, &topic, partition).unwrap();
        }
    }
    engine.close().unwrap();
    root
}

fn send(engine: &Engine, topic: &Arc<Topic>, partition: u32) -> Result<(), SendError> {
    let producer = engine.producer(ProducerOptions::default().linger(Duration::ZERO)).unwrap();
    let record = ProducerRecord::of_value(b"v").partition(partition);
    producer.send(topic, &record).and_then(Ack::wait).map(drop)
}

fn count(engine: &Engine, name: &str, partition: u32) -> Result<usize, AssignError> {
    let earliest = ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = engine.consumer(earliest).unwrap();
    consumer.assign(&engine.topic(name).unwrap(), partition)?;
    Ok(consumer.poll(Duration::ZERO).unwrap().len())
}

fn partition(topic: &str, number: u32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic).unwrap(), number)
}

/// Every file of a folder.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// That `a-0` is offline for `reason`, and all else is served.
fn assert_only_a0_is_offline(engine: &Engine, reason: impl Fn(&OfflineReason) -> bool) {
    let report = engine.recovery_report();
    assert!(!report.is_clean());
    let [offline] = &report.offline[..] else { panic!("{:?}", report.offline) };
    assert_eq!(offline.partition, partition("a", 0));
    assert!(reason(&offline.reason), "{}", offline.reason);
    let names: Vec<_> = engine.topics().iter().map(|topic| topic.name().to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    let topic = engine.topic("a").unwrap();
    assert_eq!((topic.partition_count(), topic.partitions().len()), (2, 1));
    assert_eq!(topic.offline()[0].partition, partition("a", 0));
    assert!(topic.partition(0).is_none());
    let refused = count(engine, "a", 0).unwrap_err();
    assert!(matches!(&refused, AssignError::Offline { reason: why, .. } if reason(why)));
    let refused = send(engine, &topic, 0).unwrap_err();
    assert!(matches!(&refused, SendError::PartitionOffline { partition: 0, .. }), "{refused}");
    assert_eq!(count(engine, "a", 1).unwrap(), 1);
    assert_eq!(count(engine, "b", 0).unwrap(), 1);
}

#[test]
fn a_partition_without_its_log_is_offline_until_it_is_back() {
    let root = prepared();
    let folder = root.path().join("a-0");
    let log = folder.join("00000000000000000000.log");
    let aside = root.path().join("log-of-a-0");
    fs::rename(&log, &aside).unwrap();
    let is_corrupt =
        |reason: &OfflineReason| matches!(reason, OfflineReason::Log(OpenError::Corrupt(_)));
    let before = content(&folder);
    for is_closed in [true, false, true] {
        let engine = open(root.path());
        assert_only_a0_is_offline(&engine, is_corrupt);
        if is_closed {
            engine.close().unwrap();
            let marker = root.path().join(checkpoint::CLEAN_SHUTDOWN);
            assert!(!marker.exists(), "it would vouch for what was not looked at");
        }
    }
    let gone: Vec<_> = before.keys().filter(|path| !path.exists()).collect();
    assert!(gone.iter().all(|path| path.to_string_lossy().ends_with("index")), "{gone:?}");
    fs::rename(&aside, &log).unwrap();
    let engine = open(root.path());
    assert!(engine.recovery_report().offline.is_empty());
    assert_eq!(count(&engine, "a", 0).unwrap(), 1);
}

#[test]
fn a_conflict_of_log_starts_stays_one_over_restarts() {
    let root = prepared();
    let path = root.path().join(checkpoint::LOG_STARTS);
    let mut starts = checkpoint::read_offsets(&Storage::portable(), &path).unwrap().unwrap();
    *starts.entry(partition("a", 0)).or_default() = 1;
    checkpoint::write_offsets(&Storage::portable(), &path, &starts).unwrap();
    let is_conflict =
        |reason: &OfflineReason| matches!(reason, OfflineReason::Log(OpenError::LogStart(_)));
    let before = content(&root.path().join("a-0"));
    for is_closed in [true, false, true] {
        let engine = open(root.path());
        assert_only_a0_is_offline(&engine, is_conflict);
        engine.keep_house(Duration::MAX);
        if is_closed {
            engine.close().unwrap();
        }
        drop(engine);
        let kept = checkpoint::read_offsets(&Storage::portable(), &path).unwrap().unwrap();
        assert_eq!(kept[&partition("a", 0)], 1);
        assert_eq!(content(&root.path().join("a-0")), before);
    }
    // The owner decides.
    starts.insert(partition("a", 0), 0);
    checkpoint::write_offsets(&Storage::portable(), &path, &starts).unwrap();
    let engine = open(root.path());
    assert!(engine.recovery_report().offline.is_empty());
    assert_eq!(count(&engine, "a", 0).unwrap(), 1);
    engine.close().unwrap();
    drop(engine);
    assert!(open(root.path()).recovery_report().is_clean());
}

/// Puts lines behind the first line that begins so, and sets the checksum right.
fn insert_setting(path: &Path, behind: &str, setting: &str) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("crc32c ")).collect();
    let at = lines.iter().position(|line| line.starts_with(behind)).unwrap();
    lines.insert(at + 1, setting);
    let body = lines.join("\n") + "\n";
    let crc = crc32c::crc32c(body.as_bytes());
    fs::write(path, format!("{body}crc32c {crc:08x}\n")).unwrap();
}

#[test]
fn a_setting_that_is_refused_is_its_topics_alone() {
    for setting in ["segment.bytes=0", "max.message.bytes=67108865", "from.the.future=1"] {
        let root = prepared();
        let path = root.path().join(TOPICS_FILE);
        insert_setting(&path, "topic a ", setting);
        let engine = open(root.path());
        let offline: Vec<_> =
            engine.recovery_report().offline.iter().map(|it| it.partition.clone()).collect();
        assert_eq!(offline, [partition("a", 0), partition("a", 1)]);
        assert_eq!(count(&engine, "b", 0).unwrap(), 1);
        let topic = engine.topic("a").unwrap();
        let name = setting.split('=').next().unwrap();
        assert!(matches!(&*topic.offline()[0].reason, OfflineReason::Settings(error)
            if error.to_string().contains(name)));
        // No partition is left that a record without one could go to.
        let producer = engine.producer(ProducerOptions::default()).unwrap();
        let refused = producer.send(&topic, &ProducerRecord::of_value(b"v")).unwrap_err();
        assert!(matches!(refused, SendError::PartitionOffline { .. }), "{refused}");
        // Another topic's change keeps the line.
        engine.create_topic("c", 1, TopicConfig::default()).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains(setting));
        engine.delete_topic("a").unwrap();
        engine.close().unwrap();
        drop(engine);
        let engine = open(root.path());
        assert!(engine.topic("a").is_none() && engine.recovery_report().offline.is_empty());
    }
}
