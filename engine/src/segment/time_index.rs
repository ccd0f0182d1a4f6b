//! The time index (Kafka: `TimeIndex`): entries of 12 bytes, {i64 timestamp, i32 relative offset}.
//! An entry says: up to the batch that ends at this offset, no timestamp is larger, and that batch
//! is the first that holds it. Timestamps and offsets strictly rise.

use super::entries::Entries;
use crate::{
    limits::{MAX_RELATIVE_OFFSET, TIME_INDEX_ENTRY},
    types::Offset,
};

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// Largest timestamp so far, milliseconds.
    pub timestamp: i64,
    /// Last offset of the earliest batch that holds it.
    pub offset: Offset,
}

/// A time index in memory: one writer, readers without locks.
#[derive(Debug)]
pub struct TimeIndex {
    base_offset: Offset,
    entries: Entries<2>,
}

impl TimeIndex {
    /// An empty index of the segment at `base_offset`.
    pub fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Entries::new() }
    }

    /// Reads a `.timeindex` file. `None` where it cannot be one: its length is no multiple of 12, or
    /// timestamps or offsets do not rise, or a timestamp is negative.
    pub fn decode(base_offset: Offset, bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks::<TIME_INDEX_ENTRY>() else { return None };
        let index = Self::new(base_offset);
        let (mut last_timestamp, mut last_relative) = (-1, -1);
        for entry in entries {
            let [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3] = *entry;
            let timestamp = i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
            let relative = i32::from_be_bytes([o0, o1, o2, o3]);
            if timestamp <= last_timestamp || relative <= last_relative {
                return None;
            }
            (last_timestamp, last_relative) = (timestamp, relative);
            index.entries.push([timestamp as u64, relative as u64]);
        }
        Some(index)
    }

    /// The entries from number `from` on, as the file holds them.
    pub fn encode(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len().saturating_sub(from) * TIME_INDEX_ENTRY);
        for [timestamp, relative] in (from..self.len()).filter_map(|n| self.entries.get(n)) {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&(relative as i32).to_be_bytes());
        }
        bytes
    }

    /// Adds an entry where its timestamp is larger than the last one's (Kafka: `maybeAppend`). One of the
    /// same batch as the last one comes from a seal whose timestamp is wrong: with it the file could not be
    /// read again.
    pub(super) fn push_if_later(&self, entry: TimeEntry) {
        let is_later =
            |last: TimeEntry| entry.timestamp > last.timestamp && entry.offset > last.offset;
        if !self.last().map_or(entry.timestamp >= 0, is_later) {
            return;
        }
        let relative = entry.offset - self.base_offset;
        assert!((0..=MAX_RELATIVE_OFFSET).contains(&relative), "relative offset {relative}");
        self.entries.push([entry.timestamp as u64, relative as u64]);
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entry number `n`.
    pub fn get(&self, n: usize) -> Option<TimeEntry> {
        self.entries.get(n).map(|words| self.entry(words))
    }

    /// The last entry.
    pub fn last(&self) -> Option<TimeEntry> {
        self.entries.last().map(|words| self.entry(words))
    }

    /// The last but one entry whose timestamp is smaller than `timestamp`, of those whose offset is
    /// below `end` (what the appender adds meanwhile stands behind): all batches up to its own are
    /// older.
    ///
    /// Kafka takes the last one, of an equal timestamp too. Both give the same answer from a good
    /// index. The file has no checksum, though, and a wrong entry may name a later batch that holds
    /// the same timestamp: no batch shows that. The entry behind vouches for what would be passed over.
    pub fn lookup_before(&self, timestamp: i64, end: Offset) -> Option<TimeEntry> {
        let before = |entry: TimeEntry| entry.timestamp < timestamp && entry.offset < end;
        let after = self.entries.partition_point(|words| before(self.entry(words)));
        self.get(after.checked_sub(2)?)
    }

    /// Drops the entries at or behind `offset`.
    pub(super) fn truncate_to(&self, offset: Offset) {
        let keep = self.entries.partition_point(|words| self.entry(words).offset < offset);
        self.entries.truncate(keep);
    }

    fn entry(&self, [timestamp, relative]: [u64; 2]) -> TimeEntry {
        TimeEntry { timestamp: timestamp as i64, offset: self.base_offset + relative as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> TimeIndex {
        let index = TimeIndex::new(100);
        for (timestamp, offset) in [(-1, 101), (10, 105), (10, 109), (7, 112), (30, 120)] {
            index.push_if_later(TimeEntry { timestamp, offset });
        }
        index
    }

    #[test]
    fn only_later_timestamps_are_kept() {
        let index = index();
        assert_eq!(index.len(), 2);
        assert_eq!(index.get(0), Some(TimeEntry { timestamp: 10, offset: 105 }));
        assert_eq!(index.last(), Some(TimeEntry { timestamp: 30, offset: 120 }));
    }

    #[test]
    fn one_batch_has_one_entry() {
        let index = index();
        index.push_if_later(TimeEntry { timestamp: 31, offset: 120 });
        assert_eq!(index.last(), Some(TimeEntry { timestamp: 30, offset: 120 }));
        assert!(TimeIndex::decode(100, &index.encode(0)).is_some());
    }

    #[test]
    fn the_file_holds_timestamp_then_relative_offset() {
        let bytes = index().encode(0);
        assert_eq!(&bytes[12..], &[0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 20]);
        let read = TimeIndex::decode(100, &bytes).unwrap();
        assert_eq!((read.get(0), read.last()), (index().get(0), index().last()));
        for bad in [&bytes[1..], &[&bytes[..], &[0; 12]].concat(), &[0xFF; 12]] {
            assert!(TimeIndex::decode(100, bad).is_none());
        }
    }

    #[test]
    fn timestamps_and_offsets_begin_at_zero_and_both_rise() {
        for first in [0, 1] {
            let index = TimeIndex::new(100);
            index.push_if_later(TimeEntry { timestamp: first, offset: 100 + first });
            let bytes = index.encode(0);
            let read = TimeIndex::decode(100, &bytes).map(|read| read.last());
            assert_eq!(read, Some(Some(TimeEntry { timestamp: first, offset: 100 + first })));
            let next = |timestamp: i64, relative: i32| {
                let entry = [&timestamp.to_be_bytes()[..], &relative.to_be_bytes()].concat();
                TimeIndex::decode(100, &[bytes.clone(), entry].concat()).is_some()
            };
            let relative = first as i32;
            assert!(next(first + 1, relative + 1));
            assert!(!next(first, relative + 1) && !next(first + 1, relative));
        }
    }

    #[test]
    fn lookup_leaves_an_entry_that_is_strictly_before_behind() {
        let index = index();
        index.push_if_later(TimeEntry { timestamp: 40, offset: 130 });
        let lookup = |timestamp, end| index.lookup_before(timestamp, end).map(|entry| entry.offset);
        assert_eq!(lookup(11, 200), None);
        assert_eq!(lookup(30, 200), None);
        assert_eq!(lookup(31, 200), Some(105));
        assert_eq!(lookup(40, 200), Some(105));
        assert_eq!(lookup(41, 200), Some(120));
        assert_eq!(lookup(41, 130), Some(105));
        index.truncate_to(120);
        assert_eq!(index.len(), 1);
    }
}
