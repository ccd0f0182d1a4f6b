//! What keeps a log in shape: roll, checkpoint, retention, delayed deletion, close.

use std::{mem, path::PathBuf, sync::Arc, time::Duration};

use super::{
    ChangeError, LogConfig, PartitionLog, Writer, WriterState,
    folder::{files_of, remove_segment},
    producers::{snapshot_offsets, snapshot_path},
    retention::{Extent, expired},
    state::PartitionState,
};
use crate::{
    commit::CommitFile,
    error::IoError,
    io::{File, SyncKind},
    segment::{ActiveSegment, Segment, SegmentError, SegmentSet},
    types::{Durability, Offset},
};

/// How a log was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedLog {
    /// Everything is on disk in Kafka's shape: the next open need not check it.
    Clean,
    /// The next open must look at everything again: acknowledged data is damaged and nobody has decided,
    /// or a change of the log stopped half-way.
    Damaged,
}

/// Milliseconds to draw off `segment.ms` for one segment.
pub(super) fn draw_jitter(rng: &mut fastrand::Rng, config: &LogConfig) -> i64 {
    let most = config.segment_jitter_ms.min(config.segment_ms);
    if most > 0 { rng.i64(0..=most) } else { 0 }
}

impl PartitionLog {
    /// What a checkpoint says of this log now.
    pub fn state(&self) -> PartitionState {
        let marks = self.tail.snapshot();
        let epochs = self.epochs.load();
        PartitionState {
            log_start: marks.log_start,
            recovery_point: marks.recovery_point,
            durable_end: marks.durable_end,
            high_watermark: marks.high_watermark,
            log_end: marks.log_end,
            epochs_crc: (!epochs.entries().is_empty()).then(|| epochs.checksum()),
        }
    }

    /// Ends the active segment and begins the next at `base`, the log end or behind it. On failure the log
    /// goes on with the old one.
    pub(super) fn roll(&self, writer: &mut Writer, base: Offset) -> Result<(), SegmentError> {
        self.settle_epochs(writer)?;
        if self.config.durability == Durability::Durable && !twin!(RollWithoutSync) {
            // Recovery relies on it: a segment with bytes says that those before it are durable.
            let target = (writer.file.clone(), writer.file.written_end());
            self.dir.commit().commit(&[target]).map_err(IoError::from)?;
        }
        let storage = self.storage();
        self.store_snapshot(writer.producers.end_offset(), &writer.producers.to_bytes())?;
        let base = if twin!(RollOffByOne) { base + 1 } else { base };
        let next = ActiveSegment::create(storage, &self.path, base, &self.options)?;
        let old = mem::replace(&mut writer.active, next);
        let synced = if twin!(NewSegmentNotSynced) { Ok(()) } else { storage.sync_dir(&self.path) };
        let sealed = match synced {
            Ok(()) => old.seal().map_err(|failure| (*failure.segment, failure.error)),
            Err(error) => Err((old, error.into())),
        };
        let (sealed, seal) = match sealed {
            Ok(sealed) => sealed,
            Err((old, error)) => {
                writer.active = old;
                let removed = remove_segment(storage, &self.path, base);
                if let Err(error) = removed.and_then(|()| storage.sync_dir(&self.path)) {
                    tracing::error!(%error, "a segment that was not begun stays: no more appends");
                    writer.state = WriterState::Failed(Some(error));
                }
                return Err(error);
            }
        };
        writer.seals.insert(seal);
        if let Err(error) = writer.seals.store(storage, &self.path) {
            // Without it the next open reads a little more.
            tracing::warn!(%error, "the seals were not written");
        }
        let set = self.segments.load().with_rolled(sealed.clone(), writer.active.segment().clone());
        self.segments.store(Arc::new(set));
        writer.unsynced.push(sealed);
        writer.file = CommitFile::new(writer.active.file().clone(), 0);
        self.tail.rolled(writer.file.clone());
        // What an open would find, whether the append succeeds or not.
        self.tail.appended(base, 0, None);
        writer.jitter_ms = draw_jitter(&mut writer.rng, &self.config);
        self.metrics.rolls.add(1);
        Ok(())
    }

