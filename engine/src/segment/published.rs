//! What the appender has published of a segment and readers go by: no lock in either direction.

use std::array;

use crate::{
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering, fence},
        spin_loop,
    },
    types::Offset,
};

/// The published ends. One writer: the appender.
#[derive(Debug)]
pub(super) struct Published {
    /// Length, offset behind the last batch, truncations so far: a [`View`]. They are read together:
    /// a length of before a truncation beside an offset of behind it would be taken for damage.
    ends: Together<3>,
    /// A timestamp and an offset: a [`LargestTimestamp`].
    largest: Together<2>,
}

/// The ends at one moment: the batches below `len` are those below `next_offset`. A read made under it
/// is good as long as no truncation came in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) len: u64,
    pub(super) next_offset: Offset,
    truncations: u64,
}

impl View {
    /// Whether no truncation lies between this view and `other`.
    pub(super) fn has_same_truncations(&self, other: &Self) -> bool {
        self.truncations == other.truncations
    }

    /// What is left of this view once the log is cut to `len` and `next_offset`.
    pub(super) fn cut(self, len: u64, next_offset: Offset) -> Self {
        Self { len, next_offset, ..self }
    }
}

/// Places in [`Published::ends`].
const LEN: usize = 0;
const NEXT_OFFSET: usize = 1;
const TRUNCATIONS: usize = 2;
/// Timestamps in [`Published::largest`]: there is none, and it was not looked for.
const NO_TIMESTAMP: i64 = -1;
const UNKNOWN: i64 = i64::MIN;

impl Published {
    pub(super) fn new(len: u64, next_offset: Offset) -> Self {
        Self {
            ends: Together::new([len as i64, next_offset, 0]),
            largest: Together::new([UNKNOWN, -1]),
        }
    }

    /// The ends now.
    pub(super) fn view(&self) -> View {
        let [len, next_offset, truncations] = self.ends.get();
        View { len: len as u64, next_offset, truncations: truncations as u64 }
    }

    /// Whether bytes read under `view` still are what the log holds: a truncation is published before
    /// it touches the file.
    pub(super) fn is_current(&self, view: &View) -> bool {
        if race!(ViewNotConfirmed) {
            return true;
        }
        // Whoever has read bytes of behind a truncation sees it here.
        if !race!(ReadNotFenced) {
            fence(Ordering::Acquire);
        }
        self.ends.word(TRUNCATIONS) as u64 == view.truncations
    }

    pub(super) fn len(&self) -> u64 {
        self.ends.word(LEN) as u64
    }

    pub(super) fn next_offset(&self) -> Offset {
        self.ends.word(NEXT_OFFSET)
    }

    /// Batches up to `len` and `next_offset` are written.
    pub(super) fn appended(&self, len: u64, next_offset: Offset) {
        debug_assert!(len >= self.len() && next_offset >= self.next_offset());
        self.ends.update(|[_, _, truncations]| [len as i64, next_offset, truncations]);
    }

    /// The end was looked for, before anybody shares this.
    pub(super) fn found_end(&self, next_offset: Offset) {
        self.ends.update(|[len, _, truncations]| [len, next_offset, truncations]);
    }

    /// All from `len` and `next_offset` on is about to be cut off.
    pub(super) fn truncated(&self, len: u64, next_offset: Offset) {
        self.ends.update(|[_, _, truncations]| [len as i64, next_offset, truncations + 1]);
        // Seen before what is done to the file from now on: no store orders what follows it.
        if !race!(CutNotFenced) {
            fence(Ordering::Release);
        }
    }

    /// The largest timestamp, `None` where it was not looked for yet.
    pub(super) fn largest(&self) -> Option<LargestTimestamp> {
        match self.largest.get() {
            [UNKNOWN, _] => None,
            [NO_TIMESTAMP, _] => Some(None),
            [timestamp, offset] => Some(Some((timestamp, offset))),
        }
    }

    /// By the appender.
    pub(super) fn set_largest(&self, largest: LargestTimestamp) {
        self.largest.update(|_| words_of(largest));
    }

    /// By a reader who looked for it under `view`. What the appender says goes before.
    pub(super) fn suggest_largest(&self, view: &View, largest: LargestTimestamp) {
        self.largest.update(|known| {
            let is_wanted =
                (known[0] == UNKNOWN && self.view() == *view) || race!(SuggestedBlindly);
            if is_wanted { words_of(largest) } else { known }
        });
    }
}

/// Largest timestamp, milliseconds, and the last offset of the earliest batch that holds it; `None`
/// where no batch has a timestamp.
pub(super) type LargestTimestamp = Option<(i64, Offset)>;

