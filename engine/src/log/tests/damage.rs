//! Damage below the durable end: refused, never cut unless the owner decides; valid data behind it is
//! never dropped silently.

use super::bench::{Bench, batch, one, read, small};
use crate::{
    io::{Loss, Open, SyncKind},
    log::{
        AppendError, ChangeError, ClosedLog, Isolation, LogConfig, OnDamage, ReadError,
        state::PartitionState,
    },
    segment::{Suffix, file_path},
    types::{Durability, Offset},
};

/// Offsets 0 to 19, durable and said to be so, but below the recovery point 2 only.
fn filled(config: LogConfig) -> Bench {
    let bench = Bench::new(config);
    bench.append_each(0..2);
    bench.checkpoint();
    bench.append_each(2..20);
    let state = PartitionState { recovery_point: 2, ..bench.log.state() };
    bench.dir.note(bench.log.partition(), state);
    bench.dir.persist().unwrap();
    bench
}

/// Flips a bit of the record of the batch at `offset`, or with `header` of its length field.
fn rot(bench: &Bench, offset: Offset, header: bool) {
    let set = bench.log.segments.load_full();
    let segment = set.floor(offset).unwrap();
    let position = (offset - segment.base_offset()) as u64 * one();
    let at = position + if header { 11 } else { 68 };
    let file = bench.storage().open(segment.path(), Open::Write).unwrap();
    let mut bytes = file.read_at(at, 1).unwrap();
    bytes[0] ^= 0x10;
    file.write_at(at, bytes).unwrap();
    file.sync(SyncKind::All).unwrap();
}

#[test]
fn acknowledged_data_that_rots_stops_appends_and_nothing_else() {
    for offset in 2..20 {
        for header in [false, true] {
            let bench = filled(small());
            rot(&bench, offset, header);
            let bench = bench.kill();
            let context = format!("{offset} {header} {:?}", bench.report);
            assert!(bench.report.cut.is_none(), "{context}");
            assert_eq!(bench.report.damage.len(), 1, "{context}");
            let range = &bench.log.damage()[0];
            assert_eq!(range.offset, offset, "{context}");
            assert!(range.corruption.path.ends_with(format!("{:020}.log", range.segment)));
            let refused = bench.log.append(vec![batch(&["20"])], 1);
            assert!(matches!(refused, Err(AppendError::Damaged(_))), "{context}");
            let why = bench.log.check_appends();
            assert!(matches!(why, Err(AppendError::Damaged(_))), "{context}");
            // All before it and all behind it can be read, by whatever amounts.
            for max_bytes in [1, 150, 1 << 20] {
                let mut seen = Vec::new();
                let mut next = 0;
                while next < 20 {
                    match bench.log.fetch(next, max_bytes, Isolation::LogEnd) {
                        Ok(fetched) if !fetched.is_empty() => {
                            let good = fetched.batches().map_while(Result::ok);
                            let offsets: Vec<_> = good.map(|it| it.header().base_offset).collect();
                            let advanced = offsets.last().map_or(next + 1, |last| last + 1);
                            seen.extend(offsets);
                            next = advanced;
                        }
                        Ok(_) => break,
                        Err(ReadError::Corrupt(_)) => next += 1,
                        Err(error) => panic!("{context}: {error}"),
                    }
                }
                let expected: Vec<_> = (0..20).filter(|it| *it != offset).collect();
                assert_eq!(seen, expected, "{context}, at most {max_bytes} bytes");
            }
            // It is found again, as long as nobody decides.
            assert_eq!(bench.log.close().unwrap(), ClosedLog::Damaged);
            assert_eq!(bench.log.close().unwrap(), ClosedLog::Damaged);
            let bench = bench.kill().cut_power(Loss::Everything);
            assert_eq!(bench.report.damage.len(), 1, "{context}");
        }
    }
}

