//! Waiting for records of many partitions at once.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::{
    Consumer, PollError,
    assigned::{Assigned, Readable},
};
use crate::{
    commit::{Reached, WaitError},
    types::Offset,
};

/// A future that fetches, and is ready once `wanted` bytes stand ready to be given out, or there is
/// something else to tell. What was fetched is the consumer's: dropping the future loses nothing.
pub(super) struct Filled<'a> {
    consumer: &'a mut Consumer,
    wanted: usize,
    /// For each partition what it waits for: up to where the log must be readable.
    waits: Vec<Option<(Offset, Reached<Readable>)>>,
}

impl<'a> Filled<'a> {
    pub(super) fn new(consumer: &'a mut Consumer, wanted: usize) -> Self {
        Self { consumer, wanted, waits: Vec::new() }
    }

    fn is_filled(&self) -> bool {
        let consumer = &self.consumer;
        let ahead = consumer.ahead();
        let is_full = ahead.is_enough(&consumer.options)
            || !consumer.assigned.iter().any(|assigned| self.takes_more(assigned));
        !consumer.resets.is_empty()
            || ahead.bytes >= self.wanted.max(1)
            || (ahead.bytes > 0 && is_full)
    }

    fn takes_more(&self, assigned: &Assigned) -> bool {
        let limit = self.consumer.options.max_partition_fetch_bytes;
        !assigned.paused && assigned.room(limit).is_some()
    }

    /// Stands in line at each partition.
    fn stand_in_line(&mut self, context: &mut Context<'_>) -> Line {
        let mut line = Line::Waits;
        let mut places = std::mem::take(&mut self.waits);
        places.resize_with(self.consumer.assigned.len(), || None);
        for (index, place) in places.iter_mut().enumerate() {
            let assigned = &self.consumer.assigned[index];
            if !self.takes_more(assigned) {
                *place = None;
                continue;
            }
            let target = assigned.awaits();
            let (_, reached) = match place.take() {
                Some(known) if known.0 == target => place.insert(known),
                _ => place.insert((target, Reached::new(Readable(assigned.log.clone()), target))),
            };
            match Pin::new(reached).poll(context) {
                Poll::Pending => continue,
                Poll::Ready(Ok(()) | Err(WaitError::Truncated)) => line = Line::Moved,
                Poll::Ready(Err(error)) => {
                    let error = ended(assigned, error);
                    self.consumer.assigned[index].defer(error);
                    return Line::Ended;
                }
            }
            *place = None;
        }
        self.waits = places;
        line
    }
}

/// What became of standing in line.
enum Line {
    Waits,
    /// A partition has become readable meanwhile.
    Moved,
    /// A partition will not; its error is kept.
    Ended,
}

impl Future for Filled<'_> {
    type Output = Result<(), PollError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            self.consumer.fill()?;
            if self.is_filled() {
                return Poll::Ready(Ok(()));
            }
            match self.stand_in_line(context) {
                Line::Moved => {}
                Line::Waits => return Poll::Pending,
                // The others' records come first.
                Line::Ended if self.consumer.ahead().bytes > 0 => return Poll::Ready(Ok(())),
                Line::Ended => {
                    let error = self.consumer.take_deferred();
                    return Poll::Ready(error.map_or(Ok(()), Err));
                }
            }
        }
    }
}

fn ended(assigned: &Assigned, error: WaitError) -> PollError {
    match error {
        _ if assigned.topic.is_deleted() => PollError::Deleted(assigned.topic.name().clone()),
        WaitError::Failed(source) => PollError::Io { partition: assigned.place(), source },
        WaitError::Closed | WaitError::Truncated => PollError::Closed(assigned.place()),
    }
}
