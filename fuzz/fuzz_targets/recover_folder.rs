//! A log dir with any bytes in its files, as they are or with their checksums put right: recovery gives
//! a log that can be read and appended to, or a typed error.
#![no_main]

use std::{path::Path, sync::Arc};

use libfuzzer_sys::fuzz_target;
use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::{ForgetfulDisk, Loss, Open},
    log::{Isolation, LogConfig, LogDir, OnDamage, PartitionLog, UnrecoveredLog},
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord},
    types::{Durability, TopicName, TopicPartition},
};
use trunkline_fuzz::{files, right_the_file};

const ROOT: &str = "/data";

// A byte of settings, then files (`trunkline_fuzz::files`).
fuzz_target!(|input: &[u8]| {
    let Some((settings, input)) = input.split_first() else { return };
    let is_set = |bit: u8| settings >> bit & 1 == 1;
    let disk = ForgetfulDisk::new();
    put(&disk, input, is_set(0), is_set(6));
    let config = LogConfig::default()
        .segment_bytes(400)
        .index_interval_bytes(if is_set(1) { 1 } else { 4096 })
        .compacted(is_set(2))
        .durability(if is_set(3) { Durability::Written } else { Durability::Durable })
        .on_damage(if is_set(4) { OnDamage::Cut } else { OnDamage::Refuse });
    let Ok(log) = recover(&disk, &config) else { return };
    let is_sound = read(&log) == Some(bytes_of_logs(&disk));
    let Some(appended) = append(&log) else { return };
    // A right checksum over a batch that contradicts the files beside it is no accident, and may hide others;
    // nor is one over a file of ours that the log contradicts.
    if is_set(5) && is_sound && !is_set(6) {
        drop(log);
        let disk = disk.power_cut(Loss::Everything);
        let log = recover(&disk, &config).expect("what was recovered is recovered again");
        assert!(log.watermarks().log_end > appended, "what was committed is there");
        let fetched = log.fetch(appended, 1, Isolation::LogEnd).expect("and can be read");
        let batch = fetched.batches().next().expect("a batch").expect("a sound one");
        assert_eq!(batch.header().base_offset, appended);
    }
});

fn put(disk: &ForgetfulDisk, input: &[u8], right: bool, right_ours: bool) {
    let storage = disk.storage();
    let root = Path::new(ROOT);
    storage.create_dir_all(&root.join("t-0")).expect("an empty disk takes a folder");
    for (name, bytes) in files(input) {
        let mut bytes = bytes.to_vec();
        if right && (right_ours || !name.contains("trunkline-")) {
            right_the_file(name, &mut bytes);
        }
        let file = storage.open(&root.join(name), Open::Create).expect("opens");
        file.set_len(0).expect("cuts");
        file.write_at(0, bytes).expect("writes");
    }
    disk.settle();
}

/// The folder stays open as long as the log. The text says why not.
fn recover(disk: &ForgetfulDisk, config: &LogConfig) -> Result<PartitionLog, String> {
    let partition = TopicPartition::new(TopicName::new("t").expect("a valid name"), 0);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let dir = LogDir::open(&disk.storage(), Path::new(ROOT), Strategy::SyncEach).expect("opens");
    let log = UnrecoveredLog::open(&Arc::new(dir), &partition, config.clone(), clock);
    let recovered = log.and_then(UnrecoveredLog::recover);
    recovered.map(|(log, _)| log).map_err(|error| error.to_string())
}

/// Bytes of all batches, if all of it can be read.
fn read(log: &PartitionLog) -> Option<u64> {
    let mut bytes = 0;
    let marks = log.watermarks();
    let mut offset = marks.log_start;
    while offset < marks.log_end {
        let fetched =
            log.fetch(offset, 1 << 20, Isolation::LogEnd).ok().filter(|it| !it.is_empty())?;
        for batch in fetched.batches() {
            bytes += batch.ok()?.bytes().len() as u64;
        }
        assert!(fetched.next_offset() > offset, "a fetch goes on");
        offset = fetched.next_offset();
    }
    (offset == marks.log_end).then_some(bytes)
}

fn bytes_of_logs(disk: &ForgetfulDisk) -> u64 {
    let files = disk.storage().list(&Path::new(ROOT).join("t-0")).expect("it is there");
    let is_log = |name: &str| name.ends_with(".log");
    files.iter().filter(|file| file.name.to_str().is_some_and(is_log)).map(|file| file.len).sum()
}

/// The offset of a record that is appended and durable.
fn append(log: &PartitionLog) -> Option<i64> {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    builder.push(&NewRecord { value: Some(b"after"), ..NewRecord::default() }).expect("fits");
    let batch = builder.seal(&mut Encoder::new()).expect("seals");
    let epoch = log.leader_epochs().latest().map_or(0, |latest| latest.epoch);
    let log_end = log.watermarks().log_end;
    let appended = log.append(vec![batch], epoch).ok()?;
    assert_eq!(appended.base_offsets, [log_end]);
    log.commit(appended.end).expect("commits");
    Some(log_end)
}
