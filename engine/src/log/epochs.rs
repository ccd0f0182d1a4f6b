//! Which leader epoch wrote which offsets (Kafka: `LeaderEpochFileCache`), kept in the partition's
//! `leader-epoch-checkpoint`.
//!
//! A follower truncates by epoch, never by high watermark (KIP-101, KIP-279), so an entry must be
//! durable ([`LeaderEpochs::store`]) before the leader serves its epoch. A checkpoint that cannot
//! be read is a typed error and never in the way of a start (KAFKA-16541): the log's batches say
//! the same ([`LeaderEpochs::rebuild`]).

use std::path::Path;

use super::checkpoint::{CheckpointError, LEADER_EPOCHS, format_entries, parse_entries, read};
use crate::{
    error::{Corruption, IoError},
    io::Storage,
    types::{LeaderEpoch, NO_EPOCH, Offset},
};

/// An epoch and the offset of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader's term, at least 0.
    pub epoch: LeaderEpoch,
    /// Offset of the first record that it wrote, at least 0.
    pub start_offset: Offset,
}

/// The epochs of one log: epochs and start offsets both rise strictly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// No epochs yet.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The epochs that a log's batches carry, in the order of the log; each item is a batch's base
    /// offset and leader epoch. Batches without an epoch (−1) and epochs that fall are passed over,
    /// as Kafka does when it recovers a segment.
    pub fn rebuild(batches: impl IntoIterator<Item = (Offset, LeaderEpoch)>) -> Self {
        let mut epochs = Self::new();
        for (base_offset, epoch) in batches {
            epochs.observe(base_offset, epoch);
        }
        epochs
    }

    /// One step of [`LeaderEpochs::rebuild`]: a batch at `base_offset` carries `epoch`.
    /// Whether the entries changed.
    pub fn observe(&mut self, base_offset: Offset, epoch: LeaderEpoch) -> bool {
        epoch > self.latest().map_or(NO_EPOCH, |entry| entry.epoch)
            && self.assign(epoch, base_offset)
    }

    /// Notes that `epoch` starts at `start_offset`. Later entries that conflict with it (a higher
    /// epoch, or a start at or behind it) are dropped, as Kafka drops them: the log was truncated
    /// below them. The latest epoch keeps its start when it is named again with a later one.
    ///
    /// Whether the entries changed and must be stored. A negative epoch changes nothing.
    ///
    /// # Panics
    /// Where `start_offset` is negative.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(start_offset >= 0, "start offset {start_offset} of epoch {epoch}");
        let known =
            |latest: EpochEntry| latest.epoch == epoch && latest.start_offset <= start_offset;
        if epoch < 0 || self.latest().is_some_and(known) {
            return false;
        }
        let conflicts =
            |entry: &EpochEntry| entry.epoch >= epoch || entry.start_offset >= start_offset;
        while self.entries.last().is_some_and(conflicts) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// The latest epoch.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The epoch that wrote the record at `offset`; `None` where it is older than all that is known.
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let later = self.entries.partition_point(|entry| entry.start_offset <= offset);
        later.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// The largest known epoch at or below `epoch` and the offset where it ends, by which a
    /// follower finds where its log parted from the leader's:
    ///
    /// * the latest epoch ends at `log_end`;
    /// * another ends where the next one starts;
    /// * one older than all that is known is given back as asked, ending where the first known one
    ///   starts (what was before is no longer in the log);
    /// * `None` (Kafka: −1, −1) for −1, for an epoch newer than the latest, and without entries.
    pub fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest()?;
        if epoch == latest.epoch {
            return Some((epoch, log_end));
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher).filter(|_| epoch != NO_EPOCH)?.start_offset;
        let floor = higher.checked_sub(1).map_or(epoch, |at| self.entries[at].epoch);
        Some((floor, end))
    }

    /// Drops the epochs that start at or behind `end`, the log's new end. Whether there were any.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Drops the epochs that end at or before `start`, the log's new start; the one that holds
    /// `start` now starts there. Whether the entries changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let begun = self.entries.partition_point(|entry| entry.start_offset <= start);
        let Some(holds_start) = begun.checked_sub(1) else { return false };
        if holds_start == 0 && self.entries[0].start_offset == start {
            return false;
        }
        self.entries.drain(..holds_start);
        self.entries[0].start_offset = start;
        true
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Reads the checkpoint of the partition whose folder is `dir`; `None` where it is absent.
    pub fn load(storage: &Storage, dir: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = dir.join(LEADER_EPOCHS);
        match read(storage, &path)? {
            Some(bytes) => Ok(Some(Self::parse(&path, &bytes)?)),
            None => Ok(None),
        }
    }

    /// Replaces the checkpoint of the partition whose folder is `dir`, durably.
    pub fn store(&self, storage: &Storage, dir: &Path) -> Result<(), IoError> {
        storage.replace(&dir.join(LEADER_EPOCHS), &self.to_bytes())
    }

    /// The checkpoint's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lines =
            self.entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start_offset));
        format_entries(self.entries.len(), lines)
    }

    /// CRC32C over [`LeaderEpochs::to_bytes`], for `trunkline-state`.
    pub fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.to_bytes())
    }

    /// Reads a checkpoint's bytes; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Corruption> {
        let mut epochs = Self::new();
        parse_entries(path, bytes, |line| {
            let [epoch, start_offset] = line.fields("entry")?;
            let entry = EpochEntry {
                epoch: epoch.number("epoch", i32::MAX as i64)? as LeaderEpoch,
                start_offset: start_offset.number("start offset", Offset::MAX)?,
            };
            if let Some(before) = epochs.latest() {
                if entry.epoch <= before.epoch {
                    let expected = format!("more than {}", before.epoch);
                    return Err(epoch.refuse("epoch", expected));
                }
                if entry.start_offset <= before.start_offset {
                    let expected = format!("more than {}", before.start_offset);
                    return Err(start_offset.refuse("start offset", expected));
                }
            }
            epochs.entries.push(entry);
            Ok(())
        })?;
        Ok(epochs)
    }
}
