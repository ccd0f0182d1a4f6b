//! The folder that a run writes its log into; emptied afterwards unless the log is meant to stay.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{removal::Made, stop::Stop};

/// An empty folder at first, ours alone.
#[derive(Debug)]
pub struct DataDir {
    made: Made,
    keep: bool,
    stop: Stop,
}

/// Why there is no such folder.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Somebody's files are there.
    #[error(
        "{path} is not empty: name a folder that does not exist yet, for example {}",
        .path.join("trunkline-data").display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// It can't be made or read.
    #[error("data folder {path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the folder, and those above it; an empty one that exists is taken, and will stay.
    pub fn create(path: &Path, keep: bool, stop: &Stop) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.into(), source };
        let made = Made::create(path).map_err(failed)?;
        if fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(DataDirError::NotEmpty { path: path.into() });
        }
        if !keep {
            stop.doom(made.clone());
        }
        Ok(Self { made, keep, stop: stop.clone() })
    }

    /// A name under the current folder that is this process's own.
    pub fn default_path() -> PathBuf {
        PathBuf::from(format!(".trunkline-{}", std::process::id()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.made.path()
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = self.made.remove() {
            eprintln!("could not remove {}: {error}", self.path().display());
        }
        self.stop.spare(&self.made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_with_its_guard_unless_it_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        for keep in [false, true] {
            let dir = DataDir::create(&path, keep, &Stop::default()).unwrap();
            fs::write(dir.path().join("file"), b"x").unwrap();
            drop(dir);
            assert_eq!(path.exists(), keep);
        }
        let error = DataDir::create(&path, false, &Stop::default()).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert!(path.join("file").exists(), "somebody else's files stay");
    }
}
