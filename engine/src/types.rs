//! Names and numbers that every room speaks of.

use std::{fmt, str::FromStr, sync::Arc};

use crate::limits::MAX_TOPIC_NAME;

/// Position of a record in its partition; rises by one a record.
pub type Offset = i64;
/// Number of a leader's term of office. −1: not known.
pub type LeaderEpoch = i32;
/// Epoch that is stamped when none is known (Kafka: `NO_PARTITION_LEADER_EPOCH`).
pub const NO_EPOCH: LeaderEpoch = -1;

/// What the acknowledgement of one node means (`DESIGN`: two questions that are kept apart).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// In the page cache, as Kafka does: survives the process, not the machine.
    Written,
    /// On the device: survives a power cut.
    #[default]
    Durable,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Written => "written",
            Self::Durable => "durable",
        })
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "written" => Ok(Self::Written),
            "durable" => Ok(Self::Durable),
            other => Err(format!("durability must be `written` or `durable`, found `{other}`")),
        }
    }
}

/// A valid topic name: 1 to 249 bytes of `[a-zA-Z0-9._-]`, neither `.` nor `..`
/// (Kafka: `org.apache.kafka.common.internals.Topic`). Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a string is no topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic name {name:?}: {reason}")]
pub struct TopicNameError {
    /// The string, shortened to 300 characters.
    pub name: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

impl TopicName {
    /// Checks `name` against Kafka's rule.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        let refuse =
            |reason| Err(TopicNameError { name: name.chars().take(300).collect(), reason });
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() {
            return refuse("must not be empty");
        }
        if name == "." || name == ".." {
            return refuse("must not be \".\" or \"..\"");
        }
        if name.len() > MAX_TOPIC_NAME {
            return refuse("must be at most 249 bytes");
        }
        if !name.bytes().all(legal) {
            return refuse("must hold only letters, digits, '.', '_' and '-'");
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(s: &str) -> Result<Self, TopicNameError> {
        Self::new(s)
    }
}

/// A topic and one of its partitions; its `Display` is the folder's name, `<topic>-<n>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: TopicName, partition: u32) -> Self {
        Self { topic, partition }
    }

    /// Reads a folder's name back: `orders-eu-3` is partition 3 of `orders-eu`. `None` where the
    /// name is not of that form (`…-delete`, `…-future`, `…-stray` folders, and all that is not ours).
    pub fn from_folder(name: &str) -> Option<Self> {
        let (topic, number) = name.rsplit_once('-')?;
        let canonical = number == "0" || !number.starts_with('0');
        if !canonical || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let partition = number.parse().ok().filter(|n| i32::try_from(*n).is_ok())?;
        Some(Self { topic: TopicName::new(topic).ok()?, partition })
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        for good in ["a", "A.b_c-9", &"x".repeat(249), "..."] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\0", &"x".repeat(250)] {
            assert!(TopicName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn folder_names_go_both_ways() {
        let partition = TopicPartition::new(TopicName::new("orders-eu").unwrap(), 3);
        assert_eq!(partition.to_string(), "orders-eu-3");
        assert_eq!(TopicPartition::from_folder("orders-eu-3"), Some(partition));
        for other in
            ["orders", "orders-", "-3", "a-03", "a-+3", "a-3x", "a-0.5f-delete", "a-4294967295"]
        {
            assert_eq!(TopicPartition::from_folder(other), None, "{other}");
        }
    }
}
