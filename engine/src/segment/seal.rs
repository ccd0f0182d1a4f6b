//! What is known of a segment since it was sealed or cleanly closed: our own file beside Kafka's,
//! which Kafka ignores. It makes opening lazy and damage to an index visible. To lose it costs time,
//! never data.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::Path,
};

use super::SegmentError;
use crate::{
    error::Corruption,
    io::Storage,
    limits::{BATCH_HEADER, MAX_CHECKPOINT_BYTES, MAX_RELATIVE_OFFSET},
    types::Offset,
};

/// Name of the file in a partition's folder.
pub const SEALS_FILE: &str = "trunkline-seals";
/// First line of the file: what it is, and the version of its form.
const TITLE: &str = "trunkline-seals 1";
/// First word of the last line, before the CRC32C of all lines above it.
const CHECKSUM: &str = "crc32c ";

/// One segment's seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Base offset of the segment.
    pub base_offset: Offset,
    /// Bytes of the `.log` file.
    pub log_len: u64,
    /// Offset behind the last batch.
    pub next_offset: Offset,
    /// Largest timestamp, milliseconds, and the last offset of the earliest batch that holds it.
    pub largest_timestamp: Option<(i64, Offset)>,
    /// CRC32C of the `.index` file.
    pub index_crc: u32,
    /// CRC32C of the `.timeindex` file.
    pub timeindex_crc: u32,
    /// CRC32C of the `.txnindex` file, 0 where there is none.
    pub txnindex_crc: u32,
}

impl Seal {
    /// Whether this is the seal of the segment at `base_offset` that holds `len` bytes and ends at or
    /// before `end`.
    pub fn fits(&self, base_offset: Offset, len: u64, end: Offset) -> bool {
        self.base_offset == base_offset && self.log_len == len && self.next_offset <= end
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut number = || words.next()?.parse::<i64>().ok();
        let (base_offset, log_len, next_offset) = (number()?, number()?, number()?);
        let (timestamp, offset) = (number()?, number()?);
        let mut crc = || u32::from_str_radix(words.next()?, 16).ok();
        let seal = Self {
            base_offset,
            log_len: u64::try_from(log_len).ok()?,
            next_offset,
            largest_timestamp: (timestamp >= 0).then_some((timestamp, offset)),
            index_crc: crc()?,
            timeindex_crc: crc()?,
            txnindex_crc: crc()?,
        };
        let span = next_offset.checked_sub(base_offset)?;
        let sane = base_offset >= 0
            && (0..=MAX_RELATIVE_OFFSET + 1).contains(&span)
            && (seal.log_len == 0 || seal.log_len >= BATCH_HEADER as u64)
            && seal
                .largest_timestamp
                .is_none_or(|(_, offset)| (base_offset..next_offset).contains(&offset));
        (sane && words.next().is_none()).then_some(seal)
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (timestamp, offset) = self.largest_timestamp.unwrap_or((-1, -1));
        let Self { base_offset, log_len, next_offset, .. } = self;
        write!(
            f,
            "{base_offset} {log_len} {next_offset} {timestamp} {offset} {:08x} {:08x} {:08x}",
            self.index_crc, self.timeindex_crc, self.txnindex_crc
        )
    }
}

/// The seals of a partition, by base offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seals(BTreeMap<Offset, Seal>);

impl Seals {
    /// Reads the seals of a partition's folder; none where the file is absent. `Corrupt` where its
    /// checksum or a line is wrong: the caller says so and goes on with none.
    pub fn load(storage: &Storage, dir: &Path) -> Result<Self, SegmentError> {
        let path = dir.join(SEALS_FILE);
        match storage.read(&path, MAX_CHECKPOINT_BYTES) {
            Err(error) if error.is_not_found() => Ok(Self::default()),
            other => Ok(Self::parse(&path, &other?)?),
        }
    }

    /// Writes the seals, durably, in place of those before.
    pub fn store(&self, storage: &Storage, dir: &Path) -> Result<(), SegmentError> {
        Ok(storage.replace(&dir.join(SEALS_FILE), self.to_text().as_bytes())?)
    }

    /// The seal of the segment at `base_offset`.
    pub fn get(&self, base_offset: Offset) -> Option<&Seal> {
        self.0.get(&base_offset)
    }

    /// Adds a seal in place of the one before for that segment.
    pub fn insert(&mut self, seal: Seal) {
        self.0.insert(seal.base_offset, seal);
    }

    /// Drops the seal of a segment that is deleted or appended to again.
    pub fn remove(&mut self, base_offset: Offset) {
        self.0.remove(&base_offset);
    }

    /// Drops the seals that `keep` does not want, by base offset.
    pub fn retain(&mut self, keep: impl Fn(Offset) -> bool) {
        self.0.retain(|base_offset, _| keep(*base_offset));
    }

    /// The seals by rising base offset.
    pub fn iter(&self) -> impl Iterator<Item = &Seal> {
        self.0.values()
    }

