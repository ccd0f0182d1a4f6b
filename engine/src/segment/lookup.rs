//! Finding batches in a segment: by offset, by timestamp, and the largest timestamp. An index entry
//! says where to begin; the log says whether that is true.

use super::{
    Headers, Segment, SegmentError,
    published::{LargestTimestamp, View},
    rule::IndexRule,
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
        Ok(confirmed.then(|| headers.back_to(entry.position)))
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
        let older = self.older_than(view, timestamp)?;
        let Some((start, _)) = self.locate_in(view, older.max(from))? else { return Ok(None) };
        let mut decoder = Decoder::new();
        for item in Headers::new(self, *view, start) {
            let (position, header) = item?;
            let bytes = self.file()?.read_at(position, header.total_bytes())?;
            // Not even a batch that is passed over is believed before its checksum.
            let refuse = |error: BatchError| error.into_corruption(self.path(), position);
            let batch = Batch::check(&bytes).map_err(refuse)?;
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

    /// An offset whose batch, and with it the whole log before it, has no record of `timestamp` or
    /// later; the base offset where there is none.
    fn older_than(&self, view: &View, timestamp: i64) -> Result<Offset, SegmentError> {
        for tables in [Self::tables, Self::rebuilt] {
            let Some(entry) = tables(self, view)?.entry_older_than(view, timestamp) else {
                return Ok(self.base_offset());
            };
            if self.position_of(view, entry)?.is_some() {
                return Ok(entry.offset);
            }
            self.options().metrics.index_fallbacks.add(1);
            if !self.gaps_allowed() {
                // Nothing else explains it but damage, of the index or of a header: then a table made
                // from headers alone says no more than they do.
                break;
            }
        }
        Ok(self.base_offset())
    }

    /// Position of the batch that a time index entry speaks of; `None` where the log contradicts.
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

    /// Largest timestamp of the batches, milliseconds, and the last offset of the earliest batch that
    /// holds it; `None` where no batch has one. Costs no I/O for a segment that is appended to or has
    /// a seal; otherwise it is looked for once.
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
    pub(super) fn look_for_largest(&self, view: &View) -> Result<LargestTimestamp, SegmentError> {
        let mut rule = IndexRule::new(self.options());
        let last = self.tables(view)?.entry_older_than(view, i64::MAX);
        let start = last.map_or(Ok(None), |entry| self.position_of(view, entry))?.unwrap_or(0);
        for item in Headers::new(self, *view, start) {
            rule.observe(&item?.1);
        }
        Ok(rule.largest())
    }
}
