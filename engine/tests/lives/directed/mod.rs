//! Stories: each plays one mistake through that a storage engine is known to have made, with a planted
//! bug (`trunkline::twins`) that makes the same mistake here. `docs/TESTING.md` has the table: the bug
//! elsewhere, the story, its twin.

mod consumers;
mod devices;
mod indexes;
mod producers;
mod segments;
mod terms;

use std::{path::Path, sync::Arc};

use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    engine::Engine,
    io::{ForgetfulDisk, Loss, Open, Storage},
    log::{Isolation, LogConfig, LogDir, PartitionLog, RecoveryReport, UnrecoveredLog},
    options::{EngineOptions, Housekeeping},
    record::{BatchBuilder, BatchSettings, Encoder, Marker, NewRecord, SealedBatch, control_batch},
    segment::SEALS_FILE,
    types::{LeaderEpoch, Offset, TopicName, TopicPartition},
};

/// A story: its name, and what goes wrong in it, if it does.
pub(crate) type Story = (&'static str, fn() -> Result<(), String>);

/// All of them.
pub(crate) const ALL: [Story; 30] = [
    ("an index names other batches", indexes::an_index_names_other_batches),
    ("the index reaches the device before the log", indexes::the_index_is_ahead_of_the_log),
    ("an index is torn and holds zeros", indexes::an_index_is_torn_and_holds_zeros),
    ("a log goes on behind its last index entry", indexes::a_log_goes_on_behind_its_index),
    ("aborted transactions are made anew", indexes::aborted_transactions_are_made_anew),
    (
        "a process is killed and the power goes behind its recovery",
        indexes::the_power_goes_behind_a_recovery,
    ),
    ("a short log is put right again", indexes::a_short_log_is_put_right),
    ("damage stands beside an aborted transaction", indexes::damage_beside_an_aborted_transaction),
    ("two batches change places", segments::two_batches_change_places),
    ("reserved space stands before the next segment", segments::reserved_space_is_a_hole),
    ("the power goes in the middle of a roll", segments::the_power_goes_at_a_roll),
    ("a checkpoint speaks of what is not durable", segments::a_checkpoint_is_early),
    ("the power goes in the middle of a truncation", segments::the_power_goes_at_a_truncation),
    ("a sync fails at a roll", devices::a_sync_fails_at_a_roll),
    ("a sync fails and the next one succeeds", devices::the_sync_after_a_failed_one_succeeds),
    ("a flush for many files fails", devices::a_flush_fails),
    ("prepared space is cut off", devices::prepared_space_is_cut_off),
    ("a device is slow and records keep coming", devices::records_keep_coming),
    ("the power goes when a term begins", terms::the_power_goes_when_a_term_begins),
    (
        "a truncation is killed and the power goes behind it",
        terms::the_power_goes_behind_a_truncation_that_was_killed,
    ),
    ("a term fails to begin", terms::a_term_fails_to_begin),
    ("the leader epochs are damaged", terms::the_leader_epochs_are_damaged),
    ("a follower parts from its leader", terms::a_follower_parts_from_its_leader),
    ("a leader comes back from a pause", terms::a_leader_comes_back_from_a_pause),
    ("a process is killed and its producer repeats", producers::a_send_is_repeated_after_a_kill),
    ("a buffer is used again for another topic", producers::a_buffer_is_used_again),
    ("a consumer's position is deleted", consumers::a_position_is_gone),
    ("a consumer takes batches in parts", consumers::batches_are_taken_in_parts),
    ("a consumer reads partitions that differ", consumers::partitions_differ),
    ("a consumer meets a damaged batch", consumers::a_batch_is_damaged),
];

/// As the others, but it takes a moment and much memory: only with its own twin.
pub(crate) const HEAVY: Story =
    ("a device is slow and a log keeps appending", devices::a_log_keeps_appending);

#[test]
fn every_story_ends_well() {
    for (name, tell) in ALL.into_iter().chain([HEAVY]) {
        assert_eq!(tell(), Ok(()), "{name}");
    }
}

const ROOT: &str = "/data";
const HOME: &str = "/data/t-0";

fn config() -> LogConfig {
    // The stories know what each batch takes.
    LogConfig::default()
        .segment_bytes(400)
        .index_interval_bytes(1)
        .retention_ms(-1)
        .prepare_bytes(0)
}

/// An engine that does nothing of its own accord.
fn engine_on(storage: &Storage) -> Result<Engine, String> {
    let options = EngineOptions::new(ROOT)
        .storage(storage.clone())
        .housekeeping(Housekeeping::Manual)
        .recovery_threads(1);
    Engine::open(options).map_err(words)
}

/// An open log, alone in its log dir.
struct Opened {
    log: PartitionLog,
    dir: Arc<LogDir>,
    report: RecoveryReport,
}

fn open(storage: &Storage) -> Result<Opened, String> {
    open_with(storage, config())
}

fn open_with(storage: &Storage, config: LogConfig) -> Result<Opened, String> {
    let dir = LogDir::open(storage, Path::new(ROOT), Strategy::SyncEach).map_err(words)?;
    let dir = Arc::new(dir);
    let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let log = UnrecoveredLog::open(&dir, &partition, config, clock);
    let (log, report) = log.and_then(UnrecoveredLog::recover).map_err(words)?;
    Ok(Opened { log, dir, report })
}

impl Opened {
    /// Appends a batch of one record for each timestamp; gives the log end.
    fn write(
        &self,
        timestamps: impl IntoIterator<Item = i64>,
        term: LeaderEpoch,
    ) -> Result<Offset, String> {
        let mut end = self.log.watermarks().log_end;
        for timestamp in timestamps {
            let appended = self.log.append(vec![batch(timestamp)], term).map_err(words)?;
            end = appended.end.offset();
        }
        Ok(end)
    }

    /// As [`Opened::write`], in the first leader's term, and durable.
    fn append(&self, timestamps: impl IntoIterator<Item = i64>) -> Result<Offset, String> {
        let end = self.write(timestamps, 0)?;
        self.log.commit(end).map_err(words)?;
        Ok(end)
    }

    /// Timestamps of the records from the log start on, or the typed error that stands in their way.
    fn read(&self) -> Result<Vec<i64>, String> {
        let mut found = Vec::new();
        let marks = self.log.watermarks();
        let mut offset = marks.log_start;
        while offset < marks.log_end {
            let fetched = self.log.fetch(offset, 250, Isolation::LogEnd).map_err(words)?;
            for batch in fetched.batches() {
                found.push(batch.map_err(words)?.header().base_timestamp);
            }
            offset = fetched.next_offset();
        }
        Ok(found)
    }

    /// The log holds the records with these timestamps, and nothing was made anew or is damaged.
    fn expect(&self, timestamps: impl IntoIterator<Item = i64>, when: &str) -> Result<(), String> {
        let (expected, found) = (timestamps.into_iter().collect::<Vec<_>>(), self.read());
        if found.as_ref() != Ok(&expected) {
            return Err(format!("{when}: expected {expected:?}, found {found:?}"));
        }
        let (report, damaged) = (&self.report, self.dir.damaged());
        if !(report.rebuilt.is_empty() && report.damage.is_empty() && damaged.is_empty()) {
            return Err(format!("{when}: {report:?}, {damaged:?}"));
        }
        Ok(())
    }

    /// The aborted transactions: the offset of the first record, and of the marker.
    fn aborted(&self) -> Result<Vec<(Offset, Offset)>, String> {
        let end = self.log.watermarks().log_end;
        let found = self.log.aborted_transactions(0, end).map_err(words)?;
        Ok(found.iter().map(|it| (it.first_offset, it.last_offset)).collect())
    }

    fn close(self) -> Result<(), String> {
        self.log.close().map_err(words)?;
        self.dir.close().map_err(words)
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A batch of one record, of 100 bytes whatever its timestamp is.
fn batch(timestamp: i64) -> SealedBatch {
    batch_of(timestamp, format!("{timestamp:032}").as_bytes(), BatchSettings::default())
}

fn batch_of(timestamp: i64, value: &[u8], settings: BatchSettings) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    let record = NewRecord { timestamp, key: None, value: Some(value), headers: &[] };
    builder.push(&record).unwrap();
    builder.seal(&mut Encoder::new()).unwrap()
}

/// A transaction of one batch, and the marker that aborts it.
fn aborted(base_sequence: i32) -> [SealedBatch; 2] {
    const PRODUCER: i64 = 7;
    let transactional = BatchSettings {
        producer_id: PRODUCER,
        producer_epoch: 0,
        base_sequence,
        transactional: true,
        ..BatchSettings::default()
    };
    let marker = control_batch(Marker::Abort, PRODUCER, 0, 0, 3);
    [batch_of(2, b"aborted", transactional), marker]
}

/// What is left of `disk` when the power goes: nothing of what was not synced, and some of it, by page
/// and by sector.
fn cuts(disk: &ForgetfulDisk) -> impl Iterator<Item = ForgetfulDisk> {
    let some = |seed| [Loss::Random(seed), Loss::Sectors(seed)];
    let losses = [Loss::Everything].into_iter().chain((0..3).flat_map(some));
    losses.map(|loss| disk.fork().power_cut(loss))
}

/// Plays `scene` again and again on a copy of `disk`, with the power going off after each number of
/// operations in turn, until it is over before that. What is left is for `check`, with what the scene
/// gave, and whether it was over.
fn at_every_operation<T>(
    disk: &ForgetfulDisk,
    scene: impl Fn(&Storage) -> T,
    mut check: impl FnMut(&ForgetfulDisk, &T, bool) -> Result<(), String>,
) -> Result<(), String> {
    for operations in 0.. {
        let disk = disk.fork();
        disk.power_off_after(operations);
        let given = scene(&disk.storage());
        let is_over = disk.storage().list(Path::new("/")).is_ok();
        for left in cuts(&disk) {
            let checked = check(&left, &given, is_over);
            checked.map_err(|what| format!("power off after {operations} operations: {what}"))?;
        }
        if is_over {
            break;
        }
    }
    Ok(())
}

/// A log with `records` records that another program closed, as far as one can tell.
fn closed_by_another(config: LogConfig, records: i64) -> Result<ForgetfulDisk, String> {
    let disk = ForgetfulDisk::new();
    let opened = open_with(&disk.storage(), config)?;
    opened.append(1..=records)?;
    opened.close()?;
    let storage = disk.storage();
    storage.remove_file(&Path::new(ROOT).join("trunkline-state")).unwrap();
    storage.remove_file(&Path::new(HOME).join(SEALS_FILE)).unwrap();
    Ok(disk.fork())
}

/// Replaces the bytes of a file in the partition's folder.
fn change(disk: &ForgetfulDisk, name: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let path = Path::new(HOME).join(name);
    let file = disk.storage().open(&path, Open::Write).unwrap();
    let len = file.len().unwrap() as usize;
    let bytes = change(file.read_at(0, len).unwrap());
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
}
