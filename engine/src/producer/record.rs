//! What is sent.

use crate::record::{Header, NewRecord};

/// A record to send. It borrows everything: `send` copies it once, into its batch.
///
/// ```
/// use trunkline::producer::ProducerRecord;
/// let record = ProducerRecord::new(Some(b"train 12"), Some(b"departed")).partition(3);
/// assert_eq!(record.partition, Some(3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerRecord<'a> {
    /// The partition; `None`: by the key, or the sticky one where there is no key.
    pub partition: Option<u32>,
    /// The key; null and empty are told apart.
    pub key: Option<&'a [u8]>,
    /// The value; null is a tombstone in a topic that Kafka compacts.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970; `None`: the time of `send`. Retention goes by it: where a segment's newest
    /// record is older than the topic's `retention.ms` (7 days unless set), the next retention check
    /// deletes the segment, however lately it was sent.
    pub timestamp: Option<i64>,
    /// The headers, in their order.
    pub headers: &'a [Header<'a>],
}

impl<'a> ProducerRecord<'a> {
    /// A record without headers, for the partition that its key gives, stamped when it is sent.
    pub fn new(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { key, value, ..Self::default() }
    }

    /// A record without a key.
    pub fn of_value(value: &'a [u8]) -> Self {
        Self::new(None, Some(value))
    }

    /// Names the partition.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp, milliseconds since 1970.
    #[must_use]
    pub fn timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }

    /// The record as a batch takes it.
    #[inline]
    pub(super) fn stamped(&self, now_ms: impl FnOnce() -> i64) -> NewRecord<'a> {
        NewRecord {
            timestamp: self.timestamp.unwrap_or_else(now_ms),
            key: self.key,
            value: self.value,
            headers: self.headers,
        }
    }
}
