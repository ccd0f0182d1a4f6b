//! Cutting a log's end off: as a follower that parted from its leader, or to get rid of damage.

use std::sync::Arc;

use super::{
    ChangeError, Cut, DamagedRange, LeaderEpochs, PartitionLog, Writer, WriterState,
    damage::cut,
    derived::{drop_snapshots_above, producers_at},
    folder::{Folder, remove_segment},
    producers::{ProducerStates, snapshot_offsets, snapshot_path},
};
use crate::{
    commit::CommitFile,
    error::Corruption,
    io::{File, SyncKind},
    limits::MAX_LOG_END,
    segment::{ActiveSegment, Segment, SegmentError, SegmentSet, Trust},
    types::Offset,
};

impl PartitionLog {
    /// Drops the batches that hold `offset` or larger ones; durable when it returns. Gives the log end
    /// offset, which lies below `offset` where a batch spans it. Log start and high watermark come down
    /// with it (Kafka: `UnifiedLog.truncateTo`); at or below the log start it is a restart
    /// ([`PartitionLog::restart_at`]).
    ///
    /// Should the disk fail half-way the log takes no more appends until it is opened again.
    ///
    /// For who drives a follower's log. A topic's records are deleted from the front
    /// ([`PartitionLog::delete_records_before`]).
    pub fn truncate_to(&self, offset: Offset) -> Result<Offset, ChangeError> {
        let _changes = self.changes.lock();
        let mut writer = self.writer.lock();
        let marks = self.tail.snapshot();
        writer.check_changes()?;
        if offset < 0 {
            let (low, high) = (0, marks.log_end);
            return Err(ChangeError::OutOfRange { offset, low, high });
        }
        if offset >= marks.log_end {
            return Ok(marks.log_end);
        }
        let offset = if twin!(TruncatesTooFar) { (offset - 1).max(0) } else { offset };
        let cut = self.truncate(&mut writer, offset, marks.log_start);
        writer.ended(cut)
    }

    fn truncate(
        &self,
        writer: &mut Writer,
        offset: Offset,
        log_start: Offset,
    ) -> Result<Offset, ChangeError> {
        if let Some(range) = self.damage.load().first() {
            if range.offset < offset {
                // What stands behind it cannot be told from what does not: the owner decides first.
                return Err(range.corruption.clone().into());
            }
            self.cut_at(writer, range)?;
            if offset == range.offset {
                return Ok(offset);
            }
        }
        let set = self.segments.load_full();
        // Below the log start nothing is left, and nobody has seen to it that it is sound.
        if offset <= log_start {
            return self.restart(writer, offset);
        }
        self.cut_to(writer, &set, offset)
    }

    /// Drops all records; the next one gets `offset` (Kafka: `truncateFullyAndStartAt`). Durable when it
    /// returns. As [`PartitionLog::truncate_to`] for who drives a follower's log.
    pub fn restart_at(&self, offset: Offset) -> Result<(), ChangeError> {
        let _changes = self.changes.lock();
        let mut writer = self.writer.lock();
        writer.check_changes()?;
        if !(0..=MAX_LOG_END).contains(&offset) {
            let (low, high) = (0, MAX_LOG_END);
            return Err(ChangeError::OutOfRange { offset, low, high });
        }
        let restarted = self.restart(&mut writer, offset);
        writer.ended(restarted).map(drop)
    }