fn words_of(largest: LargestTimestamp) -> [i64; 2] {
    let (timestamp, offset) = largest.unwrap_or((NO_TIMESTAMP, -1));
    [timestamp, offset]
}

/// Words that belong together. A sequence lock: a reader repeats while a write is under way and never
/// makes the writer wait. Writers exclude each other; there are two only where a sealed segment, whose
/// readers look for the timestamp themselves, is being opened for append.
#[derive(Debug)]
struct Together<const N: usize> {
    writer: Mutex<()>,
    /// Odd while a write is under way.
    sequence: AtomicU64,
    words: [AtomicI64; N],
}

impl<const N: usize> Together<N> {
    fn new(words: [i64; N]) -> Self {
        let words = words.map(AtomicI64::new);
        Self { writer: Mutex::new(()), sequence: AtomicU64::new(0), words }
    }

    fn update(&self, change: impl FnOnce([i64; N]) -> [i64; N]) {
        let _writer = self.writer.lock();
        let before = array::from_fn(|at| self.words[at].load(Ordering::Relaxed));
        let after = change(before);
        let sequence = self.sequence.load(Ordering::Relaxed);
        if !race!(WriteNotShown) {
            self.sequence.store(sequence + 1, Ordering::Relaxed);
        }
        // Who sees a word that is written below sees this mark, and what was done before.
        if !race!(WriteNotFenced) {
            fence(Ordering::Release);
        }
        for (word, value) in self.words.iter().zip(after) {
            word.store(value, Ordering::Relaxed);
        }
        // Who sees this sees the words.
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    fn get(&self) -> [i64; N] {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let words = array::from_fn(|at| self.words[at].load(Ordering::Relaxed));
            if !race!(LookNotFenced) {
                fence(Ordering::Acquire);
            }
            let after = self.sequence.load(Ordering::Relaxed);
            if before.is_multiple_of(2) && (before == after || race!(SequenceNotRechecked)) {
                return words;
            }
            spin_loop();
        }
    }

    /// One word, without its neighbours. Who sees it sees what was done before it was written: this is behind the
    /// fence in `update`.
    fn word(&self, at: usize) -> i64 {
        self.words[at].load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_never_torn() {
        let published = Published::new(0, 0);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while last < 50_000 {
                    if let Some(Some((timestamp, offset))) = published.largest() {
                        assert_eq!(offset, timestamp * 3);
                        last = timestamp;
                    }
                }
            });
            for timestamp in 1..=50_000 {
                published.set_largest(Some((timestamp, timestamp * 3)));
            }
            reader.join().unwrap();
        });
        published.set_largest(None);
        assert_eq!(published.largest(), Some(None));
    }

    #[test]
    fn the_ends_fit_each_other_whatever_is_cut() {
        let published = Published::new(0, 0);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let view = published.view();
                    assert_eq!(view.len, view.next_offset as u64 * 7, "{view:?}");
                }
            });
            for round in 1..=20_000 {
                published.appended(round % 50 * 7 + 700, (round % 50) as i64 + 100);
                published.truncated(round % 90 * 7, (round % 90) as i64);
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_readers_finding_yields_to_the_appender() {
        let published = Published::new(100, 10);
        let view = published.view();
        assert_eq!(published.largest(), None);
        published.truncated(50, 5);
        published.suggest_largest(&view, Some((9, 9)));
        assert_eq!(published.largest(), None);
        published.suggest_largest(&published.view(), Some((4, 4)));
        published.suggest_largest(&published.view(), Some((5, 5)));
        assert_eq!(published.largest(), Some(Some((4, 4))));
    }

    #[test]
    fn a_truncation_outdates_older_views() {
        let published = Published::new(100, 10);
        let view = published.view();
        published.appended(200, 20);
        assert!(published.is_current(&view));
        published.truncated(50, 5);
        assert!(!published.is_current(&view));
        assert_eq!((published.view().len, published.view().next_offset), (50, 5));
    }

    /// Whoever reads while a write is under way might see half of it.
    #[test]
    fn a_reader_waits_for_the_end_of_a_write() {
        let words = Together::new([1, 2]);
        words.update(|[a, b]| [a + 1, b + 1]);
        assert_eq!(
            words.sequence.load(Ordering::Relaxed),
            2,
            "even at rest, another one each time"
        );
        words.sequence.store(3, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let words = &words;
            scope.spawn(move || tell.send(words.get()));
            let early = told.recv_timeout(std::time::Duration::from_millis(50));
            words.sequence.store(4, Ordering::Relaxed);
            assert!(early.is_err(), "{early:?}");
            assert_eq!(told.recv(), Ok([2, 3]));
        });
    }
}
