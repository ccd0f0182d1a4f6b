//! Many threads at one log: appends, commits, fetches, checkpoints, retention and truncations.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::bench::{Bench, NOW_MS, batch, build, one, read, small, transactional};
use crate::{
    io::Loss,
    log::{CommitError, Isolation, LogConfig, PartitionLog, ReadError, commit_all},
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
fn stable_readers_do_not_wait_for_the_appender() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    let settings = transactional(3, 0);
    bench.log.append(vec![build(settings, NOW_MS, &["3"])], 1).unwrap();
    bench.append_each(4..5);
    let found = beside_the_appender(&bench, |log| {
        let fetched = log.fetch(0, 1 << 20, Isolation::Stable).unwrap();
        (fetched.next_offset(), log.end_for(Isolation::Stable))
    });
    assert_eq!(found, Some((3, 3)));
}

#[test]
fn a_follower_checks_its_bytes_before_it_waits_for_the_appender() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    let mut bytes = bench.log.fetch(0, 1 << 20, Isolation::LogEnd).unwrap().bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let found = beside_the_appender(&bench, move |log| log.append_as_follower(&bytes).is_err());
    assert_eq!(found, Some(true));
}

/// What `work` gives while somebody appends; `None` where it waits for him.
fn beside_the_appender<T: Send + 'static>(
    bench: &Bench,
    work: impl FnOnce(&PartitionLog) -> T + Send + 'static,
) -> Option<T> {
    let appending = bench.log.writer.lock();
    let log = bench.log.clone();
    let (answer, answers) = mpsc::channel();
    let worker = thread::spawn(move || answer.send(work(&log)).is_ok());
    let found = answers.recv_timeout(Duration::from_secs(20)).ok();
    drop(appending);
    worker.join().unwrap();
    found
}

#[test]
fn rolls_and_checkpoints_do_not_get_into_each_others_snapshots() {
    // Each append rolls, so that both often write the snapshot of one offset.
    let bench = Bench::new(LogConfig { segment_bytes: one(), ..small() });
    beside_others(&bench, || {
        for value in 0..1_000 {
            bench.append_each([value]);
        }
    });
    bench.checkpoint();
    let snapshots = bench.files(".snapshot");
    for base in &bench.bases()[1..] {
        assert!(snapshots.contains(&format!("{base:020}.snapshot")), "{base}");
    }
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
                                assert!(
                                    bench.log.watermarks().durable_end >= appended.end.offset()
                                );
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

/// How many truncations had begun, and how many had ended.
#[derive(Default)]
struct Truncations {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// A record that was appended and committed: which truncations may have come in between.
struct Told {
    offset: Offset,
    value: String,
    acknowledged: bool,
    /// Those that began after the append and ended before the commit.
    certain: Range<usize>,
    /// Those that ended after the append began and began before the commit ended.
    possible: Range<usize>,
}

fn append_and_commit(bench: &Bench, truncations: &Truncations, value: String) -> Told {
    let (begun, ended) =
        (|| truncations.begun.load(Ordering::SeqCst), || truncations.ended.load(Ordering::SeqCst));
    let before = ended();
    let appended = bench.log.append(vec![batch(&[&value])], 1).unwrap();
    let after = begun();
    for _ in 0..fastrand::u8(..8) {
        thread::yield_now();
    }
    let certain = after..ended().max(after);
    let result = if fastrand::bool() {
        bench.log.commit(appended.end)
    } else {
        commit_all(&[(bench.log.clone(), appended.end)]).remove(0)
    };
    if let Err(error) = &result {
        assert!(matches!(error, CommitError::Truncated { .. }), "{error}");
    }
    let (offset, acknowledged) = (appended.base_offsets[0], result.is_ok());
    Told { offset, value, acknowledged, certain, possible: before..begun() }
}

#[test]
fn no_truncation_makes_a_committer_believe_in_records_that_are_gone() {
    for (durability, seed) in [(Durability::Durable, 0), (Durability::Written, 1_000)] {
        // On a busy machine the threads may pass each other by.
        let have_met = (seed..seed + 100).any(|seed| committers_meet_truncations(durability, seed));
        assert!(have_met, "the threads met");
    }
}

/// Checks what committers were told beside truncations. Whether the two met, and some records were cut off.
fn committers_meet_truncations(durability: Durability, seed: u64) -> bool {
    const THREADS: usize = 3;
    const RECORDS: usize = 400;
    let bench = Bench::new(LogConfig { durability, segment_bytes: 1_500, ..small() });
    let truncations = Truncations::default();
    // Where each truncation cut: what lies below stays.
    let mut cuts: Vec<Offset> = Vec::new();
    let told: Vec<Told> = thread::scope(|scope| {
        let (bench, truncations) = (&bench, &truncations);
        let work = |worker| {
            let value = move |number| format!("{worker}:{number}");
            let tell = move |number| append_and_commit(bench, truncations, value(number));
            scope.spawn(move || (0..RECORDS).map(tell).collect::<Vec<_>>())
        };
        let workers: Vec<_> = (0..THREADS).map(work).collect();
        let mut rng = fastrand::Rng::with_seed(seed);
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            truncations.begun.fetch_add(1, Ordering::SeqCst);
            let end = bench.log.watermarks().log_end;
            cuts.push(if rng.u8(..8) == 0 {
                bench.log.restart_at(rng.i64((end - 5).max(0)..=end + 2)).unwrap();
                0
            } else {
                bench.log.truncate_to(rng.i64((end - 9).max(0)..=end)).unwrap()
            });
            truncations.ended.fetch_add(1, Ordering::SeqCst);
            for _ in 0..rng.u8(..20) {
                thread::yield_now();
            }
        }
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let is_kept = |it: &Told, range: Range<usize>| cuts[range].iter().all(|cut| it.offset < *cut);
    let found: BTreeMap<_, _> = bench.cut_power(Loss::Everything).all().into_iter().collect();
    for it in &told {
        let Told { offset, value, certain, possible, .. } = it;
        let context = format!("{value} at {offset}: {certain:?} {possible:?}");
        if it.acknowledged {
            assert!(is_kept(it, certain.clone()), "{context}: it was gone");
            let stays = is_kept(it, possible.start..cuts.len());
            assert!(!stays || found.get(offset) == Some(value), "{context}: it is gone");
        } else {
            assert!(!is_kept(it, possible.clone()), "{context}: no truncation concerned it");
        }
    }
    let gone = told.iter().filter(|it| !it.acknowledged).count();
    (1..told.len()).contains(&gone) && told.iter().any(|it| !it.certain.is_empty())
}

#[test]
fn a_commit_plans_no_byte_that_a_cut_behind_it_takes() {
    let bench = Bench::new(small());
    bench.append_each(0..2);
    let kept = bench.log.append(vec![batch(&["0002"])], 1).unwrap().end;
    bench.append(&["0003"]);
    let plan = thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let planner = || {
            let (tell, log) = (tell.clone(), bench.log.clone());
            move || tell.send(log.tail.plan(kept).unwrap().unwrap()).unwrap()
        };
        let early = std::cell::Cell::new(None);
        bench.log.tail.truncating(3, |_| {
            scope.spawn(planner());
            early.set(told.recv_timeout(Duration::from_millis(100)).ok());
            3 * one()
        });
        early.take().unwrap_or_else(|| told.recv().unwrap())
    });
    assert_eq!(plan.covers, 3);
    bench.dir.commit().commit(&plan.targets).unwrap();
}
