//! The engine through its public face: open, create, append, poll, delete, close, crash, reopen.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use trunkline::{
    clock::{Clock, ManualClock},
    consumer::{AssignError, AutoOffsetReset, ConsumerOptions, PollError},
    engine::{CreateTopicError, DeleteTopicError, Engine, OpenError},
    log::{AppendError, DirError, Isolation, PartitionLog, checkpoint},
    options::{EngineOptions, Housekeeping},
    producer::{Ack, ProducerOptions, ProducerRecord, SendError},
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord},
    topic::{CleanupPolicy, TOPICS_FILE, Topic, TopicConfig},
    types::{Durability, TopicPartition},
};

const NOW: Duration = Duration::ZERO;

fn options(root: &Path, dirs: usize) -> EngineOptions {
    let dirs = (0..dirs).map(|n| root.join(format!("disk{n}")));
    EngineOptions::new(root).log_dirs(dirs).housekeeping(Housekeeping::Manual)
}

fn open(root: &Path, dirs: usize) -> Engine {
    Engine::open(options(root, dirs)).unwrap()
}

/// Appends a batch with one record a value, and makes it durable.
fn append(log: &PartitionLog, values: &[String]) -> Result<i64, AppendError> {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    for value in values {
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: 1000, key: None, value, headers: &[] }).unwrap();
    }
    let end = log.append(vec![builder.seal(&mut Encoder::new()).unwrap()], 0)?.end;
    log.commit(end).unwrap();
    Ok(end.offset())
}

/// Appends `count` records to each partition: `<partition>:<offset>`.
fn fill(topic: &Topic, count: usize) {
    for log in topic.partitions() {
        let end = log.watermarks().log_end as usize;
        let name = |offset| format!("{}:{offset}", log.partition().partition);
        let values: Vec<_> = (end..end + count).map(name).collect();
        append(log, &values).unwrap();
    }
}

