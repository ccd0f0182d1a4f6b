//! Opening a partition: what a clean close left is believed, what a crash left is checked from the
//! recovery point on (`ARCHITECTURE.md`: recovery judges by what was
//! promised; the order is that of Kafka's `LogLoader`).

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    LeaderEpochs, LogConfig, LogDir, LogMetrics, OpenError, PartitionLog, Writer, WriterState,
    folder::Folder,
    producers::ProducerStates,
    state::{PartitionState, StartState},
    tail::Tail,
};
use crate::{
    clock::Clock,
    commit::{CommitFile, Watermarks},
    error::Corruption,
    io::{Storage, SyncKind},
    segment::{
        ActiveSegment, Seals, Segment, SegmentError, SegmentOptions, SegmentSet, Suffix, Trust,
        file_path,
    },
    sync::{ArcSwap, Mutex},
    types::{Offset, TopicPartition},
};

/// A partition's folder before it was looked at.
#[derive(Debug)]
pub struct UnrecoveredLog {
    pub(super) dir: Arc<LogDir>,
    pub(super) partition: TopicPartition,
    pub(super) path: PathBuf,
    pub(super) config: LogConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) start: StartState,
    /// Below, everything was durable when the folder was left, as far as is known.
    pub(super) durable_end: Offset,
    pub(super) options: SegmentOptions,
}

/// What recovery found and did.
#[derive(Debug, Clone)]
pub struct RecoveryReport {
    /// The partition.
    pub partition: TopicPartition,
    /// Whether the folder was as a clean close leaves it, so that nothing was checked.
    pub clean: bool,
    /// Segments, the one that is appended to included.
    pub segments: usize,
    /// First offset that can be read.
    pub log_start: Offset,
    /// Offset of the next record.
    pub log_end: Offset,
    /// Offset from which batches were checked.
    pub checked_from: Offset,
    /// Bytes of log that were read and checked.
    pub checked_bytes: u64,
    /// What was cut off.
    pub cut: Option<Cut>,
    /// Acknowledged data that is damaged; appends are refused while there is any.
    pub damage: Vec<DamagedRange>,
    /// Damage in records that were deleted already: it is gone.
    pub deleted_damage: Vec<DamagedRange>,
    /// Files beside the log that could not be believed and were made anew.
    pub rebuilt: Vec<Corruption>,
}

/// A part of the log that was cut off.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Why it could not stay.
    pub cause: Corruption,
    /// The log ends before this offset now.
    pub offset: Offset,
    /// Bytes that were cut off.
    pub bytes: u64,
    /// Where they are kept, when valid batches were among them.
    pub kept_aside: Vec<PathBuf>,
}

/// A range of the log that holds no valid batch, with valid ones behind it or acknowledged data in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRange {
    /// What is wrong, with file and position.
    pub corruption: Corruption,
    /// Base offset of the segment.
    pub segment: Offset,
    /// First byte of the range.
    pub position: u64,
    /// First offset that cannot be read.
    pub offset: Offset,
    /// Byte and offset at which valid batches go on in this segment.
    pub resumes_at: Option<(u64, Offset)>,
}

/// The segments as recovery leaves them, and what it learnt on the way.
pub(super) struct Recovered {
    pub(super) sealed: Vec<Arc<Segment>>,
    pub(super) active: ActiveSegment,
    pub(super) cut: Option<Cut>,
    pub(super) damage: Vec<DamagedRange>,
    /// Damage that deleted records alone have.
    pub(super) buried: Vec<DamagedRange>,
    pub(super) checked_from: Offset,
    pub(super) checked_bytes: u64,
}

impl Recovered {
    /// Segments of which nothing had to be checked.
    fn whole(sealed: Vec<Arc<Segment>>, active: ActiveSegment, checked_from: Offset) -> Self {
        let (damage, buried, checked_bytes) = (Vec::new(), Vec::new(), 0);
        Self { sealed, active, cut: None, damage, buried, checked_from, checked_bytes }
    }

