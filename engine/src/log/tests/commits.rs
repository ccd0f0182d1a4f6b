//! What a commit, a truncation and a checkpoint owe each other, step by step.

use super::bench::{Bench, batch, one, small};
use crate::{
    io::Loss,
    log::{ChangeError, CommitError, CommitPlan, LogConfig},
    segment::{SEALS_FILE, Seals, Suffix, file_name},
    types::{Durability, Offset},
};

/// Five batches a segment, nothing synced before somebody asks.
fn written() -> LogConfig {
    LogConfig { durability: Durability::Written, segment_bytes: 5 * one(), ..small() }
}

fn append(bench: &Bench, offsets: impl IntoIterator<Item = Offset>) {
    for offset in offsets {
        bench.append(&[&format!("{offset:04}")]);
    }
}

fn plan(bench: &Bench, upto: Offset) -> CommitPlan {
    let point = bench.log.tail.pinned(upto.into());
    bench.log.tail.plan(point).unwrap().expect("something is to be synced")
}

/// Base offsets of the seals on disk.
fn seals(bench: &Bench) -> Vec<Offset> {
    let seals = Seals::load(&bench.storage(), bench.log.path()).unwrap();
    seals.iter().map(|seal| seal.base_offset).collect()
}

#[test]
fn an_offset_that_is_pinned_means_the_records_of_then() {
    let bench = Bench::new(small());
    bench.append_each(0..4);
    let point = bench.log.tail.pinned(4.into());
    bench.log.truncate_to(2).unwrap();
    bench.append_each(2..6);
    let truncated = bench.log.tail.plan(point);
    assert!(matches!(truncated, Err(CommitError::Truncated { upto: 4 })), "{truncated:?}");
    assert!(bench.log.tail.plan(bench.log.tail.pinned(4.into())).is_ok());
}

#[test]
fn a_sync_that_a_truncation_overtook_moves_nothing() {
    let bench = Bench::new(small());
    bench.append_each(0..2);
    append(&bench, 2..4);
    let plan = plan(&bench, 4);
    bench.log.truncate_to(2).unwrap();
    append(&bench, 2..5);
    assert!(!bench.log.tail.synced(&plan));
    assert_eq!(bench.marks(), [0, 0, 2, 2, 5]);
    assert_eq!(bench.log.readable().get(), 2);
    bench.log.commit(5).unwrap();
    assert_eq!(bench.marks(), [0, 0, 5, 5, 5]);
}

/// A file that is rolled while its sync is under way has bytes that this sync did not reach.
#[test]
fn a_file_stays_to_be_synced_until_all_of_it_is_durable() {
    let bench = Bench::new(written());
    append(&bench, 0..2);
    let plan = plan(&bench, 2);
    append(&bench, 2..7);
    assert_eq!(bench.bases(), [0, 5]);
    bench.dir.commit().commit(&plan.targets).unwrap();
    assert!(bench.log.tail.synced(&plan));
    assert_eq!(bench.log.watermarks().durable_end, 2);
    bench.log.commit(7).unwrap();
    assert_eq!(bench.cut_power(Loss::Everything).offsets(), (0..7).collect::<Vec<_>>());
}

#[test]
fn what_is_durable_is_not_synced_again() {
    let bench = Bench::new(written());
    append(&bench, 0..7);
    bench.log.commit(7).unwrap();
    append(&bench, 7..8);
    assert_eq!(plan(&bench, 8).targets.len(), 1, "the file that is appended to");
    append(&bench, 8..11);
    assert_eq!(bench.bases(), [0, 5, 10]);
    assert_eq!(plan(&bench, 11).targets.len(), 2);
}

