//! Kafka's record batch v2: header, records, codecs. No I/O.

mod header;

pub use header::{Attributes, BatchHeader, HeaderError, NO_PRODUCER};
