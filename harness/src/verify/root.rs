//! What the root of a data folder says of its partitions: Kafka's checkpoints, the clean-shutdown
//! marker, and our own `trunkline-state`. Each file that does not parse is a fault.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use trunkline::{
    io::Storage,
    log::{
        LogConfig,
        checkpoint::{
            CLEAN_SHUTDOWN, CheckpointError, CheckpointLine, CheckpointLines, HIGH_WATERMARKS,
            LOG_STARTS, RECOVERY_POINTS, read_clean_shutdown, read_offset_lines,
        },
        state::{Closed, DirState, PartitionState, STATE_FILE},
    },
    topic::{Catalog, CatalogError, TOPICS_FILE},
    types::{Offset, TopicPartition},
};

use super::fault::Findings;

/// Up to where Kafka's cleaner has cleaned each compacted partition.
pub(super) const CLEANED: &str = "cleaner-offset-checkpoint";

/// The files of a data folder's root.
#[derive(Debug, Default)]
pub(super) struct Root {
    dir: PathBuf,
    state: Option<DirState>,
    /// Whether whoever used the folder last closed it cleanly.
    pub(super) is_closed: bool,
    recovery_points: CheckpointLines,
    log_starts: CheckpointLines,
    high_watermarks: CheckpointLines,
    cleaned: CheckpointLines,
    topics: Catalog,
}

/// How far `trunkline-state` speaks for a partition as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// We closed the folder last: every number is exact.
    Exact(PartitionState),
    /// We were the last to open the folder and did not close it: ends are lower bounds.
    AtLeast(PartitionState),
    /// There is no such file, or another program has used the folder since.
    None,
}

impl Root {
    /// Reads the files of `dir`.
    pub(super) fn read(storage: &Storage, dir: &Path, findings: &mut Findings) -> Self {
        let state = DirState::load(storage, dir).unwrap_or_else(|error| {
            findings.checkpoint(error);
            None
        });
        let marker = read_clean_shutdown(storage, dir).unwrap_or_else(|error| {
            findings.fault(error);
            None
        });
        if marker.is_some_and(|marker| marker.broker_epoch.is_none()) {
            // Kafka before 3.7 left it empty.
            let path = dir.join(CLEAN_SHUTDOWN);
            if storage.read(&path, 1 << 20).is_ok_and(|content| !content.is_empty()) {
                findings.refuse(&path, 0, "content", "version and broker epoch", "other text");
            }
        }
        let mut offsets = |name| match read_offset_lines(storage, &dir.join(name)) {
            Ok(lines) => lines.unwrap_or_default(),
            Err(error) => {
                findings.checkpoint(error);
                CheckpointLines::default()
            }
        };
        Self {
            dir: dir.into(),
            is_closed: marker.is_some(),
            recovery_points: offsets(RECOVERY_POINTS),
            log_starts: offsets(LOG_STARTS),
            high_watermarks: offsets(HIGH_WATERMARKS),
            cleaned: offsets(CLEANED),
            topics: read_topics(storage, dir, findings),
            state,
        }
    }