/// All values of a topic, sorted.
fn read(engine: &Engine, topic: &Arc<Topic>) -> Vec<String> {
    let options = ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = engine.consumer(options).unwrap();
    for log in topic.partitions() {
        consumer.assign(topic, log.partition().partition).unwrap();
    }
    let mut values = Vec::new();
    loop {
        let mut polled = consumer.poll(NOW).unwrap();
        if polled.is_empty() {
            values.sort();
            return values;
        }
        while let Some(record) = polled.next_record().unwrap() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
}

fn names(partitions: usize, count: usize) -> Vec<String> {
    let all = (0..partitions).flat_map(|p| (0..count).map(move |o| format!("{p}:{o}")));
    let mut names: Vec<_> = all.collect();
    names.sort();
    names
}

/// The folders of a log dir whose name begins so.
fn folders(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    all.sort();
    all
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_topic_and_its_records_survive_close_and_crash() {
    let root = tempfile::tempdir().unwrap();
    let mut count = 0;
    for round in 0..4 {
        let engine = open(root.path(), 1);
        if round == 0 {
            let config = TopicConfig::default().retention_ms(-1).segment_bytes(1000);
            engine.create_topic("orders", 3, config).unwrap();
        }
        let topic = engine.topic("orders").unwrap();
        assert_eq!(topic.config().segment_bytes, 1000);
        assert_eq!(read(&engine, &topic), names(3, count));
        fill(&topic, 20);
        count += 20;
        assert_eq!(read(&engine, &topic), names(3, count));
        if round % 2 == 0 {
            engine.close().unwrap();
        }
        let was_clean = engine.recovery_report().is_clean();
        assert_eq!(was_clean, round == 0 || round % 2 == 1, "round {round}");
    }
}

#[test]
fn a_clean_close_leaves_the_marker_and_an_open_takes_it() {
    let root = tempfile::tempdir().unwrap();
    let marker = root.path().join("disk0").join(checkpoint::CLEAN_SHUTDOWN);
    let engine = open(root.path(), 1);
    assert!(!marker.exists());
    let report = engine.recovery_report();
    assert!(report.is_clean() && !report.log_dirs[0].was_closed_cleanly, "a new folder");
    engine.close().unwrap();
    engine.close().unwrap();
    assert!(marker.exists());
    let again = open(root.path(), 1);
    assert!(!marker.exists());
    assert!(again.recovery_report().log_dirs[0].was_closed_cleanly);
    drop(again);
    assert!(!marker.exists());
    drop(engine);
    assert!(!marker.exists());
}

#[test]
fn a_topic_to_be_compacted_is_not_made_and_one_that_is_there_is_opened() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    for policy in [CleanupPolicy::Compact, CleanupPolicy::CompactAndDelete] {
        let config = TopicConfig::default().cleanup_policy(policy);
        let refused = engine.create_topic("users", 1, config.clone());
        assert!(matches!(refused, Err(CreateTopicError::Compaction(found)) if found == policy));
        let refused = engine.topic_or_create("users", 1, config);
        assert!(refused.unwrap_err().to_string().contains("not built yet"));
    }
    assert!(engine.topics().is_empty());
    fill(&engine.create_topic("users", 1, TopicConfig::default()).unwrap(), 2);
    engine.close().unwrap();

    // A broker's folder, whose owner knows that it is compacted.
    let disk = root.path().join("disk0");
    fs::remove_file(disk.join(TOPICS_FILE)).unwrap();
    let compacted = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let engine = Engine::open(options(root.path(), 1).adopted_topics(compacted)).unwrap();
    let topic = engine.topic("users").unwrap();
    assert_eq!(read(&engine, &topic), names(1, 2));
    let log = &topic.partitions()[0];
    let mut fetched = log.fetch(1, 1 << 20, Isolation::Committed).unwrap().bytes().to_vec();
    fetched[..8].copy_from_slice(&9_i64.to_be_bytes());
    let end = log.append_as_follower(&fetched).unwrap().end;
    assert_eq!(end.offset(), 11, "there is a gap between the offsets");
}

#[test]
fn a_topic_is_made_once_by_those_who_want_it() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    let want = || engine.topic_or_create("orders", 2, TopicConfig::default()).unwrap().id();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(want)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    let other =
        engine.topic_or_create("orders", 5, TopicConfig::default().retention_ms(1)).unwrap();
    assert_eq!((other.partition_count(), other.config()), (2, &TopicConfig::default()));
    engine.close().unwrap();
    let engine = open(root.path(), 1);
    let again = engine.topic_or_create("orders", 2, TopicConfig::default()).unwrap();
    assert_eq!(again.id(), ids[0]);
    engine.close().unwrap();
    let closed = engine.topic_or_create("more", 1, TopicConfig::default());
    assert!(matches!(closed, Err(CreateTopicError::Closed)));
}

#[test]
fn a_log_dir_has_one_engine() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 2);
    let other = EngineOptions::new(root.path().join("disk1"));
    let error = Engine::open(other.clone()).unwrap_err();
    let OpenError::LogDir(DirError::Locked { dir }) = error else { panic!("{error}") };
    assert_eq!(dir, root.path().join("disk1"));
    drop(engine);
    Engine::open(other).unwrap();
}

/// Names the folder that [`another_process`] is to open.
const FOLDER_OF_ANOTHER: &str = "TRUNKLINE_TEST_FOLDER";

#[test]
fn a_log_dir_is_locked_against_other_processes() {
    let root = tempfile::tempdir().unwrap();
    let is_refused = || {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "another_process", "--ignored"])
            .env(FOLDER_OF_ANOTHER, root.path())
            .output()
            .unwrap()
            .status;
        !status.success()
    };
    let engine = open(root.path(), 1);
    assert!(is_refused());
    engine.close().unwrap();
    assert!(!is_refused());
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn another_process() {
    let Some(root) = std::env::var_os(FOLDER_OF_ANOTHER) else { return };
    open(Path::new(&root), 1).close().unwrap();
}

