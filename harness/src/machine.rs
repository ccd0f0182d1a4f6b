//! What a result was measured on.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::mount::Mount;

/// The machine, the disk and the build: `machine` in the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: u64,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// The disk that the log is on.
    #[serde(flatten)]
    pub mount: Mount,
    /// Version of the harness.
    pub version: String,
    /// Commit that it was built from; `-dirty` where files were changed.
    pub commit: String,
    /// `release` or `debug`. A debug build says nothing about the engine.
    pub build: String,
}

impl Machine {
    /// This machine, with the disk of `dir`.
    pub fn of(dir: &Path) -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu_model: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            memory_bytes: meminfo("MemTotal"),
            kernel: format!("{} {}", std::env::consts::OS, release.trim()).trim().into(),
            mount: Mount::of(dir),
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("TRUNKLINE_COMMIT").into(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
        }
    }
}

/// Bytes that programs can still take without swapping; 0 where the system does not say.
pub fn available_memory() -> u64 {
    meminfo("MemAvailable")
}

fn meminfo(name: &str) -> u64 {
    let kib = field("/proc/meminfo", name)
        .and_then(|value| value.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()));
    kib.unwrap_or(0) * 1024
}

/// The value behind the first `name:` of a file in /proc.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_names_the_build() {
        let machine = Machine::of(Path::new("."));
        assert!(machine.cores > 0);
        assert_eq!(machine.version, env!("CARGO_PKG_VERSION"));
        assert!(!machine.commit.is_empty());
        assert!(["debug", "release"].contains(&machine.build.as_str()));
    }
}
