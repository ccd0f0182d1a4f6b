//! What a simulated disk knows, and how it performs operations.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Weak,
};

use fastrand::Rng;
use rustix::io::Errno;

use super::{
    ForgetfulDisk,
    tree::{NodeId, Tree},
};
use crate::io::{Completion, Handle, Operation};

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) tree: Tree,
    /// Open files by their number; none is ever closed, as handles are plain numbers.
    pub(super) open: Vec<OpenFile>,
    /// Number of the first open file: those of the time before a power cut are known to nobody.
    pub(super) first_handle: u64,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Bytes that may still be taken.
    pub(super) free: u64,
    pub(super) wall_ms: i64,
    pub(super) operations: u64,
    pub(super) bytes_read: u64,
    /// Operations until the power goes off.
    pub(super) until_off: Option<u64>,
    pub(super) off: bool,
    pub(super) lies: bool,
    /// Whether files can be mapped.
    pub(super) maps: bool,
    /// Files that were, while somebody holds the bytes.
    pub(super) mapped: Vec<(NodeId, Weak<[u8]>)>,
    /// Files of which the device has pages in its cache.
    pub(super) cached: Vec<NodeId>,
    /// Which of the next ones fails: 1 is the next.
    pub(super) failing_read: u64,
    pub(super) failing_write: u64,
    pub(super) failing_sync: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct OpenFile {
    pub(super) node: NodeId,
    pub(super) writable: bool,
    pub(super) direct: bool,
}

impl State {
    /// The disk for who comes next, with these files.
    pub(super) fn restarted(&self, tree: Tree) -> ForgetfulDisk {
        let fresh = ForgetfulDisk::new();
        {
            let mut after = fresh.0.lock();
            after.free = (self.free + self.tree.charged()).saturating_sub(tree.charged());
            after.first_handle = self.first_handle + self.open.len() as u64;
            after.wall_ms = self.wall_ms;
            after.maps = self.maps;
            after.tree = tree;
        }
        fresh
    }

    pub(super) fn count(&mut self) -> io::Result<()> {
        match &mut self.until_off {
            Some(0) => self.off = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        Ok(())
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        self.count()?;
        let node = self.tree.create_file(path)?;
        self.tree.file_mut(node)?.modified_ms = self.wall_ms;
        Ok(node)
    }

    pub(super) fn opened(&self, handle: &Handle) -> io::Result<OpenFile> {
        let Handle::Simulated(number) = handle else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a handle of another backend"));
        };
        let index = number.checked_sub(self.first_handle).map(|index| index as usize);
        let open = index.and_then(|index| self.open.get(index));
        open.copied().ok_or_else(|| Errno::BADF.into())
    }

    /// How many bytes of a file somebody holds as they were when it was mapped.
    pub(super) fn mapped_len(&mut self, node: NodeId) -> u64 {
        self.mapped.retain(|(_, bytes)| bytes.strong_count() > 0);
        let of_file = self.mapped.iter().filter(|(mapped, _)| *mapped == node);
        let lengths = of_file.filter_map(|(_, bytes)| Some(bytes.upgrade()?.len() as u64));
        lengths.max().unwrap_or(0)
    }

    pub(super) fn writable(&self, handle: &Handle) -> io::Result<NodeId> {
        let open = self.opened(handle)?;
        if open.writable { Ok(open.node) } else { Err(Errno::BADF.into()) }
    }

    /// Performs one operation; `failed` lists the files of this submission that a write failed on.
    pub(super) fn perform(&mut self, operation: Operation, failed: &mut Vec<NodeId>) -> Completion {
        match operation {
            Operation::Read { file, position, mut into } => {
                let result = self.read(&file, position, &mut into);
                Completion { result, buffers: vec![into] }
            }
            Operation::Write { file, position, data } => {
                let result = self.write(&file, position, &data);
                if result.is_err() {
                    failed.extend(self.opened(&file).map(|open| open.node));
                }
                Completion { result, buffers: data }
            }
            Operation::Sync { file, .. } => {
                let result = self.sync(&file, failed).map(|()| 0);
                Completion { result, buffers: Vec::new() }
            }
            Operation::WriteBack { file, position, len } => {
                let result = self.write_back(&file, position, len).map(|()| 0);
                Completion { result, buffers: Vec::new() }
            }
        }
    }

