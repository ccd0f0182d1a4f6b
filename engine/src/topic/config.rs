//! A topic's settings: Kafka's names, defaults (4.x) and ranges, and `durability`, which is ours.
//!
//! Each setting is one row of the table at the end of this file: field, type, default, name, range.

use std::{fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use super::properties::{self, PropertyError};
use crate::{
    log::LogConfig,
    record::{Codec, Compression, TimestampType},
    types::Durability,
};

/// What retention and compaction do with a topic (`cleanup.policy`).
///
/// Nothing compacts logs yet, so no topic is created with a policy that [compacts](Self::compacts).
/// What Kafka compacted can be opened, read, and appended to, also as a follower; its records stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CleanupPolicy {
    /// Old segments are deleted by time and size.
    #[default]
    Delete,
    /// The newest record of each key is kept. Not built yet.
    Compact,
    /// Both. Not built yet.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Whether retention by time and size applies.
    pub fn deletes(self) -> bool {
        self != Self::Compact
    }

    /// Whether records may be missing inside the log.
    pub fn compacts(self) -> bool {
        self != Self::Delete
    }
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactAndDelete => "compact,delete",
        })
    }
}

impl FromStr for CleanupPolicy {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (mut delete, mut compact) = (false, false);
        for word in s.split(',') {
            match word.trim() {
                "delete" => delete = true,
                "compact" => compact = true,
                _ => return Err("`delete`, `compact` or `compact,delete`".into()),
            }
        }
        Ok(match (compact, delete) {
            (true, true) => Self::CompactAndDelete,
            (true, false) => Self::Compact,
            _ => Self::Delete,
        })
    }
}

/// Which codec producers write a topic's batches with that name none themselves (`compression.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CompressionType {
    /// What the producer says; not compressed where it says nothing.
    #[default]
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip, level `compression.gzip.level`.
    Gzip,
    /// snappy in xerial blocks.
    Snappy,
    /// lz4 frames, level `compression.lz4.level`, of which there is one.
    Lz4,
    /// zstd, level `compression.zstd.level`.
    Zstd,
}

impl CompressionType {
    const ALL: [Self; 6] =
        [Self::Producer, Self::Uncompressed, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];
}

impl fmt::Display for CompressionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Uncompressed => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for CompressionType {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == s)
            .ok_or_else(|| "`producer`, `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`".into())
    }
}

/// A setting that is not known, not readable or out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No setting has this name.
    #[error("no topic setting is named {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The value is not one that the setting may have.
    #[error("topic setting {name}: expected {expected}, found {found:?}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The text is no list of `name=value` lines.
    #[error("topic settings: {0}")]
    Text(#[from] PropertyError),
}

impl TopicConfig {
    /// The setting of name `name`, as text; `None` where there is no such setting.
    pub fn get(&self, name: &str) -> Option<String> {
        SETTINGS.iter().find(|setting| setting.name == name).map(|setting| (setting.read)(self))
    }

