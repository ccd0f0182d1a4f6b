//! The batches of a `.log` file, one behind the other, each with its CRC checked; and the way on
//! where one is damaged. Reads ahead by chunks and never writes.

use std::path::Path;

use trunkline::{
    error::{Corruption, IoError},
    io::{File, Open, Storage},
    limits::BATCH_HEADER,
    record::{Batch, BatchError, BatchHeader},
};

/// Bytes of a read: large enough to be rare, small enough to stay in a core's cache.
const CHUNK: usize = 1 << 20;
/// Where the field that tells a batch's length stands in it.
const BATCH_LENGTH_AT: u64 = 8;
/// Bytes that a search behind a damage may checksum in vain, beside four times those it searches:
/// payload can look like headers with huge lengths.
const FREE_CHECKSUM_BYTES: u64 = 64 << 20;

/// A `.log` file that is read from its start to the length it had when it was opened.
#[derive(Debug)]
pub struct BatchFile {
    file: File,
    len: u64,
    /// Where the next batch must stand.
    position: u64,
    /// File position of the buffer's first byte.
    start: u64,
    buffer: Vec<u8>,
}

/// What stands at a place where a batch should.
#[derive(Debug)]
pub struct Found<'a> {
    /// Byte position in the file.
    pub position: u64,
    /// The batch, its CRC checked; or why there is none.
    pub batch: Result<Batch<'a>, BatchError>,
}

/// What is wrong where no batch stands at `position`, placed at the field that is wrong: a batch that
/// would pass the end of the file has a length that lies, or the file was cut.
pub fn corruption(error: BatchError, path: &Path, position: u64) -> Corruption {
    let BatchError::Incomplete { needed, available } = error else {
        return error.into_corruption(path, position);
    };
    if available < BATCH_HEADER {
        return error.into_corruption(path, position);
    }
    let expected = format!("a batch of at most {available} bytes");
    let found = format!("{needed} bytes");
    Corruption::new(path, position + BATCH_LENGTH_AT, error.what(), expected, found)
}

/// What was passed over behind a damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Bytes.
    pub bytes: u64,
    /// Whether a whole batch follows, where reading goes on. Otherwise the file is at its end.
    pub resumes: bool,
    /// Whether all bytes up to the end of the file are 0.
    pub all_zero: bool,
}

impl BatchFile {
    /// Opens the file at `path` to read.
    pub fn open(storage: &Storage, path: &Path) -> Result<Self, IoError> {
        let file = storage.open(path, Open::Read)?;
        let len = file.len()?;
        Ok(Self { file, len, position: 0, start: 0, buffer: Vec::new() })
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Where the next batch must stand.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What stands at the next place; `None` at the end. Where it is no whole batch the place stays: go
    /// on with [`BatchFile::skip_damage`].
    pub fn read_batch(&mut self) -> Result<Option<Found<'_>>, IoError> {
        let position = self.position;
        if position >= self.len {
            return Ok(None);
        }
        let total = match BatchHeader::parse(self.at(position, BATCH_HEADER)?) {
            Ok(header) => header.total_bytes(),
            Err(_) if self.len - position < BATCH_HEADER as u64 => {
                let available = (self.len - position) as usize;
                let error = BatchError::Incomplete { needed: BATCH_HEADER, available };
                return Ok(Some(Found { position, batch: Err(error) }));
            }
            Err(error) => return Ok(Some(Found { position, batch: Err(error.into()) })),
        };
        let room = self.len - position;
        if total as u64 > room {
            let error = BatchError::Incomplete { needed: total, available: room as usize };
            return Ok(Some(Found { position, batch: Err(error) }));
        }
        self.at(position, total)?;
        let bytes = &self.buffer[(position - self.start) as usize..];
        let batch = Batch::check(bytes);
        if batch.is_ok() {
            self.position += total as u64;
        }
        Ok(Some(Found { position, batch }))
    }

    /// The header at the damaged place, if it is one and the batch would end within the file.
    pub fn damaged_header(&mut self) -> Result<Option<BatchHeader>, IoError> {
        let (position, len) = (self.position, self.len);
        let header = BatchHeader::parse(self.at(position, BATCH_HEADER)?).ok();
        Ok(header.filter(|header| position + header.total_bytes() as u64 <= len))
    }

