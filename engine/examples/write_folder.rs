//! Writes a data folder with everything that a log can hold, for Apache Kafka to judge
//! (`tests/interop/live.sh`): null and empty keys and values, headers, timestamps that fall, batches
//! of many sizes, several segments and leader epochs, idempotent and transactional producers.
//!
//! ```text
//! cargo run --release --example write_folder -- DIR [--compression zstd] [--bytes 8388608]
//!     [--partitions 2] [--segment-bytes 1048576] [--prepare-bytes 0] [--seed 1] [--forever]
//! ```
//! The same options write the same records. With `--forever` it writes until it is killed.

use std::{collections::BTreeMap, error::Error, path::PathBuf, process::exit, sync::Arc};

use trunkline::{
    clock::{Clock, SystemClock},
    commit::Strategy,
    io::Storage,
    log::{LogConfig, LogDir, PartitionLog, UnrecoveredLog},
    record::{
        BatchBuilder, BatchSettings, Compression, CompressionError, Encoder, Header, Marker,
        NewRecord, SealedBatch, control_batch,
    },
    types::{LeaderEpoch, TopicName, TopicPartition},
};

/// Timestamp of the first record, milliseconds.
const START_MS: i64 = 1_700_000_000_000;
/// Batches of one leader's term.
const TERM: u64 = 400;
/// The producers, beside the batches of none.
const IDEMPOTENT: i64 = 7_000;
const TRANSACTIONAL: i64 = 7_001;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_command_line();
    let storage = Storage::portable();
    let dir = Arc::new(LogDir::open(&storage, &options.dir, Strategy::SyncEach)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = LogConfig::default()
        .segment_bytes(options.segment_bytes)
        .prepare_bytes(options.prepare_bytes);
    let mut writers = Vec::new();
    for number in 0..options.partitions {
        let name = TopicPartition::new(TopicName::new("live")?, number);
        let log = UnrecoveredLog::open(&dir, &name, config.clone(), clock.clone())?.recover()?.0;
        let seed = options.seed ^ u64::from(number);
        writers.push(Writer::new(log, options.compression, seed));
    }
    let share = options.bytes / u64::from(options.partitions);
    while options.forever || writers.iter().any(|writer| writer.log.size().1 < share) {
        for writer in &mut writers {
            if options.forever || writer.log.size().1 < share {
                writer.write()?;
            }
        }
    }
    for writer in writers {
        writer.log.close()?;
    }
    dir.close()?;
    Ok(())
}

struct Options {
    dir: PathBuf,
    compression: Compression,
    bytes: u64,
    partitions: u32,
    segment_bytes: u64,
    prepare_bytes: u64,
    seed: u64,
    forever: bool,
}

impl Options {
    fn from_command_line() -> Self {
        let mut args = std::env::args().skip(1);
        let Some(dir) = args.next() else { usage("DIR is missing") };
        let mut options = Self {
            dir: dir.into(),
            compression: Compression::default(),
            bytes: 8 << 20,
            partitions: 2,
            segment_bytes: 1 << 20,
            prepare_bytes: 0,
            seed: 1,
            forever: false,
        };
        while let Some(name) = args.next() {
            if name == "--forever" {
                options.forever = true;
                continue;
            }
            let Some(value) = args.next() else { usage(&format!("{name} needs a value")) };
            let number = || value.parse().unwrap_or_else(|_| usage(&format!("{name} {value}")));
            match name.as_str() {
                "--compression" => {
                    options.compression = match value.parse() {
                        Ok(compression) => compression,
                        Err(error) => {
                            let error: CompressionError = error;
                            usage(&error.to_string())
                        }
                    };
                }
                "--bytes" => options.bytes = number(),
                "--partitions" => options.partitions = number() as u32,
                "--segment-bytes" => options.segment_bytes = number(),
                "--prepare-bytes" => options.prepare_bytes = number(),
                "--seed" => options.seed = number(),
                _ => usage(&format!("{name} is not known")),
            }
        }
        options.partitions = options.partitions.max(1);
        options
    }
}

fn usage(fault: &str) -> ! {
    eprintln!("{fault}\nusage: write_folder DIR [--compression C] [--bytes N] [--partitions N]");
    eprintln!("           [--segment-bytes N] [--prepare-bytes N] [--seed N] [--forever]");
    exit(2)
}

