//! Corners where two things go wrong at once: what was acknowledged is there all the same.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::{
        Completion, Disk, Entry, Fault, FaultyDisk, ForgetfulDisk, Handle, Lock, Loss, Open,
        Operation, Pending, Storage, SyncKind, Verb,
    },
    log::{
        Isolation, LogConfig, LogDir, OnDamage, PartitionLog, RecoveryReport, UnrecoveredLog,
        checkpoint::LEADER_EPOCHS,
    },
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord, SealedBatch},
    segment::SEALS_FILE,
    types::{Offset, TopicName, TopicPartition},
};

const ROOT: &str = "/data";
const HOME: &str = "/data/t-0";
/// Bytes of a batch.
const BATCH: u64 = 73;

fn batch() -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let record = NewRecord { timestamp: 1, key: None, value: Some(b"value"), headers: &[] };
    builder.push(&record).unwrap();
    let batch = builder.seal(&mut Encoder::new()).unwrap();
    assert_eq!(batch.bytes().len() as u64, BATCH);
    batch
}

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(7 * BATCH)
}

fn open(storage: &Storage, config: LogConfig) -> (PartitionLog, Arc<LogDir>, RecoveryReport) {
    let dir = Arc::new(LogDir::open(storage, Path::new(ROOT), Strategy::SyncEach).unwrap());
    let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let log = UnrecoveredLog::open(&dir, &partition, config, clock).unwrap();
    let (log, report) = log.recover().unwrap();
    (log, dir, report)
}

fn append(log: &PartitionLog, batches: usize, term: i32) -> Result<Offset, String> {
    let batches = (0..batches).map(|_| batch()).collect();
    let end = log.append(batches, term).map_err(|error| error.to_string())?.end;
    log.commit(end).unwrap();
    Ok(end.offset())
}

/// What is read at each offset.
fn assert_readable(log: &PartitionLog, offsets: std::ops::Range<Offset>) {
    for offset in offsets {
        let fetched = log.fetch(offset, 1, Isolation::LogEnd);
        let fetched = fetched.unwrap_or_else(|error| panic!("offset {offset}: {error}"));
        assert_eq!(fetched.first_offset(), offset);
    }
}

/// The last entries of the old segment's index find the disk full, and the removal of the new segment's `.log` meets
/// EIO. The log takes smaller appends and rolls a little later; the empty segment stays between the two.
#[test]
fn a_roll_fails_and_so_does_its_clean_up() {
    let fill = |storage: &Storage| {
        let opened = open(storage, config().on_damage(OnDamage::Cut));
        for _ in 0..6 {
            append(&opened.0, 1, 0).unwrap();
        }
        opened
    };
    let sound = FaultyDisk::new(ForgetfulDisk::new());
    sound.keep_verbs();
    let opened = fill(&sound.storage());
    let before = sound.calls();
    append(&opened.0, 2, 0).unwrap();
    let verbs: Vec<_> = (1..).zip(sound.verbs()).filter(|(call, _)| *call > before).collect();
    let mut left_behind = 0;
    for (call, _) in verbs.iter().filter(|(_, verb)| *verb == Verb::Write) {
        let disk = FaultyDisk::new(ForgetfulDisk::new());
        let (log, dir, _) = fill(&disk.storage());
        disk.plan(*call, Fault::NoSpace);
        disk.plan(*call + 1, Fault::Io);
        if append(&log, 2, 0).is_ok() {
            continue;
        }
        let mut acknowledged = 6;
        for _ in 0..4 {
            acknowledged = append(&log, 1, 0).unwrap_or(acknowledged);
        }
        drop((log, dir));
        if disk.struck() == [(Verb::Write, Fault::NoSpace), (Verb::RemoveFile, Fault::Io)] {
            left_behind += 1;
        }
        // No power cut.
        let left = disk.below().kill();
        let (log, _dir, report) = open(&left.storage(), config().on_damage(OnDamage::Cut));
        let end = log.watermarks().log_end;
        assert!(end >= acknowledged, "call {call}: {acknowledged} acknowledged, {end}: {report:?}");
        assert_readable(&log, 0..acknowledged);
    }
    assert!(left_behind > 0);
}

