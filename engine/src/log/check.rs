//! The check of a log after a crash, from the recovery point on, and what is done where it stops.
//!
//! What it believes it reads from the device: after a failed sync the page cache shows bytes that the
//! device lacks, and the next sync says nothing of it.

use std::sync::Arc;

use super::{
    Cut, DamagedRange, OpenError,
    damage::{Finding, Verdict, judge, survey},
    folder::{Folder, INDEXES, remove_segment},
    recover::{Recovered, UnrecoveredLog},
    state::PartitionState,
};
use crate::{
    error::Corruption,
    io::{Open, SyncKind},
    segment::{
        ActiveSegment, Damage, SEALS_FILE, Scan, ScanStart, Seal, Seals, Segment, SegmentError,
        Suffix, Trust, cut_log, file_path,
    },
    types::{Durability, Offset},
};

impl UnrecoveredLog {
    /// Checks every batch from the recovery point on.
    pub(super) fn check(
        &self,
        folder: &mut Folder,
        seals: &mut Seals,
    ) -> Result<Recovered, OpenError> {
        let mut point = self.start.recovery_point;
        if let Some((last, _)) = folder.logs.last().filter(|_| self.start.clean) {
            // Not as it was closed.
            point = point.min(*last);
        }
        // The segment before the recovery point is looked at too where one begins at that point: it may
        // have been rolled since, and its trimming lost.
        let first = folder.logs.partition_point(|(base, _)| *base < point).saturating_sub(1);
        let mut sealed: Vec<_> = folder.logs[..first]
            .iter()
            .zip(&folder.logs[1..])
            .map(|((base, len), (next, _))| self.sealed(*base, *len, *next, seals))
            .collect();
        let next = folder.logs[first].0;
        let mut checked = Checked { from: None, bytes: 0, next, buried: Vec::new() };
        for (base, _) in &folder.logs[first..] {
            for suffix in INDEXES {
                self.storage().drop_cached(&file_path(&self.path, *base, suffix))?;
            }
        }
        let mut place = first;
        while place < folder.logs.len() {
            if let Some(found) = self.check_one(folder, place, point, &mut checked)? {
                return self.stop(folder, &found, seals, sealed, &checked);
            }
            let (base, len) = folder.logs[place];
            place += 1;
            self.drop_overtaken(folder, place, checked.next)?;
            match folder.logs.get(place) {
                Some((next, _)) if checked.has_buried(base) => {
                    sealed.push(self.sealed(base, len, *next, seals));
                }
                // Something is missing: no index is cut to a log that may be put right again.
                Some((next, _))
                    if self.missing_before(*next, checked.next).is_some()
                        && !twin!(IndexesCutUnjudged) =>
                {
                    sealed.push(self.sealed(base, len, checked.next, seals));
                }
                Some(_) => sealed.push(self.reseal(base, seals, &sealed, &checked)?),
                None => {}
            }
        }
        self.end(folder, &checked, sealed, seals)
    }

    /// A last segment that is empty, and that the one before it has overtaken: a roll that failed has left it,
    /// and its clean-up failed too.
    fn drop_overtaken(
        &self,
        folder: &mut Folder,
        place: usize,
        next: Offset,
    ) -> Result<(), OpenError> {
        let is_last = place + 1 == folder.logs.len();
        if let Some((base, 0)) = folder.logs.get(place).copied()
            && is_last
            && base < next
        {
            remove_segment(self.storage(), &self.path, base)?;
            self.storage().sync_dir(&self.path)?;
            folder.logs.pop();
        }
        Ok(())
    }

