//! One partition's log against a model of it: a `Vec` of records. After each step of a random script
//! everything that can be read equals the model.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proptest::{collection::vec, option, prelude::*, test_runner::TestCaseResult};
use trunkline::{
    clock::{Clock, ManualClock},
    commit::Strategy as CommitStrategy,
    io::{ForgetfulDisk, Loss, Storage},
    log::{
        Appended, ClosedLog, Isolation, LogConfig, LogDir, PartitionLog, ReadError, UnrecoveredLog,
    },
    record::{
        BatchBuilder, BatchSettings, Codec, Compression, Decoder, Encoder, NewRecord, SealedBatch,
    },
    types::{Durability, Offset, TopicName, TopicPartition},
};

const NOW_MS: i64 = 1_700_000_000_000;
const RETENTION_MS: i64 = 3_600_000;

/// One step of a script. Offsets are drawn as parts of what is there when the step comes.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<BatchPlan>),
    Follow(Vec<BatchPlan>),
    Repeat { producer: i64 },
    NewTerm,
    Commit,
    Fetch { at: Part, max_bytes: usize, isolation: Isolation },
    FindTime { ahead_ms: i64 },
    Truncate { to: Part },
    Restart { ahead: i64 },
    Delete { to: Part },
    Later { minutes: u64 },
    Checkpoint,
    Reopen,
    Crash,
    PowerCut { seed: Option<u64> },
}

#[derive(Debug, Clone)]
struct BatchPlan {
    records: Vec<RecordPlan>,
    codec: Codec,
    producer: Option<i64>,
}

