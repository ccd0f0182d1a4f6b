//! [`PartitionLog`]: readers pin its segments, and take no lock that an appender holds during I/O.

use crate::{
    benches::{Bench, all, batch, fetch},
    explore::{FEW, Scenario},
    io::Loss,
    log::{ChangeError, CommitError, Isolation, ReadError},
    race::Race,
    sync::thread,
    types::Offset,
};

const fn scenario(name: &'static str, run: fn(), races: &'static [Race]) -> Scenario {
    Scenario { structure: "log", name, run, schedules: FEW, races }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        "readers_beside_rolls_and_deletions",
        readers_beside_rolls_and_deletions,
        &[Race::RetiredUnchecked],
    ),
    scenario("readers_beside_a_truncation", readers_beside_a_truncation, &[Race::ReadNotSteady]),
    scenario("commits_beside_a_truncation", commits_beside_a_truncation, &[Race::PlanOutlivesCut]),
    scenario(
        "what_is_committed_outlives_a_power_cut",
        what_is_committed_outlives_a_power_cut,
        &[Race::PlanCoversLater],
    ),
    scenario(
        "a_long_poll_hears_of_commits",
        a_long_poll_hears_of_commits,
        &[Race::ReadersNotWoken],
    ),
];

/// Each append rolls; the oldest segments are deleted; two read from the front on.
fn readers_beside_rolls_and_deletions() {
    let bench = Bench::new(1);
    let log = &bench.log;
    for value in ["v0", "v1"] {
        log.append(vec![batch(value)], 1).unwrap();
    }
    thread::scope(|scope| {
        for from in [0, 1] {
            scope.spawn(move || {
                let mut next = from;
                for _ in 0..3 {
                    match fetch(log, next, 1 << 20, Isolation::LogEnd) {
                        Ok((records, _)) => {
                            for (offset, value) in records {
                                assert_eq!((offset, value), (next, format!("v{next}")));
                                next += 1;
                            }
                        }
                        Err(ReadError::OutOfRange { log_start, .. }) if log_start > next => {
                            next = log_start;
                        }
                        Err(error) => panic!("from {next}: {error}"),
                    }
                }
            });
        }
        scope.spawn(move || {
            for value in ["v2", "v3"] {
                log.append(vec![batch(value)], 1).unwrap();
            }
        });
        scope.spawn(move || {
            log.commit(2).unwrap();
            assert_eq!(log.delete_records_before(2).unwrap(), 2);
            log.step(std::time::Duration::ZERO).unwrap();
        });
    });
    assert_eq!(log.watermarks().log_end, 4);
}

/// Two records are cut off and others written in their place, of the same lengths.
fn readers_beside_a_truncation() {
    let bench = Bench::new(3);
    let log = &bench.log;
    for value in ["a0", "a1", "a2", "a3"] {
        log.append(vec![batch(value)], 1).unwrap();
    }
    let before = log.watermarks().generation;
    thread::scope(|scope| {
        for from in [1, 2] {
            scope.spawn(move || match fetch(log, from, 1 << 20, Isolation::LogEnd) {
                Ok((records, fetched)) => {
                    let of = if fetched.watermarks().generation == before { 'a' } else { 'b' };
                    for ((offset, value), expected) in records.into_iter().zip(from..) {
                        let writer = if offset < 2 { 'a' } else { of };
                        assert_eq!((offset, value), (expected, format!("{writer}{expected}")));
                    }
                }
                Err(ReadError::Truncated { .. }) => {}
                Err(ReadError::OutOfRange { log_end, .. }) => assert!(log_end < from),
                Err(error) => panic!("from {from}: {error}"),
            });
        }
        scope.spawn(move || {
            assert_eq!(log.truncate_to(2).unwrap(), 2);
            for value in ["b2", "b3"] {
                log.append(vec![batch(value)], 2).unwrap();
            }
        });
    });
}

/// Two append and commit while a third cuts and a fourth reads. What is called durable in the end
/// outlives a power cut.
fn commits_beside_a_truncation() {
    let bench = Bench::new(2);
    let log = &bench.log;
    log.append(vec![batch("a0")], 1).unwrap();
    thread::scope(|scope| {
        for value in ["b0", "c0"] {
            scope.spawn(move || {
                let appended = log.append(vec![batch(value)], 1).unwrap();
                match log.commit(appended.end) {
                    Ok(()) | Err(CommitError::Truncated { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            });
        }
        scope.spawn(move || log.truncate_to(2).unwrap());
        scope.spawn(move || {
            let (records, fetched) = fetch(log, 0, 1 << 20, Isolation::Committed).unwrap();
            let now = log.watermarks();
            let is_uncut = now.generation == fetched.watermarks().generation;
            assert!(!is_uncut || records.len() as Offset <= now.durable_end, "{now:?}");
        });
    });
    let durable_end = log.watermarks().durable_end;
    let (here, left) = (all(log), all(&bench.after_power_cut().log));
    assert!(left.len() as Offset >= durable_end, "{durable_end} records are durable: {left:?}");
    assert_eq!(here[..durable_end as usize], left[..durable_end as usize]);
}

/// Three append and commit; a segment holds two records.
fn what_is_committed_outlives_a_power_cut() {
    let bench = Bench::new(2);
    let log = &bench.log;
    thread::scope(|scope| {
        for value in ["a0", "b0", "c0"] {
            scope.spawn(move || {
                let appended = log.append(vec![batch(value)], 1).unwrap();
                log.commit(appended.end).unwrap();
            });
        }
    });
    assert_eq!(log.watermarks().durable_end, 3);
    assert_eq!(all(&bench.after_power_cut().log), all(log));
}

/// A reader waits for a record that another appends and commits.
fn a_long_poll_hears_of_commits() {
    let bench = Bench::new(2);
    let log = &bench.log;
    thread::scope(|scope| {
        for from in [0, 1] {
            scope.spawn(move || {
                assert!(log.readable().wait_until(from + 1, None).unwrap());
                let (records, _) = fetch(log, from, 1 << 20, Isolation::Committed).unwrap();
                assert_eq!(records[0], (from, format!("v{from}")));
            });
        }
        scope.spawn(move || {
            for value in ["v0", "v1"] {
                let appended = log.append(vec![batch(value)], 1).unwrap();
                log.commit(appended.end).unwrap();
            }
        });
    });
}
