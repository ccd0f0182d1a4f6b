//! A full disk, failed syncs and writes, at every operation.

use super::bench::{Bench, NOW_MS, batch, build, small, transactional};
use crate::{
    error::IoError,
    io::{Fault, FaultyDisk, Loss, Open, Verb},
    log::{AppendError, ChangeError, ClosedLog, Isolation, LogConfig},
    record::{Marker, control_batch},
    segment::{OffsetRule, ScanStart, Segment, scan},
    types::{Durability, Offset},
};

fn written() -> LogConfig {
    LogConfig { durability: Durability::Written, ..small() }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    for config in [small(), written(), LogConfig { preallocate: true, ..small() }] {
        for room in (0..1_500).step_by(13) {
            let bench = Bench::new(config.clone());
            bench.append_each(0..3);
            bench.disk.fill_up(room);
            let mut end = 3;
            let full = loop {
                match bench.log.append(vec![batch(&[&end.to_string()])], 1) {
                    Ok(appended) => end = appended.end.offset(),
                    Err(error) => break error,
                }
                assert!(end < 100, "{room} bytes hold so much");
            };
            assert!(full.is_disk_full(), "{full}");
            assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>(), "reads go on");
            assert!(bench.log.append(vec![batch(&["x"])], 1).unwrap_err().is_disk_full());
            bench.disk.fill_up(1 << 20);
            let last = end + 9;
            bench.append_each(end..last);
            assert_eq!(bench.offsets(), (0..last).collect::<Vec<_>>());
            let bench = bench.cut_power(Loss::Everything);
            assert!(bench.report.cut.is_none() && bench.report.damage.is_empty());
            assert_eq!(bench.offsets(), (0..last).collect::<Vec<_>>());
            assert!(bench.reopen().report.clean);
        }
    }
}

#[test]
fn a_term_that_could_not_begin_has_not_begun() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    let group = |terms: [i32; 2]| -> Vec<u8> {
        let stamped = (3..).zip(terms).map(|(offset, term)| {
            let mut batch = batch(&[&offset.to_string()]);
            batch.stamp(offset, term);
            batch.into_bytes()
        });
        stamped.flatten().collect()
    };
    // Room for the checkpoint of the terms, and not for the batches.
    bench.disk.fill_up(60);
    assert!(bench.log.append_as_follower(&group([2, 3])).unwrap_err().is_disk_full());
    assert_eq!(bench.log.leader_epochs().latest().unwrap().epoch, 1);
    bench.disk.fill_up(1 << 20);
    let end = bench.log.append_as_follower(&group([3, 3])).unwrap().end;
    bench.log.commit(end).unwrap();
    assert_eq!(bench.offsets(), [0, 1, 2, 3, 4], "what took their place can be read");
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), [0, 1, 2, 3, 4]);
}

