//! What stands in the log dirs: which folder is which partition.
//!
//! A folder named `<topic>-<n>` is a partition where the catalog lists its topic, or where its content
//! says so (`partition.metadata`, or a segment). The latter are Kafka's, or were listed in a catalog
//! that got lost: they are adopted, with settings of the owner's choice. Everything else is kept and
//! left alone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Catalog, folder::Folder};
use crate::{
    error::IoError,
    io::{Entry, Storage},
    log::checkpoint::PARTITION_METADATA,
    types::TopicPartition,
};

/// Digits of a segment's file name.
const SEGMENT_DIGITS: usize = 20;

/// The folders of an engine.
#[derive(Debug, Default)]
pub struct Survey {
    /// Partitions, and where each stands.
    pub partitions: BTreeMap<TopicPartition, FoundPartition>,
    /// Folders of partitions that were given up.
    pub deleted: Vec<PathBuf>,
    /// What was kept and left alone.
    pub foreign: Vec<PathBuf>,
}

/// A partition's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartition {
    /// Which log dir it stands in, an index into the engine's.
    pub log_dir: usize,
    /// The folder.
    pub path: PathBuf,
}

/// Why the log dirs make no sense.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A partition stands twice: which of them is right, only its owner can say.
    #[error("partition {partition} stands in {} and in {}", first.display(), second.display())]
    Twice {
        /// The partition.
        partition: TopicPartition,
        /// A folder.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
}

impl Survey {
    /// Looks through `log_dirs`. Writes nothing.
    pub fn take(
        storage: &Storage,
        log_dirs: &[PathBuf],
        catalog: &Catalog,
    ) -> Result<Self, SurveyError> {
        let mut survey = Self::default();
        for (index, dir) in log_dirs.iter().enumerate() {
            for entry in storage.list_names(dir, |_| false)? {
                survey.look_at(storage, index, dir, &entry, catalog)?;
            }
        }
        Ok(survey)
    }

    fn look_at(
        &mut self,
        storage: &Storage,
        log_dir: usize,
        dir: &Path,
        entry: &Entry,
        catalog: &Catalog,
    ) -> Result<(), SurveyError> {
        if !entry.is_dir {
            return Ok(());
        }
        let path = dir.join(&entry.name);
        match entry.name.to_str().map_or(Folder::Foreign, Folder::classify) {
            Folder::Deleted => self.deleted.push(path),
            Folder::Partition(partition)
                if catalog.topics.contains_key(&partition.topic) || holds_log(storage, &path)? =>
            {
                let found = FoundPartition { log_dir, path: path.clone() };
                if let Some(first) = self.partitions.insert(partition.clone(), found) {
                    let (first, second) = (first.path, path);
                    return Err(SurveyError::Twice { partition, first, second });
                }
            }
            _ => self.foreign.push(path),
        }
        Ok(())
    }
}

/// Whether the folder's content is a partition's.
fn holds_log(storage: &Storage, folder: &Path) -> Result<bool, IoError> {
    let is_segment = |name: &str| {
        name.strip_suffix(".log").is_some_and(|digits| {
            digits.len() == SEGMENT_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    Ok(storage.list_names(folder, |_| false)?.iter().any(|entry| {
        let name = entry.name.to_str().unwrap_or_default();
        !entry.is_dir && (name == PARTITION_METADATA || is_segment(name))
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        topic::{CatalogEntry, Stage, TopicConfig},
        types::{TopicId, TopicName},
    };

    fn listed(name: &str) -> Catalog {
        let entry = CatalogEntry {
            id: TopicId([1; 16]),
            partitions: 1,
            stage: Stage::Live,
            config: TopicConfig::default(),
            refused: Vec::new(),
        };
        let topics = BTreeMap::from([(TopicName::new(name).unwrap(), entry)]);
        Catalog { generation: 1, topics }
    }

    #[test]
    fn partitions_are_told_from_what_only_looks_like_them() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().to_owned();
        let deleted = format!("old-0.{}-delete", "0".repeat(32));
        for folder in
            ["listed-0", "kafka-1", "segment-0", "backup-2024", "__cluster_metadata-0", &deleted]
        {
            fs::create_dir(dir.join(folder)).unwrap();
        }
        fs::write(dir.join("kafka-1/partition.metadata"), "").unwrap();
        fs::write(dir.join("segment-0/00000000000000000000.log"), "").unwrap();
        fs::write(dir.join("backup-2024/notes.log"), "").unwrap();
        fs::write(dir.join("__cluster_metadata-0/partition.metadata"), "").unwrap();
        fs::write(dir.join("meta.properties"), "").unwrap();
        let survey =
            Survey::take(&Storage::portable(), std::slice::from_ref(&dir), &listed("listed"))
                .unwrap();
        let names: Vec<_> = survey.partitions.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["kafka-1", "listed-0", "segment-0"]);
        assert_eq!(survey.deleted, [dir.join(deleted)]);
        assert_eq!(survey.foreign, [dir.join("__cluster_metadata-0"), dir.join("backup-2024")]);
    }

    #[test]
    fn a_partition_in_two_log_dirs_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let dirs = [root.path().join("a"), root.path().join("b")];
        for dir in &dirs {
            fs::create_dir_all(dir.join("listed-0")).unwrap();
        }
        let error = Survey::take(&Storage::portable(), &dirs, &listed("listed")).unwrap_err();
        let SurveyError::Twice { first, second, .. } = error else { panic!("{error}") };
        assert_eq!((first, second), (dirs[0].join("listed-0"), dirs[1].join("listed-0")));
    }
}