/// Nothing on disk says how far records were acknowledged since the last checkpoint was persisted: rot in them
/// looks as what a crash tears. It is cut and told, and what is valid behind it is kept aside.
#[test]
fn rot_behind_the_last_checkpoint_is_cut_and_told() {
    for offset in 2..20 {
        for header in [false, true] {
            let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
            bench.append_each(0..2);
            bench.checkpoint();
            bench.append_each(2..20);
            rot(&bench, offset, header);
            let bench = bench.kill();
            let context = format!("{offset} {header} {:?}", bench.report);
            let cut = bench.report.cut.as_ref().expect(&context);
            assert_eq!((cut.offset, bench.report.log_end), (offset, offset), "{context}");
            assert_eq!(cut.bytes, (20 - offset) as u64 * one(), "{context}");
            assert!(cut.cause.path.ends_with(format!("{:020}.log", 0)), "{context}");
            assert_eq!(cut.kept_aside.is_empty(), offset == 19, "{context}");
            assert_eq!(bench.offsets(), (0..offset).collect::<Vec<_>>(), "{context}");
        }
    }
}

#[test]
fn the_owner_cuts_damage_and_the_bytes_are_kept() {
    for offset in 2..20 {
        for header in [false, true] {
            let bench = filled(small());
            rot(&bench, offset, header);
            let bench = bench.kill();
            let cut = bench.log.cut_damage().unwrap().expect("there is damage");
            bench.log.check_appends().unwrap();
            assert_eq!((cut.offset, cut.bytes), (offset, (20 - offset) as u64 * one()));
            let kept: usize = cut
                .kept_aside
                .iter()
                .map(|path| bench.storage().read(path, 1 << 20).unwrap().len())
                .sum();
            assert_eq!(kept as u64, cut.bytes);
            assert!(bench.log.damage().is_empty());
            assert_eq!(bench.log.cut_damage().unwrap().map(|_| ()), None);
            assert_eq!(bench.offsets(), (0..offset).collect::<Vec<_>>());
            bench.append_each(offset..offset + 5);
            let bench = bench.cut_power(Loss::Everything);
            assert_eq!(bench.offsets(), (0..offset + 5).collect::<Vec<_>>());
            assert!(bench.report.damage.is_empty() && bench.report.cut.is_none());
            assert!(bench.reopen().report.clean);
        }
    }
}

#[test]
fn the_owner_may_decide_beforehand() {
    for offset in 2..20 {
        let bench = filled(LogConfig { on_damage: OnDamage::Cut, ..small() });
        rot(&bench, offset, false);
        let bench = bench.kill();
        let cut = bench.report.cut.as_ref().expect("the damage was cut");
        assert_eq!((cut.offset, cut.kept_aside.is_empty()), (offset, false));
        assert_eq!(bench.offsets(), (0..offset).collect::<Vec<_>>());
        // The checkpoints ceased to speak of what was cut: what stands there now is another thing.
        bench.append_each(offset..=offset);
        let bench = bench.cut_power(Loss::Everything);
        assert!(bench.report.cut.is_none() && bench.report.damage.is_empty(), "{offset}");
        assert_eq!(bench.offsets(), (0..=offset).collect::<Vec<_>>());
    }
}

/// As [`filled`], without the records below `start`: their segments are still there.
fn deleted_below(start: Offset, on_damage: OnDamage) -> Bench {
    let bench = filled(LogConfig { on_damage, ..small() });
    bench.log.delete_records_before(start).unwrap();
    let state = PartitionState { recovery_point: 2, ..bench.log.state() };
    bench.dir.note(bench.log.partition(), state);
    bench.dir.persist().unwrap();
    bench
}

#[test]
fn rot_in_deleted_records_neither_stops_appends_nor_cuts() {
    for on_damage in [OnDamage::Refuse, OnDamage::Cut] {
        for (start, rotten) in [(19, 7), (18, 17), (17, 15), (11, 10), (20, 19), (20, 3)] {
            for header in [false, true] {
                let bench = deleted_below(start, on_damage);
                rot(&bench, rotten, header);
                let bench = bench.kill();
                let context = format!("{start} {rotten} {header}: {:?}", bench.report);
                assert!(bench.report.cut.is_none() && bench.report.damage.is_empty(), "{context}");
                assert_eq!(bench.marks()[0], start, "{context}");
                assert_eq!(bench.offsets(), (start..20).collect::<Vec<_>>(), "{context}");
                bench.append_each(20..30);
                let bench = bench.cut_power(Loss::Everything);
                assert_eq!(bench.offsets(), (start..30).collect::<Vec<_>>(), "{context}");
                let bench = bench.reopen();
                assert!(bench.report.clean, "{context}");
                assert_eq!(bench.offsets(), (start..30).collect::<Vec<_>>(), "{context}");
                assert_eq!(bench.log.truncate_to(25).unwrap(), 25);
                assert_eq!(bench.cut_power(Loss::Everything).offsets().len() as Offset, 25 - start);
            }
        }
    }
}

