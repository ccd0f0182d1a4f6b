//! What can be wrong with a batch that is read, and with a record that is written.

use std::path::Path;

use super::{Codec, CompressionError, HeaderError};
use crate::{error::Corruption, limits::BATCH_HEADER};

/// Why bytes are no valid batch. Positions are relative to the batch's first byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A field of the header cannot be.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The bytes end before the batch does: a torn tail, or a length that lies.
    #[error("batch is cut off: {needed} bytes needed, {available} there")]
    Incomplete {
        /// Bytes of the whole batch, or of its header where not even that is there.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// Bytes follow where exactly one batch was expected.
    #[error("batch byte {position}: expected the end, found {found} more bytes")]
    Trailing {
        /// Where the batch ends.
        position: usize,
        /// Bytes behind it.
        found: usize,
    },
    /// The checksum does not fit the bytes.
    #[error("batch byte 17: crc: expected {expected:#010x}, found {found:#010x}")]
    Crc {
        /// CRC32C of the bytes.
        expected: u32,
        /// CRC32C in the header.
        found: u32,
    },
    /// A record is malformed, although the checksum fits: whoever wrote the batch erred.
    #[error(
        "record {record}, byte {at} of the {}: {what}: expected {expected}, found {found}",
        if *compressed { "decompressed records" } else { "batch" }
    )]
    Record {
        /// Index in the batch, from 0.
        record: u32,
        /// Byte position in the batch, or in the decompressed record array.
        at: usize,
        /// Whether `at` counts decompressed bytes.
        compressed: bool,
        /// The field.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: i64,
    },
    /// The compressed record array is malformed.
    #[error("batch byte {position}: {codec}: {what}: expected {expected}, found {found}")]
    Compressed {
        /// The codec.
        codec: Codec,
        /// Byte position in the batch, as near as the codec tells.
        position: usize,
        /// The part of the framing.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: i64,
    },
    /// The record array decompresses to more than is accepted
    /// ([`MAX_DECOMPRESSED_BYTES`](crate::limits::MAX_DECOMPRESSED_BYTES),
    /// [`MAX_DECOMPRESSION_RATIO`](crate::limits::MAX_DECOMPRESSION_RATIO)).
    #[error("{codec}: {compressed} bytes decompress to more than {limit}")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// Bytes of the compressed record array.
        compressed: usize,
        /// Bytes that are accepted.
        limit: usize,
    },
}

impl BatchError {
    /// Byte position in the batch. A fault in decompressed records is that of the compressed array.
    pub fn position(&self) -> usize {
        match self {
            Self::Header(error) => error.position,
            Self::Incomplete { .. } => 0,
            Self::Crc { .. } => 17,
            Self::Record { at, compressed: false, .. } => *at,
            Self::Record { .. } | Self::TooLarge { .. } => BATCH_HEADER,
            Self::Trailing { position, .. } | Self::Compressed { position, .. } => *position,
        }
    }

    /// What was looked at.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Header(error) => error.what,
            Self::Incomplete { .. } => "batch length",
            Self::Trailing { .. } => "end of the batch",
            Self::Crc { .. } => "crc",
            Self::Record { what, .. } | Self::Compressed { what, .. } => what,
            Self::TooLarge { .. } => "decompressed bytes",
        }
    }

    /// What it should be.
    pub fn expected(&self) -> String {
        match self {
            Self::Header(error) => error.expected.to_owned(),
            Self::Incomplete { needed, .. } => format!("{needed} bytes"),
            Self::Trailing { .. } => "nothing".to_owned(),
            Self::Crc { expected, .. } => format!("{expected:#010x}"),
            Self::Record { expected, .. } | Self::Compressed { expected, .. } => {
                (*expected).to_owned()
            }
            Self::TooLarge { limit, .. } => format!("at most {limit}"),
        }
    }

    /// What it is.
    pub fn found(&self) -> String {
        match self {
            Self::Header(error) => error.found.to_string(),
            Self::Incomplete { available, .. } => format!("{available} bytes"),
            Self::Trailing { found, .. } => format!("{found} bytes"),
            Self::Crc { found, .. } => format!("{found:#010x}"),
            Self::Record { record, at, compressed: true, found, .. } => {
                format!("{found} in record {record}, decompressed byte {at}")
            }
            Self::Record { record, found, .. } => format!("{found} in record {record}"),
            Self::Compressed { codec, found, .. } => format!("{found} ({codec})"),
            Self::TooLarge { compressed, .. } => format!("more, from {compressed} bytes"),
        }
    }

    /// The same as corrupt data of a file, whose batch stands at byte `file_position` of `path`.
    pub fn into_corruption(self, path: &Path, file_position: u64) -> Corruption {
        Corruption::new(
            path,
            file_position.saturating_add(self.position() as u64),
            self.what(),
            self.expected(),
            self.found(),
        )
    }
}

/// Why a record is not taken into a batch, or a batch is not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A timestamp is negative and not −1 ("none"); Kafka refuses it too.
    #[error("timestamp must be at least 0, or -1 for none, found {found}")]
    NegativeTimestamp {
        /// The timestamp, milliseconds.
        found: i64,
    },
    /// A timestamp is too far from the batch's first to be stored as a difference.
    #[error("timestamp {found} is too far from the batch's first, {base}")]
    TimestampDelta {
        /// The batch's first timestamp, milliseconds.
        base: i64,
        /// The record's, milliseconds.
        found: i64,
    },
    /// The batch would exceed [`MAX_BATCH_BYTES`](crate::limits::MAX_BATCH_BYTES).
    #[error("the batch would take {bytes} bytes, {limit} are allowed")]
    TooLarge {
        /// Bytes of the batch with the record, or compressed.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// There is nothing to seal.
    #[error("a batch must hold at least one record")]
    Empty,
    /// The codec lacks the level.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The codec failed, which none does on sound input.
    #[error("{codec}: {reason}")]
    Codec {
        /// The codec.
        codec: Codec,
        /// What it said.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_names_the_byte_of_the_file() {
        let error = BatchError::Crc { expected: 1, found: 0xABCD };
        let corruption = error.into_corruption(Path::new("/d/0.log"), 1000);
        assert_eq!(
            corruption.to_string(),
            "corrupt data in /d/0.log at byte 1017: crc: expected 0x00000001, found 0x0000abcd"
        );
    }

    #[test]
    fn a_fault_in_decompressed_records_points_at_the_compressed_array() {
        let error = BatchError::Record {
            record: 3,
            at: 500,
            compressed: true,
            what: "key length",
            expected: "at least -1",
            found: -7,
        };
        assert_eq!(error.position(), BATCH_HEADER);
        assert_eq!(error.found(), "-7 in record 3, decompressed byte 500");
        assert!(error.to_string().starts_with("record 3, byte 500 of the decompressed records"));
    }
}
