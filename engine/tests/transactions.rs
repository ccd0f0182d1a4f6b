//! Transactions as a `read_committed` consumer sees them, against a model that knows of every batch
//! what became of its transaction. Producers are interleaved; some of their transactions stay open;
//! the log rolls, is cut, is deleted from the front, crashes, and is opened again.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};
use trunkline::{
    clock::{Clock, ManualClock},
    commit::Strategy as CommitStrategy,
    consumer::{AutoOffsetReset, Consumer, ConsumerOptions, IsolationLevel, Seek},
    io::{ForgetfulDisk, Storage},
    log::{
        ClosedLog, Isolation, LogConfig, LogDir, PartitionLog, ReadError, UnrecoveredLog,
        state::STATE_FILE,
    },
    record::{BatchBuilder, BatchSettings, Encoder, Marker, NewRecord, SealedBatch, control_batch},
    segment::SEALS_FILE,
    topic::{Topic, TopicConfig},
    types::{Offset, TopicId, TopicName, TopicPartition},
};

const ROOT: &str = "/data";
const NOW_MS: i64 = 1_700_000_000_000;
/// Transactional producers have the ids below, this one has none.
const PLAIN: i64 = 4;

/// A place in the log, in thousandths.
type Part = u16;

#[derive(Debug, Clone)]
enum Step {
    /// A batch, by a leader or by a follower.
    Append {
        producer: i64,
        records: usize,
        follows: bool,
    },
    End {
        producer: i64,
        marker: Marker,
        follows: bool,
    },
    Truncate(Part),
    /// Deletes records, and the segments that hold nothing else.
    Delete(Part),
    Checkpoint,
    Close,
    /// Closed, and without our own files: as Kafka leaves a folder.
    CloseAsKafka,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let marker = prop_oneof![Just(Marker::Abort), Just(Marker::Commit)];
    prop_oneof![
        12 => (0..=PLAIN, 1..4_usize, any::<bool>())
            .prop_map(|(producer, records, follows)| Step::Append { producer, records, follows }),
        6 => (0..PLAIN, marker, any::<bool>())
            .prop_map(|(producer, marker, follows)| Step::End { producer, marker, follows }),
        1 => (500..1000_u16).prop_map(Step::Truncate),
        1 => (0..600_u16).prop_map(Step::Delete),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Close),
        1 => Just(Step::CloseAsKafka),
        1 => Just(Step::Crash),
    ]
}

#[derive(Debug)]
struct Batch {
    producer: i64,
    base: Offset,
    records: usize,
    sequence: i32,
    /// Of a control batch.
    marker: Option<Marker>,
}

impl Batch {
    fn end(&self) -> Offset {
        self.base + self.records as Offset
    }
}

/// Every batch that was appended and not cut off, the deleted ones too.
#[derive(Debug, Default)]
struct Model {
    batches: Vec<Batch>,
    start: Offset,
    end: Offset,
}

impl Model {
    /// How the transaction of batch number `place` ended, if it did.
    fn fate(&self, place: usize) -> Option<Marker> {
        let of = self.batches[place].producer;
        let mut later = self.batches[place..].iter().filter(|batch| batch.producer == of);
        later.find_map(|batch| batch.marker)
    }

    fn is_open(&self, place: usize) -> bool {
        let batch = &self.batches[place];
        batch.producer != PLAIN && batch.marker.is_none() && self.fate(place).is_none()
    }

    /// The last stable offset, of all open transactions, or of those that have a record left: of the
    /// others a truncation may take the last that was known.
    fn stable_ends(&self) -> [Offset; 2] {
        let open = (0..self.batches.len()).filter(|place| self.is_open(*place));
        let open: Vec<_> = open.map(|place| &self.batches[place]).collect();
        let first = |from| {
            let left = open.iter().filter(|batch| batch.end() > from).map(|batch| batch.base);
            left.min().map_or(self.end, |base| base.max(self.start))
        };
        [first(0), first(self.start)]
    }

    /// Offsets of the committed records from `from` on, below `until`.
    fn committed(&self, from: Offset, until: Offset) -> Vec<Offset> {
        let given = |place: &usize| {
            let batch = &self.batches[*place];
            batch.marker.is_none()
                && (batch.producer == PLAIN || self.fate(*place) == Some(Marker::Commit))
        };
        let batches = (0..self.batches.len()).filter(given).map(|place| &self.batches[place]);
        let offsets = batches.flat_map(|batch| batch.base..batch.end());
        offsets.filter(|offset| (from..until).contains(offset)).collect()
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let mut of = self.batches.iter().filter(|it| it.producer == producer);
        let last = of.rfind(|batch| batch.marker.is_none());
        last.map_or(0, |last| last.sequence + last.records as i32)
    }

