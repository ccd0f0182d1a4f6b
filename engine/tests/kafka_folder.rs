//! A folder that Apache Kafka closed (`tests/interop`), opened as the engine opens any: read to the
//! last record, looked up by time, appended to, closed and opened again; as after a clean stop, as
//! after a crash, and with everything gone that can be had from the logs again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    consumer::{AutoOffsetReset, Consumer, ConsumerOptions, IsolationLevel},
    io::Storage,
    log::{
        ClosedLog, Isolation, LogConfig, LogDir, PartitionLog, ReadError, RecoveryReport,
        UnrecoveredLog,
        producers::{ProducerStates, snapshot_offsets, snapshot_path},
    },
    record::{
        BatchBuilder, BatchSettings, Codec, Compression, Decoder, Encoder, Header, Marker,
        NewRecord, Record, SealedBatch, TimestampType,
    },
    segment::TxnIndex,
    topic::{Topic, TopicConfig},
    types::{Offset, TopicId, TopicPartition},
};

/// The wall clock of these tests: a minute after the folder's own.
const NOW_MS: i64 = 1_700_000_060_000;

/// How the copy of the folder looks before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// As Kafka left it.
    Clean,
    /// Without the clean-shutdown marker.
    Crashed,
    /// Logs, the log starts and the topic ids only: all else follows from them.
    Bare,
}

#[test]
fn a_folder_that_kafka_closed_is_read_whole() {
    every_partition(Left::Clean);
}

#[test]
fn a_folder_that_kafka_did_not_close_is_read_whole() {
    every_partition(Left::Crashed);
}

#[test]
fn a_folder_of_bare_logs_is_read_whole() {
    every_partition(Left::Bare);
}

/// Kafka promises what it wrote to the page cache: after a crash even a segment before others may be torn.
#[test]
fn a_torn_segment_of_a_crashed_kafka_is_no_acknowledged_data() {
    let copy = copy_of_the_folder(Left::Bare);
    let partition = TopicPartition::from_folder("segments-0").unwrap();
    let dir = copy.path().join("segments-0");
    let first = &logs_of(&dir)[0];
    let mut bytes = fs::read(first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0);
    fs::write(first, bytes).unwrap();
    let folder = Folder::open(copy.path());
    let (log, report) = &folder.logs[&partition];
    assert_eq!(log.durability(), trunkline::types::Durability::Durable);
    let cut = report.cut.as_ref().unwrap_or_else(|| panic!("{report:?}"));
    assert!(report.damage.is_empty() && !cut.kept_aside.is_empty(), "{report:?}");
    append_each_codec(log);
    folder.close();
    assert!(Folder::open(copy.path()).logs[&partition].1.clean);
}

fn logs_of(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    logs
}

fn every_partition(left: Left) {
    let copy = copy_of_the_folder(left);
    let expected = expected();
    let mut records = 0;
    let folder = Folder::open(copy.path());
    assert_eq!(folder.dir.was_closed_cleanly(), left == Left::Clean);
    assert_eq!(folder.logs.len(), 10);
    for (partition, (log, report)) in &folder.logs {
        assert_eq!(report.clean, left == Left::Clean, "{partition}");
        assert!(report.cut.is_none() && report.damage.is_empty(), "{partition}: {report:?}");
        assert!(report.rebuilt.is_empty(), "{partition}: {report:?}");
        let expected = expected_of(&expected, partition, log.watermarks().log_start);
        assert_reads(log, &expected);
        assert_times(log);
        records += expected.len();
    }
    folder.close();
    assert_kafkas_own_files_again(copy.path());
    let folder = Folder::open(copy.path());
    assert!(folder.logs.values().all(|(_, report)| report.clean));
    println!("{left:?}: {} partitions, {records} records as expected", folder.logs.len());
}

