//! Finding batches in a segment: by offset, by timestamp, and the largest timestamp. An index entry
//! says where to begin; the log says whether that is true. Of timestamps the log is believed only
//! where a batch fits its checksum.

use super::{
    Headers, Segment, SegmentError,
    published::{LargestTimestamp, View},
    rule::{IndexRule, NEWEST_UNKNOWN},
    tables::Tables,
    time_index::TimeEntry,
};
use crate::{
    error::Corruption,
    record::{Batch, BatchError, BatchHeader, Decoder},
    types::Offset,
};

impl Segment {
    /// The first batch whose last offset is `offset` or larger, and its position; `None` where the
    /// segment ends before.
    pub fn locate(&self, offset: Offset) -> Result<Option<(u64, BatchHeader)>, SegmentError> {
        self.view().locate(offset)
    }

    pub(super) fn locate_in(
        &self,
        view: &View,
        offset: Offset,
    ) -> Result<Option<(u64, BatchHeader)>, SegmentError> {
        if offset >= view.next_offset {
            return Ok(None);
        }
        let mut headers = self.headers_near(view, offset)?;
        for item in headers.by_ref() {
            let (position, header) = item?;
            if header.last_offset() >= offset {
                return Ok(Some((position, header)));
            }
        }
        if self.options().gaps_allowed {
            return Ok(None);
        }
        let found = headers.expected().unwrap_or(self.base_offset());
        let what = "offset behind the last batch";
        Err(Corruption::new(self.path(), view.len, what, view.next_offset, found).into())
    }

    /// As [`Segment::locate`], for who believes all that stands before the batch: by a walk from an index entry
    /// before the one that leads to it. An entry that leads into a batch, to bytes that look like one, is found
    /// out; then the segment is gone through from its first byte.
    pub fn locate_surely(
        &self,
        offset: Offset,
    ) -> Result<Option<(u64, BatchHeader)>, SegmentError> {
        let view = self.published().view();
        let Some(found) = self.locate_in(&view, offset)? else { return Ok(None) };
        let tables = self.tables(&view)?;
        let start = match tables.entry_before(&view, offset) {
            Some(entry) => tables.entries_below(&view, entry.position).next(),
            None => None,
        };
        let start = start.map_or(0, |entry| entry.position);
        let holds = |item: &Result<(u64, BatchHeader), SegmentError>| {
            item.as_ref().map_or(true, |(_, header)| header.last_offset() >= offset)
        };
        let from = |start| Headers::new(self, view, start).find(holds);
        match from(start) {
            Some(Ok(again)) if again == found => Ok(Some(found)),
            Some(Err(SegmentError::Io(error))) => Err(error.into()),
            _ => from(0).transpose(),
        }
    }

