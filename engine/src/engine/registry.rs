//! Topics come and go. Each change is written to the catalog before it begins and when it is done, so
//! that a crash in between is taken back (a creation) or finished (a deletion) at the next open.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    CloseError, CreateTopicError, DeleteTopicError, Shared, house::Trash, parallel::in_parallel,
};
use crate::{
    error::IoError,
    limits::MAX_PARTITIONS,
    log::{LogDir, PartitionLog, UnrecoveredLog, checkpoint::write_partition_metadata},
    topic::{
        Catalog, CatalogEntry, DirLoad, Stage, Topic, TopicConfig, deleted_name, is_reserved, place,
    },
    types::{TopicId, TopicName, TopicPartition},
};

/// What changes with the topics.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) catalog: Catalog,
    /// The next topic's number.
    pub(super) next_number: u32,
    pub(super) rng: fastrand::Rng,
    /// Folders of deleted topics.
    pub(super) trash: Vec<Trash>,
    /// How the close went, once it is done.
    pub(super) closed: Option<Result<(), CloseError>>,
}

/// A partition that is to be made.
struct Plan {
    partition: TopicPartition,
    dir: Arc<LogDir>,
}

impl Plan {
    fn path(&self) -> PathBuf {
        self.dir.path().join(self.partition.to_string())
    }
}

impl Registry {
    /// Changes a topic's entry, or removes it: durable in every log dir, or not changed here.
    fn set(
        &mut self,
        shared: &Shared,
        name: &TopicName,
        entry: Option<CatalogEntry>,
    ) -> Result<(), IoError> {
        let mut changed = self.catalog.clone();
        changed.generation += 1;
        // A copy of a generation that failed may stand in a log dir: its number is not used again.
        self.catalog.generation = changed.generation;
        match entry {
            Some(entry) => changed.topics.insert(name.clone(), entry),
            None => changed.topics.remove(name),
        };
        changed.store(&shared.options.storage, &shared.options.log_dirs)?;
        self.catalog = changed;
        Ok(())
    }
}

