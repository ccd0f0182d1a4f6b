//! The offset index (Kafka: `OffsetIndex`): entries of 8 bytes, {i32 relative offset, i32 position}.
//! The offset is a batch's LAST offset, the position is where that batch STARTS. A cache of the log:
//! who uses an entry checks it against the batch that stands there.

use super::entries::Entries;
use crate::{
    limits::{MAX_RELATIVE_OFFSET, OFFSET_INDEX_ENTRY},
    types::Offset,
};

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the batch.
    pub last_offset: Offset,
    /// Byte position of the batch's start in the `.log` file.
    pub position: u64,
}

/// An offset index in memory: one writer, readers without locks.
#[derive(Debug)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries: Entries<1>,
}

impl OffsetIndex {
    /// An empty index of the segment at `base_offset`.
    pub fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Entries::new() }
    }

    /// Reads an `.index` file. `None` where it cannot be one: its length is no multiple of 8, or
    /// offsets or positions do not rise. (Zeros left by a preallocation do not rise.)
    pub fn decode(base_offset: Offset, bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks::<OFFSET_INDEX_ENTRY>() else { return None };
        let index = Self::new(base_offset);
        let (mut last_relative, mut last_position) = (-1, 0);
        for entry in entries {
            let word = u64::from_be_bytes(*entry);
            let (relative, position) = ((word >> 32) as i32, word as i32);
            // The first batch is never indexed, so no position is 0.
            let rises = relative > last_relative && position > last_position;
            let is_entry = rises || (word == 0 && twin!(ZerosAreEntries));
            if !is_entry {
                return None;
            }
            (last_relative, last_position) = (relative, position);
            index.entries.push([word]);
        }
        Some(index)
    }

    /// The entries from number `from` on, as the file holds them.
    pub fn encode(&self, from: usize) -> Vec<u8> {
        (from..self.len())
            .filter_map(|n| self.entries.get(n))
            .flat_map(|[w]| w.to_be_bytes())
            .collect()
    }

    /// Adds an entry. Offset and position must lie in the segment's range and rise.
    pub(super) fn push(&self, entry: OffsetEntry) {
        let relative = entry.last_offset - self.base_offset;
        assert!((0..=MAX_RELATIVE_OFFSET).contains(&relative), "relative offset {relative}");
        assert!((1..=i32::MAX as u64).contains(&entry.position), "position {}", entry.position);
        self.entries.push([(relative as u64) << 32 | entry.position]);
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
    pub fn get(&self, n: usize) -> Option<OffsetEntry> {
        self.entries.get(n).map(|[word]| self.entry(word))
    }

    /// The last entry.
    pub fn last(&self) -> Option<OffsetEntry> {
        self.entries.last().map(|[word]| self.entry(word))
    }

    /// The last entry whose batch ends at or before `offset`.
    pub fn lookup(&self, offset: Offset) -> Option<OffsetEntry> {
        let after = self.entries.partition_point(|[word]| self.entry(word).last_offset <= offset);
        self.get(after.checked_sub(1)?)
    }

    /// Where the indexed batches start, from byte `position` on.
    pub(super) fn positions_from(&self, position: u64) -> impl Iterator<Item = u64> {
        let first = self.entries.partition_point(|[word]| self.entry(word).position < position);
        (first..).map_while(|n| Some(self.get(n)?.position))
    }

    /// The entries of batches that begin before byte `position`, the last one first.
    pub(super) fn entries_below(&self, position: u64) -> impl Iterator<Item = OffsetEntry> {
        let behind = self.entries.partition_point(|[word]| self.entry(word).position < position);
        (0..behind).rev().map_while(|n| self.get(n))
    }

    /// Drops the entries of batches that end at or behind `offset`.
    pub(super) fn truncate_to(&self, offset: Offset) {
        let keep = self.entries.partition_point(|[word]| self.entry(word).last_offset < offset);
        self.entries.truncate(keep);
    }

    /// Drops the entries at or behind byte `position`.
    pub(super) fn truncate_at(&self, position: u64) {
        let keep = self.entries.partition_point(|[word]| self.entry(word).position < position);
        self.entries.truncate(keep);
    }

    fn entry(&self, word: u64) -> OffsetEntry {
        OffsetEntry {
            last_offset: self.base_offset + (word >> 32) as i64,
            position: word & u64::from(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(last_offset: Offset, position: u64) -> OffsetEntry {
        OffsetEntry { last_offset, position }
    }

    fn index() -> OffsetIndex {
        let index = OffsetIndex::new(1_000);
        for (offset, position) in [(1_010, 5_000), (1_020, 9_000), (1_500, 20_000)] {
            index.push(entry(offset, position));
        }
        index
    }

    #[test]
    fn positions_are_those_at_or_behind_a_byte() {
        let index = OffsetIndex::new(100);
        for (offset, position) in [(103, 4_200), (108, 8_500), (109, 12_700)] {
            index.push(entry(offset, position));
        }
        let from = |position| index.positions_from(position).collect::<Vec<_>>();
        assert_eq!(from(0), [4_200, 8_500, 12_700]);
        assert_eq!(from(8_500), [8_500, 12_700]);
        assert_eq!((from(12_700), from(12_701)), (vec![12_700], vec![]));
    }

    #[test]
    fn the_file_holds_big_endian_pairs() {
        assert_eq!(
            index().encode(1),
            [0, 0, 0, 20, 0, 0, 0x23, 0x28, 0, 0, 1, 0xF4, 0, 0, 0x4E, 0x20]
        );
        let read = OffsetIndex::decode(1_000, &index().encode(0)).unwrap();
        assert_eq!((read.len(), read.last()), (3, Some(entry(1_500, 20_000))));
    }

    #[test]
    fn lookup_gives_the_last_entry_at_or_before() {
        let index = index();
        for (offset, expected) in [
            (1_009, None),
            (1_010, Some(entry(1_010, 5_000))),
            (1_019, Some(entry(1_010, 5_000))),
            (1_020, Some(entry(1_020, 9_000))),
            (Offset::MAX, Some(entry(1_500, 20_000))),
        ] {
            assert_eq!(index.lookup(offset), expected, "{offset}");
        }
        index.truncate_to(1_020);
        assert_eq!(index.last(), Some(entry(1_010, 5_000)));
    }

    #[test]
    fn what_cannot_be_an_index_is_refused() {
        let good = index().encode(0);
        let zero_tail = [good.clone(), vec![0; 8]].concat();
        let twice = [good.clone(), good.clone()].concat();
        let negative = [0x80, 0, 0, 0, 0, 0, 0, 1];
        let behind = |offset: u32, position: u32| {
            [&good[..], &offset.to_be_bytes(), &position.to_be_bytes()].concat()
        };
        let (same_offset, same_position) = (behind(500, 20_001), behind(501, 20_000));
        assert!(OffsetIndex::decode(1_000, &behind(501, 20_001)).is_some());
        for bad in
            [&good[..7], &zero_tail, &twice, &negative, &[0; 8], &same_offset, &same_position]
        {
            assert!(OffsetIndex::decode(1_000, bad).is_none());
        }
        assert!(OffsetIndex::decode(1_000, &[]).is_some());
    }
}
