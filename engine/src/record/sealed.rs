//! A whole, valid batch that owns its bytes.

use super::{Batch, BatchError, BatchHeader};
use crate::{
    limits::LOG_OVERHEAD,
    types::{LeaderEpoch, Offset},
};

/// Where the bytes that the CRC covers begin: at the attributes.
pub(super) const CRC_FROM: usize = 21;

/// A whole, valid batch: built here, or checked when it came from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    bytes: Vec<u8>,
    header: BatchHeader,
    raw_bytes: usize,
}

impl From<Batch<'_>> for SealedBatch {
    /// Copies the bytes.
    fn from(batch: Batch<'_>) -> Self {
        let bytes = batch.bytes().to_vec();
        Self { raw_bytes: bytes.len(), bytes, header: *batch.header() }
    }
}

impl SealedBatch {
    /// Takes outside bytes, which must be exactly one batch with a right CRC. The records are not
    /// looked at: [`Batch::records`] does that.
    pub fn check(bytes: Vec<u8>) -> Result<Self, BatchError> {
        let header = *Batch::check(&bytes)?.header();
        let position = header.total_bytes();
        if bytes.len() > position {
            return Err(BatchError::Trailing { position, found: bytes.len() - position });
        }
        Ok(Self { raw_bytes: bytes.len(), bytes, header })
    }

    /// Closes a batch of our own: sets length and CRC and writes the header in front.
    pub(super) fn close(mut bytes: Vec<u8>, mut header: BatchHeader, raw_bytes: usize) -> Self {
        header.batch_length = (bytes.len() - LOG_OVERHEAD) as i32;
        header.write(&mut bytes);
        let mut batch = Self { bytes, header, raw_bytes };
        batch.renew_crc();
        batch
    }

    /// The header, as it stands in the bytes.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, to own.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Lends the bytes to a write; until [`SealedBatch::restore`] the batch is its header alone.
    pub(crate) fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Takes lent bytes back.
    ///
    /// # Panics
    /// Where their length is not the batch's.
    pub(crate) fn restore(&mut self, bytes: Vec<u8>) {
        assert_eq!(bytes.len(), self.header.total_bytes(), "the bytes that were lent");
        self.bytes = bytes;
    }

    /// Bytes of header and records before compression; of a batch from outside, as it came.
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// The batch, to read its records.
    pub fn batch(&self) -> Batch<'_> {
        Batch::trusted(&self.bytes, self.header)
    }

    /// Sets the base offset and the leader epoch in place; both stand outside the CRC.
    ///
    /// # Panics
    /// Where the offset is negative or an offset of the batch would pass `i64::MAX - 1`.
    pub fn stamp(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) {
        let highest = Offset::MAX - 1 - self.header.last_offset_delta as i64;
        assert!((0..=highest).contains(&base_offset), "no base offset: {base_offset}");
        self.header.base_offset = base_offset;
        self.header.leader_epoch = leader_epoch;
        self.bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        self.bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    }

    /// Gives every record the timestamp `ms`, the time of the append: sets the attribute and the
    /// maximum timestamp, and renews the CRC.
    pub fn set_log_append_time(&mut self, ms: i64) {
        self.header.attributes = self.header.attributes.with_log_append_time(true);
        self.header.max_timestamp = ms;
        self.header.write(&mut self.bytes);
        self.renew_crc();
    }

    fn renew_crc(&mut self) {
        self.header.crc = crc32c::crc32c(&self.bytes[CRC_FROM..]);
        self.bytes[17..CRC_FROM].copy_from_slice(&self.header.crc.to_be_bytes());
    }
}
