//! Producer snapshots and aborted transactions, held against what the batches say of their producers.
//!
//! The batches are replayed through the engine's own [`ProducerStates`]; a damaged log ends that, and
//! only the files' own checks are left.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use trunkline::{
    io::Storage,
    log::{
        checkpoint::CheckpointError,
        producers::{AbortedTransaction, EndTransaction, ProducerStates, snapshot_path},
    },
    record::{BatchHeader, Marker, TransactionMarker},
    segment::{Suffix, TxnIndex, file_path},
    types::Offset,
};

use super::fault::Findings;

/// Largest transaction index that is read, in bytes.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// The replay of one partition.
#[derive(Debug)]
pub(super) struct Producers {
    dir: PathBuf,
    /// `None` once the log was found damaged.
    replayed: Option<ProducerStates>,
    /// Whether the replay began with all that was known, so that nothing can be missing from it.
    is_complete: bool,
    is_compacted: bool,
    first: Offset,
    snapshots: BTreeMap<Offset, ProducerStates>,
    /// Aborted transactions of the segment at hand, as the replay says.
    aborted: Vec<AbortedTransaction>,
    /// Abort markers of the segment at hand: producer and offset.
    markers: Vec<(i64, Offset)>,
}

impl Producers {
    /// Reads the snapshots at `offsets`. The replay begins with the one at `first`, the base offset of
    /// the first segment.
    pub(super) fn read(
        storage: &Storage,
        dir: &Path,
        offsets: impl Iterator<Item = Offset>,
        first: Offset,
        is_compacted: bool,
        findings: &mut Findings,
    ) -> Self {
        let mut snapshots = BTreeMap::new();
        for offset in offsets {
            match ProducerStates::load(storage, dir, offset, 0) {
                Ok(Some(states)) => drop(snapshots.insert(offset, states)),
                Ok(None) => {}
                Err(CheckpointError::Io(error)) => findings.fault(error),
                Err(CheckpointError::Corrupt(corruption)) => findings.fault(corruption),
            }
        }
        let known = snapshots.get(&first).cloned();
        Self {
            dir: dir.into(),
            is_complete: known.is_some() || first == 0,
            replayed: Some(known.unwrap_or_else(|| ProducerStates::new(first))),
            is_compacted,
            first,
            snapshots,
            aborted: Vec::new(),
            markers: Vec::new(),
        }
    }

    /// A batch goes by, which follows the one before.
    pub(super) fn batch(
        &mut self,
        header: &BatchHeader,
        marker: Option<TransactionMarker>,
        findings: &mut Findings,
    ) {
        if marker.is_some_and(|marker| marker.kind == Marker::Abort) {
            self.markers.push((header.producer_id, header.last_offset()));
        }
        let Some(states) = &mut self.replayed else { return };
        self.aborted.extend(states.replay(header, marker.map(EndTransaction::from), 0));
        self.compare(header.next_offset(), findings);
    }

    /// The log is damaged here: what is replayed from now on would be guesswork.
    pub(super) fn damaged(&mut self) {
        self.replayed = None;
    }

    /// Holds the snapshot at `offset`, where there is one, against the replay, which has come there.
    fn compare(&self, offset: Offset, findings: &mut Findings) {
        let (Some(snapshot), Some(replayed)) = (self.snapshots.get(&offset), &self.replayed) else {
            return;
        };
        // The cleaner takes batches away that a producer's state came from.
        if self.is_compacted {
            return;
        }
        let path = snapshot_path(&self.dir, offset);
        for entry in snapshot.iter() {
            let Some(other) = replayed.get(entry.producer_id) else {
                if self.is_complete {
                    let what = format!("producer {}", entry.producer_id);
                    findings.refuse(&path, 0, what, "none, as in the batches", "an entry");
                }
                continue;
            };
            // A producer may be silent for so long that it was forgotten, so that entries are missing;
            // those that are there are right.
            let begun_here = entry.transaction_start.is_none_or(|start| start >= self.first);
            let is_same = entry.epoch == other.epoch
                && entry.last_sequence() == other.last_sequence()
                && (!begun_here || entry.transaction_start == other.transaction_start);
            if !is_same {
                let what = format!("state of producer {}", entry.producer_id);
                let told = |epoch, sequence, start: Option<Offset>| {
                    let start = start.map_or("none".into(), |start| start.to_string());
                    format!("epoch {epoch}, last sequence {sequence}, open transaction {start}")
                };
                let expected = told(other.epoch, other.last_sequence(), other.transaction_start);
                let found = told(entry.epoch, entry.last_sequence(), entry.transaction_start);
                findings.refuse(&path, 0, what, expected, found);
            }
        }
    }

