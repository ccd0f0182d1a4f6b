//! Reading: whole batches by offset, and the offset for a timestamp. Readers pin a snapshot of the
//! segments and take no lock that an appender holds during I/O.

use std::{path::Path, sync::Arc};

use super::{DamagedRange, PartitionLog, ReadError, epochs::LeaderEpochs};
use crate::{
    commit::WatermarksSnapshot,
    error::Corruption,
    record::{Batch, BatchError, BatchHeader},
    segment::{AbortedTransaction, Segment, SegmentBytes, SegmentError, SegmentSet, SegmentView},
    types::Offset,
};

/// How far a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Up to the log end: a follower, or a tool.
    LogEnd,
    /// Up to what is committed: `min(high watermark, durable end)`, the second where the partition is
    /// `Durable`. A consumer.
    #[default]
    Committed,
    /// As `Committed`, and no further than the first open transaction (`read_committed`).
    Stable,
}

/// Whole batches, one behind the other, as they stand in the log.
#[derive(Debug, Clone)]
pub struct Fetched {
    bytes: SegmentBytes,
    segment: Option<Arc<Segment>>,
    /// Where `bytes` stand in the segment's file.
    position: u64,
    first: Offset,
    next: Offset,
    epochs: Arc<LeaderEpochs>,
    watermarks: WatermarksSnapshot,
    aborted: Vec<AbortedTransaction>,
}

impl Fetched {
    /// The batches' bytes. Offsets and epochs of the headers were checked against their neighbours and
    /// the leader epochs, the records' checksums were not: [`Fetched::batches`] does.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the bytes are a part of the mapped file, as those of a segment that is not appended to any
    /// more. They cost no copy; as long as they are held the file stays mapped. Who closes the engine and lets
    /// another program have the folder drops them first: a page of a file that is cut by somebody else is none.
    pub fn is_mapped(&self) -> bool {
        self.bytes.is_mapped()
    }

    /// Whether nothing was there to read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Base offset of the first batch, which may lie before the offset asked for; where there is none,
    /// the offset asked for.
    pub fn first_offset(&self) -> Offset {
        self.first
    }

    /// Where to fetch next.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// The partition's watermarks when the fetch began.
    pub fn watermarks(&self) -> &WatermarksSnapshot {
        &self.watermarks
    }

    /// At [`Isolation::Stable`] the aborted transactions that touch the batches, in the order of their
    /// markers; none otherwise. A reader passes their producers' transactional batches over, from the
    /// first offset to the marker (Kafka: `FetchDataInfo.abortedTransactions`).
    pub fn aborted(&self) -> &[AbortedTransaction] {
        &self.aborted
    }

    /// Walks the batches, each checked against its checksum.
    pub fn batches(&self) -> Batches<'_> {
        Batches { fetched: self, at: 0 }
    }

    /// File that the bytes were read from, where there are any.
    pub fn path(&self) -> &Path {
        self.segment.as_ref().map_or(Path::new(""), |segment| segment.path())
    }

    /// Where the bytes stand in that file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Keeps the batches that end below `upper`, as far as each one's leader epoch is right, which no CRC covers;
    /// an error where that of the first is wrong. That they follow each other was checked as they were read;
    /// that the first one is the one that was looked for, `found` there by an earlier read, is checked here.
    fn keep_below(&mut self, upper: Offset, found: &BatchHeader) -> Result<(), Corruption> {
        let mut at = 0;
        while at < self.bytes.len() {
            let position = self.position + at as u64;
            let header = BatchHeader::parse(&self.bytes[at..])
                .map_err(|error| BatchError::from(error).into_corruption(self.path(), position))?;
            if at == 0 && header != *found {
                let (what, expected) = ("header, read twice", format!("{found:?}"));
                let again = format!("{header:?}");
                return Err(Corruption::new(self.path(), position, what, expected, again));
            }
            // What is appended meanwhile may be of a term that is not known here.
            if header.next_offset() > upper {
                break;
            }
            match self.check_epoch(&header, position) {
                // Who comes for it hears why; what stands before it is sound.
                Err(_) if at > 0 => break,
                checked => checked?,
            }
            at += header.total_bytes();
            self.next = header.next_offset();
        }
        self.bytes.truncate(at);
        Ok(())
    }

    /// A batch is of one term; its base may lie below the log start, where the terms begin.
    fn check_epoch(&self, header: &BatchHeader, position: u64) -> Result<(), Corruption> {
        match self.epochs.epoch_for(header.last_offset()) {
            Some(epoch) if epoch != header.leader_epoch => Err(Corruption::new(
                self.path(),
                position + 12,
                "leader epoch",
                epoch,
                header.leader_epoch,
            )),
            _ => Ok(()),
        }
    }
}

