//! Cutting a log's end off: as a follower that parted from its leader, or to get rid of damage.

use std::sync::Arc;

use super::{
    ChangeError, Cut, LeaderEpochs, PartitionLog, Writer, WriterState,
    damage::cut,
    derived::{drop_snapshots_above, replay},
    folder::doom_segment,
    producers::{ProducerStates, load_newest_snapshot, snapshot_offsets, snapshot_path},
};
use crate::{
    commit::CommitFile,
    io::{File, SyncKind},
    segment::{ActiveSegment, Segment, SegmentSet, Trust},
    types::Offset,
};

impl PartitionLog {
    /// Drops the batches that hold `offset` or larger ones; durable when it returns. Gives the log end
    /// offset, which lies below `offset` where a batch spans it. Log start and high watermark come down
    /// with it (Kafka: `UnifiedLog.truncateTo`).
    ///
    /// Should the disk fail half-way the log takes no more appends until it is opened again.
    pub fn truncate_to(&self, offset: Offset) -> Result<Offset, ChangeError> {
        let mut writer = self.writer.lock();
        let marks = self.tail.snapshot();
        if matches!(writer.state, WriterState::Closed) {
            return Err(ChangeError::Closed);
        }
        if offset < 0 {
            let (low, high) = (0, marks.log_end);
            return Err(ChangeError::OutOfRange { offset, low, high });
        }
        if offset >= marks.log_end {
            return Ok(marks.log_end);
        }
        let set = self.segments.load_full();
        if set.first().is_none_or(|first| offset <= first.base_offset()) {
            return self.restart(&mut writer, offset);
        }
        self.lower_checkpoint(end_of_cut(&set, offset)?)?;
        let before = std::mem::replace(&mut writer.state, WriterState::Closed);
        let end = self.cut_to(&mut writer, &set, offset)?;
        writer.state = before;
        Ok(end)
    }

    /// Drops all records; the next one gets `offset` (Kafka: `truncateFullyAndStartAt`). Durable when it
    /// returns.
    pub fn restart_at(&self, offset: Offset) -> Result<(), ChangeError> {
        let mut writer = self.writer.lock();
        if matches!(writer.state, WriterState::Closed) {
            return Err(ChangeError::Closed);
        }
        if offset < 0 {
            let (low, high) = (0, Offset::MAX);
            return Err(ChangeError::OutOfRange { offset, low, high });
        }
        self.restart(&mut writer, offset)?;
        Ok(())
    }

    /// The owner's decision about damaged, acknowledged data: cuts the log at the first damaged range.
    /// The bytes from there on are kept in quarantine files. Appends are taken again. `None` where
    /// nothing is damaged.
    pub fn cut_damage(&self) -> Result<Option<Cut>, ChangeError> {
        let mut writer = self.writer.lock();
        let Some(range) = self.damage.load().first().cloned() else { return Ok(None) };
        if matches!(writer.state, WriterState::Closed) {
            return Err(ChangeError::Closed);
        }
        self.lower_checkpoint(range.offset)?;
        writer.state = WriterState::Closed;
        let set = self.segments.load_full();
        let (kept, _) = set.truncated(range.segment);
        let files = super::folder::Folder::read(self.storage(), &self.path)?;
        let from = files.logs.partition_point(|(base, _)| *base < range.segment);
        writer.seals.retain(|base| base < range.segment);
        writer.seals.store(self.storage(), &self.path)?;
        self.tail.truncating(|_| 0);
        let cut = cut(
            self.storage(),
            &self.path,
            &files.logs[from..],
            range.position,
            range.offset,
            range.corruption,
            true,
        )?;
        let options = &self.options;
        let trust = Trust::Nothing;
        let base = range.segment;
        writer.active = ActiveSegment::open(self.storage(), &self.path, base, options, trust)?;
        let set = kept.with_pushed(writer.active.segment().clone());
        self.settle(&mut writer, set)?;
        self.damage.store(Arc::new(Vec::new()));
        writer.state = WriterState::Open;
        Ok(Some(cut))
    }

    /// Before anything goes, the checkpoints cease to speak of it (redpanda#31470).
    fn lower_checkpoint(&self, offset: Offset) -> Result<(), ChangeError> {
        let mut state = self.state();
        for mark in [
            &mut state.log_start,
            &mut state.recovery_point,
            &mut state.durable_end,
            &mut state.high_watermark,
            &mut state.log_end,
        ] {
            *mark = (*mark).min(offset);
        }
        Ok(self.dir.persist_one(&self.partition, state)?)
    }

