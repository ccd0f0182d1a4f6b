//! The topics that a producer has sent to, by number. A send finds its topic without a lock, a hash
//! or a reference count: places are only ever filled, and stay where they are.

use std::sync::{Arc, OnceLock};

use super::queue::TopicQueues;

/// A table that grows by chunks of doubling size: number n stands in chunk ⌊log2(n + 1)⌋.
#[derive(Debug)]
pub(super) struct Topics {
    chunks: [OnceLock<Chunk>; CHUNKS],
}

type Chunk = Box<[OnceLock<Arc<TopicQueues>>]>;

/// As many as all numbers of 32 bits need.
const CHUNKS: usize = 33;

impl Topics {
    pub(super) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// The queues of topic `number`, if they are here.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Arc<TopicQueues>> {
        let (chunk, at) = place(number);
        self.chunks[chunk].get()?[at].get()
    }

    /// The queues of topic `number`, made when they are not here.
    pub(super) fn get_or_add(
        &self,
        number: u32,
        make: impl FnOnce() -> TopicQueues,
    ) -> &Arc<TopicQueues> {
        let (chunk, at) = place(number);
        let places = || (0..1_usize << chunk).map(|_| OnceLock::new()).collect();
        self.chunks[chunk].get_or_init(places)[at].get_or_init(|| Arc::new(make()))
    }

    /// All that are here.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<TopicQueues>> {
        self.chunks.iter().filter_map(OnceLock::get).flatten().filter_map(OnceLock::get)
    }
}

#[inline]
fn place(number: u32) -> (usize, usize) {
    let counted = u64::from(number) + 1;
    let chunk = counted.ilog2();
    (chunk as usize, (counted - (1 << chunk)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_place() {
        let places: Vec<_> = (0..8).map(place).collect();
        assert_eq!(places, [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0)]);
        assert_eq!(place(u32::MAX), (32, 0));
    }
}
