//! Files that contradict each other although their checksums are right: a segment of another log, a
//! checkpoint of another day. Found by fuzzing; what is wrong is said, and the log goes on or refuses.

use std::path::Path;

use super::bench::{Bench, NOW_MS, ROOT, batch, one, partition, small};
use crate::{
    io::{Loss, Open, SyncKind},
    limits::BATCH_HEADER,
    log::{
        AppendError, Isolation, LogConfig,
        checkpoint::{
            LEADER_EPOCHS, LOG_STARTS, RECOVERY_POINTS, remove_clean_shutdown, write_offsets,
        },
        state::STATE_FILE,
    },
    record::{BatchBuilder, BatchHeader, BatchSettings, Encoder, NewRecord},
    segment::{SEALS_FILE, Suffix, file_path},
    types::{Durability, NO_EPOCH, Offset},
};

/// Ten batches, five a segment, closed.
fn closed() -> Bench {
    let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
    bench.append_each(0..10);
    bench.close();
    assert_eq!(bench.bases(), [0, 5]);
    bench
}

/// What tells an engine of its own log is lost.
fn forget_state(bench: &Bench) {
    bench.storage().remove_file(&Path::new(ROOT).join(STATE_FILE)).unwrap();
}

/// Changes the header of the batch at `offset` and puts its checksum right.
fn forge(bench: &Bench, offset: Offset, change: impl Fn(&mut BatchHeader)) {
    let base = offset / 5 * 5;
    let path = file_path(bench.log.path(), base, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    let position = (offset - base) as u64 * one();
    let mut bytes = file.read_exact_at(position, one() as usize).unwrap();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    header.write(&mut bytes);
    header.crc = crc32c::crc32c(&bytes[21..]);
    header.write(&mut bytes);
    file.write_at(position, bytes).unwrap();
    file.sync(SyncKind::All).unwrap();
}

/// It panicked: the producers' state reached beyond the log end.
#[test]
fn a_batch_that_reaches_into_the_next_segment_is_damage() {
    for offset in [3, 4] {
        let bench = closed();
        forget_state(&bench);
        let points = Path::new(ROOT).join(RECOVERY_POINTS);
        bench.storage().remove_file(&points).unwrap();
        forge(&bench, offset, |header| header.last_offset_delta = 100);
        let bench = bench.kill();
        let damage = bench.log.damage();
        let [first, ..] = &damage[..] else { panic!("{:?}", bench.report) };
        assert_eq!((first.corruption.what, first.offset), ("last offset", offset));
        assert_eq!(first.corruption.expected, "a batch below offset 5");
        assert!(bench.log.append(vec![batch(&["0010"])], 1).is_err());
        bench.log.cut_damage().unwrap().expect("something is cut");
        let end = bench.append_each(offset..offset + 2);
        assert_eq!(bench.kill().offsets(), (0..end).collect::<Vec<_>>());
    }
}

/// The batch was checked and counted, and then nobody could read it.
#[test]
fn a_seal_that_says_otherwise_than_the_batches_is_not_believed() {
    let bench = closed();
    forget_state(&bench);
    remove_clean_shutdown(&bench.storage(), Path::new(ROOT)).unwrap();
    forge(&bench, 9, |header| header.last_offset_delta = 10);
    let bench = bench.kill();
    assert!(!bench.report.clean && bench.report.damage.is_empty(), "{:?}", bench.report);
    assert_eq!(bench.log.watermarks().log_end, 20);
    assert_eq!(bench.offsets(), (0..10).collect::<Vec<_>>());
    assert_eq!(bench.append(&["0020"]), 21);
    bench.log.commit(21).unwrap();
    assert_eq!(bench.kill().offsets(), (0..10).chain([20]).collect::<Vec<_>>());
}

/// What the first recovery noted about a cut was taken for one that goes through the log start, and
/// the next open missed what had been deleted.
#[test]
fn a_log_start_without_a_recovery_point_outlives_a_cut() {
    let bench = closed();
    let (storage, root) = (bench.storage(), Path::new(ROOT));
    forget_state(&bench);
    storage.remove_file(&bench.log.path().join(SEALS_FILE)).unwrap();
    storage.remove_file(&root.join(RECOVERY_POINTS)).unwrap();
    write_offsets(&storage, &root.join(LOG_STARTS), &[(partition(), 5)].into()).unwrap();
    let open = |base| storage.open(&file_path(bench.log.path(), base, Suffix::Log), Open::Write);
    open(0).unwrap().set_len(0).unwrap();
    let torn = open(5).unwrap();
    torn.set_len(5 * one() - 1).unwrap();
    let config = LogConfig { durability: Durability::Written, ..bench.config.clone() };
    let bench = Bench { config, ..bench }.kill();
    assert!(bench.report.cut.is_some(), "{:?}", bench.report);
    assert_eq!(bench.offsets(), (5..9).collect::<Vec<_>>());
    bench.append_each(9..11);
    assert_eq!(bench.kill().offsets(), (5..11).collect::<Vec<_>>());
}

/// A log of one batch, at offset 0, which holds what looks like one at offset 1, where an index entry leads.
fn with_an_entry_into_a_batch(closed: bool) -> Bench {
    let bench = Bench::new(LogConfig { index_interval_bytes: 1, ..small() });
    let mut inner = batch(&["inner"]);
    inner.stamp(1, 1);
    // Both end with a record without headers, in the same byte.
    let (_, value) = inner.bytes().split_last().unwrap();
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let record = NewRecord { timestamp: NOW_MS, value: Some(value), ..NewRecord::default() };
    builder.push(&record).unwrap();
    let outer = builder.seal(&mut Encoder::new()).unwrap();
    let at = outer.bytes().windows(value.len()).position(|bytes| bytes == value).unwrap();
    bench.log.append(vec![outer], 1).unwrap();
    bench.log.commit(1).unwrap();
    if closed {
        bench.close();
    }
    forget_state(&bench);
    bench.storage().remove_file(&bench.log.path().join(SEALS_FILE)).unwrap();
    let path = file_path(bench.log.path(), 0, Suffix::Index);
    let index = bench.storage().open(&path, Open::Create).unwrap();
    let entry = [1_u32.to_be_bytes(), (at as u32).to_be_bytes()].concat();
    index.write_at(0, entry).unwrap();
    index.sync(SyncKind::All).unwrap();
    bench
}

/// An index entry led into a batch, to bytes that are a batch themselves: after the next append it was an
/// offset of the log's own.
#[test]
fn an_index_entry_into_a_batch_is_not_believed() {
    for closed in [true, false] {
        let bench = with_an_entry_into_a_batch(closed).kill();
        bench.append_each(1..3);
        for offset in 1..3 {
            assert_eq!(bench.offsets_from(offset), (offset..3).collect::<Vec<_>>(), "{closed}");
        }
        assert_eq!(bench.kill().offsets_from(1), [1, 2], "{closed}");
    }
}

/// A recovery point of another program's, beyond the log end, had the next check begin within the batch: it cut the
/// log there.
#[test]
fn a_check_does_not_begin_where_an_index_entry_leads_into_a_batch() {
    let bench = with_an_entry_into_a_batch(true);
    let points = Path::new(ROOT).join(RECOVERY_POINTS);
    write_offsets(&bench.storage(), &points, &[(partition(), 2)].into()).unwrap();
    let bench = bench.kill();
    assert!(bench.report.cut.is_none() && bench.report.log_end == 1, "{:?}", bench.report);
    bench.append_each(1..3);
    // The index file that was put right was not synced.
    assert_eq!(bench.cut_power(Loss::Everything).offsets_from(1), [1, 2]);
}

/// Behind a truncation a leader of an earlier term was let in, and after the next crash its batches could not be read.
#[test]
fn another_programs_crash_without_leader_epochs_has_them_made_anew() {
    let bench = closed();
    let (storage, root) = (bench.storage(), Path::new(ROOT));
    forget_state(&bench);
    remove_clean_shutdown(&storage, root).unwrap();
    storage.remove_file(&bench.log.path().join(SEALS_FILE)).unwrap();
    storage.remove_file(&bench.log.path().join(LEADER_EPOCHS)).unwrap();
    write_offsets(&storage, &root.join(RECOVERY_POINTS), &[(partition(), 10)].into()).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.log.truncate_to(5).unwrap(), 5);
    let refused = bench.log.append(vec![batch(&["0005"])], 0);
    assert!(matches!(refused, Err(AppendError::Fenced { found: 0, current: 1 })), "{refused:?}");
    bench.append_each(5..7);
    assert_eq!(bench.kill().offsets(), (0..7).collect::<Vec<_>>());
}

