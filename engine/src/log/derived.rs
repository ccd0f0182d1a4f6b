//! What stands beside a log and follows from it: leader epochs, producers' state, aborted
//! transactions. Believed where it can be, made anew from the batches where not.

use std::{ops::Range, path::Path, sync::Arc};

use super::{
    DamagedRange, OpenError,
    aborted::replayed,
    checkpoint::{CheckpointError, LEADER_EPOCHS},
    epochs::LeaderEpochs,
    producers::{
        AbortedTransaction, EndTransaction, ProducerStates, load_newest_snapshot, snapshot_offsets,
        snapshot_path,
    },
    recover::{Recovered, UnrecoveredLog},
};
use crate::{
    error::{Corruption, IoError},
    io::Storage,
    record::{BatchError, BatchHeader, Decoder},
    segment::{ActiveSegment, Segment, SegmentError, SegmentSet},
    types::{LeaderEpoch, Offset},
};

impl UnrecoveredLog {
    /// The leader epochs, and whether their file says otherwise: what the checkpoint says, unless it is damaged or
    /// says what the log does not.
    pub(super) fn epochs(
        &self,
        set: &SegmentSet,
        clean: bool,
        damage: &[DamagedRange],
        log_start: Offset,
        log_end: Offset,
        rebuilt: &mut Vec<Corruption>,
    ) -> Result<(LeaderEpochs, bool), OpenError> {
        let loaded = match LeaderEpochs::load(self.storage(), &self.path) {
            Ok(Some(loaded)) => Ok(loaded),
            Ok(None) if self.start.state.is_some_and(|state| state.epochs_crc.is_some()) => {
                let path = self.path.join(LEADER_EPOCHS);
                Err(Corruption::new(path, 0, "leader epochs", "a file", "none"))
            }
            Ok(None) => Ok(LeaderEpochs::new()),
            Err(CheckpointError::Io(error)) => return Err(error.into()),
            Err(CheckpointError::Corrupt(corruption)) if twin!(DamagedEpochsRefused) => {
                return Err(corruption.into());
            }
            Err(CheckpointError::Corrupt(corruption)) => Err(corruption),
        };
        let expected = self.start.state.filter(|_| clean).map(|state| state.epochs_crc);
        let loaded = loaded.and_then(|epochs| {
            let found = (!epochs.entries().is_empty()).then(|| epochs.checksum());
            match expected {
                Some(expected) if expected != found => Err(Corruption::new(
                    self.path.join(LEADER_EPOCHS),
                    0,
                    "checksum of the file",
                    format!("{expected:08x?}"),
                    format!("{found:08x?}"),
                )),
                _ => Ok(epochs),
            }
        });
        let loaded = match loaded {
            Ok(epochs) => match self.contradiction(&epochs, set, clean, log_start..log_end)? {
                Some(corruption) => Err(corruption),
                None => Ok(epochs),
            },
            Err(corruption) => Err(corruption),
        };
        let (mut epochs, mut changed) = match loaded {
            Ok(epochs) => (epochs, false),
            Err(corruption) => {
                rebuilt.push(corruption);
                (LeaderEpochs::rebuild(terms(set.as_slice(), damage, log_start)?), true)
            }
        };
        changed |= epochs.truncate_from_end(log_end);
        // Our checkpoint is written before a term's first batch, so one that it does not know is damage.
        // Kafka's may be behind after a crash; where it says nothing, the batches do.
        let says_nothing = epochs.entries().is_empty();
        if self.start.state.is_none() && (says_nothing || !clean) {
            let point = self.start.recovery_point;
            let segments = if says_nothing { set.as_slice() } else { set.from(point) };
            for (offset, epoch) in terms(segments, damage, log_start)? {
                changed |= epochs.observe(offset, epoch);
            }
        }
        // Last: a segment that is kept may begin before the log start.
        changed |= epochs.truncate_from_start(log_start);
        Ok((epochs, changed))
    }