#[test]
fn power_cuts_while_rot_in_deleted_records_is_passed_over_lose_nothing() {
    for (start, rotten) in [(18, 17), (17, 15), (11, 7)] {
        for operations in 0..1_000 {
            let bench = deleted_below(start, OnDamage::Refuse);
            bench.append(&["0020"]);
            rot(&bench, rotten, true);
            let disk = bench.disk.power_cut(Loss::Everything);
            disk.power_off_after(operations);
            let finished = Bench::open(&disk, bench.clock.clone(), bench.config.clone()).is_ok();
            let disk = disk.power_cut(Loss::Random(operations));
            let again = Bench::open(&disk, bench.clock.clone(), bench.config.clone()).unwrap();
            let context = format!("{start} {operations}: {:?}", again.report);
            assert!(again.report.damage.is_empty() && again.report.cut.is_none(), "{context}");
            assert_eq!(again.offsets(), (start..20).collect::<Vec<_>>(), "{context}");
            again.append_each(20..23);
            let again = again.cut_power(Loss::Everything);
            assert_eq!(again.offsets(), (start..23).collect::<Vec<_>>(), "{context}");
            if finished {
                assert!(operations > 10, "{operations} operations");
                break;
            }
        }
    }
}

#[test]
fn rot_on_both_sides_of_the_log_start_is_told_apart() {
    let bench = deleted_below(11, OnDamage::Refuse);
    rot(&bench, 10, true);
    rot(&bench, 13, false);
    let bench = bench.kill();
    let offsets: Vec<_> = bench.report.damage.iter().map(|range| range.offset).collect();
    assert_eq!(offsets, [13], "{:?}", bench.report);
    assert_eq!(bench.report.deleted_damage[0].offset, 10);
    let cut = bench.log.cut_damage().unwrap().unwrap();
    assert_eq!(cut.offset, 13);
    assert_eq!(bench.offsets(), [11, 12]);
}

#[test]
fn a_cut_through_the_log_start_leaves_an_empty_log() {
    // One batch holds offsets 20 to 22: it goes whole.
    let bench = deleted_below(20, OnDamage::Cut);
    bench.append(&["0020", "0021", "0022"]);
    bench.append_each(23..25);
    bench.log.delete_records_before(22).unwrap();
    rot(&bench, 20, false);
    let bench = bench.kill();
    assert_eq!(bench.marks()[0], 20);
    assert!(bench.offsets().is_empty());
    bench.append_each(20..22);
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), [20, 21]);
}

#[test]
fn damage_is_surveyed_in_one_pass_however_often_it_comes() {
    let read = |count: i64| {
        let bench = Bench::new(LogConfig { segment_bytes: 64 << 20, ..small() });
        for value in 0..count {
            bench.append(&[&format!("{value:04}")]);
        }
        bench.log.commit(count).unwrap();
        bench.dir.persist_one(bench.log.partition(), bench.log.state()).unwrap();
        (0..count).step_by(2).for_each(|offset| rot(&bench, offset, false));
        let disk = bench.disk.fork();
        let before = disk.bytes_read();
        let bench = Bench::open(&disk, bench.clock.clone(), bench.config.clone()).unwrap();
        assert_eq!(bench.report.damage.len() as i64, count / 2);
        disk.bytes_read() - before
    };
    let (half, whole) = (read(1_000), read(2_000));
    assert!(whole < half * 5 / 2, "{half} bytes read, {whole} for twice the damage");
}

