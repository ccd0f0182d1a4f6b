//! Opening: after a clean close, after a crash, over what a crash may leave beside the log.

use super::bench::{Bench, ROOT, batch, batch_of, one, partition, small};
use crate::{
    io::{Loss, Open, Storage, SyncKind},
    log::{AppendError, ChangeError, ClosedLog, LogConfig, OnDamage},
    segment::{Suffix, file_path},
    types::{Durability, Offset},
};

fn written() -> LogConfig {
    LogConfig { durability: Durability::Written, ..small() }
}

fn overwrite(storage: &Storage, path: &std::path::Path, bytes: &[u8]) {
    let file = storage.open(path, Open::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes.to_vec()).unwrap();
    file.sync(SyncKind::All).unwrap();
}

#[test]
fn after_a_clean_close_nothing_is_checked() {
    for config in [small(), written(), LogConfig { preallocate: true, ..small() }] {
        let bench = Bench::new(config);
        bench.append_each(0..23);
        let before = bench.marks()[1..].to_vec();
        let bench = bench.reopen();
        let report = &bench.report;
        assert!(report.clean && report.cut.is_none() && report.rebuilt.is_empty(), "{report:?}");
        assert_eq!((report.checked_bytes, report.log_end), (0, 23));
        assert_eq!(bench.marks(), [0, 23, 23, 23, 23], "before: {before:?}");
        assert_eq!(bench.offsets(), (0..23).collect::<Vec<_>>());
        bench.append_each(23..30);
        assert_eq!(bench.reopen().offsets(), (0..30).collect::<Vec<_>>());
    }
}

#[test]
fn settings_out_of_range_are_refused_before_anything_is_made() {
    let (disk, clock) = (crate::io::ForgetfulDisk::new(), Bench::new(small()).clock);
    let bad = LogConfig { segment_index_bytes: 8, ..small() };
    let error = Bench::open(&disk, clock, bad).err().unwrap();
    assert!(error.to_string().contains("segment.index.bytes"), "{error}");
    assert!(matches!(error, crate::log::OpenError::Config(_)));
    let folder = std::path::Path::new(ROOT).join(partition().to_string());
    assert!(!disk.storage().exists(&folder).unwrap());
}

#[test]
fn a_clean_close_is_durable() {
    for config in [small(), written(), LogConfig { preallocate: true, ..written() }] {
        let bench = Bench::new(config);
        for value in 0..23 {
            bench.append(&[&value.to_string()]);
        }
        bench.close();
        let bench = bench.cut_power(Loss::Everything);
        assert!(bench.report.clean, "{:?}", bench.report);
        assert_eq!(bench.offsets(), (0..23).collect::<Vec<_>>());
    }
}

#[test]
fn a_closed_log_takes_nothing_and_can_be_read() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    bench.close();
    assert!(matches!(bench.log.append(vec![batch(&["3"])], 1), Err(AppendError::Closed)));
    assert!(matches!(bench.log.append_as_follower(&[]), Err(AppendError::Closed)));
    assert!(matches!(bench.log.truncate_to(1), Err(ChangeError::Closed)));
    assert!(matches!(bench.log.restart_at(1), Err(ChangeError::Closed)));
    assert!(matches!(bench.log.delete_records_before(1), Err(ChangeError::Closed)));
    assert!(matches!(bench.log.checkpoint(), Err(ChangeError::Closed)));
    assert_eq!(bench.log.close().unwrap(), ClosedLog::Clean);
    assert_eq!(bench.offsets(), [0, 1, 2]);
}

#[test]
fn a_log_that_was_opened_and_crashed_is_no_clean_one() {
    let bench = Bench::new(small());
    bench.append_each(0..3);
    let bench = bench.reopen().kill();
    assert!(!bench.report.clean);
    assert_eq!(bench.report.checked_bytes, one());
    assert_eq!(bench.offsets(), [0, 1, 2]);
}

