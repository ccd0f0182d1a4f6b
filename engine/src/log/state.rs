//! `trunkline-state`: what Kafka's checkpoints of a log dir lack, with a checksum over it, in a
//! file of our own in the log dir's root, which Kafka ignores. To lose it costs a slower recovery
//! and a weaker diagnosis, never data.
//!
//! ```text
//! trunkline-state 1
//! closed clean
//! partitions 1
//! orders 0 17 90 100 100 100 1a2b3c4d
//! crc32c 5e6f7a8b
//! ```
//! A partition's line: topic, partition, log start, recovery point, durable end, high watermark,
//! log end, CRC32C of its `leader-epoch-checkpoint` (`-` where it has none). The last line covers
//! every byte before it.
//!
//! [`start_of`] says which of two witnesses is believed, this file or Kafka's checkpoints. It relies
//! on the order of the writes: an open removes the clean-shutdown marker, then stores `open`; a
//! close stores Kafka's checkpoints, then `clean`, then the marker. So a marker beside `open` was
//! left by another program.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{
    checkpoint::{
        CheckpointError, CheckpointLines, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, read,
        read_clean_shutdown, read_offset_lines,
    },
    lines::{Line, Lines},
};
use crate::{
    error::{Corruption, IoError},
    io::Storage,
    types::{Offset, TopicName, TopicPartition},
};

/// Name of the file.
pub const STATE_FILE: &str = "trunkline-state";
const TITLE: &str = "trunkline-state 1";
const CRC_NAME: &str = "crc32c";

/// Whether the folder was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Closed cleanly: the numbers are the last ones.
    Clean,
    /// In use when the file was written: the numbers may be overtaken.
    Open,
}

/// What is known of one partition. At rest `log_start ≤ durable_end ≤ log_end`,
/// `log_start ≤ high_watermark ≤ log_end` and `recovery_point ≤ durable_end`; none is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// First offset that may be read.
    pub log_start: Offset,
    /// Below it the log and its indexes are durable and were checked.
    pub recovery_point: Offset,
    /// Below it the log is on the device.
    pub durable_end: Offset,
    /// Below it the log is replicated.
    pub high_watermark: Offset,
    /// Offset of the next record.
    pub log_end: Offset,
    /// Checksum of the leader-epoch checkpoint; `None` where there is none.
    pub epochs_crc: Option<u32>,
}

/// Content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirState {
    /// Whether the folder was closed.
    pub closed: Closed,
    /// Its partitions.
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
}

impl DirState {
    /// Reads the state of log dir `dir`; `None` where there is none.
    pub fn load(storage: &Storage, dir: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = dir.join(STATE_FILE);
        match read(storage, &path)? {
            Some(bytes) => Ok(Some(Self::parse(&path, &bytes)?)),
            None => Ok(None),
        }
    }

    /// Replaces the state of log dir `dir`, durably.
    pub fn store(&self, storage: &Storage, dir: &Path) -> Result<(), IoError> {
        storage.replace(&dir.join(STATE_FILE), &self.to_bytes())
    }

    /// The file's bytes.
    ///
    /// # Panics
    /// On a negative offset: no checked watermark is ever negative.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{TITLE}\n{}\n", closed_line(self.closed));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "partitions {}", self.partitions.len());
        for (name, state) in &self.partitions {
            let PartitionState { log_start, recovery_point, durable_end, .. } = *state;
            let PartitionState { high_watermark, log_end, epochs_crc, .. } = *state;
            let offsets = [log_start, recovery_point, durable_end, high_watermark, log_end];
            assert!(offsets.iter().all(|offset| *offset >= 0), "{name}: {state:?}");
            let _ = write!(text, "{} {}", name.topic, name.partition);
            for offset in offsets {
                let _ = write!(text, " {offset}");
            }
            let _ = match epochs_crc {
                Some(crc) => writeln!(text, " {crc:08x}"),
                None => writeln!(text, " -"),
            };
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "{CRC_NAME} {crc:08x}");
        text.into_bytes()
    }

    /// Reads the file's bytes; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Corruption> {
        let mut lines = Lines::new(path, checked_content(path, bytes)?);
        let title = lines.expect("title")?;
        if title.text != TITLE {
            return Err(title.refuse("title", TITLE));
        }
        let line = lines.expect("closed")?;
        let closed = [Closed::Clean, Closed::Open]
            .into_iter()
            .find(|closed| closed_line(*closed) == line.text)
            .ok_or_else(|| line.refuse("closed", "`closed clean` or `closed open`"))?;
        let [name, count] = lines.expect("partition count")?.fields("partition count")?;
        if name.text != "partitions" {
            return Err(name.refuse("partition count", "`partitions`"));
        }
        let expected = count.number("partition count", i32::MAX as i64)?;
        let mut partitions = BTreeMap::new();
        while let Some(line) = lines.next()? {
            let (name, state) = parse_partition(&line)?;
            if partitions.insert(name, state).is_some() {
                return Err(line.refuse("partition", "no repetition"));
            }
        }
        if partitions.len() as i64 != expected {
            return Err(count.refuse("partition count", partitions.len()));
        }
        Ok(Self { closed, partitions })
    }
}

