//! The two causes that every operation's own error enum can carry: a failed system call and
//! corrupt bytes. Each names the file and the position.

use std::{fmt, io, path::PathBuf};

/// A failed operation on a file or folder.
#[derive(Debug)]
pub struct IoError {
    /// What was tried: `"open"`, `"read"`, `"write"`, `"sync"`, `"rename"`, …
    pub operation: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Byte position in the file, where there is one.
    pub position: Option<u64>,
    /// What the operating system said.
    pub source: io::Error,
}

impl IoError {
    /// An error without a position.
    pub fn new(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { operation, path: path.into(), position: None, source }
    }

    /// An error at byte `position`.
    pub fn at(
        operation: &'static str,
        path: impl Into<PathBuf>,
        position: u64,
        source: io::Error,
    ) -> Self {
        Self { operation, path: path.into(), position: Some(position), source }
    }

    /// Whether the disk is full (ENOSPC, EDQUOT): such an error passes once there is room again.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether the file or folder does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// A copy that says the same, for all who waited on one operation.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let source = match self.source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.source.kind(), self.source.to_string()),
        };
        Self { operation: self.operation, path: self.path.clone(), position: self.position, source }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.path.display())?;
        if let Some(position) = self.position {
            write!(f, " at byte {position}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Bytes on disk that cannot be what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// Byte position in the file.
    pub position: u64,
    /// What was looked at: `"batch length"`, `"crc"`, `"base offset"`, …
    pub what: &'static str,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl Corruption {
    /// `what` at `position` of `path` should be `expected` and is `found`.
    pub fn new(
        path: impl Into<PathBuf>,
        position: u64,
        what: &'static str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            path: path.into(),
            position,
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "corrupt data in {} at byte {}: {}: expected {}, found {}",
            self.path.display(),
            self.position,
            self.what,
            self.expected,
            self.found
        )
    }
}

impl std::error::Error for Corruption {}
