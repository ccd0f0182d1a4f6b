//! The offsets of one partition, with one checked transition an event.

use crate::types::Offset;

/// Log start, recovery point, durable end, log end and high watermark of one partition.
///
/// At rest, and asserted after every event:
///
/// ```text
/// log start ≤ recovery point ≤ durable end ≤ log end
/// log start ≤ high watermark ≤ log end
/// ```
///
/// High watermark and durable end are independent: a quorum may hold what this disk does not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermarks {
    log_start: Offset,
    recovery_point: Offset,
    durable_end: Offset,
    log_end: Offset,
    high_watermark: Offset,
    generation: Generation,
    cuts: Cuts,
}

/// Counts the truncations of a log: what was learnt of offsets before one says nothing after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(u64);

/// The watermarks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarksSnapshot {
    /// First offset that can be read.
    pub log_start: Offset,
    /// A restart after a crash reads the log from here on; index entries below are durable.
    pub recovery_point: Offset,
    /// Everything below is on the device.
    pub durable_end: Offset,
    /// Offset of the next record (LEO).
    pub log_end: Offset,
    /// Everything below is held by all in-sync replicas.
    pub high_watermark: Offset,
    /// Of what these offsets are true; see [`Watermarks::synced`].
    pub generation: Generation,
}

impl Watermarks {
    /// A log that recovery left with the offsets from `start` to `end`, all of them synced. High
    /// watermark and recovery point stand at `start`; [`Watermarks::high_watermark_moved`] and
    /// [`Watermarks::checkpointed`] raise them to what the checkpoints say.
    pub fn recovered(start: Offset, end: Offset) -> Self {
        let this = Self {
            log_start: start,
            recovery_point: start,
            durable_end: end,
            log_end: end,
            high_watermark: start,
            generation: Generation::default(),
            cuts: Cuts::default(),
        };
        this.checked("recovered")
    }

    /// Records before `end` were written.
    ///
    /// # Panics
    /// When `end` lies before the log end.
    pub fn appended(&mut self, end: Offset) {
        assert!(end >= self.log_end, "appended up to {end}, before the log end: {self:?}");
        self.log_end = end;
        self.check("appended");
    }

    /// Records before `durable` are on the device. `generation` is the one of the snapshot that was
    /// taken before the sync began: after a truncation since then nothing is known, nothing moves, and
    /// `false` comes back. A smaller `durable` than known moves nothing either.
    pub fn synced(&mut self, durable: Offset, generation: Generation) -> bool {
        if generation != self.generation && !race!(PlanOutlivesCut) {
            return false;
        }
        self.durable_end = self.durable_end.max(durable);
        self.check("synced");
        true
    }

    /// All in-sync replicas hold the records before `to`. A follower hears this of its leader, whose
    /// log may be longer: never above the own log end (Kafka: `UnifiedLog.updateHighWatermark`). Never
    /// falls but by a truncation. Gives the high watermark now.
    pub fn high_watermark_moved(&mut self, to: Offset) -> Offset {
        self.high_watermark = self.high_watermark.max(to.min(self.log_end));
        self.check("high watermark moved");
        self.high_watermark
    }

    /// Records before `to` are deleted. At most the high watermark (Kafka:
    /// `UnifiedLog.maybeIncrementLogStartOffset`), and at most the durable end: who wants more syncs
    /// first. A smaller `to` than the log start moves nothing.
    ///
    /// The recovery point comes along, past index entries that may not be durable (so does Kafka's:
    /// `UnifiedLog.updateLogStartOffset`). That is no harm: a recovery checks the segment that holds
    /// `to` and all behind it, with their indexes. Entries count once the log confirms them, so that
    /// lost ones cost time; aborted transactions are had again from the batches behind the newest
    /// snapshot of the producers that is not beyond `to`, which was taken at the segment's base or by a
    /// checkpoint that synced the index. The segments before hold deleted records only. (Test: `log::tests::power::a_raised_log_start_hides_no_lost_index`.)
    ///
    /// # Panics
    /// When `to` lies beyond one of the two.
    pub fn start_advanced(&mut self, to: Offset) {
        assert!(to <= self.durable_end, "start advanced to {to}, not durable: {self:?}");
        assert!(to <= self.high_watermark, "start advanced to {to}, not committed: {self:?}");
        self.log_start = self.log_start.max(to);
        self.recovery_point = self.recovery_point.max(self.log_start);
        self.check("start advanced");
    }

