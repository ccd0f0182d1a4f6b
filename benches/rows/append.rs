//! Sealed batches into one partition, `Written`, one thread, each batch's checksum verified.

use std::{fs, hint::black_box, os::unix::fs::FileExt, path::Path, sync::Arc, time::Duration};

use trunkline::{
    clock::SystemClock,
    commit::Strategy,
    io::Storage,
    log::{CommitPoint, LogConfig, LogDir, PartitionLog, UnrecoveredLog},
    record::SealedBatch,
    types::{Durability, TopicName, TopicPartition},
};

use crate::{
    pairs::{Group, Work, timed},
    sealed,
};

/// Bytes that a slice writes, at least.
const SLICE_BYTES: usize = 32 << 20;
/// Bytes after which a row begins anew, so that little of it is written back to the disk.
pub const FILE_BYTES: u64 = 512 << 20;
/// A batch of 1024 records of 1 KiB is larger than Kafka's default takes.
const MAX_BATCH_BYTES: usize = 2 << 20;
/// Where a batch's checksummed part begins.
const CHECKED_FROM: usize = 21;

/// How large the batches are.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Records of a batch.
    pub records: usize,
    /// Bytes of a record's value.
    pub record_bytes: usize,
}

/// The shapes that are measured.
pub const SHAPES: [Shape; 3] = [
    Shape { records: 16, record_bytes: 1024 },
    Shape { records: 1024, record_bytes: 1024 },
    Shape { records: 1024, record_bytes: 100 },
];

impl Shape {
    /// The group's name.
    pub fn name(&self) -> String {
        format!("append written, {} B x {}", self.record_bytes, self.records)
    }

    /// A sealed batch.
    pub fn batch(&self) -> Vec<u8> {
        sealed(self.records, self.record_bytes)
    }

    /// How many of them a slice appends.
    pub fn batches(&self) -> usize {
        SLICE_BYTES.div_ceil(self.batch().len())
    }
}

/// The hand-rolled loop, and the engine.
pub fn group(shape: Shape, folder: &Path) -> Group<'static> {
    let (batch, batches) = (shape.batch(), shape.batches());
    let work = Work {
        bytes: (batches * batch.len()) as u64,
        units: (batches * shape.records) as u64,
        unit: "records",
    };
    let mut group = Group::new(shape.name(), work);
    group.row("limit: CRC32C and pwrite", limit(folder.join("limit"), batch.clone(), batches));
    group.row("trunkline", trunkline(&folder.join("trunkline"), batch, batches));
    group
}

fn limit(path: std::path::PathBuf, batch: Vec<u8>, batches: usize) -> impl FnMut() -> Duration {
    let create = move || fs::File::create(&path).expect("the folder takes files");
    let mut file = create();
    let mut position = 0;
    move || {
        if position >= FILE_BYTES {
            (file, position) = (create(), 0);
        }
        timed(|| {
            for _ in 0..batches {
                black_box(crc32c::crc32c(black_box(&batch[CHECKED_FROM..])));
                file.write_all_at(&batch, position).expect("the disk has room");
                position += batch.len() as u64;
            }
        })
    }
}

fn trunkline(folder: &Path, batch: Vec<u8>, batches: usize) -> impl FnMut() -> Duration + use<> {
    let log = written_log(folder, LogConfig::SEGMENT_BYTES);
    let mut spare = Some(batch);
    move || {
        if log.size().1 >= FILE_BYTES {
            log.restart_at(0).expect("the log can be emptied");
            // The files go at once, as the other row's do: their memory is warm when it is taken again.
            log.step(Duration::MAX).expect("files can be removed");
        }
        timed(|| {
            for _ in 0..batches {
                append_again(&log, &mut spare);
            }
        })
    }
}

/// Checks the batch in `spare`, appends it and puts its buffer back; gives the log's end.
pub fn append_again(log: &PartitionLog, spare: &mut Option<Vec<u8>>) -> CommitPoint {
    let bytes = spare.take().expect("each append gives its buffer back");
    let batch = SealedBatch::check(bytes).expect("a valid batch");
    let appended = log.append(vec![batch], 0).expect("the disk has room");
    *spare = appended.buffers.into_iter().next();
    appended.end
}

/// A log whose acknowledgement says that it is in the page cache.
pub fn written_log(folder: &Path, segment_bytes: u64) -> PartitionLog {
    log(folder, |config| config.durability(Durability::Written).segment_bytes(segment_bytes))
}

/// A log of its own log dir.
pub fn log(folder: &Path, settings: impl FnOnce(LogConfig) -> LogConfig) -> PartitionLog {
    let dir = LogDir::open(&Storage::portable(), folder, Strategy::SyncEach).expect("opens");
    log_in(&Arc::new(dir), 0, settings)
}

/// A partition of a log dir.
pub fn log_in(
    dir: &Arc<LogDir>,
    partition: u32,
    settings: impl FnOnce(LogConfig) -> LogConfig,
) -> PartitionLog {
    let partition = TopicPartition::new(TopicName::new("bench").expect("valid"), partition);
    let config =
        LogConfig::default().file_delete_delay(Duration::ZERO).max_message_bytes(MAX_BATCH_BYTES);
    let clock = Arc::new(SystemClock::new());
    let unrecovered = UnrecoveredLog::open(dir, &partition, settings(config), clock);
    unrecovered.expect("opens").recover().expect("recovers").0
}
