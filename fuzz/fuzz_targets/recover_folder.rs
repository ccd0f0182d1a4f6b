//! A partition's folder with any bytes in its files: recovery gives a log that can be read and
//! appended to, or a typed error.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::{ForgetfulDisk, Open, Storage},
    log::{Isolation, LogConfig, LogDir, UnrecoveredLog},
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord},
    types::{TopicName, TopicPartition},
};

/// The files that are made, in the order of the input's parts.
const FILES: [&str; 6] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "leader-epoch-checkpoint",
    "00000000000000000002.snapshot",
    "00000000000000000002.log",
];

fuzz_target!(|parts: Vec<Vec<u8>>| {
    let storage = Storage::new(Arc::new(ForgetfulDisk::new()));
    let root = std::path::Path::new("/data");
    let partition = TopicPartition::new(TopicName::new("t").expect("a valid name"), 0);
    let folder = root.join(partition.to_string());
    storage.create_dir_all(&folder).expect("an empty disk takes a folder");
    for (name, bytes) in FILES.iter().zip(parts) {
        let file = storage.open(&folder.join(name), Open::Create).expect("opens");
        file.write_at(0, bytes).expect("writes");
    }
    let clock = Arc::new(ManualClock::new(1_000_000));
    let dir = Arc::new(LogDir::open(&storage, root, Strategy::SyncEach).expect("opens"));
    let Ok(unrecovered) = UnrecoveredLog::open(&dir, &partition, LogConfig::default(), clock)
    else {
        return;
    };
    let Ok((log, _report)) = unrecovered.recover() else { return };
    let marks = log.watermarks();
    let mut offset = marks.log_start;
    while offset < marks.log_end {
        let Ok(fetched) = log.fetch(offset, 1 << 20, Isolation::LogEnd) else { break };
        if fetched.is_empty() || fetched.batches().any(|batch| batch.is_err()) {
            break;
        }
        assert!(fetched.next_offset() > offset, "a fetch goes on");
        offset = fetched.next_offset();
    }
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    builder.push(&NewRecord { value: Some(b"after"), ..NewRecord::default() }).expect("fits");
    let batch = builder.seal(&mut Encoder::new()).expect("seals");
    let epoch = log.leader_epochs().latest().map_or(0, |latest| latest.epoch);
    if let Ok(appended) = log.append(vec![batch], epoch) {
        assert_eq!(appended.base_offsets, [marks.log_end]);
        log.commit(appended.end).expect("commits");
    }
});
