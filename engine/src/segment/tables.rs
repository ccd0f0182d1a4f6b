//! A segment's two lookup tables, and how they are had again: from their files, or from the log.

use std::fmt::Display;

use super::{
    Segment, SegmentError, Suffix,
    offset_index::{OffsetEntry, OffsetIndex},
    published::View,
    rule::IndexRule,
    time_index::{TimeEntry, TimeIndex},
    walk::Headers,
};
use crate::{limits::TIME_INDEX_ENTRY, record::BatchHeader, types::Offset};

/// The offset index and the time index of one segment.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
    keeper: Keeper,
}

/// Who cuts the tables when the log is truncated.
#[derive(Debug, Clone, Copy)]
enum Keeper {
    /// The appender, whose tables they are.
    Appender,
    /// Nobody: they hold as long as the log's truncations are those of this view.
    Nobody(View),
}

impl Tables {
    pub(super) fn new(base_offset: Offset) -> Self {
        let (offsets, times) = (OffsetIndex::new(base_offset), TimeIndex::new(base_offset));
        Self { offsets, times, keeper: Keeper::Appender }
    }

    /// The tables in the appender's hands.
    pub(super) fn kept(self) -> Self {
        Self { keeper: Keeper::Appender, ..self }
    }

    /// The offset entry to begin at, on the way to `offset`.
    pub(super) fn entry_before(&self, view: &View, offset: Offset) -> Option<OffsetEntry> {
        self.offsets.lookup(offset).filter(|_| self.hold_under(view))
    }

    /// The offset entries of batches that begin before byte `limit`, the last one first.
    pub(super) fn entries_below(
        &self,
        view: &View,
        limit: u64,
    ) -> impl Iterator<Item = OffsetEntry> {
        self.offsets.entries_below(limit).filter(|_| self.hold_under(view))
    }

    /// The time entry to begin at, on the way to the first record of `timestamp` or later. It counts
    /// only once its batch was checked.
    pub(super) fn entry_older_than(&self, view: &View, timestamp: i64) -> Option<TimeEntry> {
        let entry = self.times.lookup_before(timestamp, view.next_offset);
        entry.filter(|_| self.hold_under(view))
    }

    /// Whether the tables may be used under `view`. An entry that a truncation made void could not
    /// always be told by the batch that stands in its place now.
    fn hold_under(&self, view: &View) -> bool {
        match self.keeper {
            Keeper::Appender => true,
            Keeper::Nobody(made) => made.has_same_truncations(view),
        }
    }

    /// Entries of the two tables.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.offsets.len(), self.times.len())
    }

    /// Bytes of a log of `len` bytes since the batch of the last entry began.
    pub(super) fn bytes_since_entry(&self, len: u64) -> u64 {
        len - self.offsets.last().map_or(0, |entry| entry.position)
    }

    /// From the index files; `None` where one is missing, unreadable, does not fit its checksum (where
    /// the segment has a seal), or cannot be an index of this log.
    pub(super) fn load(segment: &Segment, view: &View) -> Option<Self> {
        let seal = segment.seal();
        let index = read(segment, Suffix::Index, seal.map(|seal| seal.index_crc))?;
        let timeindex = read(segment, Suffix::TimeIndex, seal.map(|seal| seal.timeindex_crc))?;
        let tables = Self {
            offsets: OffsetIndex::decode(segment.base_offset(), &index)
                .or_else(|| unusable(segment, Suffix::Index, "its entries do not rise"))?,
            times: TimeIndex::decode(segment.base_offset(), &timeindex)
                .or_else(|| unusable(segment, Suffix::TimeIndex, "its entries do not rise"))?,
            keeper: Keeper::Nobody(*view),
        };
        // Index files may have reached the device before the log did.
        if !twin!(IndexAheadOfLog) {
            tables.offsets.truncate_to(view.next_offset);
            tables.offsets.truncate_at(view.len);
            tables.times.truncate_to(view.next_offset);
        }
        Some(tables)
    }

    /// The offset index from the log's headers, whose checksums are not looked at: no timestamp is
    /// taken from them. Where the log is damaged the table ends; reading on from there gives the error.
    pub(super) fn rebuild(segment: &Segment, view: &View) -> Result<Self, SegmentError> {
        let tables = Self::from_log(segment, view, |_, _| Ok(()))?;
        Ok(Self { times: TimeIndex::new(segment.base_offset()), ..tables })
    }

    /// Both from the log's batches, each checked against its checksum.
    pub(super) fn rebuild_checked(segment: &Segment, view: &View) -> Result<Self, SegmentError> {
        Self::from_log(segment, view, |position, header| segment.check_batch(position, header))
    }

    fn from_log(
        segment: &Segment,
        view: &View,
        check: impl Fn(u64, &BatchHeader) -> Result<(), SegmentError>,
    ) -> Result<Self, SegmentError> {
        segment.options().metrics.index_rebuilds.add(1);
        let keeper = Keeper::Nobody(*view);
        let tables = Self { keeper, ..Self::new(segment.base_offset()) };
        let mut rule = IndexRule::new(segment.options());
        for item in Headers::new(segment, *view, 0) {
            let checked = item.and_then(|(position, header)| {
                check(position, &header)?;
                Ok((position, header))
            });
            match checked {
                Ok((position, header)) => {
                    rule.add(position, &header, &tables.offsets, &tables.times);
                }
                Err(SegmentError::Corrupt(error)) => {
                    tracing::warn!(%error, "the index covers the log up to here");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(tables)
    }
}

/// An index file's bytes, if they are there and are what `crc` says.
fn read(segment: &Segment, suffix: Suffix, crc: Option<u32>) -> Option<Vec<u8>> {
    // An entry needs a batch of its own, and the roll adds one.
    let batches = segment.len() / crate::limits::BATCH_HEADER as u64 + 1;
    let bytes = segment
        .storage()
        .read(&segment.file_path(suffix), batches * TIME_INDEX_ENTRY as u64)
        .map_or_else(|error| unusable(segment, suffix, error), Some)?;
    match crc {
        Some(crc) if crc32c::crc32c(&bytes) != crc => {
            unusable(segment, suffix, "it does not fit its checksum")
        }
        _ => Some(bytes),
    }
}

fn unusable<T>(segment: &Segment, suffix: Suffix, reason: impl Display) -> Option<T> {
    let path = segment.file_path(suffix);
    tracing::warn!(path = %path.display(), %reason, "index is rebuilt from the log");
    None
}
