//! When a batch gets index entries (Kafka 4.3: `LogSegment.append`, per batch): an entry is due once
//! more than `index.interval.bytes` were written since the last one, this batch not counted. So a
//! segment's first batch is never indexed.

use super::{
    SegmentOptions,
    offset_index::{OffsetEntry, OffsetIndex},
    time_index::{TimeEntry, TimeIndex},
};
use crate::{
    limits::{OFFSET_INDEX_ENTRY, TIME_INDEX_ENTRY},
    record::BatchHeader,
    types::Offset,
};

/// Stands for the largest timestamp while a damaged batch hides what it is: larger than any, so that
/// nothing is held to be older than it. No time entry is made any more.
pub(super) const NEWEST_UNKNOWN: i64 = i64::MAX;

/// The state of the rule between two batches.
#[derive(Debug, Clone)]
pub(super) struct IndexRule {
    interval_bytes: u64,
    max_offset_entries: usize,
    max_time_entries: usize,
    bytes_since_entry: u64,
    largest: Option<TimeEntry>,
}

impl IndexRule {
    /// Before the first batch of a segment.
    pub(super) fn new(options: &SegmentOptions) -> Self {
        let max_bytes = options.max_index_bytes as usize;
        Self {
            interval_bytes: u64::from(options.index_interval_bytes),
            max_offset_entries: max_bytes / OFFSET_INDEX_ENTRY,
            // The last slot is kept for the entry of the roll.
            max_time_entries: (max_bytes / TIME_INDEX_ENTRY).saturating_sub(1),
            bytes_since_entry: 0,
            largest: None,
        }
    }

    /// Sets the rule to where it stood after `bytes_since_entry` bytes and the largest timestamp.
    pub(super) fn resume(&mut self, bytes_since_entry: u64, largest: Option<(i64, Offset)>) {
        self.bytes_since_entry = bytes_since_entry;
        self.largest = largest.map(|(timestamp, offset)| TimeEntry { timestamp, offset });
    }

    /// Largest timestamp so far and the last offset of the earliest batch that holds it.
    pub(super) fn largest(&self) -> Option<(i64, Offset)> {
        self.largest.map(|entry| (entry.timestamp, entry.offset))
    }

    /// Looks at a batch for its timestamp only.
    pub(super) fn observe(&mut self, header: &BatchHeader) {
        // Kafka starts from −1, so a negative timestamp is never the largest.
        if header.max_timestamp > self.largest.map_or(-1, |largest| largest.timestamp) {
            let (timestamp, offset) = (header.max_timestamp, header.last_offset());
            self.largest = Some(TimeEntry { timestamp, offset });
        }
    }

    /// A damaged batch stands before `next_offset`, and with it timestamps that nobody knows.
    pub(super) fn forget_largest(&mut self, next_offset: Offset) {
        self.largest = Some(TimeEntry { timestamp: NEWEST_UNKNOWN, offset: next_offset - 1 });
    }

    /// Takes the batch that starts at `position` and adds the entries that are due.
    pub(super) fn add(
        &mut self,
        position: u64,
        header: &BatchHeader,
        offsets: &OffsetIndex,
        times: &TimeIndex,
    ) {
        self.observe(header);
        // Within an append that overfills an index, entries are left out: a sparser index is right.
        if self.bytes_since_entry > self.interval_bytes && !self.is_full(offsets, times) {
            offsets.push(OffsetEntry { last_offset: header.last_offset(), position });
            self.finish(times);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.total_bytes() as u64;
    }

    /// Adds the entry of a roll or a close.
    pub(super) fn finish(&self, times: &TimeIndex) {
        if let Some(largest) = self.largest.filter(|it| it.timestamp < NEWEST_UNKNOWN) {
            times.push_if_later(largest);
        }
    }

    /// Whether one of the indexes takes no more entries: the segment is to be rolled.
    pub(super) fn is_full(&self, offsets: &OffsetIndex, times: &TimeIndex) -> bool {
        offsets.len() >= self.max_offset_entries || times.len() >= self.max_time_entries
    }
}
