//! Checking a log's bytes, batch by batch, as recovery and `verify` do; and where they are damaged,
//! saying what stands behind the damage: nothing, which is a torn tail, or batches that are whole.

use std::path::Path;

use super::{SegmentError, window::Window};
use crate::{
    error::{Corruption, IoError},
    io::File,
    limits::{BATCH_HEADER, MAX_RELATIVE_OFFSET},
    record::{Batch, BatchHeader},
    types::Offset,
};

/// Bytes that the search behind a damage may checksum in vain, beside four times the bytes that it
/// searches: payload can be made to look like headers with huge lengths.
const FREE_CHECKSUM_BYTES: u64 = 64 << 20;

/// Where a header has its magic byte, in bytes from its start.
const MAGIC: usize = 16;

/// Where a scan begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanStart {
    /// Byte position, where a batch must start.
    pub position: u64,
    /// Offset that this batch must have.
    pub expected_offset: Offset,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Byte position behind the last batch of the valid beginning.
    pub valid_end: u64,
    /// Offset behind that batch.
    pub next_offset: Offset,
    /// Why the scan ended before the file did.
    pub damage: Option<Damage>,
}

/// A place where no valid, continuing batch stands, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong, with file and position.
    pub corruption: Corruption,
    /// Where the batch begins that is not valid: the valid end before it.
    pub position: u64,
    /// The next position that holds a batch with a good CRC and a plausible base offset, not below
    /// the expected one. (`position` itself where only the offset does not continue.)
    pub resumes_at: Option<(u64, BatchHeader)>,
    /// Bytes of all such batches behind the damage.
    pub valid_after_bytes: u64,
    /// Byte position behind the last of them; `position` where there is none.
    pub valid_after_end: u64,
    /// Whether there are only zeros from `position` on: space that was reserved, or lost to a crash.
    pub all_zero: bool,
    /// Whether the search was given up because too many bytes that look like headers of large batches
    /// are none: batches may follow that were not found.
    pub undecided: bool,
}

impl Damage {
    /// Whether nothing valid stands behind the damage: what a crash leaves of an unfinished write.
    pub fn is_torn_tail(&self) -> bool {
        self.resumes_at.is_none() && !self.undecided
    }
}

/// Which offsets the batches of a segment may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRule {
    /// Base offset of the segment.
    pub base: Offset,
    /// Base offset of the next segment, which no batch reaches; [`Offset::MAX`] where there is none.
    pub end: Offset,
    /// They rise; otherwise they continue, too.
    pub gaps_allowed: bool,
}

/// Reads the batches of a segment from `from` up to byte `until`, checks each one's CRC and that offsets
/// are as `rule` says, and hands it to `on_batch` with its position. Reads by chunks; a length field is
/// believed no further than the file goes.
pub fn scan(
    file: &File,
    rule: OffsetRule,
    from: ScanStart,
    until: u64,
    mut on_batch: impl FnMut(u64, &Batch<'_>),
) -> Result<Scan, SegmentError> {
    let mut scanner = Scanner::new(file, rule, from.position, until)?;
    scanner.run(from, Search { latest: Offset::MAX, first: false }, &mut on_batch)
}

/// A scan that can go on behind damage: it reads the bytes once, however often they are damaged.
#[derive(Debug)]
pub struct Scanner<'a> {
    file: &'a File,
    window: Window<'a>,
    until: u64,
    rule: OffsetRule,
    /// Bytes that the searches may still checksum in vain.
    budget: u64,
}

/// What is looked for behind a damage.
#[derive(Debug, Clone, Copy)]
struct Search {
    /// Base offset of a batch, at most.
    latest: Offset,
    /// Whether the first such batch is enough.
    first: bool,
}

impl<'a> Scanner<'a> {
    /// Of a segment from byte `from` up to byte `until`.
    pub fn new(file: &'a File, rule: OffsetRule, from: u64, until: u64) -> Result<Self, IoError> {
        let until = until.min(file.len()?);
        let searched = until.saturating_sub(from);
        let budget = FREE_CHECKSUM_BYTES.saturating_add(searched.saturating_mul(4));
        let window = Window::new(file, until);
        Ok(Self { file, window, until, rule, budget })
    }

    /// As [`scan`], but of what stands behind a damage no more is said than where the first batch stands,
    /// behind its first byte, whose base offset is at most `latest`: from there the next call goes on.
    ///
    /// # Panics
    /// In debug builds, where `from` lies before the end of the last call.
    pub fn advance(&mut self, from: ScanStart, latest: Offset) -> Result<Scan, SegmentError> {
        self.run(from, Search { latest, first: true }, &mut |_, _| {})
    }

    fn run(
        &mut self,
        from: ScanStart,
        search: Search,
        on_batch: &mut dyn FnMut(u64, &Batch<'_>),
    ) -> Result<Scan, SegmentError> {
        let (until, expected) = (self.until, from.expected_offset);
        let mut place = Place { rule: self.rule, expected };
        let mut position = from.position;
        while position < until {
            match batch_at(&mut self.window, self.file.path(), position, until, place)? {
                Ok(batch) => {
                    on_batch(position, &batch);
                    position += batch.header().total_bytes() as u64;
                    place.expected = batch.header().next_offset();
                }
                Err(corruption) => {
                    let damage = Some(self.survey(corruption, position, place, search)?);
                    return Ok(Scan { valid_end: position, next_offset: place.expected, damage });
                }
            }
        }
        Ok(Scan { valid_end: position, next_offset: place.expected, damage: None })
    }
}

/// What a batch must fulfil to continue the log.
#[derive(Debug, Clone, Copy)]
struct Place {
    rule: OffsetRule,
    expected: Offset,
}

impl Place {
    /// Why a batch does not continue the log: what is wrong, expected and found.
    fn refuses(self, header: &BatchHeader) -> Option<(&'static str, String, Offset)> {
        let Self { rule, expected } = self;
        let is_next = header.base_offset == expected;
        if !(is_next || rule.gaps_allowed && self.may_follow(header)) {
            return Some(("base offset", expected.to_string(), header.base_offset));
        }
        (header.last_offset() >= rule.end).then(|| {
            ("last offset", format!("a batch below offset {}", rule.end), header.last_offset())
        })
    }