    /// Sets the setting of name `name` from text.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .ok_or_else(|| ConfigError::Unknown { name: name.into() })?;
        (setting.write)(self, value).map_err(|expected| ConfigError::Invalid {
            name: setting.name,
            expected,
            found: value.into(),
        })
    }

    /// Checks every setting's range: fields set directly, or through a builder method, are only
    /// checked here. Creating a topic does so.
    pub fn validate(&self) -> Result<(), ConfigError> {
        SETTINGS.iter().try_for_each(|setting| {
            (setting.check)(self).map_err(|expected| ConfigError::Invalid {
                name: setting.name,
                expected,
                found: (setting.read)(self),
            })
        })
    }

    /// Every setting with its name and its value, in a fixed order.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        SETTINGS.iter().map(|setting| (setting.name, (setting.read)(self)))
    }

    /// The settings that differ from the defaults.
    pub fn changed(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let defaults = Self::default();
        self.settings().filter(move |(name, value)| defaults.get(name).as_ref() != Some(value))
    }

    /// The changed settings as `name=value` lines, as in a Kafka `.properties` file.
    pub fn to_properties(&self) -> String {
        properties::write(self.changed())
    }

    /// The defaults, with the settings of `name=value` lines (comments and escapes as in Java's
    /// `.properties`).
    pub fn from_properties(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.set_properties(text)?;
        Ok(config)
    }

    /// Sets what the `name=value` lines of `text` name.
    pub fn set_properties(&mut self, text: &str) -> Result<(), ConfigError> {
        for property in properties::read(text) {
            let (name, value) = property?;
            self.set(&name, &value)?;
        }
        Ok(())
    }

    /// How a producer that says nothing of its own compresses this topic's batches.
    pub fn compression(&self) -> Compression {
        let (codec, level) = match self.compression_type {
            CompressionType::Producer | CompressionType::Uncompressed => (Codec::None, None),
            CompressionType::Snappy => (Codec::Snappy, None),
            CompressionType::Gzip => {
                let level = self.compression_gzip_level;
                (Codec::Gzip, (level > 0).then_some(level))
            }
            CompressionType::Lz4 => (Codec::Lz4, Some(self.compression_lz4_level)),
            CompressionType::Zstd => (Codec::Zstd, Some(self.compression_zstd_level)),
        };
        Compression { codec, level: level.filter(|_| level != codec.default_level()) }
    }

    /// These settings with the codec and level of `compression`.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        let level = compression.level;
        self.compression_type = match compression.codec {
            Codec::None => CompressionType::Uncompressed,
            Codec::Snappy => CompressionType::Snappy,
            Codec::Gzip => {
                self.compression_gzip_level = level.unwrap_or(-1);
                CompressionType::Gzip
            }
            Codec::Lz4 => {
                self.compression_lz4_level = level.unwrap_or(LZ4_LEVEL);
                CompressionType::Lz4
            }
            Codec::Zstd => {
                self.compression_zstd_level = level.unwrap_or(ZSTD_LEVEL);
                CompressionType::Zstd
            }
        };
        self
    }

    /// What a partition's log needs of these settings.
    pub fn log_config(&self) -> LogConfig {
        LogConfig {
            segment_bytes: self.segment_bytes as u64,
            segment_ms: self.segment_ms,
            segment_jitter_ms: self.segment_jitter_ms,
            index_interval_bytes: self.index_interval_bytes as u32,
            segment_index_bytes: self.segment_index_bytes as u32,
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
            file_delete_delay: Duration::from_millis(self.file_delete_delay_ms as u64),
            preallocate: self.preallocate,
            max_message_bytes: self.max_message_bytes as usize,
            timestamp_type: self.message_timestamp_type,
            compacted: self.cleanup_policy.compacts(),
            deletes: self.cleanup_policy.deletes(),
            durability: self.durability,
            ..LogConfig::default()
        }
    }
}

/// One row of the table, as functions over a config.
struct Setting {
    name: &'static str,
    read: fn(&TopicConfig) -> String,
    write: fn(&mut TopicConfig, &str) -> Result<(), String>,
    check: fn(&TopicConfig) -> Result<(), String>,
}

/// A type that settings have: its text form, and what its values may be.
trait Value: Copy {
    type Range;

    fn print(self) -> String;
    /// The value of `text`; the error says what is expected.
    fn read(text: &str) -> Result<Self, String>;
    fn check(self, range: &Self::Range) -> Result<(), String>;
}

macro_rules! number_value {
    ($type:ty, $what:literal) => {
        impl Value for $type {
            type Range = RangeInclusive<$type>;

            fn print(self) -> String {
                self.to_string()
            }

            fn read(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| $what.into())
            }

            fn check(self, range: &Self::Range) -> Result<(), String> {
                if range.contains(&self) {
                    return Ok(());
                }
                Err(if range.start() >= range.end() {
                    format!("only {}", range.start())
                } else {
                    format!("{} from {} to {}", $what, range.start(), range.end())
                })
            }
        }
    };
}

number_value!(i32, "a whole number");
number_value!(i64, "a whole number");
number_value!(f64, "a number");

macro_rules! word_value {
    ($type:ty, $print:expr, $read:expr) => {
        impl Value for $type {
            type Range = ();

            fn print(self) -> String {
                $print(self)
            }

            fn read(text: &str) -> Result<Self, String> {
                $read(text.trim())
            }

            fn check(self, (): &()) -> Result<(), String> {
                Ok(())
            }
        }
    };
}

word_value!(CleanupPolicy, |policy: Self| policy.to_string(), Self::from_str);
word_value!(CompressionType, |kind: Self| kind.to_string(), Self::from_str);
word_value!(Durability, |durability: Self| durability.to_string(), |text: &str| {
    text.parse().map_err(|_| "`written` or `durable`".to_owned())
});
word_value!(bool, |on: Self| on.to_string(), |text: &str| {
    text.to_ascii_lowercase().parse().map_err(|_| "`true` or `false`".to_owned())
});
word_value!(
    TimestampType,
    |kind| String::from(match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }),
    |text| match text {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        _ => Err("`CreateTime` or `LogAppendTime`".to_owned()),
    }
);

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $default:expr, $name:literal, $range:expr;)+) => {
        /// A topic's settings. Make one with [`TopicConfig::default`] and its builder methods, or
        /// from names with [`TopicConfig::set`] and [`TopicConfig::from_properties`]. The names are
        /// Kafka's, but for `durability`, which is ours.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub struct TopicConfig {
            $(
                $(#[$doc])*
                #[doc = concat!("\n\nName: `", $name, "`.")]
                pub $field: $type,
            )+
        }

        impl Default for TopicConfig {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Builder methods; their values are checked when the topic is made.
        impl TopicConfig {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, value: $type) -> Self {
                    self.$field = value;
                    self
                }
            )+
        }

        const SETTINGS: &[Setting] = &[$(
            Setting {
                name: $name,
                read: |config| config.$field.print(),
                write: |config, text| {
                    let value = <$type as Value>::read(text)?;
                    value.check(&$range)?;
                    config.$field = value;
                    Ok(())
                },
                check: |config| config.$field.check(&$range),
            },
        )+];
    };
}

