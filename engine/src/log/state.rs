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
//! log end, CRC32C of its `leader-epoch-checkpoint` (`-` where it has none). ` held` behind them says that
//! the line is that of the last clean close, whatever the second line says: the partition was refused
//! since (a [`LogStartConflict`]), and is to be again. The last line covers every byte before it.
//!
//! [`start_of`] says which of two witnesses is believed, this file or Kafka's checkpoints. It relies
//! on the order of the writes: an open removes the clean-shutdown marker, then stores `open`; a
//! close stores Kafka's checkpoints, then `clean`, then the marker. So a marker beside `open` was
//! left by another program.

use std::{
    collections::{BTreeMap, BTreeSet},
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
/// Ends the line of a partition that was closed cleanly and refused since.
const HELD: &str = " held";

/// Whether the folder was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Closed cleanly: the numbers are the last ones.
    Clean,
    /// In use when the file was written: the numbers may be overtaken.
    Open,
}

/// What is known of one partition. At rest `log_start ≤ durable_end ≤ log_end`,
/// `log_start ≤ high_watermark ≤ log_end` and `recovery_point ≤ durable_end`; none is negative. While
/// a cut is under way that reaches below the log start, all others stand below it.
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

impl PartitionState {
    /// This state, with nothing claimed of offsets from `end` on: the log is about to be cut there. The
    /// log start stays, although it may be larger: should the cut not come to pass, what was deleted
    /// stays deleted.
    #[must_use]
    pub fn lowered_to(mut self, end: Offset) -> Self {
        for mark in [
            &mut self.recovery_point,
            &mut self.durable_end,
            &mut self.high_watermark,
            &mut self.log_end,
        ] {
            *mark = (*mark).min(end);
        }
        self
    }
}

/// Content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirState {
    /// Whether the folder was closed.
    pub closed: Closed,
    /// Its partitions.
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
    /// Those of them that were refused since their last clean close, and not touched.
    pub held: BTreeSet<TopicPartition>,
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
                Some(crc) => write!(text, " {crc:08x}"),
                None => write!(text, " -"),
            };
            text.push_str(if self.held.contains(name) { HELD } else { "" });
            text.push('\n');
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
        let (mut partitions, mut held) = (BTreeMap::new(), BTreeSet::new());
        while let Some(mut line) = lines.next()? {
            let unheld = line.text.strip_suffix(HELD);
            line.text = unheld.unwrap_or(line.text);
            let (name, state) = parse_partition(&line)?;
            if unheld.is_some() {
                held.insert(name.clone());
            }
            if partitions.insert(name, state).is_some() {
                return Err(line.refuse("partition", "no repetition"));
            }
        }
        if partitions.len() as i64 != expected {
            return Err(count.refuse("partition count", partitions.len()));
        }
        Ok(Self { closed, partitions, held })
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
    /// Reads them from log dir `dir`, with what was wrong with those that are damaged: each alone can be
    /// done without. One that the disk does not give now may be sound: to go on without it would be to
    /// forget what it says.
    pub fn read(storage: &Storage, dir: &Path) -> Result<(Self, Vec<CheckpointError>), IoError> {
        let mut damaged = Vec::new();
        let state = match DirState::load(storage, dir) {
            Err(CheckpointError::Io(error)) => return Err(error),
            Err(error) => {
                damaged.push(error);
                None
            }
            Ok(state) => state,
        };
        let mut checkpoint = |name: &str| match read_offset_lines(storage, &dir.join(name)) {
            Ok(Some(lines)) => Ok(Checkpoint::Read(lines)),
            Ok(None) => Ok(Checkpoint::Missing),
            Err(CheckpointError::Io(error)) => Err(error),
            Err(error) => {
                damaged.push(error);
                Ok(Checkpoint::Unreadable)
            }
        };
        let witnesses = Self {
            dir: dir.to_path_buf(),
            state,
            clean_marker: read_clean_shutdown(storage, dir)?.is_some(),
            log_starts: checkpoint(LOG_STARTS)?,
            recovery_points: checkpoint(RECOVERY_POINTS)?,
            high_watermarks: checkpoint(HIGH_WATERMARKS)?,
        };
        Ok((witnesses, damaged))
    }
}

