//! `buffer.memory`: bytes that batches may take, first come, first served (Kafka: `BufferPool`).
//!
//! Bytes are taken when a batch is opened and given back when its fate is decided, so that the
//! records that nobody has acknowledged yet never take more. Buffers of `batch.size` are reused.
//! While anybody waits, nobody overtakes: a big record is not starved by small ones.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    record::BatchBuilder,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The memory of one producer.
#[derive(Debug)]
pub(super) struct Pool {
    total: usize,
    /// Capacity of the buffers that are reused.
    buffer_bytes: usize,
    /// Length of the line; a copy that is read without the lock.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    available: usize,
    /// Buffers for reuse; their bytes are part of `available`.
    free: Vec<Vec<u8>>,
    line: VecDeque<Waiter>,
    /// Who left the line with its bytes, and has not fetched them yet.
    served: Vec<u64>,
    arrivals: u64,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    arrival: u64,
    bytes: usize,
    waker: Waker,
}

/// Bytes that were taken, with a buffer; given back on drop.
#[derive(Debug)]
pub(super) struct Room {
    pool: Arc<Pool>,
    bytes: usize,
    buffer: Vec<u8>,
}

/// The pool was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolClosed;

impl Pool {
    /// A pool of `total` bytes that keeps buffers of `buffer_bytes`.
    pub(super) fn new(total: usize, buffer_bytes: usize) -> Arc<Self> {
        let state = State {
            available: total,
            free: Vec::new(),
            line: VecDeque::new(),
            served: Vec::new(),
            arrivals: 0,
            closed: false,
        };
        let waiting = AtomicUsize::new(0);
        Arc::new(Self { total, buffer_bytes, waiting, state: Mutex::new(state) })
    }

    /// Takes `bytes` at once; `None` where they are not free or others wait.
    pub(super) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let pool = if twin!(MemoryUnbounded) { &Self::new(bytes, self.buffer_bytes) } else { self };
        let mut state = pool.state.lock();
        let waits = !state.line.is_empty() && !race!(LineOvertaken);
        if state.closed || waits || state.available < bytes {
            return None;
        }
        state.available -= bytes;
        let buffer = pool.reused_buffer(&mut state, bytes);
        drop(state);
        Some(pool.room(bytes, buffer))
    }

    /// Waits for `bytes`. They must not be more than the pool has.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Take {
        debug_assert!(bytes <= self.total, "{bytes} of {} bytes", self.total);
        Take { pool: self.clone(), bytes, place: None }
    }

    /// Bytes that exist.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Bytes that are free.
    pub(super) fn available(&self) -> usize {
        self.state.lock().available
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Refuses all who wait and all who come.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let line = mem::take(&mut state.line);
        self.waiting.store(0, Ordering::Relaxed);
        drop(state);
        for waiter in line {
            if !race!(CloseTellsNobody) {
                waiter.waker.wake();
            }
        }
    }

    fn room(self: &Arc<Self>, bytes: usize, buffer: Option<Vec<u8>>) -> Room {
        // A new buffer is made outside the lock.
        let buffer = buffer.unwrap_or_else(|| Vec::with_capacity(bytes + BatchBuilder::SLACK));
        Room { pool: self.clone(), bytes, buffer }
    }

    /// A buffer for `bytes` that were just taken, if one is kept; lets go of buffers whose bytes
    /// went to somebody else.
    fn reused_buffer(&self, state: &mut State, bytes: usize) -> Option<Vec<u8>> {
        let buffer = if bytes <= self.buffer_bytes { state.free.pop() } else { None };
        while state.free.len() * self.buffer_bytes > state.available {
            state.free.pop();
        }
        buffer
    }

    fn give_back(&self, bytes: usize, buffer: Vec<u8>) {
        let mut state = self.state.lock();
        state.available += bytes;
        debug_assert!(state.available <= self.total, "more was given back than taken");
        let largest = 2 * self.buffer_bytes + BatchBuilder::SLACK;
        let reusable = (self.buffer_bytes..=largest).contains(&buffer.capacity());
        if reusable && (state.free.len() + 1) * self.buffer_bytes <= state.available {
            state.free.push(buffer);
        }
        self.serve(state);
    }

    /// Serves the line from its front, as far as the bytes go, and lets go of the lock.
    fn serve(&self, mut state: MutexGuard<'_, State>) {
        let mut wakers = Vec::new();
        while let Some(first) = state.line.front().filter(|first| first.bytes <= state.available) {
            state.available -= first.bytes;
            if let Some(waiter) = state.line.pop_front() {
                state.served.push(waiter.arrival);
                wakers.push(waiter.waker);
            }
        }
        self.waiting.store(state.line.len(), Ordering::Relaxed);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Room {
    /// The bytes that were taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The buffer, to build a batch in.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.buffer)
    }

    /// Gives a buffer to be reused when the bytes are given back.
    pub(super) fn put_buffer(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.pool.give_back(self.bytes, mem::take(&mut self.buffer));
    }
}

/// A future that takes bytes from a [`Pool`]. It stands in line from its first poll until it is
/// ready or dropped.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub(super) struct Take {
    pool: Arc<Pool>,
    bytes: usize,
    /// The arrival's number, while in line or served.
    place: Option<u64>,
}

