//! A partition's settings, under Kafka's names and with its defaults (4.x).

use std::{fmt, ops::RangeInclusive, time::Duration};

use crate::{
    limits::{BATCH_HEADER, MAX_GROUP_BYTES, TIME_INDEX_ENTRY},
    record::TimestampType,
    types::Durability,
};

/// What happens at the next open when acknowledged data is found damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Everything valid stays readable, the damaged range is a typed error, appends are refused
    /// until [`super::PartitionLog::cut_damage`] says what to do.
    #[default]
    Refuse,
    /// The log is cut at the damage; the bytes from there on are kept in a quarantine file.
    Cut,
}

/// Settings of one partition's log: the defaults, and a method a field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would pass this size.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is rolled when a batch is this much younger than its first one.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most this much is drawn off `segment.ms` at each roll.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: largest index file; a full index rolls the segment.
    pub segment_index_bytes: u32,
    /// `retention.ms`: segments whose newest record is older are deleted; −1 for never.
    pub retention_ms: i64,
    /// `retention.bytes`: old segments are deleted down to this size; −1 for no limit.
    pub retention_bytes: i64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `file.delete.delay.ms`: how long a deleted segment's files stay for readers who pinned it.
    pub file_delete_delay: Duration,
    /// `preallocate`: reserve `segment.bytes` when a segment is made; trimmed at roll and close.
    pub preallocate: bool,
    /// Of a `durable` partition, bytes, at most, that are written with zeros ahead of the batches, so that a
    /// commit overwrites them and need not wait for the file system's journal; as many as the segment has
    /// bytes of batches, trimmed at roll and close. 0 for none.
    pub prepare_bytes: u64,
    /// `max.message.bytes`: largest batch that a leader accepts.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `cleanup.policy` contains `compact`: offsets may have gaps.
    pub compacted: bool,
    /// `cleanup.policy` contains `delete`: retention by time and size applies.
    pub deletes: bool,
    /// `producer.id.expiration.ms`: a silent producer's state is forgotten after this time.
    pub producer_id_expiration_ms: i64,
    /// What an acknowledgement of this node means.
    pub durability: Durability,
    /// What happens when acknowledged data is found damaged.
    pub on_damage: OnDamage,
}

impl LogConfig {
    /// Default of `segment.bytes`: 1 GiB.
    pub const SEGMENT_BYTES: u64 = 1 << 30;
    /// Default of `segment.ms` and `retention.ms`: 7 days.
    pub const WEEK_MS: i64 = 7 * 24 * 3600 * 1000;
    /// Default of `index.interval.bytes`.
    pub const INDEX_INTERVAL_BYTES: u32 = 4096;
    /// Default of `segment.index.bytes`: 10 MiB.
    pub const SEGMENT_INDEX_BYTES: u32 = 10 << 20;
    /// Default of `prepare_bytes`: 1 MiB. (16 KiB batches, one a commit: with 64 KiB 1.6 times as many commits a
    /// second as without, with 256 KiB 1.8, with 1 MiB 1.9, with 4 MiB 1.5, where now and then one takes 15 ms.)
    pub const PREPARE_BYTES: u64 = 1 << 20;
    /// Default of `max.message.bytes`: 1 MiB and the log overhead.
    pub const MAX_MESSAGE_BYTES: usize = (1 << 20) + 12;
    /// Default of `producer.id.expiration.ms`: 1 day.
    pub const PRODUCER_ID_EXPIRATION_MS: i64 = 24 * 3600 * 1000;

    /// Range of `segment.bytes`: the header of one batch, up to what a position in an index can say. (Kafka 4
    /// asks for 1 MiB or more; smaller ones are as right, and tests want them.)
    pub const SEGMENT_BYTES_RANGE: RangeInclusive<i32> = BATCH_HEADER as i32..=i32::MAX;
    /// Range of `segment.index.bytes`: an entry, and the one that the end of a segment adds.
    pub const SEGMENT_INDEX_BYTES_RANGE: RangeInclusive<i32> =
        2 * TIME_INDEX_ENTRY as i32..=i32::MAX;
    /// Range of `max.message.bytes`: up to what one append takes.
    pub const MAX_MESSAGE_BYTES_RANGE: RangeInclusive<i32> = 0..=MAX_GROUP_BYTES as i32;

    /// Checks every setting's range. Opening a log does so.
    pub fn validate(&self) -> Result<(), LogConfigError> {
        let widened =
            |range: RangeInclusive<i32>| i128::from(*range.start())..=i128::from(*range.end());
        let from = |least: i128| least..=i128::from(i64::MAX);
        for (setting, found, range) in [
            ("segment.bytes", self.segment_bytes.into(), widened(Self::SEGMENT_BYTES_RANGE)),
            ("segment.ms", self.segment_ms.into(), from(1)),
            ("segment.jitter.ms", self.segment_jitter_ms.into(), from(0)),
            ("index.interval.bytes", self.index_interval_bytes.into(), widened(0..=i32::MAX)),
            (
                "segment.index.bytes",
                self.segment_index_bytes.into(),
                widened(Self::SEGMENT_INDEX_BYTES_RANGE),
            ),
            ("retention.ms", self.retention_ms.into(), from(-1)),
            ("retention.bytes", self.retention_bytes.into(), from(-1)),
            (
                "max.message.bytes",
                self.max_message_bytes as i128,
                widened(Self::MAX_MESSAGE_BYTES_RANGE),
            ),
            ("producer.id.expiration.ms", self.producer_id_expiration_ms.into(), from(0)),
        ] {
            if !range.contains(&found) {
                return Err(LogConfigError { setting, found, range });
            }
        }
        Ok(())
    }

