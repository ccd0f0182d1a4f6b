//! The thread that sends: takes what is due, seals it outside every lock, hands it to the log, and
//! acknowledges it, or passes it to the committer of its log dir first.
//!
//! A log takes all batches of an append or none, and says which. So a repeated send can't happen
//! unknowingly, and no producer id is needed as a remote client needs one (Kafka: idempotence).

use std::{cell::Cell, collections::VecDeque, mem, sync::Arc, time::Duration};

use super::{
    Acks, SendError,
    accumulator::Accumulator,
    committer::{Committer, Delivery},
    queue::{Parcel, PartitionQueue},
    schedule::{Due, Look},
    sink::{Accepted, Sink, is_refusal},
    split::{TooLarge, split},
};
use crate::{
    log::AppendError,
    record::{Decoder, Encoder, SealedBatch},
    sync::{
        atomic::Ordering,
        thread::{self, JoinHandle},
        thread_local,
    },
};

/// A partition is not asked more often, whatever `retry.backoff.ms`: the sender would do nothing else.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(1);

thread_local! {
    static ON_OUR_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a thread of a producer, which must not wait for a producer's threads. Foreign
/// code runs here when a waker is called.
pub(super) fn is_on_our_thread() -> bool {
    ON_OUR_THREAD.with(Cell::get)
}

/// The sending half of a producer.
#[derive(Debug)]
pub(super) struct Sender {
    accumulator: Arc<Accumulator>,
    encoder: Encoder,
    decoder: Decoder,
    due: VecDeque<Due>,
    /// Batches of one partition, as they were taken; empty between partitions.
    taken: Vec<Parcel>,
    committers: Vec<LogDir>,
    /// The partition that is served has rested, and nothing has told yet whether its log takes
    /// appends.
    owes_a_look: bool,
    /// Whether committers get threads; otherwise they step when they are told.
    threads: bool,
}

/// The committer of one log dir.
#[derive(Debug)]
struct LogDir {
    number: usize,
    committer: Arc<Committer>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    pub(super) fn new(accumulator: Arc<Accumulator>, threads: bool) -> Self {
        Self {
            accumulator,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            due: VecDeque::new(),
            taken: Vec::new(),
            committers: Vec::new(),
            owes_a_look: false,
            threads,
        }
    }

    /// Sends until the producer is closed. However it ends, nobody waits for it afterwards.
    pub(super) fn run(mut self) {
        ON_OUR_THREAD.with(|it| it.set(true));
        let shut = ShutAtEnd(self.accumulator.clone());
        while self.step() != Look::Finished {
            let waiting = self.accumulator.pool.waiting() > 0;
            self.accumulator.schedule.sleep(self.accumulator.clock.monotonic(), waiting);
        }
        self.stop_committers();
        drop(shut);
    }

    /// Sends what is due now.
    pub(super) fn step(&mut self) -> Look {
        let now = self.accumulator.clock.monotonic();
        let look =
            self.accumulator.schedule.look(now, self.accumulator.pool.waiting() > 0, &mut self.due);
        while let Some(due) = self.due.pop_front() {
            if self.accumulator.schedule.is_aborting() {
                return Look::Finished;
            }
            self.serve(&due);
        }
        look
    }

    fn serve(&mut self, due: &Due) {
        let partition = &due.partition;
        let now = self.accumulator.clock.monotonic();
        let limit = partition.facts.append_bytes;
        self.owes_a_look = due.rested;
        if partition.take(due.open_below, now, limit, &mut self.taken) {
            self.accumulator.schedule.again(partition);
        }
        self.expire(partition, now);
        let mut sealed = Vec::with_capacity(self.taken.len());
        for parcel in mem::take(&mut self.taken) {
            self.seal(partition, parcel, &mut sealed);
        }
        // Compression may have made batches larger, so that they don't all go with one append.
        while !sealed.is_empty() {
            let later = sealed.split_off(fitting(&sealed, limit));
            sealed = self.hand_over(partition, sealed, later);
        }
        if mem::take(&mut self.owes_a_look) {
            self.look_again(partition);
        }
    }

    /// Fails the batches that waited too long. They stand in the order of their age.
    fn expire(&mut self, partition: &PartitionQueue, now: Duration) {
        let delivery_timeout = self.accumulator.options.delivery_timeout;
        let is_over = |parcel: &Parcel| now.saturating_sub(parcel.opened) >= delivery_timeout;
        let expired = self.taken.partition_point(is_over);
        for parcel in self.taken.drain(..expired) {
            self.accumulator.counters.expired_records.add(parcel.figures.records);
            let last = parcel.last_error.clone();
            let error = SendError::Expired { delivery_timeout, last };
            self.accumulator.fail(partition, [parcel], &error);
        }
    }

    /// Seals a batch, if it is not, and splits it where the topic does not take it whole.
    fn seal(&mut self, partition: &PartitionQueue, mut parcel: Parcel, sealed: &mut Vec<Parcel>) {
        let Some(builder) = parcel.take_builder() else {
            return sealed.push(parcel);
        };
        match builder.seal(&mut self.encoder) {
            Ok(batch) if batch.bytes().len() > partition.facts.max_message_bytes => {
                self.split(partition, parcel, &batch, sealed);
            }
            Ok(batch) => {
                parcel.put_sealed(batch);
                sealed.push(parcel);
            }
            Err(error) => self.accumulator.fail(partition, [parcel], &error.into()),
        }
    }

    fn split(
        &mut self,
        partition: &PartitionQueue,
        parcel: Parcel,
        batch: &SealedBatch,
        sealed: &mut Vec<Parcel>,
    ) {
        let (settings, limit) = (partition.facts.settings, partition.facts.max_message_bytes);
        let parts = match split(batch, settings, limit, &mut self.encoder, &mut self.decoder) {
            Ok(parts) => parts,
            Err(error) => return self.accumulator.fail(partition, [parcel], &error.into()),
        };
        let more = parts.len() as u32 - 1;
        self.accumulator.counters.splits.add(u64::from(more.min(1)));
        self.accumulator.schedule.split(parcel.number, more);
        partition.queued().fetch_add(more, Ordering::Relaxed);
        for (part, content) in parcel.split(parts) {
            match content {
                Ok(()) => sealed.push(part),
                Err(TooLarge { bytes }) => {
                    let setting = "max.message.bytes";
                    let error = SendError::RecordTooLarge { bytes, limit, setting };
                    self.accumulator.fail(partition, [part], &error);
                }
            }
        }
    }

    /// Hands batches over to the log with one append. Gives what is to go next of those that come
    /// `later`.
    fn hand_over(
        &mut self,
        partition: &Arc<PartitionQueue>,
        mut parcels: Vec<Parcel>,
        later: Vec<Parcel>,
    ) -> Vec<Parcel> {
        let now = self.accumulator.clock.monotonic();
        let mut batches: Vec<_> = parcels.iter_mut().map(|parcel| parcel.hand_over(now)).collect();
        if self.accumulator.options.acks == Acks::None {
            for parcel in &mut parcels {
                parcel.promise.accept(None, None);
            }
        }
        let sink = match partition.sink() {
            Ok(sink) => sink,
            Err(error) => {
                self.accumulator.fail(partition, parcels, &error);
                return later;
            }
        };
        match sink.append(&mut batches) {
            Ok(accepted) => self.deliver(partition, sink, parcels, accepted),
            Err(error) if error.is_disk_full() => {
                self.try_again(partition, parcels, batches, later, error);
                return Vec::new();
            }
            Err(error) => {
                if is_refusal(&error) {
                    self.turn_away(partition);
                }
                let error = SendError::Append(Arc::new(error));
                self.accumulator.fail(partition, parcels, &error);
            }
        }
        later
    }

    /// The log refuses appends: records without a key go elsewhere, until it takes them again.
    fn turn_away(&mut self, partition: &Arc<PartitionQueue>) {
        let is_news = !partition.goes_down();
        if mem::take(&mut self.owes_a_look) || is_news {
            self.accumulator.schedule.rest(partition, self.end_of_rest());
        }
    }

    /// Asks the log of a partition that is down, and has nothing to be tried, whether it takes appends
    /// again.
    fn look_again(&self, partition: &Arc<PartitionQueue>) {
        let now = self.accumulator.clock.monotonic();
        if !partition.is_down() || partition.rests(now) {
            return;
        }
        // A topic that was deleted never does.
        let Ok(sink) = partition.sink() else { return };
        match sink.check() {
            Ok(()) => partition.comes_up(),
            Err(_) => self.accumulator.schedule.rest(partition, self.end_of_rest()),
        }
    }

    fn end_of_rest(&self) -> Duration {
        let backoff = self.accumulator.options.retry_backoff.max(SHORTEST_BACKOFF);
        self.accumulator.clock.monotonic().saturating_add(backoff)
    }

    fn deliver(
        &mut self,
        partition: &Arc<PartitionQueue>,
        sink: Sink,
        mut parcels: Vec<Parcel>,
        accepted: Accepted,
    ) {
        for (parcel, buffer) in parcels.iter_mut().zip(accepted.buffers) {
            if let Some(room) = &mut parcel.room {
                room.put_buffer(buffer);
            }
        }
        self.owes_a_look = false;
        if partition.is_down() {
            partition.comes_up();
        }
        let Accepted { base_offsets, end, append_time, .. } = accepted;
        let partition = partition.clone();
        let delivery = Delivery { partition, sink, parcels, base_offsets, end, append_time };
        if delivery.partition.facts.durable {
            self.commit(delivery);
        } else {
            delivery.acknowledge(&self.accumulator);
        }
    }

    /// The disk is full: puts the batches back, before all others of their partition.
    fn try_again(
        &mut self,
        partition: &Arc<PartitionQueue>,
        mut parcels: Vec<Parcel>,
        batches: Vec<SealedBatch>,
        later: Vec<Parcel>,
        error: AppendError,
    ) {
        let error = Arc::new(error);
        for (parcel, batch) in parcels.iter_mut().zip(batches) {
            parcel.put_sealed(batch);
            parcel.last_error = Some(error.clone());
        }
        self.accumulator.counters.retries.add(parcels.len() as u64);
        parcels.extend(later);
        // No later than the oldest expires: its sender is told in time, whatever the backoff.
        let timeout = self.accumulator.options.delivery_timeout;
        let expires = parcels.first().map(|first| first.opened.saturating_add(timeout));
        let until = self.end_of_rest().min(expires.unwrap_or(Duration::MAX));
        partition.goes_down();
        partition.put_back(parcels, until);
        self.owes_a_look = false;
        self.accumulator.schedule.rest(partition, until);
    }

    fn commit(&mut self, delivery: Delivery) {
        let number = delivery.sink.log_dir();
        let known = self.committers.iter().position(|log_dir| log_dir.number == number);
        let index = known.unwrap_or_else(|| {
            self.committers.push(LogDir::new(number, &self.accumulator, self.threads));
            self.committers.len() - 1
        });
        let log_dir = &self.committers[index];
        log_dir.committer.push(delivery);
        if self.threads && log_dir.thread.is_none() {
            log_dir.committer.step();
        }
    }

    fn stop_committers(&mut self) {
        for log_dir in &self.committers {
            log_dir.committer.close();
        }
        for log_dir in self.committers.drain(..) {
            if let Some(thread) = log_dir.thread
                && thread.join().is_err()
            {
                tracing::error!("a committer panicked; what it had in hand has failed");
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop_committers();
    }
}

impl LogDir {
    fn new(number: usize, accumulator: &Arc<Accumulator>, threads: bool) -> Self {
        let committer = Committer::new(accumulator.clone());
        let runner = committer.clone();
        let run = move || {
            ON_OUR_THREAD.with(|it| it.set(true));
            runner.run();
        };
        let spawn = || thread::Builder::new().name("trunkline-commit".into()).spawn(run).ok();
        // Without a thread the sender commits itself: slower, not wrong.
        let thread = if threads { spawn() } else { None };
        Self { number, committer, thread }
    }
}

/// How many batches, from the first on, take at most `limit` bytes together; at least one.
fn fitting(sealed: &[Parcel], limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |parcel: &&Parcel| {
        bytes += parcel.bytes();
        bytes <= limit
    };
    sealed.iter().take_while(fits).count().max(1)
}

/// Shuts the producer when the sender ends, be it by a panic.
struct ShutAtEnd(Arc<Accumulator>);

impl Drop for ShutAtEnd {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
        self.0.shut();
    }
}

#[cfg(test)]
impl Sender {
    /// What the committers' threads would do.
    pub(super) fn commit_now(&self) {
        for log_dir in &self.committers {
            log_dir.committer.step();
        }
    }
}
