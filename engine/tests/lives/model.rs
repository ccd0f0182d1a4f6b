//! What must be in a partition, and what may be.

use std::{collections::BTreeMap, fmt};

use trunkline::{
    log::{Isolation, LogConfig, PartitionLog, epochs::LeaderEpochs},
    record::{Batch, BatchHeader, Decoder, Marker, SealedBatch},
    types::Offset,
};

use crate::dice::Dice;

/// Why a log is not as this model says.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The log said so itself, with a typed error.
    Error(String),
    /// It gave a wrong answer.
    Wrong(String),
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Error(what) | Self::Wrong(what)) = self;
        f.write_str(what)
    }
}

/// A batch as it must be read.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: BatchHeader,
    /// The end of a transaction that it is.
    pub(crate) marker: Option<Marker>,
    /// Timestamp and offset of each record.
    times: Vec<(i64, Offset)>,
}

impl Stored {
    pub(crate) fn new(batch: &SealedBatch) -> Self {
        let mut decoder = Decoder::new();
        let marker = batch.batch().marker(&mut decoder).unwrap().map(|marker| marker.kind);
        let records = batch.batch();
        let times = records.records(&mut decoder).unwrap().map(|record| {
            let record = record.unwrap();
            (record.timestamp, record.offset)
        });
        let times = times.collect();
        Self { bytes: batch.bytes().to_vec(), header: *batch.header(), marker, times }
    }

    pub(crate) fn base(&self) -> Offset {
        self.header.base_offset
    }

    pub(crate) fn next(&self) -> Offset {
        self.header.next_offset()
    }

    fn is_in(&self, log: &PartitionLog) -> bool {
        let fetched = log.fetch(self.base(), 1, Isolation::LogEnd);
        let first = fetched.as_ref().ok().and_then(|fetched| fetched.batches().next()?.ok());
        first.is_some_and(|batch| batch.bytes() == self.bytes)
    }
}

/// One partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// What was appended and not truncated, by offset; some of it may lie below the log start, or
    /// was under way when the power went.
    pub(crate) batches: Vec<Stored>,
    /// Where the log begins when there is no batch.
    base: Offset,
    /// Everything below was acknowledged as durable.
    pub(crate) durable: Offset,
    /// Where the log may start: two numbers where a change was under way.
    start: (Offset, Offset),
    /// Where an empty log may stand: the new offset and the old log start, where a restart was under
    /// way.
    empty_at: Vec<Offset>,
    /// What failed appends may have left, one of these, behind the end or under what is not durable.
    ghosts: Vec<Vec<Stored>>,
    /// All that was ever handed to the log, by base offset.
    ever: BTreeMap<Offset, Vec<Vec<u8>>>,
}

impl Model {
    pub(crate) fn end(&self) -> Offset {
        self.batches.last().map_or(self.base, Stored::next)
    }

    /// The log start, when nothing is under way.
    pub(crate) fn start(&self) -> Offset {
        self.start.0
    }

    /// Batches were appended, or may have been when the power went.
    pub(crate) fn appended(&mut self, batches: Vec<Stored>) {
        self.remember(&batches);
        self.batches.extend(batches);
    }

    /// An append failed: the log does not hold these batches, but a recovery may find them.
    pub(crate) fn refused(&mut self, batches: Vec<Stored>) {
        self.remember(&batches);
        self.ghosts.push(batches);
    }

    fn remember(&mut self, batches: &[Stored]) {
        for batch in batches {
            self.ever.entry(batch.base()).or_default().push(batch.bytes.clone());
        }
    }

    pub(crate) fn acknowledged(&mut self, upto: Offset) {
        self.durable = self.durable.max(upto);
        let durable = self.durable;
        self.ghosts.retain(|ghost| ghost.first().is_some_and(|first| first.base() >= durable));
    }

    /// The log start is being raised up to `most`.
    pub(crate) fn raising_start(&mut self, most: Offset) {
        self.start.1 = self.start.1.max(most);
    }

    pub(crate) fn started_at(&mut self, start: Offset) {
        self.start = (start, start);
    }