    /// Checks one segment; gives the place where it stops.
    fn check_one(
        &self,
        folder: &mut Folder,
        place: usize,
        point: Offset,
        checked: &mut Checked,
    ) -> Result<Option<Stop>, OpenError> {
        let (base, len) = folder.logs[place];
        if let Some(corruption) = self.missing_before(base, checked.next) {
            let (next, damage) = (checked.next, gap(corruption, 0));
            return Ok(Some(Stop { place, base, valid_end: 0, next, damage }));
        }
        let path = file_path(&self.path, base, Suffix::Log);
        let how = if twin!(RecoveryThroughCache) { Open::Read } else { Open::Direct };
        let device = self.storage().open(&path, how)?;
        let start = self.start_of_scan(base, len, point);
        checked.from.get_or_insert(start.expected_offset);
        checked.bytes += len - start.position.min(len);
        let Some(found) = self.scan_around_buried(folder, place, &device, start, checked)? else {
            return Ok(None);
        };
        let Scan { valid_end, next_offset: next, damage: Some(damage) } = found else {
            return Ok(None);
        };
        if self.is_reserve(&damage, next, later_log(folder, place)) {
            let file = self.storage().open(&path, Open::Write)?;
            cut_log(self.storage(), &self.path, base, file, valid_end)?.sync(SyncKind::All)?;
            return Ok(None);
        }
        Ok(Some(Stop { place, base, valid_end, next, damage }))
    }

    /// Base offset of the first segment that is not as it was sealed, or that does not reach up to the next
    /// one: a file was lost or cut, and to believe the recovery point would pass over a gap.
    pub(super) fn first_in_doubt(&self, folder: &Folder, seals: &Seals) -> Option<Offset> {
        // Another program's cleaning changes lengths, and leaves gaps.
        let pairs = folder.logs.windows(2).filter(|_| !self.config.compacted);
        let is_in_doubt = |base, len, next| {
            let seal = seals.get(base);
            seal.is_some_and(|seal| seal.log_len != len || seal.next_offset != next)
        };
        pairs
            .map(|pair| (pair[0], pair[1].0))
            .find(|((base, len), next)| is_in_doubt(*base, *len, *next))
            .map(|((base, _), _)| base)
    }

    /// Whether nothing is missing where the batches of a segment end before its file does: the next
    /// segment goes on at that offset, so the file was not trimmed yet when it was rolled; or the rest
    /// is what `preallocate` reserved, or was written with zeros ahead. `later` is the segment behind; an empty
    /// one may be what a failed roll has left.
    fn is_reserve(&self, damage: &Damage, next: Offset, later: Option<(Offset, u64)>) -> bool {
        let is_zeros = self.config.reserves() && damage.all_zero;
        damage.is_torn_tail()
            && match later {
                Some((base, _)) if base == next => true,
                Some((base, 1..)) => self.config.compacted && is_zeros && base > next,
                Some((_, 0)) | None => is_zeros && next >= self.durable_end,
            }
    }

    /// Every byte was checked; what is left to see is whether there are enough of them. Before the last segment
    /// is opened, which cuts its indexes to its log.
    fn end(
        &self,
        folder: &Folder,
        checked: &Checked,
        sealed: Vec<Arc<Segment>>,
        seals: &mut Seals,
    ) -> Result<Recovered, OpenError> {
        let place = folder.logs.len() - 1;
        let (base, next) = (folder.logs[place].0, checked.next);
        if twin!(IndexesCutUnjudged) {
            self.reopen(base, seals, &sealed, checked)?;
        }
        let durable = self.durable_end;
        if let Some(state) = self.start.state
            && next < state.log_start
            && next != state.log_end
            && durable <= state.log_start
        {
            return self.empty(folder, checked, state.log_start);
        }
        if next < durable {
            // The file is shorter than what was durable, and ends at a batch's end.
            let path = file_path(&self.path, base, Suffix::Log);
            let len = self.storage().open(&path, Open::Read)?.len()?;
            let corruption = Corruption::new(&path, len, "log end offset", durable, next);
            let damage = gap(corruption, len);
            let found = Stop { place, base, valid_end: len, next, damage };
            return self.stop(folder, &found, seals, sealed, checked);
        }
        let active = self.reopen(base, seals, &sealed, checked)?;
        Ok(checked.recovered(sealed, active, None, Vec::new()))
    }