    /// Every place where no valid batch stands, oldest first.
    pub(super) fn all_damage(&self) -> Vec<DamagedRange> {
        self.buried.iter().chain(&self.damage).cloned().collect()
    }
}

/// What a recovered log is made of.
struct Parts {
    marks: Watermarks,
    set: SegmentSet,
    epochs: LeaderEpochs,
    producers: ProducerStates,
    seals: Seals,
    active: ActiveSegment,
    damage: Vec<DamagedRange>,
}

impl UnrecoveredLog {
    /// The folder of `partition` in `dir`, made when absent, durably. Nothing is read yet.
    pub fn open(
        dir: &Arc<LogDir>,
        partition: &TopicPartition,
        config: LogConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        config.validate()?;
        let path = dir.path().join(partition.to_string());
        let storage = dir.storage();
        storage.create_dir_all(&path)?;
        let options = SegmentOptions {
            index_interval_bytes: config.index_interval_bytes,
            max_index_bytes: config.segment_index_bytes,
            preallocate: config.preallocate.then_some(config.segment_bytes),
            prepare_bytes: config.prepares(),
            gaps_allowed: config.compacted,
            ..SegmentOptions::default()
        };
        let start = dir.start_state(partition)?;
        let durable_end = start.durable_end();
        let (dir, partition) = (dir.clone(), partition.clone());
        Ok(Self { dir, partition, path, config, clock, start, durable_end, options })
    }

    /// Loads what a clean close left, or checks what a crash left from the recovery point on.
    pub fn recover(mut self) -> Result<(PartitionLog, RecoveryReport), OpenError> {
        let storage = self.dir.storage().clone();
        let stated_start = self.start.log_start;
        let mut rebuilt = Vec::new();
        let mut folder = Folder::read(&storage, &self.path)?;
        let mut seals = believed(Seals::load(&storage, &self.path), &mut rebuilt)?;
        if let Some(base) = self.first_in_doubt(&folder, &seals) {
            self.start.clean = false;
            self.start.recovery_point = self.start.recovery_point.min(base);
        }
        let (clean, found) = self.segments(&mut folder, &mut seals)?;
        let log_end = found.active.next_offset();
        rebuilt.extend(self.missing_below(log_end));
        let log_start = self.log_start(&found, log_end)?;

        let set =
            SegmentSet::new(found.sealed.iter().chain([found.active.segment()]).cloned().collect());
        let damage = &found.all_damage();
        let (epochs, epochs_changed) =
            self.epochs(&set, clean, damage, log_start, log_end, &mut rebuilt)?;
        let mut found = found;
        let producers = self.producers(&set, &mut found, log_start, log_end, &mut rebuilt)?;
        if epochs_changed && twin!(EpochsBeforeLog) {
            epochs.store(&storage, &self.path)?;
        }
        if !clean {
            self.sync_recovered(&set, &mut found, &mut seals, &producers)?;
        }
        if epochs_changed {
            // Terms go after the records that bore them: the length of a log that was being cut when the process died is
            // durable only now.
            epochs.store(&storage, &self.path)?;
        }
        let set = self.without_buried(set, &mut found)?;
        seals.retain(|base| found.sealed.iter().any(|segment| segment.base_offset() == base));
        // The active segment is about to change: its seal must not outlive that.
        seals.store(&storage, &self.path)?;

        let mut marks = Watermarks::recovered(log_start, log_end);
        let generation = marks.snapshot().generation;
        let recovery_point = if clean { log_end } else { self.start.recovery_point.min(log_end) };
        marks.checkpointed(recovery_point.max(log_start), generation);
        let report = RecoveryReport {
            partition: self.partition.clone(),
            clean,
            segments: set.len(),
            log_start,
            log_end,
            checked_from: found.checked_from,
            checked_bytes: found.checked_bytes,
            cut: found.cut,
            damage: found.damage.clone(),
            deleted_damage: found.buried,
            rebuilt,
        };
        let (active, damage) = (found.active, found.damage);
        let log = self.assemble(Parts { marks, set, epochs, producers, seals, active, damage });
        if stated_start.is_some_and(|stated| stated > log_start) {
            // What is appended now must not be taken for what was deleted.
            log.dir.persist_one(&log.partition, log.state())?;
        } else if report.damage.is_empty() {
            log.note();
        }
        Ok((log, report))
    }

