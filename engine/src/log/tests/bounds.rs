//! Limits, at the limit and one beyond.

use super::bench::{Bench, batch, one, small};
use crate::{
    log::{AppendError, LogConfig},
    types::Offset,
};

#[test]
fn a_batch_and_a_group_may_be_as_large_as_their_limits() {
    let bytes = one() as usize;
    let bench = Bench::new(LogConfig { max_message_bytes: bytes, ..LogConfig::default() });
    assert_eq!(bench.append(&["0000"]), 1);
    let large = bench.log.append(vec![batch(&["00001"])], 1);
    let refused = matches!(large, Err(AppendError::BatchTooLarge { found, limit })
        if (found, limit) == (bytes + 1, bytes));
    assert!(refused, "{large:?}");

    let group = || (0..3).map(|_| batch(&["0000"])).collect();
    let bench = Bench::new(LogConfig { segment_bytes: 3 * one(), ..small() });
    bench.log.append(group(), 1).unwrap();
    bench.append_each(3..6);
    assert_eq!(bench.bases(), [0, 3], "both are full");
    bench.append_each(6..7);
    assert_eq!(bench.bases(), [0, 3, 6]);
    let bench = Bench::new(LogConfig { segment_bytes: 3 * one() - 1, ..small() });
    let large = bench.log.append(group(), 1);
    assert!(matches!(large, Err(AppendError::GroupTooLarge { .. })), "{large:?}");
}

/// A segment's reach is what an `i32` can say. One that begins at the log end is as Kafka has it.
#[test]
fn behind_a_gap_a_segment_begins_at_the_log_end_where_it_reaches() {
    const REACH: Offset = i32::MAX as Offset;
    for (found, bases) in [(REACH, &[0][..]), (1 + REACH, &[0, 1]), (2 + REACH, &[0, 2 + REACH])] {
        let bench = Bench::new(LogConfig { compacted: true, ..LogConfig::default() });
        bench.append(&["0"]);
        let mut behind = batch(&[&found.to_string()]);
        behind.stamp(found, 1);
        bench.log.append_as_follower(behind.bytes()).unwrap();
        assert_eq!(bench.bases(), bases);
        assert_eq!(bench.offsets(), [0, found]);
    }
}
