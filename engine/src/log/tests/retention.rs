//! Retention, delayed deletion, and readers that hold what is deleted.

use std::{path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::bench::{Bench, NOW_MS, ROOT, batch_at, batch_of, partition, read, small};
use crate::{
    clock::Clock,
    commit::Strategy,
    io::{ForgetfulDisk, Loss},
    log::{Isolation, LogConfig, LogDir, PartitionLog, ReadError, UnrecoveredLog},
    types::{Durability, Offset},
};

/// Offsets 0 to 29, a second apart.
fn filled(config: LogConfig) -> Bench {
    let bench = Bench::new(config);
    for value in 0..30 {
        let batch = batch_at(NOW_MS + value * 1_000, &[&value.to_string()]);
        bench.log.append(vec![batch], 1).unwrap();
        bench.clock.advance(Duration::from_secs(1));
    }
    bench.log.commit(30).unwrap();
    bench
}

fn step(bench: &Bench) -> Duration {
    bench.log.step(crate::clock::Clock::monotonic(&*bench.clock)).unwrap()
}

#[test]
fn old_segments_go_by_their_newest_record() {
    let config = LogConfig { retention_ms: 10_000, ..small() };
    let bench = filled(config);
    let newest = |bench: &Bench| -> Vec<i64> {
        let set = bench.log.segments.load_full();
        set.iter().map(|segment| segment.max_timestamp().unwrap().unwrap().0).collect()
    };
    let expected: Vec<i64> =
        newest(&bench).into_iter().filter(|newest| NOW_MS + 30_000 - newest <= 10_000).collect();
    step(&bench);
    assert_eq!(newest(&bench), expected);
    let start = bench.log.watermarks().log_start;
    assert_eq!(bench.bases()[0], start);
    assert_eq!(bench.offsets(), (start..30).collect::<Vec<_>>());
    assert!(bench.log.metrics().deleted_segments.get() > 0);
    let below = bench.log.fetch(start - 1, 1, Isolation::LogEnd);
    assert!(matches!(below, Err(ReadError::OutOfRange { .. })), "{below:?}");
    let bench = bench.cut_power(Loss::Everything);
    assert_eq!(bench.offsets(), (start..30).collect::<Vec<_>>());
}

#[test]
fn a_log_of_old_records_is_emptied_and_keeps_its_end_and_its_producers() {
    let bench = filled(LogConfig { retention_ms: 10_000, ..small() });
    bench.log.append(vec![batch_of(6, 0, &["30"])], 1).unwrap();
    bench.log.commit(31).unwrap();
    bench.clock.advance(Duration::from_hours(1));
    step(&bench);
    assert_eq!((bench.marks(), bench.log.size()), ([31; 5], (1, 0)));
    let again = bench.log.append(vec![batch_of(6, 0, &["30"])], 1).unwrap();
    assert_eq!(again.base_offsets, [30]);
    let bench = bench.cut_power(Loss::Everything);
    assert_eq!(bench.marks()[0], 31);
    let again = bench.log.append(vec![batch_of(6, 0, &["30"])], 1).unwrap();
    assert_eq!((again.base_offsets, again.end.offset()), (vec![30], 31));
    bench.append_each(31..40);
    assert_eq!(bench.reopen().offsets(), (31..40).collect::<Vec<_>>());
}

#[test]
fn the_log_shrinks_to_its_size_and_no_further() {
    let bench = filled(LogConfig { retention_bytes: 1_000, ..small() });
    let (_, before) = bench.log.size();
    let first = bench.log.segments.load().first().unwrap().len();
    step(&bench);
    let (_, after) = bench.log.size();
    assert!(after >= 1_000 && after < 1_000 + first, "from {before} to {after} bytes");
    step(&bench);
    assert_eq!(bench.log.size().1, after);
}

#[test]
fn segments_below_the_log_start_go_even_where_nothing_else_is_deleted() {
    let bench = filled(LogConfig { deletes: false, retention_ms: 0, ..small() });
    bench.clock.advance(Duration::from_hours(100));
    step(&bench);
    assert_eq!(bench.bases()[0], 0);
    bench.log.delete_records_before(12).unwrap();
    step(&bench);
    assert!((1..=12).contains(&bench.bases()[0]), "{:?}", bench.bases());
    assert_eq!(bench.offsets(), (12..30).collect::<Vec<_>>());
}

#[test]
fn records_from_the_future_are_young() {
    let bench = Bench::new(LogConfig { retention_ms: 1_000, ..small() });
    for value in 0..12 {
        bench.log.append(vec![batch_at(i64::MAX - 100, &[&value.to_string()])], 1).unwrap();
    }
    bench.log.commit(12).unwrap();
    step(&bench);
    assert_eq!(bench.offsets().len(), 12);
}

#[test]
fn nothing_beyond_the_high_watermark_goes() {
    let bench = Bench::new(LogConfig { retention_ms: 0, ..small() });
    for value in 0..12 {
        bench.log.append(vec![batch_at(1_000, &[&value.to_string()])], 1).unwrap();
    }
    let high_watermark = bench.log.watermarks().high_watermark;
    assert!(high_watermark < 12);
    step(&bench);
    let start = bench.log.watermarks().log_start;
    assert!(start <= high_watermark);
    assert_eq!(bench.offsets(), (start..12).collect::<Vec<_>>());
}

#[test]
fn files_go_after_the_delay_and_readers_keep_what_they_hold() {
    let config = LogConfig { retention_ms: 10_000, ..small() };
    let delay = config.file_delete_delay;
    let bench = filled(config);
    let pinned = bench.log.segments.load_full();
    // One was read before, one never was.
    let held = pinned.as_slice()[0].read(0, u64::MAX, 1 << 20, true).unwrap();
    let next = step(&bench);
    let marked = bench.files(".deleted");
    assert!(marked.iter().any(|name| name.ends_with(".log.deleted")), "{marked:?}");
    let now = Clock::monotonic(&*bench.clock);
    assert_eq!(next, now + delay);
    assert_eq!(pinned.as_slice()[0].read(0, u64::MAX, 1 << 20, true).unwrap(), held);
    bench.clock.advance(delay.saturating_sub(Duration::from_micros(1)));
    step(&bench);
    assert_eq!(bench.files(".deleted"), marked);
    bench.clock.advance(Duration::from_micros(1));
    step(&bench);
    assert_eq!(bench.files(".deleted"), Vec::<String>::new());
    assert_eq!(pinned.as_slice()[0].read(0, u64::MAX, 1 << 20, true).unwrap(), held);
}

#[test]
fn marked_files_go_at_the_next_open() {
    let bench = filled(LogConfig { retention_ms: 10_000, ..small() });
    step(&bench);
    assert!(!bench.files(".deleted").is_empty());
    let (start, bench) = (bench.log.watermarks().log_start, bench.cut_power(Loss::Everything));
    assert_eq!(bench.files(".deleted"), Vec::<String>::new());
    assert_eq!(bench.offsets(), (start..30).collect::<Vec<_>>());
}

#[test]
fn the_next_step_is_told() {
    let bench = filled(small());
    let interval = bench.config.retention_check_interval;
    let now = Clock::monotonic(&*bench.clock);
    assert_eq!(step(&bench), now + interval);
    assert_eq!(step(&bench), now + interval);
}

#[test]
fn a_fetch_that_retention_overtakes_is_out_of_range() {
    let bench = filled(LogConfig { retention_ms: 10_000, ..small() });
    let before = bench.log.watermarks();
    step(&bench);
    let log_start = bench.log.watermarks().log_start;
    let late = bench.log.fetch_at(Isolation::LogEnd, 0, 1 << 20, before);
    let told =
        matches!(late, Err(ReadError::OutOfRange { log_start: found, .. }) if found == log_start);
    assert!(told, "{late:?}");
}

/// A clock that lets something happen when the time is asked for.
struct Interrupting {
    now_ms: i64,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Interrupting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interrupting")
    }
}