/// The terms were learnt after the next crash only, and what had been read could then not be.
#[test]
fn a_last_batch_without_an_epoch_does_not_hide_the_terms_before_it() {
    let bench = closed();
    let (storage, path) = (bench.storage(), bench.log.path().join(LEADER_EPOCHS));
    let known = bench.log.leader_epochs().entries().to_vec();
    assert!(!known.is_empty());
    forget_state(&bench);
    storage.remove_file(&path).unwrap();
    forge(&bench, 9, |header| header.leader_epoch = NO_EPOCH);
    let bench = bench.kill();
    assert!(bench.report.clean && bench.report.rebuilt.is_empty(), "{:?}", bench.report);
    assert_eq!(bench.log.leader_epochs().entries(), known);
    assert!(bench.log.fetch(9, 1, Isolation::LogEnd).is_err());
}

/// No checksum covers a batch's epoch, so one batch does not speak against what Kafka's file says.
#[test]
fn a_last_batch_of_another_epoch_does_not_unseat_the_leader_epochs() {
    // Whether it bears an earlier term, or one that nobody knows, where its own begins or behind.
    for (begins, forged) in [(5, 0), (5, 7), (9, 0), (9, 7)] {
        let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
        for offset in 0..10 {
            let epoch = i32::from(offset >= begins);
            bench.log.append(vec![batch(&[&format!("{offset:04}")])], epoch).unwrap();
        }
        bench.close();
        let known = bench.log.leader_epochs().entries().to_vec();
        assert_eq!(known.len(), 2);
        forget_state(&bench);
        forge(&bench, 9, |header| header.leader_epoch = forged);
        let bench = bench.kill();
        let context = format!("{begins} {forged} {:?}", bench.report);
        assert!(bench.report.clean && bench.report.rebuilt.is_empty(), "{context}");
        assert_eq!(bench.log.leader_epochs().entries(), known);
        assert!(bench.log.fetch(9, 1, Isolation::LogEnd).is_err());
        let before = bench.log.fetch(5, 1 << 20, Isolation::LogEnd).unwrap();
        assert_eq!((before.batches().count(), before.next_offset()), (4, 9));
    }
}