#[test]
fn a_segment_that_is_missing_after_a_clean_close_is_damage() {
    for on_damage in [OnDamage::Refuse, OnDamage::Cut] {
        for cut_short in [false, true] {
            let bench = Bench::new(LogConfig { on_damage, ..small() });
            bench.append_each(0..20);
            bench.close();
            let (bases, storage) = (bench.bases(), bench.storage());
            let path = file_path(bench.log.path(), bases[1], Suffix::Log);
            if cut_short {
                storage.open(&path, Open::Write).unwrap().set_len(2 * one()).unwrap();
            } else {
                storage.remove_file(&path).unwrap();
            }
            let gap = bases[1] + if cut_short { 2 } else { 0 };
            let bench = bench.kill();
            assert!(!bench.report.clean);
            if on_damage == OnDamage::Cut {
                assert_eq!(bench.report.cut.as_ref().unwrap().offset, gap, "{:?}", bench.report);
                assert_eq!(bench.offsets(), (0..gap).collect::<Vec<_>>());
                continue;
            }
            assert_eq!(bench.report.damage[0].offset, gap, "{:?}", bench.report);
            let refused = bench.log.append(vec![batch(&["20"])], 1);
            assert!(matches!(refused, Err(AppendError::Damaged(_))), "{refused:?}");
            assert!(matches!(
                bench.log.fetch(gap, 1, Isolation::LogEnd),
                Err(ReadError::Corrupt(_))
            ));
            assert_eq!(bench.offsets_from(bases[2]), (bases[2]..20).collect::<Vec<_>>());
        }
    }
}

/// As another program would leave the log of a `written` partition when it crashes.
fn of_another_program() -> Bench {
    let bench = filled(small());
    let root = std::path::Path::new(super::bench::ROOT);
    bench.storage().remove_file(&root.join(crate::log::state::STATE_FILE)).unwrap();
    let points = [(bench.log.partition().clone(), 2)].into_iter().collect();
    let path = root.join(crate::log::checkpoint::RECOVERY_POINTS);
    crate::log::checkpoint::write_offsets(&bench.storage(), &path, &points).unwrap();
    bench
}

#[test]
fn what_another_program_only_wrote_is_no_acknowledged_data() {
    for is_ours in [false, true] {
        let bench = of_another_program();
        if !is_ours {
            let seals = bench.log.path().join(crate::segment::SEALS_FILE);
            bench.storage().remove_file(&seals).unwrap();
        }
        rot(&bench, 9, false);
        let bench = bench.kill();
        if is_ours {
            // Our checkpoint was lost, our seals were not.
            assert_eq!(bench.report.damage[0].offset, 9, "{:?}", bench.report);
            continue;
        }
        let cut = bench.report.cut.as_ref().expect("a crash tore it");
        assert_eq!((cut.offset, cut.kept_aside.is_empty()), (9, false));
        bench.append_each(9..12);
        assert_eq!(bench.cut_power(Loss::Everything).offsets(), (0..12).collect::<Vec<_>>());
    }
}

#[test]
fn a_missing_segment_is_damage_too() {
    for missing in 1..4 {
        let bench = filled(small());
        let bases = bench.bases();
        assert_eq!(bases.len(), 4);
        let (from, to) = (bases[missing], bases.get(missing + 1).copied().unwrap_or(20));
        let path = file_path(bench.log.path(), from, Suffix::Log);
        bench.storage().remove_file(&path).unwrap();
        let bench = bench.kill();
        assert_eq!(bench.log.damage()[0].offset, from, "{:?}", bench.report);
        for offset in (0..20).filter(|offset| !(from..to).contains(offset)) {
            let found = bench.log.fetch(offset, 1, Isolation::LogEnd).unwrap();
            assert_eq!(found.first_offset(), offset);
        }
        for offset in from..to.min(20) {
            let found = bench.log.fetch(offset, 1, Isolation::LogEnd);
            let right = matches!(&found, Err(ReadError::Corrupt(_)))
                || found.is_ok_and(|fetched| fetched.is_empty());
            assert!(right, "{offset}");
        }
        // Found again, then cut at the gap.
        let bench = bench.kill();
        assert_eq!(bench.log.damage()[0].offset, from);
        bench.log.cut_damage().unwrap().expect("there is damage");
        assert_eq!(bench.offsets(), (0..from).collect::<Vec<_>>());
        bench.append_each(from..from + 9);
        let bench = bench.cut_power(Loss::Everything);
        assert!(bench.report.damage.is_empty(), "{:?}", bench.report);
        assert_eq!(bench.offsets(), (0..from + 9).collect::<Vec<_>>());
    }
}

