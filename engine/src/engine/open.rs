//! Opening: lock, look, finish what a crash left half-done, recover, go on.

use std::{
    collections::{BTreeMap, btree_map},
    path::PathBuf,
    sync::Arc,
};

use super::{
    Engine, EngineReport, LogDirReport, OpenError, Shared,
    house::{House, Keeper},
    parallel::{cores, in_parallel},
    registry::Registry,
};
use crate::{
    error::IoError,
    io::Storage,
    log::{
        LogDir, PartitionLog, RecoveryReport, UnrecoveredLog,
        checkpoint::{
            CheckpointError, PARTITION_METADATA, read_partition_metadata, write_partition_metadata,
        },
    },
    options::{EngineOptions, Housekeeping},
    sync::{Mutex, RwLock, atomic::AtomicBool},
    topic::{
        Catalog, ConfigError, FoundPartition, OfflinePartition, OfflineReason, Stage, Survey,
        Topic, TopicConfig,
    },
    types::{TopicId, TopicName, TopicPartition},
};

pub(super) fn open(options: EngineOptions) -> Result<Engine, OpenError> {
    if options.log_dirs.is_empty() {
        return Err(OpenError::NoLogDir);
    }
    options.adopted_topics.validate()?;
    let mut dirs = Vec::with_capacity(options.log_dirs.len());
    for path in &options.log_dirs {
        dirs.push(Arc::new(LogDir::open(&options.storage, path, options.commit_strategy)?));
    }
    let mut opening = Opening::new(options, dirs)?;
    opening.finish_changes()?;
    let jobs = opening.jobs()?;
    let recovered = opening.recover(jobs)?;
    opening.settle(&recovered)?;
    opening.into_engine(recovered)
}

/// An engine on its way.
struct Opening {
    options: EngineOptions,
    dirs: Vec<Arc<LogDir>>,
    catalog: Catalog,
    survey: Survey,
    report: EngineReport,
    /// The catalog is to be written.
    catalog_changed: bool,
    /// Partitions that are gone for good.
    gone: Vec<TopicPartition>,
}

/// A partition to be opened.
struct Job {
    partition: TopicPartition,
    log_dir: usize,
    path: PathBuf,
    config: TopicConfig,
    /// What of the topic's settings is refused.
    refused: Option<ConfigError>,
    /// The topic's id, where the catalog knows it.
    id: Option<TopicId>,
}

/// A partition that was looked at.
struct Opened {
    name: TopicName,
    state: Result<(Arc<PartitionLog>, RecoveryReport), OfflinePartition>,
    config: TopicConfig,
    id: Option<TopicId>,
}

/// Why a partition was not opened.
enum NotOpened {
    /// It alone.
    Offline(OfflineReason),
    /// With the engine: its folders are not what they are said to be.
    Engine(OpenError),
}

impl<E: Into<OfflineReason>> From<E> for NotOpened {
    fn from(error: E) -> Self {
        Self::Offline(error.into())
    }
}

impl Opening {
    fn new(options: EngineOptions, dirs: Vec<Arc<LogDir>>) -> Result<Self, OpenError> {
        let loaded = Catalog::load(&options.storage, &options.log_dirs)?;
        let survey = Survey::take(&options.storage, &options.log_dirs, &loaded.catalog)?;
        let report = EngineReport {
            log_dirs: dirs.iter().map(|dir| LogDirReport::of(dir)).collect(),
            foreign: survey.foreign.clone(),
            damaged_catalogs: loaded.damaged.iter().map(ToString::to_string).collect(),
            ..EngineReport::default()
        };
        for path in &survey.foreign {
            tracing::info!(path = %path.display(), "not ours: left alone");
        }
        // A folder without a catalog, a broker's, is not given one before it has a topic of ours.
        let catalog_changed = !loaded.is_everywhere && loaded.catalog != Catalog::default();
        let (catalog, gone) = (loaded.catalog, Vec::new());
        Ok(Self { options, dirs, catalog, survey, report, catalog_changed, gone })
    }

