//! Where records are decompressed to: one buffer that is reused from batch to batch, and bounded.

use super::Refusal;

/// A buffer larger than this is given back after the batch that needed it, in bytes.
const KEEP_BYTES: usize = 8 << 20;

/// The buffer. It stays at its largest length, so that it is not zeroed again for each batch.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Output {
    /// Empties the buffer and sets how many bytes it may take.
    pub(super) fn begin(&mut self, limit: usize) {
        if self.bytes.len() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
        self.filled = 0;
        self.limit = limit;
    }

    /// Room for `wanted` bytes and more, or less at the limit: never none, as there is room for
    /// one byte beyond the limit, which shows that the limit is passed.
    pub(super) fn room(&mut self, wanted: usize) -> &mut [u8] {
        let most = self.limit.saturating_add(1);
        let needed = self.filled.saturating_add(wanted.max(1)).min(most);
        if needed > self.bytes.len() {
            let doubled = self.bytes.len().saturating_mul(2).min(most);
            self.bytes.resize(needed.max(doubled), 0);
        }
        let end = self.bytes.len().min(most);
        &mut self.bytes[self.filled..end]
    }

    /// Room for exactly `bytes` more, which the data declare; refused beyond the limit.
    pub(super) fn exact_room(&mut self, bytes: usize) -> Result<&mut [u8], Refusal> {
        if bytes > self.limit - self.filled {
            return Err(Refusal::TooLarge);
        }
        Ok(&mut self.room(bytes)[..bytes])
    }

    /// Counts `bytes` that were written into the room.
    pub(super) fn advance(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.filled += bytes;
        assert!(self.filled <= self.bytes.len(), "more was written than there was room for");
        if self.filled > self.limit { Err(Refusal::TooLarge) } else { Ok(()) }
    }

    /// All that was written.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// What was written from byte `from` on.
    pub(super) fn filled_from(&self, from: usize) -> &[u8] {
        &self.bytes[from..self.filled]
    }

    /// Bytes of memory that the buffer holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.filled
    }
}
