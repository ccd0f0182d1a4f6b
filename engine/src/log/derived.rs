//! What stands beside a log and follows from it: leader epochs, producers' state, aborted
//! transactions. Believed where it can be, made anew from the batches where not.

use std::{path::Path, sync::Arc};

use super::{
    OpenError,
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
    record::{Batch, BatchError, Decoder},
    segment::{ActiveSegment, Segment, SegmentError, SegmentSet},
    types::{LeaderEpoch, Offset},
};

impl UnrecoveredLog {
    /// The leader epochs: the checkpoint, unless it is damaged or says what the log does not.
    pub(super) fn epochs(
        &self,
        set: &SegmentSet,
        clean: bool,
        log_start: Offset,
        log_end: Offset,
        rebuilt: &mut Vec<Corruption>,
    ) -> Result<LeaderEpochs, OpenError> {
        let loaded = match LeaderEpochs::load(self.storage(), &self.path) {
            Ok(loaded) => Ok(loaded.unwrap_or_default()),
            Err(CheckpointError::Io(error)) => return Err(error.into()),
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
        let (mut epochs, mut changed) = match loaded {
            Ok(epochs) => (epochs, false),
            Err(corruption) => {
                rebuilt.push(corruption);
                (LeaderEpochs::rebuild(terms(set)?), true)
            }
        };
        changed |= epochs.truncate_from_end(log_end);
        if !clean && self.start.state.is_none() {
            // Our checkpoint is written before a term's first batch, so one that it does not know is
            // damage. Kafka's may be behind.
            for segment in set.from(self.start.recovery_point) {
                for (offset, epoch) in terms_of(segment)? {
                    changed |= epochs.observe(offset, epoch);
                }
            }
        }
        // Last: a segment that is kept may begin before the log start.
        changed |= epochs.truncate_from_start(log_start);
        if changed {
            epochs.store(self.storage(), &self.path)?;
        }
        Ok(epochs)
    }

    /// The producers' state at the log end: the newest snapshot that can be read, and what the log
    /// holds behind it.
    pub(super) fn producers(
        &self,
        set: &SegmentSet,
        found: &mut Recovered,
        log_start: Offset,
        log_end: Offset,
        rebuilt: &mut Vec<Corruption>,
    ) -> Result<ProducerStates, OpenError> {
        let now = self.clock.wall_ms();
        drop_snapshots_above(self.storage(), &self.path, log_end)?;
        let (mut states, damaged) =
            load_newest_snapshot(self.storage(), &self.path, log_start, log_end, now)?;
        rebuilt.extend(damaged);
        let mut aborted = Vec::new();
        let from = states.end_offset().max(found.active.base_offset());
        for segment in set.from(states.end_offset()) {
            replay(segment, &mut states, now, &mut aborted)?;
        }
        states.log_start_moved(log_start);
        set_aborted(&mut found.active, from, aborted)?;
        Ok(states)
    }

    /// Makes the index of a segment's aborted transactions say what the batches say from `believed` on:
    /// below, the file is durable. `before` are the segments before.
    pub(super) fn restore_aborted(
        &self,
        active: &mut ActiveSegment,
        before: &[Arc<Segment>],
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
                replay(segment, &mut states, now, &mut aborted)?;
            }
        }
        set_aborted(active, from, aborted)
    }
}

/// From `from` on, `aborted` is what the batches say.
fn set_aborted(
    active: &mut ActiveSegment,
    from: Offset,
    mut aborted: Vec<AbortedTransaction>,
) -> Result<(), OpenError> {
    aborted.retain(|entry| entry.last_offset >= from);
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

/// Base offset and leader epoch of every batch.
fn terms(set: &SegmentSet) -> Result<Vec<(Offset, LeaderEpoch)>, SegmentError> {
    let mut terms = Vec::new();
    for segment in set {
        terms.extend(terms_of(segment)?);
    }
    Ok(terms)
}

/// Where the leader epoch changes within a segment.
fn terms_of(segment: &Segment) -> Result<Vec<(Offset, LeaderEpoch)>, SegmentError> {
    let mut terms: Vec<(Offset, LeaderEpoch)> = Vec::new();
    for item in segment.headers(0) {
        let header = item?.1;
        if terms.last().is_none_or(|(_, epoch)| *epoch != header.leader_epoch) {
            terms.push((header.base_offset, header.leader_epoch));
        }
    }
    Ok(terms)
}

/// Notes the batches of a segment that `states` has not seen yet.
pub(super) fn replay(
    segment: &Segment,
    states: &mut ProducerStates,
    now_ms: i64,
    aborted: &mut Vec<AbortedTransaction>,
) -> Result<(), SegmentError> {
    let from = states.end_offset().max(segment.base_offset());
    let Some((start, _)) = segment.locate(from)? else { return Ok(()) };
    let mut decoder = Decoder::new();
    for item in segment.headers(start) {
        let (position, header) = item?;
        let mut marker = None;
        if header.attributes.is_control() {
            let bytes = segment.read(position, segment.len(), header.total_bytes(), true)?;
            let refuse = |error: BatchError| error.into_corruption(segment.path(), position);
            let batch = Batch::check(&bytes).map_err(refuse)?;
            marker = batch.marker(&mut decoder).map_err(refuse)?.map(EndTransaction::from);
        }
        aborted.extend(states.replay(&header, marker, now_ms));
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
        if offset > log_end {
            storage.remove_file(&snapshot_path(dir, offset))?;
            dropped = true;
        }
    }
    if dropped { storage.sync_dir(dir) } else { Ok(()) }
}