    /// Index entries and records before `recovery_point` are on the device. `generation` as in
    /// [`Watermarks::synced`].
    pub fn checkpointed(&mut self, recovery_point: Offset, generation: Generation) -> bool {
        if generation != self.generation {
            return false;
        }
        self.recovery_point = self.recovery_point.max(recovery_point);
        self.check("checkpointed");
        true
    }

    /// Records from `offset` on are cut off. All that stood higher comes down to `offset`, log start
    /// and high watermark too (Kafka: `UnifiedLog.truncateTo`).
    ///
    /// # Panics
    /// When `offset` lies past the log end.
    pub fn truncated_to(&mut self, offset: Offset) {
        assert!(offset <= self.log_end, "truncated to {offset}, past the log end: {self:?}");
        self.log_end = offset;
        self.durable_end = self.durable_end.min(offset);
        self.recovery_point = self.recovery_point.min(offset);
        self.high_watermark = self.high_watermark.min(offset);
        self.log_start = self.log_start.min(offset);
        self.cut(offset);
        self.check("truncated");
    }

    /// All records are gone; the next one has `offset` (Kafka: `UnifiedLog.truncateFullyAndStartAt`).
    pub fn restarted_at(&mut self, offset: Offset) {
        self.cut(0);
        let (generation, cuts) = (self.generation, std::mem::take(&mut self.cuts));
        *self = Self { generation, cuts, ..Self::recovered(offset, offset) };
        self.check("restarted");
    }

    /// Whether all records before `end` that stood in the log at `generation` stand there still, or were
    /// deleted from its start: no truncation since then went below `end`. Behind one that did, other
    /// records may stand by now. Who asks after very many truncations may hear `false` where `true` would
    /// be right, never the reverse.
    pub fn is_kept(&self, end: Offset, generation: Generation) -> bool {
        self.cuts.lowest_since(generation).is_none_or(|cut| end <= cut)
    }

    /// The offsets now.
    pub fn snapshot(&self) -> WatermarksSnapshot {
        WatermarksSnapshot {
            log_start: self.log_start,
            recovery_point: self.recovery_point,
            durable_end: self.durable_end,
            log_end: self.log_end,
            high_watermark: self.high_watermark,
            generation: self.generation,
        }
    }

    fn cut(&mut self, offset: Offset) {
        self.generation.0 += 1;
        self.cuts.push(self.generation, offset);
    }

    fn checked(self, event: &str) -> Self {
        self.check(event);
        self
    }

    fn check(&self, event: &str) {
        let on_disk = self.log_start <= self.recovery_point
            && self.recovery_point <= self.durable_end
            && self.durable_end <= self.log_end;
        let on_replicas =
            self.log_start <= self.high_watermark && self.high_watermark <= self.log_end;
        assert!(self.log_start >= 0 && on_disk && on_replicas, "after {event}: {self:?}");
    }
}

/// Where truncations cut, as far as it still matters: a later, lower one hides those before it. So the
/// offsets rise, and the first one after a generation is the lowest since.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Cuts(Vec<(Generation, Offset)>);

impl Cuts {
    /// Most of them that are remembered, each higher than the one before.
    const MOST: usize = 256;

    fn push(&mut self, generation: Generation, offset: Offset) {
        while self.0.pop_if(|(_, before)| *before >= offset).is_some() {}
        self.0.push((generation, offset));
        if self.0.len() > Self::MOST {
            // The oldest stands for the one behind it too: it is lower.
            let (_, lowest) = self.0.remove(0);
            self.0[0].1 = lowest;
        }
    }

    fn lowest_since(&self, generation: Generation) -> Option<Offset> {
        let first = self.0.partition_point(|(cut, _)| *cut <= generation);
        self.0.get(first).map(|(_, offset)| *offset)
    }
}

#[cfg(test)]
mod tests;
