//! Files mapped into memory, to be read without a copy. All of the engine's unsafe code for it.
//!
//! A page of a mapped file that cannot be had kills the process (SIGBUS) instead of giving an error. Two
//! things see to it that no page is touched that may not be there:
//!
//! * Nothing in this process cuts off bytes that are mapped: [`set_len`] refuses
//!   (`ErrorKind::ResourceBusy`). Other processes are kept out by the log dir's lock, as long as it is held: a log that is closed
//!   maps nothing any more.
//! * Bytes are given out by [`Map::bytes`] only, which has the kernel read them first and hands on the
//!   error of a disk that does not give them. A page that the kernel has dropped since may fail when it is
//!   touched again: who cannot bear that reads plainly ([`PortableDisk::without_maps`]).
//!
//! [`PortableDisk::without_maps`]: super::PortableDisk::without_maps

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::MetadataExt,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use memmap2::Mmap;
#[cfg(target_os = "linux")]
use rustix::io::Errno;

/// What is made readable at once, in bytes.
const CHUNK: usize = 1 << 20;

/// The bytes of a file as they were when it was mapped; read-only. Shared by `Arc`, unmapped with the
/// last one.
pub struct Map {
    bytes: Bytes,
    /// Chunks that were read once, a bit each.
    readable: Vec<AtomicU64>,
}

enum Bytes {
    /// Unmapped before it is taken off the list of those who are.
    Mapped { map: Mmap, _registered: Registered },
    /// What a simulated disk maps.
    #[cfg(any(test, feature = "sim"))]
    Copied(Arc<[u8]>),
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Map {
    /// Maps the bytes that `file` has now; `None` where it has none.
    #[expect(unsafe_code, reason = "a mapped file is memory that others could change")]
    pub(super) fn of(file: &File) -> io::Result<Option<Arc<Self>>> {
        let mut mapped = mapped();
        let metadata = file.metadata()?;
        if metadata.len() == 0 || !reads_at_bidding() {
            return Ok(None);
        }
        // SAFETY: the memory is only read, and stays what it is: `log` maps sealed segments, whose bytes
        // nobody changes (who appends to one again writes behind the bytes that are mapped), `set_len` below,
        // under the lock that is held here, is the one way in which the engine shortens a file, and the log
        // dir's lock keeps other programs of this kind from the folder.
        let map = unsafe { Mmap::map(file) }?;
        let registered = Registered(Identity::of(&metadata), map.len() as u64);
        *mapped.entry(registered.0).or_default().entry(registered.1).or_default() += 1;
        let bytes = Bytes::Mapped { map, _registered: registered };
        Ok(Some(Arc::new(Self::new(bytes))))
    }

    /// What a simulated disk maps: its bytes of now.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn copied(bytes: Arc<[u8]>) -> Arc<Self> {
        Arc::new(Self::new(Bytes::Copied(bytes)))
    }

    fn new(bytes: Bytes) -> Self {
        let mut map = Self { bytes, readable: Vec::new() };
        map.readable.resize_with(map.len().div_ceil(CHUNK * 64), AtomicU64::default);
        map
    }

    /// Length of the file when it was mapped.
    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// The bytes of `range`, once they were read from the disk. Its error is the disk's.
    ///
    /// # Panics
    /// Where the range is not within the map.
    pub(crate) fn bytes(&self, range: Range<usize>) -> io::Result<&[u8]> {
        let bytes = &self.all()[range.clone()];
        for chunk in chunks(&range) {
            if !self.is_readable(chunk) {
                self.read_chunk(chunk)?;
                self.readable[chunk / 64].fetch_or(1 << (chunk % 64), Relaxed);
            }
        }
        Ok(bytes)
    }

    /// The bytes of `range` where all of it was read before, and none of it beyond the map: costs no
    /// system call.
    pub(crate) fn known_bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        let bytes = self.all().get(range.clone())?;
        chunks(&range).all(|chunk| self.is_readable(chunk)).then_some(bytes)
    }

    /// Bytes that [`Map::bytes`] has given before.
    pub(crate) fn held(&self, range: Range<usize>) -> &[u8] {
        &self.all()[range]
    }

    fn all(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped { map, .. } => map,
            #[cfg(any(test, feature = "sim"))]
            Bytes::Copied(bytes) => bytes,
        }
    }

    fn is_readable(&self, chunk: usize) -> bool {
        self.readable[chunk / 64].load(Relaxed) & 1 << (chunk % 64) != 0
    }

    /// Has the kernel read a chunk, and begin to read the next one.
    #[cfg(target_os = "linux")]
    fn read_chunk(&self, chunk: usize) -> io::Result<()> {
        use memmap2::Advice;

        let map = match &self.bytes {
            Bytes::Mapped { map, .. } => map,
            #[cfg(any(test, feature = "sim"))]
            Bytes::Copied(_) => return Ok(()),
        };
        let of = |chunk: usize| (chunk * CHUNK, CHUNK.min(map.len() - chunk * CHUNK));
        if (chunk + 1) * CHUNK < map.len() {
            let (start, len) = of(chunk + 1);
            // Who comes for that chunk meets its errors.
            let _ = map.advise_range(Advice::WillNeed, start, len);
        }
        let (start, len) = of(chunk);
        match map.advise_range(Advice::PopulateRead, start, len) {
            // What would have been a SIGBUS.
            Err(error) if error.raw_os_error() == Some(Errno::FAULT.raw_os_error()) => {
                Err(Errno::IO.into())
            }
            other => other,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn read_chunk(&self, _chunk: usize) -> io::Result<()> {
        Ok(())
    }
}

fn chunks(range: &Range<usize>) -> Range<usize> {
    range.start / CHUNK..range.end.div_ceil(CHUNK)
}

/// A file, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Whether the kernel reads the pages of a map when it is told to (Linux 5.14), so that a page that cannot be had
/// is an error. Where it does not nothing is mapped.
#[cfg(target_os = "linux")]
fn reads_at_bidding() -> bool {
    static READS: LazyLock<bool> = LazyLock::new(|| {
        let page = memmap2::MmapMut::map_anon(1);
        page.is_ok_and(|page| page.advise(memmap2::Advice::PopulateRead).is_ok())
    });
    *READS
}

#[cfg(not(target_os = "linux"))]
fn reads_at_bidding() -> bool {
    false
}

/// How often each file is mapped, by the lengths of the maps. A file is mapped, and shortened, under this lock
/// only.
static MAPPED: LazyLock<Mutex<Lengths>> = LazyLock::new(Mutex::default);

type Lengths = HashMap<Identity, BTreeMap<u64, usize>>;

fn mapped() -> MutexGuard<'static, Lengths> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One map's place on that list, and its length.
struct Registered(Identity, u64);

impl Drop for Registered {
    fn drop(&mut self) {
        let mut mapped = mapped();
        let Some(lengths) = mapped.get_mut(&self.0) else { return };
        if let Some(count) = lengths.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                lengths.remove(&self.1);
            }
        }
        if lengths.is_empty() {
            mapped.remove(&self.0);
        }
    }
}

