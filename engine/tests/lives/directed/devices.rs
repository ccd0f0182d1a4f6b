//! Devices that fail to sync, or take their time.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::{FaultyDisk, ForgetfulDisk, Loss, Storage, Verb},
    limits::MAX_GROUP_BYTES,
    log::{CommitPoint, LogDir, PartitionLog, UnrecoveredLog, commit_all},
    producer::{ProducerOptions, ProducerRecord, SendError},
    record::BatchSettings,
    topic::TopicConfig,
    types::{TopicName, TopicPartition},
};

use super::{ROOT, batch, batch_of, config, engine_on, open, open_with, words};

/// A failed sync in the middle of a roll, then records that are acknowledged, then the power goes.
pub(super) fn a_sync_fails_at_a_roll() -> Result<(), String> {
    for nth in 1..12 {
        let disk = ForgetfulDisk::new();
        let opened = open(&disk.storage())?;
        let mut acknowledged = opened.append(1..=3)?;
        disk.fail_sync(nth);
        for timestamp in 4..9 {
            let appended = opened.log.append(vec![batch(timestamp)], 0);
            if let Ok(end) = appended.map(|appended| appended.end)
                && opened.log.commit(end).is_ok()
            {
                acknowledged = end.offset();
            }
        }
        drop(opened);
        let end = open(&disk.power_cut(Loss::Everything).storage())?.log.watermarks().log_end;
        if end < acknowledged {
            return Err(format!("lost: sync {nth}: acknowledged {acknowledged}, ends at {end}"));
        }
    }
    Ok(())
}

/// cockroach#37102: a sync failed, was called again and said that all is well, although the bytes were lost
/// with the first one. After a failed sync nothing is acknowledged any more, and no sync is asked for.
pub(super) fn the_sync_after_a_failed_one_succeeds() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    opened.append([1])?;
    let end = opened.write([2], 0)?;
    disk.fail_sync(1);
    let is_acknowledged = (0..3).any(|_| opened.log.commit(end).is_ok());
    if !is_acknowledged && opened.log.append(vec![batch(3)], 0).is_ok() {
        return Err("the file takes more records".into());
    }
    let acknowledged = if is_acknowledged { end } else { 1 };
    drop(opened);
    let opened = open(&disk.power_cut(Loss::Everything).storage())?;
    let end = opened.log.watermarks().log_end;
    if end < acknowledged {
        return Err(format!("acknowledged {acknowledged}, ends at {end}"));
    }
    opened.append([10])?;
    opened.expect((1..=end).chain([10]), "opened again")
}

/// Two logs whose batches lie in space that was prepared share a flush. It fails: neither is acknowledged.
pub(super) fn a_flush_fails() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let logs = prepared_logs(&disk.storage())?;
    let before = disk.operations();
    let ends = append_to(&logs, 100)?;
    // What two batches and one flush for both of them take: two write-backs, and the sync.
    disk.fail_sync(3);
    let is_acknowledged = commit_all(&ends).into_iter().any(|result| result.is_ok());
    let operations = disk.operations() - before;
    if operations != 5 {
        return Err(format!("{operations} operations, expected two writes and one shared flush"));
    }
    if is_acknowledged {
        return Err("acknowledged, and nobody knows whether the device has it".into());
    }
    drop((logs, ends));
    let logs = prepared_logs(&disk.power_cut(Loss::Everything).storage())?;
    commit_all(&append_to(&logs, 10)?).into_iter().collect::<Result<(), _>>().map_err(words)
}

/// Prepared space is cut off, as a failed append has it, and made anew: no flush of another file makes what
/// lies there durable.
pub(super) fn prepared_space_is_cut_off() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let logs = prepared_logs(&disk.storage())?;
    for log in &logs {
        disk.fill_up(0);
        if log.append(vec![batch_of(2, &[7; 7000], BatchSettings::default())], 0).is_ok() {
            return Err("a full disk takes a batch".into());
        }
        disk.fill_up(1 << 30);
    }
    let ends = append_to(&logs, 100)?;
    commit_all(&ends).into_iter().collect::<Result<(), _>>().map_err(words)?;
    let expected: Vec<_> = ends.iter().map(|(log, _)| log.watermarks().log_end).collect();
    drop((logs, ends));
    let logs = prepared_logs(&disk.power_cut(Loss::Everything).storage())?;
    let found: Vec<_> = logs.iter().map(|log| log.watermarks().log_end - 1).collect();
    if found == expected {
        Ok(())
    } else {
        Err(format!("lost: acknowledged up to {expected:?}, the logs end at {found:?}"))
    }
}

/// Two logs with one more durable record each, and prepared space behind it that is durable too.
fn prepared_logs(storage: &Storage) -> Result<Vec<Arc<PartitionLog>>, String> {
    let dir = LogDir::open(storage, Path::new(ROOT), Strategy::FlushOnce).map_err(words)?;
    let dir = Arc::new(dir);
    let config = config().segment_bytes(1 << 20).prepare_bytes(6000);
    let open = |number| {
        let partition = TopicPartition::new(TopicName::new("t").unwrap(), number);
        let clock = Arc::new(ManualClock::new(1_000_000));
        let log = UnrecoveredLog::open(&dir, &partition, config.clone(), clock);
        log.and_then(UnrecoveredLog::recover).map(|(log, _)| Arc::new(log)).map_err(words)
    };
    let logs = (0..2).map(open).collect::<Result<Vec<_>, String>>()?;
    // As much space is prepared as there is of batches.
    commit_all(&append_to(&logs, 2000)?).into_iter().collect::<Result<(), _>>().map_err(words)?;
    Ok(logs)
}

