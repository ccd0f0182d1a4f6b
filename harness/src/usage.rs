//! What this process has used so far.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Totals since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all threads, user and system, nanoseconds. Work that the kernel does elsewhere
    /// (writing pages back, interrupts) is none of it.
    pub cpu_ns: u64,
    /// Bytes that the process made the kernel write to a disk, in whole pages
    /// (`write_bytes` of `/proc/self/io`); `None` where the system does not count them. The file
    /// system's journal is none of it.
    pub disk_bytes: Option<u64>,
}

impl Usage {
    /// Totals of now.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_ns = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        Self { cpu_ns, disk_bytes: disk_bytes() }
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            disk_bytes: self
                .disk_bytes
                .zip(earlier.disk_bytes)
                .map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

/// CPU time of the calling thread, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn disk_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_cpu_time() {
        let before = Usage::now();
        let sum: u64 = std::hint::black_box((0..3_000_000_u64).map(|n| n ^ (n >> 3)).sum());
        assert!(sum > 0);
        assert!(Usage::now().since(before).cpu_ns > 0);
    }
}
