//! One batch in each of many partitions made durable by one thread: the raw ways of the disk, and the engine.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write as _},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use trunkline::{
    commit::Strategy,
    io::Storage,
    log::{LogConfig, LogDir, PartitionLog, commit_all},
    types::Durability,
};

use super::append::{append_again, log_in};
use crate::{
    pairs::{Group, Work, timed},
    sealed,
};

/// Numbers of partitions, and how often a slice commits one batch in each of them.
pub const SIZES: [(usize, u64); 3] = [(1, 64), (64, 4), (1000, 1)];

/// Bytes of a raw row's file, of all of them together.
const FILE_BYTES: u64 = 256 << 20;

/// Bytes of a log after which it begins anew, at the least: to empty many takes its time.
const LOG_BYTES: u64 = 4 << 20;

/// A group's name.
pub fn name(partitions: usize) -> String {
    format!("durable, {partitions} partitions with one waiter each")
}

/// The raw ways of the disk, and those of the engine.
pub fn group(partitions: usize, rounds: u64, folder: &Path) -> Group<'static> {
    let batch = sealed(16, 1024);
    let batches = rounds * partitions as u64;
    let work = Work { bytes: batches * batch.len() as u64, units: batches, unit: "batches" };
    let mut group = Group::new(name(partitions), work);
    let raw = |sync: fn(&[File])| raw(&folder.join("raw"), partitions, rounds, &batch, sync);
    group.row(
        "raw: overwritten, fdatasync a file",
        raw(|files| {
            for file in files {
                file.sync_data().expect("syncs");
            }
        }),
    );
    group.row(
        "raw: overwritten, syncfs",
        raw(|files| {
            rustix::fs::syncfs(&files[0]).expect("syncs");
        }),
    );
    group.row(
        "raw: one journal, fdatasync",
        journal(&folder.join("journal"), partitions, rounds, &batch),
    );
    let zeros = LogConfig::PREPARE_BYTES;
    for (name, strategy, prepare_bytes) in [
        ("fdatasync a file, growing", Strategy::SyncEach, 0),
        ("fdatasync a file, over zeros", Strategy::SyncEach, zeros),
        ("one flush, over zeros", Strategy::FlushOnce, zeros),
    ] {
        // A thousand logs have three thousand descriptors.
        if partitions > 100 && strategy == Strategy::SyncEach {
            continue;
        }
        for storage in [Storage::portable(), Storage::system()] {
            let name = format!("trunkline, {name}, {}", storage.backend());
            let dir = LogDir::open(&storage, &folder.join(&name), strategy).expect("opens");
            let row = trunkline(&Arc::new(dir), partitions, rounds, &batch, prepare_bytes);
            group.row(name, row);
        }
    }
    group
}

fn prepared(path: &Path, bytes: u64) -> File {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.as_mut().expect("the folder takes files");
    if file.metadata().expect("is open").len() < bytes {
        file.seek(SeekFrom::Start(0)).expect("seeks");
        let zeros = vec![0; (1 << 20).min(bytes as usize)];
        for at in (0..bytes).step_by(zeros.len()) {
            let len = (bytes - at).min(zeros.len() as u64) as usize;
            file.write_all(&zeros[..len]).expect("the disk has room");
        }
        file.sync_all().expect("syncs");
    }
    file.try_clone().expect("a descriptor")
}

fn raw(
    folder: &Path,
    partitions: usize,
    rounds: u64,
    batch: &[u8],
    sync: fn(&[File]),
) -> impl FnMut() -> Duration + use<> {
    std::fs::create_dir_all(folder).expect("the folder takes folders");
    let len = batch.len() as u64;
    let bytes = FILE_BYTES / partitions as u64 / len * len;
    let files: Vec<_> = (0..partitions)
        .map(|number| prepared(&folder.join(format!("{partitions}-{number}")), bytes))
        .collect();
    let (batch, mut position) = (batch.to_vec(), 0);
    move || {
        timed(|| {
            for _ in 0..rounds {
                for file in &files {
                    file.write_all_at(&batch, position).expect("the disk has room");
                }
                sync(&files);
                position = (position + len) % bytes;
            }
        })
    }
}

fn journal(
    path: &Path,
    partitions: usize,
    rounds: u64,
    batch: &[u8],
) -> impl FnMut() -> Duration + use<> {
    let file = prepared(path, FILE_BYTES);
    let (batches, mut position) = (batch.repeat(partitions), 0);
    move || {
        timed(|| {
            for _ in 0..rounds {
                if position + batches.len() as u64 > FILE_BYTES {
                    position = 0;
                }
                file.write_all_at(&batches, position).expect("the disk has room");
                file.sync_data().expect("syncs");
                position += batches.len() as u64;
            }
        })
    }
}

fn trunkline(
    dir: &Arc<LogDir>,
    partitions: usize,
    rounds: u64,
    batch: &[u8],
    prepare_bytes: u64,
) -> impl FnMut() -> Duration + use<> {
    let open = |number| {
        let settings =
            |config: LogConfig| config.durability(Durability::Durable).prepare_bytes(prepare_bytes);
        (Arc::new(log_in(dir, number, settings)), Some(batch.to_vec()))
    };
    let mut logs: Vec<_> = (0..partitions as u32).map(open).collect();
    let bytes = (FILE_BYTES / partitions as u64).max(LOG_BYTES);
    move || {
        for (log, _) in logs.iter().filter(|(log, _)| log.size().1 >= bytes) {
            log.restart_at(0).expect("the log can be emptied");
            log.step(Duration::MAX).expect("files can be removed");
        }
        timed(|| {
            for _ in 0..rounds {
                let append = |(log, spare): &mut (Arc<PartitionLog>, Option<Vec<u8>>)| {
                    let end = append_again(log, spare);
                    (log.clone(), end)
                };
                let ends: Vec<_> = logs.iter_mut().map(append).collect();
                for result in commit_all(&ends) {
                    result.expect("syncs");
                }
            }
        })
    }
}
