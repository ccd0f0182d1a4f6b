//! The waiting primitive: a number that rises, and those who wait for it, sorted by what they wait
//! for. Acknowledgement, group commit, long-poll and replication are all "wait until X ≥ n".

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::parking::{thread_waker, wait_for};
use crate::{
    error::IoError,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
};

/// A rising number and its waiters. Blocking: [`Watermark::wait_until`]; async: [`Watermark::reached`].
///
/// [`Watermark::raise`] costs one atomic exchange and one load while nobody waits for so low a
/// number, so that a hot path may raise on every append.
#[derive(Debug)]
pub struct Watermark {
    number: AtomicI64,
    /// The lowest number in the line; `i64::MAX`: nobody waits. Written under the line's lock.
    ///
    /// No wake-up is lost: a waiter stores here, then loads `number`; a raiser changes `number`, then
    /// loads this. In the one order of `SeqCst` at least one of the two sees the other.
    lowest: AtomicI64,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// By target, then by arrival.
    waiters: BTreeMap<(i64, u64), Waker>,
    /// Who stood beyond a truncation and has not looked since. The number may rise to its target again
    /// before it does: for other records.
    cut_off: BTreeSet<(i64, u64)>,
    arrivals: u64,
    ended: Option<WaitError>,
}

/// Why the number will not be reached.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// What was waited for was cut off by a truncation.
    #[error("cut off by a truncation while it was waited for")]
    Truncated,
    /// Nothing will raise this number any more.
    #[error("closed while it was waited for")]
    Closed,
    /// What raises this number failed for good.
    #[error(transparent)]
    Failed(#[from] IoError),
}

impl WaitError {
    /// A copy that says the same, for all who waited.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Truncated => Self::Truncated,
            Self::Closed => Self::Closed,
            Self::Failed(error) => Self::Failed(error.duplicate()),
        }
    }
}

impl Watermark {
    /// A watermark that stands at `number`.
    pub fn new(number: i64) -> Self {
        Self {
            number: AtomicI64::new(number),
            lowest: AtomicI64::new(i64::MAX),
            line: Mutex::default(),
        }
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.number.load(SeqCst)
    }

    /// Raises the number to `to` and wakes those who waited for it; never lowers it.
    pub fn raise(&self, to: i64) {
        wake_all(self.raise_quietly(to));
    }

    /// A truncation to `to`: the number is at most `to`, and those who wait for more, at this moment,
    /// get [`WaitError::Truncated`], even where the number has risen to it again when they look; who
    /// comes later waits for what is written anew. The caller sees to it that no [`Watermark::raise`]
    /// for what was cut off comes afterwards.
    pub fn reset(&self, to: i64) {
        wake_all(self.reset_quietly(to));
    }

    /// Ends the waiting, now and later, for all numbers that are not reached yet. The first reason
    /// stays.
    pub fn fail(&self, error: IoError) {
        self.end(WaitError::Failed(error));
    }

    /// As [`Watermark::fail`], when the owner goes away in peace.
    pub fn close(&self) {
        self.end(WaitError::Closed);
    }

    /// Blocks until the number is at least `target`. `Ok(false)`: `deadline` was over first.
    pub fn wait_until(&self, target: i64, deadline: Option<Instant>) -> Result<bool, WaitError> {
        match wait_for(self.reached(target), deadline) {
            Some(Ok(())) => Ok(true),
            Some(Err(error)) => Err(error),
            None => Ok(false),
        }
    }

    /// A future that is ready when the number is at least `target`. It stands in line from its first
    /// poll until it is ready or dropped.
    pub fn reached(&self, target: i64) -> Reached<&Self> {
        Reached::new(self, target)
    }

    /// [`Watermark::raise`] for a caller that holds a lock: wakers run foreign code, so it calls
    /// [`wake_all`] when it has let go.
    pub(crate) fn raise_quietly(&self, to: i64) -> Vec<Waker> {
        let early = race!(LowestBeforeNumber).then(|| self.lowest.load(SeqCst));
        let before = self.number.fetch_max(to, SeqCst);
        if to <= before || early.unwrap_or_else(|| self.lowest.load(SeqCst)) > to {
            return Vec::new();
        }
        let mut line = self.line.lock();
        let number = self.number.load(SeqCst);
        let later = match number.checked_add(1) {
            Some(next) => line.waiters.split_off(&(next, 0)),
            None => BTreeMap::new(),
        };
        let reached = std::mem::replace(&mut line.waiters, later);
        self.note_lowest(&line);
        reached.into_values().collect()
    }