const DAY_MS: i64 = 24 * 3600 * 1000;
const LZ4_LEVEL: i32 = Codec::Lz4.default_level().unwrap();
const ZSTD_LEVEL: i32 = Codec::Zstd.default_level().unwrap();

/// The levels of a codec that has some.
fn levels(codec: Codec) -> RangeInclusive<i32> {
    codec.levels().map_or(0..=0, |(smallest, largest)| smallest..=largest)
}

settings! {
    /// Whether old segments are deleted, or only the newest record of each key kept: the latter is not
    /// built yet ([`CleanupPolicy`]).
    cleanup_policy: CleanupPolicy = CleanupPolicy::Delete, "cleanup.policy", ();
    /// Level of gzip: 1 (fast) to 9 (small), 0 or −1 for the library's own.
    compression_gzip_level: i32 = -1, "compression.gzip.level", -1..=9;
    /// Level of lz4: only 9, Kafka's default and name for the fast compressor.
    compression_lz4_level: i32 = LZ4_LEVEL, "compression.lz4.level", levels(Codec::Lz4);
    /// Codec of the batches that producers make where they name none themselves. A producer's own is
    /// kept, whatever this says: Kafka's broker would compress such a batch anew.
    compression_type: CompressionType = CompressionType::Producer, "compression.type", ();
    /// Level of zstd ([`Codec::levels`]).
    compression_zstd_level: i32 = ZSTD_LEVEL, "compression.zstd.level", levels(Codec::Zstd);
    /// How long a tombstone stays in a compacted log, milliseconds. Kept for compaction.
    delete_retention_ms: i64 = DAY_MS, "delete.retention.ms", 0..=i64::MAX;
    /// What an acknowledgement of one node means: on the device, or in the page cache. Ours: Kafka knows
    /// only the latter.
    durability: Durability = Durability::Durable, "durability", ();
    /// How long the files of a deleted segment or topic stay, milliseconds.
    file_delete_delay_ms: i64 = 60_000, "file.delete.delay.ms", 0..=i64::MAX;
    /// Records after which a log that is only `written` is synced all the same.
    /// Looked at when housekeeping runs, not with each record.
    flush_messages: i64 = i64::MAX, "flush.messages", 1..=i64::MAX;
    /// Milliseconds after which a log that is only `written` is synced all the same.
    flush_ms: i64 = i64::MAX, "flush.ms", 0..=i64::MAX;
    /// Bytes of log between two entries of the offset index.
    index_interval_bytes: i32 = 4096, "index.interval.bytes", 0..=i32::MAX;
    /// Longest time a record may stay uncompacted, milliseconds. Kept for compaction.
    max_compaction_lag_ms: i64 = i64::MAX, "max.compaction.lag.ms", 1..=i64::MAX;
    /// Largest batch that is taken, bytes.
    max_message_bytes: i32 = 1_048_588, "max.message.bytes",
        LogConfig::MAX_MESSAGE_BYTES_RANGE;
    /// How far ahead of the clock a record's timestamp may be, milliseconds. Kept for brokers.
    message_timestamp_after_max_ms: i64 = 3_600_000, "message.timestamp.after.max.ms",
        0..=i64::MAX;
    /// How far behind the clock a record's timestamp may be, milliseconds. Kept for brokers.
    message_timestamp_before_max_ms: i64 = i64::MAX, "message.timestamp.before.max.ms",
        0..=i64::MAX;
    /// Whether records carry the time when they were made, or when they were appended.
    message_timestamp_type: TimestampType = TimestampType::CreateTime, "message.timestamp.type",
        ();
    /// Part of a log that must be uncompacted before it is worth compacting. Kept for compaction.
    min_cleanable_dirty_ratio: f64 = 0.5, "min.cleanable.dirty.ratio", 0.0..=1.0;
    /// Shortest time a record stays uncompacted, milliseconds. Kept for compaction.
    min_compaction_lag_ms: i64 = 0, "min.compaction.lag.ms", 0..=i64::MAX;
    /// Replicas that must be in sync before a record is taken with acks=all. Kept for replicas.
    min_insync_replicas: i32 = 1, "min.insync.replicas", 1..=i32::MAX;
    /// Whether a segment's space is reserved when it is made.
    preallocate: bool = false, "preallocate", ();
    /// Size that a partition's log is cut down to, bytes; −1 for no limit.
    retention_bytes: i64 = -1, "retention.bytes", -1..=i64::MAX;
    /// Age at which a segment is deleted, milliseconds; −1 for never.
    retention_ms: i64 = 7 * DAY_MS, "retention.ms", -1..=i64::MAX;
    /// Size at which a segment is rolled, bytes.
    segment_bytes: i32 = 1 << 30, "segment.bytes", LogConfig::SEGMENT_BYTES_RANGE;
    /// Size of a segment's largest index file, bytes; a full index rolls the segment.
    segment_index_bytes: i32 = 10 << 20, "segment.index.bytes",
        LogConfig::SEGMENT_INDEX_BYTES_RANGE;
    /// Largest random time taken off `segment.ms`, milliseconds.
    segment_jitter_ms: i64 = 0, "segment.jitter.ms", 0..=i64::MAX;
    /// Age at which a segment is rolled, milliseconds.
    segment_ms: i64 = 7 * DAY_MS, "segment.ms", 1..=i64::MAX;
    /// Whether a replica that is not in sync may lead when no other is left. Kept for replicas.
    unclean_leader_election_enable: bool = false, "unclean.leader.election.enable", ();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_kafkas() {
        let config = TopicConfig::default();
        for (name, value) in [
            ("cleanup.policy", "delete"),
            ("compression.type", "producer"),
            ("file.delete.delay.ms", "60000"),
            ("flush.messages", "9223372036854775807"),
            ("index.interval.bytes", "4096"),
            ("max.message.bytes", "1048588"),
            ("message.timestamp.type", "CreateTime"),
            ("min.cleanable.dirty.ratio", "0.5"),
            ("retention.bytes", "-1"),
            ("retention.ms", "604800000"),
            ("segment.bytes", "1073741824"),
            ("segment.index.bytes", "10485760"),
            ("segment.ms", "604800000"),
            ("durability", "durable"),
        ] {
            assert_eq!(config.get(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.to_properties(), "");
        assert_eq!(config.log_config(), LogConfig::default());
    }

    #[test]
    fn settings_go_through_their_text_form() {
        let config = TopicConfig::default()
            .segment_bytes(1 << 20)
            .retention_ms(-1)
            .cleanup_policy(CleanupPolicy::CompactAndDelete)
            .message_timestamp_type(TimestampType::LogAppendTime)
            .min_cleanable_dirty_ratio(0.1)
            .durability(Durability::Written)
            .preallocate(true);
        let text = config.to_properties();
        assert!(text.contains("cleanup.policy=compact,delete\n"), "{text}");
        assert_eq!(TopicConfig::from_properties(&text), Ok(config.clone()));
        assert!(config.log_config().compacted && config.log_config().deletes);
    }

    #[test]
    fn a_compression_sets_codec_and_level_together() {
        for text in ["none", "gzip", "gzip:3", "snappy", "lz4", "zstd", "zstd:-7"] {
            let compression: Compression = text.parse().unwrap();
            let config = TopicConfig::default().with_compression(compression);
            assert_eq!(config.compression(), compression, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_expected() {
        let mut config = TopicConfig::default();
        assert_eq!(
            config.set("retention.hours", "1"),
            Err(ConfigError::Unknown { name: "retention.hours".into() })
        );
        for (name, value) in [
            ("segment.bytes", "60"),
            ("max.message.bytes", "67108865"),
            ("segment.bytes", "1e6"),
            ("segment.bytes", "2147483648"),
            ("retention.ms", "-2"),
            ("cleanup.policy", "delete,never"),
            ("compression.type", "none"),
            ("compression.zstd.level", "23"),
            ("min.cleanable.dirty.ratio", "NaN"),
            ("preallocate", "yes"),
            ("durability", "maybe"),
            ("message.timestamp.type", "createtime"),
        ] {
            let error = config.set(name, value).unwrap_err();
            assert!(matches!(&error, ConfigError::Invalid { found, .. } if found == value));
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(config, TopicConfig::default());
        assert!(config.clone().segment_ms(0).validate().is_err());
        let lz4 = config.compression_lz4_level(4).validate().unwrap_err().to_string();
        assert_eq!(lz4, "topic setting compression.lz4.level: expected only 9, found \"4\"");
    }
}
