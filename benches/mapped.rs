//! A file mapped as the fastest reader would: the limit of reading.

use std::{fs::File, io};

use memmap2::Mmap;

/// Maps `file`, which nobody may change or shorten as long as the map lives.
#[expect(unsafe_code, reason = "a limit row has no engine between itself and the system")]
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the callers map files of their own temporary folder that they do not write to any more.
    unsafe { Mmap::map(file) }
}