    /// Takes back creations and finishes deletions that a crash interrupted.
    fn finish_changes(&mut self) -> Result<(), OpenError> {
        let halfway: Vec<TopicName> = self
            .catalog
            .topics
            .iter()
            .filter(|(_, entry)| entry.stage != Stage::Live)
            .map(|(name, _)| name.clone())
            .collect();
        let mut doomed = std::mem::take(&mut self.survey.deleted);
        for name in &halfway {
            let (gone, kept) = std::mem::take(&mut self.survey.partitions)
                .into_iter()
                .partition(|(partition, _)| partition.topic == *name);
            self.survey.partitions = kept;
            let gone: BTreeMap<TopicPartition, FoundPartition> = gone;
            doomed.extend(gone.values().map(|found| found.path.clone()));
            let entry = self.catalog.topics.remove(name);
            let count = entry.map_or(0, |entry| entry.partitions);
            let all = (0..count).map(|number| TopicPartition::new(name.clone(), number));
            self.gone.extend(all.chain(gone.into_keys()));
            self.catalog_changed = true;
        }
        let storage = &self.options.storage;
        for path in &doomed {
            storage.remove_dir_all(path)?;
        }
        if !doomed.is_empty() {
            self.dirs.iter().try_for_each(|dir| storage.sync_dir(dir.path()))?;
        }
        self.report.removed = doomed;
        Ok(())
    }

    /// What is to be opened: every partition of a listed topic, and what was found besides.
    fn jobs(&mut self) -> Result<Vec<Job>, OpenError> {
        let mut found = std::mem::take(&mut self.survey.partitions);
        let mut jobs = Vec::with_capacity(found.len());
        for (name, entry) in &self.catalog.topics {
            for number in 0..entry.partitions {
                let partition = TopicPartition::new(name.clone(), number);
                let Some(FoundPartition { log_dir, path }) = found.remove(&partition) else {
                    let log_dirs = self.options.log_dirs.clone();
                    return Err(OpenError::MissingPartition { partition, log_dirs });
                };
                let (config, id) = (entry.config.clone(), Some(entry.id));
                let refused = entry.refused.first().map(|refused| refused.error.clone());
                jobs.push(Job { partition, log_dir, path, config, refused, id });
            }
        }
        for (partition, FoundPartition { log_dir, path }) in found {
            if self.catalog.topics.contains_key(&partition.topic) {
                tracing::warn!(%partition, "beyond the topic's partitions: left alone");
                self.report.foreign.push(path);
                continue;
            }
            if self.report.adopted.last() != Some(&partition.topic) {
                self.report.adopted.push(partition.topic.clone());
            }
            let config = self.options.adopted_topics.clone();
            jobs.push(Job { partition, log_dir, path, config, refused: None, id: None });
        }
        Ok(jobs)
    }

