//! The aborted transactions of a range, for readers of what is committed. Kafka's index of them has no
//! checksum: where no seal vouches for it the batches say what is in it.

use std::path::Path;

use super::{
    PartitionLog, ReadError,
    checkpoint::CheckpointError,
    producers::{EndTransaction, ProducerStates},
};
use crate::{
    io::Storage,
    record::{BatchError, Decoder},
    segment::{AbortedTransaction, Segment, SegmentError, SegmentSet},
    types::Offset,
};

impl PartitionLog {
    /// The aborted transactions that touch offsets from `from` up to, not including, `upto`, in the
    /// order of their markers (Kafka: `UnifiedLog.collectAbortedTransactions`); out of range below the
    /// first segment. What was fetched at [`Isolation::Stable`] comes with its own:
    /// [`Fetched::aborted`].
    ///
    /// [`Isolation::Stable`]: super::Isolation::Stable
    /// [`Fetched::aborted`]: super::Fetched::aborted
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        self.steady(|_| {
            let set = self.segments.load();
            self.check_not_retired(&set, from)?;
            self.aborted_in(&set, from, upto)
        })
    }

    /// As above, of the segments that a reader has pinned. A transaction that began in these offsets, or
    /// before, may end in a later segment.
    pub(super) fn aborted_in(
        &self,
        set: &SegmentSet,
        from: Offset,
        upto: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut found = Vec::new();
        let damage = self.damage.load();
        for segment in set.from(from) {
            let replay = || {
                if damage.iter().any(|range| range.segment == segment.base_offset()) {
                    return Ok(None);
                }
                replayed(self.storage(), &self.path, segment, self.clock.wall_ms())
            };
            if segment.transactions_by(replay)?.collect(from, upto, &mut found) {
                break;
            }
        }
        Ok(found)
    }
}

/// The transactions that the markers in a segment aborted, by its batches and by the producers' snapshot
/// at its base: both have checksums. `None` where they cannot tell: there is no such snapshot, or a
/// batch is damaged.
pub(super) fn replayed(
    storage: &Storage,
    dir: &Path,
    segment: &Segment,
    now_ms: i64,
) -> Result<Option<Vec<AbortedTransaction>>, SegmentError> {
    let base = segment.base_offset();
    let known = match ProducerStates::load(storage, dir, base, now_ms) {
        Ok(None) if base == 0 => Some(ProducerStates::new(0)),
        Ok(known) => known,
        Err(CheckpointError::Corrupt(_)) => None,
        Err(CheckpointError::Io(error)) => return Err(error.into()),
    };
    let Some(mut states) = known else { return Ok(None) };
    match replay(segment, &mut states, now_ms) {
        Err(SegmentError::Corrupt(_)) => Ok(None),
        other => other.map(Some),
    }
}

fn replay(
    segment: &Segment,
    states: &mut ProducerStates,
    now_ms: i64,
) -> Result<Vec<AbortedTransaction>, SegmentError> {
    let (mut aborted, mut decoder) = (Vec::new(), Decoder::new());
    for item in segment.headers(0) {
        let (position, header) = item?;
        let bytes = segment.read(position, segment.len(), header.total_bytes(), true)?;
        let refuse = |error: BatchError| error.into_corruption(segment.path(), position);
        let batch = segment.batch_in(&bytes, position, &header)?;
        let mut marker = None;
        if header.attributes.is_control() {
            marker = batch.marker(&mut decoder).map_err(refuse)?.map(EndTransaction::from);
        }
        aborted.extend(states.replay(batch.header(), marker, now_ms));
    }
    Ok(aborted)
}