    /// A walk that begins at or before the batch that holds `offset`, as near as an index entry
    /// allows that the log confirms.
    fn headers_near(&self, view: &View, offset: Offset) -> Result<Headers<'_>, SegmentError> {
        if let Some(headers) = self.headers_by(self.tables(view)?, view, offset)? {
            return Ok(headers);
        }
        self.options().metrics.index_fallbacks.add(1);
        let headers = self.headers_by(self.rebuilt(view)?, view, offset)?;
        Ok(headers.unwrap_or_else(|| Headers::new(self, *view, 0)))
    }

    /// The walk that `tables` propose; `None` where the log contradicts.
    pub(super) fn headers_by(
        &self,
        tables: &Tables,
        view: &View,
        offset: Offset,
    ) -> Result<Option<Headers<'_>>, SegmentError> {
        let Some(entry) = tables.entry_before(view, offset) else {
            return Ok(Some(Headers::new(self, *view, 0)));
        };
        let mut headers = Headers::new(self, *view, entry.position);
        let confirmed = match headers.next() {
            Some(Ok((_, header))) => header.last_offset() == entry.last_offset,
            Some(Err(SegmentError::Corrupt(_))) | None => false,
            Some(Err(error)) => return Err(error),
        };
        Ok((confirmed || twin!(IndexBelieved)).then(|| headers.back_to(entry.position)))
    }

    /// The first record, at `from` or behind, whose timestamp is `timestamp` or larger, with its
    /// timestamp and offset (Kafka: `findOffsetByTimestamp`).
    pub fn find_timestamp(
        &self,
        timestamp: i64,
        from: Offset,
    ) -> Result<Option<(i64, Offset)>, SegmentError> {
        self.view().find_timestamp(timestamp, from)
    }

    pub(super) fn find_timestamp_in(
        &self,
        view: &View,
        timestamp: i64,
        from: Offset,
    ) -> Result<Option<(i64, Offset)>, SegmentError> {
        if matches!(self.published().largest(), Some(Some((largest, _))) if largest < timestamp) {
            return Ok(None);
        }
        let start = self.older_than(view, timestamp, from.max(self.base_offset()))?;
        let Some((start, _)) = self.locate_in(view, start)? else { return Ok(None) };
        let mut decoder = Decoder::new();
        for item in Headers::new(self, *view, start) {
            let (position, header) = item?;
            let bytes = self.file()?.read_at(position, header.total_bytes())?;
            // Not even a batch that is passed over is believed before its checksum.
            let batch = self.batch_in(&bytes, position, &header)?;
            let refuse = |error: BatchError| error.into_corruption(self.path(), position);
            if batch.header().max_timestamp < timestamp {
                continue;
            }
            for record in batch.records(&mut decoder).map_err(refuse)? {
                let record = record.map_err(refuse)?;
                if record.timestamp >= timestamp && record.offset >= from {
                    return Ok(Some((record.timestamp, record.offset)));
                }
            }
        }
        Ok(None)
    }

    /// An offset, at `from` or behind, whose batch, and with it all records from `from` on before it, has
    /// no record of `timestamp` or later; `from` where there is none.
    fn older_than(
        &self,
        view: &View,
        timestamp: i64,
        from: Offset,
    ) -> Result<Offset, SegmentError> {
        if !self.has_checked_times()
            && let Some(tables) = self.loaded(view)
        {
            let entry = tables.entry_older_than(view, timestamp);
            let Some(entry) = entry.filter(|entry| entry.offset > from) else { return Ok(from) };
            if self.position_of(view, entry)?.is_some() {
                return Ok(entry.offset);
            }
            self.options().metrics.index_fallbacks.add(1);
        }
        let entry = self.checked(view)?.entry_older_than(view, timestamp);
        Ok(entry.map_or(from, |entry| entry.offset.max(from)))
    }

    /// Position of the batch that a time index entry speaks of; `None` where the log contradicts. The
    /// entry counts once whoever begins there has checked that batch.
    pub(super) fn position_of(
        &self,
        view: &View,
        entry: TimeEntry,
    ) -> Result<Option<u64>, SegmentError> {
        Ok(self.locate_in(view, entry.offset)?.and_then(|(position, header)| {
            let holds = header.base_offset <= entry.offset;
            (holds && header.max_timestamp == entry.timestamp).then_some(position)
        }))
    }

    /// Whether the batch at `position`, whose header is known, fits its checksum.
    pub(super) fn check_batch(
        &self,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(), SegmentError> {
        let bytes = self.file()?.read_at(position, header.total_bytes())?;
        self.batch_in(&bytes, position, header).map(drop)
    }

    /// The batch in `bytes`, which stands at `position`, checked against its checksum; `header` is what was
    /// read of it before and found in its place. A read that went wrong may show another one, and base
    /// offset and leader epoch are in no checksum.
    pub fn batch_in<'b>(
        &self,
        bytes: &'b [u8],
        position: u64,
        header: &BatchHeader,
    ) -> Result<Batch<'b>, SegmentError> {
        let refuse = |error: BatchError| error.into_corruption(self.path(), position);
        let batch = Batch::check(bytes).map_err(refuse)?;
        if batch.header() != header {
            let (what, expected) = ("header, read twice", format!("{header:?}"));
            let found = format!("{:?}", batch.header());
            return Err(Corruption::new(self.path(), position, what, expected, found).into());
        }
        Ok(batch)
    }

    /// Largest timestamp of the batches, milliseconds, and the last offset of the earliest batch that
    /// holds it; `None` where no batch has one. Costs no I/O for a segment that is appended to or has
    /// a seal; otherwise it is looked for once, in batches that fit their checksums. [`i64::MAX`] where
    /// the segment was opened for append, or cut, with a damaged batch in it: that batch's timestamps
    /// are not known, so no lookup passes the segment over and no age makes it old.
    pub fn max_timestamp(&self) -> Result<Option<(i64, Offset)>, SegmentError> {
        if let Some(known) = self.published().largest() {
            return Ok(known);
        }
        let view = self.published().view();
        let result = self.look_for_largest(&view);
        let largest = self.confirm(result, &view)?;
        self.published().suggest_largest(&view, largest);
        Ok(largest)
    }

    /// The largest timestamp of the log that `view` covers.
    fn look_for_largest(&self, view: &View) -> Result<LargestTimestamp, SegmentError> {
        let mut rule = IndexRule::new(self.options());
        let last = self.loaded(view).and_then(|tables| tables.entry_older_than(view, i64::MAX));
        let start = last.map_or(Ok(None), |entry| self.position_of(view, entry))?.unwrap_or(0);
        for item in Headers::new(self, *view, start) {
            let (position, header) = item?;
            self.check_batch(position, &header)?;
            rule.observe(&header);
        }
        Ok(rule.largest())
    }

    /// As [`Segment::max_timestamp`], of the log that `view` leaves, for its appender.
    pub(super) fn largest_left(&self, view: &View) -> Result<LargestTimestamp, SegmentError> {
        match self.look_for_largest(view) {
            Err(SegmentError::Corrupt(error)) => {
                tracing::warn!(%error, "a damaged batch hides the largest timestamp");
                Ok(Some((NEWEST_UNKNOWN, view.next_offset - 1)))
            }
            other => other,
        }
    }
}