#[test]
fn partitions_are_spread_over_the_log_dirs() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 3);
    for (name, partitions) in [("a", 4), ("b", 2), ("c", 3)] {
        engine.create_topic(name, partitions, TopicConfig::default()).unwrap();
    }
    let counts: Vec<_> = (0..3)
        .map(|n| root.path().join(format!("disk{n}")))
        .map(|dir| ["a-", "b-", "c-"].iter().map(|name| folders(&dir, name).len()).sum::<usize>())
        .collect();
    assert_eq!(counts, [3, 3, 3]);
    for topic in engine.topics() {
        fill(&topic, 5);
    }
    drop(engine);
    let engine = open(root.path(), 3);
    assert_eq!(read(&engine, &engine.topic("a").unwrap()), names(4, 5));
    drop(engine);

    let error = Engine::open(options(root.path(), 2)).unwrap_err();
    assert!(matches!(error, OpenError::MissingPartition { .. }), "{error}");
}

#[test]
fn names_and_settings_are_checked_before_anything_is_made() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    let disk = root.path().join("disk0");
    engine.create_topic("a.b", 1, TopicConfig::default()).unwrap();
    fs::create_dir(disk.join("backup-1")).unwrap();
    let create =
        |name: &str, partitions, config| engine.create_topic(name, partitions, config).unwrap_err();
    let plain = TopicConfig::default;
    assert!(matches!(create("a/b", 1, plain()), CreateTopicError::Name(_)));
    assert!(matches!(create("a.b", 1, plain()), CreateTopicError::Exists(_)));
    assert!(matches!(create("a_b", 1, plain()), CreateTopicError::Collides { .. }));
    assert!(matches!(create("__cluster_metadata", 1, plain()), CreateTopicError::Reserved(_)));
    assert!(matches!(create("c", 0, plain()), CreateTopicError::Partitions { .. }));
    assert!(matches!(create("c", 1, plain().segment_ms(0)), CreateTopicError::Config(_)));
    assert!(matches!(create("backup", 2, plain()), CreateTopicError::InTheWay { .. }));
    assert_eq!(engine.topics().len(), 1);
    assert!(folders(&disk, "c-").is_empty() && folders(&disk, "backup-0").is_empty());
    engine.close().unwrap();
    assert!(matches!(create("c", 1, plain()), CreateTopicError::Closed));
    assert!(matches!(engine.delete_topic("a.b"), Err(DeleteTopicError::Closed)));
}

#[test]
fn a_deleted_topic_is_gone_for_those_who_hold_it_and_its_files_later() {
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let engine = Engine::open(options(root.path(), 2).clock(clock.clone())).unwrap();
    let config = TopicConfig::default().file_delete_delay_ms(1000);
    let topic = engine.create_topic("orders", 3, config.clone()).unwrap();
    fill(&topic, 5);
    let mut consumer = engine.consumer(ConsumerOptions::new()).unwrap();
    consumer.assign(&topic, 0).unwrap();

    engine.delete_topic("orders").unwrap();
    assert!(engine.topic("orders").is_none() && engine.topics().is_empty());
    assert!(matches!(engine.delete_topic("orders"), Err(DeleteTopicError::Unknown(_))));
    assert!(topic.is_deleted());
    assert!(matches!(consumer.poll(NOW), Err(PollError::Deleted(_))));
    assert!(matches!(consumer.assign(&topic, 1), Err(AssignError::Deleted(_))));
    let value = ["late".to_owned()];
    assert!(matches!(append(&topic.partitions()[0], &value), Err(AppendError::Closed)));

    let left = || {
        let of = |disk| folders(&root.path().join(disk), "orders-");
        [of("disk0"), of("disk1")].concat()
    };
    assert_eq!(left().len(), 3);
    assert!(left().iter().all(|path| path.to_string_lossy().ends_with("-delete")));
    let next = engine.keep_house(clock.monotonic());
    assert_eq!((left().len(), next), (3, Duration::from_secs(1)));
    clock.advance(Duration::from_secs(1));
    engine.keep_house(clock.monotonic());
    assert!(left().is_empty());

    // The name is free, and nothing of the old topic clings to it.
    let topic = engine.create_topic("orders", 2, config).unwrap();
    assert!(read(&engine, &topic).is_empty());
    fill(&topic, 1);
    engine.delete_topic("orders").unwrap();
    drop(engine);
    let engine = Engine::open(options(root.path(), 2).clock(clock)).unwrap();
    assert!(left().is_empty() && engine.topics().is_empty());
    assert_eq!(engine.recovery_report().removed.len(), 2);
}