/// Writes one partition.
struct Writer {
    log: PartitionLog,
    compression: Compression,
    encoder: Encoder,
    rng: fastrand::Rng,
    batches: u64,
    /// Next sequence of each producer.
    sequences: BTreeMap<i64, i32>,
    /// Batches of the open transaction.
    in_transaction: u32,
    epoch: LeaderEpoch,
    /// Epoch of the producers: a new run begins at sequence 0, which takes a new epoch.
    producer_epoch: i16,
}

impl Writer {
    fn new(log: PartitionLog, compression: Compression, seed: u64) -> Self {
        // A later run of the same folder is a later leader.
        let epoch = log.leader_epochs().latest().map_or(0, |latest| latest.epoch + 1);
        Self {
            log,
            compression,
            encoder: Encoder::new(),
            rng: fastrand::Rng::with_seed(seed),
            batches: 0,
            sequences: BTreeMap::new(),
            in_transaction: 0,
            epoch,
            producer_epoch: epoch as i16,
        }
    }

    /// Appends a group of batches and, now and then, makes it durable or lays a checkpoint.
    fn write(&mut self) -> Result<(), Box<dyn Error>> {
        let count = self.rng.usize(1..=8);
        let group = (0..count).map(|_| self.batch()).collect::<Result<Vec<_>, _>>()?;
        let end = self.log.append(group, self.epoch)?.end;
        if self.rng.u32(0..10) == 0 {
            self.log.commit(end)?;
        }
        if self.rng.u32(0..200) == 0 {
            self.log.checkpoint()?;
            self.log.dir().persist()?;
        }
        if self.batches / TERM > (self.batches - count as u64) / TERM {
            self.epoch += self.rng.i32(1..=3);
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<SealedBatch, Box<dyn Error>> {
        self.batches += 1;
        if self.in_transaction > 3 {
            self.in_transaction = 0;
            let kind = if self.rng.bool() { Marker::Abort } else { Marker::Commit };
            return Ok(control_batch(kind, TRANSACTIONAL, self.producer_epoch, 5, self.now()));
        }
        let producer = match self.rng.u32(0..10) {
            0 => Some(IDEMPOTENT),
            1 => Some(TRANSACTIONAL),
            _ => None,
        };
        let mut settings = BatchSettings { compression: self.compression, ..Default::default() };
        let records = if self.rng.u32(0..40) == 0 { 2_000 } else { self.rng.i32(1..=40) };
        if let Some(id) = producer {
            let next = self.sequences.entry(id).or_insert(0);
            settings.producer_id = id;
            settings.base_sequence = *next;
            settings.transactional = id == TRANSACTIONAL;
            *next += records;
            settings.producer_epoch = self.producer_epoch;
            self.in_transaction += u32::from(settings.transactional);
        }
        let mut builder = BatchBuilder::new(Vec::new(), settings);
        for _ in 0..records {
            self.push(&mut builder)?;
        }
        Ok(builder.seal(&mut self.encoder)?)
    }

    fn now(&self) -> i64 {
        START_MS + self.batches as i64 * 10
    }

    fn push(&mut self, builder: &mut BatchBuilder) -> Result<(), Box<dyn Error>> {
        // It may fall behind the batch's first.
        let timestamp = self.now() + self.rng.i64(-50..50);
        let key = match self.rng.u32(0..8) {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("user-{}", self.rng.u32(0..500))),
        };
        let value = match self.rng.u32(0..40) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some((0..self.rng.usize(0..2_000)).map(|_| self.rng.u8(..)).collect()),
            _ => Some(self.event()),
        };
        let trace = self.rng.u64(..).to_be_bytes();
        let headers = [
            Header { name: "trace", value: Some(&trace) },
            Header { name: "", value: None },
            Header { name: "größe \"q\"", value: Some(b"") },
        ];
        let headers = if self.rng.u32(0..5) == 0 { &headers[..] } else { &[] };
        let key = key.as_deref().map(str::as_bytes);
        builder.push(&NewRecord { timestamp, key, value: value.as_deref(), headers })?;
        Ok(())
    }

    /// Text that compresses as real events do, roughly.
    fn event(&mut self) -> Vec<u8> {
        const WORDS: [&str; 8] =
            ["depart", "arrive", "couple", "signal", "freight", "siding", "axle", "yard"];
        let id = self.rng.u32(..);
        let words: Vec<&str> =
            (0..self.rng.usize(3..20)).map(|_| WORDS[self.rng.usize(..WORDS.len())]).collect();
        format!(r#"{{"id":{id},"events":"{}"}}"#, words.join(" ")).into_bytes()
    }
}