    fn truncate(&mut self, offset: Offset) {
        let spans = |batch: &&Batch| batch.base < offset && batch.end() > offset;
        self.end = self.batches.iter().find(spans).map_or(offset, |batch| batch.base);
        self.batches.retain(|batch| batch.end() <= offset);
    }
}

struct Bench {
    storage: Storage,
    clock: Arc<ManualClock>,
    open: Option<(Arc<LogDir>, Arc<PartitionLog>)>,
    model: Model,
}

impl Bench {
    fn new() -> Self {
        let (storage, clock) = (ForgetfulDisk::new().storage(), ManualClock::new(NOW_MS));
        let (clock, model) = (Arc::new(clock), Model::default());
        let mut bench = Self { storage, clock, open: None, model };
        bench.open();
        bench
    }

    fn open(&mut self) {
        let dir = LogDir::open(&self.storage, Path::new(ROOT), CommitStrategy::default()).unwrap();
        let dir = Arc::new(dir);
        let config =
            LogConfig::default().segment_bytes(500).index_interval_bytes(64).retention_ms(-1);
        let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
        let unrecovered = UnrecoveredLog::open(&dir, &partition, config, self.clock.clone());
        let (log, report) = unrecovered.unwrap().recover().unwrap();
        assert!(report.damage.is_empty() && report.cut.is_none(), "{report:?}");
        self.open = Some((dir, Arc::new(log)));
    }

    fn log(&self) -> &Arc<PartitionLog> {
        &self.open.as_ref().expect("the log is open").1
    }

    fn close(&mut self) {
        let (dir, log) = self.open.take().expect("the log is open");
        assert_eq!(log.close().unwrap(), ClosedLog::Clean);
        dir.close().unwrap();
    }

    fn perform(&mut self, step: &Step) {
        match step {
            Step::Append { producer, records, follows } => {
                let sequence = self.model.next_sequence(*producer);
                let mut settings = BatchSettings::default();
                if *producer != PLAIN {
                    (settings.producer_id, settings.producer_epoch) = (*producer, 0);
                    (settings.base_sequence, settings.transactional) = (sequence, true);
                }
                let batch = build(settings, self.model.end, *records);
                self.append(batch, *producer, *records, sequence, None, *follows);
            }
            Step::End { producer, marker, follows } => {
                let batch = control_batch(*marker, *producer, 0, 0, NOW_MS);
                self.append(batch, *producer, 1, 0, Some(*marker), *follows);
            }
            Step::Truncate(part) => {
                let (start, end) = (self.model.start, self.model.end);
                let offset = start + 1 + (end - start) * Offset::from(*part) / 1000;
                // At the start it would be a restart, which forgets the producers.
                if self.model.batches.iter().any(|it| it.end() > start && it.end() <= offset) {
                    self.model.truncate(offset.min(end));
                    assert_eq!(self.log().truncate_to(offset).unwrap(), self.model.end);
                }
            }
            Step::Delete(part) => {
                let (start, end) = (self.model.start, self.model.end);
                let offset = start + (end - start) * Offset::from(*part) / 1000;
                self.model.start = self.log().delete_records_before(offset).unwrap();
                assert_eq!(self.model.start, offset);
                self.log().step(self.clock.monotonic()).unwrap();
            }
            Step::Checkpoint => {
                self.log().checkpoint().unwrap();
                self.open.as_ref().expect("the log is open").0.persist().unwrap();
            }
            Step::Close => {
                self.close();
                self.open();
            }
            Step::CloseAsKafka => {
                let ours = self.log().path().join(SEALS_FILE);
                self.close();
                for path in [ours, Path::new(ROOT).join(STATE_FILE)] {
                    self.storage.remove_file(&path).unwrap();
                }
                self.open();
            }
            Step::Crash => {
                self.open = None;
                self.open();
            }
        }
    }

