//! The fate of a batch, and each record's share of it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::SendError;
use crate::{commit::wait_for, sync::Mutex, types::Offset};

/// Where a record is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Its partition.
    pub partition: u32,
    /// Its offset; `None` with [`Acks::None`](super::Acks::None).
    pub offset: Option<Offset>,
    /// Its timestamp, milliseconds: its own, or the time of the append where the topic says so.
    pub timestamp: i64,
}

/// The acknowledgement of one record, to come: a `Future` that needs no runtime, with blocking
/// forms beside it. The records of a batch share one allocation. Dropping it loses the answer, not
/// the record, as long as the producer is flushed or closed: what is unsent when that is dropped is given up.
#[derive(Debug, Clone)]
pub struct Ack {
    fate: Arc<Fate>,
    slot: Slot,
    timestamp: i64,
}

/// Index of a record in its batch, and place of its waker among those of the batch (`NO_PLACE` before the
/// first poll). One word: two halves, written one by one and moved as one, would have each `send` wait until
/// they and all bytes of the record before them have reached the cache.
#[derive(Debug, Clone, Copy)]
struct Slot(u64);

impl Slot {
    #[inline]
    fn new(index: u32, place: u32) -> Self {
        Self(u64::from(place) << 32 | u64::from(index))
    }

    fn index(self) -> u32 {
        self.0 as u32
    }

    fn place(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

const NO_PLACE: u32 = u32::MAX;

/// What becomes of a batch; one a batch, shared by its records' [`Ack`]s.
#[derive(Debug)]
pub(super) struct Fate {
    partition: u32,
    outcome: OnceLock<Outcome>,
    wakers: Mutex<Vec<Waker>>,
}

#[derive(Debug)]
enum Outcome {
    Accepted {
        base_offset: Option<Offset>,
        append_time: Option<i64>,
        at: Instant,
    },
    Failed {
        error: SendError,
        at: Instant,
    },
    /// The batch was too large and went on as several; each with the index of its first record.
    Split(Vec<(u32, Arc<Fate>)>),
}

impl Ack {
    /// Of the record at `index` of the batch with this fate.
    #[inline]
    pub(super) fn new(fate: &Arc<Fate>, index: u32, timestamp: i64) -> Self {
        Self { fate: fate.clone(), slot: Slot::new(index, NO_PLACE), timestamp }
    }

    /// Blocks until the record is acknowledged or has failed.
    pub fn wait(self) -> Result<RecordMetadata, SendError> {
        // Without a deadline there is always an answer.
        self.answer().or_else(|| wait_for(self, None)).unwrap_or(Err(SendError::Closed))
    }

    /// [`wait`](Self::wait), for at most `timeout`; `None`: nothing is decided yet.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<RecordMetadata, SendError>> {
        self.answer().or_else(|| wait_for(self.clone(), Instant::now().checked_add(timeout)))
    }

    /// Whether the record is acknowledged or has failed.
    pub fn is_done(&self) -> bool {
        self.leaf().0.outcome.get().is_some()
    }

    /// Whether both records travel in one batch, and so have one fate.
    pub fn shares_batch_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.leaf().0, other.leaf().0)
    }

    /// When the batch was acknowledged, or failed; `None` before.
    pub fn acknowledged_at(&self) -> Option<Instant> {
        match self.leaf().0.outcome.get()? {
            Outcome::Accepted { at, .. } | Outcome::Failed { at, .. } => Some(*at),
            Outcome::Split(_) => None,
        }
    }

    fn answer(&self) -> Option<Result<RecordMetadata, SendError>> {
        let (fate, index) = self.leaf();
        match fate.outcome.get()? {
            Outcome::Accepted { base_offset, append_time, .. } => Some(Ok(RecordMetadata {
                partition: fate.partition,
                offset: base_offset.map(|base| base + Offset::from(index)),
                timestamp: append_time.unwrap_or(self.timestamp),
            })),
            Outcome::Failed { error, .. } => Some(Err(error.clone())),
            Outcome::Split(_) => None,
        }
    }

    /// The batch that the record is in now, and its index there: splits are followed.
    fn leaf(&self) -> (&Arc<Fate>, u32) {
        let (mut fate, mut index) = (&self.fate, self.slot.index());
        while let Some(Outcome::Split(parts)) = fate.outcome.get() {
            let part = parts.partition_point(|(first, _)| *first <= index) - 1;
            index -= parts[part].0;
            fate = &parts[part].1;
        }
        (fate, index)
    }
}

impl Future for Ack {
    type Output = Result<RecordMetadata, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(answer) = self.answer() {
                return Poll::Ready(answer);
            }
            let (leaf, index) = self.leaf();
            if !Arc::ptr_eq(leaf, &self.fate) {
                (self.fate, self.slot) = (leaf.clone(), Slot::new(index, NO_PLACE));
            }
            if let Some(place) = self.fate.enter(self.slot.place(), context.waker()) {
                self.slot = Slot::new(self.slot.index(), place);
                return Poll::Pending;
            }
        }
    }
}

