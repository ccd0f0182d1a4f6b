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
        if epoch == latest.epoch || twin!(TermEndsAtLogEnd) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Entries<'a> = &'a [(LeaderEpoch, Offset)];

    fn epochs(entries: Entries<'_>) -> LeaderEpochs {
        let entries =
            entries.iter().map(|&(epoch, start_offset)| EpochEntry { epoch, start_offset });
        LeaderEpochs { entries: entries.collect() }
    }

    #[test]
    fn an_epoch_drops_the_later_entries_that_conflict_with_it() {
        let before = [(1, 0), (2, 10), (4, 20)];
        let cases: [(LeaderEpoch, Offset, bool, Entries<'_>); 7] = [
            (5, 30, true, &[(1, 0), (2, 10), (4, 20), (5, 30)]),
            (4, 25, false, &before),
            (4, 15, true, &[(1, 0), (2, 10), (4, 15)]),
            (5, 10, true, &[(1, 0), (5, 10)]),
            (5, 0, true, &[(5, 0)]),
            // An epoch older than the latest takes the place of all that are not older than it.
            (2, 30, true, &[(1, 0), (2, 30)]),
            (NO_EPOCH, 30, false, &before),
        ];
        for (epoch, start, changes, after) in cases {
            let mut assigned = epochs(&before);
            assert_eq!(assigned.assign(epoch, start), changes, "{epoch} at {start}");
            assert_eq!(assigned, epochs(after), "{epoch} at {start}");
        }
    }

    #[test]
    fn a_batch_of_the_latest_epoch_changes_nothing_wherever_it_stands() {
        let before = epochs(&[(1, 0), (2, 10)]);
        for (base_offset, epoch) in [(20, 2), (10, 2), (5, 2), (20, 1), (20, NO_EPOCH)] {
            let mut observed = before.clone();
            assert!(!observed.observe(base_offset, epoch), "{epoch} at {base_offset}");
            assert_eq!(observed, before);
        }
        let mut observed = before.clone();
        assert!(observed.observe(20, 3));
        assert_eq!(observed, epochs(&[(1, 0), (2, 10), (3, 20)]));
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_one_starts() {
        let known = epochs(&[(2, 10), (4, 20), (7, 30)]);
        let cases = [
            (-1, None),
            (0, Some((0, 10))),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (4, Some((4, 30))),
            (6, Some((4, 30))),
            (7, Some((7, 99))),
            (8, None),
        ];
        for (epoch, end) in cases {
            assert_eq!(known.end_offset_for(epoch, 99), end, "epoch {epoch}");
        }
        assert_eq!(LeaderEpochs::new().end_offset_for(0, 99), None);
    }

    #[test]
    fn truncation_at_either_end_keeps_what_covers_the_log() {
        let known = [(2, 10), (4, 20), (7, 30)];
        let from_end: [(Offset, Entries<'_>); 4] =
            [(31, &known), (30, &known[..2]), (11, &known[..1]), (10, &[])];
        for (end, after) in from_end {
            let mut truncated = epochs(&known);
            assert_eq!(truncated.truncate_from_end(end), after.len() < 3);
            assert_eq!(truncated, epochs(after), "end {end}");
        }
        let from_start: [(Offset, bool, Entries<'_>); 6] = [
            (0, false, &known),
            (10, false, &known),
            (11, true, &[(2, 11), (4, 20), (7, 30)]),
            (20, true, &[(4, 20), (7, 30)]),
            (29, true, &[(4, 29), (7, 30)]),
            (99, true, &[(7, 99)]),
        ];
        for (start, changes, after) in from_start {
            let mut truncated = epochs(&known);
            assert_eq!(truncated.truncate_from_start(start), changes, "start {start}");
            assert_eq!(truncated, epochs(after), "start {start}");
        }
    }

    #[test]
    fn batches_without_an_epoch_and_epochs_that_fall_say_nothing() {
        let batches = [(0, -1), (3, 1), (5, 1), (7, 4), (9, 2), (11, 4), (12, 5)];
        assert_eq!(LeaderEpochs::rebuild(batches), epochs(&[(1, 3), (4, 7), (5, 12)]));
    }

    #[test]
    fn the_checkpoint_has_kafkas_text() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        assert!(LeaderEpochs::load(&storage, dir.path()).unwrap().is_none());
        let known = epochs(&[(0, 0), (3, 1_000_000_007)]);
        known.store(&storage, dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("leader-epoch-checkpoint")).unwrap();
        assert_eq!(text, "0\n2\n0 0\n3 1000000007\n");
        assert_eq!(LeaderEpochs::load(&storage, dir.path()).unwrap(), Some(known.clone()));
        assert_eq!(known.checksum(), crc32c::crc32c(text.as_bytes()));
    }

    #[test]
    fn a_checkpoint_that_does_not_rise_is_corrupt_at_its_byte() {
        let cases = [
            ("0\n2\n1 0\n1 5\n", "epoch", 8),
            ("0\n2\n1 5\n2 5\n", "start offset", 10),
            ("0\n1\n1 -5\n", "start offset", 6),
            ("0\n1\n-1 5\n", "epoch", 4),
            ("0\n1\n1\n", "entry", 4),
            ("0\n2\n1 5\n", "entry count", 2),
        ];
        for (text, what, position) in cases {
            let error = LeaderEpochs::parse(Path::new("f"), text.as_bytes()).unwrap_err();
            assert_eq!((error.what, error.position), (what, position), "{text:?}");
        }
        assert_eq!(LeaderEpochs::parse(Path::new("f"), b""), Ok(LeaderEpochs::new()));
    }

    /// The epoch of each record, from `start` on.
    #[derive(Debug, Default)]
    struct Model {
        start: usize,
        records: Vec<LeaderEpoch>,
    }

    impl Model {
        fn end(&self) -> usize {
            self.start + self.records.len()
        }

        fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
            let latest = *self.records.last()?;
            if epoch == latest {
                return Some((epoch, self.end() as Offset));
            }
            let next = self.records.iter().position(|at| *at > epoch)?;
            let floor = self.records.iter().copied().filter(|at| *at <= epoch).max();
            let found = (floor.unwrap_or(epoch), (self.start + next) as Offset);
            (epoch >= 0).then_some(found)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append { epochs_on: LeaderEpoch, records: usize },
        TruncateEnd(prop::sample::Index),
        TruncateStart(prop::sample::Index),
        Reload,
        Rebuild,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3, 1..5_usize)
                .prop_map(|(epochs_on, records)| Step::Append { epochs_on, records }),
            1 => any::<prop::sample::Index>().prop_map(Step::TruncateEnd),
            1 => any::<prop::sample::Index>().prop_map(Step::TruncateStart),
            1 => Just(Step::Reload),
            1 => Just(Step::Rebuild),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]

        #[test]
        fn epochs_say_what_the_records_say(steps in prop::collection::vec(step(), 1..40)) {
            let (mut model, mut epochs) = (Model::default(), LeaderEpochs::new());
            let mut current = 0;
            for step in steps {
                match step {
                    Step::Append { epochs_on, records } => {
                        current += epochs_on;
                        epochs.assign(current, model.end() as Offset);
                        model.records.extend(vec![current; records]);
                    }
                    Step::TruncateEnd(index) if !model.records.is_empty() => {
                        // One record stays: without any, the entry of the last epoch is a matter
                        // of the epochs alone.
                        model.records.truncate(1 + index.index(model.records.len()));
                        epochs.truncate_from_end(model.end() as Offset);
                        current = *model.records.last().unwrap();
                    }
                    Step::TruncateStart(index) if !model.records.is_empty() => {
                        let gone = index.index(model.records.len());
                        model.records.drain(..gone);
                        model.start += gone;
                        epochs.truncate_from_start(model.start as Offset);
                    }
                    Step::Reload => {
                        epochs = LeaderEpochs::parse(Path::new("f"), &epochs.to_bytes()).unwrap();
                    }
                    Step::Rebuild => {
                        let records = model.records.iter().enumerate();
                        let batches = records.map(|(at, epoch)| ((model.start + at) as Offset, *epoch));
                        prop_assert_eq!(&LeaderEpochs::rebuild(batches), &epochs);
                    }
                    Step::TruncateEnd(_) | Step::TruncateStart(_) => {}
                }
                for (at, epoch) in model.records.iter().enumerate() {
                    prop_assert_eq!(epochs.epoch_for((model.start + at) as Offset), Some(*epoch));
                }
                for epoch in -1..current + 2 {
                    let end = epochs.end_offset_for(epoch, model.end() as Offset);
                    prop_assert_eq!(end, model.end_offset_for(epoch), "epoch {}", epoch);
                }
            }
        }

        #[test]
        fn entries_rise_whatever_is_assigned(
            assigned in prop::collection::vec((-1..8, 0..20_i64), 0..40),
        ) {
            let mut epochs = LeaderEpochs::new();
            let mut naive = std::collections::BTreeMap::<LeaderEpoch, Offset>::new();
            for (epoch, start) in assigned {
                let before = epochs.clone();
                let changed = epochs.assign(epoch, start);
                prop_assert_eq!(changed, epochs != before);
                let keeps = naive.last_key_value().is_some_and(|(e, s)| *e == epoch && *s <= start);
                if epoch >= 0 && !keeps {
                    naive.retain(|e, s| *e < epoch && *s < start);
                    naive.insert(epoch, start);
                }
                let entries: Vec<_> =
                    epochs.entries().iter().map(|e| (e.epoch, e.start_offset)).collect();
                prop_assert_eq!(&entries, &naive.clone().into_iter().collect::<Vec<_>>());
                prop_assert!(entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
            }
        }
    }
}