    /// Nothing durable stands at or behind the log start, and the log ends before it: what is left was
    /// deleted, and a cut or a restart that went through it was interrupted (Kafka: `LogLoader.load`).
    fn empty(
        &self,
        folder: &Folder,
        checked: &Checked,
        log_start: Offset,
    ) -> Result<Recovered, OpenError> {
        for (base, _) in folder.logs.iter().rev() {
            remove_segment(self.storage(), &self.path, *base)?;
            self.storage().sync_dir(&self.path)?;
        }
        let active = self.new_segment(log_start)?;
        Ok(checked.recovered(Vec::new(), active, None, Vec::new()))
    }

    /// Segments must follow each other, unless compaction or deletion took what was between.
    fn missing_before(&self, base: Offset, expected: Offset) -> Option<Corruption> {
        let may_miss = self.config.compacted || base <= self.deleted_below();
        let missing = base != expected && !(may_miss && base > expected);
        missing.then(|| {
            let path = file_path(&self.path, base, Suffix::Log);
            Corruption::new(path, 0, "base offset of the segment", expected, base)
        })
    }

    /// Where the check of a segment begins: at the batch below the recovery point, if it is found
    /// through the index, otherwise at its first byte. Surely a batch's begin: from within one a check would
    /// cut off what is whole.
    fn start_of_scan(&self, base: Offset, len: u64, point: Offset) -> ScanStart {
        let whole = ScanStart { position: 0, expected_offset: base };
        if point <= base {
            return whole;
        }
        let segment = self.sealed(base, len, Offset::MAX, &Seals::default());
        match segment.locate_surely(point - 1) {
            Ok(Some((position, header))) if header.last_offset() < point => {
                ScanStart { position, expected_offset: header.base_offset }
            }
            // The check that follows says what is wrong there.
            Ok(_) | Err(_) => whole,
        }
    }

    /// A segment that was rolled, but not yet durable: its indexes are made whole again.
    fn reseal(
        &self,
        base: Offset,
        seals: &mut Seals,
        before: &[Arc<Segment>],
        checked: &Checked,
    ) -> Result<Arc<Segment>, OpenError> {
        let active = self.reopen(base, seals, before, checked)?;
        let (segment, seal) = active.seal().map_err(|failure| failure.error)?;
        seals.insert(seal);
        Ok(segment)
    }

    /// Opens a segment whose log is whole, to append to it. `before` are those before it.
    fn reopen(
        &self,
        base: Offset,
        seals: &Seals,
        before: &[Arc<Segment>],
        checked: &Checked,
    ) -> Result<ActiveSegment, OpenError> {
        // A seal that says otherwise than the batches, which are read by now, is wrong.
        let seal = seals.get(base).filter(|seal| seal.next_offset == checked.next);
        let (mut active, mut believed) = self.open_segment(base, seal)?;
        if checked.is_unearthed(base) {
            believed = base;
        }
        self.restore_aborted(&mut active, before, &checked.buried, believed)?;
        Ok(active)
    }

    /// The segment, and below which offset its aborted transactions are believed.
    fn open_segment(
        &self,
        base: Offset,
        seal: Option<&Seal>,
    ) -> Result<(ActiveSegment, Offset), OpenError> {
        let open =
            |trust| ActiveSegment::open(self.storage(), &self.path, base, &self.options, trust);
        match open(seal.map_or(Trust::Indexes, Trust::Seal)) {
            Err(SegmentError::Corrupt(corruption)) => {
                tracing::warn!(%corruption, "the indexes are made anew from the log");
                Ok((open(Trust::Nothing)?, base))
            }
            other => Ok((other?, self.start.recovery_point.max(base))),
        }
    }

