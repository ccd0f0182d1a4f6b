//! Scenarios that seeded lives come upon too rarely: each plays one mistake's own story.

use std::{path::Path, sync::Arc};

use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::{ForgetfulDisk, Loss, Open},
    log::{Isolation, LogConfig, LogDir, PartitionLog, UnrecoveredLog},
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord, SealedBatch},
    types::{Offset, TopicName, TopicPartition},
};

const ROOT: &str = "/data";
const FIRST: &str = "/data/t-0/00000000000000000000";

fn open(disk: &ForgetfulDisk) -> Result<(Arc<LogDir>, PartitionLog), String> {
    let dir = LogDir::open(&disk.storage(), Path::new(ROOT), Strategy::SyncEach);
    let dir = Arc::new(dir.map_err(|error| error.to_string())?);
    let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
    let config = LogConfig::default().segment_bytes(400).index_interval_bytes(1).retention_ms(-1);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let log = UnrecoveredLog::open(&dir, &partition, config, clock);
    let (log, _) = log.and_then(UnrecoveredLog::recover).map_err(|error| error.to_string())?;
    Ok((dir, log))
}

/// A batch of one record, of 100 bytes whatever its timestamp is.
fn batch(timestamp: i64) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let value = format!("{timestamp:032}");
    let value = Some(value.as_bytes());
    builder.push(&NewRecord { timestamp, key: None, value, headers: &[] }).unwrap();
    builder.seal(&mut Encoder::new()).unwrap()
}

fn append(log: &PartitionLog, timestamps: impl IntoIterator<Item = i64>) -> Offset {
    let mut end = 0;
    for timestamp in timestamps {
        end = log.append(vec![batch(timestamp)], 0).unwrap().end.offset();
    }
    log.commit(end).unwrap();
    end
}

/// Timestamps of the records from offset 0 on, or the typed error that stands in their way.
fn read(log: &PartitionLog) -> Result<Vec<i64>, String> {
    let mut found = Vec::new();
    let end = log.watermarks().log_end;
    let mut offset = 0;
    while offset < end {
        let fetched = log.fetch(offset, 250, Isolation::LogEnd);
        let fetched = fetched.map_err(|error| error.to_string())?;
        for batch in fetched.batches() {
            let batch = batch.map_err(|error| error.to_string())?;
            found.push(batch.header().base_timestamp);
        }
        offset = fetched.next_offset();
    }
    Ok(found)
}

/// An index whose entries name other batches, beside a sound log.
fn an_index_names_other_batches() -> Result<(), String> {
    let disk = closed_without_our_files(9)?;
    let index = disk.storage().open(Path::new(&format!("{FIRST}.index")), Open::Write).unwrap();
    let bytes = index.read_at(0, 16).unwrap();
    // One entry: the offset of the first, the position of the second.
    index.write_at(0, [&bytes[..4], &bytes[12..]].concat()).unwrap();
    index.set_len(8).unwrap();
    let (_dir, log) = open(&disk)?;
    for offset in 0..9 {
        let fetched = log.fetch(offset, 1, Isolation::LogEnd).map_err(|error| error.to_string())?;
        let batch = fetched.batches().next();
        let found = batch.and_then(Result::ok).map(|batch| batch.header().base_offset);
        if found != Some(offset) {
            return Err(format!("asked for offset {offset}, found {found:?}"));
        }
    }
    Ok(())
}

/// Two batches of one size that changed places: each is whole, neither is where it belongs.
fn two_batches_change_places() -> Result<(), String> {
    let disk = closed_without_our_files(9)?;
    let log = disk.storage().open(Path::new(&format!("{FIRST}.log")), Open::Write).unwrap();
    let len = batch(1).bytes().len();
    let bytes = log.read_at(0, 3 * len).unwrap();
    log.write_at(len as u64, [&bytes[2 * len..], &bytes[len..2 * len]].concat()).unwrap();
    let (_dir, log) = open(&disk)?;
    match read(&log) {
        Ok(found) => Err(format!("read as if all were well: {found:?}")),
        Err(_) => Ok(()),
    }
}

/// A failed sync in the middle of a roll, then records that are acknowledged, then the power goes.
fn a_sync_fails_at_a_roll() -> Result<(), String> {
    for nth in 1..12 {
        let disk = ForgetfulDisk::new();
        let (dir, log) = open(&disk)?;
        let mut acknowledged = append(&log, 1..=3);
        disk.fail_sync(nth);
        for timestamp in 4..9 {
            let appended = log.append(vec![batch(timestamp)], 0);
            if let Ok(end) = appended.map(|appended| appended.end)
                && log.commit(end).is_ok()
            {
                acknowledged = end.offset();
            }
        }
        drop((dir, log));
        let (_dir, log) = open(&disk.power_cut(Loss::Everything))?;
        let end = log.watermarks().log_end;
        if end < acknowledged {
            return Err(format!("lost: sync {nth}: acknowledged {acknowledged}, ends at {end}"));
        }
    }
    Ok(())
}

fn closed_without_our_files(records: i64) -> Result<ForgetfulDisk, String> {
    let disk = ForgetfulDisk::new();
    let (dir, log) = open(&disk)?;
    append(&log, 1..=records);
    log.close().map_err(|error| error.to_string())?;
    dir.close().map_err(|error| error.to_string())?;
    let storage = disk.storage();
    storage.remove_file(Path::new("/data/trunkline-state")).unwrap();
    storage.remove_file(Path::new("/data/t-0/trunkline-seals")).unwrap();
    drop((dir, log));
    Ok(disk.fork())
}

/// What goes wrong in it, if it does.
type Story = fn() -> Result<(), String>;

/// All of them, by name.
pub(crate) const ALL: [(&str, Story); 3] = [
    ("an index names other batches", an_index_names_other_batches),
    ("two batches change places", two_batches_change_places),
    ("a sync fails at a roll", a_sync_fails_at_a_roll),
];

#[test]
fn every_story_ends_well() {
    for (name, story) in ALL {
        assert_eq!(story(), Ok(()), "{name}");
    }
}
