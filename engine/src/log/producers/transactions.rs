//! Transactions of one partition: which are open, which ended above the high watermark, and what
//! the `.txnindex` says of those that were aborted.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::Corruption,
    limits::TXN_INDEX_ENTRY,
    record::{Marker, TransactionMarker},
    types::Offset,
};

/// The end of a transaction, as its marker says it (Kafka: `EndTransactionMarker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransaction {
    /// Aborted, or committed.
    pub aborted: bool,
    /// Term of the transaction coordinator that wrote the marker.
    pub coordinator_epoch: i32,
    /// Whether the coordinator raises the producer's epoch with each transaction (Kafka's
    /// transaction version 2): the marker's epoch must then be above the producer's. Not part of
    /// the bytes; a leader knows it from the request, a follower takes `false`.
    pub raises_epoch: bool,
}

impl From<TransactionMarker> for EndTransaction {
    fn from(marker: TransactionMarker) -> Self {
        Self {
            aborted: marker.kind == Marker::Abort,
            coordinator_epoch: marker.coordinator_epoch,
            raises_epoch: false,
        }
    }
}

/// An aborted transaction: an entry of the `.txnindex`. Readers of committed data leave its
/// records out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// Offset of the transaction's first record.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// All transactions below this offset were decided when the marker was appended.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    const VERSION: i16 = 0;

    /// The index entry.
    pub fn to_bytes(&self) -> [u8; TXN_INDEX_ENTRY] {
        let mut bytes = [0; TXN_INDEX_ENTRY];
        bytes[0..2].copy_from_slice(&Self::VERSION.to_be_bytes());
        bytes[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        bytes[26..34].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        bytes
    }

    /// Reads a whole `.txnindex`: version 0 throughout, last offsets rising; `path` is for messages.
    pub fn parse_index(path: &Path, bytes: &[u8]) -> Result<Vec<Self>, Corruption> {
        let (entries, rest) = bytes.as_chunks::<TXN_INDEX_ENTRY>();
        if !rest.is_empty() {
            let end = (bytes.len() - rest.len()) as u64;
            let expected = "a multiple of 34";
            return Err(Corruption::new(path, end, "index length", expected, bytes.len()));
        }
        let mut index: Vec<Self> = Vec::with_capacity(entries.len());
        for (number, bytes) in entries.iter().enumerate() {
            let at = (number * TXN_INDEX_ENTRY) as u64;
            let before = index.last().map_or(-1, |entry| entry.last_offset);
            index.push(Self::parse_entry(path, at, bytes, before)?);
        }
        Ok(index)
    }

    fn parse_entry(
        path: &Path,
        at: u64,
        bytes: &[u8; TXN_INDEX_ENTRY],
        last_offset_before: Offset,
    ) -> Result<Self, Corruption> {
        let number = |from: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[from..from + 8]);
            i64::from_be_bytes(field)
        };
        let entry = Self {
            producer_id: number(2),
            first_offset: number(10),
            last_offset: number(18),
            last_stable_offset: number(26),
        };
        let refuse = |position: u64, what, expected: String, found: i64| {
            Err(Corruption::new(path, at + position, what, expected, found))
        };
        let version = i16::from_be_bytes([bytes[0], bytes[1]]);
        let last = entry.last_offset;
        if version != Self::VERSION {
            return refuse(0, "version", "0".into(), version as i64);
        }
        if entry.producer_id < 0 {
            return refuse(2, "producer id", "at least 0".into(), entry.producer_id);
        }
        if !(0..=last).contains(&entry.first_offset) {
            return refuse(10, "first offset", format!("0 to {last}"), entry.first_offset);
        }
        if last <= last_offset_before {
            return refuse(18, "last offset", format!("more than {last_offset_before}"), last);
        }
        // No upper bound: a Kafka follower that got the marker and a later transaction's start in
        // one fetch writes that start.
        if entry.last_stable_offset < 0 {
            return refuse(26, "last stable offset", "at least 0".into(), entry.last_stable_offset);
        }
        Ok(entry)
    }
}