    /// The owner's decision about damaged, acknowledged data: cuts the log at the first damaged range.
    /// The bytes from there on are kept in quarantine files. Appends are taken again. `None` where
    /// nothing is damaged.
    pub fn cut_damage(&self) -> Result<Option<Cut>, ChangeError> {
        let _changes = self.changes.lock();
        let mut writer = self.writer.lock();
        writer.check_changes()?;
        match self.damage.load().first() {
            Some(range) => {
                let cut = self.cut_at(&mut writer, range);
                writer.ended(cut).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Cuts the log where its first damaged range begins, and keeps the bytes from there on.
    fn cut_at(&self, writer: &mut Writer, range: &DamagedRange) -> Result<Cut, ChangeError> {
        self.lower_checkpoint(range.offset)?;
        writer.state = WriterState::Failed(None);
        let (kept, removed) = self.segments.load().truncated(range.segment);
        // A segment that records are missing before goes whole: the one before it goes on.
        let before = kept.last().filter(|_| range.offset < range.segment).cloned();
        let aborted = before.as_ref().or(removed.first()).and_then(|segment| {
            let known = segment.transactions().ok()?;
            Some(known.iter().filter(|entry| entry.last_offset < range.offset).collect::<Vec<_>>())
        });
        for segment in &removed {
            if segment.base_offset() == range.segment {
                segment.give_up(range.position, range.offset.max(range.segment));
            } else {
                segment.give_up(0, segment.base_offset());
            }
        }
        let logs = Folder::read(self.storage(), &self.path)?.logs;
        let from = logs.partition_point(|(base, _)| *base < range.segment);
        writer.seals.retain(|base| base < range.segment);
        writer.seals.store(self.storage(), &self.path)?;
        self.tail.truncating(range.offset, |_| 0);
        let (logs, cause) = (&logs[from..], range.corruption.clone());
        let (offset, at) = (range.offset, range.position);
        let cut = cut(self.storage(), &self.path, logs, at, offset, cause, true)?;
        let base = before.as_ref().map_or(range.segment, |before| before.base_offset());
        writer.seals.retain(|sealed| sealed < base);
        let storage = self.storage();
        let kept = if let Some(before) = &before {
            remove_segment(storage, &self.path, range.segment)?;
            storage.sync_dir(&self.path)?;
            writer.seals.store(storage, &self.path)?;
            writer.active = ActiveSegment::reopen(before)?;
            kept.truncated(base).0
        } else {
            writer.seals.store(storage, &self.path)?;
            let (path, trust) = (&self.path, Trust::Indexes);
            writer.active = ActiveSegment::open(storage, path, base, &self.options, trust)?;
            kept
        };
        if let Some(aborted) = aborted {
            // What a recovery told around the damage, and no file says.
            writer.active.restore_transactions(base, aborted)?;
        }
        let set = kept.with_pushed(writer.active.segment().clone());
        self.settle(writer, set)?;
        self.damage.store(Arc::new(Vec::new()));
        writer.state = WriterState::Open;
        Ok(cut)
    }

    /// Before anything goes, the checkpoints cease to speak of it (redpanda#31470).
    fn lower_checkpoint(&self, offset: Offset) -> Result<(), ChangeError> {
        if twin!(CutBeforeCheckpoint) {
            return Ok(());
        }
        Ok(self.dir.persist_one(&self.partition, self.state().lowered_to(offset))?)
    }

    fn cut_to(
        &self,
        writer: &mut Writer,
        set: &SegmentSet,
        offset: Offset,
    ) -> Result<Offset, ChangeError> {
        let (kept, removed) = set.truncated(offset);
        let target = kept.last().expect("the first segment begins below the offset").clone();
        let (stays, end) = match target.locate(offset)? {
            Some((position, gone)) => {
                (position, offset.clamp(target.base_offset(), gone.base_offset))
            }
            None => (target.len(), offset.min(target.next_offset())),
        };
        self.lower_checkpoint(end)?;
        writer.state = WriterState::Failed(None);
        // A seal speaks of a length that another batch may reach again.
        writer.seals.retain(|base| base < target.base_offset());
        writer.seals.store(self.storage(), &self.path)?;
        self.announce_cut(&target, &removed, stays, end);
        self.remove_segments(writer, &removed)?;
        if writer.active.base_offset() != target.base_offset() {
            writer.active = self.reopen(&target, stays, end)?;
        }
        writer.active.truncate_to(end)?;
        let mut files = writer.active.index_files();
        files.push(writer.active.file().clone());
        if !twin!(CutNotSynced) {
            for result in self.storage().sync_all(&files, SyncKind::All) {
                result?;
            }
        }
        let set = kept.with_last(writer.active.segment().clone());
        self.settle(writer, set)?;
        writer.state = WriterState::Open;
        Ok(end)
    }

    /// Opens a sealed segment to cut it and to append to it again. Of one that holds nothing but deleted records a power
    /// cut may have taken the indexes, as no checkpoint synced them any more: they are made anew, without
    /// the aborted transactions, as no reader will ask for them.
    fn reopen(
        &self,
        target: &Segment,
        stays: u64,
        end: Offset,
    ) -> Result<ActiveSegment, SegmentError> {
        let marks = self.tail.snapshot();
        match ActiveSegment::reopen_cut(target, stays, end) {
            Err(SegmentError::Corrupt(_)) if marks.log_start == marks.log_end => {
                let (storage, base) = (self.storage(), target.base_offset());
                target.give_up(stays, end);
                ActiveSegment::open(storage, &self.path, base, &self.options, Trust::Nothing)
            }
            other => other,
        }
    }

    /// Who reads or waits for what goes hears of it before it goes.
    fn announce_cut(&self, target: &Segment, removed: &[Arc<Segment>], stays: u64, end: Offset) {
        let is_of = |file: &File, segment: &Segment| file.path() == segment.path();
        self.tail.truncating(end, |file| {
            if is_of(file, target) {
                stays
            } else if removed.iter().any(|segment| is_of(file, segment)) {
                0
            } else {
                u64::MAX
            }
        });
    }

    /// From the last to the first, so that what is left after a crash still is a prefix.
    fn remove_segments(
        &self,
        writer: &mut Writer,
        removed: &[Arc<Segment>],
    ) -> Result<(), ChangeError> {
        let at = self.clock.monotonic().saturating_add(self.config.file_delete_delay);
        let mut order: Vec<_> = removed.iter().rev().collect();
        if twin!(RemovedFromTheFront) {
            order.reverse();
        }
        for segment in order {
            let base = segment.base_offset();
            writer.unsynced.retain(|other| other.base_offset() != base);
            writer.doomed.extend(segment.retire()?.into_iter().map(|path| (at, path)));
            self.storage().sync_dir(&self.path)?;
        }
        Ok(())
    }

    /// Brings everything beside the log down to its new end, then shows it.
    fn settle(&self, writer: &mut Writer, set: SegmentSet) -> Result<(), ChangeError> {
        let end = writer.active.next_offset();
        let announced = self.tail.snapshot().log_end;
        if end != announced {
            // What is read now is not what was read when the cut was planned.
            let (path, len) = (writer.active.segment().path(), writer.active.len());
            return Err(Corruption::new(path, len, "log end offset", announced, end).into());
        }
        drop_snapshots_above(self.storage(), &self.path, end)?;
        let now = self.clock.wall_ms();
        writer.producers = producers_at(self.storage(), &self.path, &set, &[], end, now)?.states;
        let mut epochs = LeaderEpochs::clone(&self.epochs.load());
        if epochs.truncate_from_end(end) || writer.epochs_ahead {
            epochs.store(self.storage(), &self.path)?;
            self.epochs.store(Arc::new(epochs));
            writer.epochs_ahead = false;
        }
        let base = writer.active.base_offset();
        writer.unsynced.retain(|segment| segment.base_offset() != base);
        writer.file = CommitFile::new(writer.active.file().clone(), writer.active.len());
        self.segments.store(Arc::new(set));
        self.tail.truncated(writer.file.clone(), writer.producers.transactions().clone());
        if self.tail.snapshot().log_start == end {
            // It may have come down: from now on nothing behind it was ever deleted.
            self.dir.persist_one(&self.partition, self.state())?;
        }
        Ok(())
    }

    fn restart(&self, writer: &mut Writer, offset: Offset) -> Result<Offset, ChangeError> {
        let set = self.segments.load_full();
        let first = set.first().map_or(offset, |first| first.base_offset());
        // Whatever part of the log is left by a crash, it is not missing anything.
        self.lower_checkpoint(first.min(offset))?;
        writer.state = WriterState::Failed(None);
        let floor = self.tail.snapshot().log_start.min(offset);
        writer.seals.retain(|_| false);
        writer.seals.store(self.storage(), &self.path)?;
        self.tail.truncating(floor, |_| 0);
        self.remove_segments(writer, set.as_slice())?;
        for snapshot in snapshot_offsets(self.storage(), &self.path)? {
            self.storage().remove_file(&snapshot_path(&self.path, snapshot))?;
        }
        let mut epochs = LeaderEpochs::clone(&self.epochs.load());
        epochs.clear();
        epochs.store(self.storage(), &self.path)?;
        self.epochs.store(Arc::new(epochs));
        writer.epochs_ahead = false;
        writer.active = ActiveSegment::create(self.storage(), &self.path, offset, &self.options)?;
        self.storage().sync_dir(&self.path)?;
        writer.producers = ProducerStates::new(offset);
        writer.file = CommitFile::new(writer.active.file().clone(), 0);
        self.segments.store(Arc::new(SegmentSet::new(vec![writer.active.segment().clone()])));
        self.tail.restarted(offset, writer.file.clone());
        self.dir.persist_one(&self.partition, self.state())?;
        self.damage.store(Arc::new(Vec::new()));
        writer.state = WriterState::Open;
        Ok(offset)
    }
}
