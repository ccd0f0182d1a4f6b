//! The 61-byte header of a v2 batch (`org.apache.kafka.common.record.DefaultRecordBatch`).

use std::{fmt, str::FromStr};

use crate::{
    limits::{BATCH_HEADER, LOG_OVERHEAD, MAX_BATCH_BYTES},
    types::{LeaderEpoch, Offset},
};

/// Producer id of a batch that no idempotent producer wrote.
pub const NO_PRODUCER: i64 = -1;

/// What a record's timestamp tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// When the record was made, as its producer says.
    #[default]
    CreateTime,
    /// When the leader appended the batch: one time for all its records.
    LogAppendTime,
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        })
    }
}

impl FromStr for TimestampType {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "CreateTime" => Ok(Self::CreateTime),
            "LogAppendTime" => Ok(Self::LogAppendTime),
            other => Err(format!(
                "timestamp type must be `CreateTime` or `LogAppendTime`, found `{other}`"
            )),
        }
    }
}

/// Bits of a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// Number of the codec, 0 to 7 (5 to 7 are not assigned).
    pub fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC) as u8
    }

    /// Whether the timestamps say when the batch was appended, not when the records were made.
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// What the timestamps tell.
    pub fn timestamp_type(self) -> TimestampType {
        if self.is_log_append_time() {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a transaction marker and no data.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp holds the time after which tombstones may go.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// These bits with the codec's number set.
    #[must_use]
    pub fn with_codec(self, id: u8) -> Self {
        Self((self.0 & !Self::CODEC) | i16::from(id & 7))
    }

    /// These bits with the log-append-time bit set or cleared.
    #[must_use]
    pub fn with_log_append_time(self, on: bool) -> Self {
        self.with(Self::LOG_APPEND_TIME, on)
    }

    /// These bits with the transactional bit set or cleared.
    #[must_use]
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// These bits with the control bit set or cleared.
    #[must_use]
    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// A batch's header. The fields are Kafka's; `base_offset` and `leader_epoch` stand outside the CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (compacted batches keep it when that record is gone).
    pub base_offset: Offset,
    /// Bytes after the length field: the batch's total bytes less 12.
    pub batch_length: i32,
    /// Term of the leader that appended the batch, −1 when not known.
    pub leader_epoch: LeaderEpoch,
    /// CRC32C over everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Last offset less base offset.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, or the delete horizon; milliseconds.
    pub base_timestamp: i64,
    /// Largest timestamp of the batch, milliseconds; −1 when there is none.
    pub max_timestamp: i64,
    /// Idempotent producer's id, or [`NO_PRODUCER`].
    pub producer_id: i64,
    /// Its epoch, −1 when there is none.
    pub producer_epoch: i16,
    /// Sequence of the first record, −1 when there is none.
    pub base_sequence: i32,
    /// Records in the batch (compacted batches hold fewer than their offsets span, or none).
    pub record_count: i32,
}

/// Why bytes are no batch header. Positions are relative to the batch's first byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batch byte {position}: {what}: expected {expected}, found {found}")]
pub struct HeaderError {
    /// Byte position in the batch.
    pub position: usize,
    /// The field.
    pub what: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub found: i64,
}

impl BatchHeader {
    /// Reads a header and checks each field that can be checked without the records.
    ///
    /// `bytes` may be longer than the header; what stands behind it is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let refuse =
            |position, what, expected, found| Err(HeaderError { position, what, expected, found });
        let Some(bytes) = bytes.first_chunk::<BATCH_HEADER>() else {
            return refuse(0, "header", "61 bytes", bytes.len() as i64);
        };
        let header = Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        };
        let length = header.batch_length;
        if header.base_offset < 0 {
            return refuse(0, "base offset", "at least 0", header.base_offset);
        }
        if length < (BATCH_HEADER - LOG_OVERHEAD) as i32
            || length as usize > MAX_BATCH_BYTES - LOG_OVERHEAD
        {
            return refuse(8, "batch length", "49 to 268435444", length as i64);
        }
        if bytes[16] != 2 {
            return refuse(16, "magic", "2", bytes[16] as i64);
        }
        if header.attributes.codec_id() > 4 {
            return refuse(21, "codec", "0 to 4", header.attributes.codec_id() as i64);
        }
        if header.last_offset_delta < 0
            || header.base_offset > Offset::MAX - 1 - header.last_offset_delta as i64
        {
            return refuse(23, "last offset delta", "at least 0", header.last_offset_delta as i64);
        }
        let span = header.last_offset_delta as i64 + 1;
        if header.record_count < 0 || header.record_count as i64 > span {
            return refuse(
                57,
                "record count",
                "0 to last offset delta + 1",
                header.record_count as i64,
            );
        }
        Ok(header)
    }

    /// Writes the header over the first 61 bytes of `bytes`, the CRC as it stands in `self`.
    ///
    /// # Panics
    /// Where `bytes` is shorter than a header.
    pub fn write(&self, bytes: &mut [u8]) {
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        bytes[16] = 2;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// Bytes of the whole batch, header included.
    pub fn total_bytes(&self) -> usize {
        self.batch_length as usize + LOG_OVERHEAD
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + self.last_offset_delta as i64
    }

    /// Offset that follows the batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// Sequence of the last record; wraps from `i32::MAX` to 0. −1 when there is none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let last = self.base_sequence as i64 + self.last_offset_delta as i64;
        (last % (i32::MAX as i64 + 1)) as i32
    }
}

fn field<const N: usize>(bytes: &[u8; BATCH_HEADER], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 7,
            batch_length: 100,
            leader_epoch: 3,
            crc: 0xDEAD_BEEF,
            attributes: Attributes(0).with_codec(4).with_transactional(true),
            last_offset_delta: 4,
            base_timestamp: -5,
            max_timestamp: 9,
            producer_id: 11,
            producer_epoch: 2,
            base_sequence: i32::MAX - 1,
            record_count: 5,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let mut bytes = [0; 70];
        header().write(&mut bytes);
        assert_eq!(BatchHeader::parse(&bytes), Ok(header()));
        assert_eq!(header().total_bytes(), 112);
        assert_eq!((header().last_offset(), header().next_offset()), (11, 12));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(header().last_sequence(), 2);
    }

    #[test]
    fn each_bad_field_is_named() {
        let cases: [(usize, &[u8], &str); 6] = [
            (0, &[0xFF], "base offset"),
            (8, &[0, 0, 0, 48], "batch length"),
            (16, &[1], "magic"),
            (22, &[5], "codec"),
            (23, &[0xFF], "last offset delta"),
            (57, &[0, 0, 0, 6], "record count"),
        ];
        for (at, change, what) in cases {
            let mut bytes = [0; BATCH_HEADER];
            header().write(&mut bytes);
            bytes[at..at + change.len()].copy_from_slice(change);
            assert_eq!(BatchHeader::parse(&bytes).unwrap_err().what, what);
        }
        assert_eq!(BatchHeader::parse(&[0; 60]).unwrap_err().what, "header");
    }
}
