//! A partition that could not be opened, while the others of the engine were.

use std::{path::PathBuf, sync::Arc};

use super::ConfigError;
use crate::{
    log::{ChangeError, LogDir, OpenError, checkpoint::CheckpointError},
    types::TopicPartition,
};

/// A partition that is not served. Its files stay as they are, and so do the lines of its log dir's
/// checkpoints that speak of it; the next open tries again.
#[derive(Debug, Clone)]
pub struct OfflinePartition {
    /// The partition.
    pub partition: TopicPartition,
    /// Its folder.
    pub path: PathBuf,
    /// The log dir that holds it.
    pub log_dir: Arc<LogDir>,
    /// Why it is not served.
    pub reason: Arc<OfflineReason>,
}

/// Why a partition was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OfflineReason {
    /// Its log could not be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// Its log was recovered, and could not be made durable.
    #[error(transparent)]
    Checkpoint(#[from] ChangeError),
    /// Its topic id could not be read or written.
    #[error(transparent)]
    Metadata(#[from] CheckpointError),
    /// A setting of its topic is refused.
    #[error(transparent)]
    Settings(#[from] ConfigError),
}