    fn to_text(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for seal in self.iter() {
            let _ = writeln!(text, "{seal}"); // a String takes everything
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "{CHECKSUM}{crc:08x}");
        text
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Corruption> {
        let refuse = |position: usize, what, expected: &str, found: &str| {
            Err(Corruption::new(path, position as u64, what, expected, format!("{found:?}")))
        };
        // The checksum first: it covers everything before its line.
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let split = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (covered, last) = body.split_at(split);
        let last = String::from_utf8_lossy(last);
        let expected = format!("{CHECKSUM}{:08x}", crc32c::crc32c(covered));
        if last != expected || body.len() == bytes.len() {
            return refuse(split, "checksum line", &expected, &last);
        }
        let mut seals = Self::default();
        let mut position = 0;
        for (n, line) in String::from_utf8_lossy(covered).lines().enumerate() {
            match Seal::parse(line) {
                Some(seal) if n > 0 => seals.insert(seal),
                None if n == 0 && line == TITLE => {}
                _ => return refuse(position, "line", if n == 0 { TITLE } else { "a seal" }, line),
            }
            position += line.len() + 1;
        }
        Ok(seals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(base_offset: Offset) -> Seal {
        Seal {
            base_offset,
            log_len: 1000,
            next_offset: base_offset + 10,
            largest_timestamp: (base_offset > 0).then_some((77, base_offset + 3)),
            index_crc: 1,
            timeindex_crc: 0xFFFF_FFFF,
            txnindex_crc: 0,
        }
    }

    fn seals() -> Seals {
        let mut seals = Seals::default();
        for base_offset in [0, 500, 20] {
            seals.insert(seal(base_offset));
        }
        seals
    }

    #[test]
    fn seals_go_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        assert_eq!(Seals::load(&storage, dir.path()).unwrap(), Seals::default());
        for seals in [seals(), Seals::default()] {
            seals.store(&storage, dir.path()).unwrap();
            assert_eq!(Seals::load(&storage, dir.path()).unwrap(), seals);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let text = seals().to_text();
        let path = Path::new("x");
        for at in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(Seals::parse(path, &bytes).is_err(), "bit {at}");
        }
        for len in 0..text.len() {
            assert!(Seals::parse(path, &text.as_bytes()[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_line_says_what_the_format_has() {
        let without = seal(0).to_string();
        assert_eq!(without, "0 1000 10 -1 -1 00000001 ffffffff 00000000");
        assert_eq!(seal(20).to_string(), "20 1000 30 77 23 00000001 ffffffff 00000000");
        for line in ["0 0 2147483648 -1 -1 0 0 0", "0 61 10 0 9 0 0 0", "5 61 5 -1 -1 0 0 0"] {
            assert!(Seal::parse(line).is_some(), "{line}");
        }
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        let refused = |lines: &[&str]| {
            let text = lines.join("\n") + "\n";
            let crc = crc32c::crc32c(text.as_bytes());
            let text = format!("{text}{CHECKSUM}{crc:08x}\n");
            let error = Seals::parse(Path::new("x"), text.as_bytes()).unwrap_err();
            (error.position as usize, error.expected, error.found)
        };
        let (line, other) = (seal(0).to_string(), seal(20).to_string());
        let title = TITLE.len() + 1;
        for (lines, position, expected, found) in [
            (&["no title"][..], 0, TITLE, "no title"),
            (&[&line], 0, TITLE, &line),
            (&[TITLE, TITLE], title, "a seal", TITLE),
            (&[TITLE, "1 2", &line], title, "a seal", "1 2"),
            (&[TITLE, &line, &other, ""], title + line.len() + other.len() + 2, "a seal", ""),
        ] {
            let found = format!("{found:?}");
            assert_eq!(refused(lines), (position, expected.to_owned(), found), "{lines:?}");
        }
    }

    #[test]
    fn seals_are_dropped_by_their_base_offset() {
        let bases = |seals: &Seals| seals.iter().map(|seal| seal.base_offset).collect::<Vec<_>>();
        let mut kept = seals();
        kept.remove(20);
        kept.remove(21);
        assert_eq!(bases(&kept), [0, 500]);
        kept.insert(seal(20));
        kept.retain(|base| base < 500);
        assert_eq!(bases(&kept), [0, 20]);
    }

    #[test]
    fn senseless_lines_are_refused() {
        for line in [
            "",
            "1 2 3",
            "-1 1000 9 -1 -1 0 0 0",
            "0 1000 4294967296 -1 -1 0 0 0",
            "0 1000 2147483649 -1 -1 0 0 0",
            "10 1000 9 -1 -1 0 0 0",
            "10 1000 20 5 9 0 0 0",
            "0 60 1 -1 -1 0 0 0",
            "0 1000 10 5 10 0 0 0",
            "0 1000 10 -1 -1 0 0 0 0",
            "0 1000 10 -1 -1 0 0 zz",
        ] {
            assert_eq!(Seal::parse(line), None, "{line}");
        }
    }
}
