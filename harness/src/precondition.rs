//! What must hold before anything is measured: a disk, a release build, room.

use std::path::{Path, PathBuf};

use crate::{mount::Mount, size::ByteSize};

/// Room that is always left on the disk.
pub const SPARE_BYTES: u64 = 1 << 30;

/// What the user allows although it spoils results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowances {
    /// A file system in memory.
    pub tmpfs: bool,
    /// A debug build.
    pub debug_build: bool,
}

/// Files that the engine holds open for a partition at most, …
const FILES_A_PARTITION: u64 = 3;
/// … and what the process has open beside, with room to roll segments.
const FILES_BESIDE: u64 = 64;

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The folder is in memory.
    #[error(
        "{dir} is on {file_system}: memory, not a disk. Syncs cost nothing there and every result \
         would be too good. Name a folder on a disk with --dir, or insist with --allow-tmpfs"
    )]
    Memory {
        /// The folder.
        dir: PathBuf,
        /// Its file system.
        file_system: String,
    },
    /// Not a release build.
    #[error(
        "this is a debug build, several times slower than the engine is. Run it with \
         `cargo run --release -p trunkline-harness`, or insist with --allow-debug-build"
    )]
    DebugBuild,
    /// More partitions than the process may have files for.
    #[error(
        "{partitions} partitions need about {needed} open files, {FILES_A_PARTITION} each, and this process \
         may have {limit}: raise that with `ulimit -n {needed}`"
    )]
    OpenFiles {
        /// As asked for.
        partitions: u32,
        /// Descriptors that they take.
        needed: u64,
        /// Descriptors that there may be.
        limit: u64,
    },
    /// The disk is full already.
    #[error("{dir} has {} free, and {} are left untouched", ByteSize(*.free), ByteSize(SPARE_BYTES))]
    NoRoom {
        /// The folder.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
    },
}

/// Checks the disk of `dir`, and the build. Gives a warning where the `expected` bytes, which are a
/// guess at full speed, may not fit: a run stops before the disk is full.
pub fn check(
    dir: &Path,
    mount: &Mount,
    expected: u64,
    allowances: Allowances,
) -> Result<Option<String>, Refusal> {
    if mount.is_memory() && !allowances.tmpfs {
        return Err(Refusal::Memory { dir: dir.into(), file_system: mount.file_system.clone() });
    }
    if cfg!(debug_assertions) && !allowances.debug_build {
        return Err(Refusal::DebugBuild);
    }
    free_bytes(dir).map_or(Ok(None), |free| room(dir, free, expected))
}

/// Whether the process may open the files of so many partitions.
pub fn check_open_files(partitions: u32) -> Result<(), Refusal> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    open_files(partitions, limit.unwrap_or(u64::MAX))
}

fn open_files(partitions: u32, limit: u64) -> Result<(), Refusal> {
    let needed = u64::from(partitions) * FILES_A_PARTITION + FILES_BESIDE;
    if needed <= limit { Ok(()) } else { Err(Refusal::OpenFiles { partitions, needed, limit }) }
}

fn room(dir: &Path, free: u64, expected: u64) -> Result<Option<String>, Refusal> {
    // In whole MiB: nobody wants to read bytes here.
    let mib = |bytes: u64| ByteSize(bytes >> 20 << 20);
    if free < SPARE_BYTES {
        return Err(Refusal::NoRoom { dir: dir.into(), free: mib(free).0 });
    }
    let is_tight = free < expected.saturating_add(SPARE_BYTES);
    Ok(is_tight.then(|| {
        format!(
            "{} has {} free, and a run may write {}: it stops when {} are left",
            dir.display(),
            mib(free),
            mib(expected),
            ByteSize(SPARE_BYTES)
        )
    }))
}

/// Bytes that can still be written to the disk of `dir`.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Allowances = Allowances { tmpfs: true, debug_build: true };

    fn on(file_system: &str) -> Mount {
        Mount { file_system: file_system.into(), ..Mount::default() }
    }

    #[test]
    fn memory_is_refused_unless_it_is_allowed() {
        let dir = Path::new(".");
        let forbidden = Allowances { tmpfs: false, ..ALL };
        let refusal = check(dir, &on("tmpfs"), 0, forbidden).unwrap_err();
        assert!(refusal.to_string().contains("--allow-tmpfs"), "{refusal}");
        assert!(check(dir, &on("tmpfs"), 0, ALL).is_ok());
        assert!(check(dir, &on("ext4"), 0, forbidden).is_ok());
    }

    #[test]
    fn a_debug_build_is_refused_unless_it_is_allowed() {
        let forbidden = Allowances { debug_build: false, ..ALL };
        let outcome = check(Path::new("."), &on("ext4"), 0, forbidden);
        assert_eq!(outcome.is_err(), cfg!(debug_assertions));
    }

    #[test]
    fn too_many_partitions_for_the_open_files_are_refused() {
        assert!(open_files(320, 1_024).is_ok());
        let text = open_files(321, 1_024).unwrap_err().to_string();
        assert!(text.starts_with("321 partitions need about 1027 open files, 3 each"), "{text}");
        assert!(text.ends_with("may have 1024: raise that with `ulimit -n 1027`"), "{text}");
    }

    #[test]
    fn a_run_that_may_not_fit_is_warned_of_and_a_full_disk_refused() {
        let of = |free| room(Path::new("d"), free, 10 << 30);
        assert_eq!(of(11 << 30).unwrap(), None);
        let warning = of(5 << 30).unwrap().unwrap();
        assert_eq!(
            warning,
            "d has 5GiB free, and a run may write 10GiB: it stops when 1GiB are left"
        );
        let refusal = of(1023 << 20).unwrap_err().to_string();
        assert_eq!(refusal, "d has 1023MiB free, and 1GiB are left untouched");
        assert!(check(Path::new("."), &on("ext4"), 1 << 62, ALL).unwrap().is_some());
    }
}
