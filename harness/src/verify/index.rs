//! The two lookup indexes of a segment, held against its batches while these go by. An entry counts
//! as confirmed where a batch says the same; which batches have entries is the writer's choice.

use std::path::{Path, PathBuf};

use trunkline::{
    io::Storage,
    limits::{OFFSET_INDEX_ENTRY, TIME_INDEX_ENTRY},
    record::BatchHeader,
    segment::{Suffix, file_path},
    types::Offset,
};

use super::fault::Findings;

/// Largest index file that is read, in bytes. Kafka's are at most 10 MiB by default.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// What an index says of one batch.
trait Entry: Copy {
    /// Bytes in the file.
    const BYTES: usize;
    /// Reads an entry.
    fn read(bytes: &[u8], base_offset: Offset) -> Self;
    /// What both the entry and its batch know, by which they are brought together: it rises with
    /// the batches.
    fn key(self) -> i64;
    /// The other field. It rises with the entries too.
    fn value(self) -> i64;
}

#[derive(Debug, Clone, Copy)]
struct OffsetEntry {
    last_offset: Offset,
    position: i64,
}

impl Entry for OffsetEntry {
    const BYTES: usize = OFFSET_INDEX_ENTRY;

    fn read(bytes: &[u8], base_offset: Offset) -> Self {
        let word = |at: usize| i64::from(i32::from_be_bytes(field(bytes, at)));
        Self { last_offset: base_offset.saturating_add(word(0)), position: word(4) }
    }

    fn key(self) -> i64 {
        self.position
    }

    fn value(self) -> i64 {
        self.last_offset
    }
}

#[derive(Debug, Clone, Copy)]
struct TimeEntry {
    timestamp: i64,
    offset: Offset,
}

impl Entry for TimeEntry {
    const BYTES: usize = TIME_INDEX_ENTRY;

    fn read(bytes: &[u8], base_offset: Offset) -> Self {
        let relative = i64::from(i32::from_be_bytes(field(bytes, 8)));
        let timestamp = i64::from_be_bytes(field(bytes, 0));
        Self { timestamp, offset: base_offset.saturating_add(relative) }
    }

    fn key(self) -> i64 {
        self.offset
    }

    fn value(self) -> i64 {
        self.timestamp
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// An index file's entries in the order in which the batches will confirm them.
#[derive(Debug)]
struct Entries<E> {
    path: PathBuf,
    /// Number in the file, and entry, by rising key.
    waiting: Vec<(usize, E)>,
    next: usize,
    /// Those that a batch confirmed, by number.
    confirmed: Vec<(usize, E)>,
}

/// Zeros behind the entries of an index that is in use: Kafka reserves the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZeroTail {
    /// The folder is in use, or was not closed.
    Reserved,
    /// The file should have been trimmed.
    Fault,
}

impl<E: Entry> Entries<E> {
    /// The entries of a file, and the file's bytes.
    fn read(
        path: PathBuf,
        bytes: &[u8],
        base_offset: Offset,
        tail: ZeroTail,
        findings: &mut Findings,
    ) -> Self {
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % E::BYTES);
        if !rest.is_empty() {
            let expected = format!("a multiple of {} bytes", E::BYTES);
            findings.refuse(&path, whole.len() as u64, "file length", expected, bytes.len());
        }
        let zeros = whole.rchunks_exact(E::BYTES).take_while(|entry| is_zero(entry)).count();
        let mut count = whole.len() / E::BYTES - zeros;
        // A time index may begin with a batch of offset 0 and time 0.
        if count == 0 && zeros == 1 && E::BYTES == TIME_INDEX_ENTRY {
            count = 1;
        } else if zeros > 0 && tail == ZeroTail::Fault {
            let found = format!("{} zero bytes", zeros * E::BYTES);
            findings.refuse(&path, (count * E::BYTES) as u64, "zero tail", "the end", found);
        }
        let entries = whole.chunks_exact(E::BYTES).take(count);
        let mut waiting: Vec<_> =
            entries.map(|entry| E::read(entry, base_offset)).enumerate().collect();
        waiting.sort_by_key(|(_, entry)| entry.key());
        Self { path, waiting, next: 0, confirmed: Vec::new() }
    }

    /// Takes the entries up to `key`, where a batch stands: those before name no batch, those at it
    /// are confirmed where their value is what the batch says (`None`: nobody knows).
    fn pass(&mut self, key: i64, value: Option<i64>, names: (&str, &str), findings: &mut Findings) {
        while let Some((number, entry)) = self.waiting.get(self.next).copied()
            && entry.key() <= key
        {
            self.next += 1;
            if entry.key() < key {
                self.unnamed(number, entry, names.0, findings);
            } else if value.is_some_and(|value| value != entry.value()) {
                let at = (number * E::BYTES) as u64;
                let expected = value.unwrap_or_default();
                findings.refuse(&self.path, at, names.1, expected, entry.value());
            } else {
                self.confirmed.push((number, entry));
            }
        }
    }