fn closed_line(closed: Closed) -> &'static str {
    match closed {
        Closed::Clean => "closed clean",
        Closed::Open => "closed open",
    }
}

/// The bytes before the last line, whose checksum that line must hold.
fn checked_content<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], Corruption> {
    let end = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let start = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (content, last) = bytes.split_at(start);
    let computed = format!("{CRC_NAME} {:08x}\n", crc32c::crc32c(content));
    if last == computed.as_bytes() {
        return Ok(content);
    }
    let shown = &last[..last.len().min(100)];
    let found = format!("{:?}", String::from_utf8_lossy(shown));
    Err(Corruption::new(path, start as u64, "crc", format!("{computed:?}"), found))
}

fn parse_partition(line: &Line<'_>) -> Result<(TopicPartition, PartitionState), Corruption> {
    let [topic, partition, start, recovery, durable, high, end, epochs] =
        line.fields("partition")?;
    let name = TopicName::new(topic.text).map_err(|error| topic.refuse("topic", error.reason))?;
    let partition = partition.number("partition", i32::MAX as i64)? as u32;
    let state = PartitionState {
        log_start: start.number("log start", Offset::MAX)?,
        recovery_point: recovery.number("recovery point", Offset::MAX)?,
        durable_end: durable.number("durable end", Offset::MAX)?,
        high_watermark: high.number("high watermark", Offset::MAX)?,
        log_end: end.number("log end", Offset::MAX)?,
        epochs_crc: match epochs.text {
            "-" => None,
            _ => Some(epochs.hex("crc of the leader epochs")?),
        },
    };
    Ok((TopicPartition::new(name, partition), state))
}

/// What was found of one of Kafka's checkpoint files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Checkpoint {
    /// No such file.
    #[default]
    Missing,
    /// It could not be read, or was corrupt.
    Unreadable,
    /// Its content.
    Read(CheckpointLines),
}

impl Checkpoint {
    fn offset(&self, partition: &TopicPartition) -> Option<Offset> {
        match self {
            Self::Read(lines) => lines.get(partition).map(|line| line.offset),
            Self::Missing | Self::Unreadable => None,
        }
    }
}

/// All that a log dir's root says of its partitions, as it was found before anything was changed.
#[derive(Debug, Clone, Default)]
pub struct Witnesses {
    /// The log dir.
    pub dir: PathBuf,
    /// Our own file; `None` where it is missing or corrupt.
    pub state: Option<DirState>,
    /// Whether the clean-shutdown marker was there.
    pub clean_marker: bool,
    /// Kafka's `log-start-offset-checkpoint`.
    pub log_starts: Checkpoint,
    /// Kafka's `recovery-point-offset-checkpoint`.
    pub recovery_points: Checkpoint,
    /// Kafka's `replication-offset-checkpoint`.
    pub high_watermarks: Checkpoint,
}

impl Witnesses {
    /// Reads them from log dir `dir`, with what was wrong with those that could not be read: each
    /// alone can be done without.
    pub fn read(storage: &Storage, dir: &Path) -> Result<(Self, Vec<CheckpointError>), IoError> {
        let mut damaged = Vec::new();
        let state = DirState::load(storage, dir).unwrap_or_else(|error| {
            damaged.push(error);
            None
        });
        let mut checkpoint = |name: &str| match read_offset_lines(storage, &dir.join(name)) {
            Ok(Some(lines)) => Checkpoint::Read(lines),
            Ok(None) => Checkpoint::Missing,
            Err(error) => {
                damaged.push(error);
                Checkpoint::Unreadable
            }
        };
        let witnesses = Self {
            dir: dir.to_path_buf(),
            state,
            clean_marker: read_clean_shutdown(storage, dir)?.is_some(),
            log_starts: checkpoint(LOG_STARTS),
            recovery_points: checkpoint(RECOVERY_POINTS),
            high_watermarks: checkpoint(HIGH_WATERMARKS),
        };
        Ok((witnesses, damaged))
    }
}

