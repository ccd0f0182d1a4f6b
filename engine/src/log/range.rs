//! Finding whole batches to send them, without reading them.

use std::os::fd::AsFd;

use super::{Isolation, PartitionLog, ReadError, fetch::Place};
use crate::{
    commit::WatermarksSnapshot,
    segment::{AbortedTransaction, SegmentRange, SegmentView},
    types::Offset,
};

/// Whole batches, one behind the other, in a file of the log: found, not read.
#[derive(Debug, Clone)]
pub struct FetchedRange {
    range: Option<SegmentRange>,
    first: Offset,
    next: Offset,
    watermarks: WatermarksSnapshot,
    aborted: Vec<AbortedTransaction>,
}

impl FetchedRange {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.range.as_ref().map_or(0, SegmentRange::len)
    }

    /// Whether nothing was there to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Base offset of the first batch, which may lie before the offset asked for; where there is none,
    /// the offset asked for.
    pub fn first_offset(&self) -> Offset {
        self.first
    }

    /// Where to fetch next.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// The partition's watermarks when the fetch began.
    pub fn watermarks(&self) -> &WatermarksSnapshot {
        &self.watermarks
    }

    /// As [`Fetched::aborted`](super::Fetched::aborted).
    pub fn aborted(&self) -> &[AbortedTransaction] {
        &self.aborted
    }

    /// Where the batches stand; `None` where there are none.
    pub fn range(&self) -> Option<&SegmentRange> {
        self.range.as_ref()
    }

    /// Sends bytes from byte `at` on (0: the first), as many as `socket` takes now, and gives their number; 0
    /// at the end ([`SegmentRange::send`]).
    pub fn send(&self, at: u64, socket: impl AsFd) -> Result<usize, ReadError> {
        match &self.range {
            Some(range) => Ok(range.send(at, socket.as_fd())?),
            None => Ok(0),
        }
    }
}

impl PartitionLog {
    /// As [`PartitionLog::fetch`], for who passes the batches on and looks at none: what stands in between is
    /// not read, and not checked. The receiver's business is a batch's checksum, as it is with Kafka.
    pub fn fetch_range(
        &self,
        offset: Offset,
        max_bytes: u64,
        isolation: Isolation,
    ) -> Result<FetchedRange, ReadError> {
        let fetched =
            self.steady(|watermarks| self.range_at(isolation, offset, max_bytes, *watermarks))?;
        if !fetched.is_empty() {
            self.metrics.fetched(fetched.len());
        }
        Ok(fetched)
    }

    fn range_at(
        &self,
        isolation: Isolation,
        offset: Offset,
        max_bytes: u64,
        watermarks: WatermarksSnapshot,
    ) -> Result<FetchedRange, ReadError> {
        let aborted = Vec::new();
        let mut fetched =
            FetchedRange { range: None, first: offset, next: offset, watermarks, aborted };
        self.find(isolation, offset, &watermarks, |place| {
            let Place { set, segment, view, position, header, upper } = place;
            if header.next_offset() > upper {
                return Ok(());
            }
            let first_end = position + header.total_bytes() as u64;
            let sound = self.sound_until(view, position, upper)?;
            let limit = position.saturating_add(max_bytes).min(sound).max(first_end);
            let Some((end, next)) = view.last_end(position, limit)? else { return Ok(()) };
            fetched.range = Some(view.range(segment, position, end));
            (fetched.first, fetched.next) = (header.base_offset, next);
            if isolation == Isolation::Stable {
                fetched.aborted = self.aborted_in(set, fetched.first, fetched.next)?;
            }
            Ok(())
        })?;
        Ok(fetched)
    }

    /// Byte position up to which the log is sound from `position` on, as far as is known, and below offset
    /// `upper`.
    fn sound_until(
        &self,
        view: SegmentView<'_>,
        position: u64,
        upper: Offset,
    ) -> Result<u64, ReadError> {
        let damage = self.damage.load();
        let base = view.segment().base_offset();
        let ahead = damage.iter().filter(|range| range.segment == base);
        let ahead = ahead.map(|range| range.position).filter(|start| *start >= position);
        let sound = ahead.fold(view.len(), u64::min);
        if upper >= view.next_offset() {
            return Ok(sound);
        }
        match self.locate(view, upper) {
            Ok(Some((end, _))) => Ok(sound.min(end)),
            // Known damage stands before it. Before damage that nobody knows yet nothing tells where to end.
            Err(ReadError::Corrupt(_)) if sound < view.len() => Ok(sound),
            Ok(None) => Ok(sound),
            Err(error) => Err(error),
        }
    }
}