/// Three segments: the one in the middle is empty and begins before the first one ends.
fn with_an_empty_segment_between() -> ForgetfulDisk {
    let disk = ForgetfulDisk::new();
    let (log, dir, _) = open(&disk.storage(), config());
    for _ in 0..10 {
        append(&log, 1, 0).unwrap();
    }
    drop((log, dir));
    let storage = disk.storage();
    let path = Path::new(HOME).join("00000000000000000003.log");
    storage.open(&path, Open::CreateNew).unwrap().sync(SyncKind::All).unwrap();
    storage.sync_dir(Path::new(HOME)).unwrap();
    disk.kill()
}

#[test]
fn an_empty_segment_between_others_hides_no_record() {
    let disk = with_an_empty_segment_between();
    let (log, _dir, _) = open(&disk.storage(), config());
    assert!(log.damage().is_empty());
    assert_readable(&log, 0..10);
    log.truncate_to(3).unwrap();
    append(&log, 6, 0).unwrap();
    append(&log, 2, 0).unwrap();
    assert_readable(&log, 0..11);
}

/// Another program's leader epochs that are behind its batches, beside a clean close: no leader may append with an
/// epoch below the last batch's.
#[test]
fn leader_epochs_of_another_program_that_are_behind_hide_no_record() {
    let disk = ForgetfulDisk::new();
    let (log, dir, _) = open(&disk.storage(), config());
    for _ in 0..4 {
        append(&log, 1, 1).unwrap();
    }
    log.close().unwrap();
    dir.close().unwrap();
    drop((log, dir));
    let storage = disk.storage();
    storage.remove_file(&Path::new(ROOT).join("trunkline-state")).unwrap();
    storage.remove_file(&Path::new(HOME).join(SEALS_FILE)).unwrap();
    storage.replace(&Path::new(HOME).join(LEADER_EPOCHS), b"0\n1\n0 0\n").unwrap();
    disk.settle();
    let disk = disk.kill();
    let (log, dir, report) = open(&disk.storage(), config());
    assert!(report.clean, "{report:?}");
    let acknowledged = append(&log, 1, 0).unwrap_or(4);
    drop((log, dir));
    let disk = disk.power_cut(Loss::Everything);
    let (log, _dir, _) = open(&disk.storage(), config());
    assert_readable(&log, 0..acknowledged);
}

/// A write of several batches comes to its first one, then meets EIO: what `pwritev` does that is short first.
#[derive(Debug)]
struct ShortThenEio {
    disk: ForgetfulDisk,
    is_armed: Arc<AtomicBool>,
}

/// The file is latched, so that what was half-written is not cut off; a later leader's append is refused, and its
/// term must not stand over the batch that a recovery then takes for one of the log.
#[test]
fn a_half_written_batch_of_an_older_term_stands_in_nobodys_way() {
    for before in [0, 2] {
        let disk = ForgetfulDisk::new();
        let is_armed = Arc::new(AtomicBool::new(false));
        let failing = ShortThenEio { disk: disk.clone(), is_armed: is_armed.clone() };
        let (log, dir, _) = open(&Storage::new(Arc::new(failing)), config());
        if before > 0 {
            append(&log, before, 0).unwrap();
        }
        is_armed.store(true, Ordering::SeqCst);
        append(&log, 2, 0).unwrap_err();
        append(&log, 1, 2).unwrap_err();
        drop((log, dir));
        let disk = disk.kill();
        let (log, _dir, report) = open(&disk.storage(), config());
        assert!(report.damage.is_empty() && log.damage().is_empty());
        let end = append(&log, 1, 2).unwrap();
        assert_readable(&log, 0..end);
    }
}

impl Disk for ShortThenEio {
    fn submit(&self, operations: Vec<Operation>) -> Pending {
        let one = |operation: Operation| match operation {
            Operation::Write { file, position, data }
                if data.len() > 1 && self.is_armed.swap(false, Ordering::SeqCst) =>
            {
                let part = vec![data[0].clone()];
                let _ = self.disk.submit(vec![Operation::Write { file, position, data: part }]);
                Completion { result: Err(io::Error::from_raw_os_error(5)), buffers: data }
            }
            other => self.disk.submit(vec![other]).wait().remove(0),
        };
        Pending::completed(operations.into_iter().map(one).collect())
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<Handle> {
        self.disk.open(path, how)
    }
    fn len(&self, file: &Handle) -> io::Result<u64> {
        self.disk.len(file)
    }
    fn set_len(&self, file: &Handle, len: u64) -> io::Result<()> {
        self.disk.set_len(file, len)
    }
    fn allocate(&self, file: &Handle, len: u64) -> io::Result<()> {
        self.disk.allocate(file, len)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }
}
