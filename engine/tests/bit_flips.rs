//! Bit rot: every bit of every file of a folder that we closed, of one that lost its clean-shutdown file and its
//! recovery points, and of one as Kafka closes it, flipped in turn. The folder is opened, read whole, looked up at every offset and timestamp, and appended to. Each answer is the one that
//! the sound folder gives, or a typed error that names the flipped file and a position in it.
//!
//! `TRUNKLINE_FLIP_STRIDE=n` takes every nth bit only.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use trunkline::{
    clock::{Clock, ManualClock},
    commit::Strategy,
    error::Corruption,
    io::{ForgetfulDisk, Open, Storage},
    log::{
        AppendError, DirError, Isolation, LogConfig, LogDir, OpenError, PartitionLog, ReadError,
        UnrecoveredLog,
        checkpoint::{
            CLEAN_SHUTDOWN, LEADER_EPOCHS, LOG_STARTS, RECOVERY_POINTS, read_offsets, write_offsets,
        },
        state::{LogStartConflict, STATE_FILE},
    },
    record::{
        BatchBuilder, BatchSettings, Codec, Compression, Encoder, Header, Marker, NewRecord,
        SealedBatch, control_batch,
    },
    segment::SEALS_FILE,
    types::{Offset, TopicName, TopicPartition},
};

const ROOT: &str = "/data";
/// No record is older.
const NOW_MS: i64 = 1_700_000_000_000;
const RETENTION_MS: i64 = 70;
/// After this time the first segments are too old.
const LATER: Duration = Duration::from_millis(140);
/// Id of the idempotent producer, whose last batch is sent again.
const IDEMPOTENT: i64 = 70;
const TRANSACTIONAL: i64 = 80;

#[test]
fn any_flipped_bit_of_a_closed_folder_gives_a_right_answer_or_a_typed_error() {
    let figures = flip_all(&sound_folder());
    println!("{figures}");
    assert!(figures.wrong.is_empty(), "{}", figures.wrong_answers());
    let kinds: Vec<_> = figures.kinds.keys().map(String::as_str).collect();
    for kind in [".log", ".index", ".timeindex", ".txnindex", ".snapshot", "trunkline-seals"] {
        assert!(kinds.contains(&kind), "{kind} is among {kinds:?}");
    }
    // The test of the tester: what no checksum hides must have been found.
    assert!(figures.kinds[".log"].at_read > 1000, "flips of a log are errors");
}

/// As after a crash before the first checkpoint: recovery reads every byte.
#[test]
fn any_flipped_bit_is_found_by_a_full_recovery_too() {
    let folder = sound_folder();
    let storage = folder.disk.storage();
    let checkpoint = Path::new(ROOT).join(RECOVERY_POINTS);
    let offsets = read_offsets(&storage, &checkpoint).unwrap().unwrap();
    let zeros = offsets.into_keys().map(|partition| (partition, 0)).collect();
    write_offsets(&storage, &checkpoint, &zeros).unwrap();
    storage.remove_file(&Path::new(ROOT).join(CLEAN_SHUTDOWN)).unwrap();
    let figures = flip_all(&Folder::with_files(folder.disk));
    println!("{figures}");
    assert!(figures.wrong.is_empty(), "{}", figures.wrong_answers());
    let log = &figures.kinds[".log"];
    assert!(log.at_read > 1000, "flips of a log are found");
    for kind in [".index", ".timeindex", ".txnindex", ".snapshot", SEALS_FILE, STATE_FILE] {
        assert!(figures.kinds[kind].flips > 0, "{kind} is among the files");
    }
}