    /// Ends the log at a damaged place, one way or the other.
    fn stop(
        &self,
        folder: &Folder,
        found: &Stop,
        seals: &mut Seals,
        mut sealed: Vec<Arc<Segment>>,
        checked: &Checked,
    ) -> Result<Recovered, OpenError> {
        // A segment that a gap precedes stands behind the damage itself.
        let is_gap = found.valid_end == 0 && found.next != found.base;
        let later = &folder.logs[found.place + usize::from(!is_gap)..];
        let later_segments = later.iter().any(|(_, len)| *len > 0);
        let durable_end = self.durable_end;
        let deleted = self.deleted_below();
        if !later_segments
            && found.damage.is_torn_tail()
            && found.next < deleted
            && durable_end <= deleted
        {
            // Only deleted records are damaged, and there are no others.
            return self.empty(folder, checked, deleted);
        }
        let verdict = judge(Finding {
            valid_until: found.next,
            durable_end,
            reach: found.reach(later),
            later_segments,
            durability: self.promised()?,
            on_damage: self.config.on_damage,
        });
        tracing::warn!(partition = %self.partition, ?verdict, cause = %found.damage.corruption, "damaged log");
        if verdict == Verdict::Refuse {
            let (active, damage) = self.keep(folder, found, seals, &mut sealed, checked)?;
            return Ok(checked.recovered(sealed, active, None, damage));
        }
        self.claim_less(folder, found.next)?;
        let cut = super::damage::cut(
            self.storage(),
            &self.path,
            &folder.logs[found.place..],
            found.valid_end,
            found.next,
            found.damage.corruption.clone(),
            verdict == Verdict::CutAndKeepAside,
        )?;
        // A segment that a gap precedes goes whole: the one before it is appended to again.
        let active = match sealed.pop_if(|_| is_gap) {
            Some(before) => {
                remove_segment(self.storage(), &self.path, found.base)?;
                self.storage().sync_dir(&self.path)?;
                self.reopen(before.base_offset(), seals, &sealed, checked)?
            }
            None => self.reopen(found.base, seals, &sealed, checked)?,
        };
        Ok(checked.recovered(sealed, active, Some(cut), Vec::new()))
    }

    /// What the acknowledgements of this log meant. Kafka's are `Written`, whatever is asked for from now
    /// on: a log was ours where our checkpoint knows it, or where our seals stand beside it.
    fn promised(&self) -> Result<Durability, OpenError> {
        let is_ours =
            self.start.state.is_some() || self.storage().exists(&self.path.join(SEALS_FILE))?;
        Ok(if is_ours { self.config.durability } else { Durability::Written })
    }

    /// Before anything is cut, the checkpoints cease to speak of it: they would vouch for what is
    /// appended in its place (redpanda#31470).
    fn claim_less(&self, folder: &Folder, end: Offset) -> Result<(), OpenError> {
        let (start, first) = (&self.start, folder.logs[0].0);
        // Kafka's log start may lag behind its deletions, which our own may not: to take it over as ours
        // would have the next open miss what is gone.
        let log_start = start.log_start.unwrap_or(first).max(first);
        let state = start.state.unwrap_or(PartitionState {
            log_start,
            recovery_point: start.recovery_point,
            durable_end: start.recovery_point,
            high_watermark: start.high_watermark.unwrap_or(0).max(log_start),
            // At or behind the log start, or it would speak of a cut that goes through it.
            log_end: start.recovery_point.max(log_start),
            epochs_crc: None,
        });
        // Without a state of ours Kafka's checkpoint stands as it was found, which may be higher.
        let claimed = start.recovery_point.max(state.durable_end).max(state.log_start);
        if claimed > end || start.state.is_none() {
            self.dir.persist_one(&self.partition, state.lowered_to(end))?;
        }
        Ok(())
    }