    /// Makes everything durable that stands in the log now, indexes and producers' state too, and
    /// raises the recovery point to there. It counts once the log dir is persisted
    /// ([`super::LogDir::persist`]), which is told of it; what it is told comes back.
    pub fn checkpoint(&self) -> Result<PartitionState, ChangeError> {
        let _changes = self.changes.lock();
        let mut writer = self.writer.lock();
        writer.check_changes()?;
        if matches!(writer.state, WriterState::Damaged(_)) {
            // What is on disk says no more than what is known.
            return Ok(self.state());
        }
        let marks = self.tail.snapshot();
        if marks.recovery_point == marks.log_end && writer.unsynced.is_empty() {
            return Ok(self.note());
        }
        writer.active.write_indexes()?;
        let files = writer.active.index_files();
        let pending = mem::take(&mut writer.unsynced);
        let (offset, snapshot) = (writer.producers.end_offset(), writer.producers.to_bytes());
        drop(writer);

        let files = match self.commit_and_open(marks.log_end, files, &pending) {
            Ok(files) => files,
            Err(error) => {
                self.writer.lock().unsynced.extend(pending);
                return Err(error);
            }
        };
        let synced = if twin!(CheckpointBeforeSync) { Ok(()) } else { self.sync(&files) };
        if let Err(error) = synced {
            // What was lost stays lost, although a sync through other handles would say that all is well.
            let mut writer = self.writer.lock();
            writer.state = WriterState::Failed(None);
            return writer.ended(Err(error));
        }
        self.store_snapshot(offset, &snapshot)?;
        self.tail.checkpointed(marks.log_end, marks.generation);
        self.drop_stray_snapshots(&[marks.recovery_point, marks.log_end])?;
        Ok(self.note())
    }

    /// Whether a durable log has sealed a segment that the recovery point does not yet pass, so that a
    /// checkpoint would shorten a recovery. A log that is damaged takes none.
    pub(crate) fn has_rolled_since_checkpoint(&self) -> bool {
        self.config.durability == Durability::Durable
            && self.damage.load().is_empty()
            && self.segments.load().from(self.tail.snapshot().recovery_point).len() > 1
    }

    /// Makes the log durable up to `end`, and adds to `files` all files of sealed segments, to be synced.
    fn commit_and_open(
        &self,
        end: Offset,
        mut files: Vec<File>,
        sealed: &[Arc<Segment>],
    ) -> Result<Vec<File>, ChangeError> {
        self.commit(end)?;
        for segment in sealed {
            files.extend(files_of(self.storage(), segment)?);
        }
        Ok(files)
    }

    /// Syncs files. Where that fails the log must take no changes any more.
    fn sync(&self, files: &[File]) -> Result<(), ChangeError> {
        let results = self.storage().sync_all(files, SyncKind::All);
        Ok(results.into_iter().collect::<Result<(), _>>()?)
    }

    /// Tells the log dir what the next checkpoint is to say. `changes` is held, or the log is not shared
    /// yet: what is told is never overtaken.
    pub(super) fn note(&self) -> PartitionState {
        let state = self.state();
        self.dir.note(&self.partition, state);
        state
    }

    /// Writes the producers' snapshot of `offset`, durably.
    fn store_snapshot(&self, offset: Offset, snapshot: &[u8]) -> Result<(), IoError> {
        let _snapshots = self.snapshots.lock();
        self.storage().replace(&snapshot_path(&self.path, offset), snapshot)
    }

    /// Removes the producers' snapshots that no recovery will ask for: all but those at a segment's
    /// base and those at `keep`.
    fn drop_stray_snapshots(&self, keep: &[Offset]) -> Result<(), IoError> {
        let found = snapshot_offsets(self.storage(), &self.path)?;
        // In this order: one that a roll wrote before is at the log end still, or at a base.
        let log_end = self.tail.snapshot().log_end;
        let set = self.segments.load();
        for offset in found {
            let is_base = set.iter().any(|segment| segment.base_offset() == offset);
            if !is_base && !keep.contains(&offset) && offset < log_end {
                self.storage().remove_file(&snapshot_path(&self.path, offset))?;
            }
        }
        Ok(())
    }

    /// Background work that is due at `now` (monotonic): retention and delayed deletion. Gives the
    /// time of the next call; an earlier one does no harm.
    pub fn step(&self, now: Duration) -> Result<Duration, ChangeError> {
        self.remove_doomed(now)?;
        let due = {
            let mut writer = self.writer.lock();
            let due = matches!(writer.state, WriterState::Open) && writer.next_retention <= now;
            if due {
                writer.next_retention = now.saturating_add(self.config.retention_check_interval);
                let (now_ms, after) = (self.clock.wall_ms(), self.config.producer_id_expiration_ms);
                writer.producers.expire(now_ms, after);
            }
            due
        };
        if due {
            self.retain(now)?;
        }
        let writer = self.writer.lock();
        let next_deletion = writer.doomed.iter().map(|(at, _)| *at).min();
        Ok(next_deletion.map_or(writer.next_retention, |at| at.min(writer.next_retention)))
    }

