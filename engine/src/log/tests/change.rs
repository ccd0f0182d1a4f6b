//! Truncation, restart and deletion of records.

use super::bench::{Bench, NOW_MS, batch, batch_of, build, partition, read, small, transactional};
use crate::{
    io::Loss,
    limits::MAX_LOG_END,
    log::{
        AppendError, ChangeError, CommitError, Isolation, LogConfig, PersistError, ReadError,
        commit_all,
    },
    record::{Marker, control_batch},
    types::{Durability, Offset},
};

fn written() -> LogConfig {
    LogConfig { durability: Durability::Written, ..small() }
}

/// A log of the offsets 0 to 19 in several segments, the last ones of them not durable.
fn filled(config: LogConfig) -> Bench {
    let bench = Bench::new(config);
    bench.append_each(0..17);
    for value in 17..20 {
        bench.append(&[&value.to_string()]);
    }
    bench
}

#[test]
fn a_truncation_reaches_into_the_active_and_into_sealed_segments() {
    for config in [small(), written()] {
        for offset in 0..=20 {
            let bench = filled(config.clone());
            assert_eq!(bench.log.truncate_to(offset).unwrap(), offset);
            let marks = bench.log.watermarks();
            assert_eq!((marks.log_start, marks.log_end), (0, offset));
            assert!(marks.high_watermark <= offset && marks.durable_end <= offset);
            assert_eq!(bench.offsets(), (0..offset).collect::<Vec<_>>());
            assert!(bench.log.readable().get() <= offset);
            // The log goes on, over the roll, over a restart, over a power cut.
            let end = bench.append_each(offset..offset + 7);
            let bench = bench.kill();
            assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>());
            assert!(bench.report.cut.is_none() && bench.report.damage.is_empty());
            let bench = bench.cut_power(Loss::Everything);
            assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>(), "truncated to {offset}");
            let bench = bench.reopen();
            assert!(bench.report.clean);
            assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_truncation_is_durable_when_it_returns() {
    for offset in 0..20 {
        let bench = filled(small());
        bench.checkpoint();
        bench.log.truncate_to(offset).unwrap();
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), (0..offset).collect::<Vec<_>>());
        assert!(bench.report.cut.is_none(), "{:?}", bench.report);
    }
}

#[test]
fn a_batch_that_spans_the_offset_goes_whole() {
    let bench = Bench::new(LogConfig::default());
    for first in [0, 3, 6] {
        let values: Vec<String> = (first..first + 3).map(|value| value.to_string()).collect();
        bench.append(&values.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(bench.log.truncate_to(5).unwrap(), 3);
    assert_eq!(bench.offsets(), [0, 1, 2]);
    assert_eq!(bench.append_each(3..5), 5);
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), [0, 1, 2, 3, 4]);
}

#[test]
fn what_is_outside_is_refused_or_left_alone() {
    let bench = filled(small());
    assert!(matches!(bench.log.truncate_to(-1), Err(ChangeError::OutOfRange { .. })));
    assert!(matches!(bench.log.restart_at(-1), Err(ChangeError::OutOfRange { .. })));
    assert!(matches!(bench.log.restart_at(Offset::MAX), Err(ChangeError::OutOfRange { .. })));
    assert_eq!(bench.log.truncate_to(20).unwrap(), 20);
    assert_eq!(bench.log.truncate_to(Offset::MAX).unwrap(), 20);
    for offset in [-2, 21, Offset::MAX, Offset::MIN] {
        let refused = bench.log.delete_records_before(offset);
        assert!(matches!(refused, Err(ChangeError::OutOfRange { .. })), "{refused:?}");
    }
    assert_eq!(bench.offsets().len(), 20);
}

#[test]
fn terms_and_producers_come_down_with_a_truncation() {
    let bench = Bench::new(small());
    for value in 0..16 {
        let batch = batch_of(4, value, &[&value.to_string()]);
        bench.log.append(vec![batch], value / 4).unwrap();
    }
    bench.log.commit(16).unwrap();
    bench.checkpoint();
    bench.log.truncate_to(10).unwrap();
    assert_eq!(bench.log.leader_epochs().latest().unwrap().epoch, 2);
    let later = bench.log.append(vec![batch_of(4, 11, &["11"])], 2);
    assert!(matches!(later, Err(AppendError::Producer(_))), "{later:?}");
    let known = bench.log.append(vec![batch_of(4, 9, &["9"])], 2).unwrap();
    assert_eq!((known.base_offsets, known.end.offset()), (vec![9], 10));
    bench.log.append(vec![batch_of(4, 10, &["10"])], 2).unwrap();
    // The leader's term may be lower than those that were cut off.
    assert_eq!(bench.offsets(), (0..11).collect::<Vec<_>>());
    let bench = bench.kill();
    assert_eq!(bench.log.append(vec![batch_of(4, 10, &["x"])], 2).unwrap().base_offsets, [10]);
}