#[test]
fn transactions_are_as_kafka_left_them() {
    for left in [Left::Clean, Left::Crashed, Left::Bare] {
        let copy = copy_of_the_folder(left);
        let folder = Folder::open(copy.path());
        for (partition, (log, _)) in &folder.logs {
            let stored = kafkas_snapshot(partition);
            let open = stored.first_unstable_offset().unwrap_or(log.watermarks().high_watermark);
            assert_eq!(log.last_stable_offset(), open, "{left:?} {partition}");
            let stable = last_offset_read(log, Isolation::Stable);
            assert_eq!(stable, open, "{left:?} {partition}");
        }
        folder.close();
        let storage = Storage::portable();
        for (partition, dir) in folders(copy.path()) {
            let end = *snapshot_offsets(&storage, &dir).unwrap().last().unwrap();
            let ours = ProducerStates::load(&storage, &dir, end, NOW_MS).unwrap().unwrap();
            assert_eq!(
                ours.to_bytes(),
                kafkas_snapshot(&partition).to_bytes(),
                "{left:?} {partition}: producers at {end}"
            );
        }
    }
}

/// As Kafka's consumer, with `isolation.level` `read_committed`.
#[test]
fn a_read_committed_consumer_reads_what_was_committed() {
    for left in [Left::Clean, Left::Crashed, Left::Bare] {
        let copy = copy_of_the_folder(left);
        let folder = Folder::open(copy.path());
        let (mut given, mut aborted) = (0, 0);
        for (partition, (log, _)) in &folder.logs {
            let fates = Fates::of(log);
            let position = fates.open.unwrap_or(log.watermarks().log_end);
            for max_bytes in [1, 700, 1 << 20] {
                let found = consume(log, max_bytes);
                assert_eq!(found, (fates.given.clone(), position), "{left:?} {partition}");
            }
            (given, aborted) = (given + fates.given.len(), aborted + fates.aborted);
        }
        assert!(given > 100 && aborted > 1, "{given} given, {aborted} aborted");
    }
}

/// What became of a log's records, as its batches and markers say it.
struct Fates {
    /// Offsets of the records that are given, below the first open transaction.
    given: Vec<Offset>,
    aborted: usize,
    /// First offset of an open transaction.
    open: Option<Offset>,
}

impl Fates {
    fn of(log: &PartitionLog) -> Self {
        let (start, mut aborted) = (log.watermarks().log_start, 0);
        // Offsets of the records of each open transaction.
        let mut under_way: BTreeMap<i64, Vec<Offset>> = BTreeMap::new();
        let mut given = Vec::new();
        let (mut next, mut decoder) = (start, Decoder::new());
        while next < log.watermarks().log_end {
            let fetched = log.fetch(next, 1 << 20, Isolation::LogEnd).unwrap();
            next = fetched.next_offset();
            for batch in fetched.batches() {
                let batch = batch.unwrap();
                let (header, producer) = (batch.header(), batch.header().producer_id);
                if header.attributes.is_control() {
                    let records = under_way.remove(&producer).unwrap_or_default();
                    match batch.marker(&mut decoder).unwrap().map(|marker| marker.kind) {
                        Some(Marker::Commit) => given.extend(records),
                        Some(Marker::Abort) => aborted += records.len(),
                        None => assert!(records.is_empty(), "a marker was compacted away"),
                    }
                    continue;
                }
                let records = batch.records(&mut decoder).unwrap();
                let offsets =
                    records.map(|record| record.unwrap().offset).filter(|it| *it >= start);
                if header.attributes.is_transactional() {
                    under_way.entry(producer).or_default().extend(offsets);
                } else {
                    given.extend(offsets);
                }
            }
        }
        let open = under_way.values().filter_map(|records| records.first()).min().copied();
        given.retain(|offset| open.is_none_or(|open| *offset < open));
        given.sort_unstable();
        Self { given, aborted, open }
    }
}

/// Offsets of the records that a `read_committed` consumer is given, and its position then.
fn consume(log: &Arc<PartitionLog>, max_bytes: usize) -> (Vec<Offset>, Offset) {
    let partition = log.partition().clone();
    let name = partition.topic.clone();
    let topic = Topic::new(name, TopicId([1; 16]), 0, TopicConfig::default(), vec![log.clone()]);
    let options = ConsumerOptions::new()
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .isolation(IsolationLevel::ReadCommitted)
        .max_partition_fetch_bytes(max_bytes);
    let mut consumer = Consumer::new(options).unwrap();
    consumer.assign(&Arc::new(topic), partition.partition).unwrap();
    let mut found = Vec::new();
    loop {
        let mut polled = consumer.poll(Duration::ZERO).unwrap();
        if polled.is_empty() {
            return (found, consumer.position(&partition).unwrap());
        }
        polled.for_each(|record| found.push(record.offset)).unwrap();
    }
}