/// Where a reader begins.
pub(super) struct Place<'a> {
    pub(super) set: &'a SegmentSet,
    pub(super) segment: &'a Arc<Segment>,
    pub(super) view: SegmentView<'a>,
    /// Byte position of the batch that holds the offset.
    pub(super) position: u64,
    pub(super) header: BatchHeader,
    /// Offset below which the reader sees.
    pub(super) upper: Offset,
}

/// Iterator over the batches of a [`Fetched`].
#[derive(Debug)]
pub struct Batches<'a> {
    fetched: &'a Fetched,
    at: usize,
}

impl Batches<'_> {
    /// Position of the next batch in [`Fetched::bytes`].
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.fetched.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        match Batch::check(rest) {
            Ok(batch) => {
                self.at += batch.header().total_bytes();
                Some(Ok(batch))
            }
            Err(error) => {
                let position = self.fetched.position + self.at as u64;
                self.at = self.fetched.bytes.len();
                Some(Err(error.into_corruption(self.fetched.path(), position)))
            }
        }
    }
}

impl PartitionLog {
    /// Whole batches from the one that holds `offset` on, at most `max_bytes` of them, but the first
    /// one whatever its size (KIP-74). Empty at the end of what `isolation` lets the reader see.
    pub fn fetch(
        &self,
        offset: Offset,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Fetched, ReadError> {
        let fetched =
            self.steady(|watermarks| self.fetch_at(isolation, offset, max_bytes, *watermarks))?;
        if !fetched.is_empty() {
            self.metrics.fetched(fetched.bytes.len() as u64);
        }
        Ok(fetched)
    }

    /// Reads while the log stays what `watermarks` say: behind a truncation other records may stand, that
    /// are not committed yet.
    pub(super) fn steady<T>(
        &self,
        read: impl Fn(&WatermarksSnapshot) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let once = || {
            let watermarks = self.tail.snapshot();
            let result = read(&watermarks);
            if self.tail.is_current(watermarks.generation) || race!(ReadNotSteady) {
                return result;
            }
            Err(ReadError::Truncated { path: self.path.clone() })
        };
        match once() {
            // A segment that was never opened may be deleted between the snapshot and its first use.
            Err(ReadError::Io(error)) if error.is_not_found() => once(),
            Err(ReadError::Truncated { .. }) => once(),
            other => other,
        }
    }

    /// Reads of the log as `watermarks` say that it is.
    pub(super) fn fetch_at(
        &self,
        isolation: Isolation,
        offset: Offset,
        max_bytes: usize,
        watermarks: WatermarksSnapshot,
    ) -> Result<Fetched, ReadError> {
        let mut fetched = Fetched {
            bytes: SegmentBytes::default(),
            segment: None,
            position: 0,
            first: offset,
            next: offset,
            epochs: Arc::default(),
            watermarks,
            aborted: Vec::new(),
        };
        self.find(isolation, offset, &watermarks, |place| {
            let Place { set, segment, view, position, header, upper } = place;
            // After `upper`: no record below it is of a term that is not among these.
            fetched.epochs = self.epochs.load_full();
            fetched.position = position;
            fetched.bytes = view.read(position, view.len(), max_bytes, true)?;
            fetched.segment = Some(segment.clone());
            fetched.keep_below(upper, &header)?;
            if !fetched.is_empty() {
                fetched.first = header.base_offset;
            }
            if isolation == Isolation::Stable && !fetched.is_empty() {
                fetched.aborted = self.aborted_in(set, fetched.first, fetched.next)?;
            }
            Ok(())
        })?;
        Ok(fetched)
    }

    /// Finds the batch that holds `offset`, and hands it on where a reader may see that offset.
    pub(super) fn find(
        &self,
        isolation: Isolation,
        offset: Offset,
        watermarks: &WatermarksSnapshot,
        read: impl FnOnce(Place<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let upper = self.upper(isolation, watermarks);
        let WatermarksSnapshot { log_start, log_end, .. } = *watermarks;
        if offset < log_start || offset > log_end {
            return Err(ReadError::OutOfRange { offset, log_start, log_end });
        }
        if offset >= upper {
            return Ok(());
        }
        let set = self.segments.load();
        self.check_not_retired(&set, offset)?;
        if let Some(corruption) = self.damage_at(&set, offset) {
            return Err(corruption.into());
        }
        for segment in set.from(offset) {
            let view = segment.view();
            let Some((position, header)) = self.locate(view, offset)? else {
                continue; // the rest of this segment was compacted away
            };
            if header.base_offset > offset && !self.config().compacted {
                let (path, found) = (segment.path(), header.base_offset);
                return Err(Corruption::new(path, position, "base offset", offset, found).into());
            }
            return read(Place { set: &set, segment, view, position, header, upper });
        }
        Ok(())
    }

    /// Retention may be faster than a reader that has seen where the log starts.
    pub(super) fn check_not_retired(
        &self,
        set: &SegmentSet,
        offset: Offset,
    ) -> Result<(), ReadError> {
        let is_here = set.first().is_none_or(|first| first.base_offset() <= offset);
        if is_here || race!(RetiredUnchecked) {
            return Ok(());
        }
        let WatermarksSnapshot { log_start, log_end, .. } = self.tail.snapshot();
        Err(ReadError::OutOfRange { offset, log_start, log_end })
    }

    /// What is wrong where `offset` lies in a damaged range.
    fn damage_at(&self, set: &SegmentSet, offset: Offset) -> Option<Corruption> {
        let damage = self.damage.load();
        let covers = |range: &&DamagedRange| {
            let following = || set.iter().find(|segment| segment.base_offset() > range.segment);
            let end = match range.resumes_at {
                Some((_, offset)) => offset,
                None => following().map_or(Offset::MAX, |segment| segment.base_offset()),
            };
            (range.offset..end).contains(&offset)
        };
        damage.iter().find(covers).map(|range| range.corruption.clone())
    }

    /// Where the batch stands that holds `offset` or follows it; valid batches behind a damaged range
    /// are found too.
    pub(super) fn locate(
        &self,
        view: SegmentView<'_>,
        offset: Offset,
    ) -> Result<Option<(u64, BatchHeader)>, ReadError> {
        let corrupt = match view.locate(offset) {
            Err(SegmentError::Corrupt(corruption)) => corruption,
            other => return Ok(other?),
        };
        let damage = self.damage.load();
        let behind = damage.iter().rev().find_map(|range| {
            let resumes = range.resumes_at.filter(|(_, from)| *from <= offset);
            resumes.filter(|_| range.segment == view.segment().base_offset())
        });
        let Some((position, _)) = behind else { return Err(corrupt.into()) };
        for item in view.headers(position) {
            let (position, header) = item?;
            if header.last_offset() >= offset {
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }

    /// An earlier answer may stand in a damaged range.
    fn check_sound_below(&self, offset: Offset) -> Result<(), Corruption> {
        let damage = self.damage.load();
        let before = damage.iter().find(|range| range.offset < offset);
        before.map_or(Ok(()), |range| Err(range.corruption.clone()))
    }

    /// Offset below which a reader may read now: one that starts at the end begins there.
    pub fn end_for(&self, isolation: Isolation) -> Offset {
        self.upper(isolation, &self.tail.snapshot())
    }

    fn upper(&self, isolation: Isolation, watermarks: &WatermarksSnapshot) -> Offset {
        match isolation {
            Isolation::LogEnd => watermarks.log_end,
            Isolation::Committed => self.readable().get(),
            Isolation::Stable => self.last_stable_offset(),
        }
    }

    /// The first record whose timestamp is `timestamp` (milliseconds) or later, with its own timestamp
    /// and offset; `None` where there is none that a consumer may read.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(i64, Offset)>, ReadError> {
        self.steady(|watermarks| self.look_up(timestamp, watermarks.log_start))
    }

    fn look_up(
        &self,
        timestamp: i64,
        log_start: Offset,
    ) -> Result<Option<(i64, Offset)>, ReadError> {
        let upper = self.readable().get();
        let set = self.segments.load();
        for segment in set.from(log_start) {
            let newest = match segment.max_timestamp() {
                // Where the damage is, it may hold any timestamp.
                Err(SegmentError::Corrupt(_)) => i64::MAX,
                other => other?.map_or(-1, |(newest, _)| newest),
            };
            if newest < timestamp {
                continue;
            }
            if let Some((found, offset)) = segment.find_timestamp(timestamp, log_start)? {
                self.check_sound_below(offset)?;
                return Ok((offset < upper).then_some((found, offset)));
            }
        }
        self.check_sound_below(upper)?;
        Ok(None)
    }
}