#[test]
fn a_name_that_was_deleted_and_made_again_opens_after_a_crash() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    for count in [30, 1] {
        let topic = engine.create_topic("orders", 1, TopicConfig::default()).unwrap();
        fill(&topic, count);
        if count > 1 {
            // Checkpoints speak of the first one.
            engine.keep_house(Duration::MAX);
            engine.delete_topic("orders").unwrap();
        }
    }
    drop(engine);
    let engine = open(root.path(), 1);
    assert_eq!(read(&engine, &engine.topic("orders").unwrap()), names(1, 1));
}

#[test]
fn what_is_not_ours_is_kept_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let disk = root.path().join("disk0");
    let keep = [
        "meta.properties",
        "__cluster_metadata-0/00000000000000000000.log",
        "backup-2024/notes.txt",
        "orders-0.0123-future/00000000000000000000.log",
        "orders-1-stray/00000000000000000000.log",
    ];
    for path in keep {
        fs::create_dir_all(disk.join(path).parent().unwrap()).unwrap();
        fs::write(disk.join(path), "theirs").unwrap();
    }
    for _ in 0..2 {
        let engine = open(root.path(), 1);
        assert!(engine.topics().is_empty());
        assert_eq!(engine.recovery_report().foreign.len(), 4);
        engine.close().unwrap();
    }
    for path in keep {
        assert_eq!(fs::read_to_string(disk.join(path)).unwrap(), "theirs", "{path}");
    }
    // A folder without topics of ours is not given a list of topics.
    assert!(!disk.join(TOPICS_FILE).exists());
}

#[test]
fn a_folder_without_a_list_of_topics_is_adopted_and_loses_nothing_to_age() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    let topic = engine.create_topic("orders", 3, TopicConfig::default()).unwrap();
    let id = topic.id();
    fill(&topic, 5);
    engine.close().unwrap();
    drop((engine, topic));
    let disk = root.path().join("disk0");
    fs::remove_file(disk.join(TOPICS_FILE)).unwrap();
    // A broker may have had a part of the topic.
    fs::remove_dir_all(disk.join("orders-1")).unwrap();

    let engine = open(root.path(), 1);
    let topic = engine.topic("orders").unwrap();
    assert_eq!((topic.id(), topic.config().retention_ms), (id, -1));
    assert_eq!(engine.recovery_report().adopted, [topic.name().clone()]);
    assert_eq!((topic.partition_count(), topic.partitions().len()), (3, 2));
    assert!(topic.partition(1).is_none());
    assert_eq!(topic.partition(2).unwrap().partition().partition, 2);
    // Its records are from 1970.
    engine.keep_house(Duration::MAX);
    assert_eq!(read(&engine, &topic).len(), 10);
    engine.delete_topic("orders").unwrap();
    drop(engine);
    assert!(open(root.path(), 1).topics().is_empty());
}

#[test]
fn a_damaged_list_of_topics_is_found_or_read_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 2);
    let config = TopicConfig::default().retention_ms(-1);
    engine.create_topic("orders", 1, config).unwrap();
    engine.close().unwrap();
    drop(engine);
    let copies = ["disk0", "disk1"].map(|disk| root.path().join(disk).join(TOPICS_FILE));
    flip(&copies[0], 40);
    let engine = open(root.path(), 2);
    assert_eq!(engine.topic("orders").unwrap().config().retention_ms, -1);
    assert_eq!(engine.recovery_report().damaged_catalogs.len(), 1);
    assert!(!engine.recovery_report().is_clean());
    drop(engine);
    assert_eq!(fs::read(&copies[0]).unwrap(), fs::read(&copies[1]).unwrap());
    for copy in &copies {
        flip(copy, 40);
    }
    let error = Engine::open(options(root.path(), 2)).unwrap_err();
    assert!(matches!(error, OpenError::Catalog(_)), "{error}");
    assert!(error.to_string().contains(TOPICS_FILE), "{error}");
}

