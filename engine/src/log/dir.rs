//! One log dir: its lock, its checkpoints, its group commit. What all partitions of a folder share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    checkpoint::{
        CheckpointError, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, remove_clean_shutdown,
        write_clean_shutdown, write_offsets,
    },
    state::{
        Checkpoint, Closed, DirState, LogStartConflict, PartitionState, StartState, Witnesses,
        held, own_states, start_of,
    },
};
use crate::{
    commit::{GroupCommit, Strategy},
    error::IoError,
    io::{Lock, Storage},
    sync::{Mutex, MutexGuard},
    types::{Offset, TopicPartition},
};

/// Name of the lock file in the root of a log dir, Kafka's own.
pub const LOCK_FILE: &str = ".lock";

/// Why a log dir could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Another process, or another engine of this one, has the folder open.
    #[error("{} is in use: {} is locked. Close the other engine or broker first", dir.display(), LOCK_FILE)]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// Why a checkpoint was not written.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The folder was given back ([`LogDir::close`], [`LogDir::release`]): another may hold it by now.
    #[error("{} was given back: nothing is written there any more", dir.display())]
    Released {
        /// The folder.
        dir: PathBuf,
    },
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

impl From<PersistError> for IoError {
    fn from(error: PersistError) -> Self {
        match error {
            PersistError::Io(error) => error,
            PersistError::Released { dir } => {
                let source = std::io::Error::other("the folder was given back");
                Self::new("write the checkpoints", dir, source)
            }
        }
    }
}

/// An open log dir, locked against every other process. Checkpoints are written through it.
#[derive(Debug)]
pub struct LogDir {
    storage: Storage,
    path: PathBuf,
    commit: Arc<GroupCommit>,
    found: Witnesses,
    damaged: Vec<CheckpointError>,
    writing: Mutex<Writing>,
    /// Partitions that are gone: what was found of them says nothing of a new one of that name.
    forgotten: Mutex<BTreeSet<TopicPartition>>,
}

/// What may be written, and the right to. Locked while a checkpoint is written, so that an older state
/// never replaces a newer one, and nothing is written once the folder is given back.
#[derive(Debug)]
struct Writing {
    /// What the next checkpoint says.
    states: States,
    /// `None` once the folder is given back.
    lock: Option<Box<dyn Lock>>,
}

#[derive(Debug)]
struct States {
    /// Each partition that is known, as it was found until its log tells more.
    lines: BTreeMap<TopicPartition, PartitionState>,
    /// Partitions whose log has told of itself. What Kafka's checkpoints say of the others stays.
    told: BTreeSet<TopicPartition>,
    /// Partitions that were refused as closed ([`LogStartConflict`]).
    held: BTreeSet<TopicPartition>,
}