    /// Log start and log end behind a truncation to `offset`, at most the log end.
    pub(crate) fn ends_of_truncation(&self, offset: Offset) -> (Offset, Offset) {
        let (start, end) = (self.start.0, self.end());
        if offset >= end {
            return (start, end);
        }
        if offset <= start {
            return (offset, offset); // a restart
        }
        let cut = self.batches.iter().find(|it| it.next() > offset).map_or(offset, Stored::base);
        (start.min(cut), cut)
    }

    /// The log start that retention may give the log, at most: each batch before it is too old, or is not
    /// needed to have as many bytes as are to be kept.
    pub(crate) fn most_deleted(&self, config: &LogConfig, now_ms: i64) -> Offset {
        let mut left: i64 = self.batches.iter().map(|batch| batch.bytes.len() as i64).sum();
        for batch in &self.batches {
            left -= batch.bytes.len() as i64;
            let age = now_ms - batch.header.max_timestamp;
            let is_old = config.retention_ms >= 0 && age > config.retention_ms;
            let is_spare = config.retention_bytes >= 0 && left >= config.retention_bytes;
            if !is_old && !is_spare && batch.next() > self.start.0 {
                return batch.base();
            }
        }
        self.end()
    }

    /// A truncation to `offset` is under way: what it cuts is not promised any more.
    pub(crate) fn truncating(&mut self, offset: Offset) {
        let cut = self.batches.iter().find(|it| it.next() > offset).map_or(offset, Stored::base);
        if offset <= self.start.1 {
            // Nothing of it need be kept, and the first segment may be made anew.
            self.restarting(offset);
        }
        self.durable = self.durable.min(cut);
        self.start.0 = self.start.0.min(cut);
    }

    /// Everything goes; the log begins anew at `offset`.
    pub(crate) fn restarting(&mut self, offset: Offset) {
        self.empty_at = vec![offset, self.start.0, self.start.1];
        self.durable = 0;
        self.start = (self.start.0.min(offset), self.start.1.max(offset));
    }

    /// The log ends at `end` now and starts at `start`, durably.
    pub(crate) fn truncated(&mut self, start: Offset, end: Offset) {
        self.batches.retain(|batch| batch.next() <= end);
        if self.batches.last().is_none_or(|last| last.next() != end) {
            (self.batches, self.base) = (Vec::new(), end);
        }
        self.durable = self.durable.min(end);
        self.start = (start, start);
        self.empty_at = Vec::new();
    }

    /// Holds what recovery left against what must and may be there; from then on that is what there
    /// is, and it must stay: whoever reads it may act on it.
    pub(crate) fn adopt(&mut self, log: &PartitionLog, rng: &mut Dice) -> Result<(), Fail> {
        let marks = log.watermarks();
        let (start, end) = (marks.log_start, marks.log_end);
        if end < self.durable {
            let durable = self.durable;
            return Err(Fail::Wrong(format!(
                "lost: acknowledged up to {durable}, the log ends at {end}"
            )));
        }
        // What was refused may be there all the same, also in place of what came after it and is not durable.
        for ghost in std::mem::take(&mut self.ghosts) {
            let (first, base) = (&ghost[0], ghost[0].base());
            let is_known = self.batches.iter().any(|batch| batch.bytes == first.bytes);
            if base >= self.durable && !is_known && first.is_in(log) {
                self.batches.retain(|batch| batch.base() < base);
                self.batches.extend(ghost);
                break;
            }
        }
        let restarted = start == end && self.empty_at.contains(&end);
        let is_end = end == self.end() || end == self.base;
        if !restarted && !is_end && self.batches.iter().all(|batch| batch.next() != end) {
            let known = self.end();
            return Err(Fail::Wrong(format!(
                "the log ends at {end}, no batch does; appended up to {known}"
            )));
        }
        if start < self.start.0 || start > self.start.1.max(self.start.0) {
            return Err(Fail::Wrong(format!(
                "the log starts at {start}, expected {:?}",
                self.start
            )));
        }
        if (marks.durable_end, log.readable().get()) != (end, end) {
            return Err(Fail::Wrong(format!(
                "not all that was recovered is durable and readable: {marks:?}"
            )));
        }
        self.truncated(start, end);
        self.durable = end;
        self.check(log, rng)
    }