/// As Kafka leaves a folder that it closed: nothing beside the logs has a checksum, but the producers'
/// snapshots. Nothing else says where the log starts, so the checkpoint of that is believed as it is.
#[test]
fn any_flipped_bit_of_a_folder_without_our_files_gives_a_right_answer_or_a_typed_error() {
    let folder = sound_folder();
    let storage = folder.disk.storage();
    storage.remove_file(&Path::new(ROOT).join(STATE_FILE)).unwrap();
    for partition in partitions() {
        let home = Path::new(ROOT).join(partition.to_string());
        storage.remove_file(&home.join(SEALS_FILE)).unwrap();
    }
    folder.disk.settle();
    let mut folder = Folder::with_files(folder.disk);
    folder.files.retain(|(path, _)| !path.ends_with(LOG_STARTS));
    let figures = flip_all(&folder);
    println!("{figures}");
    assert!(figures.wrong.is_empty(), "{}", figures.wrong_answers());
    let kinds: Vec<_> = figures.kinds.keys().map(String::as_str).collect();
    let log = &figures.kinds[".log"];
    assert!(
        log.at_read > 1000 && log.at_open == 0,
        "flips of a log are errors where they are read"
    );
    assert!(kinds.contains(&CLEAN_SHUTDOWN) && !kinds.contains(&STATE_FILE), "{kinds:?}");
}

/// A folder on a disk in memory, with what is known of it.
struct Folder {
    disk: ForgetfulDisk,
    /// Each file and its length.
    files: Vec<(PathBuf, u64)>,
}

impl Folder {
    fn with_files(disk: ForgetfulDisk) -> Self {
        let storage = disk.storage();
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::from(ROOT)];
        while let Some(folder) = folders.pop() {
            for entry in storage.list(&folder).unwrap() {
                let path = folder.join(&entry.name);
                if entry.is_dir { folders.push(path) } else { files.push((path, entry.len)) }
            }
        }
        Self { disk, files }
    }

    fn has(&self, name: &str) -> bool {
        self.files.iter().any(|(path, _)| path.ends_with(name))
    }
}

fn partitions() -> [TopicPartition; 2] {
    [0, 1].map(|number| TopicPartition::new(TopicName::new("t").unwrap(), number))
}

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(560).index_interval_bytes(1).retention_ms(RETENTION_MS)
}

/// Two partitions with several segments, terms of leaders, all codecs, an idempotent and a
/// transactional producer, deleted records; closed cleanly by us.
fn sound_folder() -> Folder {
    let disk = ForgetfulDisk::new();
    let dir = open_dir(&disk.storage()).unwrap();
    let [first, second] = partitions().map(|partition| open_log(&dir, &partition).unwrap());
    let mut encoder = Encoder::new();
    let mut plain = |codec: Codec, number: i64| {
        let compression = Compression::new(codec);
        batch(&mut encoder, BatchSettings { compression, ..Default::default() }, number)
    };
    for (number, codec) in Codec::ALL.into_iter().cycle().take(12).enumerate() {
        let epoch = [0, 0, 3, 3, 3, 4][number / 2];
        first.append(vec![plain(codec, number as i64)], epoch).unwrap();
    }
    let mut encoder = Encoder::new();
    for number in 0..14_i32 {
        let settings = BatchSettings {
            producer_id: if number % 3 == 0 { IDEMPOTENT } else { TRANSACTIONAL },
            producer_epoch: 0,
            base_sequence: if number % 3 == 0 {
                number / 3
            } else {
                number / 3 * 2 + number % 3 - 1
            } * 2,
            transactional: number % 3 > 0,
            ..BatchSettings::default()
        };
        second.append(vec![batch(&mut encoder, settings, number as i64)], 2 + number / 8).unwrap();
        if number % 4 == 2 {
            let marker = if number % 8 == 2 { Marker::Abort } else { Marker::Commit };
            let marker = control_batch(marker, TRANSACTIONAL, 0, 0, NOW_MS + number as i64);
            second.append(vec![marker], 2 + number / 8).unwrap();
        }
    }
    second.commit(second.watermarks().log_end).unwrap();
    second.delete_records_before(5).unwrap();
    for log in [first, second] {
        assert!(log.size().0 >= 3, "several segments");
        log.close().unwrap();
    }
    dir.close().unwrap();
    drop(dir);
    disk.settle();
    Folder::with_files(disk)
}