    fn cut_to(
        &self,
        writer: &mut Writer,
        set: &SegmentSet,
        offset: Offset,
    ) -> Result<Offset, ChangeError> {
        let (kept, removed) = set.truncated(offset);
        let target = kept.last().expect("the first segment begins below the offset").clone();
        // A seal speaks of a length that another batch may reach again.
        writer.seals.retain(|base| base < target.base_offset());
        writer.seals.store(self.storage(), &self.path)?;
        self.announce_cut(&target, &removed, offset)?;
        self.remove_segments(writer, &removed)?;
        if writer.active.base_offset() != target.base_offset() {
            writer.active = ActiveSegment::reopen(&target)?;
        }
        writer.active.truncate_to(offset)?;
        let mut files = writer.active.index_files();
        files.push(writer.active.file().clone());
        for result in self.storage().sync_all(&files, SyncKind::All) {
            result?;
        }
        let set = kept.with_last(writer.active.segment().clone());
        self.settle(writer, set)
    }

    /// Who waits for bytes that go hears of it before they go.
    fn announce_cut(
        &self,
        target: &Segment,
        removed: &[Arc<Segment>],
        offset: Offset,
    ) -> Result<(), ChangeError> {
        let stays = target.locate(offset)?.map_or(target.len(), |(position, _)| position);
        let is_of = |file: &File, segment: &Segment| file.path() == segment.path();
        self.tail.truncating(|file| {
            if is_of(file, target) {
                stays
            } else if removed.iter().any(|segment| is_of(file, segment)) {
                0
            } else {
                u64::MAX
            }
        });
        Ok(())
    }

    /// From the last to the first, so that what is left after a crash still is a prefix.
    fn remove_segments(
        &self,
        writer: &mut Writer,
        removed: &[Arc<Segment>],
    ) -> Result<(), ChangeError> {
        let at = self.clock.monotonic() + self.config.file_delete_delay;
        for segment in removed.iter().rev() {
            let base = segment.base_offset();
            writer.unsynced.retain(|other| other.base_offset() != base);
            let files = doom_segment(self.storage(), &self.path, base)?;
            writer.doomed.extend(files.into_iter().map(|path| (at, path)));
            self.storage().sync_dir(&self.path)?;
        }
        Ok(())
    }

    /// Brings everything beside the log down to its new end, then shows it.
    fn settle(&self, writer: &mut Writer, set: SegmentSet) -> Result<Offset, ChangeError> {
        let end = writer.active.next_offset();
        drop_snapshots_above(self.storage(), &self.path, end)?;
        let start = self.tail.snapshot().log_start.min(end);
        let now = self.clock.wall_ms();
        let (mut producers, _) = load_newest_snapshot(self.storage(), &self.path, start, end, now)?;
        let mut aborted = Vec::new();
        for segment in set.from(producers.end_offset()) {
            replay(segment, &mut producers, now, &mut aborted)?;
        }
        writer.producers = producers;
        let mut epochs = LeaderEpochs::clone(&self.epochs.load());
        if epochs.truncate_from_end(end) {
            epochs.store(self.storage(), &self.path)?;
            self.epochs.store(Arc::new(epochs));
        }
        let base = writer.active.base_offset();
        writer.unsynced.retain(|segment| segment.base_offset() != base);
        writer.file = CommitFile::new(writer.active.file().clone(), writer.active.len());
        self.segments.store(Arc::new(set));
        self.tail.truncated(end, writer.file.clone());
        Ok(end)
    }

    fn restart(&self, writer: &mut Writer, offset: Offset) -> Result<Offset, ChangeError> {
        let start = self.tail.snapshot().log_start;
        self.lower_checkpoint(start.min(offset))?;
        let before = std::mem::replace(&mut writer.state, WriterState::Closed);
        let set = self.segments.load_full();
        writer.seals.retain(|_| false);
        writer.seals.store(self.storage(), &self.path)?;
        self.tail.truncating(|_| 0);
        self.remove_segments(writer, set.as_slice())?;
        for snapshot in snapshot_offsets(self.storage(), &self.path)? {
            self.storage().remove_file(&snapshot_path(&self.path, snapshot))?;
        }
        writer.active = ActiveSegment::create(self.storage(), &self.path, offset, &self.options)?;
        self.storage().sync_dir(&self.path)?;
        writer.producers = ProducerStates::new(offset);
        let mut epochs = LeaderEpochs::clone(&self.epochs.load());
        epochs.clear();
        epochs.store(self.storage(), &self.path)?;
        self.epochs.store(Arc::new(epochs));
        writer.file = CommitFile::new(writer.active.file().clone(), 0);
        self.segments.store(Arc::new(SegmentSet::new(vec![writer.active.segment().clone()])));
        self.tail.restarted(offset, writer.file.clone());
        self.dir.persist_one(&self.partition, self.state())?;
        self.damage.store(Arc::new(Vec::new()));
        writer.state = match before {
            WriterState::Damaged(_) => WriterState::Open,
            other => other,
        };
        Ok(offset)
    }
}

/// Log end offset that a truncation to `offset` will leave: below it where a batch spans it.
fn end_of_cut(set: &SegmentSet, offset: Offset) -> Result<Offset, ChangeError> {
    let Some(target) = set.floor(offset - 1) else { return Ok(offset) };
    Ok(target.locate(offset)?.map_or(offset, |(_, header)| header.base_offset.min(offset)))
}