#[test]
fn a_commit_of_what_is_cut_off_says_so_and_of_what_stays_succeeds() {
    let bench = filled(written());
    bench.log.truncate_to(12).unwrap();
    let gone = bench.log.commit(13);
    assert!(matches!(gone, Err(CommitError::Truncated { upto: 13 })), "{gone:?}");
    bench.log.commit(12).unwrap();
    assert_eq!(bench.marks(), [0, 0, 12, 12, 12]);
}

#[test]
fn a_commit_never_takes_later_records_for_those_that_were_cut_off() {
    for config in [small(), written()] {
        let bench = Bench::new(config);
        let append = || bench.log.append(vec![batch(&["x"])], 1).unwrap().end;
        let ends: Vec<_> = (0..9).map(|_| append()).collect();
        bench.log.truncate_to(5).unwrap();
        let later: Vec<_> = (5..12).map(|_| append()).collect();
        assert_eq!(later[0].offset(), ends[5].offset(), "the same offset, another record");
        // At once, and again once all of it is durable.
        for _ in 0..2 {
            let wanted: Vec<_> =
                ends.iter().chain(&later).map(|end| (bench.log.clone(), *end)).collect();
            let all = commit_all(&wanted);
            for ((_, end), result) in wanted.iter().zip(&all) {
                let again = bench.log.commit(*end);
                let is_gone = end.offset() > 5 && ends.contains(end);
                if is_gone {
                    let upto = end.offset();
                    for result in [result, &again] {
                        let told = matches!(result, Err(CommitError::Truncated { upto: at }) if *at == upto);
                        assert!(told, "{result:?}");
                    }
                } else {
                    result.as_ref().unwrap();
                    again.unwrap();
                }
            }
        }
        assert_eq!(bench.log.watermarks().durable_end, 12);
        bench.log.restart_at(3).unwrap();
        let again = append();
        assert!(bench.log.commit(ends[0]).is_err(), "a restart takes them all");
        assert!(bench.log.commit(later[0]).is_err());
        bench.log.commit(again).unwrap();
    }
}

#[test]
fn what_was_not_durable_before_a_truncation_still_is_not() {
    // Several sealed segments that were never synced; the cut makes none of them durable.
    let bench = Bench::new(written());
    for value in 0..20 {
        bench.append(&[&value.to_string()]);
    }
    assert_eq!(bench.log.watermarks().durable_end, 0);
    bench.log.truncate_to(18).unwrap();
    bench.log.commit(18).unwrap();
    let bench = bench.cut_power(Loss::Everything);
    assert_eq!(bench.offsets(), (0..18).collect::<Vec<_>>());
}

#[test]
fn a_failed_sync_is_not_forgotten_by_a_truncation() {
    let bench = Bench::new(written());
    for value in 0..9 {
        bench.append(&[&value.to_string()]);
    }
    assert!(bench.bases().len() > 1);
    bench.disk.fail_sync(1); // of the oldest segment
    assert!(bench.log.commit(9).is_err());
    let (first, second) = (bench.bases()[0], bench.bases()[1]);
    assert_eq!(first, 0);
    // Whatever the truncation says, nothing that failed is acknowledged later.
    let _ = bench.log.truncate_to(second - 1);
    let upto = bench.log.watermarks().log_end;
    assert!(bench.log.commit(upto).is_err());
    assert_eq!(bench.log.watermarks().durable_end, 0);
}

#[test]
fn a_log_that_was_restarted_holds_nothing_and_goes_on() {
    for offset in [0, 7, 20, 1_000] {
        let bench = filled(small());
        bench.checkpoint();
        bench.log.restart_at(offset).unwrap();
        assert_eq!(bench.marks(), [offset; 5]);
        assert_eq!(bench.log.readable().get(), offset);
        assert!(bench.offsets().is_empty());
        assert!(bench.log.leader_epochs().latest().is_none());
        assert_eq!(bench.files(".snapshot").len(), 0);
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.log.watermarks().log_end, offset);
        bench.append_each(offset..offset + 9);
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), (offset..offset + 9).collect::<Vec<_>>());
        let below = bench.log.fetch(offset - 1, 1, Isolation::LogEnd);
        assert!(matches!(below, Err(ReadError::OutOfRange { .. })), "{below:?}");
    }
}