#[test]
fn only_what_lies_beyond_the_recovery_point_is_checked() {
    let one = one();
    for checkpointed in [0, 1, 5, 12, 13, 20] {
        let bench = Bench::new(small());
        bench.append_each(0..checkpointed);
        bench.checkpoint();
        bench.append_each(checkpointed..20);
        let bench = bench.kill();
        let report = &bench.report;
        let beyond = (20 - checkpointed) as u64 * one;
        // The batch below the point is read once more, to stand on firm ground.
        assert!((beyond..=beyond + one).contains(&report.checked_bytes), "{report:?}");
        assert!((checkpointed - 1..=checkpointed).contains(&report.checked_from), "{report:?}");
        assert!(!report.clean && report.cut.is_none());
        assert_eq!(bench.offsets(), (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn a_checkpoint_is_durable_only_with_what_it_speaks_of() {
    for config in [small(), written()] {
        let bench = Bench::new(config);
        for value in 0..20 {
            let batch = batch_of(2, value, &[&value.to_string()]);
            bench.log.append(vec![batch], 1).unwrap();
        }
        bench.checkpoint();
        assert_eq!(bench.marks(), [0, 20, 20, 20, 20]);
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), (0..20).collect::<Vec<_>>());
        let one = batch_of(2, 0, &["10"]).bytes().len() as u64;
        assert!(bench.report.checked_bytes <= one, "{:?}", bench.report);
        assert!(bench.report.rebuilt.is_empty());
        assert_eq!(bench.config.index_interval_bytes, 64);
        let metrics = &bench.log.options.metrics;
        assert_eq!((metrics.index_rebuilds.get(), metrics.index_fallbacks.get()), (0, 0));
    }
}

#[test]
fn checkpoints_leave_no_stray_snapshots() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    for round in 0..10 {
        bench.append_each(round * 3..round * 3 + 3);
        bench.checkpoint();
    }
    assert!(bench.files(".snapshot").len() <= 3, "{:?}", bench.files(".snapshot"));
    bench.close();
    assert_eq!(
        bench.files(".snapshot"),
        ["00000000000000000000.snapshot", "00000000000000000030.snapshot"]
    );
}

#[test]
fn a_torn_tail_is_cut_off_and_counted() {
    let one = one() as usize;
    for kept in 1..one {
        let bench = Bench::new(small());
        bench.append_each(0..3);
        bench.append(&["0003"]);
        let path = file_path(bench.log.path(), 0, Suffix::Log);
        let file = bench.storage().open(&path, Open::Write).unwrap();
        file.set_len((3 * one + kept) as u64).unwrap();
        let bench = bench.kill();
        let cut = bench.report.cut.as_ref().expect("a torn batch");
        assert_eq!((cut.offset, cut.bytes), (3, kept as u64));
        assert!(cut.kept_aside.is_empty());
        assert_eq!(bench.offsets(), [0, 1, 2]);
        bench.append_each(3..9);
        assert_eq!(bench.kill().offsets(), (0..9).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_not_committed_may_go_and_nothing_else() {
    for seed in 0..200 {
        let bench = Bench::new(LogConfig { preallocate: seed % 2 == 0, ..small() });
        bench.append_each(0..7);
        for value in 7..9 {
            bench.append(&[&value.to_string()]);
        }
        let bench = bench.cut_power(Loss::Random(seed));
        let end = bench.report.log_end;
        assert!((7..=9).contains(&end), "{:?}", bench.report);
        assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>());
        assert!(bench.report.damage.is_empty());
    }
}

#[test]
fn reserved_space_is_given_back_and_is_no_damage() {
    for config in [small(), written()] {
        let bench = Bench::new(LogConfig { preallocate: true, ..config });
        bench.append_each(0..13);
        let last = file_path(bench.log.path(), *bench.bases().last().unwrap(), Suffix::Log);
        let len = |bench: &Bench| bench.storage().open(&last, Open::Read).unwrap().len().unwrap();
        assert_eq!(len(&bench), 400);
        let bench = bench.cut_power(Loss::Everything);
        let report = &bench.report;
        assert!(report.cut.is_none() && report.damage.is_empty(), "{report:?}");
        assert_eq!(bench.offsets(), (0..13).collect::<Vec<_>>());
        assert!(len(&bench) < 400);
        bench.append_each(13..20);
        let bench = bench.reopen();
        assert!(bench.report.clean);
        assert_eq!(bench.offsets(), (0..20).collect::<Vec<_>>());
        for base in bench.bases() {
            let path = file_path(bench.log.path(), base, Suffix::Log);
            assert!(bench.storage().open(&path, Open::Read).unwrap().len().unwrap() < 400);
        }
    }
}

#[test]
fn lost_or_rotten_files_beside_the_log_are_made_anew() {
    for suffix in ["index", "timeindex", "snapshot", "leader-epoch-checkpoint", "trunkline-seals"] {
        for (clean, remove) in [(true, true), (true, false), (false, true), (false, false)] {
            let bench = Bench::new(small());
            for value in 0..20 {
                let batch = batch_of(2, value, &[&value.to_string()]);
                bench.log.append(vec![batch], 1 + value / 7).unwrap();
            }
            bench.log.commit(20).unwrap();
            bench.checkpoint();
            if clean {
                bench.close();
            }
            let (storage, path) = (bench.storage(), bench.log.path().to_path_buf());
            for name in bench.files(suffix) {
                let path = path.join(name);
                if remove {
                    storage.remove_file(&path).unwrap();
                } else {
                    let mut bytes = storage.read(&path, 1 << 20).unwrap();
                    for byte in &mut bytes {
                        *byte ^= 0x55;
                    }
                    overwrite(&storage, &path, &bytes);
                }
            }
            let bench = bench.kill();
            let context = format!("{suffix}, clean {clean}, removed {remove}: {:?}", bench.report);
            assert_eq!(bench.offsets(), (0..20).collect::<Vec<_>>(), "{context}");
            for offset in 0..20 {
                assert_eq!(bench.offsets_from(offset).first(), Some(&offset), "{context}");
            }
            let again = bench.log.append(vec![batch_of(2, 19, &["19"])], 3).unwrap();
            assert_eq!((again.base_offsets, again.end.offset()), (vec![19], 20), "{context}");
            let epochs: Vec<_> = bench
                .log
                .leader_epochs()
                .entries()
                .iter()
                .map(|entry| entry.start_offset)
                .collect();
            assert_eq!(epochs, [0, 7, 14], "{context}");
        }
    }
}

#[test]
fn a_finished_swap_takes_its_place_and_an_unfinished_cleaning_goes() {
    let bench = Bench::new(LogConfig { compacted: true, ..small() });
    bench.append_each(0..20);
    bench.close();
    let (storage, dir, bases) = (bench.storage(), bench.log.path().to_path_buf(), bench.bases());
    assert!(bases.len() >= 4);
    // The cleaner joined the first two segments and was interrupted before or after a rename.
    let logs: Vec<Vec<u8>> = bases[..2]
        .iter()
        .map(|base| storage.read(&file_path(&dir, *base, Suffix::Log), 1 << 20).unwrap())
        .collect();
    let joined = logs.concat();
    let name = |base: Offset, suffix: &str| dir.join(format!("{base:020}{suffix}"));
    overwrite(&storage, &name(bases[0], ".log.swap"), &joined);
    overwrite(&storage, &name(bases[2], ".log.cleaned"), b"unfinished");
    overwrite(&storage, &name(bases[3], ".log.swap"), b"of an unfinished group");
    overwrite(&storage, &name(bases[3], ".timeindex.deleted"), b"given up");
    overwrite(&storage, &name(17_000, ".index"), b"an index without a log");
    let bench = bench.kill();
    let storage = bench.storage();
    let expected: Vec<_> = bases.iter().filter(|base| **base != bases[1]).copied().collect();
    assert_eq!(bench.bases(), expected);
    assert_eq!(bench.offsets(), (0..20).collect::<Vec<_>>());
    for suffix in [".swap", ".cleaned", ".deleted"] {
        assert_eq!(bench.files(suffix), Vec::<String>::new());
    }
    assert!(!storage.exists(&name(17_000, ".index")).unwrap());
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), (0..20).collect::<Vec<_>>());
}

#[test]
fn other_partitions_checkpoints_are_kept() {
    let bench = Bench::new(small());
    bench.append_each(0..9);
    bench.log.delete_records_before(4).unwrap();
    bench.close();
    // Another program closes the folder: nothing of ours is left, only Kafka's files.
    let storage = bench.storage();
    let root = std::path::Path::new(ROOT);
    storage.remove_file(&root.join(crate::log::state::STATE_FILE)).unwrap();
    let other = crate::types::TopicPartition::new(partition().topic, 1);
    let Bench { disk, clock, config, dir, log, .. } = bench;
    drop((log, dir));
    let dir = std::sync::Arc::new(
        crate::log::LogDir::open(&storage, root, crate::commit::Strategy::default()).unwrap(),
    );
    let open = crate::log::UnrecoveredLog::open(&dir, &other, config.clone(), clock.clone());
    let (log, _) = open.unwrap().recover().unwrap();
    log.append(vec![batch(&["0"])], 1).unwrap();
    log.checkpoint().unwrap();
    dir.persist().unwrap();
    drop((log, dir));
    // A crash: what Kafka's checkpoints said of the first partition still is known.
    let disk = disk.power_cut(Loss::Everything);
    let bench = Bench::open(&disk, clock, config).unwrap();
    assert_eq!(bench.log.watermarks().log_start, 4);
    assert_eq!(bench.report.checked_bytes, one());
    assert_eq!(bench.offsets(), (4..9).collect::<Vec<_>>());
}

#[test]
fn a_cut_behind_the_back_of_a_closed_folder_is_no_damage() {
    // Another program opens what we closed, truncates it, and closes it.
    let bench = Bench::new(small());
    bench.append_each(0..9);
    bench.close();
    let (storage, root) = (bench.storage(), std::path::Path::new(ROOT));
    let last = *bench.bases().last().unwrap();
    let one = one();
    let file = storage.open(&file_path(bench.log.path(), last, Suffix::Log), Open::Write).unwrap();
    file.set_len(file.len().unwrap() - one).unwrap();
    file.sync(SyncKind::All).unwrap();
    let points = [(partition(), 8)].into_iter().collect();
    let path = root.join(crate::log::checkpoint::RECOVERY_POINTS);
    crate::log::checkpoint::write_offsets(&storage, &path, &points).unwrap();
    let bench = bench.kill();
    let report = &bench.report;
    assert!(!report.clean && report.damage.is_empty() && report.cut.is_none(), "{report:?}");
    assert_eq!(bench.offsets(), (0..8).collect::<Vec<_>>());
    bench.append_each(8..12);
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), (0..12).collect::<Vec<_>>());
}