    /// A segment's batches are through: its `.txnindex` must say what they said. Gives the checksum of
    /// the file, where there is one.
    pub(super) fn end_of_segment(
        &mut self,
        storage: &Storage,
        base_offset: Offset,
        findings: &mut Findings,
    ) -> Option<u32> {
        let aborted = std::mem::take(&mut self.aborted);
        let markers = std::mem::take(&mut self.markers);
        let path = file_path(&self.dir, base_offset, Suffix::TxnIndex);
        let bytes = match storage.read(&path, MAX_INDEX_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                findings.fault(error);
                return None;
            }
        };
        let checksum = bytes.as_deref().map(crc32c::crc32c);
        let index = TxnIndex::decode(&path, base_offset, &bytes.unwrap_or_default());
        let stored: Vec<_> = match index {
            Ok(index) => index.iter().collect(),
            Err(corruption) => {
                findings.fault(corruption);
                return checksum;
            }
        };
        if self.replayed.is_some() {
            self.check_index(&path, &stored, &aborted, &markers, findings);
        }
        checksum
    }

    fn check_index(
        &self,
        path: &Path,
        stored: &[AbortedTransaction],
        aborted: &[AbortedTransaction],
        markers: &[(i64, Offset)],
        findings: &mut Findings,
    ) {
        // The last stable offset depends on transactions that may have begun below the log start.
        let is_exact = self.is_complete && !self.is_compacted;
        let is_same = |a: &AbortedTransaction, b: &AbortedTransaction| {
            let stable = !is_exact || a.last_stable_offset == b.last_stable_offset;
            (a.producer_id, a.first_offset, a.last_offset)
                == (b.producer_id, b.first_offset, b.last_offset)
                && stable
        };
        for (number, entry) in stored.iter().enumerate() {
            let at = (number * trunkline::limits::TXN_INDEX_ENTRY) as u64;
            let replayed = aborted.iter().find(|other| other.last_offset == entry.last_offset);
            let has_marker = markers.contains(&(entry.producer_id, entry.last_offset));
            match replayed {
                Some(other) if !is_same(entry, other) => {
                    let (expected, found) = (told(other), told(entry));
                    findings.refuse(path, at, "aborted transaction", expected, found);
                }
                // The cleaner takes the marker of an emptied transaction away.
                None if !has_marker && !self.is_compacted => {
                    let expected = format!("its abort marker at offset {}", entry.last_offset);
                    findings.refuse(path, at, "aborted transaction", expected, "none");
                }
                _ => {}
            }
        }
        let at = (stored.len() * trunkline::limits::TXN_INDEX_ENTRY) as u64;
        let is_missing = |entry: &&AbortedTransaction| {
            !stored.iter().any(|other| other.last_offset == entry.last_offset)
        };
        for entry in aborted.iter().filter(is_missing) {
            findings.refuse(path, at, "aborted transaction", told(entry), "no entry");
        }
    }

    /// The log is through, and ends at `log_end` unless it is damaged. Snapshots beyond speak of
    /// records that are gone.
    pub(super) fn finish(&self, log_end: Offset, findings: &mut Findings) {
        for offset in self.snapshots.keys().filter(|offset| **offset > log_end) {
            let path = snapshot_path(&self.dir, *offset);
            let expected = format!("at most the log end {log_end}");
            findings.refuse(&path, 0, "offset in the name", expected, offset);
        }
    }
}

fn told(entry: &AbortedTransaction) -> String {
    let AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset } = entry;
    format!(
        "producer {producer_id}, offsets {first_offset} to {last_offset}, stable {last_stable_offset}"
    )
}
