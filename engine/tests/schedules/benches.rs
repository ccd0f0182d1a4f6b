//! A whole log on the simulated disk, for the scenarios that need one.

use std::{path::Path, sync::Arc};

use crate::{
    clock::ManualClock,
    commit::Strategy,
    io::{ForgetfulDisk, Loss},
    log::{Isolation, LogConfig, LogDir, PartitionLog, ReadError, UnrecoveredLog},
    record::{BatchBuilder, BatchSettings, Decoder, Encoder, NewRecord, SealedBatch},
    types::{Offset, TopicName, TopicPartition},
};

const NOW_MS: i64 = 1_700_000_000_000;

pub(crate) struct Bench {
    pub(crate) disk: ForgetfulDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<PartitionLog>,
}

impl Bench {
    /// A durable log whose segments take one batch of [`batch`]s each, or `batches` of them.
    pub(crate) fn new(batches: u64) -> Self {
        let segment_bytes = batches * batch("v0").bytes().len() as u64;
        let config = LogConfig { segment_bytes, retention_ms: -1, ..LogConfig::default() };
        let disk = ForgetfulDisk::new();
        Self::open(&disk, &config)
    }

    pub(crate) fn open(disk: &ForgetfulDisk, config: &LogConfig) -> Self {
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let dir = LogDir::open(&disk.storage(), Path::new("/data"), Strategy::default()).unwrap();
        let partition = TopicPartition::new(TopicName::new("orders").unwrap(), 0);
        let log = UnrecoveredLog::open(&Arc::new(dir), &partition, config.clone(), clock.clone());
        let log = Arc::new(log.unwrap().recover().unwrap().0);
        Self { disk: disk.clone(), clock, log }
    }

    /// The log as it is opened after a power cut of now.
    pub(crate) fn after_power_cut(&self) -> Self {
        Self::open(&self.disk.fork().power_cut(Loss::Everything), self.log.config())
    }
}

/// A batch of one record. All values are of one length here, so that batches are too.
pub(crate) fn batch(value: &str) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let value = Some(value.as_bytes());
    builder.push(&NewRecord { timestamp: NOW_MS, value, ..Default::default() }).unwrap();
    builder.seal(&mut Encoder::new()).unwrap()
}

/// One fetch of at most `max_bytes`, and its records.
pub(crate) fn fetch(
    log: &PartitionLog,
    from: Offset,
    max_bytes: usize,
    isolation: Isolation,
) -> Result<(Vec<(Offset, String)>, crate::log::Fetched), ReadError> {
    let fetched = log.fetch(from, max_bytes, isolation)?;
    let (mut records, mut decoder) = (Vec::new(), Decoder::new());
    for batch in fetched.batches() {
        for record in batch?.records(&mut decoder).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            records.push((record.offset, value));
        }
    }
    Ok((records, fetched))
}

/// All records, of a log that begins at 0.
pub(crate) fn all(log: &PartitionLog) -> Vec<(Offset, String)> {
    let mut records = Vec::new();
    while (records.len() as Offset) < log.watermarks().log_end {
        let from = records.len() as Offset;
        records.extend(fetch(log, from, 1 << 20, Isolation::LogEnd).unwrap().0);
    }
    records
}