#[test]
fn a_gap_and_a_rotten_batch_are_both_found() {
    let bench = filled(small());
    let bases = bench.bases();
    rot(&bench, bases[3], false);
    bench.storage().remove_file(&file_path(bench.log.path(), bases[1], Suffix::Log)).unwrap();
    let bench = bench.kill();
    let offsets: Vec<_> = bench.log.damage().iter().map(|range| range.offset).collect();
    assert_eq!(offsets, [bases[1], bases[3]]);
    bench.log.cut_damage().unwrap();
    assert_eq!(bench.append_each(bases[1]..bases[1] + 2), bases[1] + 2);
    let bench = bench.cut_power(Loss::Everything);
    assert!(bench.report.damage.is_empty(), "{:?}", bench.report);
}

#[test]
fn a_log_that_is_shorter_than_it_was_durable_is_damaged() {
    for end in 2..20 {
        let bench = filled(small());
        let set = bench.log.segments.load_full();
        let floor = set.floor(end).unwrap();
        for segment in set.iter().filter(|segment| segment.base_offset() > end) {
            bench.storage().remove_file(segment.path()).unwrap();
        }
        let file = bench.storage().open(floor.path(), Open::Write).unwrap();
        file.set_len((end - floor.base_offset()) as u64 * one()).unwrap();
        let bench = bench.kill();
        assert_eq!(bench.report.damage[0].offset, end, "{:?}", bench.report);
        let upto = bench.log.fetch(end - 1, 1, Isolation::LogEnd).unwrap();
        assert_eq!(upto.next_offset(), end);
        let beyond = read(&bench.log, end, Isolation::LogEnd);
        assert!(matches!(beyond, Err(ReadError::Corrupt(_))), "{beyond:?}");
        let bench = bench.kill();
        assert_eq!(bench.report.damage[0].offset, end, "{:?}", bench.report);
        assert_eq!(bench.log.cut_damage().unwrap().unwrap().bytes, 0);
        assert_eq!(bench.offsets(), (0..end).collect::<Vec<_>>());
        bench.append_each(end..end + 7);
        let bench = bench.cut_power(Loss::Everything);
        assert_eq!(bench.offsets(), (0..end + 7).collect::<Vec<_>>());
    }
}

#[test]
fn a_truncation_below_the_damage_ends_it() {
    let bench = filled(small());
    rot(&bench, 9, true);
    let bench = bench.kill();
    let beyond = bench.log.truncate_to(12);
    assert!(matches!(beyond, Err(ChangeError::Corrupt(_))), "{beyond:?}");
    assert_eq!(bench.log.damage().len(), 1);
    assert_eq!(bench.log.truncate_to(9).unwrap(), 9);
    assert!(bench.log.damage().is_empty());
    assert_eq!(bench.offsets(), (0..9).collect::<Vec<_>>());
    bench.append_each(9..15);
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), (0..15).collect::<Vec<_>>());

    let bench = filled(small());
    rot(&bench, 9, true);
    let bench = bench.kill();
    bench.log.restart_at(20).unwrap();
    bench.append_each(20..22);
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), [20, 21]);
}

#[test]
fn one_group_out_of_order_is_cut_and_kept_aside() {
    let bench = Bench::new(small());
    bench.append_each(0..2);
    bench.log.append(vec![batch(&["0002"]), batch(&["0003"])], 1).unwrap();
    rot(&bench, 2, false);
    let bench = bench.kill();
    let cut = bench.report.cut.as_ref().expect("a group that was torn");
    assert_eq!((cut.offset, cut.bytes, cut.kept_aside.len()), (2, 2 * one(), 1));
    assert_eq!(bench.offsets(), [0, 1]);
    assert!(bench.report.damage.is_empty());
}

#[test]
fn what_was_only_written_is_cut_with_all_behind_it() {
    let bench = Bench::new(LogConfig { durability: Durability::Written, ..small() });
    for value in 0..20 {
        bench.append(&[&format!("{value:04}")]);
    }
    rot(&bench, 3, false);
    let bench = bench.kill();
    let cut = bench.report.cut.as_ref().unwrap();
    assert_eq!((cut.offset, cut.bytes), (3, 17 * one()));
    assert_eq!(cut.kept_aside.len(), 4);
    assert_eq!(bench.offsets(), [0, 1, 2]);
    bench.append_each(3..9);
    assert_eq!(bench.kill().offsets(), (0..9).collect::<Vec<_>>());
}