/// Open transactions, and ended ones whose marker is not below the high watermark yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Transactions {
    /// First offset → producer id.
    ongoing: BTreeMap<Offset, i64>,
    /// First offset → the marker's offset.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl Transactions {
    /// With these open, by first offset.
    pub(super) fn resumed(ongoing: BTreeMap<Offset, i64>) -> Self {
        Self { ongoing, unreplicated: BTreeMap::new() }
    }

    pub(super) fn start(&mut self, producer_id: i64, first_offset: Offset) {
        self.ongoing.insert(first_offset, producer_id);
    }

    /// Ends the transaction that started at `first_offset`; gives the last stable offset, the high
    /// watermark left aside: the first offset of another open transaction, or the one behind the
    /// marker.
    pub(super) fn end(&mut self, first_offset: Offset, marker_offset: Offset) -> Offset {
        let open = self.ongoing.remove(&first_offset);
        assert!(open.is_some(), "the transaction that started at {first_offset} is open");
        self.unreplicated.insert(first_offset, marker_offset);
        self.first_ongoing().unwrap_or(marker_offset + 1)
    }

    pub(super) fn first_ongoing(&self) -> Option<Offset> {
        self.ongoing.keys().next().copied()
    }

    pub(super) fn first_unstable(&self) -> Option<Offset> {
        let ended = self.unreplicated.keys().next().copied();
        self.first_ongoing().into_iter().chain(ended).min()
    }

    /// Forgets the ended transactions whose marker is below `offset`.
    pub(super) fn settle_below(&mut self, offset: Offset) {
        self.unreplicated.retain(|_, marker_offset| *marker_offset >= offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: AbortedTransaction = AbortedTransaction {
        producer_id: 1,
        first_offset: 0x0203,
        last_offset: 0x0405,
        last_stable_offset: 0x0201,
    };

    #[test]
    fn an_index_entry_has_kafkas_bytes() {
        let mut expected = [0; TXN_INDEX_ENTRY];
        for (at, byte) in [(9, 1), (16, 2), (17, 3), (24, 4), (25, 5), (32, 2), (33, 1)] {
            expected[at] = byte;
        }
        assert_eq!(ENTRY.to_bytes(), expected);
        let later = AbortedTransaction { last_offset: 0x0406, ..ENTRY };
        let bytes = [ENTRY.to_bytes(), later.to_bytes()].concat();
        let index = AbortedTransaction::parse_index(Path::new("f"), &bytes);
        assert_eq!(index, Ok(vec![ENTRY, later]));
        assert_eq!(AbortedTransaction::parse_index(Path::new("f"), &[]), Ok(vec![]));
    }

    #[test]
    fn each_bad_field_of_an_index_is_named_with_its_byte() {
        let cases = [
            (35, 1, "version", 34),
            (36, 0x80, "producer id", 36),
            (44, 1, "first offset", 44),
            (44, 0x80, "first offset", 44),
            (58, 3, "last offset", 52),
            (60, 0x80, "last stable offset", 60),
        ];
        let later = AbortedTransaction { last_offset: 0x0406, ..ENTRY };
        for (at, byte, what, position) in cases {
            let mut bytes = [ENTRY.to_bytes(), later.to_bytes()].concat();
            bytes[at] = byte;
            let error = AbortedTransaction::parse_index(Path::new("f"), &bytes).unwrap_err();
            assert_eq!((error.what, error.position), (what, position));
        }
        let error = AbortedTransaction::parse_index(Path::new("f"), &[0; 35]).unwrap_err();
        assert_eq!((error.what, error.position), ("index length", 34));
    }

    #[test]
    fn an_ended_transaction_is_unstable_until_its_marker_is_below_the_high_watermark() {
        let mut transactions = Transactions::default();
        assert_eq!(transactions.first_unstable(), None);
        transactions.start(1, 10);
        transactions.start(2, 12);
        assert_eq!(transactions.end(10, 15), 12);
        assert_eq!(transactions.end(12, 16), 17);
        assert_eq!(transactions.first_unstable(), Some(10));
        transactions.settle_below(15);
        assert_eq!(transactions.first_unstable(), Some(10));
        transactions.settle_below(16);
        assert_eq!(transactions.first_unstable(), Some(12));
        transactions.settle_below(17);
        assert_eq!(transactions.first_unstable(), None);
    }
}