impl LogDir {
    /// Opens a folder, made when absent, durably: locks it, reads what its root says, then marks it as in use
    /// (the clean-shutdown marker is removed, `trunkline-state` says `open`), durably.
    pub fn open(storage: &Storage, path: &Path, strategy: Strategy) -> Result<Self, DirError> {
        storage.create_dir_all(path)?;
        let lock =
            storage.lock(&path.join(LOCK_FILE)).map_err(|error| match error.source.kind() {
                std::io::ErrorKind::WouldBlock => DirError::Locked { dir: path.into() },
                _ => DirError::Io(error),
            })?;
        let (found, damaged) = Witnesses::read(storage, path)?;
        for error in &damaged {
            tracing::warn!(%error, "a checkpoint is damaged and not believed");
        }
        let (lines, held) = (own_states(&found), held(&found));
        let states = States { lines, told: BTreeSet::new(), held };
        let dir = Self {
            storage: storage.clone(),
            path: path.into(),
            commit: GroupCommit::new(storage.clone(), strategy),
            found,
            damaged,
            writing: Mutex::new(Writing { states, lock: Some(lock) }),
            forgotten: Mutex::default(),
        };
        let mark = || dir.write_state(Closed::Open, &dir.writing.lock().states);
        if dir.found.is_overtaken() {
            // Our old lines go before what tells that they are old.
            mark()?;
            remove_clean_shutdown(storage, path)?;
        } else {
            remove_clean_shutdown(storage, path)?;
            mark()?;
        }
        Ok(dir)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder's files.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The group commit of the folder's files.
    pub fn commit(&self) -> &Arc<GroupCommit> {
        &self.commit
    }

    /// Checkpoints that could not be believed at open.
    pub fn damaged(&self) -> &[CheckpointError] {
        &self.damaged
    }

    /// Whether the folder was closed cleanly before it was opened.
    pub fn was_closed_cleanly(&self) -> bool {
        self.found.clean_marker
    }

    /// Where a partition's recovery starts, as found when the folder was opened.
    pub fn start_state(&self, partition: &TopicPartition) -> Result<StartState, LogStartConflict> {
        if self.forgotten.lock().contains(partition) {
            return start_of(&Witnesses::default(), partition);
        }
        start_of(&self.found, partition)
    }

    /// What the next checkpoint says of a partition. The partition's log tells it: a state from elsewhere
    /// may be overtaken by a truncation.
    pub(super) fn note(&self, partition: &TopicPartition, state: PartitionState) {
        let states = &mut self.writing.lock().states;
        states.lines.insert(partition.clone(), state);
        states.told.insert(partition.clone());
    }

    /// Writes a partition's state to both checkpoints before it returns.
    pub fn persist_one(
        &self,
        partition: &TopicPartition,
        state: PartitionState,
    ) -> Result<(), PersistError> {
        let mut writing = self.writable()?;
        let states = &mut writing.states;
        let before = states.lines.insert(partition.clone(), state);
        let is_first = states.told.insert(partition.clone());
        let written = self.write(Closed::Open, states);
        if written.is_err() {
            // What was refused must not come true with another partition's checkpoint.
            match before {
                Some(before) => states.lines.insert(partition.clone(), before),
                None => states.lines.remove(partition),
            };
            if is_first {
                states.told.remove(partition);
            }
        }
        Ok(written?)
    }

    /// Partitions are gone: no checkpoint speaks of them any more.
    pub fn forget(&self, partitions: &[TopicPartition]) -> Result<(), PersistError> {
        let mut writing = self.writable()?;
        self.forgotten.lock().extend(partitions.iter().cloned());
        let states = &mut writing.states;
        states.lines.retain(|partition, _| !partitions.contains(partition));
        states.told.retain(|partition| !partitions.contains(partition));
        Ok(self.write(Closed::Open, states)?)
    }

    /// Writes what was noted.
    pub fn persist(&self) -> Result<(), PersistError> {
        Ok(self.write(Closed::Open, &self.writable()?.states)?)
    }

    /// Writes what was noted as final, then the clean-shutdown marker, and gives the folder back.
    /// Every partition must be closed.
    pub fn close(&self) -> Result<(), PersistError> {
        let mut writing = self.writable()?;
        self.write(Closed::Clean, &writing.states)?;
        write_clean_shutdown(&self.storage, &self.path)?;
        writing.lock = None;
        Ok(())
    }

    /// Gives the folder back as a crash would leave it, once a checkpoint under way is written. No
    /// partition may be written to any more.
    pub fn release(&self) {
        self.writing.lock().lock = None;
    }

    /// What is to be written, as long as the folder is ours.
    fn writable(&self) -> Result<MutexGuard<'_, Writing>, PersistError> {
        let writing = self.writing.lock();
        match writing.lock {
            Some(_) => Ok(writing),
            None => Err(PersistError::Released { dir: self.path.clone() }),
        }
    }

    /// Ours first while the folder is in use: where the two disagree after a crash, ours is the newer
    /// one. At a clean close ours is last: it says that Kafka's are complete.
    fn write(&self, closed: Closed, states: &States) -> Result<(), IoError> {
        match closed {
            Closed::Open => {
                self.write_state(closed, states)?;
                self.write_kafkas(states)
            }
            Closed::Clean => {
                self.write_kafkas(states)?;
                self.write_state(closed, states)
            }
        }
    }

    fn write_state(&self, closed: Closed, states: &States) -> Result<(), IoError> {
        let held = states.held.difference(&states.told);
        let held = held.filter(|partition| states.lines.contains_key(partition)).cloned().collect();
        let state = DirState { closed, partitions: states.lines.clone(), held };
        state.store(&self.storage, &self.path)
    }

    fn write_kafkas(&self, states: &States) -> Result<(), IoError> {
        let found = &self.found;
        let write = |name: &str, found: &Checkpoint, of: fn(&PartitionState) -> Offset| {
            let mut offsets = self.not_told(found, states);
            let told = states.lines.iter().filter(|(name, _)| states.told.contains(name));
            offsets.extend(told.map(|(partition, state)| (partition.clone(), of(state))));
            write_offsets(&self.storage, &self.path.join(name), &offsets)
        };
        write(RECOVERY_POINTS, &found.recovery_points, |state| state.recovery_point)?;
        write(LOG_STARTS, &found.log_starts, |state| state.log_start)?;
        write(HIGH_WATERMARKS, &found.high_watermarks, |state| state.high_watermark)
    }

    /// What was found of partitions that were not opened, or not yet: nothing else speaks of what another
    /// program left of them.
    fn not_told(&self, found: &Checkpoint, states: &States) -> BTreeMap<TopicPartition, Offset> {
        let Checkpoint::Read(lines) = found else { return BTreeMap::new() };
        let forgotten = self.forgotten.lock();
        lines
            .iter()
            .filter(|(partition, _)| !states.told.contains(partition))
            .filter(|(partition, _)| !forgotten.contains(partition))
            .map(|(partition, line)| (partition.clone(), line.offset))
            .collect()
    }
}
