//! What a run made in the file system, and how it goes again: the user's own folders stay.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How often a folder is emptied while threads may still make files in it. Each of them fails as soon
/// as its partition's folder is gone, so a few times are enough.
const ATTEMPTS: u32 = 100;

/// A folder whose contents are ours, with the folders that were made to hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    path: PathBuf,
    /// Those that did not exist before, the innermost first.
    folders: Vec<PathBuf>,
}

impl Made {
    /// Makes `path` and the folders above it, as far as they do not exist.
    pub fn create(path: &Path) -> io::Result<Self> {
        check_folder(path)?;
        let folders: Vec<PathBuf> = path
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
            .take_while(|folder| !folder.exists())
            .map(Path::to_owned)
            .collect();
        fs::create_dir_all(path)?;
        Ok(Self { path: path.into(), folders })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the contents, and the folders that were made unless somebody uses them.
    pub fn remove(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS {
            outcome = self.attempt();
            if outcome.is_ok() {
                break;
            }
        }
        outcome?;
        for folder in self.folders.iter().skip(1) {
            // Not empty: others have put something there.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    fn attempt(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let is_dir = entry.file_type()?.is_dir();
            let removed = if is_dir {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.folders.is_empty() { Ok(()) } else { fs::remove_dir(&self.path) }
    }
}

/// An error that names the file where `path`, or a folder above it, is one.
pub fn check_folder(path: &Path) -> io::Result<()> {
    match path.ancestors().find(|above| above.exists()) {
        Some(above) if !above.is_dir() => {
            let text = format!("{} is a file, not a folder", above.display());
            Err(io::Error::new(io::ErrorKind::NotADirectory, text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn what_was_there_stays_and_what_was_made_goes() {
        let parent = tempfile::tempdir().unwrap();
        let fill = |made: &Made| {
            fs::create_dir_all(made.path().join("harness-0")).unwrap();
            fs::write(made.path().join("harness-0/0.log"), b"x").unwrap();
            fs::write(made.path().join("meta"), b"x").unwrap();
        };
        let own = parent.path().join("own");
        fs::create_dir(&own).unwrap();
        let made = Made::create(&own).unwrap();
        fill(&made);
        made.remove().unwrap();
        assert!(own.exists() && fs::read_dir(&own).unwrap().next().is_none());

        let made = Made::create(&own.join("a/b")).unwrap();
        fill(&made);
        fs::write(own.join("theirs"), b"x").unwrap();
        made.remove().unwrap();
        assert!(!own.join("a").exists() && own.join("theirs").exists());
    }

    #[test]
    fn a_file_is_no_folder() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, b"x").unwrap();
        for path in [&file, &file.join("a/b")] {
            let text = Made::create(path).unwrap_err().to_string();
            assert!(text.ends_with("file is a file, not a folder"), "{text}");
        }
    }

    #[test]
    fn a_folder_goes_while_threads_still_write_into_it() {
        let parent = tempfile::tempdir().unwrap();
        let made = Made::create(&parent.path().join("data")).unwrap();
        let partition = made.path().join("harness-0");
        fs::create_dir(&partition).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0_u64.. {
                    // Like a log that rolls: it makes files as long as its folder is there.
                    let path = partition.join(number.to_string());
                    if done.load(Ordering::Relaxed) || fs::write(path, b"x").is_err() {
                        break;
                    }
                }
            });
            thread::sleep(std::time::Duration::from_millis(20));
            let removed = made.remove();
            done.store(true, Ordering::Relaxed);
            removed.unwrap();
        });
        assert!(!made.path().exists());
    }
}