    /// What a disk that lied has left: some of it may be lost, but all that can be read was appended at
    /// that very offset, and stands in order.
    pub(crate) fn check_honest(&self, log: &PartitionLog) -> Result<(), Fail> {
        let marks = log.watermarks();
        let mut offset = marks.log_start;
        while offset < marks.log_end {
            // A typed error is an answer.
            let Ok(fetched) = log.fetch(offset, 4000, Isolation::LogEnd) else { return Ok(()) };
            let mut next = None;
            for batch in fetched.batches() {
                let Ok(batch) = batch else { return Ok(()) };
                let base = batch.header().base_offset;
                if next.is_some_and(|next| next != base) {
                    return Err(Fail::Wrong(format!("{base} follows {next:?}")));
                }
                if self
                    .ever
                    .get(&base)
                    .is_none_or(|ever| !ever.iter().any(|it| it == batch.bytes()))
                {
                    return Err(Fail::Wrong(format!("nothing like this was appended at {base}")));
                }
                next = Some(batch.header().next_offset());
            }
            if fetched.next_offset() <= offset {
                return Err(Fail::Wrong(format!("a fetch at {offset} gives nothing: {marks:?}")));
            }
            offset = fetched.next_offset();
        }
        Ok(())
    }

    /// Reads the log and looks it up in all ways; it must answer as this model does.
    pub(crate) fn check(&self, log: &PartitionLog, rng: &mut Dice) -> Result<(), Fail> {
        let marks = log.watermarks();
        let (start, end) = (marks.log_start, marks.log_end);
        if (start, end) != (self.start.0, self.end()) {
            return Err(Fail::Wrong(format!(
                "expected {} to {}, found {marks:?}",
                self.start.0,
                self.end()
            )));
        }
        self.check_records(log, rng)?;
        self.check_offsets(log, rng)?;
        self.check_times(log, rng)?;
        self.check_epochs(log)?;
        self.check_transactions(log)
    }

    /// The batches that hold offsets from the log start on.
    pub(crate) fn visible(&self) -> impl DoubleEndedIterator<Item = &Stored> {
        let first = self.batches.partition_point(|batch| batch.next() <= self.start.0);
        self.batches[first..].iter()
    }

    fn check_records(&self, log: &PartitionLog, rng: &mut Dice) -> Result<(), Fail> {
        let max_bytes = [1, 600, 5000, 1 << 20][rng.usize(..4)];
        let mut expected = self.visible();
        let mut offset = self.start();
        while offset < self.end() {
            let fetched = log.fetch(offset, max_bytes, Isolation::LogEnd);
            let fetched =
                fetched.map_err(|error| Fail::Error(format!("fetch at {offset}: {error}")))?;
            for batch in fetched.batches() {
                let batch =
                    batch.map_err(|error| Fail::Error(format!("fetched at {offset}: {error}")))?;
                same(expected.next(), &batch)?;
            }
            if fetched.next_offset() <= offset {
                return Err(Fail::Wrong(format!(
                    "lost: a fetch at {offset} of {} gives nothing",
                    self.end()
                )));
            }
            offset = fetched.next_offset();
        }
        match expected.next() {
            Some(missing) => Err(Fail::Wrong(format!("lost: the batch at {}", missing.base()))),
            None => Ok(()),
        }
    }

    fn check_offsets(&self, log: &PartitionLog, rng: &mut Dice) -> Result<(), Fail> {
        for _ in 0..4.min(self.end() - self.start()) {
            let offset = rng.i64(self.start()..self.end());
            let fetched = log.fetch(offset, 1, Isolation::Committed);
            let fetched =
                fetched.map_err(|error| Fail::Error(format!("fetch at {offset}: {error}")))?;
            if fetched.is_empty() && offset >= log.readable().get() {
                continue;
            }
            let expected = self.visible().find(|batch| batch.next() > offset);
            let Some(batch) = fetched.batches().next() else {
                return Err(Fail::Wrong(format!("lost: nothing at {offset}")));
            };
            same(expected, &batch.map_err(|error| Fail::Error(error.to_string()))?)?;
        }
        Ok(())
    }

