use proptest::prelude::*;

use super::*;

/// Start, recovery point, durable end, log end, high watermark.
fn offsets(watermarks: &Watermarks) -> [Offset; 5] {
    let now = watermarks.snapshot();
    [now.log_start, now.recovery_point, now.durable_end, now.log_end, now.high_watermark]
}

#[test]
fn a_log_lives_its_life() {
    let mut log = Watermarks::recovered(10, 20);
    assert_eq!(offsets(&log), [10, 10, 20, 20, 10]);
    assert!(log.checkpointed(15, log.snapshot().generation));
    assert_eq!(log.high_watermark_moved(18), 18);
    log.appended(30);
    assert_eq!(log.high_watermark_moved(99), 30, "never above the log end");
    assert_eq!(log.high_watermark_moved(5), 30, "never back");
    assert!(log.synced(25, log.snapshot().generation));
    assert!(log.synced(22, log.snapshot().generation), "a late, smaller one moves nothing");
    log.start_advanced(24);
    log.start_advanced(11);
    assert_eq!(offsets(&log), [24, 24, 25, 30, 30]);
    log.truncated_to(22);
    assert_eq!(offsets(&log), [22, 22, 22, 22, 22]);
    log.restarted_at(100);
    assert_eq!(offsets(&log), [100, 100, 100, 100, 100]);
}

#[test]
fn what_was_learnt_before_a_truncation_says_nothing_after_it() {
    let mut log = Watermarks::recovered(0, 10);
    log.appended(20);
    let before = log.snapshot().generation;
    log.truncated_to(15);
    log.appended(30);
    assert!(!log.synced(20, before), "20 is another record now");
    assert!(!log.checkpointed(10, before));
    assert_eq!(offsets(&log), [0, 0, 10, 30, 0]);
    assert!(log.synced(30, log.snapshot().generation));
}

#[test]
fn records_are_kept_until_a_truncation_goes_below_them() {
    let mut log = Watermarks::recovered(0, 100);
    let first = log.snapshot().generation;
    assert!(log.is_kept(100, first));
    log.truncated_to(60);
    log.appended(100);
    let second = log.snapshot().generation;
    assert!(log.is_kept(60, first) && !log.is_kept(61, first), "other records stand at 60 to 99");
    assert!(log.is_kept(100, second));
    log.truncated_to(80);
    assert!(log.is_kept(60, first) && log.is_kept(80, second) && !log.is_kept(81, second));
    log.truncated_to(40);
    assert!(!log.is_kept(41, first) && !log.is_kept(41, second) && log.is_kept(40, first));
    log.restarted_at(200);
    assert!(!log.is_kept(1, second) && log.is_kept(0, second));
    assert!(log.is_kept(200, log.snapshot().generation));
}

/// Against all cuts that ever were: exact while few are remembered, on the safe side beyond.
#[test]
fn cuts_are_bounded_and_err_on_the_safe_side() {
    let mut rng = fastrand::Rng::with_seed(3);
    for steps in [50, 1_500] {
        let mut log = Watermarks::recovered(0, 1_000_000);
        let mut all = Vec::new();
        for step in 0..steps {
            let cut = if steps > 50 { 1_000 + step } else { rng.i64(0..1_000) };
            log.truncated_to(cut);
            log.appended(1_000_000);
            all.push(cut);
            assert!(log.cuts.0.len() <= Cuts::MOST);
        }
        for _ in 0..2_000 {
            let (since, end) = (rng.usize(0..=all.len()), rng.i64(0..3_000));
            let kept = all[since..].iter().all(|cut| end <= *cut);
            let found = log.is_kept(end, Generation(since as u64));
            let exact = steps == 50 || since + Cuts::MOST > all.len();
            assert!(if exact { found == kept } else { kept || !found }, "{end} since {since}");
        }
        let exact_from = (all.len() + 1).saturating_sub(Cuts::MOST);
        let lowest = all[exact_from..].iter().copied().min().unwrap();
        assert!(log.is_kept(lowest, Generation(exact_from as u64)));
    }
}

