//! Segments, rolls, truncations and the checkpoints that speak of them.

use trunkline::io::{ForgetfulDisk, Storage};

use super::{
    Opened, aborted, at_every_operation, batch, change, closed_by_another, config, cuts, open,
    open_with, words,
};

/// Two batches of one size that changed places: each is whole, neither is where it belongs.
pub(super) fn two_batches_change_places() -> Result<(), String> {
    let len = batch(1).bytes().len();
    for (one, other) in [(0, 2), (1, 2)] {
        let disk = closed_by_another(config(), 9)?;
        change(&disk, "00000000000000000000.log", |bytes| {
            let mut batches: Vec<_> = bytes.chunks(len).collect();
            batches.swap(one, other);
            batches.concat()
        });
        if let Ok(found) = open(&disk.storage())?.read() {
            return Err(format!("{one} and {other}: read as if all were well: {found:?}"));
        }
    }
    Ok(())
}

/// LavinMQ#384: space is reserved for each segment, and the records are in the segments behind it. What
/// was not used is gone once a segment is full, and no hole hides what follows.
pub(super) fn reserved_space_is_a_hole() -> Result<(), String> {
    // No whole number of batches fits.
    let config = || config().preallocate(true).segment_bytes(450);
    let disk = closed_by_another(config(), 11)?;
    let opened = open_with(&disk.storage(), config())?;
    opened.expect(1..=11, "closed and opened")?;
    each_timestamp_is_found(&opened, 11)?;
    opened.append(12..=15)?;
    drop(opened);
    for left in cuts(&disk) {
        let opened = open_with(&left.storage(), config())?;
        opened.expect(1..=15, "after a power cut")?;
        opened.append([16])?;
        opened.expect(1..=16, "and one more record")?;
        each_timestamp_is_found(&opened, 16)?;
    }
    Ok(())
}

fn each_timestamp_is_found(opened: &Opened, records: i64) -> Result<(), String> {
    for timestamp in 1..=records {
        let found = opened.log.offset_for_timestamp(timestamp).map_err(words)?;
        if found != Some((timestamp, timestamp - 1)) {
            return Err(format!("asked for timestamp {timestamp}, found {found:?}"));
        }
    }
    Ok(())
}

/// iggy#2572: a log panics when it rolls, then whenever it is opened. Here the power goes at each operation
/// of a roll: the log opens, holds what was acknowledged, and rolls again.
pub(super) fn the_power_goes_at_a_roll() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    open(&disk.storage())?.append(1..=3)?;
    disk.settle();
    // The fifth of 100 bytes does not fit into 400.
    let roll = |storage: &Storage| append_until_off(open(storage).ok(), 4..=10);
    at_every_operation(&disk, roll, |left, acknowledged, _| {
        let acknowledged = (*acknowledged).max(3);
        let opened = open(&left.storage())?;
        let found = opened.read()?;
        let kept = found.len() as i64;
        if kept < acknowledged || !found.iter().copied().eq(1..=kept) {
            return Err(format!("{acknowledged} records were acknowledged, found {found:?}"));
        }
        let end = opened.append(kept + 1..=kept + 6)?;
        if end != kept + 6 {
            return Err(format!("{} records end at {end}", kept + 6));
        }
        opened.close()?;
        open(&left.storage())?.expect(1..=end, "rolled again, closed and opened")
    })
}

/// How many records were acknowledged.
fn append_until_off(opened: Option<Opened>, timestamps: impl Iterator<Item = i64>) -> i64 {
    let Some(opened) = opened else { return 0 };
    let mut acknowledged = 0;
    for timestamp in timestamps {
        let appended = opened.log.append(vec![batch(timestamp)], 0).map(|appended| appended.end);
        match appended {
            Ok(end) if opened.log.commit(end).is_ok() => acknowledged = end.offset(),
            _ => break,
        }
    }
    acknowledged
}

/// redb's crash-consistency test: a header names a region of the file whose growth is not durable yet. Here
/// it is a checkpoint that names a recovery point: whatever is not looked at again below it, the index of
/// aborted transactions too, stands on the device before.
pub(super) fn a_checkpoint_is_early() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    open(&disk.storage())?.append([1])?;
    disk.settle();
    let checkpoint = |storage: &Storage| {
        let Ok(opened) = open(storage) else { return false };
        // One in a segment that is full, one in the last segment.
        let batches = aborted(0).into_iter().chain((4..=9).map(batch)).chain(aborted(1));
        let all_stand = batches.into_iter().all(|it| opened.log.append(vec![it], 0).is_ok());
        let is_durable = all_stand && opened.log.commit(11).is_ok();
        let _ = opened.log.checkpoint().map(|_| opened.dir.persist());
        is_durable
    };
    at_every_operation(&disk, checkpoint, |left, is_durable, _| {
        let opened = open(&left.storage())?;
        let end = opened.log.watermarks().log_end;
        let found = opened.aborted()?;
        let expected = [(1, 2), (9, 10)].into_iter().filter(|(_, marker)| *marker < end);
        if (*is_durable && end < 11) || !found.iter().copied().eq(expected) {
            return Err(format!("a log that ends at {end} has aborted transactions {found:?}"));
        }
        Ok(())
    })
}

/// redpanda#31470: a checkpoint claims more than a truncation has left. At whichever operation the power
/// goes, the log is as it was, or shorter: never does it miss what a checkpoint still speaks of.
pub(super) fn the_power_goes_at_a_truncation() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    opened.append(1..=9)?;
    opened.log.checkpoint().map_err(words)?;
    opened.dir.persist().map_err(words)?;
    drop(opened);
    disk.settle();
    let disk = disk.fork();
    let cut =
        |storage: &Storage| open(storage).is_ok_and(|opened| opened.log.truncate_to(2).is_ok());
    at_every_operation(&disk, cut, |left, is_cut, _| {
        let opened = open(&left.storage())?;
        let end = opened.log.watermarks().log_end;
        if !(2..=9).contains(&end) || (*is_cut && end != 2) {
            return Err(format!("truncated to 2 ({is_cut}): ends at {end}"));
        }
        opened.append([100])?;
        opened.expect((1..=end).chain([100]), "after a truncation")
    })
}
