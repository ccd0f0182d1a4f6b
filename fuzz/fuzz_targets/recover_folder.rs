//! A log dir with any bytes in its files, as they are or with their checksums put right: recovery gives
//! a log that can be read, changed and appended to, or a typed error; and what it gave is there after the
//! power went, the process was killed or the log was closed.
#![no_main]

use std::{path::Path, sync::Arc};

use libfuzzer_sys::fuzz_target;
use trunkline::{
    clock::{Clock, ManualClock},
    commit::Strategy,
    io::{ForgetfulDisk, Open},
    log::{
        ClosedLog, Isolation, LogConfig, LogDir, OnDamage, PartitionLog, RecoveryReport,
        UnrecoveredLog,
    },
    record::{BatchBuilder, BatchSettings, Decoder, Encoder, NewRecord},
    types::{Durability, Offset, TopicName, TopicPartition},
};
use trunkline_fuzz::{FolderSettings, files, right_the_file};

const ROOT: &str = "/data";

// Settings and a change in three bytes, then files (`trunkline_fuzz::files`).
fuzz_target!(|input: &[u8]| {
    let Some((settings, input)) = FolderSettings::split_from(input) else { return };
    let disk = ForgetfulDisk::new();
    put(&disk, input, &settings);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let Ok(opened) = Opened::recover(&disk, &settings, &clock) else { return };
    opened.check_report(&settings);
    opened.change(&settings);
    let Opened { log, dir, .. } = &opened;
    let mut expected = read(log, 0);
    let is_sound = expected.bytes == Some(bytes_of_logs(&disk)) && expected.are_markers_sound;
    let Some(appended) = append(log) else { return };
    expected.batches.push(appended);
    let closed = settings.closes() && log.close().expect("the disk has room") == ClosedLog::Clean;
    if closed {
        dir.close().expect("the disk has room");
    }
    drop(opened);
    let disk = match settings.loss() {
        Some(loss) => disk.power_cut(loss),
        None => disk.kill(),
    };
    let again = Opened::recover(&disk, &settings, &clock);
    // A right checksum over a batch that contradicts the files beside it is no accident, and may hide others;
    // nor is one over a file of ours that the log contradicts.
    if is_sound && !settings.rights_ours() {
        let again = again.unwrap_or_else(|error| panic!("once recovered, then refused: {error}"));
        assert_eq!(again.report.damage, [], "what was recovered is sound");
        assert_eq!(read(&again.log, 0).batches, expected.batches, "and is there, and no more");
    }
});

fn put(disk: &ForgetfulDisk, input: &[u8], settings: &FolderSettings) {
    let storage = disk.storage();
    let root = Path::new(ROOT);
    storage.create_dir_all(&root.join("t-0")).expect("an empty disk takes a folder");
    for (name, bytes) in files(input) {
        let mut bytes = bytes.to_vec();
        if settings.rights() && (settings.rights_ours() || !name.contains("trunkline-")) {
            right_the_file(name, &mut bytes);
        }
        let file = storage.open(&root.join(name), Open::Create).expect("opens");
        file.set_len(0).expect("cuts");
        file.write_at(0, bytes).expect("writes");
    }
    disk.settle();
}

/// A log and its folder.
struct Opened {
    log: PartitionLog,
    report: RecoveryReport,
    dir: Arc<LogDir>,
    clock: Arc<ManualClock>,
}

impl Opened {
    /// The text says why not.
    fn recover(
        disk: &ForgetfulDisk,
        settings: &FolderSettings,
        clock: &Arc<ManualClock>,
    ) -> Result<Self, String> {
        let config = LogConfig::default()
            .segment_bytes(400)
            .index_interval_bytes(if settings.is_dense() { 1 } else { 4096 })
            .compacted(settings.is_compacted())
            .durability(if settings.is_written() {
                Durability::Written
            } else {
                Durability::Durable
            })
            .retention_ms(-1)
            .on_damage(if settings.cuts_damage() { OnDamage::Cut } else { OnDamage::Refuse });
        let partition = TopicPartition::new(TopicName::new("t").expect("a valid name"), 0);
        let clock = clock.clone();
        let dir = LogDir::open(&disk.storage(), Path::new(ROOT), Strategy::SyncEach)
            .map_err(|error| error.to_string())?;
        let dir = Arc::new(dir);
        let log = UnrecoveredLog::open(&dir, &partition, config, clock.clone());
        let recovered = log.and_then(UnrecoveredLog::recover);
        let (log, report) = recovered.map_err(|error| error.to_string())?;
        Ok(Self { log, report, dir, clock })
    }

