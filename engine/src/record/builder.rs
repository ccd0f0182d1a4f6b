//! Gathers records into a batch: each is encoded straight into the batch's buffer, which is the
//! only copy of an uncompressed record's payload that the engine makes.

use super::{
    Attributes, BatchHeader, Codec, Compression, Encoder, NO_PRODUCER, RecordError, SealedBatch,
    varint::{MAX_VARINT, MAX_VARLONG, Varints, varint_bytes},
};
use crate::{
    limits::{BATCH_HEADER, MAX_BATCH_BYTES},
    types::NO_EPOCH,
};

/// A record's header, to write. Names may repeat; their order is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, which may be empty.
    pub name: &'a str,
    /// Its value; null and empty are told apart.
    pub value: Option<&'a [u8]>,
}

/// A record, to write. Null and empty are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970, or −1 for none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; null is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header<'a>],
}

/// What a batch's header says of all its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// How the record array is compressed.
    pub compression: Compression,
    /// Idempotent producer's id, or [`NO_PRODUCER`].
    pub producer_id: i64,
    /// Its epoch, −1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, −1 for none.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl Default for BatchSettings {
    /// Uncompressed, of no producer.
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            producer_id: NO_PRODUCER,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
        }
    }
}

/// An open batch.
///
/// ```
/// use trunkline::record::{Batch, BatchBuilder, BatchSettings, Decoder, Encoder, NewRecord};
/// let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
/// builder.push(&NewRecord { timestamp: 1, value: Some(b"freight"), ..Default::default() })?;
/// let sealed = builder.seal(&mut Encoder::new())?;
///
/// let mut decoder = Decoder::new();
/// let batch = Batch::check(sealed.bytes()).unwrap();
/// let record = batch.records(&mut decoder).unwrap().next().unwrap().unwrap();
/// assert_eq!((record.offset, record.value), (0, Some(&b"freight"[..])));
/// # Ok::<(), trunkline::record::RecordError>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records so far.
    bytes: Vec<u8>,
    settings: BatchSettings,
    record_count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// Largest record without its key, value and headers: length, attributes, timestamp, offset
/// (Kafka: `DefaultRecord.MAX_RECORD_OVERHEAD`).
const MAX_RECORD_OVERHEAD: usize = MAX_VARINT + 1 + MAX_VARLONG + MAX_VARINT;
/// Smallest record: length, attributes, timestamp, offset, three counts.
const MIN_RECORD: usize = 7;

const _: () = assert!(MAX_BATCH_BYTES / MIN_RECORD < i32::MAX as usize);

impl BatchBuilder {
    /// Bytes that a buffer must hold beyond the batch, so that no record makes it grow.
    pub(crate) const SLACK: usize = Varints::CAPACITY;

    /// An empty batch that is built in `buffer`, which is cleared first.
    pub fn new(mut buffer: Vec<u8>, settings: BatchSettings) -> Self {
        if buffer.len() <= BATCH_HEADER || !twin!(BufferNotCleared) {
            buffer.clear();
            buffer.resize(BATCH_HEADER, 0);
        }
        Self { bytes: buffer, settings, record_count: 0, base_timestamp: -1, max_timestamp: -1 }
    }

    /// Adds a record and gives its index in the batch. After an error the batch is as before.
    #[inline]
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<u32, RecordError> {
        self.try_push(record).ok_or_else(|| self.refusal(record))
    }

