//! When which partition's batches are due. Nothing scans all partitions: full batches stand in a
//! ready queue, and since linger is one duration for all, open ones stand in a plain FIFO by the
//! time that they were opened. The same lock hands out each batch's number, by which a flush knows
//! what came before it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::queue::PartitionQueue;
use crate::{
    commit::Watermark,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What the sender has to do, and what it did.
#[derive(Debug)]
pub(super) struct Schedule {
    linger: Duration,
    state: Mutex<State>,
    changed: Condvar,
    /// Every batch with a lower number is decided.
    decided: Watermark,
    /// Nothing is sent any more. Set under the state's lock, read without.
    aborting: AtomicBool,
}

/// A partition with batches to send.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) partition: Arc<PartitionQueue>,
    /// Its open batch is due too, when its number is below.
    pub(super) open_below: u64,
    /// The partition rested until now.
    pub(super) rested: bool,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Due>,
    lingering: VecDeque<Lingering>,
    /// Length at which the FIFO is rid of batches that left already.
    tidy_at: usize,
    /// Partitions that wait before a batch is tried again, or their log asked, by the end of the wait.
    resting: VecDeque<(Duration, Arc<PartitionQueue>)>,
    /// Shares of each batch, from number `first` up, that are not decided.
    undecided: VecDeque<u32>,
    first: u64,
    /// Open batches below this number don't linger any more.
    hurry_below: u64,
    /// Somebody waits for memory: nothing lingers until the next look.
    exhausted: bool,
    closing: bool,
    /// The sender sleeps.
    asleep: bool,
}

#[derive(Debug)]
struct Lingering {
    due: Duration,
    partition: Arc<PartitionQueue>,
    number: u64,
}

/// What the sender finds when it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// There is something to send.
    Due,
    /// Nothing is due, perhaps later.
    Nothing,
    /// The producer closes and all is decided, or shall not be.
    Finished,
}

/// Shortest FIFO that is worth tidying.
const TIDY: usize = 256;

impl Schedule {
    pub(super) fn new(linger: Duration) -> Self {
        let state = State { tidy_at: TIDY, ..State::default() };
        Self {
            linger,
            state: Mutex::new(state),
            changed: Condvar::new(),
            decided: Watermark::new(0),
            aborting: AtomicBool::new(false),
        }
    }

    /// A batch was opened at `now`: gives its number, and sees to it that it is sent in time.
    pub(super) fn opened(&self, partition: &Arc<PartitionQueue>, now: Duration) -> u64 {
        let mut state = self.state.lock();
        let number = state.next();
        state.undecided.push_back(1);
        let partition = partition.clone();
        if self.linger.is_zero() {
            state.ready.push_back(Due { partition, open_below: number + 1, rested: false });
            self.wake(&mut state);
        } else {
            // An earlier deadline, where there is one, wakes the sender first.
            let first = state.lingering.is_empty();
            let due = now.saturating_add(self.linger);
            state.lingering.push_back(Lingering { due, partition, number });
            state.tidy();
            if first {
                self.wake(&mut state);
            }
        }
        number
    }

    /// A batch of `partition` is complete.
    pub(super) fn full(&self, partition: &Arc<PartitionQueue>) {
        // Without linger it is announced since it was opened.
        if !self.linger.is_zero() {
            self.again(partition);
        }
    }

    /// There is more to send to `partition`.
    pub(super) fn again(&self, partition: &Arc<PartitionQueue>) {
        let mut state = self.state.lock();
        let partition = partition.clone();
        state.ready.push_back(Due { partition, open_below: 0, rested: false });
        self.wake(&mut state);
    }

    /// `partition` is to be looked at again at `until`.
    pub(super) fn rest(&self, partition: &Arc<PartitionQueue>, until: Duration) {
        let resting = &mut self.state.lock().resting;
        // Nearly always the end: only who expires meanwhile waits less than the others.
        let place = resting.partition_point(|(other, _)| *other <= until);
        resting.insert(place, (until, partition.clone()));
    }

    /// Batch `number` goes on as `more` batches more.
    pub(super) fn split(&self, number: u64, more: u32) {
        let mut state = self.state.lock();
        let index = (number - state.first) as usize;
        state.undecided[index] += more;
    }

    /// A share of each of these batches is decided.
    pub(super) fn decided(&self, numbers: &[u64]) {
        let mut state = self.state.lock();
        for number in numbers {
            let index = (number - state.first) as usize;
            state.undecided[index] -= 1;
        }
        while state.undecided.front() == Some(&0) {
            state.undecided.pop_front();
            state.first += 1;
        }
        if state.closing {
            self.wake(&mut state);
        }
        let first = state.first;
        drop(state);
        self.decided.raise(first as i64);
    }

