//! What retention may delete: a pure plan over a partition's segments.

use super::LogConfig;
use crate::types::Offset;

/// What the plan looks at in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Offset that follows the segment.
    pub(super) next_offset: Offset,
    /// Its size.
    pub(super) bytes: u64,
    /// Its largest timestamp; where there is none, its last modification.
    pub(super) newest_ms: i64,
}

/// How many segments, counted from the oldest, may be deleted. Only a prefix is ever deleted, only
/// at or below the high watermark (`UnifiedLog.deleteOldSegments`).
///
/// A segment goes when one rule asks for it: the log start has passed it, its newest record is older
/// than `retention.ms`, or the log without it still has `retention.bytes`.
pub(super) fn expired(
    segments: &[Extent],
    config: &LogConfig,
    now_ms: i64,
    log_start: Offset,
    high_watermark: Offset,
) -> usize {
    let mut excess = match (config.deletes, config.retention_bytes) {
        (true, limit @ 0..) => {
            let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
            total.saturating_sub(limit as u64)
        }
        _ => 0,
    };
    let by_time = config.deletes && config.retention_ms >= 0;
    let mut count = 0;
    for segment in segments {
        let below_start = segment.next_offset <= log_start;
        // A timestamp in the future gives a negative age: such a segment is young.
        let old = by_time && now_ms.saturating_sub(segment.newest_ms) > config.retention_ms;
        let too_much = segment.bytes > 0 && excess >= segment.bytes;
        if segment.next_offset > high_watermark || !(below_start || old || too_much) {
            break;
        }
        excess = excess.saturating_sub(segment.bytes);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Vec<Extent> {
        (1..=4).map(|n| Extent { next_offset: n * 10, bytes: 100, newest_ms: n * 1000 }).collect()
    }

    fn config(retention_ms: i64, retention_bytes: i64) -> LogConfig {
        LogConfig { retention_ms, retention_bytes, ..LogConfig::default() }
    }

    #[test]
    fn nothing_goes_without_a_rule() {
        assert_eq!(expired(&segments(), &config(-1, -1), i64::MAX, 0, 40), 0);
    }

    #[test]
    fn time_deletes_what_is_older_and_never_past_the_high_watermark() {
        assert_eq!(expired(&segments(), &config(1000, -1), 3500, 0, 40), 2);
        assert_eq!(expired(&segments(), &config(1000, -1), 3500, 0, 15), 1);
        assert_eq!(expired(&segments(), &config(1000, -1), -5, 0, 40), 0);
        assert_eq!(expired(&segments(), &config(1000, -1), 3000, 0, 40), 1, "as old as it may get");
    }

    #[test]
    fn size_never_goes_below_the_limit() {
        assert_eq!(expired(&segments(), &config(-1, 250), 0, 0, 40), 1);
        assert_eq!(expired(&segments(), &config(-1, 300), 0, 0, 40), 1);
        assert_eq!(expired(&segments(), &config(-1, 301), 0, 0, 40), 0);
        assert_eq!(expired(&segments(), &config(-1, 0), 0, 0, 40), 4);
    }

    #[test]
    fn the_log_start_deletes_even_where_the_policy_is_compact_only() {
        let compact = LogConfig { compacted: true, deletes: false, ..config(0, 0) };
        assert_eq!(expired(&segments(), &compact, i64::MAX, 25, 40), 2);
    }
}