/// A deleted batch may be of a later term than what took its place after a truncation.
#[test]
fn the_term_of_a_batch_that_ends_at_the_log_start_does_not_count() {
    let bench = closed();
    let bench = bench.kill();
    bench.log.delete_records_before(3).unwrap();
    bench.close();
    let (storage, root) = (bench.storage(), Path::new(ROOT));
    forget_state(&bench);
    remove_clean_shutdown(&storage, root).unwrap();
    storage.remove_file(&bench.log.path().join(LEADER_EPOCHS)).unwrap();
    forge(&bench, 2, |header| header.leader_epoch = 7);
    let bench = bench.kill();
    assert_eq!((bench.marks()[0], bench.offsets()), (3, (3..10).collect()));
    let known = bench.log.leader_epochs().entries().to_vec();
    assert_eq!(known.iter().map(|it| (it.epoch, it.start_offset)).collect::<Vec<_>>(), [(1, 3)]);
}

/// Ten batches as Kafka leaves them in a crash behind a deletion of those below `log_start`, whose segment is
/// still there.
fn crashed_behind_a_deletion(log_start: Offset) -> Bench {
    let bench = closed();
    let (storage, root) = (bench.storage(), Path::new(ROOT));
    forget_state(&bench);
    remove_clean_shutdown(&storage, root).unwrap();
    storage.remove_file(&root.join(RECOVERY_POINTS)).unwrap();
    write_offsets(&storage, &root.join(LOG_STARTS), &[(partition(), log_start)].into()).unwrap();
    bench
}

