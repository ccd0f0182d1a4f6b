//! A partition's settings, under Kafka's names and with its defaults (4.x).

use std::time::Duration;

use crate::{limits::MAX_GROUP_BYTES, record::TimestampType, types::Durability};

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
    /// Default of `max.message.bytes`: 1 MiB and the log overhead.
    pub const MAX_MESSAGE_BYTES: usize = (1 << 20) + 12;
    /// Default of `producer.id.expiration.ms`: 1 day.
    pub const PRODUCER_ID_EXPIRATION_MS: i64 = 24 * 3600 * 1000;

    /// The largest group of batches that one append takes: it must fit one segment.
    pub fn max_group_bytes(&self) -> usize {
        MAX_GROUP_BYTES.min(self.segment_bytes as usize)
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
        max_message_bytes: usize,
        timestamp_type: TimestampType,
        compacted: bool,
        deletes: bool,
        producer_id_expiration_ms: i64,
        durability: Durability,
        on_damage: OnDamage,
    }
}