    fn append(
        &mut self,
        mut batch: SealedBatch,
        producer: i64,
        records: usize,
        sequence: i32,
        marker: Option<Marker>,
        follows: bool,
    ) {
        let base = self.model.end;
        let appended = if follows {
            batch.stamp(base, 1);
            self.log().append_as_follower(batch.bytes())
        } else {
            self.log().append(vec![batch], 1)
        };
        assert_eq!(appended.unwrap().base_offsets, [base]);
        self.model.batches.push(Batch { producer, base, records, sequence, marker });
        self.model.end = base + records as Offset;
        self.log().commit(self.model.end).unwrap();
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let log = self.log();
        let marks = log.watermarks();
        prop_assert_eq!((marks.log_start, marks.log_end), (self.model.start, self.model.end));
        let (until, ends) = (log.last_stable_offset(), self.model.stable_ends());
        prop_assert!(ends.contains(&until), "last stable offset {until}, expected of {ends:?}");
        for (options, from) in [
            (ConsumerOptions::new().max_partition_fetch_bytes(1), marks.log_start),
            (ConsumerOptions::new().max_poll_records(2), Offset::midpoint(marks.log_start, until)),
            (ConsumerOptions::new().max_partition_fetch_bytes(300), marks.log_start),
        ] {
            let (found, position) = consume(log, options, from);
            prop_assert_eq!(found, self.model.committed(from, until), "from {}", from);
            prop_assert_eq!(position, until);
        }
        let first = log.fetch(marks.log_start, 1, Isolation::Stable).unwrap().first_offset();
        log.aborted_transactions(first, until).unwrap();
        let below = log.aborted_transactions(-1, until);
        prop_assert!(matches!(below, Err(ReadError::OutOfRange { .. })), "{:?}", below);
        Ok(())
    }
}

fn build(settings: BatchSettings, base: Offset, records: usize) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for offset in base..base + records as Offset {
        let value = offset.to_string();
        let value = Some(value.as_bytes());
        let record = NewRecord { timestamp: NOW_MS + offset, value, ..Default::default() };
        builder.push(&record).unwrap();
    }
    builder.seal(&mut Encoder::new()).unwrap()
}

/// What a `read_committed` consumer reads from `from` on, and where it stands then.
fn consume(
    log: &Arc<PartitionLog>,
    options: ConsumerOptions,
    from: Offset,
) -> (Vec<Offset>, Offset) {
    let place = log.partition().clone();
    let (config, logs) = (TopicConfig::default(), vec![log.clone()]);
    let topic = Topic::new(place.topic.clone(), TopicId([1; 16]), 0, config, logs);
    let options =
        options.auto_offset_reset(AutoOffsetReset::None).isolation(IsolationLevel::ReadCommitted);
    let mut consumer = Consumer::new(options).unwrap();
    consumer.assign(&Arc::new(topic), 0).unwrap();
    consumer.seek(&place, Seek::Offset(from)).unwrap();
    let mut found = Vec::new();
    loop {
        let mut polled = consumer.poll(Duration::ZERO).unwrap();
        if polled.is_empty() {
            return (found, consumer.position(&place).unwrap());
        }
        while let Some(record) = polled.next_record().unwrap() {
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
            found.push(record.offset);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_read_committed_consumer_sees_what_was_committed(script in vec(step(), 1..70)) {
        let mut bench = Bench::new();
        for (number, step) in script.iter().enumerate() {
            bench.perform(step);
            bench.check().map_err(|error| {
                TestCaseError::fail(format!("step {number}, {step:?}: {error}"))
            })?;
        }
    }
}

/// The model hides, shows and holds back as it should.
#[test]
fn the_model_tells_the_three_fates_apart() {
    let mut model = Model::default();
    let fates = BTreeMap::from([(0, Some(Marker::Abort)), (1, Some(Marker::Commit)), (2, None)]);
    for producer in [0, 1, 2, PLAIN] {
        let (base, sequence) = (model.end, 0);
        model.batches.push(Batch { producer, base, records: 2, sequence, marker: None });
        model.end += 2;
    }
    for producer in [0, 1] {
        let (base, marker) = (model.end, fates[&producer]);
        model.batches.push(Batch { producer, base, records: 1, sequence: 0, marker });
        model.end += 1;
    }
    for (place, fate) in [(0, 0), (1, 1), (2, 2)] {
        assert_eq!(model.fate(place), fates[&fate]);
    }
    assert_eq!((model.stable_ends(), model.committed(0, 99)), ([4, 4], vec![2, 3, 6, 7]));
    model.truncate(9);
    assert_eq!((model.stable_ends(), model.committed(0, 99)), ([2, 2], vec![6, 7]));
}
