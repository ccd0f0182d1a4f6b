//! Indexes beside a sound log: an index is a cache, whatever it says.

use std::path::Path;

use trunkline::{
    io::{ForgetfulDisk, Loss, Open, Storage, SyncKind},
    log::Isolation,
    record::BatchHeader,
};

use super::{
    HOME, Opened, aborted, at_every_operation, batch, change, closed_by_another, config, cuts,
    open, open_with, words,
};

const FIRST: &str = "00000000000000000000";
/// Everything in one segment.
const WIDE: u64 = 1 << 20;

/// An index whose entries name other batches.
pub(super) fn an_index_names_other_batches() -> Result<(), String> {
    let disk = closed_by_another(config(), 9)?;
    // One entry: the offset of the first, the position of the second.
    change(&disk, &format!("{FIRST}.index"), |bytes| [&bytes[..4], &bytes[12..16]].concat());
    let opened = open_with(&disk.storage(), config())?;
    each_offset_is_found(&opened, 9)
}

/// iggy#3970, commonware#4260: with a sync of each under way the power goes; the index has reached the
/// device, the records have not. What is appended then must not meet the old entries.
pub(super) fn the_index_is_ahead_of_the_log() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let config = || config().segment_bytes(WIDE);
    let opened = open_with(&disk.storage(), config())?;
    opened.append(1..=3)?;
    opened.write(4..=6, 0)?;
    // A checkpoint writes the entries and syncs the log first, which fails.
    disk.fail_sync(1);
    if opened.log.checkpoint().is_ok() {
        return Err("a failed sync was not heard of".into());
    }
    for name in [".index", ".timeindex"] {
        let path = Path::new(HOME).join(format!("{FIRST}{name}"));
        let index = disk.storage().open(&path, Open::Write).map_err(words)?;
        index.sync(SyncKind::All).map_err(words)?;
    }
    drop(opened);
    let disk = disk.power_cut(Loss::Everything);
    let path = Path::new(HOME).join(format!("{FIRST}.index"));
    let entries = disk.storage().read(&path, WIDE).map_err(words)?.len() / 8;
    assert_eq!(entries, 5, "the index is ahead");

    let opened = open_with(&disk.storage(), config())?;
    opened.append([7, 8, 9, 10])?;
    opened.expect([1, 2, 3, 7, 8, 9, 10], "behind the crash")?;
    each_offset_is_found(&opened, 7)?;
    opened.close()?;
    indexes_name_their_batches(&disk.storage())
}

/// iggy#3946: an index is torn: its length came, its bytes did not. Zeros are no entries, neither
/// behind others nor alone, nor what a crash leaves of an index that was being built anew.
pub(super) fn an_index_is_torn_and_holds_zeros() -> Result<(), String> {
    let config = || config().segment_bytes(WIDE);
    let zeros_behind = |bytes: Vec<u8>| [&bytes[..], &vec![0; bytes.len()]].concat();
    let zeros_alone = |bytes: Vec<u8>| vec![0; bytes.len()];
    let tears: [fn(Vec<u8>) -> Vec<u8>; 2] = [zeros_behind, zeros_alone];
    let check = |disk: &ForgetfulDisk, records: i64| {
        let opened = open_with(&disk.storage(), config())?;
        each_offset_is_found(&opened, records)?;
        opened.append([100])?;
        opened.expect((1..=records).chain([100]), "with a torn index")?;
        opened.close()?;
        indexes_name_their_batches(&disk.storage())
    };
    for name in [".index", ".timeindex"] {
        for tear in tears {
            let disk = closed_by_another(config(), 9)?;
            change(&disk, &format!("{FIRST}{name}"), tear);
            check(&disk, 9).map_err(|what| format!("{name}: {what}"))?;
        }
    }
    let disk = closed_by_another(config(), 9)?;
    disk.storage().remove_file(&Path::new(HOME).join(format!("{FIRST}.index"))).map_err(words)?;
    disk.settle();
    let rebuild = |storage: &Storage| open_with(storage, config())?.close();
    at_every_operation(&disk, rebuild, |left, _, _| check(left, 9))
}

/// redpanda#9711: an index says that its segment ends before it does. Where a log ends is what its batches
/// say: else records are not found, or their offsets are given to others.
pub(super) fn a_log_goes_on_behind_its_index() -> Result<(), String> {
    let config = || config().segment_bytes(WIDE).index_interval_bytes(250);
    for records in 1..=12 {
        let disk = closed_by_another(config(), records)?;
        let opened = open_with(&disk.storage(), config())?;
        let end = opened.log.watermarks().log_end;
        if end != records {
            return Err(format!("a log of {records} records ends at {end}"));
        }
        opened.append([100])?;
        opened.expect((1..=records).chain([100]), "reopened")?;
        each_offset_is_found(&opened, records + 1)?;
    }
    Ok(())
}

