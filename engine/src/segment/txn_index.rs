//! The index of aborted transactions (Kafka: `TransactionIndex`, `AbortedTxn`): entries of 34 bytes,
//! {i16 version 0, i64 producer id, i64 first offset, i64 last offset, i64 last stable offset}, last
//! offsets rising. Unlike the other two it cannot be rebuilt from one segment alone: it comes from
//! the producers' state.

use std::path::Path;

use super::entries::Entries;
use crate::{error::Corruption, limits::TXN_INDEX_ENTRY, types::Offset};

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset once the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    /// The entry as the file holds it.
    pub fn encode(&self) -> [u8; TXN_INDEX_ENTRY] {
        let mut bytes = [0; TXN_INDEX_ENTRY];
        for (at, field) in self.words().into_iter().enumerate() {
            bytes[2 + at * 8..10 + at * 8].copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; TXN_INDEX_ENTRY]) -> (i16, Self) {
        let [v0, v1, fields @ ..] = bytes;
        let (words, _) = fields.as_chunks::<8>();
        let mut fields = [0; 4];
        for (field, word) in fields.iter_mut().zip(words) {
            *field = u64::from_be_bytes(*word);
        }
        (i16::from_be_bytes([*v0, *v1]), Self::from_words(fields))
    }

    fn words(&self) -> [u64; 4] {
        [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset]
            .map(|field| field as u64)
    }

    fn from_words(words: [u64; 4]) -> Self {
        let [producer_id, first_offset, last_offset, last_stable_offset] =
            words.map(|word| word as i64);
        Self { producer_id, first_offset, last_offset, last_stable_offset }
    }
}

/// The aborted transactions of one segment, in memory: one writer, readers without locks.
#[derive(Debug)]
pub struct TxnIndex {
    entries: Entries<4>,
}

impl TxnIndex {
    /// No transaction.
    pub fn new() -> Self {
        Self { entries: Entries::new() }
    }

    /// These transactions, in the order of their markers.
    pub(super) fn of(entries: Vec<AbortedTransaction>) -> Self {
        let index = Self::new();
        for entry in entries {
            index.push(entry);
        }
        index
    }

    /// Reads a `.txnindex` file of the segment at `base_offset`.
    pub fn decode(path: &Path, base_offset: Offset, bytes: &[u8]) -> Result<Self, Corruption> {
        let (entries, rest) = bytes.as_chunks::<TXN_INDEX_ENTRY>();
        let index = Self::new();
        let mut expected = base_offset;
        for (n, entry) in entries.iter().enumerate() {
            let at = (n * TXN_INDEX_ENTRY) as u64;
            let (version, entry) = AbortedTransaction::decode(entry);
            if version != 0 {
                return Err(Corruption::new(path, at, "version", 0, version));
            }
            // A marker follows a record at least. (So zeros, which a crash may leave, are no entry.)
            if entry.last_offset < expected || entry.first_offset >= entry.last_offset {
                let rule = format!("at least {expected} and behind the first offset");
                return Err(Corruption::new(path, at + 18, "last offset", rule, entry.last_offset));
            }
            expected = entry.last_offset.saturating_add(1);
            index.entries.push(entry.words());
        }
        if !rest.is_empty() {
            let at = (bytes.len() - rest.len()) as u64;
            return Err(Corruption::new(path, at, "entry", "34 bytes", rest.len()));
        }
        Ok(index)
    }

    /// The whole index as the file holds it.
    pub fn encode(&self) -> Vec<u8> {
        self.iter().flat_map(|entry| entry.encode()).collect()
    }

    pub(super) fn push(&self, entry: AbortedTransaction) {
        let last = self.iter().last().map_or(-1, |last| last.last_offset);
        assert!(entry.last_offset > last, "abort marker {} after {last}", entry.last_offset);
        self.entries.push(entry.words());
    }

    /// Number of transactions.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no transaction was aborted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The transactions in the order of their markers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = AbortedTransaction> {
        (0..self.len()).filter_map(|n| self.entries.get(n)).map(AbortedTransaction::from_words)
    }

    /// Collects the aborted transactions that touch offsets from `from` up to, not including, `upto`.
    /// Says whether that is all: otherwise later segments may hold more of them (Kafka:
    /// `TransactionIndex.collectAbortedTxns`).
    pub fn collect(&self, from: Offset, upto: Offset, into: &mut Vec<AbortedTransaction>) -> bool {
        for entry in self.iter() {
            if entry.last_offset >= from && entry.first_offset < upto {
                into.push(entry);
            }
            if entry.last_stable_offset >= upto {
                return true;
            }
        }
        false
    }

    /// Drops the transactions whose marker stands at or behind `offset`.
    pub(super) fn truncate_to(&self, offset: Offset) {
        let before = |words| AbortedTransaction::from_words(words).last_offset < offset;
        self.entries.truncate(self.entries.partition_point(before));
    }
}

impl Default for TxnIndex {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(first_offset: Offset, last_offset: Offset, stable: Offset) -> AbortedTransaction {
        AbortedTransaction { producer_id: 7, first_offset, last_offset, last_stable_offset: stable }
    }

    fn index() -> TxnIndex {
        let index = TxnIndex::new();
        for entry in [aborted(0, 10, 11), aborted(5, 20, 21), aborted(12, 30, 31)] {
            index.push(entry);
        }
        index
    }

    #[test]
    fn entries_go_both_ways_in_kafkas_layout() {
        let bytes = index().encode();
        assert_eq!(bytes.len(), 3 * TXN_INDEX_ENTRY);
        assert_eq!(&bytes[..10], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(&bytes[18..26], &[0, 0, 0, 0, 0, 0, 0, 10]);
        let read = TxnIndex::decode(Path::new("x"), 0, &bytes).unwrap();
        assert!(read.iter().eq(index().iter()));
    }

    #[test]
    fn damage_names_its_place() {
        let bytes = index().encode();
        let path = Path::new("x");
        let position = |bytes: &[u8]| TxnIndex::decode(path, 0, bytes).unwrap_err().position;
        assert_eq!(position(&bytes[..50]), 34);
        assert_eq!(position(&[&bytes[..34], &[1; 34]].concat()), 34);
        assert_eq!(position(&[0; 34]), 18);
        assert_eq!(position(&[&bytes[34..], &bytes[..34]].concat()), 86);
        assert_eq!(TxnIndex::decode(path, 11, &bytes).unwrap_err().position, 18);
    }

    #[test]
    fn collect_takes_what_overlaps_and_knows_when_it_is_all() {
        let collect = |from, upto| {
            let mut found = Vec::new();
            let complete = index().collect(from, upto, &mut found);
            (found.iter().map(|entry| entry.last_offset).collect::<Vec<_>>(), complete)
        };
        assert_eq!(collect(0, 5), (vec![10], true));
        let apart = TxnIndex::new();
        apart.push(aborted(0, 10, 11));
        apart.push(aborted(12, 20, 21));
        let mut found = Vec::new();
        assert!(apart.collect(0, 12, &mut found));
        assert_eq!(found, [aborted(0, 10, 11)], "the other begins where the range ends");
        assert_eq!(collect(11, 13), (vec![20], true));
        assert_eq!(collect(11, 25), (vec![20, 30], true));
        assert_eq!(collect(11, 40), (vec![20, 30], false));
        index().truncate_to(20);
        let index = index();
        index.truncate_to(20);
        assert_eq!(index.len(), 1);
    }
}