/// A record of `bytes` to each.
fn append_to(
    logs: &[Arc<PartitionLog>],
    bytes: usize,
) -> Result<Vec<(Arc<PartitionLog>, CommitPoint)>, String> {
    let append = |log: &Arc<PartitionLog>| {
        let batch = batch_of(1, &vec![7; bytes], BatchSettings::default());
        Ok((log.clone(), log.append(vec![batch], 0).map_err(words)?.end))
    };
    logs.iter().map(append).collect()
}

/// A device that holds its syncs back; lets them go however the story ends.
struct Held(FaultyDisk);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Backpressure: a device answers no sync, and records keep coming. Those that nobody has acknowledged
/// take no more than `buffer.memory`; who sends waits for `max.block.ms`, and hears why in vain. Once the
/// device is quick again all are acknowledged, in their order, and sending goes on.
pub(super) fn records_keep_coming() -> Result<(), String> {
    const MEMORY: usize = 16 << 10;
    const VALUE: usize = 300;
    let max_block = Duration::from_millis(5);
    let disk = FaultyDisk::new(ForgetfulDisk::new());
    let engine = engine_on(&disk.storage())?;
    let topic = engine.create_topic("t", 1, TopicConfig::default()).map_err(words)?;
    let options = ProducerOptions::new()
        .batch_size(1 << 10)
        .buffer_memory(MEMORY)
        .linger(Duration::ZERO)
        .max_block(max_block);
    let producer = engine.producer(options).map_err(words)?;
    let value = [7; VALUE];
    let record = ProducerRecord::new(None, Some(&value));
    let mut acks = Vec::new();

    disk.hold(Verb::Sync);
    let held = Held(disk.clone());
    let refusal = loop {
        match producer.send(&topic, &record) {
            Ok(ack) => acks.push(ack),
            Err(error) => break error,
        }
        let bytes = acks.iter().filter(|ack| !ack.is_done()).count() * VALUE;
        if bytes > MEMORY {
            return Err(format!("{bytes} bytes of records are on their way, {MEMORY} are allowed"));
        }
    };
    match refusal {
        SendError::Blocked { needed, available, max_block: waited }
            if needed > available && waited == max_block => {}
        other => return Err(format!("with its memory in use the producer says: {other}")),
    }
    match producer.try_send(&topic, &record) {
        Err(SendError::Full) => {}
        other => return Err(format!("who does not want to wait hears {other:?}")),
    }
    if acks.iter().any(trunkline::producer::Ack::is_done) {
        return Err("acknowledged before any sync".into());
    }
    drop(held);
    for (offset, ack) in (0..).zip(acks) {
        let placed = ack.wait().map_err(words)?;
        if placed.offset != Some(offset) {
            return Err(format!("expected offset {offset}, found {:?}", placed.offset));
        }
    }
    for _ in 0..200 {
        // As long as it takes: how quick this machine is does not matter.
        while let Err(error) = producer.send(&topic, &record) {
            if !matches!(error, SendError::Blocked { .. }) {
                return Err(words(error));
            }
        }
    }
    producer.flush();
    let metrics = producer.metrics();
    if metrics.buffer_available != metrics.buffer_total {
        return Err(format!("memory was not given back: {metrics:?}"));
    }
    Ok(())
}

/// Backpressure: a device answers no sync, and a log keeps appending. No more than one group may be on its
/// way to the device: recovery takes whatever reaches further behind a hole for rot.
pub(super) fn a_log_keeps_appending() -> Result<(), String> {
    const BATCH: usize = 12 << 20;
    const BATCHES: i64 = 6;
    const { assert!(BATCH * BATCHES as usize > MAX_GROUP_BYTES) };
    let disk = FaultyDisk::new(ForgetfulDisk::new());
    let config = config().segment_bytes(1 << 30).max_message_bytes(2 * BATCH);
    let opened = Arc::new(open_with(&disk.storage(), config)?);
    // The term's beginning is noted, which takes a sync of its own.
    opened.append([1])?;
    disk.hold(Verb::Sync);
    let held = Held(disk.clone());
    let value = vec![7; BATCH];
    // The bug that is planted, if one is, is planted in this thread: the log is appended to here.
    let (watched, let_go) = (opened.clone(), Arc::new(AtomicBool::new(false)));
    let is_quick = let_go.clone();
    let watch = thread::spawn(move || {
        let waits = held.0.wait_held(Duration::from_secs(20));
        let written = watched.log.size().1;
        let_go.store(true, Ordering::SeqCst);
        drop(held);
        (waits, written)
    });
    let before = opened.log.size().1;
    for timestamp in 0..BATCHES {
        let batch = batch_of(timestamp, &value, BatchSettings::default());
        opened.log.append(vec![batch], 0).map_err(words)?;
        let written = opened.log.size().1 - before;
        if written > MAX_GROUP_BYTES as u64 && !is_quick.load(Ordering::SeqCst) {
            disk.let_go();
            return Err(format!("{written} bytes are written and none is durable"));
        }
    }
    let (waits, written) = watch.join().map_err(|_| "the watcher panicked")?;
    if !waits || written - before > MAX_GROUP_BYTES as u64 {
        return Err(format!("an append waits: {waits}, with {written} bytes on their way"));
    }
    // The device is quick again.
    opened.log.commit(BATCHES + 1).map_err(words)
}
