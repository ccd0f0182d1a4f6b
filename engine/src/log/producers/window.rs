//! The last batches of one producer id, by which a repeated send is recognised
//! (Kafka: `ProducerStateEntry`, `BatchMetadata`).

use crate::{limits::PRODUCER_WINDOW, types::Offset};

/// What is remembered of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMeta {
    /// Sequence of its last record, −1 when it has none.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset less first offset, which is last sequence less first sequence too.
    pub offset_delta: i32,
    /// Its largest timestamp, milliseconds.
    pub timestamp: i64,
}

impl BatchMeta {
    /// Sequence of its first record; wraps below 0 to `i32::MAX`.
    pub fn first_sequence(&self) -> i32 {
        const SEQUENCES: i64 = i32::MAX as i64 + 1;
        if self.last_sequence < 0 {
            return -1;
        }
        (self.last_sequence as i64 - self.offset_delta as i64).rem_euclid(SEQUENCES) as i32
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset - self.offset_delta as i64
    }
}

/// The last [`PRODUCER_WINDOW`] batches of one epoch, oldest first. No heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Filled from the front.
    batches: [Option<BatchMeta>; PRODUCER_WINDOW],
}

impl Window {
    /// Adds the newest batch; the oldest goes when the window is full.
    pub fn push(&mut self, batch: BatchMeta) {
        if let Some(free) = self.batches.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(batch);
        } else {
            self.batches.rotate_left(1);
            self.batches[PRODUCER_WINDOW - 1] = Some(batch);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The batches, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &BatchMeta> {
        self.batches.iter().flatten()
    }

    /// The newest batch.
    pub fn last(&self) -> Option<&BatchMeta> {
        self.iter().next_back()
    }

    /// The batch with exactly these sequences.
    pub fn find(&self, first_sequence: i32, last_sequence: i32) -> Option<&BatchMeta> {
        self.iter().find(|batch| {
            batch.last_sequence == last_sequence && batch.first_sequence() == first_sequence
        })
    }
}

/// Whether `next` follows `last`; −1 stands for none. Sequences wrap from `i32::MAX` to 0.
pub(super) fn follows(last: i32, next: i32) -> bool {
    next == sequence_after(last)
}

/// The sequence that follows `last`.
pub(super) fn sequence_after(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(last_sequence: i32, offset_delta: i32) -> BatchMeta {
        BatchMeta { last_sequence, last_offset: 100, offset_delta, timestamp: 7 }
    }

    #[test]
    fn five_batches_are_remembered() {
        let mut window = Window::default();
        assert_eq!(window.last(), None);
        for sequence in 0..7 {
            window.push(batch(sequence, 0));
        }
        let sequences: Vec<i32> = window.iter().map(|batch| batch.last_sequence).collect();
        assert_eq!(sequences, [2, 3, 4, 5, 6]);
        assert_eq!(window.find(1, 1), None);
        assert_eq!(window.find(2, 2), Some(&batch(2, 0)));
        assert_eq!(window.find(2, 3), None);
        window.clear();
        assert_eq!(window, Window::default());
    }

    #[test]
    fn sequences_wrap_both_ways() {
        assert_eq!(batch(2, 5).first_sequence(), i32::MAX - 2);
        assert_eq!(batch(5, 5).first_sequence(), 0);
        assert_eq!(batch(-1, 5).first_sequence(), -1);
        assert!(follows(i32::MAX, 0) && follows(-1, 0) && follows(4, 5));
        assert!(!follows(4, 4) && !follows(i32::MAX, 1) && !follows(-1, 1));
    }
}