    fn assemble(self, parts: Parts) -> PartitionLog {
        let Parts { marks, set, epochs, producers, seals, active, damage } = parts;
        let file = CommitFile::new(active.file().clone(), active.len());
        let transactions = producers.transactions().clone();
        let seed = marks.snapshot().log_end as u64 ^ self.clock.wall_ms() as u64;
        let mut rng = fastrand::Rng::with_seed(seed);
        let jitter_ms = super::maintain::draw_jitter(&mut rng, &self.config);
        let state = damage
            .first()
            .map_or(WriterState::Open, |range| WriterState::Damaged(range.corruption.clone()));
        PartitionLog {
            tail: Tail::new(marks, file.clone(), self.config.durability, transactions),
            partition: self.partition,
            path: self.path,
            dir: self.dir,
            clock: self.clock,
            config: self.config,
            options: self.options,
            segments: ArcSwap::from_pointee(set),
            epochs: ArcSwap::from_pointee(epochs),
            damage: ArcSwap::from_pointee(damage),
            metrics: LogMetrics::default(),
            changes: Mutex::new(()),
            snapshots: Mutex::new(()),
            writer: Mutex::new(Writer {
                active,
                file,
                producers,
                seals,
                epochs_ahead: false,
                jitter_ms,
                rng,
                unsynced: Vec::new(),
                doomed: Vec::new(),
                next_retention: Duration::ZERO,
                state,
            }),
        }
    }

