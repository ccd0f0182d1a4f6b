//! Segments against a naive model, against damage, against concurrent readers, and against Kafka's
//! own files.

mod active;
mod damage;
mod edges;
mod kafka;
mod model;
mod range;
mod readers;
mod reopened;
mod scan;

use std::{path::PathBuf, sync::Arc};

use super::{ActiveSegment, Segment, SegmentError, SegmentOptions, Suffix, Trust, file_path};
use crate::{
    error::Corruption,
    io::{ForgetfulDisk, Open, Storage},
    record::{BatchBuilder, BatchHeader, BatchSettings, Encoder, NewRecord, SealedBatch},
    types::Offset,
};

/// A batch at `base_offset` with a record for each timestamp, whose values are `value_bytes` of a
/// pattern that its offset gives.
fn batch(base_offset: Offset, timestamps: &[i64], value_bytes: usize) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    for (n, timestamp) in timestamps.iter().enumerate() {
        let value = vec![(base_offset + n as i64) as u8; value_bytes];
        let record =
            NewRecord { timestamp: *timestamp, key: None, value: Some(&value), headers: &[] };
        builder.push(&record).unwrap();
    }
    let mut batch = builder.seal(&mut Encoder::new()).unwrap();
    batch.stamp(base_offset, 3);
    batch
}

/// `count` batches of two records each, timestamps 10 apart, offsets from 0.
fn plain_batches(count: i64, value_bytes: usize) -> Vec<SealedBatch> {
    (0..count).map(|n| batch(n * 2, &[n * 20, n * 20 + 10], value_bytes)).collect()
}

/// A folder on a simulated disk.
#[derive(Debug)]
struct Folder {
    disk: ForgetfulDisk,
    storage: Storage,
    dir: PathBuf,
    options: SegmentOptions,
}

impl Folder {
    fn new(index_interval_bytes: u32) -> Self {
        let disk = ForgetfulDisk::new();
        let (storage, dir) = (disk.storage(), PathBuf::from("/log/t-0"));
        storage.create_dir_all(&dir).unwrap();
        let options = SegmentOptions { index_interval_bytes, ..SegmentOptions::default() };
        Self { disk, storage, dir, options }
    }

    fn create(&self, base_offset: Offset) -> ActiveSegment {
        ActiveSegment::create(&self.storage, &self.dir, base_offset, &self.options).unwrap()
    }

    fn open(&self, base_offset: Offset, trust: Trust<'_>) -> Result<ActiveSegment, SegmentError> {
        ActiveSegment::open(&self.storage, &self.dir, base_offset, &self.options, trust)
    }

    /// The segment as a clean start finds it.
    fn sealed(&self, base: Offset, next: Offset, seal: Option<super::Seal>) -> Arc<Segment> {
        let len = self.bytes(base, Suffix::Log).len() as u64;
        Segment::sealed(&self.storage, &self.dir, base, len, next, seal, &self.options)
    }

    fn bytes(&self, base_offset: Offset, suffix: Suffix) -> Vec<u8> {
        self.storage.read(&file_path(&self.dir, base_offset, suffix), 1 << 30).unwrap()
    }

    fn overwrite(&self, base_offset: Offset, suffix: Suffix, bytes: &[u8]) {
        let path = file_path(&self.dir, base_offset, suffix);
        let file = self.storage.open(&path, Open::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_at(0, bytes.to_vec()).unwrap();
    }

    fn rebuilds(&self) -> u64 {
        self.options.metrics.index_rebuilds.get()
    }

    fn fallbacks(&self) -> u64 {
        self.options.metrics.index_fallbacks.get()
    }
}

fn headers(segment: &Segment) -> Vec<(u64, BatchHeader)> {
    segment.headers(0).collect::<Result<_, _>>().unwrap()
}

fn rule(gaps_allowed: bool) -> super::OffsetRule {
    super::OffsetRule { base: 0, end: Offset::MAX, gaps_allowed }
}

fn corruption<T: std::fmt::Debug>(result: Result<T, SegmentError>) -> Corruption {
    match result {
        Err(SegmentError::Corrupt(corruption)) => corruption,
        other => panic!("{other:?}"),
    }
}
