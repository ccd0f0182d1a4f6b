//! What the appender has published of a segment and readers go by: no lock in either direction.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use parking_lot::Mutex;

use crate::types::Offset;

/// The published ends. One writer: the appender.
#[derive(Debug)]
pub(super) struct Published {
    next_offset: AtomicI64,
    len: AtomicU64,
    truncations: AtomicU64,
    largest: Largest,
}

/// The ends at one moment. A read made under it is good as long as no truncation came in between.
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

impl Published {
    pub(super) fn new(len: u64, next_offset: Offset) -> Self {
        Self {
            next_offset: AtomicI64::new(next_offset),
            len: AtomicU64::new(len),
            truncations: AtomicU64::new(0),
            largest: Largest::default(),
        }
    }

    /// The ends now: all offsets below `next_offset` lie below `len`.
    pub(super) fn view(&self) -> View {
        // Truncations first: a truncation lowers the ends, then counts itself, then touches the
        // file. Who sees the old count sees that the count changed once the file may have.
        let truncations = self.truncations.load(Ordering::SeqCst);
        let next_offset = self.next_offset.load(Ordering::SeqCst);
        View { truncations, next_offset, len: self.len.load(Ordering::SeqCst) }
    }

    /// Whether bytes read under `view` still are what the log holds.
    pub(super) fn is_current(&self, view: &View) -> bool {
        self.truncations.load(Ordering::SeqCst) == view.truncations
    }

    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn next_offset(&self) -> Offset {
        self.next_offset.load(Ordering::Acquire)
    }

    /// Batches up to `len` and `next_offset` are written.
    pub(super) fn appended(&self, len: u64, next_offset: Offset) {
        debug_assert!(len >= self.len() && next_offset >= self.next_offset());
        self.len.store(len, Ordering::SeqCst);
        self.next_offset.store(next_offset, Ordering::SeqCst);
    }

    /// The end was looked for, before anybody shares this.
    pub(super) fn found_end(&self, next_offset: Offset) {
        self.next_offset.store(next_offset, Ordering::SeqCst);
    }

    /// All from `len` and `next_offset` on is about to be cut off.
    pub(super) fn truncated(&self, len: u64, next_offset: Offset) {
        self.next_offset.store(next_offset, Ordering::SeqCst);
        self.len.store(len, Ordering::SeqCst);
        self.truncations.fetch_add(1, Ordering::SeqCst);
    }

    /// The largest timestamp, `None` where it was not looked for yet.
    pub(super) fn largest(&self) -> Option<LargestTimestamp> {
        self.largest.get()
    }

    /// By the appender.
    pub(super) fn set_largest(&self, largest: LargestTimestamp) {
        let _writer = self.largest.writer.lock();
        self.largest.set(largest);
    }

    /// By a reader who looked for it under `view`. What the appender says goes before.
    pub(super) fn suggest_largest(&self, view: &View, largest: LargestTimestamp) {
        let _writer = self.largest.writer.lock();
        if self.largest.get().is_none() && self.is_current(view) && self.view() == *view {
            self.largest.set(largest);
        }
    }
}

/// Largest timestamp, milliseconds, and the last offset of the earliest batch that holds it; `None`
/// where no batch has a timestamp.
pub(super) type LargestTimestamp = Option<(i64, Offset)>;

/// Two words that belong together. A sequence lock: a reader repeats while a write is under way and
/// never makes the writer wait. Writers exclude each other; there are two only where a sealed
/// segment, whose readers look for the timestamp themselves, is being opened for append.
#[derive(Debug)]
struct Largest {
    writer: Mutex<()>,
    sequence: AtomicU64,
    timestamp: AtomicI64,
    offset: AtomicI64,
}

impl Largest {
    const NONE: i64 = -1;
    const UNKNOWN: i64 = i64::MIN;

    fn set(&self, largest: LargestTimestamp) {
        let (timestamp, offset) = largest.unwrap_or((Self::NONE, Self::NONE));
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.timestamp.store(timestamp, Ordering::Relaxed);
        self.offset.store(offset, Ordering::Relaxed);
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    fn get(&self) -> Option<LargestTimestamp> {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let timestamp = self.timestamp.load(Ordering::Relaxed);
            let offset = self.offset.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if !before.is_multiple_of(2) || self.sequence.load(Ordering::Relaxed) != before {
                std::hint::spin_loop();
                continue;
            }
            return match timestamp {
                Self::UNKNOWN => None,
                Self::NONE => Some(None),
                timestamp => Some(Some((timestamp, offset))),
            };
        }
    }
}

impl Default for Largest {
    fn default() -> Self {
        Self {
            writer: Mutex::new(()),
            sequence: AtomicU64::new(0),
            timestamp: AtomicI64::new(Self::UNKNOWN),
            offset: AtomicI64::new(Self::NONE),
        }
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
}