#[test]
fn another_topics_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    for name in ["a", "b"] {
        engine.create_topic(name, 1, TopicConfig::default()).unwrap();
    }
    drop(engine);
    let disk = root.path().join("disk0");
    let metadata = |name: &str| disk.join(name).join(checkpoint::PARTITION_METADATA);
    fs::copy(metadata("a-0"), metadata("b-0")).unwrap();
    let error = Engine::open(options(root.path(), 1)).unwrap_err();
    assert!(matches!(error, OpenError::WrongTopic { .. }), "{error}");
    fs::remove_file(metadata("b-0")).unwrap();
    let engine = open(root.path(), 1);
    assert!(metadata("b-0").exists());
    assert_ne!(engine.topic("a").unwrap().id(), engine.topic("b").unwrap().id());
}

#[test]
fn housekeeping_checkpoints_so_that_a_crash_costs_little() {
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let engine = Engine::open(options(root.path(), 1).clock(clock.clone())).unwrap();
    let topic = engine.create_topic("orders", 1, TopicConfig::default()).unwrap();
    for _ in 0..5 {
        fill(&topic, 10);
    }
    engine.keep_house(clock.monotonic());
    let point = || topic.partitions()[0].watermarks().recovery_point;
    assert_eq!(point(), 0);
    clock.advance(Duration::from_mins(1));
    engine.keep_house(clock.monotonic());
    assert_eq!(point(), 50);
    fill(&topic, 5);
    drop(engine);
    let engine = Engine::open(options(root.path(), 1).clock(clock)).unwrap();
    let report = &engine.recovery_report().partitions[0];
    // The batch below the recovery point says where it stands.
    assert_eq!((report.clean, report.checked_from, report.log_end), (false, 40, 55));
}

#[test]
fn a_written_log_is_synced_when_its_settings_ask_for_it() {
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let engine = Engine::open(options(root.path(), 1).clock(clock.clone())).unwrap();
    let written = TopicConfig::default().durability(Durability::Written);
    let timed = engine.create_topic("timed", 1, written.clone().flush_ms(1000)).unwrap();
    let counted = engine.create_topic("counted", 1, written.flush_messages(10)).unwrap();
    engine.keep_house(clock.monotonic());
    for topic in [&timed, &counted] {
        let log = &topic.partitions()[0];
        let builder = |n: usize| {
            let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
            for _ in 0..n {
                let record = NewRecord { timestamp: 0, key: None, value: None, headers: &[] };
                builder.push(&record).unwrap();
            }
            builder.seal(&mut Encoder::new()).unwrap()
        };
        log.append(vec![builder(9)], 0).unwrap();
        engine.keep_house(clock.monotonic());
        assert_eq!(log.watermarks().durable_end, 0);
        log.append(vec![builder(1)], 0).unwrap();
    }
    engine.keep_house(clock.monotonic());
    let durable = |topic: &Topic| topic.partitions()[0].watermarks().durable_end;
    assert_eq!((durable(&timed), durable(&counted)), (0, 10));
    clock.advance(Duration::from_secs(1));
    engine.keep_house(clock.monotonic());
    assert_eq!((durable(&timed), durable(&counted)), (10, 10));
}

#[test]
fn a_threaded_engine_ends_its_thread() {
    let root = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let options = options(root.path(), 1).housekeeping(Housekeeping::Threaded);
        let engine = Engine::open(options).unwrap();
        if engine.topic("orders").is_none() {
            engine.create_topic("orders", 1, TopicConfig::default()).unwrap();
        }
        engine.close().unwrap();
    }
}

#[test]
fn topics_that_outlive_the_engine_refuse_and_do_not_hold_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    let topic = engine.create_topic("orders", 1, TopicConfig::default()).unwrap();
    fill(&topic, 3);
    let earliest = ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = engine.consumer(earliest).unwrap();
    consumer.assign(&topic, 0).unwrap();
    drop(engine);
    let value = ["late".to_owned()];
    assert!(matches!(append(&topic.partitions()[0], &value), Err(AppendError::Closed)));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 3);
    let error = consumer.poll(NOW).unwrap_err();
    let place: &TopicPartition = topic.partitions()[0].partition();
    assert!(matches!(error, PollError::Closed(partition) if partition == *place));
    assert_eq!(open(root.path(), 1).topics().len(), 1);
}

