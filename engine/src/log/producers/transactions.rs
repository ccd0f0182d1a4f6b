//! Transactions of one partition: which are open, which ended above the high watermark, and what
//! the `.txnindex` says of those that were aborted.

use std::collections::BTreeMap;

use crate::{
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

/// Open transactions, and ended ones whose marker is not below the high watermark yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::log) struct Transactions {
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

    pub(in crate::log) fn first_unstable(&self) -> Option<Offset> {
        let ended = self.unreplicated.keys().next().copied();
        self.first_ongoing().into_iter().chain(ended).min()
    }

    /// Forgets the ended transactions whose marker is below `offset`.
    pub(in crate::log) fn settle_below(&mut self, offset: Offset) {
        self.unreplicated.retain(|_, marker_offset| *marker_offset >= offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