    /// Makes every batch that is open now due. Gives the number that [`Self::watermark`] reaches
    /// when all that was sent before is decided.
    pub(super) fn hurry(&self) -> i64 {
        let mut state = self.state.lock();
        state.hurry_below = state.next();
        if !race!(HurryInSilence) {
            self.wake(&mut state);
        }
        state.hurry_below as i64
    }

    /// Somebody waits for memory.
    pub(super) fn exhausted(&self) {
        let mut state = self.state.lock();
        if !race!(ExhaustedUnsaid) {
            state.exhausted = true;
            self.wake(&mut state);
        }
    }

    /// Every batch with a lower number is decided.
    pub(super) fn watermark(&self) -> &Watermark {
        &self.decided
    }

    /// Nothing lingers from now on; [`Look::Finished`] follows when all is decided. Gives the
    /// number that [`Self::watermark`] then reaches.
    pub(super) fn close(&self) -> i64 {
        let mut state = self.state.lock();
        state.closing = true;
        if !race!(CloseInSilence) {
            self.wake(&mut state);
        }
        state.next() as i64
    }

    /// Nothing more is sent: [`Look::Finished`] is next.
    pub(super) fn abort(&self) {
        let mut state = self.state.lock();
        self.aborting.store(true, Ordering::Relaxed);
        self.wake(&mut state);
    }

    /// Whether nothing more is to be sent.
    pub(super) fn is_aborting(&self) -> bool {
        self.aborting.load(Ordering::Relaxed)
    }

    /// Moves what is due at `now` to the end of `into`; nothing lingers while somebody is `waiting`
    /// for memory.
    pub(super) fn look(&self, now: Duration, waiting: bool, into: &mut VecDeque<Due>) -> Look {
        let mut state = self.state.lock();
        if self.is_aborting() || state.is_finished() {
            return Look::Finished;
        }
        state.exhausted |= waiting;
        into.append(&mut state.ready);
        while state.lingering.front().is_some_and(|first| state.is_over(first, now)) {
            let first = state.lingering.pop_front();
            into.extend(first.map(|Lingering { partition, number, .. }| Due {
                partition,
                open_below: number + 1,
                rested: false,
            }));
        }
        state.exhausted = false;
        while let Some((_, partition)) = state.resting.pop_front_if(|(until, _)| *until <= now) {
            into.push_back(Due { partition, open_below: 0, rested: true });
        }
        if into.is_empty() { Look::Nothing } else { Look::Due }
    }

    /// Blocks until [`look`](Self::look) may have something to tell. While somebody is `waiting` for
    /// memory that is at once, where a batch is open: it may have been opened since the last look.
    pub(super) fn sleep(&self, now: Duration, waiting: bool) {
        let mut state = self.state.lock();
        state.exhausted |= waiting;
        let deadline = if self.is_aborting() { Some(now) } else { state.next_deadline(now) };
        let deadline = deadline.filter(|_| !race!(SleepsUnasked));
        let wait = deadline.map(|deadline| deadline.saturating_sub(now));
        if wait == Some(Duration::ZERO) {
            return;
        }
        state.asleep = true;
        match wait {
            Some(wait) => {
                self.changed.wait_for(&mut state, wait);
            }
            None => self.changed.wait(&mut state),
        }
        state.asleep = false;
    }

    /// Entries of the FIFO.
    #[cfg(test)]
    pub(super) fn lingering(&self) -> usize {
        self.state.lock().lingering.len()
    }

    fn wake(&self, state: &mut State) {
        // Once is enough, however many batches become due before the sender runs.
        if std::mem::take(&mut state.asleep) {
            self.changed.notify_one();
        }
    }
}

impl State {
    /// Number of the next batch.
    fn next(&self) -> u64 {
        self.first + self.undecided.len() as u64
    }

    fn is_finished(&self) -> bool {
        self.closing && self.undecided.is_empty()
    }

    fn is_over(&self, batch: &Lingering, now: Duration) -> bool {
        let hurried = batch.number < self.hurry_below || self.exhausted || self.closing;
        hurried || batch.due <= now
    }

    /// When there will be something to do, if nothing new comes; `now` where that is at once.
    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        if !self.ready.is_empty() || self.is_finished() {
            return Some(now);
        }
        let lingering = self.lingering.front();
        let lingering =
            lingering.map(|first| if self.is_over(first, now) { now } else { first.due });
        let resting = self.resting.front().map(|(until, _)| *until);
        lingering.into_iter().chain(resting).min()
    }

    /// Lets go of batches that left when they were full, often enough that the FIFO has at most
    /// twice as many entries as open batches, seldom enough to cost next to nothing.
    fn tidy(&mut self) {
        if self.lingering.len() >= self.tidy_at {
            self.lingering.retain(|batch| !batch.partition.has_left(batch.number));
            self.tidy_at = (2 * self.lingering.len()).max(TIDY);
        }
    }
}
