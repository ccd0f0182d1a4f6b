//! Leaders' terms: what is noted of them, and what a follower and a leader do by them.

use std::{collections::BTreeMap, path::Path};

use trunkline::{
    io::{ForgetfulDisk, Loss, Storage},
    log::{AppendError, Isolation, PartitionLog, checkpoint::LEADER_EPOCHS},
    record::BatchSettings,
    types::{LeaderEpoch, Offset},
};

use super::{
    HOME, Opened, at_every_operation, batch, batch_of, change, config, cuts, open, open_with, words,
};

/// KAFKA-16541: the leader epochs' file was renamed and not synced, and held nothing after a crash. The
/// old one is there or the new one, and none that knows less than the records.
pub(super) fn the_power_goes_when_a_term_begins() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    opened.append(1..=2)?;
    // From now on our own checkpoint says what the file of the epochs holds.
    opened.log.checkpoint().map_err(words)?;
    opened.dir.persist().map_err(words)?;
    drop(opened);
    disk.settle();
    let begin = |storage: &Storage| {
        let Ok(opened) = open(storage) else { return false };
        let appended = opened.log.append(vec![batch(3)], 5);
        appended.is_ok_and(|appended| opened.log.commit(appended.end).is_ok())
    };
    at_every_operation(&disk, begin, |left, is_durable, _| {
        let opened = open(&left.storage())?;
        let end = if *is_durable { 3 } else { opened.log.watermarks().log_end };
        opened.expect(1..=end, "after a power cut")?;
        terms_are_those_of_the_records(&opened.log)
    })
}

/// A process is killed in the middle of a truncation; the next one finds the log shorter, and the power goes while it
/// says so: the log may come back longer, and then its terms must.
pub(super) fn the_power_goes_behind_a_truncation_that_was_killed() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    opened.append([1])?;
    opened.write([2, 3], 1)?;
    opened.write([4], 2)?;
    opened.log.checkpoint().map_err(words)?;
    opened.dir.persist().map_err(words)?;
    drop(opened);
    disk.settle();
    for operations in 0.. {
        let disk = disk.fork();
        let opened = open(&disk.storage())?;
        disk.power_off_after(operations);
        let is_over = opened.log.truncate_to(2).is_ok();
        drop(opened);
        at_every_operation(
            &disk.kill(),
            |storage| drop(open(storage)),
            |left, (), _| {
                let opened = open(&left.storage())?;
                let end = opened.log.watermarks().log_end;
                let when = format!("killed after {operations} operations, ends at {end}");
                opened.expect(1..=end, &when)?;
                terms_are_those_of_the_records(&opened.log)
            },
        )?;
        if is_over {
            break;
        }
    }
    Ok(())
}

/// How a log goes on.
type Deed<'a> = &'a dyn Fn(&Opened) -> Result<(), String>;