    /// What the batches say against the checkpoint of leader epochs where our state does not vouch for its
    /// bytes: after a crash the terms that it names must begin where it says.
    fn contradiction(
        &self,
        epochs: &LeaderEpochs,
        set: &SegmentSet,
        clean: bool,
        offsets: Range<Offset>,
    ) -> Result<Option<Corruption>, OpenError> {
        let mut doubted = Vec::new();
        let known = self.start.state.map(|state| state.epochs_crc);
        if clean {
            if known.is_none() && is_behind(epochs, set, &offsets)? {
                doubted.push(offsets.end - 1);
            }
        } else if known != Some(Some(epochs.checksum())) {
            let begins = epochs.entries().iter().map(|entry| entry.start_offset);
            doubted.extend(begins.flat_map(|start| [start - 1, start]));
            if known.is_some() {
                // Another program's file may not know the last terms.
                doubted.extend([offsets.start, offsets.end - 1]);
            }
        }
        for offset in doubted.into_iter().filter(|offset| offsets.contains(offset)) {
            let Some(header) = header_at(set, offset)? else { continue };
            let (expected, found) = (Some(header.leader_epoch), epochs.epoch_for(offset));
            if header.leader_epoch >= 0 && expected != found && !is_alone(&header, epochs, set)? {
                let path = self.path.join(LEADER_EPOCHS);
                let what = "leader epoch of an offset";
                let text = |epoch: Option<LeaderEpoch>| format!("{epoch:?} at offset {offset}");
                return Ok(Some(Corruption::new(path, 0, what, text(expected), text(found))));
            }
        }
        Ok(None)
    }

    /// The producers' state at the log end.
    pub(super) fn producers(
        &self,
        set: &SegmentSet,
        found: &mut Recovered,
        log_start: Offset,
        log_end: Offset,
        rebuilt: &mut Vec<Corruption>,
    ) -> Result<ProducerStates, OpenError> {
        drop_snapshots_above(self.storage(), &self.path, log_end)?;
        let now = self.clock.wall_ms();
        let (storage, damage) = (self.storage(), found.all_damage());
        let mut producers = producers_at(storage, &self.path, set, &damage, log_end, now)?;
        rebuilt.extend(producers.damaged);
        producers.states.log_start_moved(log_start);
        let from = producers.snapshot.max(found.active.base_offset());
        let earlier = if damage.is_empty() { Vec::new() } else { entries(found.active.segment()) };
        set_aborted(&mut found.active, from, producers.aborted, &earlier)?;
        Ok(producers.states)
    }

    /// Makes the index of aborted transactions of a segment that was closed without a seal say what its
    /// batches say: no checksum vouches for what the file held.
    pub(super) fn confirm_aborted(&self, active: &mut ActiveSegment) -> Result<(), OpenError> {
        let segment = active.segment().clone();
        let now = self.clock.wall_ms();
        if let Some(entries) = replayed(self.storage(), &self.path, &segment, now)? {
            active.restore_transactions(segment.base_offset(), entries)?;
        }
        Ok(())
    }

    /// Makes the index of a segment's aborted transactions say what the batches say from `believed` on:
    /// below, the file is durable. `before` are the segments before, `damage` what of them is passed over.
    pub(super) fn restore_aborted(
        &self,
        active: &mut ActiveSegment,
        before: &[Arc<Segment>],
        damage: &[DamagedRange],
        believed: Offset,
    ) -> Result<(), OpenError> {
        let (base, now) = (active.base_offset(), self.clock.wall_ms());
        let first = before.first().map_or(base, |first| first.base_offset());
        let (mut states, _) =
            load_newest_snapshot(self.storage(), &self.path, first, believed, now)?;
        let from = states.end_offset().max(base);
        let mut aborted = Vec::new();
        for segment in before.iter().chain([active.segment()]) {
            if segment.next_offset() > states.end_offset() {
                replay(segment, damage, &mut states, now, &mut aborted)?;
            }
        }
        let damaged = before.last().filter(|_| !damage.is_empty());
        let earlier = damaged.map_or_else(Vec::new, |before| entries(before));
        set_aborted(active, from, aborted, &earlier)
    }