#[test]
fn each_two_offsets_that_must_not_cross_are_held_against_each_other() {
    let sound = Watermarks {
        log_start: 10,
        recovery_point: 20,
        durable_end: 30,
        log_end: 40,
        high_watermark: 35,
        ..Watermarks::recovered(10, 40)
    };
    let crosses = |change: fn(&mut Watermarks)| {
        let mut marks = sound.clone();
        change(&mut marks);
        std::panic::catch_unwind(|| marks.check("a test")).is_err()
    };
    assert!(!crosses(|_| {}));
    assert!(crosses(|marks| marks.log_start = -1));
    assert!(crosses(|marks| marks.log_start = 21));
    assert!(crosses(|marks| marks.recovery_point = 31));
    assert!(crosses(|marks| marks.durable_end = 41));
    assert!(crosses(|marks| marks.high_watermark = 41));
    assert!(crosses(|marks| marks.high_watermark = 9));
}

#[test]
#[should_panic(expected = "not durable")]
fn the_start_does_not_pass_the_durable_end() {
    let mut log = Watermarks::recovered(0, 0);
    log.appended(10);
    log.high_watermark_moved(10);
    log.start_advanced(1);
}

#[test]
#[should_panic(expected = "not committed")]
fn the_start_does_not_pass_the_high_watermark() {
    Watermarks::recovered(0, 10).start_advanced(1);
}

#[test]
#[should_panic(expected = "after synced")]
fn the_durable_end_does_not_pass_the_log_end() {
    Watermarks::recovered(0, 10).synced(11, Generation::default());
}

#[test]
#[should_panic(expected = "after checkpointed")]
fn the_recovery_point_does_not_pass_the_durable_end() {
    let mut log = Watermarks::recovered(0, 10);
    log.appended(20);
    log.checkpointed(11, Generation::default());
}

#[derive(Debug, Clone)]
enum Event {
    Appended(Offset),
    Synced(Offset),
    SyncedLate(Offset),
    HighWatermarkMoved(Offset),
    StartAdvanced(Offset),
    TruncatedTo(Offset),
    RestartedAt(Offset),
    Checkpointed(Offset),
}

fn event() -> impl Strategy<Value = Event> {
    let any = || 0..100i64;
    prop_oneof![
        4 => any().prop_map(Event::Appended),
        3 => any().prop_map(Event::Synced),
        1 => any().prop_map(Event::SyncedLate),
        3 => any().prop_map(Event::HighWatermarkMoved),
        2 => any().prop_map(Event::StartAdvanced),
        1 => any().prop_map(Event::TruncatedTo),
        1 => any().prop_map(Event::RestartedAt),
        2 => any().prop_map(Event::Checkpointed),
    ]
}

proptest! {
    /// Any legal history: the order holds, and each event moves what it names and nothing else.
    #[test]
    fn events_move_what_they_name(start in 0..50i64, events in prop::collection::vec(event(), 0..60)) {
        let mut log = Watermarks::recovered(start, start + 10);
        let mut old = log.snapshot().generation;
        for event in events {
            let [start, recovery, durable, end, high] = offsets(&log);
            let generation = log.snapshot().generation;
            let expected = match event {
                Event::Appended(by) => {
                    log.appended(end + by);
                    [start, recovery, durable, end + by, high]
                }
                Event::Synced(to) => {
                    let to = to.min(end);
                    prop_assert!(log.synced(to, generation));
                    [start, recovery, durable.max(to), end, high]
                }
                Event::SyncedLate(to) => {
                    let to = to.min(end);
                    let counts = old == generation;
                    prop_assert_eq!(log.synced(to, old), counts);
                    [start, recovery, if counts { durable.max(to) } else { durable }, end, high]
                }
                Event::HighWatermarkMoved(to) => {
                    let moved = log.high_watermark_moved(to);
                    prop_assert_eq!(moved, high.max(to.min(end)));
                    [start, recovery, durable, end, moved]
                }
                Event::StartAdvanced(to) => {
                    let to = to.min(durable).min(high);
                    log.start_advanced(to);
                    [start.max(to), recovery.max(to), durable, end, high]
                }
                Event::TruncatedTo(to) => {
                    let to = to.min(end);
                    old = generation;
                    log.truncated_to(to);
                    [start.min(to), recovery.min(to), durable.min(to), to, high.min(to)]
                }
                Event::RestartedAt(at) => {
                    old = generation;
                    log.restarted_at(at);
                    [at; 5]
                }
                Event::Checkpointed(to) => {
                    let to = to.min(durable);
                    prop_assert!(log.checkpointed(to, generation));
                    [start, recovery.max(to), durable, end, high]
                }
            };
            prop_assert_eq!(offsets(&log), expected);
            let [start, recovery, durable, end, high] = expected;
            prop_assert!(start <= recovery && recovery <= durable && durable <= end);
            prop_assert!(start <= high && high <= end);
        }
    }
}
