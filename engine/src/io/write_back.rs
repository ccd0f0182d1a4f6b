//! Write-back of parts of files to the device, without a flush of the device's cache for each. All of the
//! engine's unsafe code for it: no library wraps `sync_file_range`.

use std::{fs::File, io};

use super::{Operation, portable::os};

/// Starts the write-backs of a submission, so that the device has all of them at once. Errors are met again
/// by [`finish`].
pub(super) fn start<'a>(operations: impl IntoIterator<Item = &'a Operation>) {
    for operation in operations {
        if let Operation::WriteBack { file, position, len } = operation
            && let Ok(file) = os(file)
        {
            let _ = linux::start(file, *position, *len);
        }
    }
}

/// Waits until the device has the bytes.
pub(super) fn finish(file: &File, position: u64, len: u64) -> io::Result<()> {
    linux::finish(file, position, len)
}

/// The device of a file whose bytes are overwritten in place. ext4 alone, with its data outside of the journal: XFS writes elsewhere what a copy shares (reflink), the
/// file systems that copy on write do so always. ext4 says that a file takes no direct reads where its data
/// goes through the journal (`data=journal`, `chattr +j`), or is encrypted or sealed.
pub(super) fn in_place_on(file: &File) -> io::Result<Option<u64>> {
    linux::in_place_on(file)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs::File, io, os::fd::AsRawFd};

    use rustix::{
        fs::{AtFlags, FsWord, StatxFlags, fstatfs, makedev, statx},
        io::Errno,
    };

    /// `EXT4_SUPER_MAGIC`, which ext2 and ext3 have too: the same driver, the same rule.
    const EXT4: FsWord = 0xEF53;

    pub(super) fn start(file: &File, position: u64, len: u64) -> io::Result<()> {
        range(file, position, len, libc::SYNC_FILE_RANGE_WRITE)
    }

    pub(super) fn finish(file: &File, position: u64, len: u64) -> io::Result<()> {
        let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        range(file, position, len, all)
    }

    #[expect(unsafe_code, reason = "a system call that no library wraps")]
    fn range(file: &File, position: u64, len: u64, flags: u32) -> io::Result<()> {
        let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let (position, len) = (i64::try_from(position), i64::try_from(len));
        let (position, len) = (position.map_err(too_far)?, len.map_err(too_far)?);
        if len == 0 {
            return Ok(()); // which would mean: up to the end of the file
        }
        loop {
            // SAFETY: the descriptor is open as long as `file` is borrowed; nothing else is passed but numbers.
            let result = unsafe { libc::sync_file_range(file.as_raw_fd(), position, len, flags) };
            if result == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(Errno::INTR.raw_os_error()) {
                return Err(error);
            }
        }
    }

    pub(super) fn in_place_on(file: &File) -> io::Result<Option<u64>> {
        if fstatfs(file)?.f_type != EXT4 {
            return Ok(None);
        }
        match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
            Ok(found) => {
                let is_told = found.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
                let device = makedev(found.stx_dev_major, found.stx_dev_minor);
                Ok((is_told && found.stx_dio_offset_align != 0).then_some(device))
            }
            Err(Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use std::{fs::File, io};

    pub(super) fn start(_file: &File, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// More than is asked.
    pub(super) fn finish(file: &File, _position: u64, _len: u64) -> io::Result<()> {
        file.sync_data()
    }

    pub(super) fn in_place_on(_file: &File) -> io::Result<Option<u64>> {
        Ok(None)
    }
}
