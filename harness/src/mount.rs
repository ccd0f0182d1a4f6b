//! What file system a folder is on, from `/proc/self/mountinfo`.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use serde::{Deserialize, Serialize};

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mount {
    /// `ext4`, `xfs`, `tmpfs`, …; `unknown` where the system does not say.
    pub file_system: String,
    /// Options of the mount and of the file system.
    pub mount_options: String,
    /// The device, as it is named there.
    pub device: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// Model and kind of the block device, where the system says.
    pub device_model: String,
}

impl Mount {
    /// The mount that holds `dir`, which must exist.
    pub fn of(dir: &Path) -> Self {
        let unknown = || Self { file_system: "unknown".into(), ..Self::default() };
        let Ok(metadata) = fs::metadata(dir) else { return unknown() };
        let absolute = fs::canonicalize(dir).unwrap_or_else(|_| dir.into());
        let Ok(table) = fs::read_to_string("/proc/self/mountinfo") else { return unknown() };
        let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        let mut mount = find(&table, &absolute, major, minor).unwrap_or_else(unknown);
        mount.device_model = device_model(major, minor);
        mount
    }

    /// Whether the files are in memory, not on a disk.
    pub fn is_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs" | "devtmpfs" | "hugetlbfs")
    }
}

/// The longest mount point above `dir`; with several at the same place, the one of the folder's own
/// device, or else the one mounted last.
fn find(table: &str, dir: &Path, major: u32, minor: u32) -> Option<Mount> {
    let device_id = format!("{major}:{minor}");
    table
        .lines()
        .filter_map(parse)
        .filter(|(_, mount)| dir.starts_with(&mount.mount_point))
        .max_by_key(|(id, mount)| (mount.mount_point.len(), *id == device_id))
        .map(|(_, mount)| mount)
}

/// A line of `/proc/self/mountinfo` (proc(5)): device id and mount.
fn parse(line: &str) -> Option<(&str, Mount)> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(2);
    let (id, _root, mount_point, options) =
        (front.next()?, front.next()?, front.next()?, front.next()?);
    let mut back = back.split(' ');
    let (file_system, device, super_options) = (back.next()?, back.next()?, back.next()?);
    let mut mount_options: Vec<&str> = options.split(',').collect();
    mount_options.extend(super_options.split(',').filter(|option| !options.contains(option)));
    let mount = Mount {
        file_system: file_system.into(),
        mount_options: mount_options.join(","),
        device: unescape(device),
        mount_point: unescape(mount_point),
        device_model: String::new(),
    };
    Some((id, mount))
}

/// Spaces and such stand as three octal digits.
fn unescape(text: &str) -> String {
    ["\\040 ", "\\011\t", "\\012\n", "\\134\\"]
        .iter()
        .fold(text.to_owned(), |text, pair| text.replace(&pair[..4], &pair[4..]))
}

fn device_model(major: u32, minor: u32) -> String {
    let sys = format!("/sys/dev/block/{major}:{minor}");
    let read = |name: &str| {
        // A partition has no queue of its own: its disk, one folder up, does.
        [format!("{sys}/{name}"), format!("{sys}/../{name}")]
            .iter()
            .find_map(|path| fs::read_to_string(path).ok())
            .map(|text| text.trim().to_owned())
    };
    let mut parts = Vec::new();
    parts.extend(read("device/model").filter(|model| !model.is_empty()));
    if let Some(rotational) = read("queue/rotational") {
        parts.push(if rotational == "1" { "rotational" } else { "not rotational" }.into());
    }
    parts.extend(read("queue/write_cache"));
    parts.extend(read("queue/scheduler").map(|scheduler| format!("scheduler {scheduler}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard,errors=remount-ro
23 22 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=10k
24 22 0:30 / /tmp rw,nosuid - tmpfs tmpfs rw,size=1g
25 22 254:1 / /mnt/my\\040disk rw,noatime shared:9 master:1 - xfs /dev/vdb rw,logbufs=8
not a line";

    #[test]
    fn the_longest_mount_point_counts() {
        let at = |dir: &str| find(TABLE, Path::new(dir), 9, 9).unwrap();
        assert_eq!(at("/home/x").file_system, "ext4");
        assert_eq!(at("/tmpx").file_system, "ext4");
        assert!(at("/tmp/x").is_memory());
        let disk = at("/mnt/my disk/log");
        assert_eq!((disk.file_system.as_str(), disk.device.as_str()), ("xfs", "/dev/vdb"));
        assert_eq!(disk.mount_options, "rw,noatime,logbufs=8");
        assert!(!disk.is_memory());
    }

    #[test]
    fn of_mounts_at_one_place_the_folders_own_device_counts() {
        let table = "30 1 0:40 / /d rw - overlay overlay rw\n31 1 254:1 / /d rw - ext4 /dev/vdb rw\n\
                     32 1 0:41 / /d rw - tmpfs tmpfs rw";
        assert_eq!(find(table, Path::new("/d/x"), 254, 1).unwrap().file_system, "ext4");
    }

    #[test]
    fn this_machine_has_a_file_system() {
        let mount = Mount::of(Path::new("."));
        assert!(!mount.file_system.is_empty());
    }
}