#[derive(Debug, Clone)]
struct RecordPlan {
    ahead_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// 0 is the beginning of a range, 1000 its end.
type Part = i64;

fn of(range: Range<Offset>, part: Part) -> Offset {
    range.start + (range.end - range.start) * part / 1000
}

fn record() -> impl Strategy<Value = RecordPlan> {
    let bytes = || option::weighted(0.9, vec(prop_oneof![Just(b'a'), any::<u8>()], 0..120));
    (-5_000_i64..5_000, bytes(), bytes()).prop_map(|(ahead_ms, key, value)| RecordPlan {
        ahead_ms,
        key,
        value,
    })
}

fn batches() -> impl Strategy<Value = Vec<BatchPlan>> {
    let codec = prop_oneof![
        4 => Just(Codec::None),
        1 => Just(Codec::Gzip),
        1 => Just(Codec::Snappy),
        1 => Just(Codec::Lz4),
        1 => Just(Codec::Zstd),
    ];
    let plan = (vec(record(), 1..5), codec, option::of(0_i64..3))
        .prop_map(|(records, codec, producer)| BatchPlan { records, codec, producer });
    vec(plan, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let part = || 0_i64..=1000;
    let isolation = prop_oneof![Just(Isolation::LogEnd), Just(Isolation::Committed)];
    prop_oneof![
        24 => batches().prop_map(Step::Append),
        6 => batches().prop_map(Step::Follow),
        3 => (0_i64..3).prop_map(|producer| Step::Repeat { producer }),
        2 => Just(Step::NewTerm),
        5 => Just(Step::Commit),
        8 => (part(), 0_usize..3_000, isolation)
            .prop_map(|(at, max_bytes, isolation)| Step::Fetch { at, max_bytes, isolation }),
        5 => (-10_000_i64..10_000).prop_map(|ahead_ms| Step::FindTime { ahead_ms }),
        4 => part().prop_map(|to| Step::Truncate { to }),
        1 => (-20_i64..20).prop_map(|ahead| Step::Restart { ahead }),
        3 => part().prop_map(|to| Step::Delete { to }),
        4 => (0_u64..50).prop_map(|minutes| Step::Later { minutes }),
        4 => Just(Step::Checkpoint),
        3 => Just(Step::Reopen),
        4 => Just(Step::Crash),
        3 => option::of(any::<u64>()).prop_map(|seed| Step::PowerCut { seed }),
    ]
}

fn config() -> impl Strategy<Value = LogConfig> {
    let durability = prop_oneof![Just(Durability::Durable), Just(Durability::Written)];
    let retention_bytes = prop_oneof![3 => Just(-1), 1 => 0_i64..6_000];
    let limits = (4_000_u64..9_000, 0_u32..600, prop_oneof![Just(10 << 20), 24_u32..100]);
    (limits, durability, retention_bytes, any::<bool>()).prop_map(
        |((segment_bytes, interval, index_bytes), durability, retention_bytes, preallocate)| {
            LogConfig::default()
                .segment_bytes(segment_bytes)
                .index_interval_bytes(interval)
                .segment_index_bytes(index_bytes)
                .segment_ms(600_000)
                .segment_jitter_ms(60_000)
                .retention_ms(RETENTION_MS)
                .retention_bytes(retention_bytes)
                .retention_check_interval(Duration::from_mins(5))
                .producer_id_expiration_ms(i64::MAX)
                .preallocate(preallocate)
                .durability(durability)
        },
    )
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    offset: Offset,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// A batch as it was appended, deleted ones included.
#[derive(Debug, Clone)]
struct Batch {
    records: Vec<Record>,
    /// Id and base sequence.
    producer: Option<(i64, i32)>,
}

impl Batch {
    fn base(&self) -> Offset {
        self.records[0].offset
    }

    fn end(&self) -> Offset {
        self.base() + self.records.len() as i64
    }
}

/// What the log should hold.
#[derive(Debug, Default)]
struct Model {
    batches: Vec<Batch>,
    start: Offset,
    end: Offset,
    epoch: i32,
}

impl Model {
    fn records(&self) -> impl Iterator<Item = &Record> {
        self.batches
            .iter()
            .flat_map(|batch| &batch.records)
            .filter(|record| record.offset >= self.start)
    }

    fn last_of(&self, producer: i64) -> Option<&Batch> {
        self.batches.iter().rev().find(|batch| batch.producer.is_some_and(|(id, _)| id == producer))
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let after = |batch: &Batch| batch.producer.unwrap().1 + batch.records.len() as i32;
        self.last_of(producer).map_or(0, after)
    }

    /// Drops whole batches, down to `offset`.
    fn truncate(&mut self, offset: Offset) {
        let spans = |batch: &&Batch| batch.base() < offset && batch.end() > offset;
        self.end = self.batches.iter().find(spans).map_or(offset, Batch::base);
        self.batches.retain(|batch| batch.end() <= offset);
        self.start = self.start.min(self.end);
    }
}

/// A log, its model, and where the two live.
struct Bench {
    disk: Option<ForgetfulDisk>,
    storage: Storage,
    root: PathBuf,
    config: LogConfig,
    clock: Arc<ManualClock>,
    open: Option<(Arc<LogDir>, PartitionLog)>,
    model: Model,
}

impl Bench {
    fn new(disk: Option<ForgetfulDisk>, root: &Path, config: LogConfig) -> Self {
        let storage = disk.as_ref().map_or_else(Storage::portable, ForgetfulDisk::storage);
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let (root, model) = (root.to_path_buf(), Model::default());
        let mut bench = Self { disk, storage, root, config, clock, open: None, model };
        bench.open();
        bench
    }

    fn open(&mut self) {
        let dir = LogDir::open(&self.storage, &self.root, CommitStrategy::default()).unwrap();
        let dir = Arc::new(dir);
        let partition = TopicPartition::new(TopicName::new("orders").unwrap(), 0);
        let (config, clock) = (self.config.clone(), self.clock.clone());
        let unrecovered = UnrecoveredLog::open(&dir, &partition, config, clock).unwrap();
        let (log, report) = unrecovered.recover().unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        self.open = Some((dir, log));
    }

    fn log(&self) -> &PartitionLog {
        &self.open.as_ref().expect("the log is open").1
    }

    fn dir(&self) -> &LogDir {
        &self.open.as_ref().expect("the log is open").0
    }

    /// Builds batches and enters them into the model, as if they were appended at its end.
    fn build(&mut self, plans: &[BatchPlan]) -> Vec<SealedBatch> {
        let mut sealed = Vec::new();
        for plan in plans {
            let mut settings = BatchSettings {
                compression: Compression { codec: plan.codec, level: None },
                ..BatchSettings::default()
            };
            let mut producer = None;
            if let Some(id) = plan.producer {
                let sequence = self.model.next_sequence(id);
                (settings.producer_id, settings.producer_epoch) = (id, 0);
                settings.base_sequence = sequence;
                producer = Some((id, sequence));
            }
            let mut records = Vec::new();
            for plan in &plan.records {
                let timestamp = self.clock.wall_ms() + plan.ahead_ms;
                let (key, value) = (plan.key.clone(), plan.value.clone());
                records.push(Record { offset: self.model.end, timestamp, key, value });
                self.model.end += 1;
            }
            sealed.push(encode(settings, &records));
            self.model.batches.push(Batch { records, producer });
        }
        sealed
    }

    fn append(&mut self, plans: &[BatchPlan]) {
        let epoch = self.model.epoch;
        let (bases, end) = self.appending(plans, |log, batches| log.append(batches, epoch));
        assert_eq!(end, self.model.end);
        let found: Vec<_> = self.model.batches.iter().map(Batch::base).collect();
        assert!(found.ends_with(&bases), "{bases:?}");
    }

    fn follow(&mut self, plans: &[BatchPlan]) {
        let (epoch, mut next) = (self.model.epoch, self.model.end);
        self.appending(plans, |log, batches| {
            let mut bytes = Vec::new();
            for mut batch in batches {
                batch.stamp(next, epoch);
                next = batch.header().next_offset();
                bytes.extend_from_slice(batch.bytes());
            }
            log.append_as_follower(&bytes)
        });
    }

    fn appending<E: std::fmt::Debug>(
        &mut self,
        plans: &[BatchPlan],
        append: impl FnOnce(&PartitionLog, Vec<SealedBatch>) -> Result<Appended, E>,
    ) -> (Vec<Offset>, Offset) {
        let batches = self.build(plans);
        let Appended { base_offsets, end, .. } = append(self.log(), batches).unwrap();
        (base_offsets, end.offset())
    }

    fn repeat(&self, producer: i64) {
        let Some(last) = self.model.last_of(producer) else { return };
        let (producer_id, base_sequence) = last.producer.unwrap();
        let settings = BatchSettings {
            producer_id,
            producer_epoch: 0,
            base_sequence,
            ..BatchSettings::default()
        };
        let again = encode(settings, &last.records);
        let appended = self.log().append(vec![again], self.model.epoch).unwrap();
        assert_eq!(
            (appended.base_offsets, appended.end.offset()),
            (vec![last.base()], self.model.end)
        );
    }

    fn fetch(&self, at: Part, max_bytes: usize, isolation: Isolation) -> TestCaseResult {
        let (start, end) = (self.model.start, self.model.end);
        let offset = of(start - 1..end + 1, at);
        let upper = match isolation {
            Isolation::LogEnd => end,
            _ => self.log().readable().get(),
        };
        let fetched = match self.log().fetch(offset, max_bytes, isolation) {
            Err(ReadError::OutOfRange { log_start, log_end, .. }) => {
                prop_assert_eq!((log_start, log_end), (start, end));
                prop_assert!(offset < start || offset > end);
                return Ok(());
            }
            other => other.unwrap(),
        };
        prop_assert!((start..=end).contains(&offset));
        let mut found = Vec::new();
        let mut decoder = Decoder::new();
        for batch in fetched.batches() {
            found.extend(decode(&batch.unwrap(), &mut decoder));
        }
        // Whole batches from the one that holds the offset on, below the upper bound.
        let whole = self.model.batches.iter().filter(|it| it.end() > offset && it.end() <= upper);
        let mut expected = whole.flat_map(|batch| batch.records.clone());
        let first = expected.next();
        prop_assert_eq!(found.first(), first.as_ref());
        prop_assert_eq!(
            &found[found.len().min(1)..],
            expected.take(found.len().saturating_sub(1)).collect::<Vec<_>>()
        );
        let is_over = fetched.bytes().len() > max_bytes;
        prop_assert!(!is_over || fetched.batches().count() == 1);
        Ok(())
    }

    fn find_time(&self, ahead_ms: i64) -> TestCaseResult {
        let asked = self.clock.wall_ms() + ahead_ms;
        let readable = self.log().readable().get();
        let first = self.model.records().find(|record| record.timestamp >= asked);
        let expected = first.filter(|record| record.offset < readable);
        let found = self.log().offset_for_timestamp(asked).unwrap();
        prop_assert_eq!(found, expected.map(|record| (record.timestamp, record.offset)));
        Ok(())
    }

    fn truncate(&mut self, to: Part) -> TestCaseResult {
        // To the very start it may be a restart, which forgets the producers.
        let offset = of(self.model.start + 1..self.model.end, to);
        if offset < self.model.end {
            self.model.truncate(offset);
            prop_assert_eq!(self.log().truncate_to(offset).unwrap(), self.model.end);
        }
        Ok(())
    }

    fn restart(&mut self, ahead: i64) {
        let offset = (self.model.end + ahead).max(0);
        self.log().restart_at(offset).unwrap();
        self.model.batches.clear();
        (self.model.start, self.model.end) = (offset, offset);
    }

    fn delete(&mut self, to: Part) -> TestCaseResult {
        let high = self.log().watermarks().high_watermark;
        let offset = of(self.model.start..high + 1, to).min(high);
        let start = self.log().delete_records_before(offset).unwrap();
        prop_assert_eq!(start, offset);
        self.model.start = start;
        Ok(())
    }

    /// What retention deletes has a reason, and nothing else changes.
    fn later(&mut self, minutes: u64) -> TestCaseResult {
        self.clock.advance(Duration::from_mins(minutes));
        self.log().step(self.clock.monotonic()).unwrap();
        let start = self.log().watermarks().log_start;
        prop_assert!(start >= self.model.start);
        if self.config.retention_bytes < 0 {
            let oldest = self.clock.wall_ms() - RETENTION_MS;
            let gone = self.model.records().filter(|record| record.offset < start);
            for record in gone {
                prop_assert!(record.timestamp < oldest, "too young to be deleted: {record:?}");
            }
        }
        self.model.start = start;
        Ok(())
    }

    fn close(&mut self) {
        let (dir, log) = self.open.take().expect("the log is open");
        assert_eq!(log.close().unwrap(), ClosedLog::Clean);
        dir.close().unwrap();
    }

    fn cut_power(&mut self, seed: Option<u64>) -> TestCaseResult {
        let Some(disk) = &self.disk else { return Ok(()) };
        let promised = self.log().watermarks().durable_end;
        let disk = disk.power_cut(seed.map_or(Loss::Everything, Loss::Random));
        self.open = None;
        self.storage = disk.storage();
        self.disk = Some(disk);
        self.open();
        let found = self.log().watermarks();
        prop_assert!((promised..=self.model.end).contains(&found.log_end), "{promised} {found:?}");
        if found.log_end < self.model.end {
            self.model.truncate(found.log_end);
            prop_assert_eq!(self.model.end, found.log_end);
        }
        Ok(())
    }

    fn perform(&mut self, step: &Step) -> TestCaseResult {
        match step {
            Step::Append(plans) => self.append(plans),
            Step::Follow(plans) => self.follow(plans),
            Step::Repeat { producer } => self.repeat(*producer),
            Step::NewTerm => self.model.epoch += 1,
            Step::Commit => {
                self.log().commit(self.model.end).unwrap();
                prop_assert_eq!(self.log().watermarks().durable_end, self.model.end);
            }
            Step::Fetch { at, max_bytes, isolation } => self.fetch(*at, *max_bytes, *isolation)?,
            Step::FindTime { ahead_ms } => self.find_time(*ahead_ms)?,
            Step::Truncate { to } => self.truncate(*to)?,
            Step::Restart { ahead } => self.restart(*ahead),
            Step::Delete { to } => self.delete(*to)?,
            Step::Later { minutes } => self.later(*minutes)?,
            Step::Checkpoint => {
                self.log().checkpoint().unwrap();
                self.dir().persist().unwrap();
            }
            Step::Reopen => {
                self.close();
                self.open();
            }
            Step::Crash => {
                self.open = None;
                self.open();
            }
            Step::PowerCut { seed } => self.cut_power(*seed)?,
        }
        Ok(())
    }

    /// Everything that can be read equals the model.
    fn check(&self) -> TestCaseResult {
        let marks = self.log().watermarks();
        prop_assert_eq!((marks.log_start, marks.log_end), (self.model.start, self.model.end));
        let (mut next, mut found) = (marks.log_start, Vec::new());
        let mut decoder = Decoder::new();
        while next < marks.log_end {
            let fetched = self.log().fetch(next, 1 << 20, Isolation::LogEnd).unwrap();
            prop_assert!(fetched.next_offset() > next, "nothing to read at {next}");
            for batch in fetched.batches() {
                let batch = batch.unwrap();
                let records = decode(&batch, &mut decoder);
                found.extend(records.into_iter().filter(|it| it.offset >= marks.log_start));
            }
            next = fetched.next_offset();
        }
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), self.model.records().collect::<Vec<_>>());
        Ok(())
    }
}

fn encode(settings: BatchSettings, records: &[Record]) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for Record { timestamp, key, value, .. } in records {
        let (timestamp, key, value) = (*timestamp, key.as_deref(), value.as_deref());
        builder.push(&NewRecord { timestamp, key, value, headers: &[] }).unwrap();
    }
    builder.seal(&mut Encoder::new()).unwrap()
}