impl Witnesses {
    /// Whether another program has closed the folder since we used it.
    pub(super) fn is_overtaken(&self) -> bool {
        let is_open = self.state.as_ref().is_some_and(|state| state.closed == Closed::Open);
        is_open && self.clean_marker
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

impl StartState {
    /// Below, everything was durable: as our state says it. Kafka, closing cleanly, syncs each log up to
    /// the recovery point that it leaves.
    pub(super) fn durable_end(&self) -> Offset {
        match self.state {
            Some(state) => state.durable_end,
            None if self.clean => self.recovery_point,
            None => 0,
        }
    }
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
    let mut ours = *state.partitions.get(partition).filter(|_| !witnesses.is_overtaken())?;
    if let Some(theirs) = witnesses.recovery_points.offset(partition)
        && theirs < ours.recovery_point
        && state.closed == Closed::Clean
        && witnesses.clean_marker
    {
        // Closed since by another program, which has cut the log.
        ours.durable_end = ours.durable_end.min(theirs.max(ours.log_start));
    }
    let closed = if state.held.contains(partition) { Closed::Clean } else { state.closed };
    Some((closed, ours))
}

/// Our numbers of all partitions.
pub(super) fn own_states(witnesses: &Witnesses) -> BTreeMap<TopicPartition, PartitionState> {
    let known = witnesses.state.iter().flat_map(|state| state.partitions.keys());
    known
        .filter_map(|partition| Some((partition.clone(), own_state(witnesses, partition)?.1)))
        .collect()
}

/// The partitions that are refused as long as the two log starts disagree.
pub(super) fn held(witnesses: &Witnesses) -> BTreeSet<TopicPartition> {
    let known = witnesses.state.iter().flat_map(|state| state.partitions.keys());
    known.filter(|partition| start_of(witnesses, partition).is_err()).cloned().collect()
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

#[cfg(test)]
mod tests {
    use super::{super::checkpoint::CheckpointLine, *};

    fn partition(topic: &str, number: u32) -> TopicPartition {
        TopicPartition::new(TopicName::new(topic).unwrap(), number)
    }

    const ORDERS: PartitionState = PartitionState {
        log_start: 17,
        recovery_point: 90,
        durable_end: 100,
        high_watermark: 101,
        log_end: 102,
        epochs_crc: Some(0x0A2B_3C4D),
    };

    fn state(closed: Closed) -> DirState {
        let other = PartitionState { epochs_crc: None, ..ORDERS };
        let partitions = [(partition("orders", 0), ORDERS), (partition("a-b", 11), other)];
        DirState { closed, partitions: partitions.into(), held: BTreeSet::new() }
    }

    #[test]
    fn the_state_is_text_with_a_checksum() {
        let content = "trunkline-state 1\nclosed clean\npartitions 2\n\
                       a-b 11 17 90 100 101 102 -\norders 0 17 90 100 101 102 0a2b3c4d\n";
        let crc = crc32c::crc32c(content.as_bytes());
        let text = format!("{content}crc32c {crc:08x}\n");
        assert_eq!(String::from_utf8(state(Closed::Clean).to_bytes()).unwrap(), text);

        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        assert!(DirState::load(&storage, dir.path()).unwrap().is_none());
        for closed in [Closed::Clean, Closed::Open] {
            state(closed).store(&storage, dir.path()).unwrap();
            assert_eq!(DirState::load(&storage, dir.path()).unwrap(), Some(state(closed)));
        }
    }

    #[test]
    fn a_conflict_is_one_until_the_owner_has_decided() {
        let name = partition("orders", 0);
        let mut found = Witnesses {
            state: Some(state(Closed::Clean)),
            clean_marker: true,
            log_starts: checkpoint(18),
            ..Witnesses::default()
        };
        assert_eq!(held(&found), BTreeSet::from([name.clone()]));
        // As the open leaves it, and as it is read again.
        let open = DirState { held: held(&found), ..state(Closed::Open) };
        assert_eq!(DirState::parse(Path::new("f"), &open.to_bytes()).unwrap(), open);
        (found.state, found.clean_marker) = (Some(open), false);
        assert_eq!(start_of(&found, &name).unwrap_err().found, 18);
        found.log_starts = checkpoint(17);
        assert!(held(&found).is_empty());
        let start = start_of(&found, &name).unwrap();
        assert_eq!((start.clean, start.log_start), (false, Some(17)));
    }

    #[test]
    fn each_flipped_bit_and_each_cut_is_found() {
        let mut whole = state(Closed::Open);
        whole.held.insert(partition("orders", 0));
        let whole = whole.to_bytes();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = DirState::parse(Path::new("f"), &bytes).expect_err("a flipped bit passes");
            assert!(error.position <= whole.len() as u64);
        }
        for length in 0..whole.len() {
            let parsed = DirState::parse(Path::new("f"), &whole[..length]);
            assert!(parsed.is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn content_that_is_wrong_under_a_right_checksum_is_named_with_its_byte() {
        let cases = [
            ("trunkline-state 2\nclosed open\npartitions 0\n", "title", 0),
            ("trunkline-state 1\nclosed\npartitions 0\n", "closed", 18),
            ("trunkline-state 1\nclosed open\n", "partition count", 30),
            ("trunkline-state 1\nclosed open\npartitions 1\n", "partition count", 41),
            ("trunkline-state 1\nclosed open\npartitions 1\na 0 1 2 3 4 5\n", "partition", 43),
            (
                "trunkline-state 1\nclosed open\npartitions 1\na 0 1 2 3 x 5 -\n",
                "high watermark",
                53,
            ),
            (
                "trunkline-state 1\nclosed open\npartitions 1\na 0 1 2 3 4 5 0A2B3C4D\n",
                "crc of the leader epochs",
                57,
            ),
            (
                "trunkline-state 1\nclosed open\npartitions 2\na 0 1 2 3 4 5 -\na 0 1 2 3 4 5 -\n",
                "partition",
                59,
            ),
        ];
        for (content, what, position) in cases {
            let crc = crc32c::crc32c(content.as_bytes());
            let text = format!("{content}crc32c {crc:08x}\n");
            let error = DirState::parse(Path::new("f"), text.as_bytes()).unwrap_err();
            assert_eq!((error.what, error.position), (what, position), "{content:?}");
        }
    }

    fn checkpoint(offset: Offset) -> Checkpoint {
        let line = CheckpointLine { offset, line: 3, position: 4 };
        Checkpoint::Read([(partition("orders", 0), line)].into())
    }

    fn without_our_partition() -> Checkpoint {
        Checkpoint::Read(CheckpointLines::new())
    }

    #[test]
    fn ours_are_believed_where_they_speak_for_the_folder() {
        use Checkpoint::{Missing, Unreadable};
        use Closed::{Clean, Open};
        // State, marker, Kafka's log start and recovery point → log start or conflict, recovery
        // point, clean.
        let cases = [
            ("both agree", Clean, true, checkpoint(17), checkpoint(90), Ok(17), 90, true),
            ("Kafka's are missing", Clean, true, Missing, Missing, Ok(17), 90, true),
            ("Kafka's are corrupt", Clean, true, Unreadable, Unreadable, Ok(17), 90, true),
            (
                "Kafka names no log start that is the first segment's",
                Clean,
                true,
                without_our_partition(),
                checkpoint(90),
                Ok(17),
                90,
                true,
            ),
            (
                "log start flipped down",
                Clean,
                true,
                checkpoint(1),
                checkpoint(90),
                Ok(17),
                90,
                true,
            ),
            ("log start moved up", Clean, true, checkpoint(18), checkpoint(90), Err(18), 0, false),
            (
                "log start moved up, no marker",
                Clean,
                false,
                checkpoint(18),
                checkpoint(90),
                Err(18),
                0,
                false,
            ),
            (
                "Kafka appended and closed",
                Clean,
                true,
                checkpoint(17),
                checkpoint(91),
                Ok(17),
                90,
                false,
            ),
            (
                "Kafka truncated and closed",
                Clean,
                true,
                checkpoint(17),
                checkpoint(89),
                Ok(17),
                89,
                false,
            ),
            (
                "crash between state and marker",
                Clean,
                false,
                checkpoint(17),
                checkpoint(90),
                Ok(17),
                90,
                false,
            ),
            ("crash in use", Open, false, checkpoint(17), checkpoint(90), Ok(17), 90, false),
            (
                "crash before Kafka's log start was written",
                Open,
                false,
                checkpoint(16),
                checkpoint(80),
                Ok(17),
                80,
                false,
            ),
            (
                "crash before ours was written",
                Open,
                false,
                checkpoint(18),
                checkpoint(95),
                Ok(17),
                90,
                false,
            ),
        ];
        for (name, closed, clean_marker, log_starts, recovery_points, start, recovery, clean) in
            cases
        {
            let state = Some(state(closed));
            let witnesses = Witnesses {
                dir: "/data".into(),
                state,
                clean_marker,
                log_starts,
                recovery_points,
                high_watermarks: checkpoint(5),
            };
            let found = start_of(&witnesses, &partition("orders", 0));
            // What another program cut off is no damage.
            let durable_end = if name == "Kafka truncated and closed" { 89 } else { 100 };
            let expected = start.map(|log_start| StartState {
                clean,
                log_start: Some(log_start),
                recovery_point: recovery,
                high_watermark: Some(101),
                state: Some(PartitionState { durable_end, ..ORDERS }),
            });
            let found = found.map_err(|conflict| conflict.found);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn kafkas_are_believed_where_ours_do_not_speak_for_the_folder() {
        use Checkpoint::{Missing, Unreadable};
        let partitions = BTreeMap::new();
        let state_of_others = DirState { closed: Closed::Clean, partitions, held: BTreeSet::new() };
        let cases = [
            (
                "Kafka's own, closed",
                None,
                true,
                checkpoint(18),
                checkpoint(95),
                (Some(18), 95, true),
            ),
            (
                "Kafka's own, crashed",
                None,
                false,
                checkpoint(18),
                checkpoint(95),
                (Some(18), 95, false),
            ),
            (
                "no log start named",
                None,
                true,
                without_our_partition(),
                checkpoint(95),
                (None, 95, true),
            ),
            (
                "no recovery point named",
                None,
                true,
                checkpoint(18),
                without_our_partition(),
                (Some(18), 0, false),
            ),
            ("all unreadable", None, true, Unreadable, Unreadable, (None, 0, false)),
            ("nothing at all", None, false, Missing, Missing, (None, 0, false)),
            (
                "Kafka closed it after our crash",
                Some(state(Closed::Open)),
                true,
                checkpoint(18),
                checkpoint(95),
                (Some(18), 95, true),
            ),
            (
                "a partition that ours does not know",
                Some(state_of_others),
                true,
                checkpoint(18),
                checkpoint(95),
                (Some(18), 95, true),
            ),
        ];
        for (name, state, clean_marker, log_starts, recovery_points, expected) in cases {
            let high_watermarks = checkpoint(97);
            let witnesses = Witnesses {
                dir: "/data".into(),
                state,
                clean_marker,
                log_starts,
                recovery_points,
                high_watermarks,
            };
            let found = start_of(&witnesses, &partition("orders", 0)).unwrap();
            let (log_start, recovery_point, clean) = expected;
            let high_watermark = Some(97);
            let state = None;
            let expected = StartState { clean, log_start, recovery_point, high_watermark, state };
            assert_eq!(found, expected, "{name}");
            let durable = if clean { recovery_point } else { 0 };
            assert_eq!(found.durable_end(), durable, "{name}");
        }
    }

    #[test]
    fn a_conflict_says_what_to_do() {
        let witnesses = Witnesses {
            dir: "/data".into(),
            state: Some(state(Closed::Clean)),
            log_starts: checkpoint(18),
            ..Witnesses::default()
        };
        let conflict = start_of(&witnesses, &partition("orders", 0)).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "/data/log-start-offset-checkpoint line 3 (byte 4): log start of orders-0: expected 17 \
             as in trunkline-state, found 18. If another program moved the log start, remove \
             trunkline-state from that folder and open it again; if not, write 17 into the line"
        );
    }

    #[test]
    fn witnesses_are_read_from_a_log_dir_and_what_is_damaged_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::portable();
        let (nothing, damaged) = Witnesses::read(&storage, dir.path()).unwrap();
        assert!(nothing.state.is_none() && !nothing.clean_marker && damaged.is_empty());

        state(Closed::Clean).store(&storage, dir.path()).unwrap();
        std::fs::write(dir.path().join(LOG_STARTS), "0\n1\norders 0 17\n").unwrap();
        std::fs::write(dir.path().join(RECOVERY_POINTS), "0\n1\norders 0\n").unwrap();
        std::fs::write(dir.path().join(".kafka_cleanshutdown"), "").unwrap();
        let (witnesses, damaged) = Witnesses::read(&storage, dir.path()).unwrap();
        assert_eq!(witnesses.state, Some(state(Closed::Clean)));
        assert!(witnesses.clean_marker);
        assert_eq!(witnesses.log_starts.offset(&partition("orders", 0)), Some(17));
        assert_eq!(witnesses.recovery_points, Checkpoint::Unreadable);
        assert_eq!(witnesses.high_watermarks, Checkpoint::Missing);
        assert_eq!(damaged.len(), 1);
        assert!(damaged[0].to_string().contains(RECOVERY_POINTS), "{}", damaged[0]);
    }
}