#[test]
fn a_last_segment_behind_a_gap_is_not_taken_for_a_torn_tail() {
    for durability in [Durability::Durable, Durability::Written] {
        let bench = Bench::new(LogConfig { durability, ..small() });
        bench.append_each(0..14);
        let bases = bench.bases();
        // No checkpoint: that the records were durable shows in there being a later segment.
        let [.., before, last] = bases[..] else { panic!("{bases:?}") };
        let storage = bench.storage();
        let name = file_path(bench.log.path(), before, Suffix::Log);
        let file = storage.open(&name, Open::Write).unwrap();
        file.set_len(file.len().unwrap() - one()).unwrap();
        file.sync(SyncKind::All).unwrap();
        let bench = bench.kill();
        let report = &bench.report;
        match durability {
            Durability::Durable => {
                assert!(report.cut.is_none() && report.damage.len() == 1, "{report:?}");
                assert_eq!(bench.offsets_from(last), (last..14).collect::<Vec<_>>());
            }
            Durability::Written => {
                let cut = report.cut.as_ref().unwrap();
                assert_eq!((cut.offset, cut.kept_aside.len()), (last - 1, 1), "{report:?}");
            }
        }
    }
}

/// As a disk leaves it that lies about its syncs: nothing valid stands behind the gap, and the last segment is
/// empty. The new one must begin behind them all.
#[test]
fn an_empty_segment_behind_one_without_a_batch_stays_behind_a_gap() {
    let bench = Bench::new(small());
    bench.append_each(0..20);
    let [_, missing, without_batch, empty] = bench.bases()[..] else { panic!("four segments") };
    let storage = bench.storage();
    let path = |base| file_path(bench.log.path(), base, Suffix::Log);
    storage.remove_file(&path(missing)).unwrap();
    let file = storage.open(&path(without_batch), Open::Write).unwrap();
    file.write_at(0, vec![0; file.len().unwrap() as usize]).unwrap();
    storage.open(&path(empty), Open::Write).unwrap().set_len(0).unwrap();
    let bench = bench.kill().kill();
    assert_eq!(bench.log.damage()[0].offset, missing, "{:?}", bench.report);
    for offset in 0..missing {
        assert_eq!(bench.log.fetch(offset, 1, Isolation::LogEnd).unwrap().first_offset(), offset);
    }
    bench.log.cut_damage().unwrap().expect("there is damage");
    bench.append_each(missing..missing + 7);
    let bench = bench.cut_power(Loss::Everything);
    assert!(bench.report.damage.is_empty(), "{:?}", bench.report);
    assert_eq!(bench.offsets(), (0..missing + 7).collect::<Vec<_>>());
}

/// The last batch of a segment between others has rotted: it is no space that was reserved, and stays for who
/// decides.
#[test]
fn rot_at_the_end_of_a_segment_between_others_is_left_where_it_is() {
    for compacted in [false, true] {
        let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), compacted, ..small() });
        bench.append_each(0..12);
        let state = PartitionState { recovery_point: 0, ..bench.log.state() };
        bench.dir.persist_one(bench.log.partition(), state).unwrap();
        let path = file_path(bench.log.path(), 5, Suffix::Log);
        let file = bench.storage().open(&path, Open::Write).unwrap();
        file.write_at(5 * one() - 1, vec![0xAA]).unwrap();
        let before = bench.storage().read(&path, 1 << 20).unwrap();
        let bench = bench.kill();
        assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
        assert_eq!(bench.log.damage()[0].offset, 9);
        assert!(bench.storage().read(&path, 1 << 20).unwrap() == before);
    }
}

/// A tail is torn, and a roll that failed has left an empty segment behind: that says nothing of the tail.
#[test]
fn an_empty_segment_behind_a_torn_tail_does_not_vouch_for_it() {
    let bench = Bench::new(LogConfig { segment_bytes: 1 << 20, ..small() });
    bench.append_each(0..3);
    let path = file_path(bench.log.path(), 0, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    file.set_len(3 * one() - 5).unwrap();
    let empty = file_path(bench.log.path(), 3, Suffix::Log);
    bench.storage().open(&empty, Open::Create).unwrap();
    let bench = bench.kill();
    let cut = bench.report.cut.as_ref().expect("a torn tail");
    assert_eq!((cut.offset, bench.report.damage.len()), (2, 0));
    assert_eq!(bench.bases(), [0]);
    bench.append_each(2..5);
    assert_eq!(bench.offsets(), [0, 1, 2, 3, 4]);
}