/// What a partition's recovery starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartState {
    /// Whether the log is as a clean close left it, so that nothing need be recovered.
    pub clean: bool,
    /// First offset that may be read; `None`: where the first segment starts.
    pub log_start: Option<Offset>,
    /// From where the log is to be checked when it is not `clean`.
    pub recovery_point: Offset,
    /// The high watermark, where one is known.
    pub high_watermark: Option<Offset>,
    /// Our own numbers, where `trunkline-state` has them and speaks for the folder as it is. Unless
    /// `clean` they may be overtaken: durable end and log end are then lower bounds.
    pub state: Option<PartitionState>,
}

/// Kafka's log start stands above ours in a folder that we closed: a flipped bit, or another
/// program's deletion. To believe it could hide records, not to could bring deleted ones back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} line {line} (byte {position}): log start of {partition}: expected {expected} as in \
     {STATE_FILE}, found {found}. If another program moved the log start, remove {STATE_FILE} from \
     that folder and open it again; if not, write {expected} into the line",
    path.display()
)]
pub struct LogStartConflict {
    /// The `log-start-offset-checkpoint`.
    pub path: PathBuf,
    /// The partition.
    pub partition: TopicPartition,
    /// Its line, from 1.
    pub line: u32,
    /// Byte position of the line.
    pub position: u64,
    /// Our log start.
    pub expected: Offset,
    /// The file's.
    pub found: Offset,
}

/// Which numbers a partition's recovery starts from.
///
/// * Ours are believed where the file speaks for the folder as it is and knows the partition.
///   Kafka's log start below ours is a crash between two writes, or a flipped bit; above ours it is
///   one of both where the folder was in use (a deletion that was never answered), and a
///   [`LogStartConflict`] where it was closed.
/// * The recovery point is the lower of the two: to check too much costs only time. Where a closed
///   folder's two differ, somebody else appended or truncated, and it is not `clean`.
/// * Without ours Kafka's are believed: a recovery point that is not known is 0, and a log start
///   that is not named is the first segment's (Kafka names only those that differ from it).
pub fn start_of(
    witnesses: &Witnesses,
    partition: &TopicPartition,
) -> Result<StartState, LogStartConflict> {
    let theirs = witnesses.recovery_points.offset(partition);
    let Some((closed, ours)) = own_state(witnesses, partition) else {
        return Ok(StartState {
            clean: witnesses.clean_marker && theirs.is_some(),
            log_start: witnesses.log_starts.offset(partition),
            recovery_point: theirs.unwrap_or(0),
            high_watermark: witnesses.high_watermarks.offset(partition),
            state: None,
        });
    };
    if closed == Closed::Clean {
        check_log_start(witnesses, partition, ours.log_start)?;
    }
    let agree = theirs.is_none_or(|theirs| theirs == ours.recovery_point);
    Ok(StartState {
        clean: closed == Closed::Clean && witnesses.clean_marker && agree,
        log_start: Some(ours.log_start),
        recovery_point: theirs
            .map_or(ours.recovery_point, |theirs| theirs.min(ours.recovery_point)),
        high_watermark: Some(ours.high_watermark),
        state: Some(ours),
    })
}

/// Our numbers, unless another program has closed the folder since.
fn own_state(
    witnesses: &Witnesses,
    partition: &TopicPartition,
) -> Option<(Closed, PartitionState)> {
    let state = witnesses.state.as_ref()?;
    let overtaken = state.closed == Closed::Open && witnesses.clean_marker;
    let ours = state.partitions.get(partition).filter(|_| !overtaken)?;
    Some((state.closed, *ours))
}

fn check_log_start(
    witnesses: &Witnesses,
    partition: &TopicPartition,
    expected: Offset,
) -> Result<(), LogStartConflict> {
    let Checkpoint::Read(lines) = &witnesses.log_starts else { return Ok(()) };
    match lines.get(partition) {
        Some(found) if found.offset > expected => Err(LogStartConflict {
            path: witnesses.dir.join(LOG_STARTS),
            partition: partition.clone(),
            line: found.line,
            position: found.position,
            expected,
            found: found.offset,
        }),
        _ => Ok(()),
    }
}
