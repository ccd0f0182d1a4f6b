//! One segment: a `.log` file of whole batches and its indexes, named and shaped as Kafka's.
//!
//! [`ActiveSegment`] is appended to, [`Segment`] is what readers share, [`SegmentSet`] is the
//! snapshot of a log that they pin. Readers need no lock and never block the appender: they go by
//! the published ends, and a truncation outdates whatever they read meanwhile
//! ([`SegmentError::Truncated`]).
//!
//! Indexes are caches of the log, never believed over it: an entry counts only once the batch that
//! stands at its position confirms it. [`scan`] checks a log's bytes after a crash.

mod active;
mod bytes;
mod cut;
mod entries;
mod error;
mod index_file;
mod lookup;
mod name;
mod offset_index;
mod published;
mod range;
mod reopen;
mod retire;
mod rule;
mod scan;
mod seal;
#[expect(clippy::module_inception, reason = "the room is named after its one noun")]
mod segment;
mod set;
mod tables;
#[cfg(test)]
mod tests;
mod time_index;
mod txn_index;
mod view;
mod walk;
mod window;

use std::sync::Arc;

pub use active::{ActiveSegment, SealFailure, Truncation};
pub use bytes::SegmentBytes;
pub use cut::{copy_range, cut_log};
pub use error::SegmentError;
pub use name::{FileName, Stage, Suffix, file_name, file_path};
pub use offset_index::{OffsetEntry, OffsetIndex};
pub use range::SegmentRange;
pub use reopen::Trust;
pub use scan::{Damage, OffsetRule, Scan, ScanStart, Scanner, scan};
pub use seal::{SEALS_FILE, Seal, Seals};
pub use segment::Segment;
pub use set::SegmentSet;
pub use time_index::{TimeEntry, TimeIndex};
pub use txn_index::{AbortedTransaction, TxnIndex};
pub use view::SegmentView;
pub use walk::Headers;

use crate::metrics::Counter;

/// How segments are written and read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// Bytes of log between two index entries (Kafka: `index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// Bytes of an index file (Kafka: `segment.index.bytes`); full, the segment is to be rolled.
    pub max_index_bytes: u32,
    /// Bytes to reserve for a `.log` file that is appended to (Kafka: `preallocate`).
    pub preallocate: Option<u64>,
    /// Bytes, at most, that are written with zeros ahead of the batches.
    pub prepare_bytes: u64,
    /// Whether offsets may be missing between batches, as compaction leaves them. Otherwise a gap is
    /// corrupt data.
    pub gaps_allowed: bool,
    /// Where events are counted.
    pub metrics: Arc<SegmentMetrics>,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            index_interval_bytes: 4096,
            max_index_bytes: 10 << 20,
            preallocate: None,
            prepare_bytes: 0,
            gaps_allowed: false,
            metrics: Arc::default(),
        }
    }
}

/// What happened to the segments that share these options.
#[derive(Debug, Default)]
pub struct SegmentMetrics {
    /// Lookups whose index entry the log did not confirm.
    pub index_fallbacks: Counter,
    /// Times that a segment's indexes were rebuilt from its log.
    pub index_rebuilds: Counter,
}