fn decode(batch: &trunkline::record::Batch<'_>, decoder: &mut Decoder) -> Vec<Record> {
    let records = batch.records(decoder).unwrap();
    records
        .map(|record| {
            let record = record.unwrap();
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            Record { offset: record.offset, timestamp: record.timestamp, key, value }
        })
        .collect()
}

fn run(mut bench: Bench, script: &[Step]) -> TestCaseResult {
    for (number, step) in script.iter().enumerate() {
        let context = |error: TestCaseError| match error {
            TestCaseError::Fail(reason) => {
                TestCaseError::fail(format!("step {number}, {step:?}: {reason}"))
            }
            rejected @ TestCaseError::Reject(_) => rejected,
        };
        bench.perform(step).map_err(context)?;
        bench.check().map_err(context)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_was_appended_to_it(
        config in config(),
        script in vec(step(), 1..60),
    ) {
        run(Bench::new(Some(ForgetfulDisk::new()), Path::new("/data"), config), &script)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_log_on_the_machines_own_files_too(
        config in config(),
        script in vec(step(), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        run(Bench::new(None, &folder.path().join("data"), config), &script)?;
    }
}

/// The model agrees with itself: what it says of a truncation is what the log's rules say.
#[test]
fn the_model_cuts_whole_batches() {
    let mut model = Model::default();
    for base in [0, 3, 6] {
        let record = |offset| Record { offset, timestamp: 0, key: None, value: None };
        let records = (base..base + 3).map(record).collect();
        model.batches.push(Batch { records, producer: None });
    }
    model.end = 9;
    model.truncate(5);
    assert_eq!((model.start, model.end, model.records().count()), (0, 3, 3));
    model.start = 2;
    model.truncate(2);
    assert_eq!((model.start, model.end, model.records().count()), (0, 0, 0));
    assert_eq!(model.next_sequence(7), 0);
}