    /// Which file says that the partition is compacted, if one does.
    pub(super) fn compacted(&self, partition: &TopicPartition) -> Option<&'static str> {
        if self.config(partition).compacted {
            return Some(TOPICS_FILE);
        }
        self.cleaned.contains_key(partition).then_some(CLEANED)
    }

    /// The partition's settings, as far as `trunkline-topics` knows them.
    pub(super) fn config(&self, partition: &TopicPartition) -> LogConfig {
        let topic = self.topics.topics.get(&partition.topic);
        topic.map_or_else(LogConfig::default, |topic| topic.config.log_config())
    }

    /// Where the partition's log starts, as far as its first segment's base leaves that open.
    pub(super) fn log_start(&self, partition: &TopicPartition) -> Option<Offset> {
        self.log_starts.get(partition).map(|line| line.offset)
    }

    /// How far our own numbers speak for a partition whose log ends at `log_end`.
    pub(super) fn voice(&self, partition: &TopicPartition, log_end: Offset) -> Voice {
        let Some(state) = &self.state else { return Voice::None };
        let Some(ours) = state.partitions.get(partition).copied() else { return Voice::None };
        match (state.closed, self.is_closed) {
            (Closed::Clean, true) => {
                // Another program that appended or truncated left another recovery point.
                let theirs = self.recovery_points.get(partition).map(|line| line.offset);
                let is_ours = log_end == ours.log_end
                    || theirs.is_none_or(|theirs| theirs == ours.recovery_point);
                if is_ours { Voice::Exact(ours) } else { Voice::None }
            }
            (Closed::Open, false) => Voice::AtLeast(ours),
            (Closed::Clean, false) | (Closed::Open, true) => Voice::None,
        }
    }

    /// Holds every number that the root has of a partition against its log, which is whole from
    /// `first` (base offset of the first segment) to `log_end`.
    pub(super) fn check(
        &self,
        partition: &TopicPartition,
        first: Offset,
        log_end: Offset,
        findings: &mut Findings,
    ) {
        self.check_kafkas(partition, first, log_end, findings);
        match self.voice(partition, log_end) {
            Voice::Exact(ours) => {
                self.check_order(partition, &ours, findings);
                self.ours(partition, "log end", ours.log_end, log_end, findings);
                let line = self.recovery_points.get(partition);
                self.check_same(RECOVERY_POINTS, line, ours.recovery_point, findings);
                let line = self.high_watermarks.get(partition);
                self.check_same(HIGH_WATERMARKS, line, ours.high_watermark, findings);
                let line = self.log_starts.get(partition);
                self.check_same(LOG_STARTS, line, ours.log_start, findings);
                self.check_start(partition, &ours, first, findings);
            }
            Voice::AtLeast(ours) => {
                self.check_order(partition, &ours, findings);
                if log_end < ours.durable_end {
                    self.ours(partition, "durable end", ours.durable_end, log_end, findings);
                }
                self.check_start(partition, &ours, first, findings);
            }
            Voice::None => {}
        }
    }

    fn check_kafkas(
        &self,
        partition: &TopicPartition,
        first: Offset,
        log_end: Offset,
        findings: &mut Findings,
    ) {
        let files = [
            (RECOVERY_POINTS, "recovery point", &self.recovery_points),
            (HIGH_WATERMARKS, "high watermark", &self.high_watermarks),
            (LOG_STARTS, "log start", &self.log_starts),
        ];
        for (file, what, lines) in files {
            let Some(line) = lines.get(partition) else { continue };
            let what = format!("{what} of {partition}");
            let refuse = |findings: &mut Findings, expected: String| {
                findings.refuse(&self.dir.join(file), line.position, what, expected, line.offset);
            };
            if line.offset > log_end {
                refuse(findings, format!("at most the log end {log_end}"));
            } else if self.is_closed && file == RECOVERY_POINTS && line.offset != log_end {
                refuse(
                    findings,
                    format!("the log end {log_end}, as the folder was closed cleanly"),
                );
            } else if self.is_closed && file == LOG_STARTS && line.offset < first {
                refuse(findings, format!("at least {first}, where the first segment begins"));
            }
        }
    }

    /// The relations that hold between the numbers of one line of ours, whatever the log says.
    fn check_order(
        &self,
        partition: &TopicPartition,
        ours: &PartitionState,
        findings: &mut Findings,
    ) {
        let PartitionState { log_start, recovery_point, durable_end, .. } = *ours;
        let PartitionState { high_watermark, log_end, .. } = *ours;
        let rules = [
            ("durable end", durable_end, "log start", log_start, "log end", log_end),
            ("high watermark", high_watermark, "log start", log_start, "log end", log_end),
            ("recovery point", recovery_point, "zero", 0, "durable end", durable_end),
        ];
        for (what, value, low_name, low, high_name, high) in rules {
            if value < low || value > high {
                let expected = format!("{low_name} {low} to {high_name} {high}");
                let path = self.dir.join(STATE_FILE);
                findings.refuse(&path, 0, format!("{what} of {partition}"), expected, value);
            }
        }
    }

    fn check_same(
        &self,
        file: &str,
        line: Option<&CheckpointLine>,
        ours: Offset,
        findings: &mut Findings,
    ) {
        if let Some(line) = line.filter(|line| line.offset != ours) {
            let expected = format!("{ours} as in {STATE_FILE}");
            findings.refuse(&self.dir.join(file), line.position, "offset", expected, line.offset);
        }
    }

    /// Segments that were deleted lie below the log start.
    fn check_start(
        &self,
        partition: &TopicPartition,
        ours: &PartitionState,
        first: Offset,
        findings: &mut Findings,
    ) {
        if ours.log_start < first && ours.log_start < ours.durable_end {
            let path = self.dir.join(partition.to_string());
            let expected = format!("{} at most, the log start in {STATE_FILE}", ours.log_start);
            findings.refuse(&path, 0, "base offset of the first segment", expected, first);
        }
    }

    /// The log does not reach as far as our own file says.
    fn ours(
        &self,
        partition: &TopicPartition,
        what: &str,
        ours: Offset,
        log_end: Offset,
        findings: &mut Findings,
    ) {
        if ours != log_end {
            let path = self.dir.join(partition.to_string());
            let what = format!("end of the log against the {what} in {STATE_FILE}");
            findings.refuse(&path, 0, what, ours, log_end);
        }
    }

    /// Partitions that a cleanly closed root names and that have no folder.
    pub(super) fn check_missing(&self, there: &BTreeSet<TopicPartition>, findings: &mut Findings) {
        let ours = self.state.iter().flat_map(|state| state.partitions.keys());
        for partition in ours.filter(|partition| !there.contains(partition)) {
            let path = self.dir.join(STATE_FILE);
            findings.refuse(&path, 0, "partition", format!("a folder {partition}"), "none");
        }
        let files = [
            (RECOVERY_POINTS, &self.recovery_points),
            (HIGH_WATERMARKS, &self.high_watermarks),
            (LOG_STARTS, &self.log_starts),
        ];
        for (file, lines) in files {
            for (partition, line) in lines {
                if self.is_closed && !there.contains(partition) {
                    let expected = format!("a folder {partition}");
                    let path = self.dir.join(file);
                    findings.refuse(&path, line.position, "partition", expected, "none");
                }
            }
        }
    }
}

/// The topics of our own file; none where there is none, or it is damaged.
fn read_topics(storage: &Storage, dir: &Path, findings: &mut Findings) -> Catalog {
    match Catalog::load(storage, &[dir.into()]) {
        Ok(loaded) => {
            let path = dir.join(TOPICS_FILE);
            for refused in loaded.catalog.topics.values().flat_map(|topic| &topic.refused) {
                let what = format!("setting {}", refused.text);
                let expected = "one that this version knows";
                findings.refuse(&path, refused.position, what, expected, &refused.error);
            }
            return loaded.catalog;
        }
        Err(CatalogError::Io(error)) => findings.fault(error),
        Err(CatalogError::Corrupt(corruption)) => findings.fault(corruption),
    }
    Catalog::default()
}

impl Findings {
    /// A small file that could not be read.
    pub(super) fn checkpoint(&mut self, error: CheckpointError) {
        match error {
            CheckpointError::Io(error) => self.fault(error),
            CheckpointError::Corrupt(corruption) => self.fault(corruption),
        }
    }
}
