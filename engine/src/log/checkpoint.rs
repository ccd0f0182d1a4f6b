//! Kafka's small files beside the logs: offset checkpoints, `partition.metadata`, the
//! clean-shutdown marker. Read strictly, written so that after a crash the old or the new is there.
//!
//! Kafka's checkpoints carry no checksum: a digit that became another digit passes here and is
//! found by `trunkline-state` ([`super::state`]).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::lines::{Line, Lines};
use crate::{
    error::{Corruption, IoError},
    io::Storage,
    limits::MAX_CHECKPOINT_BYTES,
    types::{Offset, TopicId, TopicName, TopicPartition},
};

/// Up to where each log of a folder was flushed (in a log dir's root).
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Where each log of a folder starts; Kafka leaves out those that start with their first segment.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// High watermark of each log of a folder.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Leader epochs and their start offsets (in a partition's folder).
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// The topic's id (in a partition's folder).
pub const PARTITION_METADATA: &str = "partition.metadata";
/// There exactly when the last user of a log dir closed it cleanly.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Content of an offset checkpoint.
pub type OffsetCheckpoint = BTreeMap<TopicPartition, Offset>;
/// Content of an offset checkpoint, with the line that said it.
pub type CheckpointLines = BTreeMap<TopicPartition, CheckpointLine>;

/// An offset and where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointLine {
    /// The offset.
    pub offset: Offset,
    /// Line of the file, from 1.
    pub line: u32,
    /// Byte position of the line.
    pub position: u64,
}

/// Why a checkpoint could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The bytes cannot be what was written.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// Reads an offset checkpoint; `None` where the file is absent.
pub fn read_offsets(
    storage: &Storage,
    path: &Path,
) -> Result<Option<OffsetCheckpoint>, CheckpointError> {
    let lines = read_offset_lines(storage, path)?;
    Ok(lines.map(|lines| lines.into_iter().map(|(name, line)| (name, line.offset)).collect()))
}

/// As [`read_offsets`], with line numbers for messages.
pub fn read_offset_lines(
    storage: &Storage,
    path: &Path,
) -> Result<Option<CheckpointLines>, CheckpointError> {
    match read(storage, path)? {
        Some(bytes) => Ok(Some(parse_offsets(path, &bytes)?)),
        None => Ok(None),
    }
}

/// Replaces an offset checkpoint durably.
///
/// # Panics
/// On a negative offset: no checked watermark is ever negative.
pub fn write_offsets(
    storage: &Storage,
    path: &Path,
    offsets: &OffsetCheckpoint,
) -> Result<(), IoError> {
    let entries = offsets.iter().map(|(name, offset)| {
        assert!(*offset >= 0, "offset {offset} of {name} must not be negative");
        format!("{} {} {offset}", name.topic, name.partition)
    });
    storage.replace(path, &format_entries(offsets.len(), entries))
}

/// Reads the topic id of the partition whose folder is `dir`; `None` where the file is absent.
pub fn read_partition_metadata(
    storage: &Storage,
    dir: &Path,
) -> Result<Option<TopicId>, CheckpointError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(mut bytes) = read(storage, &path)? else { return Ok(None) };
    // Kafka leaves the last newline out; the id's fixed length shows a file cut short.
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    let mut lines = Lines::new(&path, &bytes);
    let version = lines.expect("version")?;
    if version.text != "version: 0" {
        return Err(version.refuse("version", "`version: 0`").into());
    }
    let line = lines.expect("topic id")?;
    let id = line.text.strip_prefix("topic_id: ").and_then(|id| id.parse::<TopicId>().ok());
    let Some(id) = id.filter(|id| *id != TopicId::ZERO) else {
        return Err(line.refuse("topic id", "`topic_id: ` and 22 characters of base64url").into());
    };
    match lines.next()? {
        Some(extra) => Err(extra.refuse("topic id", "the end of the file").into()),
        None => Ok(Some(id)),
    }
}

/// Writes `partition.metadata` into the partition's folder `dir`, durably.
pub fn write_partition_metadata(storage: &Storage, dir: &Path, id: TopicId) -> Result<(), IoError> {
    let content = format!("version: 0\ntopic_id: {id}");
    storage.replace(&dir.join(PARTITION_METADATA), content.as_bytes())
}

/// Content of the clean-shutdown marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanShutdown {
    /// Epoch of the broker that closed the folder; −1 for none; `None` where the content is
    /// empty (Kafka before 3.7) or unreadable. The marker's presence is what counts.
    pub broker_epoch: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct CleanShutdownJson {
    version: i32,
    #[serde(rename = "brokerEpoch")]
    broker_epoch: i64,
}