    /// Leaves every byte where it is: what is valid stays readable, and an empty segment behind it all
    /// takes no appends until the owner has decided.
    fn keep(
        &self,
        folder: &Folder,
        found: &Stop,
        seals: &Seals,
        sealed: &mut Vec<Arc<Segment>>,
        checked: &Checked,
    ) -> Result<(ActiveSegment, Vec<DamagedRange>), OpenError> {
        let mut ranges = Vec::new();
        let mut end = found.next.min(found.base);
        for (place, (base, len)) in folder.logs.iter().enumerate().skip(found.place) {
            // What is missing behind a damage was damaged too.
            let is_known = ranges.last().is_some_and(|range: &DamagedRange| range.offset == end);
            let missing = self.missing_before(*base, end).filter(|_| *len > 0 && !is_known);
            if let Some(corruption) = missing {
                ranges.push(DamagedRange {
                    corruption,
                    segment: *base,
                    position: 0,
                    offset: end,
                    resumes_at: Some((0, *base)),
                });
            }
            let file = file_path(&self.path, *base, Suffix::Log);
            let file = self.storage().open(&file, Open::Direct)?;
            let following = folder.logs.get(place + 1).map(|(next, _)| *next);
            let rule = folder.rule(place, self.config.compacted);
            let reserve =
                |damage: &Damage, next| self.is_reserve(damage, next, later_log(folder, place));
            let valid_end = survey(&file, rule, *len, &mut end, &mut ranges, reserve)?;
            let next = following.unwrap_or(end);
            // All bytes of a log may be missing: it begins where it did.
            let is_all = sealed.is_empty() && *base < self.durable_end;
            if *len > 0 || is_all {
                sealed.push(self.sealed(*base, valid_end, next, seals));
            }
        }
        let deleted = self.deleted_below();
        ranges.retain(|range| range.resumes_at.is_none_or(|(_, offset)| offset >= deleted));
        if ranges.is_empty() {
            ranges.push(DamagedRange {
                corruption: found.damage.corruption.clone(),
                segment: found.base,
                position: found.valid_end,
                offset: found.next,
                resumes_at: None,
            });
        }
        let damage: Vec<_> = checked.buried.iter().chain(&ranges).cloned().collect();
        self.tell_aborted(sealed, &damage)?;
        let durable = self.durable_end;
        let mut base = end.max(durable);
        // A last segment with bytes but without a batch stays as it is, before the new one; an empty one may
        // stand behind it.
        if let Some((last, _)) = folder.logs.iter().rfind(|(_, len)| *len > 0) {
            base = base.max(last + 1);
        }
        let exists = folder.logs.iter().any(|(other, len)| *other == base && *len == 0);
        // Nothing is aborted in an empty segment.
        let active = if exists {
            self.open_segment(base, seals.get(base))?.0
        } else {
            self.new_segment(base)?
        };
        Ok((active, ranges))
    }
}

/// The segment behind the one at `place`.
fn later_log(folder: &Folder, place: usize) -> Option<(Offset, u64)> {
    folder.logs.get(place + 1).copied()
}

/// How far the check came.
pub(super) struct Checked {
    /// Where it began.
    from: Option<Offset>,
    bytes: u64,
    /// Offset behind the last batch.
    pub(super) next: Offset,
    /// Damage that deleted records alone have, oldest first.
    pub(super) buried: Vec<DamagedRange>,
}

impl Checked {
    fn recovered(
        &self,
        sealed: Vec<Arc<Segment>>,
        active: ActiveSegment,
        cut: Option<Cut>,
        damage: Vec<DamagedRange>,
    ) -> Recovered {
        let checked_from = self.from.unwrap_or(self.next);
        let (buried, checked_bytes) = (self.buried.clone(), self.bytes);
        Recovered { sealed, active, cut, damage, buried, checked_from, checked_bytes }
    }
}

/// Where the check stopped.
struct Stop {
    place: usize,
    base: Offset,
    valid_end: u64,
    next: Offset,
    damage: Damage,
}

/// A damage that is no batch's: offsets or bytes are missing at byte 0 of the segment at `base`.
fn gap(corruption: Corruption, position: u64) -> Damage {
    Damage {
        corruption,
        position,
        resumes_at: None,
        valid_after_bytes: 0,
        valid_after_end: position,
        all_zero: false,
        undecided: false,
    }
}

impl Stop {
    /// Bytes from the damage to the end of the last batch behind it.
    fn reach(&self, later: &[(Offset, u64)]) -> u64 {
        let here = self.damage.valid_after_end.saturating_sub(self.damage.position);
        let behind: u64 = later.iter().map(|(_, len)| *len).sum();
        if self.damage.undecided { u64::MAX } else { here.saturating_add(behind) }
    }
}
