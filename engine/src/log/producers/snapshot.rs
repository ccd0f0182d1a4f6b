//! Producer snapshots, `<end offset>.snapshot`, in Kafka's version-1 bytes
//! (Kafka: `ProducerStateManager.readSnapshot`).
//!
//! | at | field | | at | of an entry, 46 bytes |
//! |---|---|---|---|---|
//! | 0 | version i16 = 1 | | 0 | producer id i64 |
//! | 2 | CRC32C u32 over byte 6 to the end | | 8 | epoch i16 |
//! | 6 | entry count i32 | | 10 | last sequence i32, −1 none |
//! | 10 | entries | | 14 | last offset i64, −1 none |
//! | | | | 22 | last offset less first of that batch, i32 |
//! | | | | 26 | last timestamp i64 |
//! | | | | 34 | coordinator epoch i32, −1 none |
//! | | | | 38 | open transaction's first offset i64, −1 none |
//!
//! Of the five-batch window only the last batch is kept: after a restart older repetitions are out
//! of order, not recognised. Its timestamp shares a field with the last marker's, which overwrites
//! it. Ended transactions above the high watermark are not kept at all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{BatchMeta, ProducerEntry, ProducerStates, Window, transactions::Transactions};
use crate::{
    error::{Corruption, IoError},
    io::Storage,
    log::checkpoint::{CheckpointError, read},
    types::Offset,
};

const VERSION: i16 = 1;
const HEADER: usize = 10;
const ENTRY: usize = 46;
const CRC_FROM: usize = 6;
const SUFFIX: &str = ".snapshot";

impl ProducerStates {
    /// Writes `<end offset>.snapshot` into the partition's folder `dir`, durably. Gives its offset.
    pub fn store(&self, storage: &Storage, dir: &Path) -> Result<Offset, IoError> {
        storage.replace(&snapshot_path(dir, self.end_offset), &self.to_bytes())?;
        Ok(self.end_offset)
    }

    /// Reads the snapshot of `offset` from the partition's folder `dir`; `None` where it is absent.
    /// `now_ms` is the wall clock, from which idle producers are counted.
    pub fn load(
        storage: &Storage,
        dir: &Path,
        offset: Offset,
        now_ms: i64,
    ) -> Result<Option<Self>, CheckpointError> {
        let path = snapshot_path(dir, offset);
        match read(storage, &path)? {
            Some(bytes) => Ok(Some(Self::parse(&path, &bytes, offset, now_ms)?)),
            None => Ok(None),
        }
    }