#[test]
fn metrics_are_added_up() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 2);
    let topic = engine.create_topic("orders", 2, TopicConfig::default()).unwrap();
    let before = engine.metrics().syncs();
    fill(&topic, 10);
    let metrics = engine.metrics();
    assert_eq!((metrics.batches, metrics.records, metrics.fetches), (2, 20, 0));
    assert!(metrics.bytes > 20 && metrics.syncs() >= before + 2);
    assert!(metrics.log_dirs.iter().all(|dir| dir.syncs >= 1));
    read(&engine, &topic);
    assert_eq!(engine.metrics().fetched_bytes, metrics.bytes);
}

#[test]
fn what_a_producer_was_told_is_there_is_there_after_a_crash() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 2);
    let topic = engine.create_topic("orders", 4, TopicConfig::default()).unwrap();
    let producer = engine.producer(ProducerOptions::default().linger(NOW)).unwrap();
    let mut sent: Vec<_> = (0..200)
        .map(|n: u32| {
            let value = n.to_string();
            let record = ProducerRecord::new(Some(&value.as_bytes()[..1]), Some(value.as_bytes()));
            let placed = producer.send(&topic, &record).unwrap().wait().unwrap();
            (placed.partition, placed.offset.unwrap(), value)
        })
        .collect();
    sent.sort();
    let late = ProducerRecord::of_value(b"late");
    drop(engine);
    let refused = producer.send(&topic, &late).and_then(Ack::wait);
    assert!(matches!(refused, Err(SendError::Append(_))), "{refused:?}");
    drop((producer, topic));

    let engine = open(root.path(), 2);
    let topic = engine.topic("orders").unwrap();
    let earliest = ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = engine.consumer(earliest).unwrap();
    for partition in 0..4 {
        consumer.assign(&topic, partition).unwrap();
    }
    let mut found = Vec::new();
    let mut polled = consumer.poll(NOW).unwrap();
    polled
        .for_each(|record| {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((record.partition, record.offset, value));
        })
        .unwrap();
    found.sort();
    assert_eq!(found, sent);
}

#[test]
fn a_producer_of_a_deleted_topic_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    let topic = engine.create_topic("orders", 1, TopicConfig::default()).unwrap();
    let producer = engine.producer(ProducerOptions::default()).unwrap();
    let record = ProducerRecord::of_value(b"v");
    producer.send(&topic, &record).unwrap().wait().unwrap();
    engine.delete_topic("orders").unwrap();
    let refused = producer.send(&topic, &record).and_then(Ack::wait);
    assert!(matches!(refused, Err(SendError::TopicDeleted)), "{refused:?}");
    producer.close(Duration::MAX).unwrap();
    engine.close().unwrap();
}

/// Files below `root` that this process has open.
#[cfg(target_os = "linux")]
fn open_files(root: &Path) -> Vec<PathBuf> {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    links
        .filter_map(|link| fs::read_link(link.path()).ok())
        .filter(|path| path.starts_with(root))
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_deleted_topics_files_are_closed_though_its_producer_lives() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    let before = open_files(root.path());
    let topic = engine.create_topic("orders", 2, TopicConfig::default()).unwrap();
    let producer = engine.producer(ProducerOptions::default()).unwrap();
    for partition in 0..2 {
        let record = ProducerRecord::of_value(b"v").partition(partition);
        producer.send(&topic, &record).unwrap().wait().unwrap();
    }
    drop(topic);
    assert!(open_files(root.path()).len() > before.len());
    engine.delete_topic("orders").unwrap();
    // Its threads may still hold what they acknowledged; the producer itself must not.
    producer.close(Duration::MAX).unwrap();
    assert_eq!(open_files(root.path()), before);
}

#[test]
fn every_close_gives_the_outcome_of_the_first() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path(), 1);
    let topic = engine.create_topic("orders", 1, TopicConfig::default()).unwrap();
    fill(&topic, 3);
    fs::remove_dir_all(topic.partitions()[0].path()).unwrap();
    let close = || engine.close().unwrap_err().to_string();
    let texts = std::thread::scope(|scope| {
        [(); 3].map(|()| scope.spawn(close)).map(|one| one.join().unwrap())
    });
    assert!(texts[0].contains("orders-0"), "{}", texts[0]);
    assert_eq!(texts, [close(), close(), close()]);
}
