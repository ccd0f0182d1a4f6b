//! What the tests share: a log on a simulated disk, batches, and all that can be read.

use std::{path::Path, sync::Arc};

use crate::{
    clock::ManualClock,
    commit::Strategy,
    io::{ForgetfulDisk, Loss, PortableDisk, Storage},
    log::{
        ClosedLog, Isolation, LogConfig, LogDir, OpenError, PartitionLog, ReadError,
        RecoveryReport, UnrecoveredLog,
    },
    record::{BatchBuilder, BatchSettings, Decoder, Encoder, NewRecord, SealedBatch},
    types::{Offset, TopicName, TopicPartition},
};

/// Wall clock at the start of every test, milliseconds.
pub(super) const NOW_MS: i64 = 1_700_000_000_000;
/// Where the log dir stands on the simulated disk.
pub(super) const ROOT: &str = "/data";

/// Segments of about five small batches, an index entry for nearly each, nothing deleted.
pub(super) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 64,
        retention_ms: -1,
        // Tests that count bytes know what each batch takes.
        prepare_bytes: 0,
        ..LogConfig::default()
    }
}

pub(super) fn partition() -> TopicPartition {
    TopicPartition::new(TopicName::new("orders").unwrap(), 0)
}

/// An open log and all that stands around it.
pub(super) struct Bench {
    pub(super) disk: ForgetfulDisk,
    pub(super) clock: Arc<ManualClock>,
    pub(super) config: LogConfig,
    pub(super) dir: Arc<LogDir>,
    pub(super) log: Arc<PartitionLog>,
    pub(super) report: RecoveryReport,
}

impl Bench {
    pub(super) fn new(config: LogConfig) -> Self {
        let clock = Arc::new(ManualClock::new(NOW_MS));
        Self::open(&ForgetfulDisk::new(), clock, config).unwrap()
    }

    pub(super) fn open(
        disk: &ForgetfulDisk,
        clock: Arc<ManualClock>,
        config: LogConfig,
    ) -> Result<Self, OpenError> {
        Self::open_with(disk, &disk.storage(), clock, config)
    }

    /// As `open`, through another way to the disk.
    pub(super) fn open_with(
        disk: &ForgetfulDisk,
        storage: &Storage,
        clock: Arc<ManualClock>,
        config: LogConfig,
    ) -> Result<Self, OpenError> {
        let dir = LogDir::open(storage, Path::new(ROOT), Strategy::default());
        let dir = match dir {
            Ok(dir) => Arc::new(dir),
            Err(crate::log::DirError::Io(error)) => return Err(error.into()),
            Err(error) => panic!("{error}"),
        };
        let (partition, its_clock) = (partition(), clock.clone());
        let unrecovered = UnrecoveredLog::open(&dir, &partition, config.clone(), its_clock)?;
        let (log, report) = unrecovered.recover()?;
        Ok(Self { disk: disk.clone(), clock, config, dir, log: Arc::new(log), report })
    }

    /// Drops everything without a close and opens it again: the process died, the machine did not.
    pub(super) fn kill(self) -> Self {
        let Self { disk, clock, config, .. } = self;
        Self::open(&disk.fork(), clock, config).unwrap()
    }

    /// The power goes off, comes back, and the log is opened.
    pub(super) fn cut_power(self, loss: Loss) -> Self {
        self.try_cut_power(loss).unwrap()
    }

    pub(super) fn try_cut_power(self, loss: Loss) -> Result<Self, OpenError> {
        let Self { disk, clock, config, .. } = self;
        Self::open(&disk.power_cut(loss), clock, config)
    }

    /// Closes the log and its folder cleanly.
    pub(super) fn close(&self) {
        assert_eq!(self.log.close().unwrap(), ClosedLog::Clean);
        self.dir.close().unwrap();
    }

    pub(super) fn reopen(self) -> Self {
        self.close();
        self.kill()
    }

    /// A checkpoint that counts.
    pub(super) fn checkpoint(&self) {
        self.log.checkpoint().unwrap();
        self.dir.persist().unwrap();
    }

    /// Appends one batch as leader of term 1; gives the log end.
    pub(super) fn append(&self, values: &[&str]) -> Offset {
        self.log.append(vec![batch(values)], 1).unwrap().end.offset()
    }

    /// Appends and commits, one batch a value.
    pub(super) fn append_each(&self, values: impl IntoIterator<Item = i64>) -> Offset {
        let mut end = 0;
        for value in values {
            end = self.append(&[&format!("{value:04}")]);
        }
        self.log.commit(end).unwrap();
        end
    }