    /// The snapshot's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.len() * ENTRY);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend((self.len() as i32).to_be_bytes());
        for entry in self.iter() {
            let last = entry.window.last();
            bytes.extend(entry.producer_id.to_be_bytes());
            bytes.extend(entry.epoch.to_be_bytes());
            bytes.extend(entry.last_sequence().to_be_bytes());
            bytes.extend(last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
            bytes.extend(last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
            bytes.extend(entry.last_timestamp.to_be_bytes());
            bytes.extend(entry.coordinator_epoch.to_be_bytes());
            bytes.extend(entry.transaction_start.unwrap_or(-1).to_be_bytes());
        }
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a snapshot's bytes; `path` is for messages, `end_offset` the one in its name.
    pub fn parse(
        path: &Path,
        bytes: &[u8],
        end_offset: Offset,
        now_ms: i64,
    ) -> Result<Self, Corruption> {
        let entries = parse_frame(path, bytes)?;
        let mut states = Self::new(end_offset);
        let mut transactions = BTreeMap::new();
        for (number, bytes) in entries.iter().enumerate() {
            let at = (HEADER + number * ENTRY) as u64;
            let entry = parse_entry(path, at, bytes, end_offset, now_ms)?;
            let refuse = |position: u64, what, found: i64| {
                Err(Corruption::new(path, at + position, what, "no repetition", found))
            };
            let id = entry.producer_id;
            if states.producers.insert(id, entry).is_some() {
                return refuse(0, "producer id", id);
            }
            if let Some(start) = entry.transaction_start
                && transactions.insert(start, id).is_some()
            {
                return refuse(38, "transaction start", start);
            }
        }
        states.transactions = Transactions::resumed(transactions);
        Ok(states)
    }
}

fn parse_frame<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [[u8; ENTRY]], Corruption> {
    let refuse = |position, what, expected: String, found: i64| {
        Err(Corruption::new(path, position, what, expected, found))
    };
    let length = bytes.len() as i64;
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return refuse(0, "file length", format!("at least {HEADER} bytes"), length);
    };
    let version = i16::from_be_bytes(field(header, 0));
    if version != VERSION {
        return refuse(0, "version", VERSION.to_string(), version as i64);
    }
    let crc = u32::from_be_bytes(field(header, 2));
    let computed = crc32c::crc32c(&bytes[CRC_FROM..]);
    if crc != computed {
        return refuse(2, "crc", computed.to_string(), crc as i64);
    }
    let count = i32::from_be_bytes(field(header, 6));
    let (entries, rest) = bytes[HEADER..].as_chunks::<ENTRY>();
    if !rest.is_empty() || entries.len() as i64 != count as i64 {
        let expected = HEADER as i64 + count as i64 * ENTRY as i64;
        return refuse(6, "file length", format!("{expected} bytes for {count} entries"), length);
    }
    Ok(entries)
}

fn parse_entry(
    path: &Path,
    at: u64,
    bytes: &[u8; ENTRY],
    end_offset: Offset,
    now_ms: i64,
) -> Result<ProducerEntry, Corruption> {
    let refuse = |position: u64, what, expected: String, found: i64| {
        Err(Corruption::new(path, at + position, what, expected, found))
    };
    let last_timestamp = i64::from_be_bytes(field(bytes, 26));
    let mut entry = ProducerEntry {
        producer_id: i64::from_be_bytes(field(bytes, 0)),
        epoch: i16::from_be_bytes(field(bytes, 8)),
        coordinator_epoch: i32::from_be_bytes(field(bytes, 34)),
        last_timestamp,
        transaction_start: Some(i64::from_be_bytes(field(bytes, 38))).filter(|first| *first >= 0),
        window: Window::default(),
        seen_ms: now_ms,
    };
    let last = BatchMeta {
        last_sequence: i32::from_be_bytes(field(bytes, 10)),
        last_offset: i64::from_be_bytes(field(bytes, 14)),
        offset_delta: i32::from_be_bytes(field(bytes, 22)),
        timestamp: last_timestamp,
    };
    if entry.producer_id < 0 {
        return refuse(0, "producer id", "at least 0".into(), entry.producer_id);
    }
    if last.last_sequence < -1 {
        return refuse(10, "last sequence", "at least -1".into(), last.last_sequence as i64);
    }
    if !(-1..end_offset).contains(&last.last_offset) {
        let expected = format!("-1 to {}", end_offset - 1);
        return refuse(14, "last offset", expected, last.last_offset);
    }
    if last.last_offset >= 0 {
        if !(0..=last.last_offset).contains(&(last.offset_delta as i64)) {
            let expected = format!("0 to {}", last.last_offset);
            return refuse(22, "offset delta", expected, last.offset_delta as i64);
        }
        entry.window.push(last);
    }
    match entry.transaction_start {
        Some(start) if start >= end_offset => {
            refuse(38, "transaction start", format!("less than {end_offset}"), start)
        }
        _ => Ok(entry),
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// Where the snapshot of `offset` stands in the partition's folder `dir`.
pub fn snapshot_path(dir: &Path, offset: Offset) -> PathBuf {
    dir.join(format!("{offset:020}{SUFFIX}"))
}

/// The offsets of the snapshots in the partition's folder `dir`, rising.
pub fn snapshot_offsets(storage: &Storage, dir: &Path) -> Result<Vec<Offset>, IoError> {
    let entries = storage.list_names(dir, |_| false)?;
    let offset = |name: &str| {
        let digits = name.strip_suffix(SUFFIX)?;
        let offset = digits.parse::<Offset>().ok()?;
        // One spelling only, or two files would be one snapshot.
        (offset >= 0 && format!("{offset:020}") == digits).then_some(offset)
    };
    Ok(entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| offset(entry.name.to_str()?))
        .collect())
}

/// The newest readable snapshot from `log_start` up to `log_end`, both included, and those that
/// were found corrupt on the way. Without one: no producers, as of `log_start`. The caller replays
/// the batches from [`ProducerStates::end_offset`] on.
///
/// Kafka passes a snapshot at the log start itself over; it says all that can be known of batches
/// before the start, so it is taken here: deleting records forgets no producer.
pub fn load_newest_snapshot(
    storage: &Storage,
    dir: &Path,
    log_start: Offset,
    log_end: Offset,
    now_ms: i64,
) -> Result<(ProducerStates, Vec<Corruption>), IoError> {
    let mut corrupt = Vec::new();
    let offsets = snapshot_offsets(storage, dir)?;
    let in_range = |offset: &&Offset| (log_start..=log_end).contains(*offset);
    for offset in offsets.iter().rev().filter(in_range) {
        match ProducerStates::load(storage, dir, *offset, now_ms) {
            Ok(Some(states)) => return Ok((states, corrupt)),
            Ok(None) => {}
            Err(CheckpointError::Corrupt(corruption)) => corrupt.push(corruption),
            Err(CheckpointError::Io(error)) => return Err(error),
        }
    }
    Ok((ProducerStates::new(log_start), corrupt))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Producer 4660 in epoch 2 with a batch of sequences 6 to 8 at offsets 97 to 99 and an open
    /// transaction since 90; producer 4661 after a marker alone.
    const GOLDEN: [u8; HEADER + 2 * ENTRY] = [
        0, 1, 0x9A, 0x08, 0xD9, 0x99, 0, 0, 0, 2, // version, crc, count
        0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 2, 0, 0, 0, 8, // id, epoch, last sequence
        0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 2, // last offset, delta
        0, 0, 1, 0x8C, 0xC2, 0x51, 0xF4, 0, // timestamp
        0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 90, // coordinator epoch, transaction start
        0, 0, 0, 0, 0, 0, 0x12, 0x35, 0, 3, 0xFF, 0xFF, 0xFF, 0xFF, //
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, //
        0, 0, 1, 0x8C, 0xC2, 0x51, 0xF4, 1, //
        0, 0, 0, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, //
    ];

    fn parse(bytes: &[u8]) -> Result<ProducerStates, Corruption> {
        ProducerStates::parse(Path::new("f"), bytes, 100, 1_000)
    }

    fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn a_snapshot_has_kafkas_bytes() {
        let states = parse(&GOLDEN).unwrap();
        let first = states.get(4660).unwrap();
        let last = BatchMeta {
            last_sequence: 8,
            last_offset: 99,
            offset_delta: 2,
            timestamp: 1_704_067_200_000,
        };
        assert_eq!(first.window.iter().collect::<Vec<_>>(), [&last]);
        assert_eq!((first.epoch, first.coordinator_epoch), (2, 7));
        assert_eq!(first.transaction_start, Some(90));
        let second = states.get(4661).unwrap();
        assert_eq!((second.epoch, second.last_sequence(), second.window.last()), (3, -1, None));
        assert_eq!(second.transaction_start, None);
        assert_eq!((states.end_offset(), states.first_unstable_offset()), (100, Some(90)));
        assert_eq!(states.to_bytes(), GOLDEN);
    }

    #[test]
    fn each_flipped_bit_and_each_cut_is_found() {
        for bit in 0..GOLDEN.len() * 8 {
            let mut bytes = GOLDEN;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = parse(&bytes).expect_err("a flipped bit passes");
            let what = if bit < 16 { "version" } else { "crc" };
            assert_eq!(error.what, what, "bit {bit}");
        }
        for length in 0..GOLDEN.len() {
            assert!(parse(&GOLDEN[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(parse(&[&GOLDEN[..], &[0]].concat()).is_err());
    }

    #[test]
    fn content_that_is_wrong_under_a_right_checksum_is_named_with_its_byte() {
        let cases = [
            (9, 3, "file length", 6),
            (6, 0x80, "file length", 6),
            (10, 0x80, "producer id", 10),
            (20, 0x80, "last sequence", 20),
            (31, 100, "last offset", 24),
            (24, 0x80, "last offset", 24),
            (35, 100, "offset delta", 32),
            (32, 0x80, "offset delta", 32),
            (55, 100, "transaction start", 48),
            (63, 0x34, "producer id", 56),
        ];
        for (at, byte, what, position) in cases {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] = byte;
            let error = parse(&with_crc(bytes)).unwrap_err();
            assert_eq!((error.what, error.position), (what, position), "byte {at}");
            if at == 9 {
                assert_eq!(error.expected, "148 bytes for 3 entries", "10, and 46 an entry");
            }
        }
        let mut bytes = GOLDEN.to_vec();
        bytes[94..102].copy_from_slice(&90_i64.to_be_bytes());
        let error = parse(&with_crc(bytes)).unwrap_err();
        assert_eq!((error.what, error.position), ("transaction start", 94));
    }

    #[test]
    fn the_newest_readable_snapshot_in_range_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        for offset in [100, 200, 300, 400] {
            let mut states = parse(&GOLDEN).unwrap();
            states.end_offset = offset;
            assert_eq!(states.store(&storage, dir.path()).unwrap(), offset);
        }
        assert!(dir.path().join("00000000000000000100.snapshot").is_file());
        for other in ["7.snapshot", "00000000000000000500.snapshot.deleted", "x.snapshot"] {
            std::fs::write(dir.path().join(other), "").unwrap();
        }
        std::fs::write(dir.path().join("00000000000000000300.snapshot"), "rot").unwrap();
        assert_eq!(snapshot_offsets(&storage, dir.path()).unwrap(), [100, 200, 300, 400]);

        let newest = |log_start, log_end| {
            load_newest_snapshot(&storage, dir.path(), log_start, log_end, 0).unwrap()
        };
        let (states, corrupt) = newest(0, 399);
        assert_eq!((states.end_offset(), states.len(), corrupt.len()), (200, 2, 1));
        assert!(corrupt[0].path.ends_with("00000000000000000300.snapshot"));
        assert_eq!(newest(400, 400).0.end_offset(), 400);
        let (states, corrupt) = newest(201, 399);
        assert_eq!((states.end_offset(), states.len(), corrupt.len()), (201, 0, 1));
        let absent = ProducerStates::load(&storage, dir.path(), 150, 0).unwrap();
        assert!(absent.is_none());
    }
}