#[test]
fn what_another_program_closed_was_durable_although_a_segment_is_in_doubt() {
    use crate::log::checkpoint::{RECOVERY_POINTS, read_offsets};
    for on_damage in [OnDamage::Refuse, OnDamage::Cut] {
        let bench = Bench::new(LogConfig { on_damage, ..written() });
        bench.append_each(0..14);
        bench.close();
        // Our state is lost: Kafka's files say that the folder was closed cleanly.
        let (storage, root) = (bench.storage(), std::path::Path::new(ROOT));
        storage.remove_file(&root.join(crate::log::state::STATE_FILE)).unwrap();
        let bases = bench.bases();
        let path = file_path(bench.log.path(), bases[bases.len() - 2], Suffix::Log);
        let file = storage.open(&path, Open::Write).unwrap();
        file.set_len(file.len().unwrap() - one()).unwrap();
        file.sync(SyncKind::All).unwrap();
        let bench = bench.kill();
        let report = &bench.report;
        if on_damage == OnDamage::Refuse {
            assert!(report.cut.is_none() && report.damage.len() == 1, "{report:?}");
            assert_eq!(bench.bases()[..bases.len()], bases);
            continue;
        }
        let cut = report.cut.as_ref().unwrap();
        assert_eq!((cut.offset, cut.kept_aside.len()), (bases[bases.len() - 1] - 1, 1));
        let points = read_offsets(&bench.storage(), &root.join(RECOVERY_POINTS)).unwrap().unwrap();
        assert!(points[&partition()] <= cut.offset, "vouches for what was cut: {points:?}");
    }
}