    /// [`push`](Self::push) without the reason of a refusal: an answer that fits a register. One in memory is
    /// waited for until all that was written before it has reached the cache, the record's bytes too.
    #[inline]
    fn try_push(&mut self, record: &NewRecord<'_>) -> Option<u32> {
        let index = self.record_count;
        let delta = self.timestamp_delta(record.timestamp)?;
        let total = record_total(record, delta, index);
        if total > MAX_BATCH_BYTES - self.bytes.len() {
            return None;
        }
        let end = self.bytes.len() + total;
        write_record(&mut self.bytes, record, body_bytes(record, delta, index), delta, index);
        assert_eq!(self.bytes.len(), end, "a record's size was miscounted");
        if index == 0 {
            self.base_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.record_count = index + 1;
        Some(index)
    }

    /// Why a record is not taken.
    #[cold]
    fn refusal(&self, record: &NewRecord<'_>) -> RecordError {
        let (base, found) = (self.base_timestamp, record.timestamp);
        match self.timestamp_delta(found) {
            None if found < -1 => RecordError::NegativeTimestamp { found },
            None => RecordError::TimestampDelta { base, found },
            Some(delta) => {
                let total = record_total(record, delta, self.record_count);
                let bytes = self.bytes.len().saturating_add(total);
                RecordError::TooLarge { bytes, limit: MAX_BATCH_BYTES }
            }
        }
    }

    /// Upper bound of the bytes that `record` takes in a batch; Kafka's own estimate.
    pub fn record_bytes(record: &NewRecord<'_>) -> usize {
        let payload = bytes_of(record.key) + bytes_of(record.value) + header_bytes(record.headers);
        MAX_RECORD_OVERHEAD + payload
    }

    /// Records so far.
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of header and records, uncompressed.
    pub fn raw_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What the header will say.
    pub fn settings(&self) -> &BatchSettings {
        &self.settings
    }

    /// Names the idempotent producer. It may be called until the batch is sealed, because a
    /// sequence is often known only when the batch is about to leave.
    pub fn set_producer(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.settings.producer_id = producer_id;
        self.settings.producer_epoch = producer_epoch;
        self.settings.base_sequence = base_sequence;
    }

    /// Compresses once, checksums once, and gives the whole batch with base offset 0 and no leader
    /// epoch. The compressed form is kept even where it is the larger one, as Kafka does.
    ///
    /// With a codec the buffer stays with `encoder`, as the next batch's output buffer.
    pub fn seal(self, encoder: &mut Encoder) -> Result<SealedBatch, RecordError> {
        self.seal_as(encoder, false)
    }

    /// [`seal`](Self::seal), or the same as a control batch.
    pub(super) fn seal_as(
        self,
        encoder: &mut Encoder,
        control: bool,
    ) -> Result<SealedBatch, RecordError> {
        if self.is_empty() {
            return Err(RecordError::Empty);
        }
        let settings = self.settings;
        let raw_bytes = self.raw_bytes();
        let bytes = match settings.compression.codec {
            Codec::None => self.bytes,
            _ => encoder.compress(settings.compression, self.bytes)?,
        };
        if bytes.len() > MAX_BATCH_BYTES {
            return Err(RecordError::TooLarge { bytes: bytes.len(), limit: MAX_BATCH_BYTES });
        }
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0, // as the crc, set when the batch is closed
            leader_epoch: NO_EPOCH,
            crc: 0,
            attributes: Attributes::default()
                .with_codec(settings.compression.codec.id())
                .with_transactional(settings.transactional)
                .with_control(control),
            last_offset_delta: self.record_count as i32 - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: settings.producer_id,
            producer_epoch: settings.producer_epoch,
            base_sequence: settings.base_sequence,
            record_count: self.record_count as i32,
        };
        Ok(SealedBatch::close(bytes, header, raw_bytes))
    }

    /// `None`: it is negative, or too far from the first one's.
    #[inline]
    fn timestamp_delta(&self, timestamp: i64) -> Option<i64> {
        match self.record_count {
            _ if timestamp < -1 => None,
            0 => Some(0),
            _ => timestamp.checked_sub(self.base_timestamp),
        }
    }
}

/// Bytes of a record.
#[inline]
fn record_total(record: &NewRecord<'_>, timestamp_delta: i64, index: u32) -> usize {
    let body = body_bytes(record, timestamp_delta, index);
    body.saturating_add(varint_bytes(body as i64))
}

/// Bytes of a record behind its length field.
#[inline]
fn body_bytes(record: &NewRecord<'_>, timestamp_delta: i64, index: u32) -> usize {
    let fixed = 1 + varint_bytes(timestamp_delta) + varint_bytes(index as i64);
    let payload = bytes_of(record.key).saturating_add(bytes_of(record.value));
    let headers = if record.headers.is_empty() { 1 } else { header_bytes(record.headers) };
    fixed.saturating_add(payload).saturating_add(headers)
}

/// Bytes of the header count and the headers.
fn header_bytes(headers: &[Header<'_>]) -> usize {
    headers.iter().fold(varint_bytes(headers.len() as i64), |sum, header| {
        let name = bytes_of(Some(header.name.as_bytes()));
        sum.saturating_add(name).saturating_add(bytes_of(header.value))
    })
}

/// Bytes of a length and what it counts; null is the length −1.
#[inline]
fn bytes_of(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => bytes.len() + varint_bytes(bytes.len() as i64),
        None => 1,
    }
}

/// Length as it is written; null is −1.
#[inline]
fn length_of(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |bytes| bytes.len() as i64)
}

#[inline]
fn write_record(
    out: &mut Vec<u8>,
    record: &NewRecord<'_>,
    body: usize,
    timestamp_delta: i64,
    index: u32,
) {
    let mut fields = Varints::new();
    fields.put(body as i64, out);
    fields.put(0, out); // attributes: none is assigned, and the varint of 0 is its byte
    fields.put(timestamp_delta, out);
    fields.put(index as i64, out);
    fields.put(length_of(record.key), out);
    if let Some(key) = record.key {
        fields.append_to(out);
        out.extend_from_slice(key);
    }
    fields.put(length_of(record.value), out);
    fields.append_to(out);
    out.extend_from_slice(record.value.unwrap_or_default());
    if record.headers.is_empty() {
        out.push(0);
    } else {
        write_headers(out, record.headers);
    }
}

fn write_headers(out: &mut Vec<u8>, headers: &[Header<'_>]) {
    let mut fields = Varints::new();
    fields.put(headers.len() as i64, out);
    for header in headers {
        fields.put(header.name.len() as i64, out);
        fields.append_to(out);
        out.extend_from_slice(header.name.as_bytes());
        fields.put(length_of(header.value), out);
        fields.append_to(out);
        out.extend_from_slice(header.value.unwrap_or_default());
    }
}
