//! The check of a log after a crash, from the recovery point on, and what is done where it stops.

use std::sync::Arc;

use super::{
    Cut, DamagedRange, OpenError,
    damage::{Finding, Verdict, judge},
    folder::Folder,
    recover::{Recovered, UnrecoveredLog},
};
use crate::{
    error::Corruption,
    io::Open,
    segment::{
        ActiveSegment, Damage, Scan, ScanStart, Seals, Segment, SegmentError, Suffix, Trust,
        file_path, scan,
    },
    types::Offset,
};

impl UnrecoveredLog {
    /// Checks every batch from the recovery point on.
    pub(super) fn check(&self, folder: &Folder, seals: &mut Seals) -> Result<Recovered, OpenError> {
        let point = self.start.recovery_point;
        // The segment before the recovery point is looked at too where one begins at that point: it may
        // have been rolled since, and its trimming lost.
        let first = folder.logs.partition_point(|(base, _)| *base < point).saturating_sub(1);
        let mut sealed: Vec<_> = folder.logs[..first]
            .iter()
            .zip(&folder.logs[1..])
            .map(|((base, len), (next, _))| self.sealed(*base, *len, *next, seals))
            .collect();
        let mut checked_from = None;
        let mut checked_bytes = 0;
        let mut expected = folder.logs[first].0;
        for (place, (base, len)) in folder.logs.iter().enumerate().skip(first) {
            let (base, len) = (*base, *len);
            let start = match self.missing_before(base, expected) {
                Some(corruption) => Err(corruption),
                None => Ok(self.start_of_scan(base, len, point)),
            };
            let file =
                self.storage().open(&file_path(&self.path, base, Suffix::Log), Open::Write)?;
            let (valid_end, next, damage) = match start {
                Err(corruption) => {
                    let damage = gap(corruption, 0);
                    (0, expected, Some(damage))
                }
                Ok(start) => {
                    checked_from.get_or_insert(start.expected_offset);
                    checked_bytes += len - start.position.min(len);
                    let gaps = self.config.compacted;
                    let mut scan = scan(&file, base, start, len, gaps, |_, _| {})?;
                    let follower = folder.logs.get(place + 1).map(|(base, _)| *base);
                    if is_prepared_space(&scan, follower) {
                        file.set_len(scan.valid_end)?;
                        scan.damage = None;
                    }
                    (scan.valid_end, scan.next_offset, scan.damage)
                }
            };
            expected = next;
            if let Some(damage) = damage {
                let found = Stop { place, base, valid_end, next, damage };
                let (active, cut, damage) = self.stop(folder, &found, seals, &mut sealed)?;
                let checked_from = checked_from.unwrap_or(next);
                return Ok(Recovered { sealed, active, cut, damage, checked_from, checked_bytes });
            }
            if place + 1 < folder.logs.len() {
                sealed.push(self.reseal(base, seals, &sealed)?);
            }
        }
        let (last, _) = folder.logs[folder.logs.len() - 1];
        let active = self.reopen(last, seals, &sealed)?;
        let durable = self.start.state.map_or(0, |state| state.durable_end);
        if active.next_offset() < durable {
            // The file is shorter than what was durable, and ends at a batch's end.
            let path = active.segment().path();
            let corruption =
                Corruption::new(path, active.len(), "log end offset", durable, expected);
            let found = Stop {
                place: folder.logs.len() - 1,
                base: last,
                valid_end: active.len(),
                next: expected,
                damage: gap(corruption, active.len()),
            };
            let (active, cut, damage) = self.stop(folder, &found, seals, &mut sealed)?;
            let checked_from = checked_from.unwrap_or(expected);
            return Ok(Recovered { sealed, active, cut, damage, checked_from, checked_bytes });
        }
        let checked_from = checked_from.unwrap_or(expected);
        Ok(Recovered { sealed, active, cut: None, damage: Vec::new(), checked_from, checked_bytes })
    }

    /// Segments must follow each other, unless compaction or deletion took what was between.
    fn missing_before(&self, base: Offset, expected: Offset) -> Option<Corruption> {
        let missing = base != expected && !(self.config.compacted && base > expected);
        missing.then(|| {
            let path = file_path(&self.path, base, Suffix::Log);
            Corruption::new(path, 0, "base offset of the segment", expected, base)
        })
    }