impl Future for Take {
    type Output = Result<Room, PoolClosed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let pool = self.pool.clone();
        let mut state = pool.state.lock();
        if let Some(arrival) = self.place {
            if let Some(index) = state.served.iter().position(|served| *served == arrival) {
                state.served.swap_remove(index);
                self.place = None;
            } else if let Some(waiter) = state.line.iter_mut().find(|one| one.arrival == arrival) {
                waiter.waker.clone_from(context.waker());
                return Poll::Pending;
            } else {
                self.place = None;
                return Poll::Ready(Err(PoolClosed));
            }
        } else if state.closed {
            return Poll::Ready(Err(PoolClosed));
        } else if state.line.is_empty() && self.bytes <= state.available {
            if race!(TakenTwice) {
                drop(state);
                state = pool.state.lock();
            }
            state.available -= self.bytes;
        } else {
            let arrival = state.arrivals;
            state.arrivals += 1;
            let (bytes, waker) = (self.bytes, context.waker().clone());
            state.line.push_back(Waiter { arrival, bytes, waker });
            pool.waiting.store(state.line.len(), Ordering::Relaxed);
            self.place = Some(arrival);
            return Poll::Pending;
        }
        let buffer = pool.reused_buffer(&mut state, self.bytes);
        drop(state);
        Poll::Ready(Ok(pool.room(self.bytes, buffer)))
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        let Some(arrival) = self.place else { return };
        let mut state = self.pool.state.lock();
        if let Some(index) = state.served.iter().position(|served| *served == arrival) {
            state.served.swap_remove(index);
            if !race!(ServedBytesKept) {
                state.available += self.bytes;
            }
        } else {
            state.line.retain(|waiter| waiter.arrival != arrival);
        }
        // Who stood behind may have enough without it.
        if !race!(DropServesNobody) {
            self.pool.serve(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, task::Wake, thread, time::Instant};

    use super::*;
    use crate::commit::wait_for;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn poll(take: &mut Take) -> (Poll<Result<Room, PoolClosed>>, Arc<Flag>) {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        (Pin::new(take).poll(&mut Context::from_waker(&waker)), flag)
    }

    fn taken(take: &mut Take) -> Option<Room> {
        match poll(take).0 {
            Poll::Ready(room) => room.ok(),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_line_is_served_in_order_whatever_the_sizes() {
        let pool = Pool::new(100, 10);
        let held = pool.try_take(95).unwrap();
        let (mut big, mut small) = (pool.take(50), pool.take(1));
        let (first, big_woken) = poll(&mut big);
        let (second, small_woken) = poll(&mut small);
        assert!(
            first.is_pending() && second.is_pending(),
            "5 bytes are free, but the big is first"
        );
        assert!(pool.try_take(1).is_none(), "nobody overtakes the line");
        assert_eq!(pool.waiting(), 2);
        drop(held);
        assert!(big_woken.0.load(Ordering::SeqCst) && small_woken.0.load(Ordering::SeqCst));
        let (big, small) = (taken(&mut big).unwrap(), taken(&mut small).unwrap());
        assert_eq!((pool.available(), pool.waiting()), (49, 0));
        drop((big, small));
        assert_eq!(pool.available(), 100);
    }

    #[test]
    fn who_gives_up_lets_the_next_through() {
        let pool = Pool::new(100, 10);
        let held = pool.try_take(60).unwrap();
        let (mut big, mut small) = (pool.take(50), pool.take(40));
        assert!(poll(&mut big).0.is_pending());
        let (pending, woken) = poll(&mut small);
        assert!(pending.is_pending());
        drop(big);
        assert!(woken.0.load(Ordering::SeqCst));
        let room = taken(&mut small).unwrap();
        assert_eq!(pool.available(), 0);
        drop((held, room));

        let held = pool.try_take(100).unwrap();
        let mut served = pool.take(100);
        assert!(poll(&mut served).0.is_pending());
        drop(held);
        drop(served); // it was served, but never fetched its bytes
        assert_eq!(pool.available(), 100);
    }

    #[test]
    fn buffers_are_reused_within_the_total() {
        let pool = Pool::new(100, 10);
        let mut room = pool.try_take(10).unwrap();
        let buffer = room.take_buffer();
        let address = buffer.as_ptr();
        room.put_buffer(buffer);
        drop(room);
        let mut room = pool.try_take(10).unwrap();
        let again = room.take_buffer();
        assert_eq!(again.as_ptr(), address);
        room.put_buffer(Vec::with_capacity(21 + BatchBuilder::SLACK));
        drop(room);
        assert!(pool.state.lock().free.is_empty(), "too big to keep");
        drop((pool.try_take(10), pool.try_take(10)));
        assert_eq!(pool.state.lock().free.len(), 2);
        let all = pool.try_take(95).unwrap();
        assert!(pool.state.lock().free.is_empty(), "their bytes are in use elsewhere");
        assert_eq!(all.bytes(), 95);
    }

    #[test]
    fn a_thread_waits_until_its_deadline_or_the_close() {
        let pool = Pool::new(10, 10);
        let held = pool.try_take(10).unwrap();
        assert!(wait_for(pool.take(1), Some(Instant::now())).is_none());
        assert_eq!(pool.waiting(), 0);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_for(pool.take(1), None));
            while pool.waiting() == 0 {
                thread::yield_now();
            }
            pool.close();
            assert_eq!(waiter.join().unwrap().map(Result::err), Some(Some(PoolClosed)));
        });
        drop(held);
        assert!(pool.try_take(1).is_none());
        assert!(wait_for(pool.take(1), Some(Instant::now())).unwrap().is_err());
    }

    #[test]
    fn threads_never_take_more_than_there_is() {
        let pool = Pool::new(64, 16);
        thread::scope(|scope| {
            for seed in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for _ in 0..2_000 {
                        let room = wait_for(pool.take(random.usize(1..=64)), None).unwrap();
                        assert!(room.unwrap().bytes() <= 64);
                    }
                });
            }
        });
        assert_eq!((pool.available(), pool.waiting()), (64, 0));
    }
}