/// Two records, the second one younger than the first one of the next batch.
fn batch(encoder: &mut Encoder, settings: BatchSettings, number: i64) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for n in 0..2 {
        let value = format!("{number}{n}{number}{n}{number}{n}");
        let headers = [Header { name: "h", value: None }];
        let record = NewRecord {
            timestamp: NOW_MS + 10 * number + 15 * n,
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers: &headers[..n as usize],
        };
        builder.push(&record).unwrap();
    }
    builder.seal(encoder).unwrap()
}

fn open_dir(storage: &Storage) -> Result<Arc<LogDir>, DirError> {
    LogDir::open(storage, Path::new(ROOT), Strategy::SyncEach).map(Arc::new)
}

fn open_log(dir: &Arc<LogDir>, partition: &TopicPartition) -> Result<PartitionLog, OpenError> {
    open_at(dir, partition, &Arc::new(ManualClock::new(NOW_MS)))
}

fn open_at(
    dir: &Arc<LogDir>,
    partition: &TopicPartition,
    clock: &Arc<ManualClock>,
) -> Result<PartitionLog, OpenError> {
    let clock = clock.clone();
    let (log, report) = UnrecoveredLog::open(dir, partition, config(), clock)?.recover()?;
    assert!(report.cut.is_none(), "closed data is never cut: {report:?}");
    Ok(log)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Open,
    /// All batches, from the log start on.
    Whole,
    /// The batch that holds an offset.
    At(Offset),
    Time(i64),
    Aborted,
    Stable,
    /// The idempotent producer's last batch, once more.
    Repeat,
    /// A new batch.
    Append,
    /// What retention leaves, later.
    Retain,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Range(Offset, Offset),
    Batches(Vec<Vec<u8>>),
    Time(Option<(i64, Offset)>),
    Aborted(Vec<(i64, Offset, Offset)>),
    Offset(Offset),
    /// The log start. A damaged segment may stay for longer.
    Retained(Offset),
}

/// An error. `named` is the file and position that it names.
#[derive(Debug)]
struct Refusal {
    named: Option<(PathBuf, u64)>,
    text: String,
    /// What could be read before, where the question was for everything.
    before: Vec<Vec<u8>>,
}

impl Refusal {
    fn corrupt(corruption: &Corruption) -> Self {
        let named = Some((corruption.path.clone(), corruption.position));
        Self { named, text: corruption.to_string(), before: Vec::new() }
    }

    fn untyped(text: impl fmt::Display) -> Self {
        Self { named: None, text: text.to_string(), before: Vec::new() }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(corruption) => Self::corrupt(&corruption),
            other => Self::untyped(other),
        }
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Corrupt(corruption) => Self::corrupt(&corruption),
            OpenError::LogStart(conflict) => {
                let text = conflict.to_string();
                let LogStartConflict { path, position, .. } = conflict;
                Self { named: Some((path, position)), text, before: Vec::new() }
            }
            other @ (OpenError::Io(_) | OpenError::Config(_)) => Self::untyped(other),
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Damaged(corruption) => Self::corrupt(&corruption),
            other => Self::untyped(other),
        }
    }
}

type Answers = Vec<(Question, Result<Answer, Refusal>)>;

/// What a sound partition's batches are asked for.
#[derive(Debug)]
struct Sound {
    answers: BTreeMap<TopicPartition, Answers>,
    /// The batch to send again, and the leader's term.
    repeated: BTreeMap<TopicPartition, Option<SealedBatchBytes>>,
}

type SealedBatchBytes = Vec<u8>;

impl Sound {
    fn of(folder: &Folder) -> Self {
        let mut sound = Self { answers: BTreeMap::new(), repeated: BTreeMap::new() };
        for partition in partitions() {
            let disk = folder.disk.fork();
            let dir = open_dir(&disk.storage()).unwrap();
            let log = open_log(&dir, &partition).unwrap();
            let mut batches = Vec::new();
            let whole = read_whole(&log, &mut batches);
            assert!(whole.is_ok(), "{whole:?}");
            let log_start = log.watermarks().log_start;
            drop((log, dir));
            let repeated = batches.iter().rev().find(|bytes| {
                let batch = SealedBatch::check((*bytes).clone()).unwrap();
                batch.header().producer_id == IDEMPOTENT
            });
            sound.repeated.insert(partition.clone(), repeated.cloned());
            let questions = sound.questions(&partition, &batches, log_start);
            let answers = sound.ask(&disk.fork(), &partition, questions);
            for (question, answer) in &answers {
                assert!(answer.is_ok(), "{partition} {question:?}: {answer:?}");
            }
            sound.answers.insert(partition, answers);
        }
        sound
    }