impl Fate {
    /// Puts a waker among those to be called, and gives its place; `None`: decided already.
    fn enter(&self, place: u32, waker: &Waker) -> Option<u32> {
        let mut wakers = self.wakers.lock();
        if self.outcome.get().is_some() && !race!(FateNotLookedAt) {
            return None;
        }
        if wakers.get(place as usize).is_some_and(|known| known.will_wake(waker)) {
            return Some(place);
        }
        // Many records of one task in a row share a place. No place is ever overwritten: another
        // record may share it.
        if !wakers.last().is_some_and(|last| last.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        Some(wakers.len() as u32 - 1)
    }

    fn decide(&self, outcome: Outcome) {
        let wakers = {
            let mut wakers = self.wakers.lock();
            let first = self.outcome.set(outcome).is_ok();
            assert!(first, "a batch has one fate");
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The duty to decide a [`Fate`]; only the first decision counts. Dropped without that, by a panic, the
/// batch has failed: no [`Ack`] waits for ever, whatever becomes of the sender.
#[derive(Debug)]
pub(super) struct Promise(Option<Arc<Fate>>);

impl Promise {
    /// Of a batch for `partition`.
    pub(super) fn new(partition: u32) -> Self {
        let (outcome, wakers) = (OnceLock::new(), Mutex::default());
        Self(Some(Arc::new(Fate { partition, outcome, wakers })))
    }

    /// The fate, for an [`Ack`].
    #[inline]
    pub(super) fn fate(&self) -> &Arc<Fate> {
        self.0.as_ref().expect("a promise is kept only once")
    }

    /// The log has the batch; the first record stands at `base_offset`, where that is known.
    pub(super) fn accept(&mut self, base_offset: Option<Offset>, append_time: Option<i64>) {
        self.decide(Outcome::Accepted { base_offset, append_time, at: Instant::now() });
    }

    /// The batch is lost.
    pub(super) fn fail(&mut self, error: SendError) {
        self.decide(Outcome::Failed { error, at: Instant::now() });
    }

    /// The batch goes on as several. `firsts` are the indexes of their first records, from 0 up.
    pub(super) fn split(&mut self, firsts: &[u32]) -> Vec<Self> {
        assert_eq!(firsts.first(), Some(&0), "the first part begins with the first record");
        let partition = self.fate().partition;
        let parts: Vec<Self> = firsts.iter().map(|_| Self::new(partition)).collect();
        let fates = firsts.iter().zip(&parts).map(|(first, part)| (*first, part.fate().clone()));
        self.decide(Outcome::Split(fates.collect()));
        parts
    }

    fn decide(&mut self, outcome: Outcome) {
        if let Some(fate) = self.0.take() {
            fate.decide(outcome);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.decide(Outcome::Failed { error: SendError::Stopped, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
        thread,
    };

    use super::*;

    /// An executor in a few lines: polls what was woken, until all futures are done.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(ack: &mut Ack, count: &Arc<Count>) -> Poll<Result<RecordMetadata, SendError>> {
        Pin::new(ack).poll(&mut Context::from_waker(&Waker::from(count.clone())))
    }

    #[test]
    fn records_of_a_batch_share_its_fate() {
        let mut promise = Promise::new(3);
        let acks: Vec<Ack> = (0..3).map(|index| Ack::new(promise.fate(), index, 50)).collect();
        assert!(!acks[0].is_done() && acks[0].acknowledged_at().is_none());
        assert!(acks[0].wait_timeout(Duration::ZERO).is_none());
        assert!(acks[0].shares_batch_with(&acks[2]));
        promise.accept(Some(100), None);
        for (offset, ack) in (100..).zip(acks) {
            assert!(ack.is_done() && ack.acknowledged_at().is_some());
            let expected = RecordMetadata { partition: 3, offset: Some(offset), timestamp: 50 };
            assert_eq!(ack.wait().unwrap(), expected);
        }
    }

    #[test]
    fn the_time_of_the_append_replaces_the_records_own() {
        let mut promise = Promise::new(0);
        let ack = Ack::new(promise.fate(), 1, 50);
        promise.accept(None, Some(70));
        let expected = RecordMetadata { partition: 0, offset: None, timestamp: 70 };
        assert_eq!(ack.wait().unwrap(), expected);
    }

    #[test]
    fn futures_are_woken_once_a_task() {
        let mut promise = Promise::new(0);
        let (one, two) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut acks: Vec<Ack> = (0..4).map(|index| Ack::new(promise.fate(), index, 0)).collect();
        for (ack, task) in acks.iter_mut().zip([&one, &one, &two, &two]) {
            assert!(poll(ack, task).is_pending());
            assert!(poll(ack, task).is_pending());
        }
        promise.accept(Some(7), None);
        assert_eq!((one.0.load(Ordering::SeqCst), two.0.load(Ordering::SeqCst)), (1, 1));
        assert!(
            matches!(poll(&mut acks[3], &two), Poll::Ready(Ok(done)) if done.offset == Some(10))
        );
    }

    #[test]
    fn a_record_follows_its_batch_through_splits() {
        let mut promise = Promise::new(0);
        let task = Arc::new(Count::default());
        let mut acks: Vec<Ack> = (0..6).map(|index| Ack::new(promise.fate(), index, 0)).collect();
        assert!(poll(&mut acks[4], &task).is_pending());
        let mut parts = promise.split(&[0, 2]);
        assert_eq!(task.0.load(Ordering::SeqCst), 1, "woken to wait for its part");
        assert!(poll(&mut acks[4], &task).is_pending());
        assert!(acks[1].shares_batch_with(&acks[0]) && !acks[1].shares_batch_with(&acks[2]));
        let last = parts.pop().unwrap().split(&[0, 3]);
        for (mut part, base) in parts.into_iter().chain(last).zip([10, 20, 30]) {
            part.accept(Some(base), None);
        }
        let offsets: Vec<_> = acks.into_iter().map(|ack| ack.wait().unwrap().offset).collect();
        assert_eq!(offsets, [10, 11, 20, 21, 22, 30].map(Some));
    }

    #[test]
    fn a_broken_promise_fails_the_batch() {
        let promise = Promise::new(0);
        let ack = Ack::new(promise.fate(), 0, 0);
        let waiting = thread::spawn(|| ack.wait());
        drop(promise);
        assert!(matches!(waiting.join().unwrap(), Err(SendError::Stopped)));
    }
}