/// A crash leaves zeros behind the index of aborted transactions, which no checksum vouches for: it is made anew,
/// and the power goes in the middle of it. Whatever the next recovery finds, it believes it.
pub(super) fn aborted_transactions_are_made_anew() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    for batch in aborted(0) {
        opened.log.append(vec![batch], 0).map_err(words)?;
    }
    opened.append([4])?;
    opened.log.checkpoint().map_err(words)?;
    opened.dir.persist().map_err(words)?;
    drop(opened);
    change(&disk, &format!("{FIRST}.txnindex"), |bytes| [bytes, vec![0; 34]].concat());
    disk.settle();
    let disk = disk.kill();
    at_every_operation(
        &disk,
        |storage| drop(open(storage)),
        |left, (), _| match open(&left.storage())?.aborted()?.as_slice() {
            [(0, 1)] => Ok(()),
            other => Err(format!("aborted transactions {other:?}")),
        },
    )
}

/// What a killed process wrote is all there, and nothing of it is durable: who takes it over makes it so
/// before the recovery point passes it, the index of aborted transactions too.
pub(super) fn the_power_goes_behind_a_recovery() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let opened = open(&disk.storage())?;
    for batch in aborted(0).into_iter().chain([batch(4)]) {
        opened.log.append(vec![batch], 0).map_err(words)?;
    }
    drop(opened);
    let disk = disk.kill();
    let opened = open(&disk.storage())?;
    opened.log.checkpoint().map_err(words)?;
    opened.dir.persist().map_err(words)?;
    drop(opened);
    for left in cuts(&disk) {
        let opened = open(&left.storage())?;
        let (end, aborted) = (opened.log.watermarks().log_end, opened.aborted()?);
        if (end, aborted.as_slice()) != (3, &[(0, 1)]) {
            return Err(format!("ends at {end}, aborted transactions {aborted:?}"));
        }
    }
    Ok(())
}

fn each_offset_is_found(opened: &Opened, records: i64) -> Result<(), String> {
    for offset in 0..records {
        let fetched = opened.log.fetch(offset, 1, Isolation::LogEnd).map_err(words)?;
        let found = fetched.batches().next().transpose().map_err(words)?;
        let found = found.map(|batch| batch.header().base_offset);
        if found != Some(offset) {
            return Err(format!("asked for offset {offset}, found {found:?}"));
        }
    }
    Ok(())
}

/// Whether each entry of the two indexes names a batch that stands in the log, and entries rise: as Kafka
/// reads them.
fn indexes_name_their_batches(storage: &Storage) -> Result<(), String> {
    let read = |name: &str| {
        storage.read(&Path::new(HOME).join(format!("{FIRST}{name}")), WIDE).map_err(words)
    };
    let log = read(".log")?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    let mut before = (-1, 0);
    for entry in read(".index")?.chunks(8) {
        let (offset, position) = (number(&entry[..4]), number(&entry[4..]));
        let header = log.get(position as usize..).map(BatchHeader::parse);
        let is_it = matches!(header, Some(Ok(header)) if header.last_offset() == offset);
        if !is_it || offset <= before.0 || position <= before.1 {
            return Err(format!("an entry names offset {offset} at {position} after {before:?}"));
        }
        before = (offset, position);
    }
    let mut before = (-1, -1);
    for entry in read(".timeindex")?.chunks(12) {
        let (timestamp, offset) = (number(&entry[..8]), number(&entry[8..]));
        let found = headers(&log).find(|header| header.last_offset() >= offset);
        let is_it = found.is_some_and(|header| header.max_timestamp == timestamp);
        if !is_it || timestamp <= before.0 || offset <= before.1 {
            let what = "an entry names timestamp";
            return Err(format!("{what} {timestamp} at offset {offset} after {before:?}"));
        }
        before = (timestamp, offset);
    }
    Ok(())
}

fn headers(log: &[u8]) -> impl Iterator<Item = BatchHeader> {
    let mut rest = log;
    std::iter::from_fn(move || {
        let header = BatchHeader::parse(rest).ok()?;
        rest = rest.get(header.total_bytes()..)?;
        Some(header)
    })
}