/// How many bytes of the file, from the first on, are mapped by this process.
pub(super) fn mapped_len(file: &File) -> io::Result<u64> {
    Ok(longest(&mapped(), &file.metadata()?))
}

fn longest(mapped: &Lengths, metadata: &std::fs::Metadata) -> u64 {
    let lengths = mapped.get(&Identity::of(metadata));
    lengths.and_then(|lengths| lengths.last_key_value()).map_or(0, |(len, _)| *len)
}

/// Cuts or extends a file; bytes that are mapped are not cut off (`ErrorKind::ResourceBusy`).
pub(super) fn set_len(file: &File, len: u64) -> io::Result<()> {
    let metadata = file.metadata()?;
    if len >= metadata.len() {
        return file.set_len(len);
    }
    let mapped = mapped();
    if len < longest(&mapped, &metadata) {
        return Err(busy());
    }
    file.set_len(len)
}

/// Why a mapped file is not cut.
pub(super) fn busy() -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, "these bytes are mapped: somebody holds them")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn file(len: usize) -> (tempfile::TempDir, File, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        (dir, file, bytes)
    }

    #[test]
    fn bytes_are_known_once_they_were_read() {
        let (_dir, file, bytes) = file(3 * CHUNK + 17);
        let map = Map::of(&file).unwrap().unwrap();
        assert_eq!(map.len(), bytes.len());
        let range = CHUNK - 5..CHUNK + 5;
        assert_eq!(map.known_bytes(range.clone()), None);
        assert_eq!(map.bytes(range.clone()).unwrap(), &bytes[range.clone()]);
        assert_eq!(map.known_bytes(0..2 * CHUNK), Some(&bytes[..2 * CHUNK]));
        assert_eq!(map.known_bytes(0..2 * CHUNK + 1), None);
        assert_eq!(map.bytes(3 * CHUNK..bytes.len()).unwrap(), &bytes[3 * CHUNK..]);
        assert_eq!(map.known_bytes(3 * CHUNK..bytes.len() + 1), None, "beyond the map");
        assert_eq!(map.known_bytes(3 * CHUNK..bytes.len()).map(<[u8]>::len), Some(17));
    }

    #[test]
    fn a_mapped_file_is_not_cut() {
        let (_dir, file, bytes) = file(10_000);
        let (one, two) = (Map::of(&file).unwrap().unwrap(), Map::of(&file).unwrap().unwrap());
        drop(one);
        assert_eq!(mapped_len(&file).unwrap(), 10_000);
        assert_eq!(set_len(&file, 9_999).unwrap_err().kind(), ErrorKind::ResourceBusy);
        set_len(&file, 20_000).unwrap();
        file.write_all_at(&[1; 100], 10_000).unwrap();
        assert_eq!(two.bytes(0..10_000).unwrap(), bytes, "what stands behind is not mapped");
        let longer = Map::of(&file).unwrap().unwrap();
        assert_eq!(mapped_len(&file).unwrap(), 20_000);
        assert_eq!(set_len(&file, 19_999).unwrap_err().kind(), ErrorKind::ResourceBusy);
        drop(longer);
        set_len(&file, 10_000).unwrap();
        assert_eq!(two.bytes(0..10_000).unwrap(), bytes, "what is mapped stays");
        drop(two);
        assert_eq!(mapped_len(&file).unwrap(), 0);
        set_len(&file, 0).unwrap();
        assert!(Map::of(&file).unwrap().is_none(), "an empty file");
        assert_eq!(mapped_len(&file).unwrap(), 0);
    }

    /// As when another program cuts it, or the disk does not give a page.
    #[test]
    fn a_page_that_cannot_be_had_is_an_error() {
        let (_dir, file, _) = file(4 * CHUNK);
        let Some(map) = Map::of(&file).unwrap() else {
            // Then nothing is mapped, and the reads are plain ones.
            assert!(!reads_at_bidding());
            return;
        };
        file.set_len((2 * CHUNK) as u64).unwrap();
        assert!(map.bytes(0..2 * CHUNK).is_ok());
        let refused = map.bytes(2 * CHUNK..2 * CHUNK + 1).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::IO.raw_os_error()));
        assert_eq!(map.known_bytes(2 * CHUNK..2 * CHUNK + 1), None);
    }
}