#[test]
fn what_the_disk_does_not_give_now_is_not_taken_for_damaged() {
    let bench = Bench::new(small());
    bench.append_each(0..30);
    bench.checkpoint();
    let (disk, clock, config) = (bench.disk.fork(), bench.clock.clone(), bench.config.clone());
    let mut refused = 0;
    for nth in 1..20 {
        let disk = disk.fork();
        disk.fail_read(nth);
        match Bench::open(&disk, clock.clone(), config.clone()) {
            Ok(bench) => {
                assert!(bench.dir.damaged().is_empty(), "{nth}: {:?}", bench.dir.damaged());
                assert_eq!(bench.offsets(), (0..30).collect::<Vec<_>>(), "{nth}");
            }
            Err(error) => {
                assert!(error.to_string().contains("os error 5"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 5, "{refused} opens were refused");
}

/// No checksum covers a base offset: a fetch gives the batch that was looked for, or says that two reads
/// showed two.
#[test]
fn a_bit_that_a_read_flips_never_gives_another_offset() {
    let before = Bench::new(small());
    before.append_each(0..4);
    let mut refused = 0;
    for turn in 0..200 {
        let (disk, clock) = (before.disk.fork(), before.clock.clone());
        let faulty = FaultyDisk::new(disk.clone());
        let bench = Bench::open_with(&disk, &faulty.storage(), clock, before.config.clone());
        let bench = bench.unwrap();
        // What is flipped follows from what was asked before.
        (0..turn).for_each(|_| drop(bench.log.fetch(2, 1, Isolation::LogEnd).unwrap()));
        // The header is read first, then the batch.
        faulty.plan(faulty.calls() + 2, Fault::Flipped);
        let fetched = bench.log.fetch(2, 1, Isolation::LogEnd);
        assert_eq!(faulty.struck(), [(Verb::Read, Fault::Flipped)]);
        let batch = match &fetched {
            Ok(fetched) => fetched.batches().next().unwrap().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match batch {
            Ok(batch) => assert_eq!(batch.header().base_offset, 2, "turn {turn}"),
            Err(what) => refused += u32::from(what.contains("header, read twice")),
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn retention_makes_room_on_a_full_disk() {
    retention_makes_room(LogConfig { retention_bytes: 400, ..small() });
}

/// Zeros that were written as far as they went give the rest of the disk back.
#[test]
fn retention_makes_room_where_space_could_not_be_prepared() {
    let prepares = LogConfig { prepare_bytes: 1 << 16, ..small() };
    retention_makes_room(LogConfig { retention_bytes: 400, ..prepares });
}

fn retention_makes_room(config: LogConfig) {
    let bench = Bench::new(config);
    bench.append_each(0..20);
    let delay = bench.config.file_delete_delay;
    bench.disk.fill_up(2_000);
    bench.append_each(20..21);
    let now = crate::clock::Clock::monotonic(&*bench.clock);
    bench.log.step(now).unwrap();
    bench.log.step(now + delay).unwrap();
    assert_eq!(bench.files(".deleted"), Vec::<String>::new());
    let start = bench.log.watermarks().log_start;
    bench.append_each(21..24);
    assert_eq!(bench.offsets(), (start..24).collect::<Vec<_>>());
}

#[test]
fn a_failed_sync_is_final() {
    for config in [small(), written()] {
        let bench = Bench::new(config);
        bench.append_each(0..3);
        bench.append(&["3"]);
        bench.disk.fail_sync(1);
        assert!(bench.log.commit(4).is_err());
        assert!(bench.log.commit(4).is_err(), "the second sync would lie");
        assert_eq!(bench.log.watermarks().durable_end, 3);
        assert!(matches!(bench.log.append(vec![batch(&["x"])], 1), Err(AppendError::Io(_))));
        assert!(bench.log.checkpoint().is_err());
        assert!(bench.log.close().is_err());
        assert_eq!(bench.log.close().unwrap(), ClosedLog::Damaged, "never called clean");
        assert_eq!(bench.log.fetch(0, 1 << 20, Isolation::Committed).unwrap().next_offset(), {
            bench.log.readable().get()
        });
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), [0, 1, 2]);
    }
}

#[test]
fn no_later_checkpoint_forgets_the_failed_sync_of_an_earlier_one() {
    let mut failed = 0;
    for config in [small(), written(), LogConfig { preallocate: true, ..small() }] {
        for nth in 1..30 {
            let bench = Bench::new(config.clone());
            for number in 0..8 {
                let data = build(transactional(3, number), NOW_MS, &["x"]);
                bench.log.append(vec![data], 1).unwrap();
                bench.log.append(vec![control_batch(Marker::Abort, 3, 0, 0, NOW_MS)], 1).unwrap();
            }
            let sealed = bench.bases().len() - 1;
            assert!(sealed >= 3, "{sealed}");
            bench.disk.fail_sync(nth);
            let first = bench.log.checkpoint();
            bench.disk.fail_sync(0);
            failed += usize::from(first.is_err());
            // Whoever comes back later, in whatever way.
            for _ in 0..2 {
                let _ = bench.log.checkpoint();
                let _ = bench.dir.persist();
            }
            let _ = bench.log.delete_records_before(1);
            let _ = bench.log.close();
            bench.dir.persist().unwrap();
            let bench = bench.cut_power(Loss::Everything);
            let (start, end) = (bench.log.watermarks().log_start, bench.log.watermarks().log_end);
            let aborted = bench.log.aborted_transactions(start, end).unwrap();
            let markers: Vec<_> = aborted.iter().map(|entry| entry.last_offset).collect();
            let expected: Vec<_> = (start..end).filter(|offset| offset % 2 == 1).collect();
            assert_eq!(markers, expected, "{nth}: {:?}", bench.report);
            for segment in bench.log.segments.load().iter() {
                let file = bench.storage().open(segment.path(), Open::Read).unwrap();
                let (base, end) = (segment.base_offset(), Offset::MAX);
                let rule = OffsetRule { base, end, gaps_allowed: false };
                let scan = scan(&file, rule, whole(segment), u64::MAX, |_, _| {});
                assert_eq!(scan.unwrap().damage, None, "{nth}: {}", segment.path().display());
            }
        }
    }
    assert!(failed > 30, "{failed}");
}

fn whole(segment: &Segment) -> ScanStart {
    ScanStart { position: 0, expected_offset: segment.base_offset() }
}

/// Fails the `nth` sync or write of a script and says what was promised before and after.
fn with_fault(config: &LogConfig, fail: impl Fn(&Bench)) -> bool {
    let bench = Bench::new(config.clone());
    let mut promised: Offset = bench.append_each(0..4);
    bench.checkpoint();
    fail(&bench);
    let mut failed = false;
    for value in 4..24 {
        match bench.log.append(vec![batch(&[&value.to_string()])], 1 + value / 8) {
            Ok(appended) => match bench.log.commit(appended.end) {
                Ok(()) => promised = appended.end.offset(),
                Err(_) => failed = true,
            },
            Err(_) => failed = true,
        }
        if value == 13 {
            failed |= bench.log.checkpoint().is_err() || bench.dir.persist().is_err();
        }
        if failed {
            break;
        }
    }
    bench.disk.fail_read(0);
    let end = bench.log.watermarks().log_end;
    assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>());
    // After the fault the log goes on or refuses; it never promises what it has not.
    for _ in 0..3 {
        let value = bench.log.watermarks().log_end;
        if let Ok(appended) = bench.log.append(vec![batch(&[&value.to_string()])], 9)
            && bench.log.commit(appended.end).is_ok()
        {
            promised = appended.end.offset();
        }
    }
    let closed = bench.log.close();
    if matches!(closed, Ok(ClosedLog::Clean)) {
        promised = bench.log.watermarks().log_end;
        let _ = bench.dir.close();
    }
    let bench = bench.cut_power(Loss::Everything);
    let end = bench.log.watermarks().log_end;
    assert!(end >= promised, "{promised} promised, {end} found: {:?}", bench.report);
    assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>());
    assert!(bench.report.damage.is_empty(), "{:?}", bench.report);
    for value in end..end + 9 {
        bench.log.append(vec![batch(&[&value.to_string()])], 9).unwrap();
    }
    assert_eq!(bench.reopen().offsets(), (0..end + 9).collect::<Vec<_>>());
    failed
}

#[test]
fn any_sync_may_fail() {
    for config in [small(), written(), LogConfig { preallocate: true, ..small() }] {
        let failures = (1..90).filter(|nth| with_fault(&config, |it| it.disk.fail_sync(*nth)));
        assert!(failures.count() > 20);
    }
}

#[test]
fn any_write_may_fail() {
    for config in [small(), written(), LogConfig { preallocate: true, ..small() }] {
        let failures = (1..90).filter(|nth| with_fault(&config, |it| it.disk.fail_write(*nth)));
        assert!(failures.count() > 20);
    }
}

#[test]
fn any_read_may_fail() {
    let config = small();
    for nth in 1..60 {
        with_fault(&config, |it| it.disk.fail_read(nth));
    }
}

#[test]
fn a_change_that_fails_half_way_is_never_called_clean() {
    let mut told = 0;
    for nth in 1..40 {
        let bench = Bench::new(written());
        for value in 0..20 {
            bench.append(&[&value.to_string()]);
        }
        bench.disk.fail_sync(nth);
        let cut = bench.log.truncate_to(7);
        bench.disk.fail_sync(0);
        if let Ok(end) = cut {
            assert_eq!(end, 7);
            continue;
        }
        let refused = bench.log.append(vec![batch(&["x"])], 1);
        if let Err(error) = &refused {
            let is_told = matches!(error, AppendError::Failed { cause: Some(it) } if it.operation.starts_with("sync"));
            assert!(is_told || matches!(error, AppendError::Io(_)), "{nth}: {error}");
            told += usize::from(is_told);
        }
        let closed = bench.log.close();
        assert!(refused.is_ok() || !matches!(closed, Ok(ClosedLog::Clean)), "{nth}");
        let bench = bench.kill();
        let end = bench.log.watermarks().log_end;
        // What a failed sync was to make durable the device lacks: it was only written.
        let is_told = end >= 7 || bench.report.cut.is_some();
        assert!(!bench.report.clean && is_told, "{:?}", bench.report);
        assert_eq!(bench.all().len() as Offset, end);
    }
    assert!(told > 3, "{told}");
}

#[test]
fn who_comes_after_a_failed_checkpoint_hears_why() {
    let bench = Bench::new(small());
    bench.append_each(0..20);
    // Everything is durable already, but for what a checkpoint syncs besides.
    bench.disk.fail_sync(1);
    assert!(matches!(bench.log.checkpoint(), Err(ChangeError::Io(_))));
    bench.disk.fail_sync(0);
    let is_sync =
        |cause: &Option<IoError>| cause.as_ref().is_some_and(|it| it.operation.starts_with("sync"));
    for refused in [bench.log.append(vec![batch(&["x"])], 1).map(drop), bench.log.check_appends()] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("reopen it to verify from the device"), "{error}");
        assert!(matches!(&error, AppendError::Failed { cause } if is_sync(cause)));
    }
    let log = &bench.log;
    let changes = [
        log.checkpoint().map(drop),
        log.delete_records_before(3).map(drop),
        log.truncate_to(3).map(drop),
        log.restart_at(3),
        log.cut_damage().map(drop),
    ];
    for change in changes {
        assert!(matches!(&change, Err(ChangeError::Failed { cause }) if is_sync(cause)));
    }
    for _ in 0..2 {
        assert_eq!(log.close().unwrap(), ClosedLog::Damaged);
        assert!(matches!(log.check_appends(), Err(AppendError::Closed)), "by its owner");
    }
}

#[test]
fn a_latched_file_is_known_before_an_append() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    bench.log.check_appends().unwrap();
    bench.disk.fail_sync(1);
    let end = bench.log.append(vec![batch(&["3"])], 1).unwrap().end;
    bench.log.commit(end).unwrap_err();
    assert!(matches!(bench.log.check_appends(), Err(AppendError::Io(_))));
    bench.log.append(vec![batch(&["4"])], 1).unwrap_err();
}