    fn recover(&self, jobs: Vec<Job>) -> Result<Vec<Opened>, OpenError> {
        let threads = self.options.recovery_threads.unwrap_or_else(cores);
        let opened = in_parallel(threads, jobs, |job| self.open_partition(job));
        let mut all = Vec::with_capacity(opened.len());
        let mut first_error = None;
        for result in opened {
            match result {
                Ok(opened) => all.push(opened),
                Err(error) => {
                    tracing::error!(%error, "a partition was not opened");
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(all), Err)
    }

    /// What cannot be opened for reasons of its own is offline.
    fn open_partition(&self, mut job: Job) -> Result<Opened, OpenError> {
        let state = match self.open_log(&mut job) {
            Ok(opened) => Ok(opened),
            Err(NotOpened::Engine(error)) => return Err(error),
            Err(NotOpened::Offline(reason)) => {
                let Job { partition, path, .. } = &job;
                tracing::error!(%partition, %reason, "offline: it could not be opened");
                Err(OfflinePartition {
                    partition: partition.clone(),
                    path: path.clone(),
                    log_dir: self.dirs[job.log_dir].clone(),
                    reason: Arc::new(reason),
                })
            }
        };
        let Job { partition, config, id, .. } = job;
        Ok(Opened { name: partition.topic, state, config, id })
    }

    /// Opens a partition's log, and finds its topic's id where it is not known yet.
    fn open_log(&self, job: &mut Job) -> Result<(Arc<PartitionLog>, RecoveryReport), NotOpened> {
        job.id = self.topic_id(&job.path, job.id)?;
        if let Some(error) = job.refused.take() {
            return Err(error.into());
        }
        let (dir, clock) = (&self.dirs[job.log_dir], self.options.clock.clone());
        let config = self.options.log_config(&job.config);
        let (log, report) = UnrecoveredLog::open(dir, &job.partition, config, clock)?.recover()?;
        if !report.clean {
            tracing::warn!(?report, "recovered");
            log.checkpoint()?;
        }
        Ok((Arc::new(log), report))
    }

    /// The topic's id by the partition's folder. A topic of ours has one there, a broker's may.
    fn topic_id(
        &self,
        path: &std::path::Path,
        expected: Option<TopicId>,
    ) -> Result<Option<TopicId>, NotOpened> {
        let storage: &Storage = &self.options.storage;
        let found = match (read_partition_metadata(storage, path), expected) {
            (Ok(found), _) => found,
            (Err(CheckpointError::Corrupt(corruption)), Some(_)) => {
                tracing::warn!(%corruption, "written anew from the list of topics");
                None
            }
            (Err(error), _) => return Err(error.into()),
        };
        match (expected, found) {
            (Some(expected), Some(found)) if expected != found => {
                let path = path.join(PARTITION_METADATA);
                return Err(NotOpened::Engine(OpenError::WrongTopic { path, expected, found }));
            }
            (Some(expected), None) => {
                write_partition_metadata(storage, path, expected).map_err(CheckpointError::Io)?;
            }
            _ => {}
        }
        Ok(expected.or(found))
    }

    /// Writes what the open has changed.
    fn settle(&mut self, opened: &[Opened]) -> Result<(), OpenError> {
        if !self.gone.is_empty() {
            self.dirs.iter().try_for_each(|dir| dir.forget(&self.gone)).map_err(IoError::from)?;
        } else if opened.iter().any(|it| it.state.as_ref().is_ok_and(|(_, it)| !it.clean)) {
            self.dirs.iter().try_for_each(|dir| dir.persist()).map_err(IoError::from)?;
        }
        if self.catalog_changed {
            self.catalog.generation += 1;
            self.catalog.store(&self.options.storage, &self.options.log_dirs)?;
        }
        Ok(())
    }

    fn into_engine(mut self, opened: Vec<Opened>) -> Result<Engine, OpenError> {
        let mut topics: BTreeMap<TopicName, Vec<Opened>> = BTreeMap::new();
        for opened in opened {
            let name = opened.name.clone();
            match topics.entry(name) {
                btree_map::Entry::Vacant(place) => drop(place.insert(vec![opened])),
                btree_map::Entry::Occupied(mut place) => place.get_mut().push(opened),
            }
        }
        let mut all = BTreeMap::new();
        for (number, (name, opened)) in topics.into_iter().enumerate() {
            let topic = assemble(number as u32, &name, opened, &mut self.report)?;
            all.insert(name, Arc::new(topic));
        }
        self.report.partitions.sort_by(|a, b| a.partition.cmp(&b.partition));
        self.report.offline.sort_by(|a, b| a.partition.cmp(&b.partition));
        let options = self.options;
        let registry = Registry {
            catalog: self.catalog,
            next_number: all.len() as u32,
            rng: options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            trash: Vec::new(),
            closed: None,
        };
        let house = House::new(options.clock.monotonic(), options.checkpoint_interval);
        let threaded = options.housekeeping == Housekeeping::Threaded;
        let shared = Arc::new(Shared {
            options,
            dirs: self.dirs,
            topics: RwLock::new(all),
            registry: Mutex::new(registry),
            house: Mutex::new(house),
            producers: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let engine = Engine { shared, report: self.report, keeper: Mutex::new(None) };
        if threaded {
            let keeper = Keeper::start(engine.shared.clone()).map_err(OpenError::Thread)?;
            *engine.keeper.lock() = Some(keeper);
        }
        Ok(engine)
    }
}

/// A topic of its partitions. They must agree on its id.
fn assemble(
    number: u32,
    name: &TopicName,
    opened: Vec<Opened>,
    report: &mut EngineReport,
) -> Result<Topic, OpenError> {
    let id = opened.iter().find_map(|opened| opened.id).unwrap_or(TopicId::ZERO);
    let config = opened.first().map(|opened| opened.config.clone()).unwrap_or_default();
    let (mut logs, mut offline) = (Vec::with_capacity(opened.len()), Vec::new());
    for Opened { state, id: found, .. } in opened {
        if let Some(found) = found.filter(|found| *found != id) {
            let path = state.as_ref().map_or_else(|it| &*it.path, |(log, _)| log.path());
            let path = path.join(PARTITION_METADATA);
            return Err(OpenError::WrongTopic { path, expected: id, found });
        }
        match state {
            Ok((log, recovery)) => {
                report.partitions.push(recovery);
                logs.push(log);
            }
            Err(it) => {
                report.offline.push(it.clone());
                offline.push(it);
            }
        }
    }
    Ok(Topic::new(name.clone(), id, number, config, logs).with_offline(offline))
}
