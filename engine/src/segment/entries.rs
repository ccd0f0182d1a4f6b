//! An append-only table in memory: one writer, any number of readers, no lock. Chunks of doubling
//! size never move, and the count is published after the words it covers.

use std::{fmt, sync::OnceLock};

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Entries of the first chunk; each later chunk holds twice the one before.
const FIRST_CHUNK: usize = 64;
/// Chunks: room for 2^31 entries, more than the bytes of a segment could index.
const CHUNKS: usize = 25;

/// Entries of `WORDS` words each.
///
/// After a truncation a slot is written again. A reader that still searches with the old count may
/// then see an entry of mixed words: it gets no undefined value, but a wrong one, which is why every
/// entry is checked against the log before it is believed.
pub(super) struct Entries<const WORDS: usize> {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
    len: AtomicUsize,
}

impl<const WORDS: usize> Entries<WORDS> {
    pub(super) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], len: AtomicUsize::new(0) }
    }

    /// Adds an entry and publishes it. One writer at a time: the appender, or whoever still builds
    /// the table.
    pub(super) fn push(&self, words: [u64; WORDS]) {
        let index = self.len.load(Ordering::Relaxed);
        let (chunk, slot) = place(index);
        let slots = self.chunks[chunk].get_or_init(|| {
            (0..(FIRST_CHUNK << chunk) * WORDS).map(|_| AtomicU64::new(0)).collect()
        });
        for (slot, word) in slots[slot * WORDS..].iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        let ordering = if race!(EntryNotReleased) { Ordering::Relaxed } else { Ordering::Release };
        self.len.store(index + 1, ordering);
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// The entry at `index`; `None` past the end.
    pub(super) fn get(&self, index: usize) -> Option<[u64; WORDS]> {
        if index >= self.len() {
            return None;
        }
        let (chunk, slot) = place(index);
        let (entries, _) = self.chunks[chunk].get()?.as_chunks();
        Some(words(&entries[slot]))
    }

    pub(super) fn last(&self) -> Option<[u64; WORDS]> {
        self.get(self.len().checked_sub(1)?)
    }

    /// How many entries, from the first on, fulfil `before`, which must hold for a prefix.
    pub(super) fn partition_point(&self, before: impl Fn([u64; WORDS]) -> bool) -> usize {
        let mut end = self.len();
        // The last chunk holds half of all: from there to the first, until one begins within the prefix.
        for chunk in (0..=place(end).0).rev() {
            let start = first_of(chunk);
            let Some(slots) = self.chunks[chunk].get().filter(|_| start < end) else { continue };
            let (entries, _) = slots[..(end - start) * WORDS].as_chunks();
            if chunk == 0 || before(words(&entries[0])) {
                return start + entries.partition_point(|entry| before(words(entry)));
            }
            end = start;
        }
        0
    }

    /// Drops the entries from `len` on. By the writer only.
    pub(super) fn truncate(&self, len: usize) {
        if len < self.len() {
            self.len.store(len, Ordering::Release);
        }
    }
}

impl<const WORDS: usize> fmt::Debug for Entries<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn words<const WORDS: usize>(slots: &[AtomicU64; WORDS]) -> [u64; WORDS] {
    std::array::from_fn(|word| slots[word].load(Ordering::Relaxed))
}

/// Chunk of an entry, and its place there.
fn place(index: usize) -> (usize, usize) {
    let chunk = (index / FIRST_CHUNK + 1).ilog2() as usize;
    (chunk, index - first_of(chunk))
}

/// The first entry of a chunk.
const fn first_of(chunk: usize) -> usize {
    FIRST_CHUNK * ((1 << chunk) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other() {
        let mut expected = (0, 0);
        for index in 0..10_000 {
            assert_eq!(place(index), expected);
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn entries_are_found_after_growth_and_truncation() {
        let entries = Entries::<2>::new();
        for n in 0..1_000 {
            entries.push([n, n * 10]);
        }
        assert_eq!(entries.get(999), Some([999, 9990]));
        assert_eq!(entries.get(1_000), None);
        for point in [0, 1, 63, 64, 65, 191, 192, 193, 447, 448, 777, 999, 1_000] {
            assert_eq!(entries.partition_point(|[n, _]| n < point) as u64, point);
        }
        for len in [0, 1, 63, 64, 65, 192] {
            let entries = Entries::<1>::new();
            (0..len).for_each(|n| entries.push([n]));
            for point in 0..=len {
                assert_eq!(entries.partition_point(|[n]| n < point), point as usize);
            }
            assert_eq!(entries.partition_point(|_| true), len as usize);
        }
        entries.truncate(100);
        assert_eq!((entries.len(), entries.get(100)), (100, None));
        entries.push([7, 8]);
        assert_eq!(entries.last(), Some([7, 8]));
        entries.truncate(500);
        assert_eq!(entries.len(), 101);
    }

    #[test]
    fn readers_see_whole_entries_while_one_appends() {
        let entries = Entries::<2>::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0;
                while seen < 20_000 {
                    seen = entries.len();
                    if let Some(last) = seen.checked_sub(1) {
                        assert_eq!(entries.get(last), Some([last as u64, !(last as u64)]));
                    }
                }
            });
            for n in 0..20_000 {
                entries.push([n, !n]);
            }
            reader.join().unwrap();
        });
    }
}
