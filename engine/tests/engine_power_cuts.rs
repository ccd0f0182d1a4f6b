//! Topics come and go, and the power with them: a cut at every operation leaves a topic whole or not
//! at all, and never harms another one.

use std::{sync::Arc, time::Duration};

use trunkline::{
    consumer::{AutoOffsetReset, ConsumerOptions},
    engine::Engine,
    io::{ForgetfulDisk, Loss},
    options::{EngineOptions, Housekeeping},
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord, SealedBatch},
    topic::{Topic, TopicConfig},
};

const DIRS: [&str; 2] = ["/a", "/b"];
const PARTITIONS: u32 = 3;

fn open(disk: &ForgetfulDisk) -> Engine {
    let options = EngineOptions::new("/a")
        .log_dirs(DIRS)
        .storage(disk.storage())
        .housekeeping(Housekeeping::Manual)
        .recovery_threads(1)
        .seed(7);
    Engine::open(options).unwrap()
}

/// A batch of one record.
fn batch_of(value: &[u8]) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let record = NewRecord { timestamp: 1, key: None, value: Some(value), headers: &[] };
    builder.push(&record).unwrap();
    builder.seal(&mut Encoder::new()).unwrap()
}

/// Appends a record to each partition, durably.
fn fill(topic: &Topic) {
    for log in topic.partitions() {
        let end = log.append(vec![batch_of(b"v")], 0).unwrap().end;
        log.commit(end).unwrap();
    }
}

fn count(engine: &Engine, topic: &Arc<Topic>) -> usize {
    let options = ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = engine.consumer(options).unwrap();
    for log in topic.partitions() {
        consumer.assign(topic, log.partition().partition).unwrap();
    }
    consumer.poll(Duration::ZERO).unwrap().len()
}

/// A disk with a topic `kept`, and with `changed` where it is to be deleted.
fn prepared(with_changed: bool) -> ForgetfulDisk {
    let disk = ForgetfulDisk::new();
    let engine = open(&disk);
    fill(&engine.create_topic("kept", PARTITIONS, TopicConfig::default()).unwrap());
    if with_changed {
        fill(&engine.create_topic("changed", PARTITIONS, TopicConfig::default()).unwrap());
    }
    engine.close().unwrap();
    drop(engine);
    disk.settle();
    disk
}

/// Performs `change` with the power going off after each number of operations in turn, opens what is
/// left, and calls `check` with whether the change was acknowledged.
fn at_every_cut(
    disk: &ForgetfulDisk,
    change: impl Fn(&Engine) -> bool,
    check: impl Fn(&Engine, bool, &str),
) {
    for cut in 0.. {
        let disk = disk.fork();
        let engine = open(&disk);
        disk.power_off_after(cut);
        let before = disk.operations();
        let acknowledged = change(&engine);
        let is_last = acknowledged && disk.operations() - before < cut;
        drop(engine);
        for loss in [Loss::Everything, Loss::Random(cut), Loss::Random(cut + 1_000)] {
            let what = format!("cut after {cut} operations, {loss:?}");
            let left = disk.fork().power_cut(loss);
            let engine = open(&left);
            let kept = engine.topic("kept").unwrap();
            assert_eq!(count(&engine, &kept), PARTITIONS as usize, "{what}");
            check(&engine, acknowledged, &what);
        }
        if is_last {
            assert!(cut > 20, "the change is more than {cut} operations");
            return;
        }
    }
}

#[test]
fn a_creation_leaves_nothing_or_a_whole_topic() {
    let create = |engine: &Engine| {
        engine.create_topic("changed", PARTITIONS, TopicConfig::default().retention_ms(-1)).is_ok()
    };
    at_every_cut(&prepared(false), create, |engine, acknowledged, what| {
        let topic = engine.topic("changed");
        assert!(topic.is_some() || !acknowledged, "{what}: an acknowledged topic is gone");
        // Where there is nothing, nothing stands in the way of another try.
        let topic = topic.unwrap_or_else(|| {
            create(engine);
            engine.topic("changed").unwrap_or_else(|| panic!("{what}: it cannot be made"))
        });
        assert_eq!(topic.partitions().len(), PARTITIONS as usize, "{what}");
        assert_eq!(topic.config().retention_ms, -1, "{what}");
        assert_eq!(count(engine, &topic), 0, "{what}");
        fill(&topic);
        assert_eq!(count(engine, &topic), PARTITIONS as usize, "{what}");
    });
}