    pub(super) fn read(
        &mut self,
        file: &Handle,
        position: u64,
        into: &mut Vec<u8>,
    ) -> io::Result<usize> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        if strikes(&mut self.failing_read) {
            return Err(Errno::IO.into());
        }
        let OpenFile { node, direct, .. } = self.opened(file)?;
        let content = &self.tree.file(node)?.content;
        let count =
            if direct { content.read_direct(position, into) } else { content.read(position, into) };
        self.bytes_read += count as u64;
        Ok(count)
    }

    pub(super) fn write(
        &mut self,
        file: &Handle,
        position: u64,
        data: &[Vec<u8>],
    ) -> io::Result<usize> {
        self.count()?;
        if strikes(&mut self.failing_write) {
            return Err(Errno::IO.into());
        }
        let node = self.writable(file)?;
        if self.maps && position < self.mapped_len(node) {
            return Err(io::Error::other("overwrites what somebody holds mapped"));
        }
        let file = self.tree.file_mut(node)?;
        let mut bytes = data.concat();
        let total = bytes.len();
        // A write that finds too little room is short first; who goes on meets ENOSPC.
        let room = (file.charged + self.free).saturating_sub(position);
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        let short = bytes.len() < total;
        if !bytes.is_empty() {
            let growth = (position + bytes.len() as u64).saturating_sub(file.charged);
            file.charged += growth;
            self.free -= growth;
            file.content.write(position, bytes);
            file.modified_ms = self.wall_ms;
        }
        if short { Err(Errno::NOSPC.into()) } else { Ok(total) }
    }

    pub(super) fn sync(&mut self, file: &Handle, failed: &[NodeId]) -> io::Result<()> {
        let node = self.opened(file)?.node;
        if failed.contains(&node) {
            return Err(io::Error::other("not synced: a write before it failed"));
        }
        self.count()?;
        if strikes(&mut self.failing_sync) {
            self.fail_sync(node, None)?;
            return Err(Errno::IO.into());
        }
        if !self.lies {
            self.tree.file_mut(node)?.content.sync();
            for node in std::mem::take(&mut self.cached) {
                self.tree.file_mut(node)?.content.flush();
            }
        }
        Ok(())
    }

    /// What a sync was to make durable is lost, but for sectors that `rng` draws, and with it what the device
    /// held in its cache.
    pub(super) fn fail_sync(&mut self, node: NodeId, rng: Option<Rng>) -> io::Result<()> {
        self.tree.file_mut(node)?.content.fail_sync(rng);
        for node in std::mem::take(&mut self.cached) {
            self.tree.file_mut(node)?.content.lose_cached();
        }
        Ok(())
    }

    fn write_back(&mut self, file: &Handle, position: u64, len: u64) -> io::Result<()> {
        let node = self.opened(file)?.node;
        self.count()?;
        let content = &mut self.tree.file_mut(node)?.content;
        if strikes(&mut self.failing_sync) {
            content.fail_sync(None);
            return Err(Errno::IO.into());
        }
        content.write_back(position, len);
        if content.is_cached() && !self.cached.contains(&node) {
            self.cached.push(node);
        }
        Ok(())
    }

    pub(super) fn free_space_of(&mut self, removed: NodeId) -> io::Result<()> {
        self.free += std::mem::take(&mut self.tree.file_mut(removed)?.charged);
        Ok(())
    }
}

/// Counts a fault down; `true` when it is its turn.
pub(super) fn strikes(countdown: &mut u64) -> bool {
    let strikes = *countdown == 1;
    *countdown = countdown.saturating_sub(1);
    strikes
}
