//! Waits for the device: one committer a log dir, so that a slow device holds up nobody else, and so
//! that the sender fills and seals the next batches while this one syncs. Everything that was
//! appended during one sync is served by the next.

use std::{collections::VecDeque, mem, sync::Arc};

use parking_lot::{Condvar, Mutex};

use super::{
    SendError,
    accumulator::Accumulator,
    queue::{Parcel, PartitionQueue},
    sink::{Sink, is_sync_failure},
};
use crate::{log::CommitError, types::Offset};

/// Batches of one partition that the log has.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) partition: Arc<PartitionQueue>,
    pub(super) parcels: Vec<Parcel>,
    pub(super) base_offsets: Vec<Offset>,
    pub(super) end: Offset,
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
    deliveries: VecDeque<Delivery>,
    closed: bool,
}

impl Committer {
    pub(super) fn new(accumulator: Arc<Accumulator>) -> Arc<Self> {
        Arc::new(Self { accumulator, inbox: Mutex::default(), changed: Condvar::new() })
    }

    /// Takes batches that are to be committed.
    pub(super) fn push(&self, delivery: Delivery) {
        self.inbox.lock().deliveries.push_back(delivery);
        self.changed.notify_one();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.inbox.lock().closed = true;
        self.changed.notify_one();
    }

    /// Commits until it is closed and all is done.
    pub(super) fn run(&self) {
        loop {
            let mut inbox = self.inbox.lock();
            while inbox.deliveries.is_empty() {
                if inbox.closed {
                    return;
                }
                self.changed.wait(&mut inbox);
            }
            drop(inbox);
            self.step();
        }
    }

    /// Commits everything that is here.
    pub(super) fn step(&self) {
        let deliveries = mem::take(&mut self.inbox.lock().deliveries);
        let points = points(&deliveries);
        let sinks: Vec<_> = points.iter().map(|(queue, upto)| (&queue.sink, *upto)).collect();
        let results: Vec<_> =
            Sink::commit(&sinks).into_iter().map(|r| r.map_err(Arc::new)).collect();
        for delivery in deliveries {
            match outcome(&delivery, &points, &results) {
                Ok(()) => delivery.acknowledge(&self.accumulator),
                Err(error) => delivery.refuse(&self.accumulator, &error),
            }
        }
    }
}

/// Up to where each partition is to be committed.
fn points(deliveries: &VecDeque<Delivery>) -> Vec<(Arc<PartitionQueue>, Offset)> {
    let mut points: Vec<(Arc<PartitionQueue>, Offset)> = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        points.push((delivery.partition.clone(), delivery.end));
    }
    points.sort_by_key(|(partition, end)| (Arc::as_ptr(partition), std::cmp::Reverse(*end)));
    points.dedup_by(|next, kept| Arc::ptr_eq(&next.0, &kept.0));
    points
}

/// What became of a delivery. A partition whose sync failed once stays refused: what a later sync
/// says about earlier bytes can't be trusted.
fn outcome(
    delivery: &Delivery,
    points: &[(Arc<PartitionQueue>, Offset)],
    results: &[Result<(), Arc<CommitError>>],
) -> Result<(), SendError> {
    if let Some(refusal) = delivery.partition.refusal() {
        return Err(refusal);
    }
    let address = Arc::as_ptr(&delivery.partition);
    let index = points
        .binary_search_by_key(&address, |(partition, _)| Arc::as_ptr(partition))
        .expect("every delivery has its point");
    results[index].clone().map_err(SendError::Commit)
}
