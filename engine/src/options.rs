//! How an engine is opened.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    clock::{Clock, SystemClock},
    commit::Strategy,
    io::Storage,
    log::{LogConfig, OnDamage},
    topic::TopicConfig,
};

/// Default of `log.flush.offset.checkpoint.interval.ms`.
pub const DEFAULT_CHECKPOINT_INTERVAL: Duration = Duration::from_mins(1);
/// Default of `log.retention.check.interval.ms`.
pub const DEFAULT_RETENTION_CHECK_INTERVAL: Duration = Duration::from_mins(5);
/// Default of `producer.id.expiration.ms`.
pub const DEFAULT_PRODUCER_ID_EXPIRATION: Duration =
    Duration::from_millis(LogConfig::PRODUCER_ID_EXPIRATION_MS as u64);

/// Who does what has to be done from time to time: retention, rolls by time, removal of deleted files,
/// checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Housekeeping {
    /// One thread of the engine.
    #[default]
    Threaded,
    /// The engine's owner, by [`Engine::keep_house`](crate::engine::Engine::keep_house): a
    /// simulation, or a program with a loop of its own.
    Manual,
}

/// Settings of an [`Engine`](crate::engine::Engine). Where Kafka has a setting of the kind, the name is
/// Kafka's.
///
/// ```
/// use trunkline::options::EngineOptions;
/// let options = EngineOptions::new("/var/lib/trunkline/a").log_dir("/mnt/disk2/trunkline");
/// assert_eq!(options.log_dirs.len(), 2);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// `log.dirs`: folders that partitions are spread over, each best on a disk of its own. Made when
    /// absent. Locked while the engine is open.
    pub log_dirs: Vec<PathBuf>,
    /// Where files live. Default: the machine's own.
    pub storage: Storage,
    /// Where time is read from. Default: the machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Seed of what is drawn: topic ids, names of deleted folders. Default: another one each time.
    pub seed: Option<u64>,
    /// Who does what has to be done from time to time.
    pub housekeeping: Housekeeping,
    /// How many files are made durable at once.
    pub commit_strategy: Strategy,
    /// `num.recovery.threads.per.data.dir`, but for all together: partitions that are opened, and
    /// closed, at a time. Default: the machine's cores.
    pub recovery_threads: Option<usize>,
    /// `log.flush.offset.checkpoint.interval.ms`: how often recovery points are raised and written
    /// at least; those of a durable log are as well when it has sealed a segment.
    pub checkpoint_interval: Duration,
    /// `log.retention.check.interval.ms`: how often retention looks.
    pub retention_check_interval: Duration,
    /// `producer.id.expiration.ms`: when a silent producer's sequence is forgotten.
    pub producer_id_expiration: Duration,
    /// What to do about acknowledged data that is found damaged.
    pub on_damage: OnDamage,
    /// Settings of topics that were found, not created: a broker's, whose own settings stand in its
    /// cluster's metadata. Default: Kafka's defaults, but nothing is ever deleted for its age
    /// (`retention.ms=-1`): a guess must not cost data.
    pub adopted_topics: TopicConfig,
}

impl EngineOptions {
    /// Defaults, with one log dir.
    pub fn new(log_dir: impl Into<PathBuf>) -> Self {
        Self {
            log_dirs: vec![log_dir.into()],
            storage: Storage::system(),
            clock: Arc::new(SystemClock::new()),
            seed: None,
            housekeeping: Housekeeping::default(),
            commit_strategy: Strategy::default(),
            recovery_threads: None,
            checkpoint_interval: DEFAULT_CHECKPOINT_INTERVAL,
            retention_check_interval: DEFAULT_RETENTION_CHECK_INTERVAL,
            producer_id_expiration: DEFAULT_PRODUCER_ID_EXPIRATION,
            on_damage: OnDamage::default(),
            adopted_topics: TopicConfig::default().retention_ms(-1),
        }
    }

    /// Adds a log dir.
    #[must_use]
    pub fn log_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.log_dirs.push(dir.into());
        self
    }

    /// Sets the log dirs, in place of those so far.
    #[must_use]
    pub fn log_dirs<D: Into<PathBuf>>(mut self, dirs: impl IntoIterator<Item = D>) -> Self {
        self.log_dirs = dirs.into_iter().map(Into::into).collect();
        self
    }

    /// What a partition's log needs of these settings and its topic's.
    pub(crate) fn log_config(&self, topic: &TopicConfig) -> LogConfig {
        let expiration = i64::try_from(self.producer_id_expiration.as_millis());
        LogConfig {
            retention_check_interval: self.retention_check_interval,
            producer_id_expiration_ms: expiration.unwrap_or(i64::MAX),
            on_damage: self.on_damage,
            ..topic.log_config()
        }
    }
}

setters! {
    EngineOptions {
        storage: Storage,
        clock: Arc<dyn Clock>,
        seed: u64,
        housekeeping: Housekeeping,
        commit_strategy: Strategy,
        recovery_threads: usize,
        checkpoint_interval: Duration,
        retention_check_interval: Duration,
        producer_id_expiration: Duration,
        on_damage: OnDamage,
        adopted_topics: TopicConfig,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logs_settings_are_the_engines_and_the_topics() {
        let options = EngineOptions::new("a")
            .retention_check_interval(Duration::from_secs(1))
            .producer_id_expiration(Duration::MAX)
            .on_damage(OnDamage::Cut);
        let config = options.log_config(&TopicConfig::default().segment_bytes(1 << 20));
        assert_eq!(config.segment_bytes, 1 << 20);
        assert_eq!(config.retention_check_interval, Duration::from_secs(1));
        assert_eq!(config.producer_id_expiration_ms, i64::MAX);
        assert_eq!(config.on_damage, OnDamage::Cut);
        let defaults = EngineOptions::new("a").log_config(&TopicConfig::default());
        assert_eq!(defaults, LogConfig::default());
    }
}