    fn questions(
        &self,
        partition: &TopicPartition,
        batches: &[Vec<u8>],
        log_start: Offset,
    ) -> Vec<Question> {
        let mut questions = vec![Question::Open, Question::Whole];
        let mut times = Vec::new();
        for bytes in batches {
            let batch = SealedBatch::check(bytes.clone()).unwrap();
            let mut decoder = trunkline::record::Decoder::new();
            for record in batch.batch().records(&mut decoder).unwrap() {
                let record = record.unwrap();
                times.extend([record.timestamp, record.timestamp + 1]);
                if record.offset >= log_start {
                    questions.push(Question::At(record.offset));
                }
            }
        }
        times.sort_unstable();
        times.dedup();
        questions.extend(times.into_iter().map(Question::Time));
        questions.extend([Question::Aborted, Question::Stable]);
        if self.repeated[partition].is_some() {
            questions.push(Question::Repeat);
        }
        questions.extend([Question::Append, Question::Retain]);
        questions
    }

    /// Opens the folder on `disk` and asks. Where it does not open there is that one answer.
    fn ask(
        &self,
        disk: &ForgetfulDisk,
        partition: &TopicPartition,
        questions: impl IntoIterator<Item = Question>,
    ) -> Answers {
        let dir = match open_dir(&disk.storage()) {
            Ok(dir) => dir,
            Err(error) => return vec![(Question::Open, Err(Refusal::untyped(error)))],
        };
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let log = match open_at(&dir, partition, &clock) {
            Ok(log) => log,
            Err(error) => return vec![(Question::Open, Err(error.into()))],
        };
        let ask = |question| (question, self.answer(&log, &clock, question));
        questions.into_iter().map(ask).collect()
    }

    fn answer(
        &self,
        log: &PartitionLog,
        clock: &ManualClock,
        question: Question,
    ) -> Result<Answer, Refusal> {
        let marks = log.watermarks();
        match question {
            Question::Open => {
                assert_eq!(
                    (marks.high_watermark, marks.durable_end),
                    (marks.log_end, marks.log_end)
                );
                Ok(Answer::Range(marks.log_start, marks.log_end))
            }
            Question::Whole => {
                let mut batches = Vec::new();
                match read_whole(log, &mut batches) {
                    Ok(()) => Ok(Answer::Batches(batches)),
                    Err(refusal) => Err(Refusal { before: batches, ..refusal }),
                }
            }
            Question::At(offset) => {
                let fetched = log.fetch(offset, 1, Isolation::LogEnd)?;
                let batches: Result<Vec<_>, _> = fetched
                    .batches()
                    .map(|batch| batch.map(|batch| batch.bytes().to_vec()))
                    .collect();
                Ok(Answer::Batches(batches.map_err(|error| Refusal::corrupt(&error))?))
            }
            Question::Time(timestamp) => Ok(Answer::Time(log.offset_for_timestamp(timestamp)?)),
            Question::Aborted => {
                let found = log.aborted_transactions(marks.log_start, marks.log_end)?;
                let fields =
                    found.iter().map(|it| (it.producer_id, it.first_offset, it.last_offset));
                Ok(Answer::Aborted(fields.collect()))
            }
            Question::Stable => Ok(Answer::Offset(log.last_stable_offset())),
            Question::Repeat => {
                let bytes = self.repeated[log.partition()].clone().expect("it was asked for");
                let batch = SealedBatch::check(bytes).unwrap();
                let appended = log.append(vec![batch], 9)?;
                Ok(Answer::Range(appended.base_offsets[0], appended.end.offset()))
            }
            Question::Append => {
                let new = batch(&mut Encoder::new(), BatchSettings::default(), 99);
                let appended = log.append(vec![new], 9)?;
                let fetched = log.fetch(appended.base_offsets[0], 1, Isolation::LogEnd)?;
                assert_eq!(fetched.next_offset(), appended.end.offset());
                assert!(fetched.batches().all(|batch| batch.is_ok()));
                Ok(Answer::Range(appended.base_offsets[0], appended.end.offset()))
            }
            Question::Retain => {
                clock.advance(LATER);
                log.commit(marks.log_end).map_err(Refusal::untyped)?;
                log.step(clock.monotonic()).map_err(Refusal::untyped)?;
                Ok(Answer::Retained(log.watermarks().log_start))
            }
        }
    }
}