#[test]
fn what_another_program_left_and_is_missing_at_the_end_is_told() {
    for closed in [true, false] {
        what_is_missing_at_the_end_is_told(closed);
    }
}

fn what_is_missing_at_the_end_is_told(closed: bool) {
    let bench = Bench::new(written());
    bench.append_each(0..14);
    bench.close();
    let (storage, root) = (bench.storage(), std::path::Path::new(ROOT));
    storage.remove_file(&root.join(crate::log::state::STATE_FILE)).unwrap();
    storage.remove_file(&bench.log.path().join(crate::segment::SEALS_FILE)).unwrap();
    if !closed {
        crate::log::checkpoint::remove_clean_shutdown(&storage, root).unwrap();
    }
    let sound = Bench::open(&bench.disk.fork(), bench.clock.clone(), bench.config.clone()).unwrap();
    assert!(sound.report.rebuilt.is_empty(), "{:?}", sound.report);
    let last = *bench.bases().last().unwrap();
    let file = storage.open(&file_path(bench.log.path(), last, Suffix::Log), Open::Write).unwrap();
    file.set_len(file.len().unwrap() - one()).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.offsets(), (0..13).collect::<Vec<_>>());
    let told: Vec<String> = bench.report.rebuilt.iter().map(ToString::to_string).collect();
    let text = "recovery point of the partition: expected at most the log end 13, found 14";
    assert!(told.iter().any(|told| told.contains(text)), "{told:?}");
}

