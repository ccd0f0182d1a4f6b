//! Why the program ends without a result, and with which exit code.

use std::{io, path::PathBuf};

use crate::{
    data_dir::DataDirError, drive::RunError, grid::GridError, hlog::HlogError,
    journal::JournalError, payload::PayloadError, precondition::Refusal, stop::INTERRUPTED,
};

/// The end of a subcommand that failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is the error that it carries")]
pub enum Failure {
    #[error(transparent)]
    Grid(#[from] GridError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Hlog(#[from] HlogError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Wish(String),
    #[error("write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl Failure {
    /// 130 after Ctrl-C, 2 where the wish makes no sense or is refused, 1 for what went wrong.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Run(RunError::Interrupted) => INTERRUPTED,
            Self::Grid(_)
            | Self::Wish(_)
            | Self::Refusal(_)
            | Self::DataDir(DataDirError::NotEmpty { .. })
            | Self::Journal(JournalError::Different { .. } | JournalError::InLog { .. }) => 2,
            _ => 1,
        }
    }
}