/// Everything from the log start to the log end, or to the first error.
fn read_whole(log: &PartitionLog, batches: &mut Vec<Vec<u8>>) -> Result<(), Refusal> {
    let marks = log.watermarks();
    let mut offset = marks.log_start;
    while offset < marks.log_end {
        let fetched = log.fetch(offset, 1 << 20, Isolation::Committed)?;
        for batch in fetched.batches() {
            batches.push(batch.map_err(|error| Refusal::corrupt(&error))?.bytes().to_vec());
        }
        if fetched.next_offset() <= offset {
            return Err(Refusal::untyped(format!("a fetch at {offset} gives nothing")));
        }
        offset = fetched.next_offset();
    }
    Ok(())
}

/// What came of the flips of one kind of file.
#[derive(Debug, Default)]
struct Figures {
    kinds: BTreeMap<String, OfKind>,
    wrong: Vec<String>,
}

#[derive(Debug, Default)]
struct OfKind {
    files: u64,
    bytes: u64,
    flips: u64,
    /// All answers right.
    right: u64,
    /// The folder did not open, with a typed error.
    at_open: u64,
    /// Some answers were typed errors.
    at_read: u64,
    /// Answers, right ones and refused ones.
    answers: u64,
    refused: u64,
}

impl Figures {
    fn add(&mut self, other: Self) {
        for (kind, other) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            sum.flips += other.flips;
            sum.right += other.right;
            sum.at_open += other.at_open;
            sum.at_read += other.at_read;
            sum.answers += other.answers;
            sum.refused += other.refused;
        }
        self.wrong.extend(other.wrong);
    }

    fn wrong_answers(&self) -> String {
        // One of each bit: what follows from it is the same again.
        let mut shown: Vec<_> = self.wrong.iter().map(String::as_str).collect();
        shown.dedup_by_key(|text| text.split(" (").next());
        shown.truncate(30);
        format!("{} wrong:\n  {}", self.wrong.len(), shown.join("\n  "))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:34} {:>5} {:>6} {:>7} {:>7} {:>8} {:>8} {:>9} {:>8}",
            "file", "files", "bytes", "flips", "right", "at open", "at read", "answers", "refused"
        )?;
        for (kind, of) in &self.kinds {
            let OfKind { files, bytes, flips, right, at_open, at_read, answers, refused } = of;
            writeln!(
                f,
                "{kind:34} {files:>5} {bytes:>6} {flips:>7} {right:>7} {at_open:>8} {at_read:>8} \
                 {answers:>9} {refused:>8}"
            )?;
        }
        let sum = |of: fn(&OfKind) -> u64| self.kinds.values().map(of).sum::<u64>();
        let (bytes, flips, right) = (sum(|of| of.bytes), sum(|of| of.flips), sum(|of| of.right));
        let (refused, wrong) = (sum(|of| of.at_open + of.at_read), self.wrong.len());
        writeln!(
            f,
            "{bytes} bytes, {flips} flips: {right} answered right, {refused} refused with a typed \
             error, {wrong} wrong"
        )
    }
}

/// The extension of a segment's file, the name of any other.
fn kind_of(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    match name.split_once('.') {
        Some((digits, kind)) if digits.len() == 20 => format!(".{kind}"),
        _ => name.to_owned(),
    }
}

