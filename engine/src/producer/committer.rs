//! Waits for the device: one committer a log dir, so that a slow device holds up nobody else, and so
//! that the sender fills and seals the next batches while this one syncs. Everything that was
//! appended during one sync is served by the next.

use std::{mem, sync::Arc};

use super::{
    SendError,
    accumulator::Accumulator,
    queue::{Parcel, PartitionQueue},
    sink::{Sink, is_sync_failure},
};
use crate::{
    log::CommitPoint,
    sync::{Condvar, Mutex, thread},
    types::Offset,
};

/// Batches of one partition that the log has.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) partition: Arc<PartitionQueue>,
    /// The log, which stays open for them even when its topic is deleted.
    pub(super) sink: Sink,
    pub(super) parcels: Vec<Parcel>,
    pub(super) base_offsets: Vec<Offset>,
    pub(super) end: CommitPoint,
    pub(super) append_time: Option<i64>,
}

impl Delivery {
    /// Acknowledges the batches, in their order.
    pub(super) fn acknowledge(self, accumulator: &Accumulator) {
        let mut base_offsets = self.base_offsets.into_iter();
        accumulator.decide(&self.partition, self.parcels, |parcel| {
            accumulator.counters.acknowledged(parcel.figures, parcel.queued);
            parcel.promise.accept(base_offsets.next(), self.append_time);
        });
    }

    /// The batches fail. Where a sync failed, so does all that follows.
    fn refuse(self, accumulator: &Accumulator, error: &SendError) {
        accumulator.fail(&self.partition, self.parcels, error);
        if matches!(error, SendError::Commit(error) if !is_sync_failure(error)) {
            return;
        }
        let waiting = self.partition.refuse(error);
        accumulator.fail(&self.partition, waiting, error);
    }
}

/// Commits the deliveries of one log dir.
#[derive(Debug)]
pub(super) struct Committer {
    accumulator: Arc<Accumulator>,
    inbox: Mutex<Inbox>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    deliveries: Vec<Delivery>,
    closed: bool,
    /// The thread panicked: nothing is committed any more.
    stopped: bool,
}

impl Committer {
    pub(super) fn new(accumulator: Arc<Accumulator>) -> Arc<Self> {
        Arc::new(Self { accumulator, inbox: Mutex::default(), changed: Condvar::new() })
    }

    /// Takes batches that are to be committed.
    pub(super) fn push(&self, delivery: Delivery) {
        let mut inbox = self.inbox.lock();
        if inbox.stopped {
            drop(inbox);
            return delivery.refuse(&self.accumulator, &SendError::Stopped);
        }
        inbox.deliveries.push(delivery);
        drop(inbox);
        self.changed.notify_one();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.inbox.lock().closed = true;
        self.changed.notify_one();
    }

    /// Commits until it is closed and all is done.
    pub(super) fn run(&self) {
        let _guard = StopOnPanic(self);
        loop {
            let mut inbox = self.inbox.lock();
            while inbox.deliveries.is_empty() {
                if inbox.closed {
                    return;
                }
                if race!(InboxLetGo) {
                    drop(inbox);
                    inbox = self.inbox.lock();
                }
                self.changed.wait(&mut inbox);
            }
            drop(inbox);
            self.step();
        }
    }

    /// The thread panicked: fails all that is here and whatever comes, and ends the producer.
    fn stop(&self) {
        let mut inbox = self.inbox.lock();
        inbox.stopped = true;
        let deliveries = mem::take(&mut inbox.deliveries);
        drop(inbox);
        self.accumulator.stop();
        for delivery in deliveries {
            delivery.refuse(&self.accumulator, &SendError::Stopped);
        }
    }

    /// Commits everything that is here, with one commit. Each delivery is a point of its own: of two
    /// of one partition a truncation may have taken the first, although the second is there.
    pub(super) fn step(&self) {
        let mut deliveries = mem::take(&mut self.inbox.lock().deliveries);
        // A stable sort: those of one partition keep their order.
        deliveries.sort_by_key(|delivery| Arc::as_ptr(&delivery.partition));
        let points: Vec<_> =
            deliveries.iter().map(|delivery| (delivery.sink.clone(), delivery.end)).collect();
        for (delivery, result) in deliveries.into_iter().zip(Sink::commit(&points)) {
            let result = result.map_err(|error| SendError::Commit(Arc::new(error)));
            self.finish(delivery, &result);
        }
    }

    /// A partition whose sync failed once stays refused: what a later sync says about earlier bytes
    /// can't be trusted.
    fn finish(&self, delivery: Delivery, result: &Result<(), SendError>) {
        let refusal =
            delivery.partition.refusal().filter(|why| matches!(why, SendError::Commit(_)));
        match refusal.as_ref().map_or(result.as_ref().map(|&()| ()), Err) {
            Ok(()) => delivery.acknowledge(&self.accumulator),
            Err(error) => delivery.refuse(&self.accumulator, error),
        }
    }
}

/// However a committer's thread ends, nobody waits for it afterwards.
struct StopOnPanic<'a>(&'a Committer);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}
