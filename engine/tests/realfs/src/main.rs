//! A disk that forgets, for a real file system: one file `disk.img` in a FUSE folder, below a loop
//! device. What was written is in its volatile cache until an fsync (the loop device makes one of each
//! flush), and a power cut takes any part of that cache.
//!
//! `trunkline-realfs FOLDER MIB` mounts on FOLDER and takes commands on standard input, a line each,
//! answered by a line each:
//!
//! - `cut SEED`: the power is off. Every read and write fails from now on; what the cache held is kept
//!   or lost by the seed: all of it, none of it, or any blocks (4 KiB), some of them torn between sectors
//!   (512 bytes).
//! - `on`: the power is back.
//! - `end`: unmount, and exit.

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::OsStr,
    io::{BufRead, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};

/// What the cache keeps or loses as one, in bytes.
const BLOCK: usize = 4096;
/// What is never torn, in bytes.
const SECTOR: usize = 512;
const IMAGE: INodeNo = INodeNo(2);
const NAME: &str = "disk.img";
/// How long the kernel may believe an answer about names and lengths, which never change.
const TTL: Duration = Duration::from_secs(3600);

struct State {
    device: Vec<u8>,
    /// Blocks that were written and not flushed, as they are now.
    cache: BTreeMap<usize, Box<[u8; BLOCK]>>,
    off: bool,
    flushes: u64,
}

impl State {
    fn block(&self, number: usize) -> &[u8] {
        match self.cache.get(&number) {
            Some(block) => &block[..],
            None => &self.device[number * BLOCK..][..BLOCK],
        }
    }

    fn read(&self, from: usize, size: usize) -> Vec<u8> {
        let end = (from + size).min(self.device.len());
        let mut bytes = Vec::with_capacity(size);
        for (number, within) in pieces(from, end) {
            bytes.extend_from_slice(&self.block(number)[within]);
        }
        bytes
    }

    fn write(&mut self, from: usize, mut data: &[u8]) {
        for (number, within) in pieces(from, from + data.len()) {
            let (piece, rest) = data.split_at(within.len());
            data = rest;
            let mut block = [0; BLOCK];
            block.copy_from_slice(self.block(number));
            block[within].copy_from_slice(piece);
            self.cache.insert(number, Box::new(block));
        }
    }

    fn flush(&mut self) {
        self.flushes += 1;
        for (number, block) in std::mem::take(&mut self.cache) {
            self.device[number * BLOCK..][..BLOCK].copy_from_slice(&block[..]);
        }
    }

    /// Gives the number of blocks in the cache, and of those that reached the device whole.
    fn cut(&mut self, seed: u64) -> (usize, usize) {
        self.off = true;
        let mut random = fastrand::Rng::with_seed(seed);
        let kept_of_ten = [0, 10, 1, 5, 9][random.usize(..5)];
        let cache = std::mem::take(&mut self.cache);
        let (blocks, mut kept) = (cache.len(), 0);
        for (number, block) in cache {
            let at = number * BLOCK;
            if random.u8(..10) < kept_of_ten {
                self.device[at..][..BLOCK].copy_from_slice(&block[..]);
                kept += 1;
            } else if kept_of_ten > 0 && random.u8(..8) == 0 {
                let sectors = random.usize(..BLOCK / SECTOR) * SECTOR;
                self.device[at..][..sectors].copy_from_slice(&block[..sectors]);
            }
        }
        (blocks, kept)
    }
}

/// The blocks that the bytes `from..end` lie in, and where in each.
fn pieces(from: usize, end: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let (number, within) = (at / BLOCK, at % BLOCK);
        let count = (BLOCK - within).min(end.saturating_sub(at));
        at += count;
        (count > 0).then_some((number, within..within + count))
    })
}

#[derive(Clone)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let state = self.state();
        if state.off { Err(Errno::EIO) } else { Ok(state) }
    }

    fn attributes(&self, file: INodeNo) -> FileAttr {
        let is_image = file == IMAGE;
        let size = if is_image { self.state().device.len() as u64 } else { 0 };
        FileAttr {
            ino: file,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_image { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == NAME {
            reply.entry(&TTL, &self.attributes(IMAGE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, file: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(file));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the page cache of this file: a second cache above ours would outlive the power cut.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.on() {
            Ok(state) => reply.data(&state.read(offset as usize, size as usize)),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.on() {
            Ok(state) if offset as usize + data.len() > state.device.len() => {
                reply.error(Errno::ENOSPC);
            }
            Ok(mut state) => {
                state.write(offset as usize, data);
                reply.written(data.len() as u32);
            }
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.on() {
            Ok(mut state) => {
                state.flush();
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, mib] = &arguments[..] else {
        return Err("usage: trunkline-realfs FOLDER MIB".into());
    };
    let device = vec![0; mib.parse::<usize>()? << 20];
    let state = State { device, cache: BTreeMap::new(), off: false, flushes: 0 };
    let disk = Disk(Arc::new(Mutex::new(state)));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("trunkline-realfs".into())];
    let mounted = fuser::spawn_mount(disk.clone(), Path::new(folder), &config)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "mounted")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["cut", seed] => {
                let mut state = disk.state();
                let flushes = state.flushes;
                let (blocks, kept) = state.cut(seed.parse()?);
                writeln!(out, "off {flushes} flushes, {blocks} blocks in the cache, {kept} kept")?;
            }
            ["on"] => {
                disk.state().off = false;
                writeln!(out, "on")?;
            }
            ["end"] => break,
            _ => writeln!(out, "unknown command: {line}")?,
        }
    }
    drop(mounted);
    Ok(())
}
