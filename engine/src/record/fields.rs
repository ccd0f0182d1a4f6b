//! One record, read from a batch (`org.apache.kafka.common.record.DefaultRecord`).

use super::{BatchHeader, varint::Reader};
use crate::types::Offset;

/// A record that borrows the batch, or the decoder where the batch is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position in the partition.
    pub offset: Offset,
    /// Milliseconds; −1 for none. Of a batch with log-append time, the time of the append.
    pub timestamp: i64,
    /// Its key; null and empty are told apart.
    pub key: Option<&'a [u8]>,
    /// Its value; null and empty are told apart.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: u32,
}

/// A record's header, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// Its name. Kafka writes UTF-8; other writers may not.
    pub name: &'a [u8],
    /// Its value; null and empty are told apart.
    pub value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// The headers, in their order. They were checked when the record was read.
    pub fn headers(&self) -> RecordHeaders<'a> {
        RecordHeaders { reader: Reader::new(self.headers), left: self.header_count }
    }

    /// How many headers there are.
    pub fn header_count(&self) -> usize {
        self.header_count as usize
    }
}

/// Iterator over a record's headers.
#[derive(Debug, Clone)]
pub struct RecordHeaders<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Iterator for RecordHeaders<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<RecordHeader<'a>> {
        self.left = self.left.checked_sub(1)?;
        let header = read_header(&mut self.reader);
        Some(header.expect("headers were checked when the record was read"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for RecordHeaders<'_> {}

/// What is wrong with a record; `at` is relative to the record array.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) what: &'static str,
    pub(super) expected: &'static str,
    pub(super) found: i64,
}

/// Reads the record at byte `at` of `array`, which follows a record with `last_offset_delta`.
/// Gives the record and where it ends.
#[inline]
pub(super) fn parse<'a>(
    array: &'a [u8],
    at: usize,
    header: &BatchHeader,
    last_offset_delta: i32,
) -> Result<(Record<'a>, usize), Fault> {
    let mut reader = Reader::new(&array[at..]);
    let here = |reader: &Reader<'_>| array.len() - reader.rest().len();
    let Some(length) = reader.varint() else {
        return Err(no_varint(at, "record length"));
    };
    let body_at = here(&reader);
    let Some(body) = usize::try_from(length).ok().and_then(|length| reader.take(length)) else {
        return Err(Fault {
            at,
            what: "record length",
            expected: "at least 0 and within the batch",
            found: length as i64,
        });
    };
    let end = here(&reader);
    let fields = parse_fields(body, header, last_offset_delta);
    match fields {
        Ok(record) => Ok((record, end)),
        Err(fault) => Err(Fault { at: body_at + fault.at, ..fault }),
    }
}

/// Reads what stands behind the record's length; positions of faults are relative to `body`.
#[inline(always)]
fn parse_fields<'a>(
    body: &'a [u8],
    batch: &BatchHeader,
    last_offset_delta: i32,
) -> Result<Record<'a>, Fault> {
    let mut reader = Reader::new(body);
    let at = |reader: &Reader<'_>| body.len() - reader.rest().len();
    // The attributes: Kafka assigned none and ignores them.
    reader.byte().ok_or_else(|| no_varint(0, "record attributes"))?;

    let delta = reader.varlong().ok_or_else(|| no_varint(at(&reader), "timestamp delta"))?;
    let timestamp = if batch.attributes.is_log_append_time() {
        batch.max_timestamp
    } else {
        batch.base_timestamp.checked_add(delta).ok_or_else(|| Fault {
            at: at(&reader),
            what: "timestamp delta",
            expected: "a timestamp of 64 bits",
            found: delta,
        })?
    };

    let delta = reader.varint().ok_or_else(|| no_varint(at(&reader), "offset delta"))?;
    if delta <= last_offset_delta || delta > batch.last_offset_delta {
        return Err(Fault {
            at: at(&reader),
            what: "offset delta",
            expected: "above the record's before, at most the batch's last",
            found: delta as i64,
        });
    }
    let offset = batch.base_offset + delta as i64;

    let key = read_field(&mut reader).map_err(|_| bad_length(body, &reader, "key length"))?;
    let value = read_field(&mut reader).map_err(|_| bad_length(body, &reader, "value length"))?;
    let (headers, header_count) = match reader.rest() {
        [0] => (&[][..], 0),
        _ => check_headers(body, reader)?,
    };
    Ok(Record { offset, timestamp, key, value, headers, header_count })
}

/// Reads the count and walks all headers, up to the end of the record.
fn check_headers<'a>(body: &'a [u8], mut reader: Reader<'a>) -> Result<(&'a [u8], u32), Fault> {
    let at = |reader: &Reader<'_>| body.len() - reader.rest().len();
    let count_at = at(&reader);
    let count = reader.varint().ok_or_else(|| no_varint(count_at, "header count"))?;
    let refuse = |at, what, expected, found| Err(Fault { at, what, expected, found });
    let headers = reader.rest();
    // A header takes 2 bytes at least, so that a lying count costs no walk.
    if count < 0 || count as usize > headers.len() / 2 {
        return refuse(count_at, "header count", "0 and more, within the record", count as i64);
    }
    for index in 0..count {
        let start = reader;
        if read_header(&mut reader).is_none() {
            return refuse(at(&start), "header", "a name and a value in the record", index as i64);
        }
    }
    let left = reader.rest().len();
    if left > 0 {
        return refuse(at(&reader), "end of the record", "no more bytes", left as i64);
    }
    Ok((headers, count as u32))
}

fn read_header<'a>(reader: &mut Reader<'a>) -> Option<RecordHeader<'a>> {
    let length = reader.varint()?;
    let name = reader.take(usize::try_from(length).ok()?)?;
    let value = read_field(reader).ok()?;
    Some(RecordHeader { name, value })
}

/// A length below −1 or beyond the record.
struct BadLength;

/// A length, −1 for null, and what it counts. After an error the reader is as it was.
#[inline(always)]
fn read_field<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, BadLength> {
    let mut ahead = *reader;
    let field = match ahead.varint().ok_or(BadLength)? {
        -1 => None,
        length => {
            let length = usize::try_from(length).map_err(|_| BadLength)?;
            Some(ahead.take(length).ok_or(BadLength)?)
        }
    };
    *reader = ahead;
    Ok(field)
}

#[cold]
fn no_varint(at: usize, what: &'static str) -> Fault {
    Fault { at, what, expected: "a varint within the record", found: -1 }
}

#[cold]
fn bad_length(body: &[u8], reader: &Reader<'_>, what: &'static str) -> Fault {
    let at = body.len() - reader.rest().len();
    match Reader::clone(reader).varint() {
        Some(length) => {
            Fault { at, what, expected: "at least -1 and within the record", found: length as i64 }
        }
        None => no_varint(at, what),
    }
}