    /// The largest group of batches that one append takes: it must fit one segment.
    pub fn max_group_bytes(&self) -> usize {
        MAX_GROUP_BYTES.min(self.segment_bytes as usize)
    }

    /// Bytes that are written with zeros ahead: where nobody waits for a sync, none.
    pub(super) fn prepares(&self) -> u64 {
        if self.durability == Durability::Durable { self.prepare_bytes } else { 0 }
    }

    /// Whether zeros may stand behind the batches of the segment that is appended to.
    pub(super) fn reserves(&self) -> bool {
        self.preallocate || self.prepares() > 0
    }
}

/// A setting that is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LogConfigError {
    /// Kafka's name of the setting.
    pub setting: &'static str,
    /// Its value.
    pub found: i128,
    /// The values that it may have.
    pub range: RangeInclusive<i128>,
}

impl fmt::Display for LogConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, found, range } = self;
        write!(f, "{setting}: expected {} to {}, found {found}", range.start(), range.end())
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: Self::SEGMENT_BYTES,
            segment_ms: Self::WEEK_MS,
            segment_jitter_ms: 0,
            index_interval_bytes: Self::INDEX_INTERVAL_BYTES,
            segment_index_bytes: Self::SEGMENT_INDEX_BYTES,
            retention_ms: Self::WEEK_MS,
            retention_bytes: -1,
            retention_check_interval: Duration::from_mins(5),
            file_delete_delay: Duration::from_mins(1),
            preallocate: false,
            prepare_bytes: Self::PREPARE_BYTES,
            max_message_bytes: Self::MAX_MESSAGE_BYTES,
            timestamp_type: TimestampType::CreateTime,
            compacted: false,
            deletes: true,
            producer_id_expiration_ms: Self::PRODUCER_ID_EXPIRATION_MS,
            durability: Durability::default(),
            on_damage: OnDamage::default(),
        }
    }
}

setters! {
    LogConfig {
        segment_bytes: u64,
        segment_ms: i64,
        segment_jitter_ms: i64,
        index_interval_bytes: u32,
        segment_index_bytes: u32,
        retention_ms: i64,
        retention_bytes: i64,
        retention_check_interval: Duration,
        file_delete_delay: Duration,
        preallocate: bool,
        prepare_bytes: u64,
        max_message_bytes: usize,
        timestamp_type: TimestampType,
        compacted: bool,
        deletes: bool,
        producer_id_expiration_ms: i64,
        durability: Durability,
        on_damage: OnDamage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `org.apache.kafka.storage.internals.log.LogConfig` and `ServerLogConfigs`, as the documentation of
    /// the broker's settings states them.
    #[test]
    fn the_defaults_are_kafkas() {
        let defaults = LogConfig::default();
        assert_eq!(defaults.segment_bytes, 1_073_741_824);
        assert_eq!(defaults.segment_ms, 604_800_000);
        assert_eq!(defaults.segment_jitter_ms, 0);
        assert_eq!(defaults.index_interval_bytes, 4_096);
        assert_eq!(defaults.segment_index_bytes, 10_485_760);
        assert_eq!(defaults.retention_ms, 604_800_000);
        assert_eq!(defaults.retention_bytes, -1);
        assert_eq!(defaults.retention_check_interval, Duration::from_mins(5));
        assert_eq!(defaults.file_delete_delay, Duration::from_mins(1));
        assert_eq!(defaults.max_message_bytes, 1_048_588);
        assert_eq!(defaults.producer_id_expiration_ms, 86_400_000);
    }

    #[test]
    fn a_segment_has_room_for_a_header_and_its_index_for_two_entries() {
        let least = |segment_bytes, segment_index_bytes| LogConfig {
            segment_bytes,
            segment_index_bytes,
            ..LogConfig::default()
        };
        assert_eq!(least(61, 24).validate(), Ok(()));
        assert!(least(60, 24).validate().is_err() && least(61, 23).validate().is_err());
    }

    #[test]
    fn settings_out_of_range_are_named_with_value_and_range() {
        let good = LogConfig::default;
        assert_eq!(good().validate(), Ok(()));
        for (bad, setting, found) in [
            (LogConfig { segment_bytes: 0, ..good() }, "segment.bytes", 0),
            (LogConfig { segment_bytes: 1 << 31, ..good() }, "segment.bytes", 1 << 31),
            (LogConfig { segment_ms: 0, ..good() }, "segment.ms", 0),
            (LogConfig { segment_jitter_ms: -1, ..good() }, "segment.jitter.ms", -1),
            (
                LogConfig { index_interval_bytes: u32::MAX, ..good() },
                "index.interval.bytes",
                u32::MAX.into(),
            ),
            (LogConfig { segment_index_bytes: 23, ..good() }, "segment.index.bytes", 23),
            (LogConfig { retention_ms: -2, ..good() }, "retention.ms", -2),
            (LogConfig { retention_bytes: -2, ..good() }, "retention.bytes", -2),
            (
                LogConfig { max_message_bytes: MAX_GROUP_BYTES + 1, ..good() },
                "max.message.bytes",
                MAX_GROUP_BYTES as i128 + 1,
            ),
            (
                LogConfig { producer_id_expiration_ms: -1, ..good() },
                "producer.id.expiration.ms",
                -1,
            ),
        ] {
            let error = bad.validate().unwrap_err();
            assert_eq!((error.setting, error.found), (setting, found), "{error}");
            assert!(!error.range.contains(&found), "{error}");
        }
    }
}
