//! A data folder as its names tell it: which partitions, which segments. Only lists and opens for
//! reading, so that it works on a folder that another program has open.

use std::{
    io,
    path::{Path, PathBuf},
};

use trunkline::{
    error::IoError,
    io::{Entry, Storage},
    log::{
        checkpoint::{CLEAN_SHUTDOWN, RECOVERY_POINTS},
        state::STATE_FILE,
    },
    segment::{FileName, Stage, Suffix},
    topic::TOPICS_FILE,
    types::TopicPartition,
};

/// Kafka's file that names the broker of a log dir.
const META_PROPERTIES: &str = "meta.properties";
/// Folders of a data root that no partition lives in any more, or not yet.
const SET_ASIDE: [&str; 3] = ["-delete", "-future", "-stray"];

/// A partition's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionFolder {
    /// The partition that the folder's name tells.
    pub name: TopicPartition,
    /// Where it is.
    pub path: PathBuf,
}

/// What a path turned out to be.
#[derive(Debug)]
pub enum Place {
    /// A data folder (Kafka: a log dir).
    Root {
        /// Its partitions, by topic and number.
        partitions: Vec<PartitionFolder>,
        /// Folders of deleted, moving or stray partitions.
        set_aside: Vec<PathBuf>,
    },
    /// One partition's folder.
    Partition(PartitionFolder),
    /// A single file.
    File(PathBuf),
}

impl Place {
    /// Looks what is at `path`. A folder with segments in it is a partition's, every other a root.
    pub fn find(storage: &Storage, path: &Path) -> Result<Self, IoError> {
        let io = |error| IoError::new("open", path, error);
        if std::fs::metadata(path).map_err(io)?.is_file() {
            return Ok(Self::File(path.into()));
        }
        let entries = storage.list(path)?;
        let is_segments = |entry: &Entry| {
            entry.name.to_str().and_then(FileName::parse).is_some() && !entry.is_dir
        };
        // `.` and `..` have a name too.
        let full = path.canonicalize().map_err(io)?;
        let own = full.file_name().and_then(|name| name.to_str());
        if entries.iter().any(is_segments) {
            let name = own.and_then(TopicPartition::from_folder).ok_or_else(|| {
                let text = "holds segments, but its name is not <topic>-<number>";
                io(io::Error::other(text))
            })?;
            return Ok(Self::Partition(PartitionFolder { name, path: path.into() }));
        }
        let (mut partitions, mut set_aside) = (Vec::new(), Vec::new());
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let Some(name) = entry.name.to_str() else { continue };
            if let Some(name) = TopicPartition::from_folder(name) {
                partitions.push(PartitionFolder { name, path: path.join(&entry.name) });
            } else if SET_ASIDE.iter().any(|suffix| name.ends_with(suffix)) {
                set_aside.push(path.join(&entry.name));
            }
        }
        partitions.sort();
        Ok(Self::Root { partitions, set_aside })
    }
}

/// The data folder that `path` is or lies in: the outermost folder that holds what only a log has.
pub fn log_above(path: &Path) -> Option<PathBuf> {
    let full = path.ancestors().find_map(|above| above.canonicalize().ok())?;
    full.ancestors().filter(|above| is_log(above)).last().map(Path::to_owned)
}

/// Whether a folder holds a log's own files, ours or Kafka's, or partitions with segments.
fn is_log(dir: &Path) -> bool {
    let own = [STATE_FILE, TOPICS_FILE, META_PROPERTIES, CLEAN_SHUTDOWN, RECOVERY_POINTS];
    if own.iter().any(|name| dir.join(name).is_file()) {
        return true;
    }
    match Place::find(&Storage::portable(), dir) {
        Ok(Place::Partition(_)) => true,
        Ok(Place::Root { partitions, .. }) => partitions.iter().any(|partition| {
            let listing = Listing::read(&Storage::portable(), &partition.path);
            listing.is_ok_and(|listing| !listing.live.is_empty())
        }),
        _ => false,
    }
}

/// The files of a partition's folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Segment files in use, sorted by base offset and kind, with their lengths.
    pub live: Vec<(FileName, u64)>,
    /// Names of files that are being made or given up, and of what recovery kept aside.
    pub aside: Vec<String>,
}

impl Listing {
    /// Lists the folder.
    pub fn read(storage: &Storage, dir: &Path) -> Result<Self, IoError> {
        let mut listing = Self::default();
        for entry in storage.list(dir)?.iter().filter(|entry| !entry.is_dir) {
            let Some(text) = entry.name.to_str() else { continue };
            match FileName::parse(text) {
                Some(name) if name.stage == Stage::Live => listing.live.push((name, entry.len)),
                Some(_) => listing.aside.push(text.into()),
                None if text.ends_with(".quarantined") => listing.aside.push(text.into()),
                None => {}
            }
        }
        listing.live.sort_unstable();
        Ok(listing)
    }

    /// Base offsets (of snapshots: their offsets) of the files of one kind, rising, with lengths.
    pub fn of(&self, suffix: Suffix) -> impl Iterator<Item = (i64, u64)> {
        let wanted = self.live.iter().filter(move |(name, _)| name.suffix == suffix);
        wanted.map(|(name, len)| (name.base_offset, *len))
    }
}
