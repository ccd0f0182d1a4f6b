//! A topic and its partitions, as producers and consumers hold them.

use std::sync::Arc;

use super::{OfflinePartition, TopicConfig};
use crate::{
    log::PartitionLog,
    sync::atomic::{AtomicBool, Ordering},
    types::{TopicId, TopicName},
};

/// A topic of an open engine. Shared as `Arc<Topic>`; outlives its deletion, after which every use of
/// its partitions is a typed error.
///
/// Records are deleted from a partition's front, by its log:
///
/// ```
/// # use trunkline::{Engine, EngineOptions, ProducerOptions, ProducerRecord, TopicConfig};
/// # let folder = tempfile::tempdir()?;
/// # let engine = Engine::open(EngineOptions::new(folder.path()))?;
/// # let topic = engine.create_topic("orders", 1, TopicConfig::default())?;
/// # let producer = engine.producer(ProducerOptions::default())?;
/// # let record = ProducerRecord::of_value(b"two apples");
/// # let acks = [producer.send(&topic, &record)?, producer.send(&topic, &record)?];
/// # let last = acks.map(|ack| ack.wait().unwrap())[1].offset.unwrap();
/// let partition = topic.partition(0).ok_or("no such partition")?;
/// let log_start = partition.delete_records_before(last)?; // −1: all that are committed
/// assert_eq!(log_start, last);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Topic {
    name: TopicName,
    id: TopicId,
    number: u32,
    config: TopicConfig,
    /// By number.
    partitions: Vec<Arc<PartitionLog>>,
    /// By number.
    offline: Vec<OfflinePartition>,
    deleted: AtomicBool,
}

impl Topic {
    /// A topic with the partitions that this engine holds, in any order. `number` is dense: small, and
    /// never given to another topic while the engine is open. Where there is no partition, sends are
    /// refused.
    ///
    /// # Panics
    /// Where a partition is not this topic's.
    pub fn new(
        name: TopicName,
        id: TopicId,
        number: u32,
        config: TopicConfig,
        mut partitions: Vec<Arc<PartitionLog>>,
    ) -> Self {
        assert!(partitions.iter().all(|log| log.partition().topic == name), "one topic: {name}");
        partitions.sort_by_key(|log| log.partition().partition);
        let (offline, deleted) = (Vec::new(), AtomicBool::new(false));
        Self { name, id, number, config, partitions, offline, deleted }
    }

    /// This topic with the partitions that are here and are not served, in any order.
    ///
    /// # Panics
    /// Where one is not this topic's.
    #[must_use]
    pub fn with_offline(self, mut offline: Vec<OfflinePartition>) -> Self {
        let name = &self.name;
        assert!(offline.iter().all(|it| it.partition.topic == *name), "one topic: {name}");
        offline.sort_by_key(|it| it.partition.partition);
        Self { offline, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Its id, Kafka's.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Its number in this open engine: small, for tables; never reused.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its settings.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// The partitions that this engine serves, by number. All of them, but for those that are
    /// [offline](Topic::offline), and of a topic that was adopted from a broker's folder those that the
    /// broker did not have.
    pub fn partitions(&self) -> &[Arc<PartitionLog>] {
        &self.partitions
    }

    /// The partitions that this engine holds and does not serve: they could not be opened.
    pub fn offline(&self) -> &[OfflinePartition] {
        &self.offline
    }

    /// How many partitions the topic has, as far as this engine knows: one more than the highest
    /// number.
    pub fn partition_count(&self) -> u32 {
        let last = self.partitions.last().map(|log| log.partition());
        let offline = self.offline.last().map(|it| &it.partition);
        last.max(offline).map_or(0, |partition| partition.partition + 1)
    }

    /// Partition `number`, where this engine serves it: to ask where it stands, to fetch from it, or to
    /// delete records ([`PartitionLog::delete_records_before`]).
    pub fn partition(&self, number: u32) -> Option<&Arc<PartitionLog>> {
        let number_of = |log: &Arc<PartitionLog>| log.partition().partition;
        // Nearly always no partition is missing, and the number is the index.
        match self.partitions.get(number as usize) {
            Some(log) if number_of(log) == number => Some(log),
            _ => {
                let index = self.partitions.binary_search_by_key(&number, number_of).ok()?;
                self.partitions.get(index)
            }
        }
    }

    /// Whether the topic was deleted since.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// From now on the topic is deleted; `false` where it was already.
    pub(crate) fn set_deleted(&self) -> bool {
        !self.deleted.swap(true, Ordering::AcqRel)
    }
}
