//! A buffered view of a file that only moves forward and may look far ahead.

use crate::{error::IoError, io::File};

/// Bytes of a read.
const CHUNK: usize = 1 << 20;

/// The bytes of `file` up to `until`, at most a chunk or what was asked for at once in memory.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a File,
    until: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a File, until: u64) -> Self {
        Self { file, until, start: 0, bytes: Vec::new() }
    }

    /// What is buffered from `position` on: at least `len` bytes, unless the end is nearer.
    /// `position` never goes back.
    pub(super) fn at(&mut self, position: u64, len: usize) -> Result<&[u8], IoError> {
        debug_assert!(position >= self.start, "a window only moves forward");
        let len = (len as u64).min(self.until.saturating_sub(position)) as usize;
        if position + len as u64 > self.start + self.bytes.len() as u64 {
            self.fill(position, len)?;
        }
        Ok(self.bytes.get((position - self.start) as usize..).unwrap_or_default())
    }

    fn fill(&mut self, position: u64, len: usize) -> Result<(), IoError> {
        let passed = ((position - self.start) as usize).min(self.bytes.len());
        let left = &self.bytes[passed..];
        let size = len.max(CHUNK).min((self.until - position) as usize);
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&left[..left.len().min(size)]);
        let mut bytes = self.file.read_into(position + bytes.len() as u64, bytes)?;
        bytes.truncate(size);
        (self.start, self.bytes) = (position, bytes);
        Ok(())
    }
}
