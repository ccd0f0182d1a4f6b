//! The engine: log dirs, topics, producers and consumers under one roof.
//!
//! The only room that makes threads of its own: one for housekeeping, and a few for the time of an
//! open or a close.

mod close;
mod error;
mod house;
mod open;
mod parallel;
mod registry;
mod report;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use error::{CloseError, CreateTopicError, DeleteTopicError, OpenError};
pub use report::{EngineMetrics, EngineReport, LogDirMetrics, LogDirReport};

use house::{House, Keeper};
use registry::Registry;

use crate::{
    consumer::{Consumer, ConsumerOptions, OptionsError},
    log::{LogDir, PartitionLog},
    options::EngineOptions,
    producer::{Producer, ProducerError, ProducerOptions, WeakProducer},
    sync::{
        Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    topic::{Topic, TopicConfig},
    types::TopicName,
};

/// An open engine. Share it by reference or in an `Arc`.
///
/// [`Engine::close`] ends it cleanly. Dropping it without that is what a crash would be: nothing more is
/// written, and the next open recovers. Either way topics, producers and consumers that are still held
/// then give typed errors, and the folders are free to be opened again.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    report: EngineReport,
    keeper: Mutex<Option<Keeper>>,
}

/// What the engine and its housekeeping thread share.
#[derive(Debug)]
struct Shared {
    options: EngineOptions,
    dirs: Vec<Arc<LogDir>>,
    topics: RwLock<BTreeMap<TopicName, Arc<Topic>>>,
    /// Held while topics come and go. Taken after `house` and before `topics`.
    registry: Mutex<Registry>,
    house: Mutex<House>,
    /// Those that [`Engine::producer`] made: they let go of a topic that is deleted.
    producers: Mutex<Vec<WeakProducer>>,
    closed: AtomicBool,
}

impl Engine {
    /// Opens the log dirs: locks them, takes back and finishes what a crash left half-done, recovers
    /// the partitions in parallel.
    pub fn open(options: EngineOptions) -> Result<Self, OpenError> {
        open::open(options)
    }

    /// What the open found and did.
    pub fn recovery_report(&self) -> &EngineReport {
        &self.report
    }

    /// Makes a topic: its partitions spread over the log dirs, each where the fewest are. When it
    /// returns, the topic is durable, whatever its `durability`; a crash before leaves nothing of it.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        config: TopicConfig,
    ) -> Result<Arc<Topic>, CreateTopicError> {
        self.shared.create_topic(name, partitions, config)
    }

    /// The topic of that name, made as [`Engine::create_topic`] makes it where there is none yet. One that
    /// exists stays as it is, with the partitions and settings that it has.
    ///
    /// ```
    /// # use trunkline::{Engine, EngineOptions, TopicConfig};
    /// # let folder = tempfile::tempdir()?;
    /// # let engine = Engine::open(EngineOptions::new(folder.path()))?;
    /// let made = engine.topic_or_create("orders", 3, TopicConfig::default())?;
    /// let found = engine.topic_or_create("orders", 5, TopicConfig::default())?;
    /// assert_eq!((made.id(), found.partition_count()), (found.id(), 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn topic_or_create(
        &self,
        name: &str,
        partitions: u32,
        config: TopicConfig,
    ) -> Result<Arc<Topic>, CreateTopicError> {
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        match self.create_topic(name, partitions, config) {
            // Another thread was first.
            Err(CreateTopicError::Exists(name)) => {
                self.topic(name.as_str()).ok_or(CreateTopicError::Exists(name))
            }
            other => other,
        }
    }

    /// Deletes a topic with all its records. Who still holds it gets errors from now on; its files go
    /// after `file.delete.delay.ms`. They stay open while a consumer has it assigned or somebody holds
    /// the [`Topic`]; this engine's producers let go of it here.
    pub fn delete_topic(&self, name: &str) -> Result<(), DeleteTopicError> {
        let deleted = self.shared.delete_topic(name);
        // Those whose records fail are told so: no lock is held meanwhile.
        let producers = self.shared.producers.lock().clone();
        producers.iter().for_each(WeakProducer::release_deleted);
        deleted
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        let topics = self.shared.topics.read();
        let topic = topics.get(&TopicName::new(name).ok()?)?;
        (!topic.is_deleted()).then(|| topic.clone())
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        let topics = self.shared.topics.read();
        topics.values().filter(|topic| !topic.is_deleted()).cloned().collect()
    }

    /// A producer with a sender thread of its own; many threads may share it.
    pub fn producer(&self, options: ProducerOptions) -> Result<Producer, ProducerError> {
        let producer = Producer::new(self.shared.options.clock.clone(), options)?;
        let mut producers = self.shared.producers.lock();
        producers.retain(WeakProducer::is_alive);
        producers.push(producer.downgrade());
        Ok(producer)
    }

    /// A consumer without partitions; assign some.
    pub fn consumer(&self, options: ConsumerOptions) -> Result<Consumer, OptionsError> {
        Consumer::new(options)
    }

    /// What happened so far.
    pub fn metrics(&self) -> EngineMetrics {
        let topics = self.topics();
        EngineMetrics::of(&self.shared.dirs, topics.iter().flat_map(|topic| topic.partitions()))
    }

    /// Does what is due at `now` ([`Clock::monotonic`](crate::clock::Clock::monotonic)): retention,
    /// removal of deleted files, checkpoints. Gives the time of the next call; an earlier one does no
    /// harm. For [`Housekeeping::Manual`](crate::options::Housekeeping::Manual).
    pub fn keep_house(&self, now: Duration) -> Duration {
        self.shared.keep_house(now)
    }

    /// Closes the engine: every log is synced and trimmed to Kafka's shape, checkpoints and producers'
    /// snapshots are written, the clean-shutdown markers last. Where something fails, the rest is
    /// closed all the same. Close producers before: what they have not sent yet is refused afterwards.
    /// A call while the engine is being closed, or later, returns when that is done: with the same
    /// outcome.
    pub fn close(&self) -> Result<(), CloseError> {
        self.stop_keeper();
        self.shared.close()
    }

    fn stop_keeper(&self) {
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.stop();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_keeper();
        self.shared.abandon();
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Every partition, with its topic.
    fn logs(&self) -> Vec<(Arc<Topic>, Arc<PartitionLog>)> {
        let topics = self.topics.read();
        let pairs = topics
            .values()
            .flat_map(|topic| topic.partitions().iter().map(|log| (topic.clone(), log.clone())));
        pairs.collect()
    }

    fn threads(&self) -> usize {
        self.options.recovery_threads.unwrap_or_else(parallel::cores)
    }
}
