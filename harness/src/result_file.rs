//! The file that a result goes to: opened before the run, so that no run is measured in vain.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// An open file. What stood in it stays until the result is there; a new one goes again without.
#[derive(Debug)]
pub struct ResultFile {
    path: PathBuf,
    file: File,
    is_empty_and_ours: bool,
}

impl ResultFile {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        Ok(Self { path: path.into(), file, is_empty_and_ours: is_new })
    }

    /// Writes the result in place of what stood there.
    pub fn write(mut self, text: &str) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.is_empty_and_ours = false;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if self.is_empty_and_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_result_is_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        drop(ResultFile::open(&path).unwrap());
        assert!(!path.exists());
        ResultFile::open(&path).unwrap().write("a long result").unwrap();
        drop(ResultFile::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "a long result");
        ResultFile::open(&path).unwrap().write("short").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
        assert!(ResultFile::open(&dir.path().join("none/run.json")).is_err());
    }
}
