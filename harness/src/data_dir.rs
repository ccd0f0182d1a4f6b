//! The folder that a run writes its log into; emptied afterwards unless the log is meant to stay.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{folder, removal::Made, stop::Stop};

/// What the name of a folder begins with that nobody named; a process number follows.
const PREFIX: &str = ".trunkline-";

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
        example.display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// One that could be used: never inside of a log.
        example: PathBuf,
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
            let example = match folder::log_above(path) {
                Some(log) => log.with_file_name("trunkline-data"),
                None => path.join("trunkline-data"),
            };
            return Err(DataDirError::NotEmpty { path: path.into(), example });
        }
        if keep {
            stop.keep(path);
        } else {
            stop.doom(made.clone());
        }
        Ok(Self { made, keep, stop: stop.clone() })
    }

    /// A name under the current folder that is this process's own.
    pub fn default_path() -> PathBuf {
        PathBuf::from(format!("{PREFIX}{}", std::process::id()))
    }

    /// The process whose default folder has this name.
    pub fn pid_of(name: &OsStr) -> Option<u32> {
        name.to_str()?.strip_prefix(PREFIX)?.parse().ok()
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
            crate::say!("could not remove {}: {error}", self.path().display());
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
        assert!(error.to_string().ends_with("a/b/trunkline-data"), "{error}");
        fs::create_dir(path.join("orders-0")).unwrap();
        fs::write(path.join("orders-0/00000000000000000000.log"), b"").unwrap();
        for inside in [path.clone(), path.join("orders-0")] {
            let error = DataDir::create(&inside, false, &Stop::default()).unwrap_err();
            assert!(error.to_string().ends_with("a/trunkline-data"), "{error}");
        }
    }
}
