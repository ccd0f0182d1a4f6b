//! Damage that lies in deleted records alone. Nobody asks for them, so it neither stops appends nor cuts
//! what stands behind: the live batches of its segment get a segment of their own, and what is wholly
//! deleted goes at once.

use super::{
    DamagedRange, OpenError,
    check::Checked,
    folder::{Folder, remove_segment},
    recover::{Recovered, UnrecoveredLog},
};
use crate::{
    io::{File, Open, SyncKind},
    segment::{Scan, ScanStart, Scanner, SegmentSet, Suffix, copy_range, file_path, scan},
    types::Offset,
};

impl UnrecoveredLog {
    /// Offset below which records were deleted, durably.
    pub(super) fn deleted_below(&self) -> Offset {
        let start = self.start.log_start.unwrap_or(0);
        // While a cut is under way that reaches below the log start, the log end stands below it.
        self.start.state.map_or(start, |state| start.min(state.log_end))
    }

    /// Scans the segment at `place`; damage in deleted records is noted and passed over. `None` where
    /// there was such: the segment holds deleted records alone then, and the next one of `folder` goes
    /// on, if need be one that was made of its live batches.
    pub(super) fn scan_around_buried(
        &self,
        folder: &mut Folder,
        place: usize,
        file: &File,
        mut start: ScanStart,
        checked: &mut Checked,
    ) -> Result<Option<Scan>, OpenError> {
        let (base, len) = folder.logs[place];
        let following = folder.logs.get(place + 1).map(|(following, _)| *following);
        let deleted = self.deleted_below();
        let is_deleted = following.is_some_and(|following| following <= deleted);
        let rule = folder.rule(place, self.config.compacted);
        let mut scanner = Scanner::new(file, rule, start.position, len)?;
        let mut live = None;
        let found = loop {
            let found = scanner.advance(start, deleted)?;
            let Some(damage) = &found.damage else { break found };
            // Bytes before a segment's very first batch hold no record, deleted or not: they are damage
            // like any other.
            let resumes = damage
                .resumes_at
                .filter(|(_, header)| found.next_offset < deleted && header.base_offset > base);
            if resumes.is_none() && (!is_deleted || following == Some(found.next_offset)) {
                break found;
            }
            checked.buried.push(DamagedRange::of(damage, base, found.next_offset));
            let Some((position, header)) = resumes else { break found };
            start = ScanStart { position, expected_offset: header.base_offset };
            live = Some(start);
            if following == Some(start.expected_offset) {
                // A crash came between [`Self::unearth`] and the end of that recovery.
                folder.logs[place].1 = position;
                break found;
            }
        };
        if let Some(live) = live.filter(|_| !is_deleted) {
            self.unearth(folder, place, live)?;
        }
        checked.next = found.next_offset;
        if is_deleted || checked.has_buried(base) {
            // Where it ends does not matter: the segment that [`Self::unearth`] made may begin before.
            checked.next = folder.logs.get(place + 1).map_or(found.next_offset, |(next, _)| *next);
        }
        if checked.has_buried(base) {
            return Ok(None);
        }
        if found.damage.is_none() {
            return Ok(Some(found));
        }
        // All that stands behind tells what it is.
        let (position, expected_offset) = (found.valid_end, found.next_offset);
        let from = ScanStart { position, expected_offset };
        Ok(Some(scan(file, rule, from, len, |_, _| {})?))
    }

    /// Copies the segment at `place` from `live` on into one of its own, durably. Both are there until
    /// the recovery is done; whatever a crash leaves of it is found as it was, or as it is to be.
    fn unearth(&self, folder: &mut Folder, place: usize, live: ScanStart) -> Result<(), OpenError> {
        let (storage, (base, len)) = (self.storage(), folder.logs[place]);
        let path = file_path(&self.path, live.expected_offset, Suffix::Log);
        let temporary = path.with_extension("log.tmp");
        let copied = storage.open(&temporary, Open::Create)?;
        copied.set_len(0)?;
        let source = storage.open(&file_path(&self.path, base, Suffix::Log), Open::Read)?;
        copy_range(&source, live.position, u64::MAX, &copied)?;
        copied.sync(SyncKind::All)?;
        storage.rename(&temporary, &path)?;
        storage.sync_dir(&self.path)?;
        folder.logs[place].1 = live.position;
        folder.logs.insert(place + 1, (live.expected_offset, len - live.position));
        Ok(())
    }

    /// The segments without those that hold deleted records alone, where some of these are damaged: their
    /// files go, the oldest first, as what is left is to follow each other.
    pub(super) fn without_buried(
        &self,
        set: SegmentSet,
        found: &mut Recovered,
    ) -> Result<SegmentSet, OpenError> {
        if found.buried.is_empty() {
            return Ok(set);
        }
        let count = self.count_buried(found);
        for segment in found.sealed.drain(..count) {
            remove_segment(self.storage(), &self.path, segment.base_offset())?;
            self.storage().sync_dir(&self.path)?;
        }
        Ok(set.without_prefix(count).0)
    }

    /// How many segments [`Self::without_buried`] will remove.
    fn count_buried(&self, found: &Recovered) -> usize {
        if found.buried.is_empty() {
            return 0;
        }
        let deleted = self.deleted_below();
        found.sealed.partition_point(|segment| segment.next_offset() <= deleted)
    }

    /// Base offset of the first segment that stays.
    pub(super) fn first_kept(&self, found: &Recovered) -> Offset {
        let kept = found.sealed.get(self.count_buried(found));
        kept.unwrap_or(found.active.segment()).base_offset()
    }
}

impl Checked {
    pub(super) fn has_buried(&self, segment: Offset) -> bool {
        self.buried.iter().any(|range| range.segment == segment)
    }

    /// Whether the segment was made of the live batches of another one, without that one's indexes.
    pub(super) fn is_unearthed(&self, segment: Offset) -> bool {
        let resumes = self.buried.iter().filter_map(|range| range.resumes_at);
        resumes.into_iter().any(|(_, offset)| offset == segment)
    }
}