/// The first append of a term meets a full disk, and has not begun: the log goes on in the term before, as a
/// follower's, or in a later one, or its front is deleted. Whatever comes back of the batches that did not
/// fit, each record's term is known.
pub(super) fn a_term_fails_to_begin() -> Result<(), String> {
    let config = || config().segment_bytes(1 << 20);
    let as_follower = |opened: &Opened| {
        let mut older = batch(4);
        older.stamp(3, 4);
        opened.log.append_as_follower(older.bytes()).map(drop).map_err(words)
    };
    let in_a_later_term = |opened: &Opened| opened.write([4], 6).map(drop);
    let its_front_goes =
        |opened: &Opened| opened.log.delete_records_before(1).map(drop).map_err(words);
    let goes_on: [(&str, Deed<'_>); 3] = [
        ("as follower", &as_follower),
        ("in a later term", &in_a_later_term),
        ("without its front", &its_front_goes),
    ];
    for (how, go_on) in goes_on {
        for is_noted in [false, true] {
            for room in [600, 1000] {
                let disk = ForgetfulDisk::new();
                let opened = open_with(&disk.storage(), config())?;
                opened.write([1, 2, 3], 4)?;
                opened.log.commit(3).map_err(words)?;
                if is_noted {
                    opened.log.checkpoint().map_err(words)?;
                    opened.dir.persist().map_err(words)?;
                }
                // Room for the file of the epochs, and for a batch or none.
                disk.fill_up(room);
                let wide = batch_of(5, &[7; 3000], BatchSettings::default());
                let group = if room == 600 { vec![batch(4), wide] } else { vec![wide] };
                if opened.log.append(group, 5).is_ok() {
                    return Err("there was room for all of it".into());
                }
                disk.fill_up(1 << 40);
                go_on(&opened)?;
                let end = opened.log.watermarks().log_end;
                opened.log.commit(end).map_err(words)?;
                drop(opened);
                let random = (0..40).map(|seed| disk.fork().power_cut(Loss::Random(seed)));
                for left in [disk.fork().kill()].into_iter().chain(random) {
                    let opened = open_with(&left.storage(), config())?;
                    let when = |what| format!("{how}, noted {is_noted}, room {room}: {what}");
                    opened.read().map_err(when)?;
                    terms_are_those_of_the_records(&opened.log).map_err(when)?;
                    if opened.log.watermarks().log_end < end {
                        return Err(when("records are lost".into()));
                    }
                }
            }
        }
    }
    Ok(())
}

/// KAFKA-16541, the other half: a file that says nothing, or nothing sane, is not in the way of a start. The
/// records say the same.
pub(super) fn the_leader_epochs_are_damaged() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    for term in 0..4 {
        opened.write([i64::from(term) * 2 + 1, i64::from(term) * 2 + 2], term)?;
    }
    opened.log.commit(8).map_err(words)?;
    let crashed = disk.fork();
    opened.log.checkpoint().map_err(words)?;
    opened.dir.persist().map_err(words)?;
    let checkpointed = disk.fork();
    opened.close()?;
    let damages: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |_| Vec::new(),
        |bytes| vec![0; bytes.len()],
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |_| b"0\n2\n1 5\n1 0\n".to_vec(),
        |_| b"no checkpoint".to_vec(),
    ];
    for (disk, left) in [(crashed, "crashed"), (checkpointed, "checkpointed"), (disk, "closed")] {
        for (number, damage) in damages.iter().enumerate() {
            let disk = disk.fork();
            change(&disk, LEADER_EPOCHS, damage);
            let opened = open(&disk.storage())?;
            let (found, report) = (opened.read(), &opened.report);
            if found != Ok((1..=8).collect()) {
                return Err(format!("{left}, damage {number}: found {found:?}, {report:?}"));
            }
            terms_are_those_of_the_records(&opened.log)?;
            // And they are on disk again.
            let stored = disk.storage().read(&Path::new(HOME).join(LEADER_EPOCHS), 1 << 10);
            if stored.map_err(words)? != opened.log.leader_epochs().to_bytes() {
                return Err("the leader epochs were not stored".into());
            }
        }
    }
    Ok(())
}

/// Terms of batches, as the log knows them and as its batches say.
fn terms_are_those_of_the_records(log: &PartitionLog) -> Result<(), String> {
    let mut first = BTreeMap::new();
    for (offset, term) in batches(log)? {
        first.entry(term).or_insert(offset);
    }
    let known = log.leader_epochs();
    let known = known.entries().iter().map(|entry| (entry.epoch, entry.start_offset));
    // A term may be noted whose first record never came.
    let end = log.watermarks().log_end;
    let known: BTreeMap<_, _> = known.filter(|(_, start)| *start < end).collect();
    if known != first {
        return Err(format!("terms begin at {first:?}, the log knows {known:?}"));
    }
    Ok(())
}

/// Offset and term of each batch.
fn batches(log: &PartitionLog) -> Result<Vec<(Offset, LeaderEpoch)>, String> {
    let (mut found, mut offset) = (Vec::new(), log.watermarks().log_start);
    while offset < log.watermarks().log_end {
        let fetched = log.fetch(offset, 250, Isolation::LogEnd).map_err(words)?;
        for batch in fetched.batches() {
            let batch = batch.map_err(words)?;
            found.push((batch.header().base_offset, batch.header().leader_epoch));
        }
        offset = fetched.next_offset();
    }
    Ok(found)
}

/// What a follower's log holds, and its leader's: terms of the records, one record each.
type Parted = (&'static [LeaderEpoch], &'static [LeaderEpoch], Offset);

