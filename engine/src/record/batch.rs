//! A batch in borrowed bytes. Its CRC is checked once, when it is made; its records are checked
//! while they are read.

use super::{BatchError, BatchHeader, Codec, Decoder, Record, fields, sealed::CRC_FROM};
use crate::limits::BATCH_HEADER;

/// A batch in borrowed bytes, with a right CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    header: BatchHeader,
}

impl<'a> Batch<'a> {
    /// The first batch in `bytes`, which may be followed by more.
    pub fn check(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let available = bytes.len();
        if available < BATCH_HEADER {
            return Err(BatchError::Incomplete { needed: BATCH_HEADER, available });
        }
        let header = BatchHeader::parse(bytes)?;
        let needed = header.total_bytes();
        let bytes = bytes.get(..needed).ok_or(BatchError::Incomplete { needed, available })?;
        let expected = crc32c::crc32c(&bytes[CRC_FROM..]);
        if expected != header.crc && !twin!(CrcUnchecked) {
            return Err(BatchError::Crc { expected, found: header.crc });
        }
        Ok(Self { bytes, header })
    }

    /// A batch whose CRC was checked, or made, by the caller.
    pub(crate) fn trusted(bytes: &'a [u8], header: BatchHeader) -> Self {
        Self { bytes, header }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How the records are compressed.
    #[expect(clippy::missing_panics_doc, reason = "the header was parsed, so it names a codec")]
    pub fn codec(&self) -> Codec {
        let id = self.header.attributes.codec_id();
        Codec::from_id(id).expect("a parsed header names an assigned codec")
    }

    /// The records. Of an uncompressed batch they borrow the batch itself: nothing is copied or
    /// allocated. Otherwise they borrow `decoder`, whose buffer is reused from batch to batch.
    pub fn records<'s>(&self, decoder: &'s mut Decoder) -> Result<Records<'s>, BatchError>
    where
        'a: 's,
    {
        let (compressed, body) = self.body();
        let array = if compressed { decoder.decompress(self.codec(), body)? } else { body };
        let (header, cursor) = (self.header, RecordCursor::START);
        Ok(Records { array, cursor, header, compressed, done: false })
    }

    /// Goes on where the reading of this batch's [`Batch::records`] left off. Of a compressed batch
    /// nothing is decompressed again: `decoder` must not have read another batch since.
    ///
    /// # Panics
    /// Where `cursor` can't be one of this batch's, or `decoder` holds less than the cursor passed.
    pub fn resume<'s>(&self, cursor: RecordCursor, decoder: &'s Decoder) -> Records<'s>
    where
        'a: 's,
    {
        let (compressed, body) = self.body();
        let array = if compressed { decoder.decompressed() } else { body };
        let within = cursor.at <= array.len() && cursor.next <= self.header.record_count as u32;
        assert!(within, "{cursor:?} does not stand in the batch {:?}", self.header);
        Records { array, cursor, header: self.header, compressed, done: false }
    }

    /// Whether the record array is compressed, and the array as it stands in the batch. A compacted
    /// batch that has lost all its records has no array, not an empty compressed one.
    fn body(&self) -> (bool, &'a [u8]) {
        let body = &self.bytes[BATCH_HEADER..];
        (self.codec() != Codec::None && !body.is_empty(), body)
    }
}

/// A place between two records of a batch: where reading left off, see [`Batch::resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordCursor {
    /// Byte of the decompressed record array where the next record begins.
    at: usize,
    /// Index of the next record.
    next: u32,
    /// Offset delta of the record before; −1 at the start.
    last_offset_delta: i32,
}

impl RecordCursor {
    /// Before the first record of any batch.
    pub const START: Self = Self { at: 0, next: 0, last_offset_delta: -1 };
}

/// Iterator over a batch's records. Each is checked as it is read; the first error ends the
/// iteration. After the last record the bytes must end.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    /// The whole record array, decompressed.
    array: &'a [u8],
    cursor: RecordCursor,
    header: BatchHeader,
    compressed: bool,
    done: bool,
}

impl Records<'_> {
    /// Bytes of the record array, decompressed.
    pub fn raw_bytes(&self) -> usize {
        self.array.len()
    }

    /// Before the record that comes next.
    pub fn cursor(&self) -> RecordCursor {
        self.cursor
    }

    /// Whether all records were read: then the array must be at its end.
    fn finish(&mut self) -> Option<BatchError> {
        self.done = true;
        let left = self.array.len() - self.cursor.at;
        let fault = fields::Fault {
            at: self.cursor.at,
            what: "end of the records",
            expected: "no more bytes",
            found: left as i64,
        };
        (left > 0).then(|| self.refuse(&fault))
    }

    #[cold]
    fn refuse(&self, fault: &fields::Fault) -> BatchError {
        let start = if self.compressed { 0 } else { BATCH_HEADER };
        BatchError::Record {
            record: self.cursor.next,
            at: start + fault.at,
            compressed: self.compressed,
            what: fault.what,
            expected: fault.expected,
            found: fault.found,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.cursor.next == self.header.record_count as u32 {
            return self.finish().map(Err);
        }
        let RecordCursor { at, next, last_offset_delta } = self.cursor;
        match fields::parse(self.array, at, &self.header, last_offset_delta) {
            Ok((record, end)) => {
                let last_offset_delta = (record.offset - self.header.base_offset) as i32;
                self.cursor = RecordCursor { at: end, next: next + 1, last_offset_delta };
                Some(Ok(record))
            }
            Err(fault) => {
                self.done = true;
                Some(Err(self.refuse(&fault)))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.done {
            return (0, Some(0));
        }
        // An error may end it early, or stand in place of a record that is missing.
        let left = self.header.record_count as usize - self.cursor.next as usize;
        (if twin!(CountBelieved) { left } else { 0 }, Some(left + 1))
    }
}

impl std::iter::FusedIterator for Records<'_> {}
