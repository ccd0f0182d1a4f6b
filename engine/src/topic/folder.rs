//! What a folder in a log dir is, by its name (`org.apache.kafka…LogManager`, `UnifiedLog`).

use crate::types::{TopicName, TopicPartition};

/// The cluster metadata log of a KRaft controller: its owner alone may open it.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// Ends the name of a partition's folder that was given up.
const DELETED: &str = "-delete";
/// Longest file name that file systems take, bytes.
const MAX_FILE_NAME: usize = 255;
/// Hex digits of the id in a given-up folder's name.
const ID_DIGITS: usize = 32;

/// What a folder in a log dir is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// A partition's log, if its content is one.
    Partition(TopicPartition),
    /// A partition that was given up: to be removed.
    Deleted,
    /// Not ours to touch: another log dir's copy in the making (`-future`), a stray of Kafka's
    /// (`-stray`), the cluster's metadata, anything else.
    Foreign,
}

impl Folder {
    /// What the folder `name` is.
    pub fn classify(name: &str) -> Self {
        if is_deleted(name) {
            return Self::Deleted;
        }
        match TopicPartition::from_folder(name) {
            Some(partition) if partition.topic.as_str() != METADATA_TOPIC => {
                Self::Partition(partition)
            }
            _ => Self::Foreign,
        }
    }
}

/// Name of `partition`'s folder once it is given up: `<topic>-<n>.<id>-delete`, the topic cut short
/// where the name would be too long for a file system. `id` tells apart what once had one name.
pub fn deleted_name(partition: &TopicPartition, id: u128) -> String {
    let suffix = format!("-{}.{id:032x}{DELETED}", partition.partition);
    let topic = partition.topic.as_str();
    // A topic's name is ASCII, so it may be cut anywhere.
    let kept = topic.len().min(MAX_FILE_NAME - suffix.len());
    format!("{}{suffix}", &topic[..kept])
}

/// Whether a topic of this name is one that an engine may have.
pub fn is_reserved(topic: &TopicName) -> bool {
    topic.as_str() == METADATA_TOPIC
}

fn is_deleted(name: &str) -> bool {
    let parts = name.strip_suffix(DELETED).and_then(|rest| rest.rsplit_once('.'));
    parts.is_some_and(|(partition, id)| {
        id.len() == ID_DIGITS
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && TopicPartition::from_folder(partition).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, number: u32) -> TopicPartition {
        TopicPartition::new(TopicName::new(topic).unwrap(), number)
    }

    #[test]
    fn folders_are_known_by_their_names() {
        let orders = Folder::Partition(partition("orders", 3));
        assert_eq!(Folder::classify("orders-3"), orders);
        let id = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        assert_eq!(Folder::classify(&format!("orders-3.{id}-delete")), Folder::Deleted);
        // A topic may be named like that; its partitions' folders end in a number.
        let odd = Folder::Partition(partition("orders-3.f-delete", 0));
        assert_eq!(Folder::classify("orders-3.f-delete-0"), odd);
        for foreign in [
            "__cluster_metadata-0",
            "lost+found",
            &format!("orders-3.{id}-future"),
            &format!("orders-3.{id}-stray"),
            "orders-3.short-delete",
            &format!("orders.{id}-delete"),
            "orders",
        ] {
            assert_eq!(Folder::classify(foreign), Folder::Foreign, "{foreign}");
        }
    }

    #[test]
    fn names_of_given_up_folders_fit_and_are_known_again() {
        for topic in ["a", &"x".repeat(249)] {
            for number in [0, i32::MAX as u32] {
                let name = deleted_name(&partition(topic, number), 7);
                assert!(name.len() <= 255 && name.starts_with(&topic[..1]), "{name}");
                assert_eq!(Folder::classify(&name), Folder::Deleted, "{name}");
            }
        }
    }
}
