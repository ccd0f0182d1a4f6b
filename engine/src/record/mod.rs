//! Kafka's record batch v2: header, records, codecs. No I/O.
//!
//! Down: [`BatchBuilder`] encodes [`NewRecord`]s, [`Encoder`] compresses, and a [`SealedBatch`]
//! leaves. Back: [`Batch::check`] verifies the CRC once, and [`Batch::records`] reads with the help
//! of a [`Decoder`]. Every length is checked against what is there before it is used.

mod batch;
mod builder;
mod codec;
mod compress;
mod control;
mod error;
mod fields;
mod header;
mod sealed;
#[cfg(test)]
mod tests;
mod varint;

pub use batch::{Batch, RecordCursor, Records};
pub use builder::{BatchBuilder, BatchSettings, Header, NewRecord};
pub use codec::{Codec, Compression, CompressionError};
pub use compress::{Decoder, Encoder};
pub use control::{Marker, TransactionMarker, control_batch};
pub use error::{BatchError, RecordError};
pub use fields::{Record, RecordHeader, RecordHeaders};
pub use header::{Attributes, BatchHeader, HeaderError, NO_PRODUCER, TimestampType};
pub use sealed::SealedBatch;