    /// Whether the batch can stand somewhere behind.
    fn may_follow(self, header: &BatchHeader) -> bool {
        header.base_offset >= self.expected
            && header.last_offset() - self.rule.base <= MAX_RELATIVE_OFFSET
    }
}

/// The batch at `position`, or why there is none.
fn batch_at<'w>(
    window: &'w mut Window<'_>,
    path: &Path,
    position: u64,
    until: u64,
    place: Place,
) -> Result<Result<Batch<'w>, Corruption>, IoError> {
    let room = until - position;
    let total = match BatchHeader::parse(window.at(position, BATCH_HEADER)?) {
        Ok(header) => header.total_bytes(),
        Err(error) => {
            let at = position + error.position as u64;
            return Ok(Err(Corruption::new(path, at, error.what, error.expected, error.found)));
        }
    };
    if total as u64 > room {
        let expected = format!("a batch of at most {room} bytes");
        let found = format!("{total} bytes");
        return Ok(Err(Corruption::new(path, position + 8, "batch length", expected, found)));
    }
    let batch = match Batch::check(window.at(position, total)?) {
        Ok(batch) => batch,
        Err(error) => return Ok(Err(error.into_corruption(path, position))),
    };
    Ok(match place.refuses(batch.header()) {
        Some((what, expected, found)) => {
            Err(Corruption::new(path, position, what, expected, found))
        }
        None => Ok(batch),
    })
}

impl Scanner<'_> {
    /// Looks for batches behind the damage at `start`.
    fn survey(
        &mut self,
        corruption: Corruption,
        start: u64,
        place: Place,
        search: Search,
    ) -> Result<Damage, IoError> {
        let mut damage = Damage {
            corruption,
            position: start,
            resumes_at: None,
            valid_after_bytes: 0,
            valid_after_end: start,
            all_zero: true,
            undecided: false,
        };
        let (window, until) = (&mut self.window, self.until);
        // A whole batch that does not continue here may bear a wrong offset: it is no place to go on.
        let mut position = if search.first { start + 1 } else { start };
        while position < until {
            let bytes = window.at(position, BATCH_HEADER)?;
            let skip = find_header(bytes);
            let passed = skip.unwrap_or(bytes.len().saturating_sub(BATCH_HEADER - 1).max(1));
            damage.all_zero &= is_zero(&bytes[..passed.min(bytes.len())]);
            position += passed as u64;
            if skip.is_none() {
                continue;
            }
            damage.all_zero = false;
            let header = candidate(window, position, until, place)?;
            let header = header.filter(|header| header.base_offset <= search.latest);
            let total = header.map_or(0, |header| header.total_bytes());
            match header {
                Some(header) if Batch::check(window.at(position, total)?).is_ok() => {
                    damage.resumes_at.get_or_insert((position, header));
                    if search.first {
                        break;
                    }
                    damage.valid_after_bytes += total as u64;
                    position += total as u64;
                    damage.valid_after_end = position;
                }
                _ if total as u64 > self.budget => {
                    damage.undecided = true;
                    break;
                }
                _ => {
                    self.budget -= total as u64;
                    position += 1;
                }
            }
        }
        Ok(damage)
    }
}

/// Where the first whole header may stand, by the cheap test: a magic byte of 2 where a header has it.
fn find_header(bytes: &[u8]) -> Option<usize> {
    let magics = bytes.get(MAGIC..(bytes.len() + MAGIC + 1).checked_sub(BATCH_HEADER)?)?;
    memchr::memchr(2, magics)
}

/// Without a way out in between, so that it is compiled to wide instructions: reserved space is long.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |any, byte| any | byte) == 0
}

/// The header at `position`, if it could be that of a batch behind the damage.
fn candidate(
    window: &mut Window<'_>,
    position: u64,
    until: u64,
    place: Place,
) -> Result<Option<BatchHeader>, IoError> {
    let header = BatchHeader::parse(window.at(position, BATCH_HEADER)?).ok();
    Ok(header.filter(|header| {
        header.total_bytes() as u64 <= until - position && place.may_follow(header)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_looked_for_wherever_a_whole_one_fits() {
        for before in 0..70 {
            let mut bytes = vec![0; before + BATCH_HEADER];
            bytes[before + MAGIC] = 2;
            assert_eq!(find_header(&bytes), Some(before));
            assert_eq!(find_header(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(find_header(&[2; 7]), None);
    }

    #[test]
    fn bytes_that_undo_each_other_are_not_zero() {
        assert!(is_zero(&[0; 100]) && is_zero(&[]));
        assert!(!is_zero(&[7, 7]) && !is_zero(&[0, 3, 1, 2]));
    }
}