/// Reads the clean-shutdown marker of log dir `dir`; `None` where there is none.
pub fn read_clean_shutdown(
    storage: &Storage,
    dir: &Path,
) -> Result<Option<CleanShutdown>, IoError> {
    let bytes = match storage.read(&dir.join(CLEAN_SHUTDOWN), MAX_CHECKPOINT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let content = serde_json::from_slice::<CleanShutdownJson>(&bytes).ok();
    Ok(Some(CleanShutdown { broker_epoch: content.map(|content| content.broker_epoch) }))
}

/// Writes the clean-shutdown marker of log dir `dir`, durably. The last act of a clean close: all
/// that it vouches for (logs, producer snapshots, checkpoints) must be durable before.
pub fn write_clean_shutdown(storage: &Storage, dir: &Path) -> Result<(), IoError> {
    storage.replace(&dir.join(CLEAN_SHUTDOWN), br#"{"version":0,"brokerEpoch":-1}"#)
}

/// Removes the clean-shutdown marker of log dir `dir`, durably. The first act of an open: a marker
/// that came back after a power cut would vouch for logs that were being written.
pub fn remove_clean_shutdown(storage: &Storage, dir: &Path) -> Result<(), IoError> {
    let path: PathBuf = dir.join(CLEAN_SHUTDOWN);
    storage.remove_file(&path)?;
    storage.sync_parent(&path)
}

/// The bytes of a small file; `None` where it is absent; too large a file is corrupt.
pub(super) fn read(storage: &Storage, path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    match storage.read(path, MAX_CHECKPOINT_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.source.kind() == ErrorKind::FileTooLarge => {
            let expected = format_args!("at most {MAX_CHECKPOINT_BYTES} bytes").to_string();
            Err(Corruption::new(path, 0, "file length", expected, error.source).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn parse_offsets(path: &Path, bytes: &[u8]) -> Result<CheckpointLines, Corruption> {
    let mut offsets = CheckpointLines::new();
    parse_entries(path, bytes, |line| {
        let [topic, partition, offset] = line.fields("entry")?;
        let name =
            TopicName::new(topic.text).map_err(|error| topic.refuse("topic", error.reason))?;
        let partition = partition.number("partition", i32::MAX as i64)? as u32;
        let offset = offset.number("offset", Offset::MAX)?;
        let entry = CheckpointLine { offset, line: line.number, position: line.position };
        match offsets.insert(TopicPartition::new(name, partition), entry) {
            Some(first) => {
                let expected = format_args!("no repetition of line {}", first.line).to_string();
                Err(line.refuse("partition", expected))
            }
            None => Ok(()),
        }
    })?;
    Ok(offsets)
}

/// Reads Kafka's checkpoint frame: version 0, the number of entries, the entries, a line each.
/// An empty file holds none: Kafka creates it so, before it first writes it.
pub(super) fn parse_entries<'a>(
    path: &'a Path,
    bytes: &'a [u8],
    mut each: impl FnMut(Line<'a>) -> Result<(), Corruption>,
) -> Result<(), Corruption> {
    let mut lines = Lines::new(path, bytes);
    let Some(version) = lines.next()? else { return Ok(()) };
    version.field().number("version", 0)?;
    let count_line = lines.expect("entry count")?;
    let count = count_line.field().number("entry count", i32::MAX as i64)?;
    let mut found = 0;
    while let Some(line) = lines.next()? {
        each(line)?;
        found += 1;
    }
    if found != count {
        return Err(count_line.refuse("entry count", found));
    }
    Ok(())
}

/// Writes Kafka's checkpoint frame around `entries`.
pub(super) fn format_entries(count: usize, entries: impl Iterator<Item = String>) -> Vec<u8> {
    let mut text = format!("0\n{count}\n");
    for entry in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{entry}");
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, number: u32) -> TopicPartition {
        TopicPartition::new(TopicName::new(topic).unwrap(), number)
    }

    fn refused(text: &str) -> (&'static str, u64) {
        let error = parse_offsets(Path::new("f"), text.as_bytes()).unwrap_err();
        (error.what, error.position)
    }

    #[test]
    fn kafkas_text_is_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        let path = dir.path().join(RECOVERY_POINTS);
        assert!(read_offsets(&storage, &path).unwrap().is_none());
        let offsets = OffsetCheckpoint::from([
            (partition("orders", 10), i64::MAX),
            (partition("orders", 2), 0),
            (partition("a.b_c-1", 0), 42),
        ]);
        write_offsets(&storage, &path, &offsets).unwrap();
        let text = "0\n3\na.b_c-1 0 42\norders 2 0\norders 10 9223372036854775807\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(read_offsets(&storage, &path).unwrap(), Some(offsets));
        let lines = read_offset_lines(&storage, &path).unwrap().unwrap();
        let expected = CheckpointLine { offset: 0, line: 4, position: 17 };
        assert_eq!(lines[&partition("orders", 2)], expected);
    }

    #[test]
    fn no_entries_and_the_empty_file_that_kafka_creates_are_read() {
        assert!(parse_offsets(Path::new("f"), b"0\n0\n").unwrap().is_empty());
        assert!(parse_offsets(Path::new("f"), b"").unwrap().is_empty());
    }

    #[test]
    fn each_fault_is_named_with_its_byte() {
        assert_eq!(refused("1\n0\n"), ("version", 0));
        assert_eq!(refused("0\n"), ("entry count", 2));
        assert_eq!(refused("0\nx\n"), ("entry count", 2));
        assert_eq!(refused("0\n2\na 0 1\n"), ("entry count", 2));
        assert_eq!(refused("0\n1\na 0 1\nb 0 1\n"), ("entry count", 2));
        assert_eq!(refused("0\n1\na 0\n"), ("entry", 4));
        assert_eq!(refused("0\n1\na  0 1\n"), ("entry", 4));
        assert_eq!(refused("0\n1\na/b 0 1\n"), ("topic", 4));
        assert_eq!(refused("0\n1\na 2147483648 1\n"), ("partition", 6));
        assert_eq!(refused("0\n1\na 0 -1\n"), ("offset", 8));
        assert_eq!(refused("0\n2\na 0 1\na 0 2\n"), ("partition", 10));
        assert_eq!(refused("0\n1\na 0 12"), ("line end", 10));
        assert_eq!(refused("0\n1\na 0 1\r\n"), ("text", 9));
    }

    #[test]
    fn a_flipped_bit_changes_at_most_one_entry_and_never_their_number() {
        let whole = b"0\n3\na 0 17\nb 12 903\nb 13 0\n";
        let before = parse_offsets(Path::new("f"), whole).unwrap();
        let mut refused = 0;
        for bit in 0..whole.len() * 8 {
            let mut bytes = *whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            match parse_offsets(Path::new("f"), &bytes) {
                Ok(after) => {
                    let same = after.iter().filter(|(name, line)| before.get(name) == Some(line));
                    assert_eq!((after.len(), same.count()), (3, 2), "bit {bit}");
                }
                Err(error) => {
                    assert!(error.position <= whole.len() as u64);
                    refused += 1;
                }
            }
        }
        assert!(refused > whole.len() * 4, "{refused} of {} refused", whole.len() * 8);
    }

    #[test]
    fn too_large_a_file_is_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(MAX_CHECKPOINT_BYTES + 1).unwrap();
        let error = read_offsets(&Storage::portable(), &path).unwrap_err();
        assert!(matches!(error, CheckpointError::Corrupt(c) if c.what == "file length"));
    }

    #[test]
    fn partition_metadata_has_kafkas_form() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        assert!(read_partition_metadata(&storage, dir.path()).unwrap().is_none());
        let id: TopicId = "AAECAwQFBgcICQoLDA0ODw".parse().unwrap();
        write_partition_metadata(&storage, dir.path(), id).unwrap();
        let path = dir.path().join(PARTITION_METADATA);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(read_partition_metadata(&storage, dir.path()).unwrap(), Some(id));
        std::fs::write(&path, text + "\n").unwrap();
        assert_eq!(read_partition_metadata(&storage, dir.path()).unwrap(), Some(id));
        let bad = [
            ("", "version"),
            ("version: 1\ntopic_id: AAECAwQFBgcICQoLDA0ODw", "version"),
            ("version: 0", "topic id"),
            ("version: 0\ntopic_id: AAECAwQFBgcICQoLDA0OD", "topic id"),
            ("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", "topic id"),
            ("version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw\nmore", "topic id"),
        ];
        for (text, what) in bad {
            std::fs::write(&path, text).unwrap();
            match read_partition_metadata(&storage, dir.path()) {
                Err(CheckpointError::Corrupt(corruption)) => assert_eq!(corruption.what, what),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_clean_shutdown_marker_counts_by_its_presence() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        let read = || read_clean_shutdown(&storage, dir.path()).unwrap();
        assert_eq!(read(), None);
        write_clean_shutdown(&storage, dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(text, r#"{"version":0,"brokerEpoch":-1}"#);
        assert_eq!(read(), Some(CleanShutdown { broker_epoch: Some(-1) }));
        std::fs::write(dir.path().join(CLEAN_SHUTDOWN), "").unwrap();
        assert_eq!(read(), Some(CleanShutdown { broker_epoch: None }));
        remove_clean_shutdown(&storage, dir.path()).unwrap();
        remove_clean_shutdown(&storage, dir.path()).unwrap();
        assert_eq!(read(), None);
    }
}
