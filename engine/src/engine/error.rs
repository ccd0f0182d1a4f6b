//! Why an operation of an engine fails: one enum an operation.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::{
    error::IoError,
    log::{ChangeError, DirError, OpenError as LogOpenError},
    topic::{CatalogError, CleanupPolicy, ConfigError, SurveyError},
    types::{TopicId, TopicName, TopicNameError, TopicPartition},
};

/// Why an engine was not opened. Records were neither cut nor changed for it, beyond what recovery
/// does to single partitions. A partition that cannot be opened does not keep the engine from it: it is
/// [offline](crate::topic::OfflinePartition).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No log dir was named.
    #[error("an engine needs a log dir")]
    NoLogDir,
    /// A log dir is in use, or could not be read.
    #[error(transparent)]
    LogDir(#[from] DirError),
    /// The list of topics is damaged in every log dir. Its backup is yours; without the file the
    /// topics open with `EngineOptions::adopted_topics`.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The settings for adopted topics are refused.
    #[error("adopted topics: {0}")]
    AdoptedTopics(#[from] ConfigError),
    /// The log dirs make no sense.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// A partition of a topic stands in none of the log dirs. Is one of them missing?
    #[error("partition {partition} is in none of the log dirs ({})", list(log_dirs))]
    MissingPartition {
        /// The partition.
        partition: TopicPartition,
        /// Where it was looked for.
        log_dirs: Vec<PathBuf>,
    },
    /// A folder is another topic's of the same name.
    #[error("{} says topic id {found}, expected {expected}", path.display())]
    WrongTopic {
        /// The partition's `partition.metadata`.
        path: PathBuf,
        /// The id that the topic has elsewhere.
        expected: TopicId,
        /// The id found there.
        found: TopicId,
    },
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The housekeeping thread could not be started.
    #[error("start the housekeeping thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why a topic was not created. After an error there is no such topic; where a disk failed in the
/// middle, its name is free again when the engine was opened anew.
#[derive(Debug, thiserror::Error)]
pub enum CreateTopicError {
    /// The name is no topic's.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// The name is kept for Kafka's own use.
    #[error("topic {0} is the cluster's own")]
    Reserved(TopicName),
    /// There is one of that name, or it is still being deleted.
    #[error("topic {0} exists")]
    Exists(TopicName),
    /// Kafka's metrics could not tell the two names apart: `.` and `_` are the same to them.
    #[error("topic {name} collides with {other}: '.' and '_' count as the same")]
    Collides {
        /// The new name.
        name: TopicName,
        /// The topic that there is.
        other: TopicName,
    },
    /// The number of partitions is out of range.
    #[error("a topic has 1 to {most} partitions, found {found}")]
    Partitions {
        /// The largest number.
        most: u32,
        /// The number asked for.
        found: u32,
    },
    /// A setting is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nothing compacts logs yet: the topic would grow without end.
    #[error("cleanup.policy={0}: compaction is not built yet, only `delete` is")]
    Compaction(CleanupPolicy),
    /// Something of that name stands in a log dir and is not ours.
    #[error("{} is in the way", path.display())]
    InTheWay {
        /// The folder or file.
        path: PathBuf,
    },
    /// A partition's log could not be made.
    #[error("partition {partition}: {source}")]
    Partition {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        source: LogOpenError,
    },
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The engine is closed.
    #[error("the engine is closed")]
    Closed,
}

/// Why a topic was not deleted, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum DeleteTopicError {
    /// There is no such topic.
    #[error("there is no topic {0:?}")]
    Unknown(String),
    /// A system call failed. Where the topic is gone already, another try, or the next open, finishes
    /// the work.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The engine is closed.
    #[error("the engine is closed")]
    Closed,
}

/// What failed while an engine was closed. What is not named here was closed cleanly; the rest will be
/// recovered when it is opened again.
#[derive(Debug, Default, Clone)]
pub struct CloseError {
    /// Partitions, and why they were not closed.
    pub partitions: Vec<(TopicPartition, Arc<ChangeError>)>,
    /// Log dirs whose checkpoints could not be written.
    pub log_dirs: Vec<Arc<IoError>>,
}

impl CloseError {
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.log_dirs.is_empty()
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the engine was not closed cleanly")?;
        for (partition, error) in &self.partitions {
            write!(f, "; {partition}: {error}")?;
        }
        self.log_dirs.iter().try_for_each(|error| write!(f, "; {error}"))
    }
}

impl std::error::Error for CloseError {}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}