    pub(super) fn storage(&self) -> Storage {
        self.disk.storage()
    }

    /// Names of the partition's files that end with `suffix`.
    pub(super) fn files(&self, suffix: &str) -> Vec<String> {
        let entries = self.storage().list(self.log.path()).unwrap();
        let names = entries.into_iter().map(|entry| entry.name.into_string().unwrap());
        names.filter(|name| name.ends_with(suffix)).collect()
    }

    pub(super) fn bases(&self) -> Vec<Offset> {
        self.log.segments.load().iter().map(|segment| segment.base_offset()).collect()
    }

    pub(super) fn all(&self) -> Vec<(Offset, String)> {
        read(&self.log, self.log.watermarks().log_start, Isolation::LogEnd).unwrap()
    }

    /// Offsets of all that can be read, whose values must be the offsets.
    pub(super) fn offsets(&self) -> Vec<Offset> {
        self.offsets_from(self.log.watermarks().log_start)
    }

    pub(super) fn offsets_from(&self, from: Offset) -> Vec<Offset> {
        let records = read(&self.log, from, Isolation::LogEnd).unwrap();
        let numbered = |(offset, value): (Offset, String)| {
            assert_eq!(value.parse(), Ok(offset));
            offset
        };
        records.into_iter().map(numbered).collect()
    }

    /// Log start, recovery point, durable end, high watermark, log end.
    pub(super) fn marks(&self) -> [Offset; 5] {
        let marks = self.log.watermarks();
        [
            marks.log_start,
            marks.recovery_point,
            marks.durable_end,
            marks.high_watermark,
            marks.log_end,
        ]
    }
}

/// A log in `path`, a real folder.
pub(super) fn open_real(
    disk: PortableDisk,
    path: &Path,
    config: LogConfig,
) -> (Arc<LogDir>, PartitionLog) {
    let dir = LogDir::open(&Storage::new(Arc::new(disk)), path, Strategy::default()).unwrap();
    let dir = Arc::new(dir);
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let log = UnrecoveredLog::open(&dir, &partition(), config, clock).unwrap();
    (dir, log.recover().unwrap().0)
}

/// Bytes of each batch that [`Bench::append_each`] makes.
pub(super) fn one() -> u64 {
    batch(&["0000"]).bytes().len() as u64
}

/// An uncompressed batch of one record a value, timestamps rising from [`NOW_MS`].
pub(super) fn batch(values: &[&str]) -> SealedBatch {
    batch_at(NOW_MS, values)
}

pub(super) fn batch_at(first_ms: i64, values: &[&str]) -> SealedBatch {
    build(BatchSettings::default(), first_ms, values)
}

/// A batch of an idempotent producer, epoch 0.
pub(super) fn batch_of(producer_id: i64, base_sequence: i32, values: &[&str]) -> SealedBatch {
    let settings =
        BatchSettings { producer_id, producer_epoch: 0, base_sequence, ..Default::default() };
    build(settings, NOW_MS, values)
}

/// Settings of a transactional producer's batch, epoch 0.
pub(super) fn transactional(producer_id: i64, base_sequence: i32) -> BatchSettings {
    BatchSettings {
        producer_id,
        producer_epoch: 0,
        base_sequence,
        transactional: true,
        ..Default::default()
    }
}

pub(super) fn build(settings: BatchSettings, first_ms: i64, values: &[&str]) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for (value, timestamp) in values.iter().zip(first_ms..) {
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp, value, ..Default::default() }).unwrap();
    }
    builder.seal(&mut Encoder::new()).unwrap()
}

/// All records from `from` on, with their values as text.
pub(super) fn read(
    log: &PartitionLog,
    from: Offset,
    isolation: Isolation,
) -> Result<Vec<(Offset, String)>, ReadError> {
    let (mut next, mut found) = (from, Vec::new());
    let mut decoder = Decoder::new();
    loop {
        let fetched = log.fetch(next, 1 << 20, isolation)?;
        if fetched.is_empty() {
            return Ok(found);
        }
        for batch in fetched.batches() {
            for record in batch?.records(&mut decoder).unwrap() {
                let record = record.unwrap();
                if record.offset >= from {
                    let value = String::from_utf8(record.value.unwrap_or_default().to_vec());
                    found.push((record.offset, value.unwrap()));
                }
            }
        }
        assert!(fetched.next_offset() > next, "a fetch that gives bytes gets on");
        next = fetched.next_offset();
    }
}