#[test]
fn appends_to_kafkas_folder_are_there_after_a_reopen() {
    let copy = copy_of_the_folder(Left::Clean);
    let mut expected = expected();
    let folder = Folder::open(copy.path());
    let mut starts = BTreeMap::new();
    for (partition, (log, _)) in &folder.logs {
        let appended = append_each_codec(log);
        expected.entry(partition.to_string()).or_default().extend(appended);
        starts.insert(partition.clone(), log.watermarks().log_start);
        let end = log.watermarks().log_end;
        log.commit(end).unwrap();
        assert_eq!(log.watermarks().durable_end, end);
        assert_reads(log, &expected_of(&expected, partition, starts[partition]));
        assert_times(log);
    }
    // Once closed, once left as a crash leaves it; both times everything is there.
    folder.close();
    let folder = Folder::open(copy.path());
    for (partition, (log, report)) in &folder.logs {
        assert!(report.clean, "{partition}: {report:?}");
        assert_reads(log, &expected_of(&expected, partition, starts[partition]));
        assert_times(log);
        let appended = append_each_codec(log);
        expected.entry(partition.to_string()).or_default().extend(appended);
        log.commit(log.watermarks().log_end).unwrap();
    }
    drop(folder);
    let folder = Folder::open(copy.path());
    for (partition, (log, report)) in &folder.logs {
        assert!(!report.clean && report.cut.is_none(), "{partition}: {report:?}");
        assert!(report.damage.is_empty() && report.rebuilt.is_empty(), "{partition}: {report:?}");
        assert_reads(log, &expected_of(&expected, partition, starts[partition]));
        assert_times(log);
    }
}

/// An open log dir with every partition of it.
struct Folder {
    dir: Arc<LogDir>,
    logs: BTreeMap<TopicPartition, (Arc<PartitionLog>, RecoveryReport)>,
}

impl Folder {
    fn open(path: &Path) -> Self {
        let storage = Storage::portable();
        let dir = Arc::new(LogDir::open(&storage, path, Strategy::SyncEach).unwrap());
        assert!(dir.damaged().is_empty(), "{:?}", dir.damaged());
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let open = |partition: TopicPartition| {
            let config = config(&partition);
            let log = UnrecoveredLog::open(&dir, &partition, config, clock.clone()).unwrap();
            let (log, report) = log.recover().unwrap();
            (partition, (Arc::new(log), report))
        };
        let logs = folders(path).into_keys().map(open).collect();
        Self { dir, logs }
    }

    fn close(self) {
        for (log, _) in self.logs.values() {
            assert_eq!(log.close().unwrap(), ClosedLog::Clean);
        }
        self.dir.close().unwrap();
    }
}

/// The settings that the folder's topics had (`Fixtures.java`).
fn config(partition: &TopicPartition) -> LogConfig {
    let appended = partition.topic.as_str() == "append-time";
    LogConfig::default()
        .compacted(partition.topic.as_str() == "compacted")
        .timestamp_type(if appended {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        })
        .index_interval_bytes(256)
        .retention_ms(-1)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/fixtures")
}

fn folders(root: &Path) -> BTreeMap<TopicPartition, PathBuf> {
    fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            Some((TopicPartition::from_folder(path.file_name()?.to_str()?)?, path.clone()))
        })
        .collect()
}

fn copy_of_the_folder(left: Left) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&fixtures().join("kafka-folder"), copy.path());
    if left != Left::Clean {
        fs::remove_file(copy.path().join(".kafka_cleanshutdown")).unwrap();
    }
    if left == Left::Bare {
        fs::remove_file(copy.path().join("recovery-point-offset-checkpoint")).unwrap();
        fs::remove_file(copy.path().join("replication-offset-checkpoint")).unwrap();
        for dir in folders(copy.path()).values() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let keep = path.extension().is_some_and(|kind| kind == "log" || kind == "metadata");
                if !keep {
                    fs::remove_file(path).unwrap();
                }
            }
        }
    }
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The lines of `expected.jsonl`, by partition.
type Lines = BTreeMap<String, Vec<Value>>;