fn overwrite_from(bench: &Bench, offset: Offset) {
    let path = file_path(bench.log.path(), 0, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    let from = offset as u64 * one();
    file.write_at(from, vec![0xAA; (file.len().unwrap() - from) as usize]).unwrap();
}

#[test]
fn damage_at_the_end_of_a_deleted_segment_is_in_nobodys_way() {
    let bench = crashed_behind_a_deletion(5);
    overwrite_from(&bench, 4);
    let bench = bench.kill();
    assert_eq!((bench.report.damage.len(), bench.report.deleted_damage.len()), (0, 1));
    bench.append_each(10..12);
    assert_eq!(bench.offsets(), (5..12).collect::<Vec<_>>());
}

/// Deleted records are damaged, and live ones are gone with them: what stands behind is not.
#[test]
fn damage_across_the_log_start_takes_no_later_segment_with_it() {
    let bench = crashed_behind_a_deletion(3);
    overwrite_from(&bench, 1);
    let bench = bench.kill();
    assert!(!bench.log.damage().is_empty(), "{:?}", bench.report);
    assert_eq!(bench.offsets_from(5), (5..10).collect::<Vec<_>>());
}

/// Bytes that hold no record, deleted or not, stand where the first live batch was.
#[test]
fn junk_before_the_first_live_batch_takes_no_batch_with_it() {
    let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
    bench.append_each(0..12);
    bench.log.delete_records_before(5).unwrap();
    let path = file_path(bench.log.path(), 5, Suffix::Log);
    let file = bench.storage().open(&path, Open::Write).unwrap();
    let sound = file.read_exact_at(0, file.len().unwrap() as usize).unwrap();
    file.write_at(0, [&[0xAA; 70][..], &sound].concat()).unwrap();
    let bench = bench.kill();
    let [damage] = &bench.log.damage()[..] else { panic!("{:?}", bench.report) };
    assert_eq!((damage.offset, damage.resumes_at), (5, Some((70, 5))));
    assert_eq!(bench.offsets(), (5..12).collect::<Vec<_>>());
}

/// The file that was lost is made anew from the batches, and the epoch of one of them had lost a bit.
#[test]
fn one_batch_of_a_later_term_takes_none_behind_it() {
    for rotten in [0, 4, 7] {
        let bench = closed();
        let (storage, path) = (bench.storage(), bench.log.path().join(LEADER_EPOCHS));
        forget_state(&bench);
        storage.remove_file(&path).unwrap();
        forge(&bench, rotten, |header| header.leader_epoch = 32_768);
        let bench = bench.kill();
        let first = i64::from(rotten == 0);
        let known = bench.log.leader_epochs().entries().to_vec();
        assert_eq!(
            known.iter().map(|it| (it.epoch, it.start_offset)).collect::<Vec<_>>(),
            [(1, first)]
        );
        assert_eq!(bench.offsets_from(rotten + 1), (rotten + 1..10).collect::<Vec<_>>());
        bench.append_each(10..12);
        assert_eq!(bench.kill().offsets_from(rotten + 1), (rotten + 1..12).collect::<Vec<_>>());
    }
}

/// A producers' snapshot behind it spares an open to look, so that it was read whole and refused later, as
/// Kafka refuses it: what such a batch ended nobody can say, and without it transactions would hang.
#[test]
fn a_control_batch_that_does_not_say_what_it_ends_is_refused_where_the_producers_must_be_replayed()
{
    let mut bench = closed();
    forge(&bench, 8, |header| header.attributes = header.attributes.with_control(true));
    bench = bench.kill();
    assert_eq!(bench.offsets(), (0..10).collect::<Vec<_>>(), "nobody had to look");
    for name in bench.files(".snapshot") {
        bench.storage().remove_file(&bench.log.path().join(name)).unwrap();
    }
    bench.storage().sync_dir(bench.log.path()).unwrap();
    let text = bench.try_cut_power(Loss::Everything).err().unwrap().to_string();
    let records = 3 * one() + BATCH_HEADER as u64;
    let found = format!("00000000000000000005.log at byte {records}: control record key");
    assert!(text.contains(&found), "{text}");
}

/// What looks as if a recovery had dug it out of a damaged segment holds zeros alone: the log started where no segment
/// does, and gave "out of range" at its own start.
#[test]
fn behind_damage_in_deleted_records_a_compacted_log_starts_where_a_segment_does() {
    // Zeros at the end of a segment may be space that was prepared.
    let config = LogConfig { prepare_bytes: 1 << 16, compacted: true, ..small() };
    let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..config });
    bench.append_each(0..10);
    bench.close();
    forget_state(&bench);
    let (storage, root) = (bench.storage(), Path::new(ROOT));
    remove_clean_shutdown(&storage, root).unwrap();
    storage.remove_file(&root.join(RECOVERY_POINTS)).unwrap();
    storage.remove_file(&bench.log.path().join(SEALS_FILE)).unwrap();
    write_offsets(&storage, &root.join(LOG_STARTS), &[(partition(), 2)].into()).unwrap();
    let open = |base| storage.open(&file_path(bench.log.path(), base, Suffix::Log), Open::Create);
    for position in [0, one()] {
        open(0).unwrap().write_at(position + 8, vec![0x7F]).unwrap();
    }
    open(2).unwrap().write_at(0, vec![0; 3]).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.report.deleted_damage.len(), 1, "{:?}", bench.report);
    assert_eq!((bench.bases(), bench.report.log_start), (vec![5], 5), "{:?}", bench.report);
    assert_eq!(bench.offsets(), [5, 6, 7, 8, 9]);
}