    fn remove_doomed(&self, now: Duration) -> Result<(), ChangeError> {
        let due: Vec<PathBuf> = {
            let mut writer = self.writer.lock();
            let (due, rest) =
                mem::take(&mut writer.doomed).into_iter().partition(|(at, _)| *at <= now);
            writer.doomed = rest;
            let due: Vec<(Duration, PathBuf)> = due;
            due.into_iter().map(|(_, path)| path).collect()
        };
        due.iter().try_for_each(|path| self.storage().remove_file(path))?;
        Ok(())
    }

    /// Deletes the segments that retention or the log start has given up.
    fn retain(&self, now: Duration) -> Result<(), ChangeError> {
        let _changes = self.changes.lock();
        let set = self.segments.load_full();
        let count = self.expired(&set)?;
        if count == 0 {
            return Ok(());
        }
        let kept = match set.as_slice().get(count) {
            Some(kept) => kept.base_offset(),
            None => self.give_up_active(&set)?,
        };
        self.delete_before(kept, now)
    }

    fn expired(&self, set: &SegmentSet) -> Result<usize, ChangeError> {
        let (extents, marks) = (extents(set)?, self.tail.snapshot());
        let now_ms = self.clock.wall_ms();
        let count = expired(&extents, &self.config, now_ms, marks.log_start, marks.high_watermark);
        let is_planted = twin!(RetainsTooLittle) && (1..extents.len()).contains(&(count + 1));
        Ok(count + usize::from(is_planted))
    }

    /// Every segment of `set` has expired, the one that is appended to as well: it is rolled, unless it
    /// was appended to since. Gives the base offset of the first segment that stays.
    fn give_up_active(&self, set: &SegmentSet) -> Result<Offset, ChangeError> {
        let mut writer = self.writer.lock();
        writer.check_changes()?;
        let is_unchanged =
            set.last().is_some_and(|last| Arc::ptr_eq(last, writer.active.segment()));
        if is_unchanged && !writer.active.is_empty() && self.expired(set)? == set.len() {
            let base = writer.active.next_offset();
            self.roll(&mut writer, base)?;
            return Ok(writer.active.base_offset());
        }
        Ok(set.last().map_or(0, |last| last.base_offset()))
    }

    /// Deletes the segments that end at or before `start`: the log start is raised durably, the segments
    /// leave the snapshot, their files are marked, and removed after `file.delete.delay.ms`.
    fn delete_before(&self, start: Offset, now: Duration) -> Result<(), ChangeError> {
        self.advance_start(start)?;
        let mut writer = self.writer.lock();
        writer.check_changes()?;
        let set = self.segments.load();
        let start = self.tail.snapshot().log_start;
        let gone = set.as_slice()[1..].iter().take_while(|it| it.base_offset() <= start).count();
        let (kept, removed) = set.without_prefix(gone);
        self.segments.store(Arc::new(kept));
        let at = now.saturating_add(self.config.file_delete_delay);
        for segment in &removed {
            let base = segment.base_offset();
            writer.unsynced.retain(|other| other.base_offset() != base);
            writer.seals.remove(base);
            writer.doomed.extend(segment.retire()?.into_iter().map(|path| (at, path)));
            self.storage().remove_file(&snapshot_path(&self.path, base))?;
        }
        writer.seals.store(self.storage(), &self.path)?;
        self.storage().sync_dir(&self.path)?;
        self.metrics.deleted_segments.add(removed.len() as u64);
        Ok(())
    }

    /// Deletes the records before `offset` (−1: all that are committed), durably before it returns
    /// the new log start. Segments that hold nothing else go at the next retention check.
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, ChangeError> {
        let _changes = self.changes.lock();
        let marks = self.tail.snapshot();
        let target = if offset == -1 { marks.high_watermark } else { offset };
        if target < 0 || target > marks.high_watermark {
            let (low, high) = (marks.log_start, marks.high_watermark);
            return Err(ChangeError::OutOfRange { offset, low, high });
        }
        if target > marks.log_start {
            self.advance_start(target)?;
            self.writer.lock().next_retention = Duration::ZERO;
        }
        Ok(self.tail.snapshot().log_start)
    }