fn flip_all(folder: &Folder) -> Figures {
    let sound = Sound::of(folder);
    let stride = std::env::var("TRUNKLINE_FLIP_STRIDE").map_or(1, |text| text.parse().unwrap());
    let mut figures = Figures::default();
    let mut flips = Vec::new();
    for (file, (path, len)) in folder.files.iter().enumerate() {
        let of = figures.kinds.entry(kind_of(path)).or_default();
        (of.files, of.bytes) = (of.files + 1, of.bytes + len);
        flips.extend((0..len * 8).map(|bit| (file, bit)));
    }
    let flips: Vec<_> = flips.into_iter().step_by(stride).collect();
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(figures);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut figures = Figures::default();
                while let Some((file, bit)) = flips.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = &folder.files[*file].0;
                    flip(folder, &sound, path, *bit, &mut figures);
                }
                sum.lock().unwrap().add(figures);
            });
        }
    });
    let mut figures = sum.into_inner().unwrap();
    figures.wrong.sort();
    figures
}

/// Flips one bit, asks, and judges the answers.
fn flip(folder: &Folder, sound: &Sound, path: &Path, bit: u64, figures: &mut Figures) {
    let of = figures.kinds.entry(kind_of(path)).or_default();
    of.flips += 1;
    let (mut opened, mut refused) = (true, 0);
    for (partition, expected) in &sound.answers {
        let home = path.parent().unwrap();
        if home != Path::new(ROOT) && !home.ends_with(partition.to_string()) {
            continue;
        }
        let disk = folder.disk.fork();
        let questions = expected.iter().map(|(question, _)| *question);
        let asked = catch_unwind(AssertUnwindSafe(|| {
            let file = disk.storage().open(path, Open::Write).unwrap();
            let mut byte = file.read_exact_at(bit / 8, 1).unwrap();
            byte[0] ^= 1 << (bit % 8);
            file.write_at(bit / 8, byte).unwrap();
            sound.ask(&disk, partition, questions)
        }));
        let answers = match asked {
            Ok(answers) => answers,
            Err(panic) => {
                let words = words_of(&*panic);
                figures.wrong.push(format!("{} bit {bit}: panic: {words}", path.display()));
                continue;
            }
        };
        of.answers += answers.len() as u64;
        for ((question, found), (_, expected)) in answers.iter().zip(expected) {
            let expected = expected.as_ref().expect("a sound folder answers");
            match judge(path, folder.has(STATE_FILE), expected, found) {
                Ok(is_error) => refused += u64::from(is_error),
                Err(what) => figures.wrong.push(format!(
                    "{} byte {} bit {} ({partition}): {question:?}: {what}",
                    path.display(),
                    bit / 8,
                    bit % 8
                )),
            }
        }
        opened &= !matches!(answers[..], [(Question::Open, Err(_))]);
    }
    of.refused += refused;
    of.right += u64::from(refused == 0);
    of.at_open += u64::from(!opened);
    of.at_read += u64::from(opened && refused > 0);
}

/// Whether the answer is an error, or why it is neither right nor a good error. Where our state does
/// not vouch for the leader epochs, the batches that contradict them are as suspect as they are.
fn judge(
    flipped: &Path,
    has_state: bool,
    expected: &Answer,
    found: &Result<Answer, Refusal>,
) -> Result<bool, String> {
    let refusal = match found {
        Ok(answer) if answer == expected => return Ok(false),
        Ok(Answer::Retained(found)) if matches!(expected, Answer::Retained(most) if found <= most) =>
        {
            return Ok(false);
        }
        Ok(answer) => return Err(format!("expected {expected:?}, found {answer:?}")),
        Err(refusal) => refusal,
    };
    if let Answer::Batches(batches) = expected
        && !batches.starts_with(&refusal.before)
    {
        return Err(format!("wrong batches before the error: {}", refusal.text));
    }
    match &refusal.named {
        Some((path, _)) if path != flipped && (has_state || !flipped.ends_with(LEADER_EPOCHS)) => {
            Err(format!("names another file: {}", refusal.text))
        }
        Some((path, _)) if !refusal.text.contains(path.to_str().unwrap()) => {
            Err(format!("does not show its file: {}", refusal.text))
        }
        Some(_) => Ok(true),
        None => Err(format!("not a typed corruption: {}", refusal.text)),
    }
}

fn words_of(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}
