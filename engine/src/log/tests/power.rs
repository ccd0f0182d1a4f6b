//! Power cuts at every operation of random scripts, and again at every operation of the recovery.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::bench::{Bench, NOW_MS, batch, batch_at, build, read, small, transactional};
use crate::{
    clock::{Clock, ManualClock},
    io::{ForgetfulDisk, Loss},
    limits::MAX_GROUP_BYTES,
    log::{Isolation, LogConfig, PartitionLog},
    record::{Marker, control_batch},
    types::{Durability, Offset},
};

/// What the log has said, and what it was asked for without an answer.
#[derive(Default)]
struct Promises {
    /// Records that were acknowledged as durable, by offset.
    durable: BTreeMap<Offset, String>,
    /// Every value that may stand at an offset.
    possible: BTreeMap<Offset, Vec<String>>,
    /// Log start that was answered, and the largest that was asked for.
    start: Offset,
    asked_start: Offset,
    /// Log end after an answered truncation, as long as nothing was appended behind it.
    count: u64,
}

impl Promises {
    fn append(&mut self, bench: &Bench, rng: &mut fastrand::Rng) -> Option<()> {
        let mut next = bench.log.watermarks().log_end;
        let mut batches = Vec::new();
        for _ in 0..rng.usize(1..=3) {
            let values: Vec<String> = (0..rng.usize(1..=2))
                .map(|_| {
                    self.count += 1;
                    self.count.to_string()
                })
                .collect();
            for value in &values {
                self.possible.entry(next).or_default().push(value.clone());
                next += 1;
            }
            batches.push(batch(&values.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        bench.log.append(batches, 1).ok().map(drop)
    }

    fn commit(&mut self, bench: &Bench) -> Option<()> {
        let end = bench.log.watermarks().log_end;
        bench.log.commit(end).ok()?;
        self.promise_all(bench);
        Some(())
    }

    fn promise_all(&mut self, bench: &Bench) {
        if let Ok(records) = read(&bench.log, bench.log.watermarks().log_start, Isolation::LogEnd) {
            self.durable.extend(records);
        }
    }

    fn truncate(&mut self, bench: &Bench, rng: &mut fastrand::Rng) -> Option<()> {
        let marks = bench.log.watermarks();
        let offset = rng.i64(marks.log_start..=marks.log_end);
        // A batch goes whole.
        self.durable.split_off(&(offset - 1).max(0));
        let end = bench.log.truncate_to(offset).ok()?;
        self.possible.split_off(&end);
        Some(())
    }

    fn restart(&mut self, bench: &Bench, rng: &mut fastrand::Rng) -> Option<()> {
        let offset = bench.log.watermarks().log_end + rng.i64(0..9);
        self.durable.clear();
        self.asked_start = self.asked_start.max(offset);
        bench.log.restart_at(offset).ok()?;
        self.possible.clear();
        self.start = offset;
        Some(())
    }

    fn delete(&mut self, bench: &Bench, rng: &mut fastrand::Rng) -> Option<()> {
        let marks = bench.log.watermarks();
        let offset = rng.i64(marks.log_start..=marks.high_watermark);
        self.asked_start = self.asked_start.max(offset);
        self.start = bench.log.delete_records_before(offset).ok()?;
        Some(())
    }

    fn check(&self, bench: &Bench, context: &str) {
        let report = &bench.report;
        assert!(report.damage.is_empty(), "{context}: {report:?}");
        let marks = bench.log.watermarks();
        let range = self.start..=self.asked_start;
        assert!(range.contains(&marks.log_start), "{context}: {range:?} {marks:?}");
        let found: BTreeMap<_, _> = bench.all().into_iter().collect();
        let offsets: Vec<_> = found.keys().copied().collect();
        assert_eq!(offsets, (marks.log_start..marks.log_end).collect::<Vec<_>>(), "{context}");
        for (offset, value) in self.durable.range(marks.log_start..) {
            assert_eq!(found.get(offset), Some(value), "{context}: offset {offset}, {report:?}");
        }
        for (offset, value) in &found {
            let possible = self.possible.get(offset);
            assert!(possible.is_some_and(|it| it.contains(value)), "{context}: {offset} {value}");
        }
    }
}

/// Runs a random script until the power goes off or the script ends.
fn run(bench: &Bench, seed: u64, promises: &mut Promises) -> Option<()> {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..25 {
        match rng.u8(..20) {
            0..=9 => promises.append(bench, &mut rng)?,
            10..=13 => promises.commit(bench)?,
            14 | 15 => {
                bench.log.checkpoint().ok()?;
                bench.dir.persist().ok()?;
            }
            16 => promises.truncate(bench, &mut rng)?,
            17 => promises.delete(bench, &mut rng)?,
            18 => promises.restart(bench, &mut rng)?,
            _ => {
                bench.clock.advance(Duration::from_mins(10));
                bench.log.step(Clock::monotonic(&*bench.clock)).ok()?;
            }
        }
    }
    bench.log.close().ok()?;
    promises.promise_all(bench);
    bench.dir.close().ok()
}

fn configs() -> [LogConfig; 3] {
    let written = LogConfig { durability: Durability::Written, ..small() };
    [small(), written, LogConfig { preallocate: true, ..small() }]
}

/// Cuts the power after `operations` of the script, and then at some point of the recovery.
fn cut_twice(config: &LogConfig, seed: u64, operations: u64, loss: Loss) -> bool {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let disk = ForgetfulDisk::new();
    let bench = Bench::open(&disk, clock.clone(), config.clone()).unwrap();
    let mut promises = Promises::default();
    disk.power_off_after(operations);
    let finished = run(&bench, seed, &mut promises).is_some();
    let context = format!("{config:?}, seed {seed}, after {operations} operations, {loss:?}");
    drop(bench);
    let disk = disk.power_cut(loss);

    let mut rng = fastrand::Rng::with_seed(seed ^ operations);
    let before = disk.operations();
    let whole = disk.fork();
    let bench = Bench::open(&whole, clock.clone(), config.clone());
    let bench = bench.unwrap_or_else(|error| panic!("{context}: {error}"));
    promises.check(&bench, &context);
    let cost = whole.operations() - before;
    drop(bench);

    let interrupted = disk.fork();
    interrupted.power_off_after(rng.u64(0..cost));
    let failed = Bench::open(&interrupted, clock.clone(), config.clone()).is_err();
    assert!(failed, "{context}: the recovery was interrupted");
    let disk = interrupted.power_cut(loss);
    let bench = Bench::open(&disk, clock, config.clone());
    let bench = bench.unwrap_or_else(|error| panic!("{context}, recovery interrupted: {error}"));
    promises.check(&bench, &format!("{context}, recovery interrupted"));
    // The log goes on.
    let next = bench.log.watermarks().log_end;
    for _ in 0..7 {
        bench.append(&["more"]);
    }
    bench.log.commit(next + 7).unwrap();
    let bench = bench.cut_power(loss);
    assert_eq!(bench.log.watermarks().log_end, next + 7, "{context}: {:?}", bench.report);
    finished
}

#[test]
fn power_cuts_keep_every_promise() {
    for (number, config) in configs().iter().enumerate() {
        for seed in 0..12 {
            let seed = seed * 3 + number as u64;
            let mut operations = fastrand::Rng::with_seed(seed).u64(0..7);
            let mut cuts = 0;
            loop {
                let loss = if operations.is_multiple_of(3) {
                    Loss::Everything
                } else {
                    Loss::Random(seed * 1_000 + operations)
                };
                if cut_twice(config, seed, operations, loss) {
                    break;
                }
                cuts += 1;
                operations += 7;
            }
            assert!(cuts > 3, "seed {seed}: {cuts} cuts");
        }
    }
}

/// Appends that nobody commits, a page a batch: whatever pages a power cut takes, what is left is never
/// judged to be acknowledged data that has rotted.
#[test]
fn what_is_not_committed_never_reaches_further_than_a_group() {
    const PAGE: usize = 4096;
    let bench = Bench::new(LogConfig { retention_ms: -1, ..LogConfig::default() });
    let frame = batch(&[&"x".repeat(PAGE / 2)]).bytes().len() - PAGE / 2;
    let group = vec![batch(&[&"x".repeat(PAGE - frame)]); 1_500];
    assert_eq!(group[0].bytes().len(), PAGE);
    let mut appended = 0;
    while appended < MAX_GROUP_BYTES * 3 / 2 {
        appended += group.len() * PAGE;
        bench.log.append(group.clone(), 1).unwrap();
    }
    let mut torn = 0;
    for seed in 0..10 {
        let disk = bench.disk.fork().power_cut(Loss::Random(seed));
        let after = Bench::open(&disk, bench.clock.clone(), bench.config.clone()).unwrap();
        let damage = after.report.damage.first();
        assert_eq!(damage, None, "seed {seed}");
        torn += usize::from(after.report.cut.is_some_and(|cut| !cut.kept_aside.is_empty()));
    }
    assert!(torn > 2, "batches stood behind holes after {torn} cuts");
}

/// A deletion raises the recovery point past indexes that were never synced. Whatever a power cut leaves
/// of them, every look-up gives what it gave before.
#[test]
fn a_raised_log_start_hides_no_lost_index() {
    for config in [small(), LogConfig { segment_bytes: 2_000, ..small() }] {
        let bench = Bench::new(config);
        let mut next = 0;
        for number in 0..16 {
            let at = NOW_MS + i64::from(number) * 10;
            let data = build(transactional(3, number), at, &[&next.to_string()]);
            bench.log.append(vec![data], 1).unwrap();
            let between = batch_at(at + 1, &[&(next + 1).to_string()]);
            bench.log.append(vec![between], 1).unwrap();
            let end = control_batch(Marker::Abort, 3, 0, 0, at + 2);
            next = bench.log.append(vec![end], 1).unwrap().end.offset();
        }
        bench.log.commit(next).unwrap();
        let look_ups = |log: &PartitionLog, start: Offset| {
            let aborted = log.aborted_transactions(start, next).unwrap();
            let aborted: Vec<_> = aborted
                .iter()
                .map(|entry| (entry.first_offset, entry.last_offset))
                .filter(|(_, last)| *last >= start)
                .collect();
            let firsts: Vec<_> = (start..next)
                .map(|offset| log.fetch(offset, 1, Isolation::LogEnd).unwrap().first_offset())
                .collect();
            let times: Vec<_> =
                (-1..170).map(|ms| log.offset_for_timestamp(NOW_MS + ms).unwrap()).collect();
            (aborted, firsts, times, log.last_stable_offset())
        };
        for start in 1..next {
            assert_eq!(bench.log.delete_records_before(start).unwrap(), start);
            bench.dir.persist().unwrap();
            assert_eq!(bench.log.watermarks().recovery_point, start);
            let expected = look_ups(&bench.log, start);
            for loss in [Loss::Everything, Loss::Random(start as u64), Loss::Random(!0)] {
                let disk = bench.disk.fork().power_cut(loss);
                let after = Bench::open(&disk, bench.clock.clone(), bench.config.clone()).unwrap();
                assert_eq!(after.log.watermarks().log_start, start);
                assert_eq!(look_ups(&after.log, start), expected, "from {start}, {loss:?}");
                let after = after.reopen();
                assert_eq!(look_ups(&after.log, start), expected, "from {start}, reopened");
            }
        }
    }
}

/// The test of the test: on a disk that lies about its syncs promises are broken.
#[test]
fn without_syncs_promises_are_broken() {
    let bench = Bench::new(small());
    bench.disk.lie_about_sync(true);
    let mut promises = Promises::default();
    promises.append(&bench, &mut fastrand::Rng::with_seed(1)).unwrap();
    promises.commit(&bench).unwrap();
    let bench = bench.cut_power(Loss::Everything);
    let found = bench.all().len();
    assert!(found < promises.durable.len(), "{found} records survived");
}