impl Clock for Interrupting {
    fn wall_ms(&self) -> i64 {
        let meanwhile = self.meanwhile.lock().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.now_ms
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A log of three old records, and `meanwhile` to happen while retention looks at it.
fn interrupted(
    config: LogConfig,
    meanwhile: impl FnOnce(&PartitionLog) + Send + 'static,
) -> Arc<PartitionLog> {
    let storage = ForgetfulDisk::new().storage();
    let dir = Arc::new(LogDir::open(&storage, Path::new(ROOT), Strategy::default()).unwrap());
    let clock = Arc::new(Interrupting { now_ms: NOW_MS, meanwhile: Mutex::default() });
    let open = UnrecoveredLog::open(&dir, &partition(), config, clock.clone()).unwrap();
    let log = Arc::new(open.recover().unwrap().0);
    for value in ["0", "1", "2"] {
        log.append(vec![batch_at(NOW_MS - 20_000, &[value])], 1).unwrap();
    }
    log.commit(3).unwrap();
    // The first look at the clock is that of the producers' expiry.
    let other = log.clone();
    let later = clock.clone();
    *clock.meanwhile.lock() = Some(Box::new(move || {
        *later.meanwhile.lock() = Some(Box::new(move || meanwhile(&other)));
    }));
    log.step(Duration::ZERO).unwrap();
    log
}

#[test]
fn a_record_that_comes_while_retention_looks_is_not_deleted() {
    for durability in [Durability::Written, Durability::Durable] {
        let config = LogConfig { retention_ms: 10_000, durability, ..LogConfig::default() };
        let log = interrupted(config, |log| {
            let end = log.append(vec![batch_at(NOW_MS, &["3"])], 1).unwrap().end;
            log.commit(end).unwrap();
        });
        let marks = log.watermarks();
        assert_eq!(marks.log_end, 4);
        let found = read(&log, marks.log_start, Isolation::Committed).unwrap();
        assert_eq!(found.last(), Some(&(3 as Offset, "3".to_string())));
    }
}