/// A truncation forgets what it removes, and nothing else, of what the next checkpoint is to sync.
#[test]
fn a_checkpoint_syncs_the_indexes_of_what_a_truncation_left() {
    for to in [7, 12] {
        let bench = Bench::new(written());
        append(&bench, 0..14);
        assert_eq!(bench.bases(), [0, 5, 10]);
        bench.log.truncate_to(to).unwrap();
        bench.checkpoint();
        let index = |bench: &Bench, base| {
            let path = bench.log.path().join(file_name(base, Suffix::Index));
            bench.storage().read(&path, 1 << 20).unwrap()
        };
        let sealed: Vec<Offset> = bench.bases();
        let before: Vec<_> = sealed.iter().map(|base| index(&bench, *base)).collect();
        assert!(before[0].len() > 8);
        let left = bench.disk.power_cut(Loss::Everything);
        for (base, before) in sealed.iter().zip(&before) {
            let path = bench.log.path().join(file_name(*base, Suffix::Index));
            let after = left.storage().read(&path, 1 << 20).unwrap();
            assert_eq!(&after, before, "of {base}, cut to {to}");
        }
    }
}

/// A seal speaks of a length that other batches may reach again; the others spare a check.
#[test]
fn a_truncation_keeps_the_seals_of_what_stays() {
    for (to, kept) in [(12, &[0, 5][..]), (10, &[0]), (7, &[0]), (3, &[])] {
        let bench = Bench::new(written());
        append(&bench, 0..17);
        bench.checkpoint();
        let bench = bench.reopen();
        assert_eq!(seals(&bench), [0, 5, 10]);
        bench.log.truncate_to(to).unwrap();
        assert_eq!(seals(&bench), kept, "cut to {to}");
        assert!(bench.files(SEALS_FILE).len() == 1);
    }
}

#[test]
fn below_a_damage_a_truncation_goes_as_far_as_it_is_asked() {
    for to in [12, 11, 6, 3] {
        let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
        bench.append_each(0..17);
        // The record of the batch at 12, acknowledged as durable; then a crash.
        let set = bench.log.segments.load_full();
        let path = set.floor(12).unwrap().path().to_owned();
        let file = bench.storage().open(&path, crate::io::Open::Write).unwrap();
        file.write_at(2 * one() + 68, vec![b'?']).unwrap();
        file.sync(crate::io::SyncKind::All).unwrap();
        bench.dir.persist_one(bench.log.partition(), bench.log.state()).unwrap();
        let state = crate::log::state::PartitionState { recovery_point: 0, ..bench.log.state() };
        bench.dir.persist_one(bench.log.partition(), state).unwrap();
        let bench = bench.kill();
        assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
        let above = bench.log.truncate_to(13);
        assert!(matches!(above, Err(ChangeError::Corrupt(_))), "{above:?}");
        assert_eq!(bench.log.truncate_to(to).unwrap(), to);
        assert_eq!(bench.log.watermarks().log_end, to);
        assert_eq!(seals(&bench), (0..to - 4).step_by(5).collect::<Vec<_>>(), "cut to {to}");
        bench.log.append(vec![batch(&[&format!("{to:04}")])], 1).unwrap();
        assert_eq!(bench.offsets(), (0..=to).collect::<Vec<_>>());
    }
}

#[test]
fn a_checkpoint_is_worth_its_while_once_a_segment_was_sealed() {
    let is_due = |bench: &Bench| bench.log.has_rolled_since_checkpoint();
    let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
    bench.append_each(0..5);
    assert!(!is_due(&bench));
    bench.append_each(5..6);
    assert!(is_due(&bench));
    bench.checkpoint();
    assert!(!is_due(&bench));
    let bench = Bench::new(written());
    append(&bench, 0..12);
    assert!(!is_due(&bench), "what is not durable is looked at after a crash anyway");
}

/// One at the base of each segment, one where a recovery begins, and one at the end.
#[test]
fn snapshots_that_no_recovery_asks_for_go_with_a_checkpoint() {
    let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
    let snapshots = |bench: &Bench| {
        let mut names = bench.files(".snapshot");
        names.sort();
        names.iter().map(|name| name[..20].parse().unwrap()).collect::<Vec<Offset>>()
    };
    for (upto, left) in [(2, &[0, 2][..]), (3, &[0, 2, 3]), (7, &[0, 3, 5, 7]), (8, &[0, 5, 7, 8])]
    {
        bench.append_each(bench.log.watermarks().log_end..upto);
        bench.checkpoint();
        assert_eq!(snapshots(&bench), left, "a checkpoint at {upto}");
    }
}