    /// The segments, and whether a clean close can be believed.
    fn segments(
        &self,
        folder: &mut Folder,
        seals: &mut Seals,
    ) -> Result<(bool, Recovered), OpenError> {
        let Some((last, before)) = folder.logs.split_last() else {
            return Ok((self.start.clean, self.first_segment()?));
        };
        if self.start.clean {
            let seal = seals.get(last.0).filter(|seal| seal.fits(last.0, last.1, Offset::MAX));
            let trust = seal.map_or(Trust::Indexes, Trust::Seal);
            let aborted = file_path(&self.path, last.0, Suffix::TxnIndex);
            let in_doubt = seal.is_none() && self.storage().exists(&aborted)?;
            match ActiveSegment::open(self.storage(), &self.path, last.0, &self.options, trust) {
                Ok(mut active) if self.is_expected_end(active.next_offset()) => {
                    if in_doubt {
                        self.confirm_aborted(&mut active)?;
                    }
                    let sealed = before
                        .iter()
                        .zip(&folder.logs[1..])
                        .map(|((base, len), (next, _))| self.sealed(*base, *len, *next, seals))
                        .collect();
                    let checked_from = active.next_offset();
                    return Ok((true, Recovered::whole(sealed, active, checked_from)));
                }
                // Not as it was closed: whatever happened, the check tells.
                Ok(_) | Err(SegmentError::Corrupt(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((false, self.check(folder, seals)?))
    }

    /// What another program left ends before the recovery point that it wrote: records are missing, or a
    /// bit of that checkpoint flipped, which has no checksum. To refuse appends for the one would be to
    /// do it for the other; nobody should have to find out by counting.
    fn missing_below(&self, log_end: Offset) -> Option<Corruption> {
        let (point, path) = (self.start.recovery_point, self.dir.path());
        (self.start.state.is_none() && point > log_end).then(|| {
            let path = path.join(super::checkpoint::RECOVERY_POINTS);
            let (what, expected) = ("recovery point of the partition", "at most the log end");
            Corruption::new(path, 0, what, format!("{expected} {log_end}"), point)
        })
    }

    fn is_expected_end(&self, log_end: Offset) -> bool {
        self.start.state.is_none_or(|state| state.log_end == log_end)
    }

    fn first_segment(&self) -> Result<Recovered, OpenError> {
        let base = self.start.log_start.unwrap_or(0);
        if let Some(state) = self.start.state.filter(|state| state.durable_end > base) {
            let what = "segments";
            let expected = format!("offsets {base} to {}", state.durable_end);
            return Err(Corruption::new(&self.path, 0, what, expected, "no .log file").into());
        }
        Ok(Recovered::whole(Vec::new(), self.new_segment(base)?, base))
    }

    pub(super) fn new_segment(&self, base: Offset) -> Result<ActiveSegment, OpenError> {
        let active = ActiveSegment::create(self.storage(), &self.path, base, &self.options)?;
        self.storage().sync_dir(&self.path)?;
        Ok(active)
    }

    pub(super) fn sealed(
        &self,
        base: Offset,
        len: u64,
        next: Offset,
        seals: &Seals,
    ) -> Arc<Segment> {
        let seal = seals.get(base).cloned();
        Segment::sealed(self.storage(), &self.path, base, len, next, seal, &self.options)
    }

    fn log_start(&self, found: &Recovered, log_end: Offset) -> Result<Offset, OpenError> {
        let first = found.sealed.first().unwrap_or(found.active.segment()).base_offset();
        let mut log_start = self.start.log_start.unwrap_or(first);
        let is_cut =
            found.cut.is_some() || self.start.state.is_some_and(|state| state.log_end == log_end);
        if is_cut {
            // It was cut below its start: now, or by a truncation that was interrupted at its last step.
            log_start = log_start.min(log_end);
        }
        let refuse = |what, expected: String| {
            let path = self.dir.path().join(super::checkpoint::LOG_STARTS);
            Err(Corruption::new(path, 0, what, expected, log_start).into())
        };
        if log_start > log_end {
            return refuse("log start of the partition", format!("at most the log end {log_end}"));
        }
        // A crash while the log was restarted at a higher offset leaves nothing durable to miss.
        let is_missing = |state: PartitionState| log_start < first.min(state.durable_end);
        if self.start.state.is_some_and(is_missing) {
            let expected = format!("at least {first}, the first segment there is");
            return refuse("log start of the partition", expected);
        }
        // In a compacted log the next segment may begin behind those that go.
        Ok(log_start.max(first).max(self.first_kept(found)))
    }

    /// Syncs what recovery kept, before anybody is told that it is durable, and before the recovery
    /// point may pass it.
    fn sync_recovered(
        &self,
        set: &SegmentSet,
        found: &mut Recovered,
        seals: &mut Seals,
        producers: &ProducerStates,
    ) -> Result<(), OpenError> {
        found.active.write_indexes()?;
        let mut files = found.active.index_files();
        files.push(found.active.file().clone());
        // That which ends at the recovery point was sealed again, too, and what a close did not leave as it says.
        let from = found.checked_from.min(self.start.recovery_point.saturating_sub(1));
        for segment in set.from(from) {
            if segment.base_offset() != found.active.base_offset() {
                files.extend(super::folder::files_of(self.storage(), segment)?);
            }
        }
        for result in self.storage().sync_all(&files, SyncKind::All) {
            result?;
        }
        producers.store(self.storage(), &self.path)?;
        seals.store(self.storage(), &self.path)?;
        Ok(self.storage().sync_dir(&self.path)?)
    }

    pub(super) fn storage(&self) -> &Storage {
        self.dir.storage()
    }
}

/// A file beside the log that is not believed where it is corrupt.
fn believed(
    loaded: Result<Seals, SegmentError>,
    rebuilt: &mut Vec<Corruption>,
) -> Result<Seals, OpenError> {
    match loaded {
        Err(SegmentError::Corrupt(corruption)) => {
            rebuilt.push(corruption);
            Ok(Seals::default())
        }
        other => Ok(other?),
    }
}
