//! Many threads at one log: appends, commits, fetches, checkpoints, retention and truncations.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::bench::{Bench, batch, read, small};
use crate::{
    io::Loss,
    log::{Isolation, LogConfig, ReadError, commit_all},
    types::{Durability, Offset},
};

/// Runs `work` on the log while other threads checkpoint it and read it; nothing of that may fail.
fn beside_others(bench: &Bench, work: impl FnOnce() + Send) {
    /// Ends the others, however the work ends.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    let go_on = || !over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let _end = End(&over);
        scope.spawn(|| {
            while go_on() {
                bench.checkpoint();
                bench.log.step(Duration::ZERO).unwrap();
            }
        });
        scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(1);
            while go_on() {
                let marks = bench.log.watermarks();
                let offset = rng.i64(marks.log_start..=marks.log_end);
                match read(&bench.log, offset, Isolation::Committed) {
                    Ok(records) => {
                        let rises = records.iter().zip(offset..).all(|(it, next)| it.0 == next);
                        assert!(rises, "from {offset}: {records:?}");
                    }
                    Err(ReadError::OutOfRange { .. } | ReadError::Truncated { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                bench.log.offset_for_timestamp(rng.i64(0..i64::MAX)).unwrap();
            }
        });
        work();
    });
}

#[test]
fn whoever_commits_what_is_there_succeeds() {
    const THREADS: usize = 4;
    for durability in [Durability::Durable, Durability::Written] {
        let bench = Bench::new(LogConfig { durability, segment_bytes: 4_000, ..small() });
        let mut acknowledged: BTreeMap<Offset, String> = BTreeMap::new();
        beside_others(&bench, || {
            let each = thread::scope(|scope| {
                let workers: Vec<_> = (0..THREADS)
                    .map(|worker| {
                        let bench = &bench;
                        scope.spawn(move || {
                            let mut mine = BTreeMap::new();
                            for number in 0..300 {
                                let value = format!("{worker}:{number}");
                                let appended = bench.log.append(vec![batch(&[&value])], 1).unwrap();
                                let wanted = [(bench.log.clone(), appended.end)];
                                if number % 2 == 0 {
                                    bench.log.commit(appended.end).unwrap();
                                } else {
                                    commit_all(&wanted).remove(0).unwrap();
                                }
                                assert!(bench.log.watermarks().durable_end >= appended.end);
                                mine.insert(appended.base_offsets[0], value);
                            }
                            mine
                        })
                    })
                    .collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
            });
            acknowledged = each.into_iter().flatten().collect();
        });
        assert_eq!(acknowledged.len(), THREADS * 300);
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.all().into_iter().collect::<BTreeMap<_, _>>(), acknowledged);
    }
}

#[test]
fn truncations_deceive_neither_readers_nor_committers() {
    for durability in [Durability::Durable, Durability::Written] {
        let bench = Bench::new(LogConfig { durability, ..small() });
        beside_others(&bench, || {
            let mut rng = fastrand::Rng::with_seed(7);
            for _ in 0..300 {
                let next = bench.log.watermarks().log_end;
                for value in next..next + rng.i64(1..9) {
                    bench.append(&[&value.to_string()]);
                }
                match rng.u8(0..4) {
                    0 => {
                        let marks = bench.log.watermarks();
                        let to = rng.i64(marks.log_start..=marks.log_end);
                        assert_eq!(bench.log.truncate_to(to).unwrap(), to);
                    }
                    1 => {
                        let high = bench.log.watermarks().high_watermark;
                        bench.log.delete_records_before((high - 30).max(0)).unwrap();
                    }
                    _ => bench.log.commit(bench.log.watermarks().log_end).unwrap(),
                }
            }
            bench.log.commit(bench.log.watermarks().log_end).unwrap();
        });
        let marks = bench.log.watermarks();
        let expected: Vec<_> = (marks.log_start..marks.log_end).collect();
        assert_eq!(bench.offsets(), expected);
        assert_eq!(bench.cut_power(Loss::Everything).offsets(), expected);
    }
}