#[test]
fn a_deletion_leaves_the_whole_topic_or_nothing() {
    let delete = |engine: &Engine| engine.delete_topic("changed").is_ok();
    at_every_cut(&prepared(true), delete, |engine, acknowledged, what| {
        let Some(topic) = engine.topic("changed") else {
            let topic = engine.create_topic("changed", 1, TopicConfig::default());
            let topic = topic.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(count(engine, &topic), 0, "{what}: records of a deleted topic came back");
            return;
        };
        assert!(!acknowledged, "{what}: a deleted topic came back");
        assert_eq!(count(engine, &topic), PARTITIONS as usize, "{what}");
    });
}

#[test]
fn without_syncs_an_acknowledged_creation_is_lost() {
    let disk = prepared(false);
    let engine = open(&disk);
    disk.lie_about_sync(true);
    engine.create_topic("changed", PARTITIONS, TopicConfig::default()).unwrap();
    drop(engine);
    let engine = open(&disk.power_cut(Loss::Everything));
    assert!(engine.topic("changed").is_none());
}

#[test]
fn a_disk_that_fails_in_the_middle_of_a_creation_takes_it_back() {
    let disk = prepared(false);
    for nth in 1.. {
        let disk = disk.fork();
        let engine = open(&disk);
        disk.fail_sync(nth);
        let outcome = engine.create_topic("changed", PARTITIONS, TopicConfig::default());
        let failed = outcome.is_err();
        assert_eq!(engine.topic("changed").is_some(), !failed, "sync {nth}");
        drop((outcome, engine));
        disk.fail_sync(u64::MAX);
        let engine = open(&disk);
        assert_eq!(engine.topic("changed").is_some(), !failed, "sync {nth}");
        assert_eq!(count(&engine, &engine.topic("kept").unwrap()), PARTITIONS as usize);
        if !failed {
            assert!(nth > 10, "a creation syncs more than {nth} times");
            return;
        }
    }
}

#[test]
fn a_deletion_that_fails_acknowledges_nothing_that_the_next_open_forgets() {
    let disk = prepared(true);
    let mut went_on = 0;
    for nth in 1.. {
        let disk = disk.fork();
        let engine = open(&disk);
        let topic = engine.topic("changed").unwrap();
        disk.fail_sync(nth);
        let failed = engine.delete_topic("changed").is_err();
        disk.fail_sync(u64::MAX);
        let log = &topic.partitions()[0];
        let appended = log.append(vec![batch_of(b"v")], 0).ok();
        let acknowledged = appended.is_some_and(|appended| log.commit(appended.end).is_ok());
        drop((topic, engine));
        let engine = open(&disk.power_cut(Loss::Everything));
        let left = engine.topic("changed").map_or(0, |topic| count(&engine, &topic));
        assert!(
            !acknowledged || left == PARTITIONS as usize + 1,
            "sync {nth}: {left} records left"
        );
        went_on += u32::from(acknowledged);
        if !failed {
            assert!(nth > 3 && went_on > 0, "{went_on} of {nth} went on");
            return;
        }
    }
}

#[test]
fn a_log_that_a_failed_sync_ended_is_not_checkpointed_over_and_over() {
    let mut ended = 0;
    for nth in 1..12 {
        let disk = ForgetfulDisk::new();
        let engine = open(&disk);
        let config = TopicConfig::default().segment_bytes(200).retention_ms(-1);
        let topic = engine.create_topic("kept", 1, config).unwrap();
        (0..9).for_each(|_| fill(&topic));
        disk.fail_sync(nth);
        engine.keep_house(Duration::ZERO);
        disk.fail_sync(u64::MAX);
        if topic.partitions()[0].check_appends().is_ok() {
            continue;
        }
        ended += 1;
        let before = disk.operations();
        for _ in 0..3 {
            engine.keep_house(Duration::ZERO);
        }
        assert_eq!(disk.operations(), before, "sync {nth}");
    }
    assert!(ended > 2, "{ended}");
}

#[test]
fn a_recovery_reads_no_segment_that_was_sealed_and_checkpointed() {
    const SEGMENT: u64 = 1 << 20;
    let disk = ForgetfulDisk::new();
    let engine = open(&disk);
    let config = TopicConfig::default().segment_bytes(SEGMENT as i32);
    let topic = engine.create_topic("rolling", 1, config).unwrap();
    let log = &topic.partitions()[0];
    let value = vec![b'v'; 100 << 10];
    for _ in 0..50 {
        let end = log.append(vec![batch_of(&value)], 0).unwrap().end;
        log.commit(end).unwrap();
        engine.keep_house(Duration::ZERO);
    }
    assert!(log.size().0 > 3);
    drop(engine);
    let engine = open(&disk.power_cut(Loss::Everything));
    let report = &engine.recovery_report().partitions[0];
    assert_eq!(report.log_end, 50);
    assert!(!report.clean && report.checked_bytes < 2 * SEGMENT, "{report:?}");
    assert!(report.checked_from >= 30, "{report:?}");
}
