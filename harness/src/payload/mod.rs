//! Honest payloads: a pool larger than any codec's window, of which every record is used once
//! before any is used again, with a compressibility that is declared and tested.

mod file;
mod json;
mod text;
mod words;

#[cfg(test)]
mod calibration;

use std::{fmt, path::PathBuf, str::FromStr};

use crate::size::ByteSize;

/// Least bytes of a pool: four times the largest window of a codec at its usual levels (zstd, 8 MiB).
pub const POOL_BYTES: usize = 32 << 20;
/// Least records of a pool, for large records.
const LEAST_RECORDS: usize = 16;

/// What the records' values are made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadKind {
    /// Random bytes: no codec gains anything.
    Random,
    /// Lines of prose, calibrated to a novel.
    Text,
    /// JSON objects, each whole and valid, calibrated to real records.
    Json,
    /// Consecutive slices of a file of yours.
    File(PathBuf),
}

/// Why there is no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The file can't be read.
    #[error("payload file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Too small to be honest: records would repeat within a codec's window.
    #[error(
        "payload file {path} has {found} bytes, expected at least {expected}: with less, records \
         would repeat within a codec's window and every ratio would be too good"
    )]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// Bytes that are needed.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
}

impl FromStr for PayloadKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "random" => Ok(Self::Random),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => match text.strip_prefix("file:").filter(|path| !path.is_empty()) {
                Some(path) => Ok(Self::File(path.into())),
                None => {
                    Err(format!("payload must be random, text, json or file:PATH, found `{text}`"))
                }
            },
        }
    }
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("random"),
            Self::Text => f.write_str("text"),
            Self::Json => f.write_str("json"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Records of one size, back to back. Made once, shared by all producers.
pub struct Pool {
    bytes: Vec<u8>,
    record_size: usize,
    records: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} records of {} bytes)", self.records, self.record_size)
    }
}

impl Pool {
    /// Fills a pool of at least [`POOL_BYTES`] from `seed`; `progress` is told the part that is
    /// done, 0 to 1.
    pub fn fill(
        kind: &PayloadKind,
        record_size: ByteSize,
        seed: u64,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self, PayloadError> {
        Self::of_bytes(POOL_BYTES, kind, record_size, seed, progress)
    }

    /// Whether a pool can be filled, as far as one sees without reading a file.
    pub fn check(kind: &PayloadKind, record_size: ByteSize) -> Result<(), PayloadError> {
        let PayloadKind::File(path) = kind else { return Ok(()) };
        let record_size = record_size.0 as usize;
        file::check(path, records_of(POOL_BYTES, record_size) * record_size)
    }

    fn of_bytes(
        pool_bytes: usize,
        kind: &PayloadKind,
        record_size: ByteSize,
        seed: u64,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self, PayloadError> {
        let record_size = record_size.0 as usize;
        assert!(record_size > 0, "the command line refuses records of 0 bytes");
        let records = records_of(pool_bytes, record_size);
        let bytes = match kind {
            PayloadKind::File(path) => file::read(path, records * record_size)?,
            _ => generate(kind, record_size, records, seed, progress),
        };
        Ok(Self { bytes, record_size, records })
    }

    /// Record `nth`; after the last one the first one again.
    pub fn record(&self, nth: u64) -> &[u8] {
        let start = (nth % self.records as u64) as usize * self.record_size;
        &self.bytes[start..start + self.record_size]
    }

    /// Number of different records.
    pub fn records(&self) -> u64 {
        self.records as u64
    }
}

fn records_of(pool_bytes: usize, record_size: usize) -> usize {
    pool_bytes.div_ceil(record_size).max(LEAST_RECORDS)
}

fn generate(
    kind: &PayloadKind,
    record_size: usize,
    records: usize,
    seed: u64,
    progress: &mut dyn FnMut(f64),
) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x7061_796c_6f61_6473);
    let mut bytes = Vec::with_capacity(records * record_size + 4096);
    let words = words::Words::new();
    let mut author = json::Author::new(&words);
    let report_every = (records / 100).max(1);
    for record in 0..records {
        let end = (record + 1) * record_size;
        match kind {
            PayloadKind::Random => {
                bytes.resize(end, 0);
                random.fill(&mut bytes[end - record_size..]);
            }
            PayloadKind::Json => author.write(&mut bytes, record_size, &mut random),
            // One long text, cut into records: `write` may go past the end, the next goes on there.
            PayloadKind::Text | PayloadKind::File(_) => {
                text::write(&mut bytes, end, &words, &mut random);
            }
        }
        if record % report_every == 0 {
            progress(record as f64 / records as f64);
        }
    }
    bytes.truncate(records * record_size);
    progress(1.0);
    bytes
}

#[cfg(test)]
impl Pool {
    /// A pool of 1 MiB: enough for a test, not for a measurement.
    pub(crate) fn small(kind: &PayloadKind, record_size: usize, seed: u64) -> Self {
        Self::of_bytes(1 << 20, kind, ByteSize(record_size as u64), seed, &mut |_| ()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_and_shown() {
        for text in ["random", "text", "json", "file:/tmp/a b"] {
            assert_eq!(text.parse::<PayloadKind>().unwrap().to_string(), text);
        }
        for text in ["", "xml", "file:"] {
            assert!(text.parse::<PayloadKind>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pool_is_larger_than_any_window_and_repeats_nothing() {
        for (kind, size) in [(PayloadKind::Json, 1_000), (PayloadKind::Text, 100)] {
            let mut told = 0.0;
            let pool = Pool::fill(&kind, ByteSize(size), 1, &mut |part| told = part).unwrap();
            assert!(told >= 1.0);
            assert!(pool.records() * size >= POOL_BYTES as u64);
            let different: std::collections::HashSet<&[u8]> =
                (0..pool.records()).map(|nth| pool.record(nth)).collect();
            assert_eq!(different.len() as u64, pool.records(), "{kind}");
            assert_eq!(pool.record(pool.records()), pool.record(0));
        }
    }

    #[test]
    fn a_pool_comes_from_its_seed_alone() {
        for kind in [PayloadKind::Random, PayloadKind::Text, PayloadKind::Json] {
            let record = |seed| {
                let pool = Pool::small(&kind, 4 << 10, seed);
                pool.record(200).to_vec()
            };
            assert_eq!(record(5), record(5));
            assert_ne!(record(5), record(6));
        }
    }
}