    fn check_times(&self, log: &PartitionLog, rng: &mut Dice) -> Result<(), Fail> {
        let readable = log.readable().get();
        let times: Vec<_> = self.visible().flat_map(|batch| &batch.times).collect();
        for _ in 0..4.min(times.len()) {
            let wanted = times[rng.usize(..times.len())].0 + rng.i64(-1..=1);
            let first = |(at, offset): &&&(i64, Offset)| *at >= wanted && *offset >= self.start();
            let expected = times.iter().find(first).map(|found| **found);
            let expected = expected.filter(|(_, offset)| *offset < readable);
            let found = log.offset_for_timestamp(wanted);
            let found =
                found.map_err(|error| Fail::Error(format!("timestamp {wanted}: {error}")))?;
            if found != expected {
                return Err(Fail::Wrong(format!(
                    "timestamp {wanted}: expected {expected:?}, found {found:?}"
                )));
            }
        }
        Ok(())
    }

    fn check_epochs(&self, log: &PartitionLog) -> Result<(), Fail> {
        let place = |batch: &Stored| (batch.base().max(self.start()), batch.header.leader_epoch);
        let expected = LeaderEpochs::rebuild(self.visible().map(place));
        let found = log.leader_epochs();
        if !expected.entries().is_empty() && *found != expected {
            return Err(Fail::Wrong(format!(
                "leader epochs: expected {expected:?}, found {found:?}"
            )));
        }
        Ok(())
    }

    /// Transactions whose beginning was deleted are left aside: it is not known any more.
    fn check_transactions(&self, log: &PartitionLog) -> Result<(), Fail> {
        let (mut open, mut aborted) = (BTreeMap::new(), Vec::new());
        for batch in self.batches.iter().filter(|batch| batch.header.attributes.is_transactional())
        {
            let id = batch.header.producer_id;
            match batch.marker {
                None => {
                    open.entry(id).or_insert(batch.base());
                }
                Some(marker) => {
                    let first = open.remove(&id);
                    if let Some(first) = first.filter(|_| marker == Marker::Abort) {
                        aborted.push((id, first, batch.base()));
                    }
                }
            }
        }
        aborted.retain(|(_, first, _)| *first >= self.start());
        let found = log.aborted_transactions(self.start(), self.end());
        let found = found.map_err(|error| Fail::Error(format!("aborted transactions: {error}")))?;
        let found = found.iter().map(|it| (it.producer_id, it.first_offset, it.last_offset));
        let found: Vec<_> = found.filter(|(_, first, _)| *first >= self.start()).collect();
        if found != aborted {
            return Err(Fail::Wrong(format!(
                "aborted transactions: expected {aborted:?}, found {found:?}"
            )));
        }
        let readable = log.readable().get();
        let unstable = open.values().min().copied();
        if readable == self.end() && unstable.is_none_or(|first| first >= self.start()) {
            let (expected, found) = (unstable.unwrap_or(readable), log.last_stable_offset());
            if found != expected {
                return Err(Fail::Wrong(format!(
                    "last stable offset: expected {expected}, found {found}"
                )));
            }
        }
        Ok(())
    }
}

fn same(expected: Option<&Stored>, found: &Batch<'_>) -> Result<(), Fail> {
    let base = found.header().base_offset;
    match expected {
        None => {
            Err(Fail::Wrong(format!("a batch at {base} that was never appended, or was truncated")))
        }
        Some(expected) if expected.bytes == found.bytes() => Ok(()),
        Some(expected) => Err(Fail::Wrong(format!(
            "lost: expected the batch at {} ({} bytes), found another at {base} ({} bytes)",
            expected.base(),
            expected.bytes.len(),
            found.bytes().len()
        ))),
    }
}