/// KIP-101, KIP-279: logs that parted while leaders changed. A follower keeps what its log and its leader's
/// have in common, no less (a high watermark that lags would cut what was acknowledged) and no more.
const PARTED: [Parted; 7] = [
    // Everything was replicated: nothing goes, whatever high watermark the follower knew of.
    (&[0, 0, 0], &[0, 0, 0], 3),
    (&[0, 0, 0], &[0, 0, 0, 1], 3),
    // The old leader had a record that nobody else has.
    (&[0, 0], &[0, 1], 1),
    (&[0, 0, 0, 0], &[0, 0, 1, 1], 2),
    // Leaders changed fast: neither side knows the other's last terms.
    (&[1, 1, 3, 3], &[1, 1, 2, 4], 2),
    (&[0, 1, 1, 5], &[0, 1, 2, 3, 4, 6], 2),
    (&[0, 0, 2, 2, 2], &[0, 0, 1, 1, 1, 1, 3], 2),
];

pub(super) fn a_follower_parts_from_its_leader() -> Result<(), String> {
    for (follower, leader, kept) in PARTED {
        let meet = || {
            let of = |terms: &[LeaderEpoch], from| {
                let disk = ForgetfulDisk::new();
                let opened = open_with(&disk.storage(), config().segment_bytes(250))?;
                for (timestamp, term) in (from..).zip(terms) {
                    opened.write([timestamp], *term)?;
                }
                opened.log.commit(terms.len() as Offset).map_err(words)?;
                Ok::<Opened, String>(opened)
            };
            // Records of one term and offset are the same in both logs.
            let (follower, leader) = (of(follower, 1)?, of(leader, 1)?);
            cut_by_term(&follower.log, &leader.log)?;
            let end = follower.log.watermarks().log_end;
            if end != kept {
                return Err(format!("{kept} records are common, the follower keeps {end}"));
            }
            follow(&follower.log, &leader.log)?;
            let (ours, theirs) = (batches(&follower.log)?, batches(&leader.log)?);
            let (read, expected) = (follower.read()?, leader.read()?);
            if ours != theirs || read != expected {
                return Err(format!("the follower holds {ours:?}, its leader {theirs:?}"));
            }
            terms_are_those_of_the_records(&follower.log)
        };
        meet().map_err(|what| format!("follower {follower:?}, leader {leader:?}: {what}"))?;
    }
    Ok(())
}

/// What a follower does before its first fetch (Kafka: `getOffsetTruncationState`).
fn cut_by_term(follower: &PartitionLog, leader: &PartitionLog) -> Result<(), String> {
    let end_of = |log: &PartitionLog, term| {
        log.leader_epochs().end_offset_for(term, log.watermarks().log_end)
    };
    while let Some(latest) = follower.leader_epochs().latest() {
        let Some((term, their_end)) = end_of(leader, latest.epoch) else { break };
        let (own_term, own_end) = end_of(follower, term).unwrap_or((term, their_end));
        follower.truncate_to(own_end.min(their_end)).map_err(words)?;
        if own_term == term {
            break;
        }
    }
    Ok(())
}

/// Fetches and appends all that the leader has.
fn follow(follower: &PartitionLog, leader: &PartitionLog) -> Result<(), String> {
    loop {
        let (from, upto) = (follower.watermarks().log_end, leader.watermarks().log_end);
        if from >= upto {
            return Ok(());
        }
        let fetched = leader.fetch(from, 150, Isolation::LogEnd).map_err(words)?;
        follower.append_as_follower(fetched.bytes()).map_err(words)?;
    }
}

/// redpanda#3003: a leader is stopped for a while, another one leads, and the first one comes back with
/// records that it had in hand. Its term is over, also after a restart.
pub(super) fn a_leader_comes_back_from_a_pause() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    opened.write(1..=3, 3)?;
    opened.write(4..=5, 5)?;
    opened.log.commit(5).map_err(words)?;
    let restarted: Vec<_> = [disk.fork()].into_iter().chain(cuts(&disk)).collect();
    refuses(&opened)?;
    for disk in restarted {
        let opened = open(&disk.storage())?;
        refuses(&opened)?;
        opened.write([6], 5)?;
        opened.expect(1..=6, "restarted")?;
    }
    Ok(())
}

fn refuses(opened: &Opened) -> Result<(), String> {
    let late = opened.log.append(vec![batch(100)], 3);
    match late {
        Err(AppendError::Fenced { found: 3, current: 5 }) => {}
        other => return Err(format!("a leader of term 3 appends in term 5: {other:?}")),
    }
    // As what a follower gets, too.
    let mut late = batch(100);
    late.stamp(opened.log.watermarks().log_end, 3);
    match opened.log.append_as_follower(late.bytes()) {
        Err(AppendError::Fenced { .. }) => Ok(()),
        other => Err(format!("a follower takes records of term 3 in term 5: {other:?}")),
    }
}