impl Shared {
    pub(super) fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        config: TopicConfig,
    ) -> Result<Arc<Topic>, CreateTopicError> {
        let name = TopicName::new(name)?;
        if is_reserved(&name) {
            return Err(CreateTopicError::Reserved(name));
        }
        if partitions == 0 || partitions > MAX_PARTITIONS {
            return Err(CreateTopicError::Partitions { most: MAX_PARTITIONS, found: partitions });
        }
        config.validate()?;
        if config.cleanup_policy.compacts() {
            return Err(CreateTopicError::Compaction(config.cleanup_policy));
        }
        let mut registry = self.registry.lock();
        if self.is_closed() {
            return Err(CreateTopicError::Closed);
        }
        self.check_name(&registry.catalog, &name)?;
        let plans = self.plan(&name, partitions)?;
        let id = TopicId::random(&mut registry.rng);
        let entry = |stage| {
            let (config, refused) = (config.clone(), Vec::new());
            CatalogEntry { id, partitions, stage, config, refused }
        };
        registry.set(self, &name, Some(entry(Stage::Creating)))?;
        let made = self.make_partitions(&plans, &config, id).and_then(|logs| {
            registry.set(self, &name, Some(entry(Stage::Live)))?;
            Ok(logs)
        });
        let logs = match made {
            Ok(logs) => logs,
            Err(error) => {
                self.take_back(&mut registry, &name, &plans);
                return Err(error);
            }
        };
        let number = registry.next_number;
        registry.next_number += 1;
        let topic = Arc::new(Topic::new(name.clone(), id, number, config, logs));
        self.topics.write().insert(name, topic.clone());
        Ok(topic)
    }

    fn check_name(&self, catalog: &Catalog, name: &TopicName) -> Result<(), CreateTopicError> {
        let topics = self.topics.read();
        let same = |other: &&TopicName| blurred(other) == blurred(name);
        match topics.keys().chain(catalog.topics.keys()).find(same) {
            Some(other) if other == name => Err(CreateTopicError::Exists(name.clone())),
            Some(other) => {
                Err(CreateTopicError::Collides { name: name.clone(), other: other.clone() })
            }
            None => Ok(()),
        }
    }

    /// Where the partitions are to stand; there must be nothing yet.
    fn plan(&self, name: &TopicName, partitions: u32) -> Result<Vec<Plan>, CreateTopicError> {
        let logs = self.logs();
        let mut loads = Vec::with_capacity(self.dirs.len());
        for dir in &self.dirs {
            let partitions = logs.iter().filter(|(_, log)| Arc::ptr_eq(log.dir(), dir)).count();
            let free_bytes = self.options.storage.free_bytes(dir.path())?;
            loads.push(DirLoad { partitions, free_bytes });
        }
        let mut plans = Vec::with_capacity(partitions as usize);
        for (number, index) in (0..partitions).zip(place(&loads, partitions)) {
            let partition = TopicPartition::new(name.clone(), number);
            plans.push(Plan { partition, dir: self.dirs[index].clone() });
        }
        let mut taken = Vec::new();
        for dir in &self.dirs {
            let entries = self.options.storage.list_names(dir.path(), |_| false)?;
            taken.extend(entries.into_iter().map(|entry| dir.path().join(entry.name)));
        }
        taken.sort();
        for plan in &plans {
            for dir in &self.dirs {
                let path = dir.path().join(plan.partition.to_string());
                if taken.binary_search(&path).is_ok() {
                    return Err(CreateTopicError::InTheWay { path });
                }
            }
        }
        Ok(plans)
    }

    fn make_partitions(
        &self,
        plans: &[Plan],
        config: &TopicConfig,
        id: TopicId,
    ) -> Result<Vec<Arc<PartitionLog>>, CreateTopicError> {
        let config = self.options.log_config(config);
        let made = in_parallel(self.threads(), plans.iter().collect(), |plan: &Plan| {
            let Plan { partition, dir } = plan;
            let clock = self.options.clock.clone();
            let log = UnrecoveredLog::open(dir, partition, config.clone(), clock)
                .and_then(UnrecoveredLog::recover)
                .map_err(|source| {
                    let partition = partition.clone();
                    CreateTopicError::Partition { partition, source }
                })?;
            write_partition_metadata(&self.options.storage, &plan.path(), id)?;
            Ok(Arc::new(log.0))
        });
        made.into_iter().collect()
    }

    /// Undoes a creation that failed. What cannot be undone now is undone at the next open.
    fn take_back(&self, registry: &mut Registry, name: &TopicName, plans: &[Plan]) {
        // A log dir may have the entry as live already: no folder goes before the entry says so.
        let deleting = registry.catalog.topics.get(name).cloned();
        let deleting = deleting.map(|entry| CatalogEntry { stage: Stage::Deleting, ..entry });
        let undone = registry.set(self, name, deleting).and_then(|()| {
            plans.iter().try_for_each(|plan| {
                let path = plan.path();
                if self.options.storage.exists(&path)? { self.remove_folder(&path) } else { Ok(()) }
            })
        });
        let partitions: Vec<_> = plans.iter().map(|plan| plan.partition.clone()).collect();
        let undone = undone
            .and_then(|()| self.dirs.iter().try_for_each(|dir| Ok(dir.forget(&partitions)?)))
            .and_then(|()| registry.set(self, name, None));
        if let Err(error) = undone {
            tracing::error!(topic = %name, %error, "a creation that failed is taken back later");
        }
    }

    pub(super) fn delete_topic(&self, name: &str) -> Result<(), DeleteTopicError> {
        let unknown = || DeleteTopicError::Unknown(name.chars().take(300).collect());
        let mut registry = self.registry.lock();
        if self.is_closed() {
            return Err(DeleteTopicError::Closed);
        }
        let topic =
            TopicName::new(name).ok().and_then(|name| self.topics.read().get(&name).cloned());
        let topic = topic.ok_or_else(unknown)?;
        let name = topic.name();
        let entry = CatalogEntry {
            id: topic.id(),
            partitions: topic.partition_count(),
            stage: Stage::Deleting,
            config: topic.config().clone(),
            refused: Vec::new(),
        };
        let before = registry.catalog.topics.get(name).cloned();
        let begun = registry.set(self, name, Some(entry));
        // A log dir may have it all the same, and the next open would believe that one. Unless all of
        // them say again that the topic lives, nothing may be acknowledged any more.
        if begun.is_err() && registry.set(self, name, before).is_ok() {
            return Ok(begun?);
        }
        topic.set_deleted();
        topic.partitions().iter().for_each(|log| log.abandon());
        begun?;
        self.move_to_trash(&mut registry, &topic)?;
        registry.set(self, name, None)?;
        self.topics.write().remove(name);
        Ok(())
    }

    fn move_to_trash(&self, registry: &mut Registry, topic: &Topic) -> Result<(), IoError> {
        let storage = &self.options.storage;
        let delay = Duration::from_millis(topic.config().file_delete_delay_ms as u64);
        let at = self.options.clock.monotonic().saturating_add(delay);
        let served = topic.partitions().iter().map(|log| (log.partition(), log.dir(), log.path()));
        let offline =
            topic.offline().iter().map(|it| (&it.partition, &it.log_dir, it.path.as_path()));
        let mut partitions = Vec::new();
        for (partition, dir, from) in served.chain(offline) {
            partitions.push(partition.clone());
            // An earlier try may have come this far.
            if storage.exists(from)? {
                let id = registry.rng.u128(..);
                let path = dir.path().join(deleted_name(partition, id));
                storage.rename(from, &path)?;
                registry.trash.push(Trash { at, path });
            }
        }
        for dir in &self.dirs {
            storage.sync_dir(dir.path())?;
            dir.forget(&partitions)?;
        }
        Ok(())
    }
}

/// The name as Kafka's metrics see it.
fn blurred(name: &TopicName) -> String {
    name.as_str().replace('.', "_")
}