    /// Where the check of a segment begins: at the batch below the recovery point, if it is found
    /// through the index, otherwise at its first byte.
    fn start_of_scan(&self, base: Offset, len: u64, point: Offset) -> ScanStart {
        let whole = ScanStart { position: 0, expected_offset: base };
        if point <= base {
            return whole;
        }
        let view = self.sealed(base, len, Offset::MAX, &Seals::default());
        match view.locate(point - 1) {
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
    ) -> Result<Arc<Segment>, OpenError> {
        let active = self.reopen(base, seals, before)?;
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
    ) -> Result<ActiveSegment, OpenError> {
        let open =
            |trust| ActiveSegment::open(self.storage(), &self.path, base, &self.options, trust);
        let (mut active, believed) = match open(seals.get(base).map_or(Trust::Indexes, Trust::Seal))
        {
            Err(SegmentError::Corrupt(corruption)) => {
                tracing::warn!(%corruption, "the indexes are made anew from the log");
                (open(Trust::Nothing)?, base)
            }
            other => (other?, self.start.recovery_point.max(base)),
        };
        self.restore_aborted(&mut active, before, believed)?;
        Ok(active)
    }

    /// Ends the log at a damaged place, one way or the other.
    fn stop(
        &self,
        folder: &Folder,
        found: &Stop,
        seals: &mut Seals,
        sealed: &mut Vec<Arc<Segment>>,
    ) -> Result<(ActiveSegment, Option<Cut>, Vec<DamagedRange>), OpenError> {
        let later = &folder.logs[found.place + 1..];
        let verdict = judge(Finding {
            valid_until: found.next,
            durable_end: self.start.state.map_or(0, |state| state.durable_end),
            reach: found.reach(later),
            later_segments: later.iter().any(|(_, len)| *len > 0),
            durability: self.config.durability,
            on_damage: self.config.on_damage,
        });
        tracing::warn!(partition = %self.partition, ?verdict, cause = %found.damage.corruption, "damaged log");
        if verdict == Verdict::Refuse {
            let (active, damage) = self.keep(folder, found, seals, sealed)?;
            return Ok((active, None, damage));
        }
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
        let is_gap = found.valid_end == 0 && found.next != found.base;
        let active = match sealed.last().filter(|_| is_gap) {
            Some(before) => {
                let base = before.base_offset();
                sealed.pop();
                self.storage().remove_file(&file_path(&self.path, found.base, Suffix::Log))?;
                self.reopen(base, seals, sealed)?
            }
            None => self.reopen(found.base, seals, sealed)?,
        };
        Ok((active, Some(cut), Vec::new()))
    }

    /// Leaves every byte where it is: what is valid stays readable, and an empty segment behind it all
    /// takes no appends until the owner has decided.
    fn keep(
        &self,
        folder: &Folder,
        found: &Stop,
        seals: &Seals,
        sealed: &mut Vec<Arc<Segment>>,
    ) -> Result<(ActiveSegment, Vec<DamagedRange>), OpenError> {
        let mut ranges = Vec::new();
        let mut end = found.next;
        for (place, (base, len)) in folder.logs.iter().enumerate().skip(found.place) {
            let file =
                self.storage().open(&file_path(&self.path, *base, Suffix::Log), Open::Read)?;
            let mut start = ScanStart { position: 0, expected_offset: *base };
            let mut valid_end = 0;
            loop {
                let gaps = self.config.compacted;
                let scan = scan(&file, *base, start, *len, gaps, |_, _| {})?;
                if scan.valid_end > start.position {
                    (end, valid_end) = (end.max(scan.next_offset), scan.valid_end);
                }
                let Some(damage) = scan.damage else { break };
                let resumes = damage.resumes_at.filter(|(position, _)| *position > damage.position);
                ranges.push(DamagedRange {
                    corruption: damage.corruption,
                    segment: *base,
                    position: damage.position,
                    offset: scan.next_offset,
                    resumes_at: resumes.map(|(position, header)| (position, header.base_offset)),
                });
                let Some((position, header)) = resumes else { break };
                start = ScanStart { position, expected_offset: header.base_offset };
            }
            let next = folder.logs.get(place + 1).map_or(end, |(next, _)| *next);
            if *len > 0 {
                sealed.push(self.sealed(*base, valid_end, next, seals));
            }
        }
        if ranges.is_empty() {
            ranges.push(DamagedRange {
                corruption: found.damage.corruption.clone(),
                segment: found.base,
                position: found.valid_end,
                offset: found.next,
                resumes_at: None,
            });
        }
        let durable = self.start.state.map_or(0, |state| state.durable_end);
        let base = end.max(durable);
        let exists = folder.logs.iter().any(|(other, len)| *other == base && *len == 0);
        let active =
            if exists { self.reopen(base, seals, sealed)? } else { self.new_segment(base)? };
        Ok((active, ranges))
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

/// Whether only zeros stand behind the last batch of a segment that another one follows without a
/// gap: space that was reserved, whose trimming at the roll did not reach the device.
fn is_prepared_space(scan: &Scan, follower: Option<Offset>) -> bool {
    let all_zero = scan.damage.as_ref().is_some_and(|damage| damage.all_zero);
    all_zero && follower == Some(scan.next_offset)
}

impl Stop {
    /// Bytes from the damage to the end of the last batch behind it.
    fn reach(&self, later: &[(Offset, u64)]) -> u64 {
        let here = self.damage.valid_after_end.saturating_sub(self.damage.position);
        let behind: u64 = later.iter().map(|(_, len)| *len).sum();
        if self.damage.undecided { u64::MAX } else { here.saturating_add(behind) }
    }
}