    /// Raises the log start, durably. `changes` is held, so neither it nor what it follows goes back.
    fn advance_start(&self, to: Offset) -> Result<(), ChangeError> {
        self.commit(to)?;
        let mut writer = self.writer.lock();
        writer.check_changes()?;
        if to <= self.tail.snapshot().log_start {
            return Ok(());
        }
        let mut epochs = super::LeaderEpochs::clone(&self.epochs.load());
        // Durable first, and the epochs last: a start that is not on disk is not shown, and terms that
        // end before the start do no harm.
        if !twin!(StartNotPersisted) {
            let state = PartitionState { log_start: to, ..self.state() };
            self.dir.persist_one(&self.partition, state)?;
        }
        self.tail.start_advanced(to);
        writer.producers.log_start_moved(to);
        if epochs.truncate_from_start(to) {
            // Where what an append that failed has left cannot go, its term stays in the file: the next recovery
            // may find its batches.
            if self.settle_epochs(&mut writer).is_ok() {
                epochs.store(self.storage(), &self.path)?;
            }
            self.epochs.store(Arc::new(epochs));
        }
        Ok(())
    }

    /// Ends all work on this log: syncs it, trims its files to Kafka's shape, writes the producers'
    /// snapshot and the seals. Later appends are refused; reads go on. What a checkpoint is to say is
    /// noted with the log dir.
    ///
    /// For who opened the log by [`UnrecoveredLog`](super::UnrecoveredLog): an engine closes its own.
    pub fn close(&self) -> Result<ClosedLog, ChangeError> {
        let _changes = self.changes.lock();
        let mut writer = self.writer.lock();
        self.unmap();
        match writer.state {
            WriterState::Open => {}
            WriterState::Damaged(_) | WriterState::Failed(_) => {
                writer.state = WriterState::Closed(ClosedLog::Damaged);
                return Ok(ClosedLog::Damaged);
            }
            WriterState::Closed(how) => return Ok(how),
        }
        // From here on the log takes no appends, whatever fails.
        writer.state = WriterState::Failed(None);
        let closed = self.close_open(&mut writer);
        writer.ended(closed)?;
        writer.state = WriterState::Closed(ClosedLog::Clean);
        Ok(ClosedLog::Clean)
    }

    fn close_open(&self, writer: &mut Writer) -> Result<(), ChangeError> {
        let marks = self.tail.snapshot();
        let storage = self.storage();
        self.settle_epochs(writer)?;
        let seal = writer.active.close()?;
        let mut files = writer.active.index_files();
        files.push(writer.active.file().clone());
        let sealed = mem::take(&mut writer.unsynced);
        self.sync(&self.commit_and_open(marks.log_end, files, &sealed)?)?;
        self.store_snapshot(writer.producers.end_offset(), &writer.producers.to_bytes())?;
        writer.seals.insert(seal);
        writer.seals.store(storage, &self.path)?;
        for (_, path) in mem::take(&mut writer.doomed) {
            storage.remove_file(&path)?;
        }
        storage.sync_dir(&self.path)?;
        self.tail.checkpointed(marks.log_end, marks.generation);
        self.drop_stray_snapshots(&[marks.log_end])?;
        self.note();
        Ok(())
    }

    /// The log is given up (its topic was deleted): it takes no appends any more, its files are not
    /// touched, and everybody who waits for records hears that none will come.
    pub(crate) fn abandon(&self) {
        let _changes = self.changes.lock();
        self.writer.lock().state = WriterState::Closed(ClosedLog::Clean);
        self.unmap();
        self.readable().close();
    }

    /// Reads go on, but plainly: once the folder is given back, another program may cut its files.
    fn unmap(&self) {
        self.segments.load().iter().for_each(|segment| segment.unmap());
    }
}

/// What the retention plan looks at.
fn extents(set: &SegmentSet) -> Result<Vec<Extent>, ChangeError> {
    let mut extents = Vec::with_capacity(set.len());
    for (place, segment) in set.iter().enumerate() {
        // A segment without timestamps counts as new: nothing says that it is old.
        let newest_ms = match segment.max_timestamp() {
            Ok(largest) => largest.map_or(i64::MAX, |(timestamp, _)| timestamp),
            Err(SegmentError::Corrupt(corruption)) => {
                tracing::warn!(%corruption, "retention keeps a damaged segment");
                i64::MAX
            }
            Err(error) => return Err(error.into()),
        };
        // Up to the next segment, where the log will start: compaction may have taken what lay between.
        let following = set.as_slice().get(place + 1);
        let next_offset = following.map_or(segment.next_offset(), |next| next.base_offset());
        let bytes = segment.len();
        extents.push(Extent { next_offset, bytes, newest_ms });
    }
    Ok(extents)
}
