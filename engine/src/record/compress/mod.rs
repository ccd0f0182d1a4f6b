//! The five codecs in Kafka's exact framing, with contexts and buffers that are reused from batch
//! to batch: in the steady state nothing is allocated.
//!
//! What is decompressed is bounded, by an absolute limit and by a ratio, before memory is taken.

mod gzip;
mod lz4;
mod output;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

use output::Output;

use super::{BatchError, Codec, Compression, RecordError};
use crate::limits::{
    BATCH_HEADER, MAX_DECOMPRESSED_BYTES, MAX_DECOMPRESSION_RATIO, RATIO_FREE_BYTES,
};

/// Reusable codec contexts for writing, and the buffer of the next compressed batch. One serves
/// any number of batches, one after the other.
#[derive(Debug, Default)]
pub struct Encoder {
    spare: Vec<u8>,
    gzip: gzip::Compressor,
    snappy: Option<snappy::Compressor>,
    lz4: Option<lz4::Compressor>,
    zstd: zstd::Compressor,
}

impl Encoder {
    /// Without contexts: each is made when its codec and level are first used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a buffer to the next compressed batch, unless a larger one is there already.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() {
            self.spare = buffer;
        }
    }

    /// Turns an uncompressed batch into a compressed one with an empty header, and keeps the
    /// uncompressed one's buffer for the next.
    pub(super) fn compress(
        &mut self,
        compression: Compression,
        batch: Vec<u8>,
    ) -> Result<Vec<u8>, RecordError> {
        compression.check()?;
        let codec = compression.codec;
        let level = compression.level.or(codec.default_level()).unwrap_or_default();
        let mut out = std::mem::take(&mut self.spare);
        out.clear();
        out.resize(BATCH_HEADER, 0);
        let raw = &batch[BATCH_HEADER..];
        let result = match codec {
            Codec::None => unreachable!("an uncompressed batch is sealed in place"),
            Codec::Gzip => self.gzip.compress(level, raw, &mut out),
            Codec::Snappy => self.snappy.get_or_insert_default().compress(raw, &mut out),
            Codec::Lz4 => self.lz4.get_or_insert_default().compress(raw, &mut out),
            Codec::Zstd => self.zstd.compress(level, raw, &mut out),
        };
        self.spare = batch;
        result.map_err(|reason| RecordError::Codec { codec, reason })?;
        Ok(out)
    }
}

/// Reusable codec contexts for reading, and the buffer that records are decompressed into. One
/// serves any number of batches, one after the other.
#[derive(Debug)]
pub struct Decoder {
    output: Output,
    max_output: usize,
    gzip: Option<gzip::Decompressor>,
    zstd: zstd::Decompressor,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_DECOMPRESSED_BYTES)
    }
}

impl Decoder {
    /// Without contexts: each is made when its codec is first met.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, accepting at most `max_output` decompressed bytes of one batch.
    pub fn with_limit(max_output: usize) -> Self {
        let max_output = max_output.min(MAX_DECOMPRESSED_BYTES);
        Self {
            output: Output::default(),
            max_output,
            gzip: None,
            zstd: zstd::Decompressor::default(),
        }
    }

    /// Bytes of memory that the buffer holds between batches; 8 MiB at most once a batch of usual
    /// size was read.
    pub fn buffer_bytes(&self) -> usize {
        self.output.held_bytes()
    }

    /// What was decompressed last.
    pub(super) fn decompressed(&self) -> &[u8] {
        self.output.filled()
    }

    /// The record array that `body`, a batch without its header, holds.
    pub(super) fn decompress(&mut self, codec: Codec, body: &[u8]) -> Result<&[u8], BatchError> {
        let by_ratio = body.len().saturating_mul(MAX_DECOMPRESSION_RATIO).max(RATIO_FREE_BYTES);
        let limit = self.max_output.min(by_ratio);
        self.output.begin(limit);
        let out = &mut self.output;
        let result = match codec {
            Codec::None => unreachable!("an uncompressed batch is read in place"),
            Codec::Gzip => self.gzip.get_or_insert_default().decompress(body, out),
            Codec::Snappy => snappy::decompress(body, out),
            Codec::Lz4 => lz4::decompress(body, out),
            Codec::Zstd => self.zstd.decompress(body, out),
        };
        match result {
            Ok(()) => Ok(self.output.filled()),
            Err(refusal) => Err(refusal.into_error(codec, body.len(), limit)),
        }
    }
}

/// Why a compressed record array is refused; `at` is relative to the array.
#[derive(Debug)]
enum Refusal {
    Malformed { at: usize, what: &'static str, expected: &'static str, found: i64 },
    TooLarge,
}

impl Refusal {
    fn into_error(self, codec: Codec, compressed: usize, limit: usize) -> BatchError {
        match self {
            Self::Malformed { at, what, expected, found } => {
                BatchError::Compressed { codec, position: BATCH_HEADER + at, what, expected, found }
            }
            Self::TooLarge => BatchError::TooLarge { codec, compressed, limit },
        }
    }
}

/// Compressed bytes, read from the front.
#[derive(Debug, Clone, Copy)]
struct Input<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Bytes not yet read.
    fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes, of the part that `what` names.
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Refusal> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.malformed(what, "more bytes", self.rest.len() as i64));
        };
        self.rest = rest;
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes, of the part that `what` names.
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Refusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// A refusal at the place that is read next.
    fn malformed(&self, what: &'static str, expected: &'static str, found: i64) -> Refusal {
        Refusal::Malformed { at: self.at, what, expected, found }
    }
}
