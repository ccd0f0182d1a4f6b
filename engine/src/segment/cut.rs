//! Cutting a `.log` whose bytes somebody may hold mapped.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use super::{FileName, Stage, Suffix, name::file_path};
use crate::{
    error::IoError,
    io::{File, Open, Storage, SyncKind},
    types::Offset,
};

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// Cuts `file`, the `.log` of the segment at `base_offset` of `dir`, to `len` bytes and gives it, to be
/// synced. One that is mapped further is left to those who hold its bytes: a copy of what stays takes its place, durably; a crash
/// leaves the one or the other.
pub fn cut_log(
    storage: &Storage,
    dir: &Path,
    base_offset: Offset,
    file: File,
    len: u64,
) -> Result<File, IoError> {
    if file.mapped_len()? <= len {
        file.set_len(len)?;
        return Ok(file);
    }
    let name = FileName { base_offset, suffix: Suffix::Log, stage: Stage::Cleaned };
    let temporary = dir.join(name.to_string());
    let kept = storage.open(&temporary, Open::Create)?;
    if let Err(error) = copy_cut(&file, len, &kept) {
        // A full disk, as a rule: what was copied takes none of its room. An error here changes nothing.
        let _ = storage.remove_file(&temporary);
        return Err(error);
    }
    let path = file_path(dir, base_offset, Suffix::Log);
    storage.rename(&temporary, &path)?;
    storage.sync_dir(dir)?;
    // Under its own name from now on.
    storage.open(&path, Open::Write)
}

fn copy_cut(file: &File, len: u64, kept: &File) -> Result<(), IoError> {
    kept.set_len(0)?;
    copy_range(file, 0, len, kept)?;
    let found = kept.len()?;
    if found < len {
        let text = format!("expected {len} bytes, found {found}");
        let error = io::Error::new(ErrorKind::UnexpectedEof, text);
        return Err(IoError::at("read", file.path(), found, error));
    }
    kept.sync(SyncKind::All)
}

/// Writes the bytes of `file` from `from` up to `upto`, or to its end, into the empty file `to`.
pub fn copy_range(file: &File, from: u64, upto: u64, to: &File) -> Result<(), IoError> {
    let mut position = from;
    while position < upto {
        let wanted = (upto - position).min(COPY_BYTES as u64) as usize;
        let mut bytes = file.read_at(position, wanted)?;
        bytes.truncate(wanted);
        if bytes.is_empty() {
            return Ok(());
        }
        let count = bytes.len() as u64;
        to.write_at(position - from, bytes)?;
        position += count;
    }
    Ok(())
}
