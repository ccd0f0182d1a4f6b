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

/// A log is found shorter than it was durable, and nothing of it is changed before somebody has decided: he
/// puts its bytes back, and what follows from them is still there.
pub(super) fn a_short_log_is_put_right() -> Result<(), String> {
    // The aborted transaction is in the only segment, in the first of two, or between others.
    for (segment_bytes, records) in [(WIDE, 1), (400, 1), (400, 4)] {
        let config = || config().segment_bytes(segment_bytes);
        let disk = ForgetfulDisk::new();
        let opened = open_with(&disk.storage(), config())?;
        opened.append(1..=records)?;
        for batch in aborted(0) {
            opened.log.append(vec![batch], 0).map_err(words)?;
        }
        opened.append((1..=records + 1).map(|n| 10 + n))?;
        opened.log.checkpoint().map_err(words)?;
        opened.dir.persist().map_err(words)?;
        let (before, read) = (opened.aborted()?, opened.read()?);
        drop(opened);
        disk.settle();
        let disk = disk.kill();
        let index = files(&disk, ".txnindex").into_iter().find(|(_, bytes)| !bytes.is_empty());
        let name = index.expect("an aborted transaction").0.replace(".txnindex", ".log");
        let (_, whole) = files(&disk, ".log").into_iter().find(|(log, _)| *log == name).unwrap();
        for len in ends_of_batches(&whole) {
            let disk = disk.fork();
            change(&disk, &name, |bytes| bytes[..len].to_vec());
            disk.settle();
            let opened = open_with(&disk.storage(), config())?;
            if len < whole.len() && opened.report.damage.is_empty() {
                return Err(format!("{name} of {len} bytes is taken for whole"));
            }
            drop(opened);
            let disk = disk.kill();
            if !disk.storage().exists(&Path::new(HOME).join(&name)).map_err(words)? {
                return Err(format!("{name} is gone"));
            }
            change(&disk, &name, |_| whole.clone());
            disk.settle();
            let opened = open_with(&disk.storage(), config())?;
            let found = (opened.read()?, opened.aborted()?);
            if found != (read.clone(), before.clone()) {
                return Err(format!("{name} of {len} bytes was put right: {found:?}"));
            }
        }
    }
    Ok(())
}

/// The power takes the index of aborted transactions, which no checkpoint has made durable, and a batch above
/// the recovery point has rotted. What was aborted is not read, neither around the damage nor behind its cut.
pub(super) fn damage_beside_an_aborted_transaction() -> Result<(), String> {
    for segment_bytes in [180, 400, WIDE] {
        for rotten in [1, 4, 5] {
            let config = || config().segment_bytes(segment_bytes);
            let when = |what| format!("segments of {segment_bytes} bytes, offset {rotten}: {what}");
            let disk = ForgetfulDisk::new();
            let opened = open_with(&disk.storage(), config())?;
            opened.append([1, 2])?;
            for batch in aborted(0) {
                opened.log.append(vec![batch], 0).map_err(words)?;
            }
            opened.append([5, 6])?;
            let before = opened.aborted()?;
            // The log dir knows how far the log is durable, and the recovery point stays where it was.
            opened.log.delete_records_before(1).map_err(words)?;
            drop(opened);
            let disk = disk.power_cut(Loss::Everything);
            rot(&disk, rotten)?;
            let opened = open_with(&disk.storage(), config())?;
            if opened.report.damage.is_empty() {
                return Err(when("not damaged".into()));
            }
            let found = opened.aborted()?;
            if found != before {
                return Err(when(format!("aborted transactions {found:?}")));
            }
            opened.log.cut_damage().map_err(words)?;
            opened.append([77])?;
            opened.log.checkpoint().map_err(words)?;
            opened.dir.persist().map_err(words)?;
            drop(opened);
            let opened = open_with(&disk.kill().storage(), config())?;
            let (found, stays) = (opened.aborted()?, rotten > 3);
            if found != if stays { before } else { Vec::new() } {
                return Err(when(format!("behind its cut, aborted transactions {found:?}")));
            }
        }
    }
    Ok(())
}

/// Names and bytes of the files whose names end so.
fn files(disk: &ForgetfulDisk, end: &str) -> Vec<(String, Vec<u8>)> {
    let names = disk.storage().list(Path::new(HOME)).unwrap().into_iter();
    let names = names.map(|entry| entry.name.to_str().unwrap().to_owned());
    let read = |name: &String| disk.storage().read(&Path::new(HOME).join(name), WIDE).unwrap();
    names.filter(|name| name.ends_with(end)).map(|name| (name.clone(), read(&name))).collect()
}

/// Where the batches of a `.log` file end, and its first byte.
fn ends_of_batches(log: &[u8]) -> Vec<usize> {
    let ends = headers(log).scan(0, |at, header| {
        *at += header.total_bytes();
        Some(*at)
    });
    [0].into_iter().chain(ends).collect()
}

/// Flips a bit of the last byte of the batch at an offset.
fn rot(disk: &ForgetfulDisk, offset: i64) -> Result<(), String> {
    for (name, log) in files(disk, ".log") {
        for (header, end) in headers(&log).zip(&ends_of_batches(&log)[1..]) {
            if header.base_offset == offset {
                change(disk, &name, |mut bytes| {
                    bytes[end - 1] ^= 1;
                    bytes
                });
                disk.settle();
                return Ok(());
            }
        }
    }
    Err(format!("no batch at offset {offset}"))
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