#[test]
fn a_log_has_an_end_of_offsets() {
    let bench = Bench::new(small());
    bench.log.restart_at(MAX_LOG_END - 2).unwrap();
    bench.append(&["a", "b"]);
    let full = bench.log.append(vec![batch(&["c"])], 1);
    assert!(matches!(full, Err(AppendError::Exhausted { .. })), "{full:?}");
    bench.log.commit(MAX_LOG_END).unwrap();
    assert_eq!(bench.cut_power(Loss::Everything).all().len(), 2);
}

#[test]
fn deleted_records_stay_deleted_from_the_moment_of_the_answer() {
    for config in [small(), written()] {
        for offset in 0..=17 {
            let bench = filled(config.clone());
            assert_eq!(bench.log.delete_records_before(offset).unwrap(), offset);
            assert_eq!(bench.offsets().first(), Some(&offset));
            let fork = bench.disk.fork();
            let after = Bench::open(&fork, bench.clock.clone(), config.clone()).unwrap();
            assert_eq!(after.log.watermarks().log_start, offset);
            let after = bench.cut_power(Loss::Everything);
            assert_eq!(after.log.watermarks().log_start, offset);
            assert_eq!(after.offsets().first().copied().unwrap_or(17), offset);
        }
    }
}

#[test]
fn deleting_all_keeps_the_log_end_and_the_producers() {
    for config in [small(), written()] {
        let bench = Bench::new(config);
        for value in 0..9 {
            bench.log.append(vec![batch_of(8, value, &[&value.to_string()])], 1).unwrap();
        }
        bench.log.commit(9).unwrap();
        assert_eq!(bench.log.delete_records_before(-1).unwrap(), 9);
        assert!(bench.offsets().is_empty());
        let bench = bench.kill();
        assert_eq!(bench.marks()[0], 9);
        let again = bench.log.append(vec![batch_of(8, 8, &["8"])], 1).unwrap();
        assert_eq!(
            (again.base_offsets, again.end.offset()),
            (vec![8], 9),
            "a repeated send is recognised"
        );
        bench.log.append(vec![batch_of(8, 9, &["9"])], 1).unwrap();
        assert_eq!(bench.offsets(), [9]);
    }
}

#[test]
fn a_deletion_that_could_not_be_written_does_not_come_true_later() {
    let bench = filled(small());
    bench.checkpoint();
    bench.disk.fail_sync(1);
    assert!(bench.log.delete_records_before(5).is_err());
    assert_eq!(bench.log.watermarks().log_start, 0);
    bench.dir.persist().unwrap();
    assert_eq!(bench.cut_power(Loss::Everything).log.watermarks().log_start, 0);
}

#[test]
fn a_folder_that_was_given_back_is_not_written_to() {
    for clean in [true, false] {
        let old = filled(small());
        old.checkpoint();
        if clean {
            old.close();
        } else {
            old.dir.release();
        }
        // Somebody else has it now.
        let next = Bench::open(&old.disk, old.clock.clone(), small()).unwrap();
        next.append_each(20..24);
        next.checkpoint();
        let before = next.disk.operations();
        let refused = |result: Result<(), PersistError>| {
            assert!(matches!(result, Err(PersistError::Released { .. })), "{result:?}");
        };
        refused(old.dir.persist());
        refused(old.dir.persist_one(&partition(), old.log.state()));
        refused(old.dir.forget(&[partition()]));
        refused(old.dir.close());
        if !clean {
            let change = old.log.truncate_to(3);
            assert!(matches!(change, Err(ChangeError::Released(_))), "{change:?}");
            let change = old.log.delete_records_before(3);
            assert!(matches!(change, Err(ChangeError::Released(_))), "{change:?}");
        }
        assert_eq!(next.disk.operations(), before);
        let next = next.cut_power(Loss::Everything);
        assert!(!next.report.clean, "no marker was left");
        assert_eq!(next.marks()[1..], [24; 4]);
    }
}

#[test]
fn a_checkpoint_does_not_outlive_a_truncation() {
    // What a checkpoint found is told to the log dir at once; a truncation lowers it.
    let bench = filled(small());
    let state = bench.log.checkpoint().unwrap();
    assert_eq!(state.recovery_point, 20);
    bench.log.truncate_to(4).unwrap();
    bench.dir.persist().unwrap();
    bench.append_each(4..6);
    let bench = bench.cut_power(Loss::Everything);
    assert_eq!(bench.offsets(), (0..6).collect::<Vec<_>>());
    let start = bench.dir.start_state(&partition()).unwrap();
    assert!(start.recovery_point <= 4 && start.state.unwrap().durable_end <= 4, "{start:?}");
}

