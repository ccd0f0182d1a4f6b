//! Answers around a damage, and a file of leader epochs that is not believed.

use super::bench::{Bench, NOW_MS, batch, batch_at, one, small};
use crate::{
    io::{Open, SyncKind},
    log::{
        Isolation, LogConfig, ReadError, checkpoint::LEADER_EPOCHS, epochs::LeaderEpochs,
        state::PartitionState,
    },
    types::{LeaderEpoch, Offset},
};

/// Ten records a millisecond apart, five a segment; that at `rotten` does not fit its checksum. Opened after
/// a crash that leaves all of it to be checked.
fn rotten(rotten: Offset) -> Bench {
    let bench = Bench::new(LogConfig { segment_bytes: 5 * one(), ..small() });
    for offset in 0..10 {
        let batch = batch_at(NOW_MS + offset, &[&format!("{offset:04}")]);
        bench.log.append(vec![batch], 1).unwrap();
    }
    bench.log.commit(10).unwrap();
    let state = PartitionState { recovery_point: 0, ..bench.log.state() };
    bench.dir.persist_one(bench.log.partition(), state).unwrap();
    let set = bench.log.segments.load_full();
    let segment = set.floor(rotten).unwrap();
    let file = bench.storage().open(segment.path(), Open::Write).unwrap();
    file.write_at((rotten - segment.base_offset()) as u64 * one() + 68, vec![b'?']).unwrap();
    file.sync(SyncKind::All).unwrap();
    let bench = bench.kill();
    assert_eq!(bench.log.damage().len(), 1, "{:?}", bench.report);
    bench
}

#[test]
fn a_fetch_is_refused_in_a_damaged_range_alone() {
    for damaged in [0, 3, 4, 5, 8, 9] {
        let bench = rotten(damaged);
        for offset in 0..10 {
            let fetched = bench.log.fetch(offset, 1, Isolation::LogEnd);
            if offset != damaged {
                assert_eq!(fetched.unwrap().first_offset(), offset);
                continue;
            }
            let Err(ReadError::Corrupt(found)) = fetched else { panic!("{damaged} is given") };
            assert_eq!(found, bench.log.damage()[0].corruption);
        }
    }
}

/// Who asks for a time gets the first record of that time or later: a damaged one might have been it.
#[test]
fn no_time_is_looked_up_past_a_damage() {
    for damaged in [0, 3, 5, 8] {
        let bench = rotten(damaged);
        for offset in 0..damaged {
            let found = bench.log.offset_for_timestamp(NOW_MS + offset).unwrap();
            assert_eq!(found, Some((NOW_MS + offset, offset)), "{damaged}");
        }
        for offset in damaged..11 {
            let refused = bench.log.offset_for_timestamp(NOW_MS + offset);
            assert!(matches!(refused, Err(ReadError::Corrupt(_))), "{damaged}: {refused:?}");
        }
    }
}

/// Term 1 from offset 0 on, 2 from 3 on, 5 from 6 on: the last two records.
fn terms() -> Bench {
    terms_of(&[1, 1, 1, 2, 2, 2, 5, 5])
}

fn terms_of(epochs: &[LeaderEpoch]) -> Bench {
    let bench = Bench::new(small());
    append_in(&bench, epochs);
    bench
}

/// A batch in each of these epochs, from offset 0 on.
fn append_in(bench: &Bench, epochs: &[LeaderEpoch]) {
    for (offset, epoch) in epochs.iter().enumerate() {
        bench.log.append(vec![batch(&[&format!("{offset:04}")])], *epoch).unwrap();
    }
    bench.log.commit(epochs.len() as Offset).unwrap();
}

fn entries(bench: &Bench) -> Vec<(LeaderEpoch, Offset)> {
    let epochs = bench.log.leader_epochs();
    epochs.entries().iter().map(|entry| (entry.epoch, entry.start_offset)).collect()
}

#[test]
fn leader_epochs_that_the_log_contradicts_are_made_anew() {
    let sound = [(1, 0), (2, 3), (5, 6)];
    for closed in [true, false] {
        for told in [
            &[(1, 0), (2, 4), (5, 6)][..],
            &[(1, 0), (2, 2), (5, 6)],
            &[(1, 0), (2, 3)],
            &[(2, 3), (5, 6)],
            &[(1, 0), (3, 3), (5, 6)],
            &[],
        ] {
            let bench = terms();
            assert_eq!(entries(&bench), sound);
            bench.checkpoint();
            if closed {
                bench.close();
            }
            let mut epochs = LeaderEpochs::new();
            for (epoch, start) in told {
                epochs.assign(*epoch, *start);
            }
            epochs.store(&bench.storage(), bench.log.path()).unwrap();
            let bench = bench.kill();
            assert_eq!(entries(&bench), sound, "{told:?}, closed: {closed}");
            assert_eq!(bench.report.rebuilt.len(), 1, "{told:?}: {:?}", bench.report.rebuilt);
            assert_eq!(bench.offsets(), (0..8).collect::<Vec<_>>());
        }
    }
}