    /// What was checked and not called damaged can be read.
    fn check_report(&self, settings: &FolderSettings) {
        let Self { log, report, .. } = self;
        let marks = log.watermarks();
        assert_eq!((marks.log_start, marks.log_end), (report.log_start, report.log_end));
        assert!(marks.log_start <= marks.high_watermark && marks.high_watermark <= marks.log_end);
        let checked_from = report.checked_from.max(report.log_start);
        if report.damage.is_empty() && !report.clean && checked_from < report.log_end {
            // What was not checked may be damaged, and hide what stands behind it: a batch that says it holds
            // later offsets too.
            if read(log, 0).reached < checked_from {
                return;
            }
            let all = read(log, checked_from);
            let is_well = match (&all.bytes, &all.error) {
                (Some(_), _) => true,
                // No checksum covers a batch's leader epoch: that of one batch alone is left to who reads it.
                (None, Some(error)) => error.contains("leader epoch"),
                // Where offsets may be missing, the last ones may be.
                (None, None) => settings.is_compacted(),
            };
            assert!(is_well, "checked, not damaged, and not readable: {:?} {report:?}", all.error);
        }
    }

    /// Something that changes the log, well done or refused.
    fn change(&self, settings: &FolderSettings) {
        let Self { log, dir, clock, .. } = self;
        let before = log.watermarks();
        let at = before.log_start.saturating_add(settings.distance());
        match settings.change() {
            1 => drop(log.checkpoint().is_ok() && dir.persist().is_ok()),
            2 => {
                if let Ok(end) = log.truncate_to(at) {
                    assert!(end <= at.max(before.log_end) && end == log.watermarks().log_end);
                }
            }
            3 => {
                if let Ok(start) = log.delete_records_before(at) {
                    assert_eq!(start, log.watermarks().log_start);
                }
            }
            4 => {
                if log.restart_at(at).is_ok() {
                    let marks = log.watermarks();
                    assert_eq!((marks.log_start, marks.log_end), (at, at));
                }
            }
            5 => {
                if log.cut_damage().is_ok() {
                    assert!(log.damage().is_empty());
                }
            }
            6 => drop(log.step(clock.monotonic()).is_ok()),
            _ => {}
        }
        let marks = log.watermarks();
        assert!(marks.log_start <= marks.high_watermark && marks.high_watermark <= marks.log_end);
    }
}

/// What a log holds from some offset on.
struct Contents {
    /// Base offset and checksum of each batch, as far as it goes.
    batches: Vec<(Offset, u32)>,
    /// Bytes of all batches, if all of them can be read.
    bytes: Option<u64>,
    /// Whether the control batches say what they end: a producers' snapshot spares an open to look.
    are_markers_sound: bool,
    /// Where it ended.
    reached: Offset,
    /// Why not, if there is an error.
    error: Option<String>,
}

impl Contents {
    fn stopped_by(self, error: Option<String>) -> Self {
        Self { error, ..self }
    }
}

fn read(log: &PartitionLog, from: Offset) -> Contents {
    let marks = log.watermarks();
    let mut offset = marks.log_start.max(from);
    let mut contents = Contents {
        batches: Vec::new(),
        bytes: None,
        are_markers_sound: true,
        reached: offset,
        error: None,
    };
    let (mut bytes, mut decoder) = (0, Decoder::new());
    while offset < marks.log_end {
        let fetched = match log.fetch(offset, 1 << 20, Isolation::LogEnd) {
            Ok(fetched) if !fetched.is_empty() => fetched,
            stopped => return contents.stopped_by(stopped.err().map(|error| error.to_string())),
        };
        for batch in fetched.batches() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return contents.stopped_by(Some(error.to_string())),
            };
            bytes += batch.bytes().len() as u64;
            contents.are_markers_sound &=
                !batch.header().attributes.is_control() || batch.marker(&mut decoder).is_ok();
            contents.batches.push((batch.header().base_offset, batch.header().crc));
        }
        assert!(fetched.next_offset() > offset, "a fetch goes on");
        offset = fetched.next_offset();
        contents.reached = offset;
    }
    contents.bytes = (offset == marks.log_end).then_some(bytes);
    contents
}

fn bytes_of_logs(disk: &ForgetfulDisk) -> u64 {
    let files = disk.storage().list(&Path::new(ROOT).join("t-0")).expect("it is there");
    let is_log = |name: &str| name.ends_with(".log");
    files.iter().filter(|file| file.name.to_str().is_some_and(is_log)).map(|file| file.len).sum()
}

/// Base offset and checksum of a batch that is appended and durable.
fn append(log: &PartitionLog) -> Option<(Offset, u32)> {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    builder.push(&NewRecord { value: Some(b"after"), ..NewRecord::default() }).expect("fits");
    let batch = builder.seal(&mut Encoder::new()).expect("seals");
    let crc = batch.header().crc;
    let epoch = log.leader_epochs().latest().map_or(0, |latest| latest.epoch);
    let log_end = log.watermarks().log_end;
    let appended = log.append(vec![batch], epoch).ok()?;
    assert_eq!(appended.base_offsets, [log_end]);
    log.commit(appended.end).expect("commits");
    Some((log_end, crc))
}