fn expected() -> Lines {
    let mut lines = Lines::new();
    for line in fs::read_to_string(fixtures().join("expected.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let partition = format!("{}-{}", line["topic"].as_str().unwrap(), line["partition"]);
        lines.entry(partition).or_default().push(line);
    }
    lines
}

fn expected_of(lines: &Lines, partition: &TopicPartition, log_start: Offset) -> Vec<Value> {
    let of_partition = lines[&partition.to_string()].iter();
    of_partition.filter(|line| line["offset"].as_i64() >= Some(log_start)).cloned().collect()
}

/// Reads a log from its start, with fetches of several sizes and from every offset.
fn assert_reads(log: &PartitionLog, expected: &[Value]) {
    let partition = log.partition();
    for max_bytes in [1, 700, usize::MAX / 2] {
        let found = read(log, max_bytes);
        assert_eq!(found.len(), expected.len(), "{partition}: records");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found, expected, "{partition}");
        }
    }
    let marks = log.watermarks();
    for offset in marks.log_start..marks.log_end {
        let fetched = log.fetch(offset, 1, Isolation::LogEnd).unwrap();
        assert!(fetched.next_offset() > offset, "{partition} at {offset}");
        let batch = fetched.batches().next().unwrap().unwrap();
        assert!(batch.header().last_offset() >= offset, "{partition} at {offset}");
        let skips = batch.header().base_offset > offset;
        assert!(!skips || log.config().compacted, "{partition} at {offset}");
    }
    for outside in [marks.log_start - 1, marks.log_end + 1] {
        let refused = log.fetch(outside, 1, Isolation::LogEnd);
        assert!(matches!(refused, Err(ReadError::OutOfRange { .. })), "{partition} at {outside}");
    }
    assert!(log.fetch(marks.log_end, 1, Isolation::LogEnd).unwrap().is_empty());
}

fn read(log: &PartitionLog, max_bytes: usize) -> Vec<Value> {
    let partition = log.partition();
    let mut found = Vec::new();
    each_record(log, max_bytes, |record, is_control| {
        if !is_control {
            found.push(line_of(partition, record));
        }
    });
    found
}

/// Every record from the log start on, control records too.
fn each_record(log: &PartitionLog, max_bytes: usize, mut on: impl FnMut(&Record<'_>, bool)) {
    let marks = log.watermarks();
    let mut decoder = Decoder::new();
    let mut offset = marks.log_start;
    while offset < marks.log_end {
        let fetched = log.fetch(offset, max_bytes, Isolation::LogEnd).unwrap();
        for batch in fetched.batches() {
            let batch = batch.unwrap();
            for record in batch.records(&mut decoder).unwrap() {
                let record = record.unwrap();
                if record.offset >= offset {
                    on(&record, batch.header().attributes.is_control());
                }
            }
        }
        assert!(fetched.next_offset() > offset);
        offset = fetched.next_offset();
    }
    assert_eq!(offset, marks.log_end);
}

fn line_of(partition: &TopicPartition, record: &Record<'_>) -> Value {
    let headers: Vec<Value> = record
        .headers()
        .map(|header| json!([String::from_utf8_lossy(header.name), hex(header.value)]))
        .collect();
    json!({
        "topic": partition.topic.as_str(), "partition": partition.partition,
        "offset": record.offset, "timestamp": record.timestamp,
        "key": hex(record.key), "value": hex(record.value), "headers": headers,
    })
}

fn hex(bytes: Option<&[u8]>) -> Option<String> {
    use std::fmt::Write as _;
    bytes.map(|bytes| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    })
}

/// The first record at or behind the log start whose timestamp is not smaller, for every timestamp
/// there is and its neighbours.
fn assert_times(log: &PartitionLog) {
    let mut records = Vec::new();
    each_record(log, 1 << 20, |record, _| records.push((record.timestamp, record.offset)));
    let mut asked: Vec<i64> = records.iter().flat_map(|(at, _)| [at - 1, *at, at + 1]).collect();
    asked.extend([i64::MIN, -1, 0, i64::MAX]);
    asked.sort_unstable();
    asked.dedup();
    for timestamp in asked {
        let expected = records.iter().find(|(at, _)| *at >= timestamp).copied();
        let found = log.offset_for_timestamp(timestamp).unwrap();
        assert_eq!(found, expected, "{}: timestamp {timestamp}", log.partition());
    }
}

