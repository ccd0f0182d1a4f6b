//! Several answers of one moment: a position found is a position that can be read.

use std::sync::Arc;

use super::{Headers, Segment, SegmentBytes, SegmentError, SegmentRange, published::View};
use crate::{record::BatchHeader, types::Offset};

/// A segment as it was published at one moment. What is appended later is not seen; once a truncation
/// has come in between, every method says [`SegmentError::Truncated`].
#[derive(Debug, Clone, Copy)]
pub struct SegmentView<'a> {
    segment: &'a Segment,
    view: View,
}

impl<'a> SegmentView<'a> {
    pub(super) fn new(segment: &'a Segment, view: View) -> Self {
        Self { segment, view }
    }

    /// The segment.
    pub fn segment(&self) -> &'a Segment {
        self.segment
    }

    /// Bytes of whole batches.
    pub fn len(&self) -> u64 {
        self.view.len
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offset behind the last batch.
    pub fn next_offset(&self) -> Offset {
        self.view.next_offset
    }

    /// Whether no truncation came in between.
    pub fn is_current(&self) -> bool {
        self.segment.published().is_current(&self.view)
    }

    /// As [`Segment::read`].
    pub fn read(
        &self,
        position: u64,
        upto: u64,
        max_bytes: usize,
        first_whole: bool,
    ) -> Result<SegmentBytes, SegmentError> {
        let read = self.segment.read_in(&self.view, position, upto, max_bytes, first_whole);
        self.segment.confirm(read, &self.view)
    }

    /// As [`Segment::locate`].
    pub fn locate(&self, offset: Offset) -> Result<Option<(u64, BatchHeader)>, SegmentError> {
        self.segment.confirm(self.segment.locate_in(&self.view, offset), &self.view)
    }

    /// As [`Segment::find_timestamp`].
    pub fn find_timestamp(
        &self,
        timestamp: i64,
        from: Offset,
    ) -> Result<Option<(i64, Offset)>, SegmentError> {
        let found = self.segment.find_timestamp_in(&self.view, timestamp, from);
        self.segment.confirm(found, &self.view)
    }

    /// The bytes from `position` up to `end`, of `segment`, whose view this is.
    pub fn range(&self, segment: &Arc<Segment>, position: u64, end: u64) -> SegmentRange {
        SegmentRange::new(segment, self.view, position, end)
    }

    pub(super) fn published_view(&self) -> View {
        self.view
    }

    /// As [`Segment::headers`].
    pub fn headers(&self, position: u64) -> Headers<'a> {
        Headers::new(self.segment, self.view, position)
    }
}
