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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::ForgetfulDisk;

    #[test]
    fn what_is_kept_is_all_there_or_an_error_says_where_it_ends() {
        let storage = ForgetfulDisk::new().storage();
        storage.create_dir_all(Path::new("/d")).unwrap();
        let open = |name: &str| storage.open(&Path::new("/d").join(name), Open::Create).unwrap();
        let (file, kept) = (open("file"), open("kept"));
        let bytes: Vec<u8> = (0..COPY_BYTES + 10).map(|n| (n % 251) as u8).collect();
        file.write_at(0, bytes.clone()).unwrap();
        for len in [0, 1, COPY_BYTES, COPY_BYTES + 1, bytes.len()] {
            copy_cut(&file, len as u64, &kept).unwrap();
            assert_eq!(kept.len().unwrap(), len as u64);
            assert!(kept.read_at(0, bytes.len()).unwrap() == bytes[..len]);
        }
        let error = copy_cut(&file, bytes.len() as u64 + 1, &kept).unwrap_err();
        let (expected, found) = (bytes.len() + 1, bytes.len());
        let text = format!("expected {expected} bytes, found {found}");
        assert!(error.to_string().contains(&text), "{error}");
    }
}
