//! Data folders that killed runs left behind: `.trunkline-PID` of a process that is no more.

use std::{fs, io, path::Path};

use trunkline::{io::Storage, log::LOCK_FILE};

use crate::{data_dir::DataDir, size::ByteSize};

/// What became of a leftover.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Its process is dead and nobody holds its lock: removed.
    Removed,
    /// Somebody uses it.
    InUse,
    /// It may be somebody's: left to the user.
    Left(String),
}

/// Removes what killed runs left in the folder `parent`, and tells of it.
pub fn clear(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let found =
        entries.filter_map(|entry| Some((DataDir::pid_of(&entry.file_name())?, entry.path())));
    for (pid, path) in found.filter(|(_, path)| path.is_dir()) {
        let bytes = bytes_of(&path);
        let size = ByteSize(if bytes >> 20 == 0 { bytes } else { bytes >> 20 << 20 });
        let shown = path.display();
        match clear_one(&path, Owner::of(pid)) {
            Fate::Removed => crate::say!("removed {shown} ({size}), left behind by a killed run"),
            Fate::Left(why) => crate::say!(
                "{shown} ({size}) may be left behind by a killed run ({why}); if nobody uses it, \
                 remove it: rm -r {shown}"
            ),
            Fate::InUse => {}
        }
    }
}

/// Whose number a folder bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Dead,
    /// A harness that may be between two logs.
    Harness,
    /// The number was given out again, as it seems.
    Other,
}

impl Owner {
    fn of(pid: u32) -> Self {
        let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm"));
        match name(&pid.to_string()) {
            // This process made nothing yet: the folder is of one that had the number before.
            _ if pid == std::process::id() => Self::Dead,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Dead,
            Ok(other) if name("self").is_ok_and(|own| own == other) => Self::Harness,
            _ => Self::Other,
        }
    }
}

fn clear_one(path: &Path, owner: Owner) -> Fate {
    // Held until the folder is gone, so that nobody opens it meanwhile.
    let file = path.join(LOCK_FILE);
    let lock = match file.exists().then(|| Storage::portable().lock(&file)).transpose() {
        // None: killed before its log was opened, or a living run that is about to.
        Ok(lock) => lock,
        Err(error) if error.source.kind() == io::ErrorKind::WouldBlock => return Fate::InUse,
        Err(error) => return Fate::Left(error.to_string()),
    };
    match owner {
        Owner::Dead => {}
        Owner::Harness => return Fate::InUse,
        Owner::Other => return Fate::Left("another program has its process number".into()),
    }
    let removed = match lock {
        Some(_) => fs::remove_dir_all(path),
        None => fs::remove_dir(path),
    };
    removed.map_or_else(|error| Fate::Left(error.to_string()), |()| Fate::Removed)
}

fn bytes_of(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, metadata)| if metadata.is_dir() { bytes_of(&path) } else { metadata.len() })
        .sum()
}

#[cfg(test)]
mod tests {
    use trunkline::{Engine, EngineOptions};

    use super::*;

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        // No process has this number: the kernel's largest is 2^22.
        let path = parent.path().join(".trunkline-999999999");
        let engine = Engine::open(EngineOptions::new(&path)).unwrap();
        clear(parent.path());
        assert!(path.exists(), "in use");
        engine.close().unwrap();
        assert!(matches!(clear_one(&path, Owner::Other), Fate::Left(_)));
        assert_eq!(clear_one(&path, Owner::Harness), Fate::InUse);
        assert_eq!((Owner::of(1), Owner::of(999_999_999)), (Owner::Other, Owner::Dead));
        clear(parent.path());
        assert!(!path.exists());

        fs::create_dir(&path).unwrap();
        fs::write(path.join("diary"), b"x").unwrap();
        let others = [".trunkline-x", "trunkline-999999999"].map(|name| parent.path().join(name));
        for other in &others {
            fs::create_dir(other).unwrap();
        }
        clear(parent.path());
        assert!(path.join("diary").exists(), "no log of ours: left to the user");
        assert!(others.iter().all(|other| other.exists()));
    }
}