    /// Passes over entries up to `key` that no batch can confirm or contradict: the log is damaged.
    fn pass_unknown(&mut self, key: i64) {
        while self.waiting.get(self.next).is_some_and(|(_, entry)| entry.key() < key) {
            self.next += 1;
        }
    }

    fn unnamed(&self, number: usize, entry: E, what: &str, findings: &mut Findings) {
        let at = (number * E::BYTES) as u64;
        findings.refuse(&self.path, at, what, "that of a batch of the segment", entry.key());
    }

    /// The batches are through. What no batch confirmed names none; what they did must rise.
    fn finish(mut self, names: (&str, &str), findings: &mut Findings) {
        while let Some((number, entry)) = self.waiting.get(self.next).copied() {
            self.next += 1;
            self.unnamed(number, entry, names.0, findings);
        }
        self.confirmed.sort_by_key(|(number, _)| *number);
        for pair in self.confirmed.windows(2) {
            let [(_, before), (number, entry)] = pair else { continue };
            if entry.key() <= before.key() || entry.value() <= before.value() {
                let at = (number * E::BYTES) as u64;
                let expected = format!("more than {} and {}", before.key(), before.value());
                let found = format!("{} and {}", entry.key(), entry.value());
                findings.refuse(&self.path, at, "order of entries", expected, found);
            }
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

const OFFSET_NAMES: (&str, &str) = ("position of an entry", "last offset of the batch");
const TIME_NAMES: (&str, &str) = ("offset of an entry", "largest timestamp up to the offset");

/// Both indexes of a segment.
#[derive(Debug)]
pub(super) struct Indexes {
    offsets: Option<Entries<OffsetEntry>>,
    times: Option<Entries<TimeEntry>>,
    /// CRC32C of `.index` and `.timeindex`, where there are such files.
    pub(super) checksums: [Option<u32>; 2],
    max_timestamp: i64,
    /// The last offset of the earliest batch that holds it.
    offset_of_max: Offset,
    /// The log is damaged: the largest timestamp is not known.
    is_uncertain: bool,
}

impl Indexes {
    /// Reads the index files of the segment at `base_offset`, those that there are.
    pub(super) fn read(
        storage: &Storage,
        dir: &Path,
        base_offset: Offset,
        tail: ZeroTail,
        findings: &mut Findings,
    ) -> Self {
        let mut checksums = [None; 2];
        let file = |suffix, checksum: &mut Option<u32>, findings: &mut Findings| {
            let path = file_path(dir, base_offset, suffix);
            match storage.read(&path, MAX_INDEX_BYTES) {
                Ok(bytes) => {
                    *checksum = Some(crc32c::crc32c(&bytes));
                    Some((path, bytes))
                }
                Err(error) if error.is_not_found() => None,
                Err(error) => {
                    findings.fault(error);
                    None
                }
            }
        };
        let [index_crc, timeindex_crc] = &mut checksums;
        let index = file(Suffix::Index, index_crc, findings);
        let timeindex = file(Suffix::TimeIndex, timeindex_crc, findings);
        Self {
            offsets: index
                .map(|(path, bytes)| Entries::read(path, &bytes, base_offset, tail, findings)),
            times: timeindex
                .map(|(path, bytes)| Entries::read(path, &bytes, base_offset, tail, findings)),
            checksums,
            max_timestamp: -1,
            offset_of_max: -1,
            is_uncertain: false,
        }
    }

    /// Largest timestamp of the batches so far and the last offset of the earliest batch that holds
    /// it; `None` where there is none, or a part of the log is damaged.
    pub(super) fn largest(&self) -> Option<(i64, Offset)> {
        (self.max_timestamp >= 0 && !self.is_uncertain)
            .then_some((self.max_timestamp, self.offset_of_max))
    }

    /// A batch goes by.
    pub(super) fn batch(&mut self, position: u64, header: &BatchHeader, findings: &mut Findings) {
        if header.max_timestamp > self.max_timestamp {
            (self.max_timestamp, self.offset_of_max) = (header.max_timestamp, header.last_offset());
        }
        if let Some(offsets) = &mut self.offsets {
            let last_offset = header.last_offset();
            offsets.pass(position as i64, Some(last_offset), OFFSET_NAMES, findings);
        }
        if let Some(times) = &mut self.times {
            let largest = (!self.is_uncertain).then_some(self.max_timestamp);
            times.pass(header.last_offset(), largest, TIME_NAMES, findings);
        }
    }

    /// A part of the log is damaged: the next batch stands at `position` and begins at `offset`.
    pub(super) fn damaged(&mut self, position: u64, offset: Offset) {
        self.is_uncertain = true;
        if let Some(offsets) = &mut self.offsets {
            offsets.pass_unknown(position as i64);
        }
        if let Some(times) = &mut self.times {
            times.pass_unknown(offset);
        }
    }

    /// The segment's batches are through.
    pub(super) fn finish(&mut self, findings: &mut Findings) {
        if let Some(offsets) = self.offsets.take() {
            offsets.finish(OFFSET_NAMES, findings);
        }
        if let Some(times) = self.times.take() {
            times.finish(TIME_NAMES, findings);
        }
    }
}
