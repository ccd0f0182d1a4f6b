//! Names and numbers that every room speaks of.

use std::{fmt, str::FromStr, sync::Arc};

use crate::limits::MAX_TOPIC_NAME;

/// Position of a record in its partition; rises by one a record.
pub type Offset = i64;
/// Number of a leader's term of office. −1: not known.
pub type LeaderEpoch = i32;
/// Epoch that is stamped when none is known (Kafka: `NO_PARTITION_LEADER_EPOCH`).
pub const NO_EPOCH: LeaderEpoch = -1;

/// What the acknowledgement of one node means (`docs/DURABILITY.md`). Whose acknowledgement is waited
/// for is another question: [`Acks`](crate::producer::Acks).
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

/// A topic's id: 16 bytes, a version-4 UUID. Its text is Kafka's, base64url without padding, 22
/// characters (`org.apache.kafka.common.Uuid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// Why a string is no topic id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a topic id is 22 characters of base64url without padding, found `{found}`")]
pub struct TopicIdError {
    /// The string, shortened to 100 characters.
    pub found: String,
}

impl TopicId {
    /// Stands for no id; never drawn.
    pub const ZERO: Self = Self([0; 16]);
    /// The cluster metadata topic's; never drawn.
    pub const METADATA: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Draws an id, never a reserved one nor one whose text starts with a dash, which a command
    /// line would take for an option.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        loop {
            let mut bytes = rng.u128(..).to_be_bytes();
            bytes[6] = (bytes[6] & 0x0F) | 0x40;
            bytes[8] = (bytes[8] & 0x3F) | 0x80;
            // The version bits rule the reserved ids out; 62 is the number of the dash.
            if bytes[0] >> 2 != 62 {
                return Self(bytes);
            }
        }
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TOPIC_ID_CHARS: usize = 22;

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 digits of 6 bits and one of 2, filled up with zeros.
        let bits = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(TOPIC_ID_CHARS);
        for shift in (2..=122).rev().step_by(6) {
            text.push(BASE64URL[(bits >> shift) as usize & 63] as char);
        }
        text.push(BASE64URL[(bits << 4) as usize & 63] as char);
        f.pad(&text)
    }
}

impl FromStr for TopicId {
    type Err = TopicIdError;

    fn from_str(s: &str) -> Result<Self, TopicIdError> {
        let refuse = || TopicIdError { found: s.chars().take(100).collect() };
        if s.len() != TOPIC_ID_CHARS {
            return Err(refuse());
        }
        let mut bits: u128 = 0;
        for (at, byte) in s.bytes().enumerate() {
            let digit = BASE64URL.iter().position(|char| *char == byte).ok_or_else(refuse)? as u128;
            if at + 1 < TOPIC_ID_CHARS {
                bits = bits << 6 | digit;
            } else if digit.is_multiple_of(16) {
                bits = bits << 2 | digit >> 4;
            } else {
                return Err(refuse());
            }
        }
        Ok(Self(bits.to_be_bytes()))
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

    #[test]
    fn topic_ids_have_kafkas_text() {
        let vectors: [([u8; 16], &str); 4] = [
            ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            (TopicId::METADATA.0, "AAAAAAAAAAAAAAAAAAAAAQ"),
            ([0xFF; 16], "_____________________w"),
            (
                *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
                "AAECAwQFBgcICQoLDA0ODw",
            ),
        ];
        for (bytes, text) in vectors {
            assert_eq!(TopicId(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(TopicId(bytes)));
        }
        for bad in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA="]
        {
            assert!(bad.parse::<TopicId>().is_err(), "{bad}");
        }
        assert!("AAAAAAAAAAAAAAAAAAAAAA==".parse::<TopicId>().is_err());
    }

    #[test]
    fn drawn_topic_ids_are_version_4_and_never_start_with_a_dash() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            let id = TopicId::random(&mut rng);
            let text = id.to_string();
            assert!(!text.starts_with('-'), "{text}");
            assert_eq!(text.parse(), Ok(id));
            assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2));
        }
    }
}
