//! Makes sure that the page cache will find memory that is really there.
//!
//! Virtual machines give free memory back to their host. Touching it again costs about 8 µs per
//! 4 KiB, and a buffered append falls from 4.6 GB/s to 0.2–0.6 GB/s: more than anything that is
//! measured here. So as much as a run will use is touched and freed right before it.

use std::thread;

use crate::{machine, stop::Stop};

/// Of the memory that is available, at most one part in this many is touched.
const PART: u64 = 2;
const CHUNK: usize = 64 << 20;

/// Touches and frees `wanted` bytes, or half of what is available; says how many. A wish to stop ends
/// it.
pub fn touch(wanted: u64, stop: &Stop) -> u64 {
    let bytes = wanted.min(machine::available_memory() / PART);
    let chunks = (bytes as usize).div_ceil(CHUNK);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(chunks);
    // All chunks are held until the last is touched: else the same pages would be touched again.
    thread::scope(|scope| {
        let share = |thread| chunks / threads + usize::from(thread < chunks % threads);
        let touching: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let chunks = (0..share(thread)).take_while(|_| !stop.wished());
                    chunks.map(|_| vec![1_u8; CHUNK]).collect::<Vec<_>>()
                })
            })
            .collect();
        let held: Vec<_> = touching.into_iter().filter_map(|thread| thread.join().ok()).collect();
        let touched: usize = held.iter().map(Vec::len).sum();
        drop(std::hint::black_box(held));
        (touched * CHUNK) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_chunks_are_touched() {
        let stop = Stop::default();
        assert_eq!(touch(0, &stop), 0);
        let touched = touch(1, &stop);
        assert!(touched == CHUNK as u64 || machine::available_memory() == 0);
        stop.wish();
        assert_eq!(touch(u64::MAX, &stop), 0);
    }
}