#[test]
fn aborted_transactions_above_a_truncation_are_forgotten() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..written() });
    for n in 0..3 {
        bench.log.append(vec![build(transactional(3, n), NOW_MS, &["x"])], 1).unwrap();
        bench.log.append(vec![control_batch(Marker::Abort, 3, 0, 0, NOW_MS)], 1).unwrap();
    }
    let aborted = |bench: &Bench| {
        let mut found = Vec::new();
        for segment in bench.log.segments.load().iter() {
            segment.aborted_transactions(0, 100, &mut found).unwrap();
        }
        found.iter().map(|entry| entry.last_offset).collect::<Vec<_>>()
    };
    assert_eq!(aborted(&bench), [1, 3, 5]);
    bench.log.truncate_to(4).unwrap();
    assert_eq!(aborted(&bench), [1, 3]);
    bench.append(&["4", "5"]);
    bench.log.commit(6).unwrap();
    let bench = bench.kill();
    assert_eq!(aborted(&bench), [1, 3]);
    // The index reached the disk, the log's end did not: what was aborted there never was.
    bench.log.append(vec![build(transactional(3, 2), NOW_MS, &["x"])], 1).unwrap();
    bench.log.append(vec![control_batch(Marker::Abort, 3, 0, 0, NOW_MS)], 1).unwrap();
    assert_eq!(aborted(&bench), [1, 3, 7]);
    let index = bench.log.path().join("00000000000000000000.txnindex");
    let file = bench.storage().open(&index, crate::io::Open::Write).unwrap();
    file.sync(crate::io::SyncKind::All).unwrap();
    bench.storage().sync_parent(&index).unwrap();
    let bench = bench.cut_power(Loss::Everything);
    assert_eq!(bench.log.watermarks().log_end, 6);
    assert_eq!(aborted(&bench), [1, 3]);
    bench.append(&["6", "7"]);
    assert_eq!(aborted(&bench.reopen()), [1, 3]);
}

#[test]
fn a_truncation_opens_the_transactions_again_whose_end_it_takes() {
    for config in [small(), written()] {
        let bench = Bench::new(config);
        let append = |batch| bench.log.append(vec![batch], 1).unwrap();
        append(batch(&["0"]));
        append(build(transactional(3, 0), NOW_MS, &["1"]));
        append(build(transactional(4, 0), NOW_MS, &["2"]));
        append(control_batch(Marker::Commit, 3, 0, 0, NOW_MS));
        let stable = || {
            bench.log.commit(bench.log.watermarks().log_end).unwrap();
            bench.log.last_stable_offset()
        };
        assert_eq!(stable(), 2);
        append(control_batch(Marker::Abort, 4, 0, 0, NOW_MS));
        let before = bench.log.last_stable_offset();
        let is_durable = bench.log.readable().get() == 5;
        assert_eq!(before, if is_durable { 5 } else { 2 }, "its end is not readable yet");
        assert_eq!(stable(), 5);
        bench.log.truncate_to(4).unwrap();
        assert_eq!(stable(), 2);
        bench.log.truncate_to(3).unwrap();
        assert_eq!(stable(), 1);
        bench.log.truncate_to(1).unwrap();
        assert_eq!(stable(), 1);
        append(build(transactional(3, 0), NOW_MS, &["1"]));
        assert_eq!(stable(), 1);
        bench.log.restart_at(7).unwrap();
        assert_eq!(stable(), 7);
        append(batch(&["7"]));
        assert_eq!(stable(), 8);
    }
}

#[test]
fn readers_of_before_a_truncation_are_told() {
    let bench = filled(small());
    bench.log.commit(20).unwrap();
    let before = bench.log.fetch(15, 1 << 20, Isolation::Committed).unwrap();
    bench.log.truncate_to(10).unwrap();
    assert!(before.batches().all(|batch| batch.is_ok()));
    let beyond = bench.log.fetch(15, 1 << 20, Isolation::Committed);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { log_end: 10, .. })), "{beyond:?}");
    for value in 10..16 {
        bench.append(&[&value.to_string()]);
    }
    let durable = bench.log.watermarks().durable_end;
    let committed = read(&bench.log, 0, Isolation::Committed).unwrap();
    assert_eq!(committed.len() as Offset, durable);
}