#[test]
fn another_programs_close_is_believed_wherever_an_open_after_it_is_cut_off() {
    use crate::log::checkpoint::{
        LOG_STARTS, RECOVERY_POINTS, write_clean_shutdown, write_offsets,
    };
    let bench = Bench::new(small());
    bench.append_each(0..14);
    bench.checkpoint();
    // We crash; another program opens the folder, deletes records, and closes it.
    let (storage, root) = (bench.storage(), std::path::Path::new(ROOT));
    for (name, offset) in [(LOG_STARTS, 6), (RECOVERY_POINTS, 14)] {
        write_offsets(&storage, &root.join(name), &[(partition(), offset)].into()).unwrap();
    }
    write_clean_shutdown(&storage, root).unwrap();
    let Bench { disk, clock, config, .. } = bench;
    let mut cut_off = 0;
    for operations in 0..40 {
        let disk = disk.power_cut(Loss::Everything);
        disk.power_off_after(operations);
        cut_off += usize::from(Bench::open(&disk, clock.clone(), config.clone()).is_err());
        let disk = disk.power_cut(Loss::Everything);
        let bench = Bench::open(&disk, clock.clone(), config.clone()).unwrap();
        assert_eq!(bench.offsets(), (6..14).collect::<Vec<_>>(), "{operations}");
    }
    assert!((9..40).contains(&cut_off), "{cut_off}");
}

/// Found by fuzzing: Kafka writes its log starts once a minute, so that after a crash they lag behind what was
/// deleted. A recovery that cut the tail took the old start for ours; a crash behind it, and the next open
/// missed the deleted segments.
#[test]
fn another_programs_log_start_that_lags_behind_its_deletions_is_taken_by_any_number_of_opens() {
    use crate::log::checkpoint::{LOG_STARTS, RECOVERY_POINTS, write_offsets};
    let bench = Bench::new(written());
    bench.append_each(0..14);
    bench.checkpoint();
    let (storage, root, bases) = (bench.storage(), std::path::Path::new(ROOT), bench.bases());
    storage.remove_file(&root.join(crate::log::state::STATE_FILE)).unwrap();
    storage.remove_file(&bench.log.path().join(crate::segment::SEALS_FILE)).unwrap();
    for suffix in [Suffix::Log, Suffix::Index, Suffix::TimeIndex] {
        storage.remove_file(&file_path(bench.log.path(), bases[0], suffix)).unwrap();
    }
    let last = *bases.last().unwrap();
    let file = storage.open(&file_path(bench.log.path(), last, Suffix::Log), Open::Write).unwrap();
    file.set_len(file.len().unwrap() - 5).unwrap();
    for (name, offset) in [(LOG_STARTS, 0), (RECOVERY_POINTS, bases[1])] {
        write_offsets(&storage, &root.join(name), &[(partition(), offset)].into()).unwrap();
    }
    bench.disk.settle();
    let Bench { disk, clock, config, .. } = bench;
    let mut cut_off = 0;
    for operations in 0..120 {
        let disk = disk.power_cut(Loss::Everything);
        disk.power_off_after(operations);
        cut_off += usize::from(Bench::open(&disk, clock.clone(), config.clone()).is_err());
        let disk = disk.power_cut(Loss::Everything);
        let bench = Bench::open(&disk, clock.clone(), config.clone()).unwrap();
        assert_eq!(bench.offsets(), (bases[1]..13).collect::<Vec<_>>(), "{operations}");
    }
    assert!((9..120).contains(&cut_off), "{cut_off}");
}

/// Found by fuzzing: a folder that another program closed without its leader epochs took a leader whose epoch
/// is lower than the last batch's, and after a crash that batch could not be read.
#[test]
fn another_programs_clean_close_without_leader_epochs_has_them_made_anew() {
    // A file that says nothing is not wrong.
    for (content, wrong) in [(None, 0), (Some("0\n0\n"), 0), (Some("0\n1\n0 0\n"), 1)] {
        let bench = Bench::new(small());
        bench.append_each(0..9);
        let known = bench.log.leader_epochs().entries().to_vec();
        assert!(known.iter().any(|entry| entry.epoch > 0));
        bench.close();
        let (storage, root) = (bench.storage(), std::path::Path::new(ROOT));
        storage.remove_file(&root.join(crate::log::state::STATE_FILE)).unwrap();
        let path = bench.log.path().join(crate::log::checkpoint::LEADER_EPOCHS);
        storage.remove_file(&path).unwrap();
        if let Some(content) = content {
            overwrite(&storage, &path, content.as_bytes());
        }
        let bench = bench.kill();
        assert!(bench.report.clean && bench.report.rebuilt.len() == wrong, "{:?}", bench.report);
        assert_eq!(bench.log.leader_epochs().entries(), known);
    }
}