    /// Tells the segments that are `kept` around `damage` which transactions were aborted in them. From the
    /// recovery point on no index file needs to be durable, so the batches are asked as well. In memory alone:
    /// nothing is changed before the owner has decided.
    pub(super) fn tell_aborted(
        &self,
        kept: &[Arc<Segment>],
        damage: &[DamagedRange],
    ) -> Result<(), OpenError> {
        let Some(first) = kept.first().map(|first| first.base_offset()) else { return Ok(()) };
        let (now, believed) = (self.clock.wall_ms(), self.start.recovery_point.max(first));
        let (mut states, _) =
            load_newest_snapshot(self.storage(), &self.path, first, believed, now)?;
        for segment in kept {
            if segment.next_offset() <= states.end_offset() || twin!(AbortedNotTold) {
                continue;
            }
            let mut aborted = Vec::new();
            replay(segment, damage, &mut states, now, &mut aborted)?;
            let stored = match segment.load_transactions() {
                Ok(_) if segment.seal().is_some() => continue,
                Ok(stored) => stored.iter().collect(),
                Err(SegmentError::Corrupt(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            let here = segment.base_offset()..segment.next_offset();
            add_known(&mut aborted, stored.into_iter().filter(|it| here.contains(&it.last_offset)));
            segment.tell_transactions(aborted);
        }
        Ok(())
    }
}

/// Whether another program's checkpoint does not know the last term, in which a leader could then begin
/// an earlier one. No checksum covers a batch's epoch, so it takes two batches to speak against what the
/// file says.
fn is_behind(
    epochs: &LeaderEpochs,
    set: &SegmentSet,
    offsets: &Range<Offset>,
) -> Result<bool, OpenError> {
    let Some(latest) = epochs.latest().filter(|_| !offsets.is_empty()) else { return Ok(false) };
    let Some(last) = header_at(set, offsets.end - 1)? else { return Ok(false) };
    if last.leader_epoch <= latest.epoch {
        return Ok(false);
    }
    let before = header_at(set, last.base_offset - 1)?;
    Ok(before.is_some_and(|before| before.leader_epoch == last.leader_epoch))
}

/// Whether it is the batch that is wrong where it and the file name different leader epochs, as no checksum
/// covers the batch's: no batch beside it agrees with it, and one does with the file, in the same term.
fn is_alone(
    header: &BatchHeader,
    epochs: &LeaderEpochs,
    set: &SegmentSet,
) -> Result<bool, OpenError> {
    let said = epochs.epoch_for(header.last_offset());
    let mut file_has_witness = false;
    for offset in [header.base_offset - 1, header.next_offset()] {
        let Some(beside) = header_at(set, offset)? else { continue };
        if beside.leader_epoch == header.leader_epoch {
            return Ok(false);
        }
        file_has_witness |= Some(beside.leader_epoch) == said && epochs.epoch_for(offset) == said;
    }
    Ok(file_has_witness)
}

/// Header of the batch that holds `offset`; `None` where there is none, or it is damaged.
fn header_at(set: &SegmentSet, offset: Offset) -> Result<Option<BatchHeader>, OpenError> {
    let Some(segment) = set.floor(offset) else { return Ok(None) };
    match segment.locate(offset) {
        Ok(found) => Ok(found.map(|(_, header)| header)),
        Err(SegmentError::Corrupt(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The state of a log's producers, as its files say it.
pub(super) struct ProducersAt {
    pub(super) states: ProducerStates,
    /// Offset of the snapshot that it comes from.
    pub(super) snapshot: Offset,
    /// Snapshots that could not be read.
    pub(super) damaged: Vec<Corruption>,
    /// Aborted transactions whose marker stands behind the snapshot.
    pub(super) aborted: Vec<AbortedTransaction>,
}

/// The producers of the log in `set`, which ends at `log_end`: the newest snapshot that can be read, and
/// what the log holds behind it. Deleted records count as long as their segment is there: the log start
/// may have no snapshot, and a repeated send is to be recognised all the same.
pub(super) fn producers_at(
    storage: &Storage,
    dir: &Path,
    set: &SegmentSet,
    damage: &[DamagedRange],
    log_end: Offset,
    now_ms: i64,
) -> Result<ProducersAt, SegmentError> {
    let first = set.first().map_or(log_end, |first| first.base_offset()).min(log_end);
    let (mut states, damaged) = load_newest_snapshot(storage, dir, first, log_end, now_ms)?;
    let snapshot = states.end_offset();
    let mut aborted = Vec::new();
    for segment in set.from(snapshot) {
        replay(segment, damage, &mut states, now_ms, &mut aborted)?;
    }
    Ok(ProducersAt { states, snapshot, damaged, aborted })
}

/// The aborted transactions of a segment, as far as its index can be read.
fn entries(segment: &Segment) -> Vec<AbortedTransaction> {
    segment.transactions().map_or_else(|_| Vec::new(), |index| index.iter().collect())
}

/// From `from` on, `aborted` is what the batches say. Where some are damaged, `earlier` is what an index
/// said before: the first batch of a transaction may be among them, or all but its marker.
fn set_aborted(
    active: &mut ActiveSegment,
    from: Offset,
    mut aborted: Vec<AbortedTransaction>,
    earlier: &[AbortedTransaction],
) -> Result<(), OpenError> {
    aborted.retain(|entry| entry.last_offset >= from);
    let here = from..active.next_offset();
    add_known(&mut aborted, earlier.iter().copied().filter(|it| here.contains(&it.last_offset)));
    for known in active.segment().transactions()?.iter() {
        let is_known = aborted.iter().any(|entry| entry.last_offset == known.last_offset);
        // The batches that are left do not say what began before them.
        if known.last_offset >= from && known.first_offset < from && !is_known {
            aborted.push(known);
        }
    }
    aborted.sort_by_key(|entry| entry.last_offset);
    Ok(active.restore_transactions(from, aborted)?)
}

/// Adds what an index says to what the batches say, in the order of the markers.
fn add_known(
    aborted: &mut Vec<AbortedTransaction>,
    index: impl Iterator<Item = AbortedTransaction>,
) {
    for known in index {
        match aborted.iter_mut().find(|entry| entry.last_offset == known.last_offset) {
            Some(entry) => entry.first_offset = entry.first_offset.min(known.first_offset),
            None => aborted.push(known),
        }
    }
    aborted.sort_by_key(|entry| entry.last_offset);
}

/// Where terms begin: base offset and leader epoch of their first batches. Deleted batches do not count:
/// their terms may be later ones than those of the records that took their place after a truncation. Nor
/// does one batch before others of an earlier term: terms never fall along a log, and no checksum covers
/// the epoch.
fn terms(
    segments: &[Arc<Segment>],
    damage: &[DamagedRange],
    log_start: Offset,
) -> Result<Vec<(Offset, LeaderEpoch)>, SegmentError> {
    let mut terms: Vec<(Offset, LeaderEpoch)> = Vec::new();
    let mut is_alone = false;
    for segment in segments {
        for_each_sound(segment, 0, damage, |_, header| {
            let epoch = header.leader_epoch;
            if header.next_offset() <= log_start || epoch < 0 {
                return Ok(());
            }
            if is_alone {
                terms.pop_if(|(_, last)| *last > epoch);
            }
            is_alone = terms.last().is_none_or(|(_, last)| *last != epoch);
            if is_alone {
                terms.push((header.base_offset, epoch));
            }
            Ok(())
        })?;
    }
    Ok(terms)
}

/// Notes the batches of a segment that `states` has not seen yet.
fn replay(
    segment: &Segment,
    damage: &[DamagedRange],
    states: &mut ProducerStates,
    now_ms: i64,
    aborted: &mut Vec<AbortedTransaction>,
) -> Result<(), SegmentError> {
    let from = states.end_offset().max(segment.base_offset());
    let is_whole = damage.iter().all(|range| range.segment != segment.base_offset());
    let start = match is_whole.then(|| segment.locate(from)).transpose()? {
        Some(Some((start, _))) => start,
        Some(None) => return Ok(()),
        None => 0,
    };
    let mut decoder = Decoder::new();
    for_each_sound(segment, start, damage, |position, header| {
        let mut marker = None;
        if header.attributes.is_control() {
            let bytes = segment.read(position, segment.len(), header.total_bytes(), true)?;
            let refuse = |error: BatchError| error.into_corruption(segment.path(), position);
            let batch = segment.batch_in(&bytes, position, header)?;
            marker = batch.marker(&mut decoder).map_err(refuse)?.map(EndTransaction::from);
        }
        aborted.extend(states.replay(header, marker, now_ms));
        Ok(())
    })
}

/// Walks over the batches of a segment from byte `start` on, around what is known to be damaged.
fn for_each_sound(
    segment: &Segment,
    start: u64,
    damage: &[DamagedRange],
    mut visit: impl FnMut(u64, &BatchHeader) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let mut stretches = vec![(start, u64::MAX)];
    for range in damage.iter().filter(|range| range.segment == segment.base_offset()) {
        if let Some(last) = stretches.last_mut() {
            last.1 = range.position;
        }
        match range.resumes_at {
            Some((position, _)) => stretches.push((position, u64::MAX)),
            None => break,
        }
    }
    for (mut position, end) in stretches {
        let mut headers = segment.headers(position);
        while position < end {
            let Some(item) = headers.next() else { break };
            let (at, header) = item?;
            visit(at, &header)?;
            position = at + header.total_bytes() as u64;
        }
    }
    Ok(())
}

/// Snapshots of offsets that the log does not reach speak of records that are gone.
pub(super) fn drop_snapshots_above(
    storage: &Storage,
    dir: &Path,
    log_end: Offset,
) -> Result<(), IoError> {
    let mut dropped = false;
    for offset in snapshot_offsets(storage, dir)? {
        if offset > log_end && !twin!(SnapshotsOutliveCut) {
            storage.remove_file(&snapshot_path(dir, offset))?;
            dropped = true;
        }
    }
    if dropped { storage.sync_dir(dir) } else { Ok(()) }
}