/// Without a checkpoint of ours nothing vouches for the file after a crash: the terms that it names begin where
/// the batches say.
#[test]
fn leader_epochs_that_nothing_vouches_for_are_held_against_the_log() {
    for is_noted in [false, true] {
        for told in [
            &[(1, 0), (2, 3), (5, 6)][..],
            &[(1, 0), (2, 3)],
            &[(1, 0), (2, 3), (5, 7)],
            &[(1, 0), (2, 4), (5, 6)],
            &[(1, 0), (2, 2), (5, 6)],
            &[(2, 3), (5, 6)],
            &[(1, 0), (3, 3), (5, 6)],
        ] {
            let bench = Bench::new(small());
            if is_noted {
                // Before its first term: it says nothing of the file.
                bench.checkpoint();
            }
            append_in(&bench, &[1, 1, 1, 2, 2, 2, 5, 5]);
            let mut epochs = LeaderEpochs::new();
            for (epoch, start) in told {
                epochs.assign(*epoch, *start);
            }
            epochs.store(&bench.storage(), bench.log.path()).unwrap();
            let bench = bench.kill();
            assert_eq!(entries(&bench), [(1, 0), (2, 3), (5, 6)], "{told:?}, noted: {is_noted}");
            assert_eq!(bench.offsets(), (0..8).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_file_of_leader_epochs_that_is_missing_is_missed() {
    for closed in [true, false] {
        let bench = terms();
        bench.checkpoint();
        if closed {
            bench.close();
        }
        let path = bench.log.path().join(LEADER_EPOCHS);
        bench.storage().remove_file(&path).unwrap();
        let bench = bench.kill();
        assert_eq!(entries(&bench), [(1, 0), (2, 3), (5, 6)]);
        let [rebuilt] = &bench.report.rebuilt[..] else { panic!("{:?}", bench.report.rebuilt) };
        assert_eq!((rebuilt.what, rebuilt.found.as_str()), ("leader epochs", "none"));
    }
}

/// The batches do not agree with each other, but none does with the file.
#[test]
fn terms_of_a_batch_each_are_made_anew() {
    for terms in [&[3][..], &[1, 2, 3]] {
        for told in [&[][..], &[(1, 0)]] {
            let bench = terms_of(terms);
            let sound = entries(&bench);
            bench.checkpoint();
            let mut epochs = LeaderEpochs::new();
            for (epoch, start) in told {
                epochs.assign(*epoch, *start);
            }
            epochs.store(&bench.storage(), bench.log.path()).unwrap();
            assert_eq!(entries(&bench.kill()), sound, "{terms:?}, {told:?}");
        }
    }
}

#[test]
fn leader_epochs_that_are_sound_are_kept_as_they_are() {
    for closed in [true, false] {
        let bench = terms();
        bench.checkpoint();
        if closed {
            bench.close();
        }
        let bench = bench.kill();
        assert_eq!(entries(&bench), [(1, 0), (2, 3), (5, 6)]);
        assert!(bench.report.rebuilt.is_empty(), "{:?}", bench.report.rebuilt);
    }
}

/// No checksum covers a batch's leader epoch: where a bit of it flips, the file is right.
#[test]
fn a_leader_epoch_that_one_batch_alone_bears_is_not_believed() {
    for offset in [3, 4, 6] {
        // The checkpoint is of the term before, so that the file is doubted.
        let bench = terms_of(&[1, 1, 1]);
        bench.checkpoint();
        for later in 3..7 {
            bench.log.append(vec![batch(&[&format!("{later:04}")])], 2).unwrap();
        }
        bench.log.commit(7).unwrap();
        let set = bench.log.segments.load_full();
        let segment = set.floor(offset).unwrap();
        let file = bench.storage().open(segment.path(), Open::Write).unwrap();
        file.write_at((offset - segment.base_offset()) as u64 * one() + 13, vec![0x80]).unwrap();
        file.sync(SyncKind::All).unwrap();
        let bench = bench.kill();
        assert_eq!(entries(&bench), [(1, 0), (2, 3)], "{offset}");
        assert_eq!(bench.offsets_from(offset + 1), (offset + 1..7).collect::<Vec<_>>());
        let refused = bench.log.fetch(offset, 1, Isolation::LogEnd);
        let Err(ReadError::Corrupt(found)) = refused else { panic!("{offset} is given") };
        assert_eq!((found.what, found.expected.as_str()), ("leader epoch", "2"));
        assert_eq!(bench.log.append(vec![batch(&["0007"])], 2).unwrap().end.offset(), 8);
    }
}
