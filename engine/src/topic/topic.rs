//! A topic and its partitions, as producers and consumers hold them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::TopicConfig;
use crate::{
    log::PartitionLog,
    types::{TopicId, TopicName},
};

/// A topic of an open engine. Shared as `Arc<Topic>`; outlives its deletion, after which every use of
/// its partitions is a typed error.
#[derive(Debug)]
pub struct Topic {
    name: TopicName,
    id: TopicId,
    number: u32,
    config: TopicConfig,
    /// By number.
    partitions: Vec<Arc<PartitionLog>>,
    deleted: AtomicBool,
}

impl Topic {
    /// A topic with the partitions that this engine holds, in any order. `number` is dense: small, and
    /// never given to another topic while the engine is open.
    ///
    /// # Panics
    /// Where there is no partition, or one that is not this topic's.
    pub fn new(
        name: TopicName,
        id: TopicId,
        number: u32,
        config: TopicConfig,
        mut partitions: Vec<Arc<PartitionLog>>,
    ) -> Self {
        assert!(!partitions.is_empty(), "{name} has no partition");
        assert!(partitions.iter().all(|log| log.partition().topic == name), "one topic: {name}");
        partitions.sort_by_key(|log| log.partition().partition);
        Self { name, id, number, config, partitions, deleted: AtomicBool::new(false) }
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

    /// The partitions that this engine holds, by number. All of them, but for a topic that was adopted
    /// from a broker's folder: that broker may have had a part of it.
    pub fn partitions(&self) -> &[Arc<PartitionLog>] {
        &self.partitions
    }

    /// How many partitions the topic has, as far as this engine knows: one more than the highest
    /// number.
    pub fn partition_count(&self) -> u32 {
        self.partitions.last().map_or(0, |log| log.partition().partition + 1)
    }

    /// Partition `number`, where this engine holds it.
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
    pub fn set_deleted(&self) -> bool {
        !self.deleted.swap(true, Ordering::AcqRel)
    }
}
