//! Makes sure that the page cache will find memory that is really there.
//!
//! Virtual machines give free memory back to their host. Touching it again costs about 8 µs per
//! 4 KiB, and a buffered append falls from 4.6 GB/s to 0.2–0.6 GB/s: more than anything that is
//! measured here. So as much as a run will use is touched and freed right before it.

use std::thread;

use crate::machine;

/// Of the memory that is available, at most one part in this many is touched.
const PART: u64 = 2;
const CHUNK: usize = 64 << 20;

/// Touches and frees `wanted` bytes, or half of what is available; says how many.
pub fn touch(wanted: u64) -> u64 {
    let bytes = wanted.min(machine::available_memory() / PART);
    let chunks = (bytes as usize).div_ceil(CHUNK);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(chunks);
    // All chunks are held until the last is touched: else the same pages would be touched again.
    thread::scope(|scope| {
        let share = |thread| chunks / threads + usize::from(thread < chunks % threads);
        let touching: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    (0..share(thread)).map(|_| vec![1_u8; CHUNK]).collect::<Vec<_>>()
                })
            })
            .collect();
        let held: Vec<_> = touching.into_iter().filter_map(|thread| thread.join().ok()).collect();
        drop(std::hint::black_box(held));
    });
    (chunks * CHUNK) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_chunks_are_touched() {
        assert_eq!(touch(0), 0);
        let touched = touch(1);
        assert!(touched == CHUNK as u64 || machine::available_memory() == 0);
    }
}