fn last_offset_read(log: &PartitionLog, isolation: Isolation) -> Offset {
    let mut offset = log.watermarks().log_start;
    loop {
        let fetched = log.fetch(offset, 1000, isolation).unwrap();
        if fetched.is_empty() {
            return offset;
        }
        offset = fetched.next_offset();
    }
}

/// The producers' state that Kafka stored when it closed the partition.
fn kafkas_snapshot(partition: &TopicPartition) -> ProducerStates {
    let storage = Storage::portable();
    let dir = fixtures().join("kafka-folder").join(partition.to_string());
    let end = *snapshot_offsets(&storage, &dir).unwrap().last().unwrap();
    assert!(snapshot_path(&dir, end).exists());
    ProducerStates::load(&storage, &dir, end, NOW_MS).unwrap().unwrap()
}

/// What we left beside the logs says what Kafka's files said: indexes of the same transactions, the
/// same epochs, logs not changed by a byte.
fn assert_kafkas_own_files_again(root: &Path) {
    for (partition, theirs) in folders(&fixtures().join("kafka-folder")) {
        let ours = root.join(partition.to_string());
        for entry in fs::read_dir(&theirs).unwrap() {
            let name = entry.unwrap().file_name();
            let (before, after) = (theirs.join(&name), ours.join(&name));
            let kind = before.extension().and_then(|kind| kind.to_str()).unwrap_or("");
            if matches!(kind, "log" | "metadata") || kind.is_empty() {
                assert_eq!(
                    fs::read(&before).unwrap(),
                    fs::read(&after).unwrap(),
                    "{}",
                    after.display()
                );
            }
            if kind == "txnindex" && partition.topic.as_str() != "compacted" {
                assert_eq!(transactions(&before), transactions(&after), "{}", after.display());
            }
        }
    }
}

fn transactions(path: &Path) -> Vec<(i64, Offset, Offset, Offset)> {
    let index = TxnIndex::decode(path, 0, &fs::read(path).unwrap_or_default()).unwrap();
    let fields = index
        .iter()
        .map(|it| (it.producer_id, it.first_offset, it.last_offset, it.last_stable_offset));
    fields.collect()
}

/// Appends a batch of each codec in a new leader's term; gives the lines that must be read.
fn append_each_codec(log: &PartitionLog) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut encoder = Encoder::new();
    let epoch = log.leader_epochs().latest().map_or(0, |latest| latest.epoch + 1);
    let mut next = log.watermarks().log_end;
    let mut batches: Vec<SealedBatch> = Vec::new();
    for codec in Codec::ALL {
        let compression = Compression::new(codec);
        let settings = BatchSettings { compression, ..BatchSettings::default() };
        let mut builder = BatchBuilder::new(Vec::new(), settings);
        for n in 0..5_i64 {
            let value = format!("{codec} {n} of {} ", log.partition()).repeat(20);
            let timestamp = NOW_MS - 7 * n;
            let headers =
                [Header { name: "n", value: Some(b"\x00") }, Header { name: "", value: None }];
            builder
                .push(&NewRecord {
                    timestamp,
                    key: (n != 2).then_some(b"key"),
                    value: (n != 3).then_some(value.as_bytes()),
                    headers: &headers,
                })
                .unwrap();
            let appended = log.config().timestamp_type == TimestampType::LogAppendTime;
            lines.push(json!({
                "topic": log.partition().topic.as_str(), "partition": log.partition().partition,
                "offset": next, "timestamp": if appended { NOW_MS } else { timestamp },
                "key": hex((n != 2).then_some(b"key")),
                "value": hex((n != 3).then_some(value.as_bytes())),
                "headers": json!([["n", "00"], ["", null]]),
            }));
            next += 1;
        }
        batches.push(builder.seal(&mut encoder).unwrap());
    }
    let appended = log.append(batches, epoch).unwrap();
    assert_eq!(appended.end.offset(), next);
    assert_eq!(appended.base_offsets.len(), Codec::ALL.len());
    lines
}
