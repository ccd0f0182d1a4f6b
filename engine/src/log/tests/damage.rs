//! Damage below the durable end: refused, never cut unless the owner decides; valid data behind it is
//! never dropped silently.

use super::bench::{Bench, batch, one, read, small};
use crate::{
    io::{Loss, Open, SyncKind},
    log::{AppendError, ChangeError, ClosedLog, Isolation, LogConfig, OnDamage, ReadError},
    segment::{Suffix, file_path},
    types::{Durability, Offset},
};

/// Offsets 0 to 19, durable and said to be so, but below the recovery point 2 only.
fn filled(config: LogConfig) -> Bench {
    let bench = Bench::new(config);
    bench.append_each(0..2);
    bench.checkpoint();
    bench.append_each(2..20);
    let state = crate::log::state::PartitionState { recovery_point: 2, ..bench.log.state() };
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

#[test]
fn a_cut_below_the_log_start_leaves_an_empty_log() {
    let bench = filled(LogConfig { on_damage: OnDamage::Cut, ..small() });
    bench.log.delete_records_before(19).unwrap();
    let state = crate::log::state::PartitionState { recovery_point: 2, ..bench.log.state() };
    bench.dir.note(bench.log.partition(), state);
    bench.dir.persist().unwrap();
    rot(&bench, 7, false);
    let bench = bench.kill();
    assert_eq!(bench.marks()[0], 7);
    assert!(bench.offsets().is_empty());
    bench.append_each(7..9);
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), [7, 8]);
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