    /// Passes over damaged bytes to the next batch that is whole and `plausible`, or to the end.
    /// First it believes the damaged batch's own length, so that no payload is taken for a batch.
    pub fn skip_damage(
        &mut self,
        plausible: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Skipped, IoError> {
        let from = self.position;
        if let Some(header) = self.damaged_header()? {
            let end = from + header.total_bytes() as u64;
            if end == self.len || self.whole_batch_at(end, &plausible)?.is_ok() {
                self.position = end;
                return Ok(Skipped { bytes: end - from, resumes: end < self.len, all_zero: false });
            }
        }
        let all_zero = self.search(from, plausible)?;
        Ok(Skipped { bytes: self.position - from, resumes: self.position < self.len, all_zero })
    }

    /// Moves to the next whole batch behind `from`; gives whether all bytes on the way were 0.
    fn search(
        &mut self,
        from: u64,
        plausible: impl Fn(&BatchHeader) -> bool,
    ) -> Result<bool, IoError> {
        let mut budget = FREE_CHECKSUM_BYTES.saturating_add((self.len - from).saturating_mul(4));
        let mut all_zero = true;
        let mut position = from;
        while self.len - position >= BATCH_HEADER as u64 {
            let bytes = self.at(position, BATCH_HEADER)?;
            let found = bytes.windows(BATCH_HEADER).position(|window| window[16] == 2);
            let passed = found.unwrap_or(bytes.len() - BATCH_HEADER + 1);
            all_zero &= bytes[..passed].iter().all(|byte| *byte == 0);
            position += passed as u64;
            if found.is_none() {
                continue;
            }
            all_zero = false;
            match self.whole_batch_at(position, &plausible)? {
                Ok(()) if position > from => {
                    self.position = position;
                    return Ok(false);
                }
                Err(spent) if spent > budget => break,
                Err(spent) => budget -= spent,
                Ok(()) => {}
            }
            position += 1;
        }
        let rest = (self.len - position) as usize;
        if all_zero && rest < BATCH_HEADER {
            all_zero = self.at(position, rest)?.iter().all(|byte| *byte == 0);
        }
        self.position = self.len;
        Ok(all_zero)
    }

    /// Whether a whole, plausible batch stands at `position`; if not, the bytes that were checksummed.
    fn whole_batch_at(
        &mut self,
        position: u64,
        plausible: &impl Fn(&BatchHeader) -> bool,
    ) -> Result<Result<(), u64>, IoError> {
        let room = self.len - position;
        let header = BatchHeader::parse(self.at(position, BATCH_HEADER)?).ok();
        let fits = |header: &BatchHeader| header.total_bytes() as u64 <= room && plausible(header);
        let Some(header) = header.filter(fits) else { return Ok(Err(0)) };
        let total = header.total_bytes();
        let is_whole = Batch::check(self.at(position, total)?).is_ok();
        Ok(if is_whole { Ok(()) } else { Err(total as u64) })
    }

    /// What is buffered from `position` on: at least `len` bytes, unless the file ends before.
    fn at(&mut self, position: u64, len: usize) -> Result<&[u8], IoError> {
        let len = (len as u64).min(self.len.saturating_sub(position)) as usize;
        let covered = self.start <= position
            && position + len as u64 <= self.start + self.buffer.len() as u64;
        if !covered {
            self.fill(position, len)?;
        }
        Ok(self.buffer.get((position - self.start) as usize..).unwrap_or_default())
    }

    fn fill(&mut self, position: u64, len: usize) -> Result<(), IoError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let passed = position.checked_sub(self.start).map(|passed| passed as usize);
        match passed {
            Some(passed) if passed < buffer.len() => drop(buffer.drain(..passed)),
            _ => buffer.clear(),
        }
        let size = len.max(CHUNK).min((self.len - position) as usize);
        buffer.reserve_exact(size.saturating_sub(buffer.len()));
        self.start = position;
        let read = self.file.read_into(position + buffer.len() as u64, buffer);
        self.buffer = read?;
        let limit = (self.len - position).min(usize::MAX as u64) as usize;
        self.buffer.truncate(limit);
        // The file was cut meanwhile: what is gone reads as the end.
        if self.buffer.len() < len {
            self.len = position + self.buffer.len() as u64;
        }
        Ok(())
    }
}