    /// [`Watermark::reset`] for a caller that holds a lock.
    pub(crate) fn reset_quietly(&self, to: i64) -> Vec<Waker> {
        let mut line = self.line.lock();
        self.number.fetch_min(to, SeqCst);
        let cut_off = match to.checked_add(1) {
            Some(next) => line.waiters.split_off(&(next, 0)),
            None => BTreeMap::new(),
        };
        self.note_lowest(&line);
        if race!(ResetTellsNobody) {
            return Vec::new();
        }
        line.cut_off.extend(cut_off.keys());
        cut_off.into_values().collect()
    }

    fn end(&self, why: WaitError) {
        let mut line = self.line.lock();
        line.ended.get_or_insert(why);
        let waiters = std::mem::take(&mut line.waiters);
        self.note_lowest(&line);
        drop(line);
        if !race!(EndTellsNobody) {
            wake_all(waiters.into_values());
        }
    }

    fn note_lowest(&self, line: &Line) {
        let lowest = line.waiters.first_key_value().map_or(i64::MAX, |((target, _), _)| *target);
        self.lowest.store(lowest, SeqCst);
    }

    fn enter(&self, target: i64, waker: &Waker) -> Result<Place, WaitError> {
        let mut line = self.line.lock();
        if let Some(why) = &line.ended {
            // What was reached before the end stays reached.
            return if self.get() < target { Err(why.duplicate()) } else { Ok(Place::Outside) };
        }
        let early = race!(NumberBeforeLowest).then(|| self.get());
        let arrival = line.arrivals;
        line.arrivals += 1;
        line.waiters.insert((target, arrival), waker.clone());
        self.note_lowest(&line);
        if early.unwrap_or_else(|| self.get()) < target {
            return Ok(Place::InLine(arrival));
        }
        self.take_out(&mut line, target, arrival);
        Ok(Place::Outside)
    }

    /// Whether the waiter still stands in line. Who was taken out without its number being reached now
    /// was overtaken by a truncation.
    fn still_waits(&self, target: i64, arrival: u64, waker: &Waker) -> Result<bool, WaitError> {
        let mut line = self.line.lock();
        if line.cut_off.remove(&(target, arrival)) {
            return Err(WaitError::Truncated);
        }
        if self.get() >= target {
            // Whoever raised it may not have come so far as to take the waiter out.
            self.take_out(&mut line, target, arrival);
            return Ok(false);
        }
        if let Some(known) = line.waiters.get_mut(&(target, arrival)) {
            known.clone_from(waker);
            return Ok(true);
        }
        Err(line.ended.as_ref().map_or(WaitError::Truncated, WaitError::duplicate))
    }

    fn leave(&self, target: i64, arrival: u64) {
        let mut line = self.line.lock();
        line.cut_off.remove(&(target, arrival));
        self.take_out(&mut line, target, arrival);
    }

    fn take_out(&self, line: &mut Line, target: i64, arrival: u64) {
        if line.waiters.remove(&(target, arrival)).is_some() {
            self.note_lowest(line);
            if race!(LeaveForgetsOthers) {
                self.lowest.store(i64::MAX, SeqCst);
            }
        }
    }
}

pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// A future that waits for a [`Watermark`], borrowed or shared (`Reached<Arc<Watermark>>`).
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Reached<W: Deref<Target = Watermark>> {
    watermark: W,
    target: i64,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Outside,
    InLine(u64),
}

impl<W: Deref<Target = Watermark>> Reached<W> {
    /// Ready when `watermark` is at least `target`.
    pub fn new(watermark: W, target: i64) -> Self {
        Self { watermark, target, place: Place::Outside }
    }

    /// One poll with this thread's waker.
    pub(super) fn poll_thread(&mut self) -> Poll<Result<(), WaitError>> {
        self.poll_with(&thread_waker())
    }

    fn poll_with(&mut self, waker: &Waker) -> Poll<Result<(), WaitError>> {
        let waits = match self.place {
            Place::Outside if self.watermark.get() >= self.target => Ok(false),
            Place::Outside => self.watermark.enter(self.target, waker).map(|place| {
                self.place = place;
                matches!(place, Place::InLine(_))
            }),
            Place::InLine(arrival) => self.watermark.still_waits(self.target, arrival, waker),
        };
        if let Ok(true) = waits {
            return Poll::Pending;
        }
        self.place = Place::Outside;
        Poll::Ready(waits.map(|_| ()))
    }

    fn leave(&mut self) {
        if let Place::InLine(arrival) = std::mem::replace(&mut self.place, Place::Outside) {
            self.watermark.leave(self.target, arrival);
        }
    }
}

impl<W: Deref<Target = Watermark> + Unpin> Future for Reached<W> {
    type Output = Result<(), WaitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(context.waker())
    }
}

impl<W: Deref<Target = Watermark>> Drop for Reached<W> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
