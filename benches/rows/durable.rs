//! One batch at a time made durable, one thread: the raw ways of the disk, and the engine.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use trunkline::types::Durability;

use super::append::{append_again, log};
use crate::{
    pairs::{Group, Work, timed},
    sealed,
};

/// The group's name.
pub const NAME: &str = "durable, 1024 B x 16, 1 appender";

/// Batches of a slice.
pub const BATCHES: u64 = 64;
/// Bytes after which a row begins anew.
pub const FILE_BYTES: u64 = 256 << 20;
/// What direct writes align to.
pub(super) const BLOCK: u64 = 4096;

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Appended,
    Overwritten,
}

/// The raw ways of the disk, and the engine.
pub fn group(folder: &Path) -> Group<'static> {
    let batch = sealed(16, 1024);
    let bytes = BATCHES * batch.len() as u64;
    let mut group = Group::new(NAME, Work { bytes, units: BATCHES, unit: "batches" });
    group.row("raw: appended, fdatasync", synced(folder, Layout::Appended, batch.clone()));
    group.row("raw: overwritten, fdatasync", synced(folder, Layout::Overwritten, batch.clone()));
    group.row("raw: overwritten, O_DIRECT and O_DSYNC", direct(folder, batch.len()));
    group.row("trunkline", trunkline(&folder.join("durable"), batch));
    group
}

/// A file of zeros that were written.
pub(super) fn prepared(path: &Path) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.expect("the folder takes files");
    let zeros = vec![0; 1 << 20];
    (0..FILE_BYTES).step_by(zeros.len()).for_each(|at| {
        file.write_all_at(&zeros, at).expect("the disk has room");
    });
    file.sync_all().expect("syncs");
    file
}

fn synced(folder: &Path, layout: Layout, batch: Vec<u8>) -> impl FnMut() -> Duration + use<> {
    let path = folder.join(if layout == Layout::Appended { "appended" } else { "overwritten" });
    let open = move || match layout {
        Layout::Appended => File::create(&path).expect("the folder takes files"),
        Layout::Overwritten => prepared(&path),
    };
    let mut file = open();
    let mut position = 0;
    move || {
        if position + BATCHES * batch.len() as u64 > FILE_BYTES {
            (file, position) = (open(), 0);
        }
        timed(|| {
            for _ in 0..BATCHES {
                file.write_all_at(&batch, position).expect("the disk has room");
                file.sync_data().expect("syncs");
                position += batch.len() as u64;
            }
        })
    }
}

fn direct(folder: &Path, len: usize) -> impl FnMut() -> Duration + use<> {
    let path = folder.join("direct");
    drop(prepared(&path));
    let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
    let file = OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path);
    let file = file.expect("the file system takes direct writes");
    let len = (len as u64).next_multiple_of(BLOCK);
    let room = vec![1; (len + BLOCK) as usize];
    let mut position = 0;
    move || {
        let start = room.as_ptr().align_offset(BLOCK as usize);
        timed(|| {
            for _ in 0..BATCHES {
                file.write_all_at(&room[start..start + len as usize], position).expect("writes");
                position = (position + len) % (FILE_BYTES - len).next_multiple_of(len);
            }
        })
    }
}

fn trunkline(folder: &Path, batch: Vec<u8>) -> impl FnMut() -> Duration + use<> {
    let log = log(folder, |config| config.durability(Durability::Durable));
    let mut spare = Some(batch);
    move || {
        if log.size().1 >= FILE_BYTES {
            log.restart_at(0).expect("the log can be emptied");
            log.step(Duration::MAX).expect("files can be removed");
        }
        timed(|| {
            for _ in 0..BATCHES {
                let end = append_again(&log, &mut spare);
                log.commit(end).expect("syncs");
            }
        })
    }
}
