//! The small files of a segment, an entry a line, as `DumpLogSegments` prints them.

use std::{fmt::Write as _, path::Path};

use trunkline::{
    error::{Corruption, IoError},
    io::Storage,
    limits::{OFFSET_INDEX_ENTRY, TIME_INDEX_ENTRY},
    log::producers::ProducerStates,
    segment::{FileName, Suffix, TxnIndex},
};

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Why a file could not be printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// It is damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

// Writing to a string cannot fail, here and below.

/// The lines of an `.index`, `.timeindex`, `.txnindex` or `.snapshot` file.
pub(super) fn lines(storage: &Storage, path: &Path, name: FileName) -> Result<String, IndexError> {
    let bytes = storage.read(path, MAX_BYTES)?;
    let mut text = String::new();
    match name.suffix {
        Suffix::Index if bytes.is_empty() => {
            let _ = writeln!(text, "{} is empty.", path.display());
        }
        Suffix::Index => offsets(&bytes, name.base_offset, &mut text),
        Suffix::TimeIndex => times(&bytes, name.base_offset, &mut text),
        Suffix::TxnIndex => transactions(path, &bytes, &mut text)?,
        Suffix::Snapshot => producers(path, &bytes, name.base_offset, &mut text)?,
        Suffix::Log => {}
    }
    Ok(text)
}

/// The entries as they are, right or wrong, up to the zeros that fill a file in use.
fn offsets(bytes: &[u8], base_offset: i64, text: &mut String) {
    let (entries, _) = bytes.as_chunks::<OFFSET_INDEX_ENTRY>();
    for entry in entries.iter().take_while(|entry| **entry != [0; OFFSET_INDEX_ENTRY]) {
        let word = u64::from_be_bytes(*entry);
        let offset = base_offset.saturating_add(i64::from((word >> 32) as i32));
        let _ = writeln!(text, "offset: {offset} position: {}", word as i32);
    }
}

fn times(bytes: &[u8], base_offset: i64, text: &mut String) {
    let (entries, _) = bytes.as_chunks::<TIME_INDEX_ENTRY>();
    let zeros = entries.iter().rev().take_while(|entry| **entry == [0; TIME_INDEX_ENTRY]).count();
    for [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3] in &entries[..entries.len() - zeros] {
        let timestamp = i64::from_be_bytes([*t0, *t1, *t2, *t3, *t4, *t5, *t6, *t7]);
        let offset = i64::from(i32::from_be_bytes([*o0, *o1, *o2, *o3]));
        let offset = base_offset.saturating_add(offset);
        let _ = writeln!(text, "timestamp: {timestamp} offset: {offset}");
    }
}

fn transactions(path: &Path, bytes: &[u8], text: &mut String) -> Result<(), Corruption> {
    for entry in TxnIndex::decode(path, 0, bytes)?.iter() {
        let _ = writeln!(
            text,
            "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset
        );
    }
    Ok(())
}

fn producers(path: &Path, bytes: &[u8], offset: i64, text: &mut String) -> Result<(), Corruption> {
    for entry in ProducerStates::parse(path, bytes, offset, 0)?.iter() {
        let start = entry
            .transaction_start
            .map_or("OptionalLong.empty".into(), |start| format!("OptionalLong[{start}]"));
        let _ = write!(
            text,
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {start} \
             lastTimestamp: {} ",
            entry.producer_id, entry.epoch, entry.coordinator_epoch, entry.last_timestamp
        );
        if let Some(last) = entry.window.last() {
            let _ = write!(
                text,
                "firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} \
                 timestamp: {}",
                last.first_sequence(),
                last.last_sequence,
                last.last_offset,
                last.offset_delta,
                last.timestamp
            );
        }
        text.push('\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_that_wrapped_began_before_zero() {
        let mut entry = 7_i64.to_be_bytes().to_vec(); // producer id
        entry.extend(0_i16.to_be_bytes()); // epoch
        entry.extend(2_i32.to_be_bytes()); // last sequence
        entry.extend(105_i64.to_be_bytes()); // last offset
        entry.extend(5_i32.to_be_bytes()); // offset delta
        entry.extend(1_000_i64.to_be_bytes()); // timestamp
        entry.extend((-1_i32).to_be_bytes()); // coordinator epoch
        entry.extend((-1_i64).to_be_bytes()); // transaction's first offset
        let counted = [&1_i32.to_be_bytes()[..], &entry].concat();
        let crc = crc32c::crc32c(&counted).to_be_bytes();
        let bytes = [&1_i16.to_be_bytes()[..], &crc, &counted].concat();
        let mut text = String::new();
        producers(Path::new("00000000000000000106.snapshot"), &bytes, 106, &mut text).unwrap();
        let expected = "firstSequence: 2147483645 lastSequence: 2 lastOffset: 105 offsetDelta: 5";
        assert!(text.contains(expected), "{text}");
    }
}
