//! Walking from header to header, without reading the records.

use std::sync::Arc;

use super::{Segment, SegmentError, published::View};
use crate::{
    error::{Corruption, IoError},
    io::{File, Map},
    limits::{BATCH_HEADER, MAX_RELATIVE_OFFSET},
    record::BatchHeader,
    types::Offset,
};

/// First read of a walk, in bytes: covers what lies between two index entries at Kafka's default.
const SMALL_READ: usize = 8 << 10;
/// Largest read, in bytes.
const LARGE_READ: usize = 128 << 10;

/// The headers of a segment from a position on, with their positions. Each is checked against its
/// neighbour: offsets must continue, and no batch may run past the end. An error ends the walk.
#[derive(Debug)]
pub struct Headers<'a> {
    segment: &'a Segment,
    view: View,
    position: u64,
    expected: Option<Offset>,
    map: Option<Arc<Map>>,
    reader: HeaderReader,
    failed: bool,
}

impl<'a> Headers<'a> {
    pub(super) fn new(segment: &'a Segment, view: View, position: u64) -> Self {
        let expected = (position == 0).then_some(segment.base_offset());
        let (map, reader) = (segment.mapped(), HeaderReader::default());
        Self { segment, view, position, expected, map, reader, failed: false }
    }

    /// The same walk from `position` on, where it has been already.
    pub(super) fn back_to(self, position: u64) -> Self {
        let expected = (position == 0).then_some(self.segment.base_offset());
        Self { position, expected, failed: false, ..self }
    }

    /// Offset that the next batch must have, once it is known.
    pub(super) fn expected(&self) -> Option<Offset> {
        self.expected
    }

    fn step(&mut self) -> Result<(u64, BatchHeader), SegmentError> {
        let (segment, position) = (self.segment, self.position);
        let start = position as usize;
        let known = self.map.as_ref().and_then(|map| map.known_bytes(start..start + BATCH_HEADER));
        let bytes = match known {
            Some(bytes) => bytes,
            None => self.reader.header_at(segment.file()?, position)?,
        };
        let header = segment.check_header(bytes, position, self.expected, &self.view)?;
        self.position += header.total_bytes() as u64;
        self.expected = Some(header.next_offset());
        Ok((position, header))
    }
}

impl Iterator for Headers<'_> {
    type Item = Result<(u64, BatchHeader), SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.position >= self.view.len {
            return None;
        }
        let item = self.step();
        let item = self.segment.confirm(item, &self.view);
        self.failed = item.is_err();
        Some(item)
    }
}

impl Segment {
    /// Reads the header of the batch at `position` and checks it against its place: `expected` is
    /// the offset that follows the batch before, where that is known.
    pub(super) fn check_header(
        &self,
        bytes: &[u8],
        position: u64,
        expected: Option<Offset>,
        view: &View,
    ) -> Result<BatchHeader, SegmentError> {
        let path = self.path();
        let header = BatchHeader::parse(bytes)
            .map_err(|error| SegmentError::header(path, position, &error))?;
        let refuse = |at, what, rule: String, found: i64| {
            Err(Corruption::new(path, position + at, what, rule, found).into())
        };
        let room = view.len - position.min(view.len);
        if header.total_bytes() as u64 > room && !twin!(LengthBelieved) {
            let found = header.batch_length as i64;
            return refuse(8, "batch length", format!("a batch of at most {room} bytes"), found);
        }
        let base = header.base_offset;
        match expected {
            _ if twin!(OffsetUnchecked) => {}
            Some(expected) if base != expected && (base < expected || !self.gaps_allowed()) => {
                return refuse(0, "base offset", expected.to_string(), base);
            }
            None if base < self.base_offset() => {
                return refuse(0, "base offset", format!("at least {}", self.base_offset()), base);
            }
            _ => {}
        }
        // Base offsets stand outside the checksum: what no index entry can name is no batch of this segment.
        let most = self.base_offset().saturating_add(MAX_RELATIVE_OFFSET + 1);
        let end = view.next_offset.min(most);
        if header.last_offset() >= end {
            let rule = format!("a batch below offset {end}");
            return refuse(0, "last offset", rule, header.last_offset());
        }
        Ok(header)
    }
}

/// Reads headers by chunks whose size follows how close the headers stand.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    chunk: Vec<u8>,
    start: u64,
    /// Headers that the chunk has served.
    served: usize,
}

impl HeaderReader {
    /// The bytes at `position`, at least a header's unless the file ends before.
    fn header_at(&mut self, file: &File, position: u64) -> Result<&[u8], IoError> {
        let covers = |reader: &Self| {
            position >= reader.start
                && position + BATCH_HEADER as u64 <= reader.start + reader.chunk.len() as u64
        };
        if !covers(self) {
            let size = match (self.served, self.chunk.capacity()) {
                (_, 0) | (0 | 1, _) => SMALL_READ,
                (_, size) => (size * 2).min(LARGE_READ),
            };
            self.chunk = file.read_into(position, Vec::with_capacity(size))?;
            (self.start, self.served) = (position, 0);
        }
        self.served += 1;
        Ok(&self.chunk[(position - self.start) as usize..])
    }
}
