//! The consumer in its simple form: partitions are assigned by hand, positions live in memory.
//!
//! It pulls: [`Consumer::poll`] fetches from the logs whole batches, checks each checksum once, and
//! gives records that borrow the fetched bytes. Nothing is skipped silently: a position that a log no
//! longer holds is an error or a reported [`Reset`], a damaged batch an error each time it is met.

mod assigned;
mod error;
mod filled;
mod options;
mod polled;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

pub use error::{AssignError, OptionsError, PollError, SeekError};
pub use options::{
    AutoOffsetReset, ConsumerOptions, DEFAULT_FETCH_MAX_BYTES, DEFAULT_FETCH_MAX_WAIT,
    DEFAULT_FETCH_MIN_BYTES, DEFAULT_MAX_PARTITION_FETCH_BYTES, DEFAULT_MAX_POLL_RECORDS,
    IsolationLevel,
};
pub use polled::{ConsumerRecord, Polled, Reset};

use assigned::{Ahead, Assigned, Fetch};
use filled::Filled;
use polled::{Reader, Slice};

use crate::{
    commit::{park_until, wait_for},
    log::{Isolation, ReadError},
    metrics::Counter,
    record::Decoder,
    sync::Mutex,
    topic::Topic,
    types::{Offset, TopicPartition},
};

/// Reads records from partitions. One thread's or one task's; make as many as you like.
#[derive(Debug)]
pub struct Consumer {
    options: ConsumerOptions,
    assigned: Vec<Assigned>,
    /// Which of them is served first.
    turn: usize,
    resets: Vec<Reset>,
    readers: Arc<Mutex<Vec<Reader>>>,
    decoder: Decoder,
    metrics: ConsumerMetrics,
}

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// At this offset, whether a record stands there yet or not.
    Offset(Offset),
    /// At the first record.
    Beginning,
    /// Behind the last record that can be read now.
    End,
    /// At the first record with this timestamp or a later one; behind the last record where there is
    /// none. Milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
}

/// What a consumer did.
#[derive(Debug, Default)]
pub struct ConsumerMetrics {
    /// Fetches from a log.
    pub fetches: Counter,
    /// Bytes that they gave.
    pub bytes: Counter,
    /// Records given out.
    pub records: Counter,
    /// Positions set anew because the log no longer held them.
    pub resets: Counter,
}

impl Consumer {
    /// A consumer without partitions.
    pub fn new(options: ConsumerOptions) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self {
            options,
            assigned: Vec::new(),
            turn: 0,
            resets: Vec::new(),
            readers: Arc::default(),
            decoder: Decoder::new(),
            metrics: ConsumerMetrics::default(),
        })
    }

    /// Adds a partition. It starts where `auto.offset.reset` says, as of now; [`Consumer::seek`]
    /// changes that.
    pub fn assign(&mut self, topic: &Arc<Topic>, partition: u32) -> Result<(), AssignError> {
        if topic.is_deleted() {
            return Err(AssignError::Deleted(topic.name().clone()));
        }
        let number = partition;
        if let Some(found) = topic.offline().iter().find(|it| it.partition.partition == number) {
            let (partition, reason) = (found.partition.clone(), found.reason.clone());
            return Err(AssignError::Offline { partition, reason });
        }
        let Some(log) = topic.partition(partition) else {
            let (topic, count) = (topic.name().clone(), topic.partition_count());
            return Err(AssignError::NoPartition { topic, partition, count });
        };
        if self.find(log.partition()).is_some() {
            return Err(AssignError::Twice(log.partition().clone()));
        }
        let mut assigned = Assigned::new(topic.clone(), log.clone());
        assigned.position = self.start_of(&assigned);
        self.assigned.push(assigned);
        Ok(())
    }

    /// Gives a partition up; `false` where it was not assigned.
    pub fn unassign(&mut self, partition: &TopicPartition) -> bool {
        let index = self.find(partition);
        if let Some(index) = index {
            self.assigned.remove(index);
            self.turn = 0;
        }
        index.is_some()
    }

    /// The partitions that are assigned.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.assigned.iter().map(|assigned| &*assigned.place)
    }

    /// Goes on elsewhere in a partition; gives the new position.
    pub fn seek(&mut self, partition: &TopicPartition, to: Seek) -> Result<Offset, SeekError> {
        let index = self.find(partition);
        let index = index.ok_or_else(|| SeekError::NotAssigned(partition.clone()))?;
        let isolation = self.isolation();
        let assigned = &mut self.assigned[index];
        let position = match to {
            Seek::Offset(offset) if offset < 0 => {
                return Err(SeekError::Negative { partition: partition.clone(), offset });
            }
            Seek::Offset(offset) => offset,
            Seek::Beginning => assigned.log.watermarks().log_start,
            Seek::End => assigned.log.end_for(isolation),
            Seek::Timestamp(timestamp) => loop {
                match assigned.log.offset_for_timestamp(timestamp) {
                    Ok(Some((_, offset))) => break offset,
                    Ok(None) => break assigned.log.end_for(isolation),
                    Err(ReadError::Truncated { .. }) => {}
                    Err(source) => {
                        return Err(SeekError::Read { partition: partition.clone(), source });
                    }
                }
            },
        };
        assigned.move_to(position);
        Ok(position)
    }

    /// Offset of the record that the next poll gives first. `None` where the partition is not
    /// assigned, or nobody said where to start.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.assigned[self.find(partition)?].position
    }

    /// Records between the position and the end of what can be read; compaction may have left fewer.
    pub fn lag(&self, partition: &TopicPartition) -> Option<u64> {
        let assigned = &self.assigned[self.find(partition)?];
        Some((assigned.log.end_for(self.isolation()) - assigned.position?).max(0) as u64)
    }

    /// Holds a partition's records back, what was fetched already included; `false` where it is not
    /// assigned.
    pub fn pause(&mut self, partition: &TopicPartition) -> bool {
        self.set_paused(partition, true)
    }

    /// Lets a paused partition's records come again; `false` where it is not assigned.
    pub fn resume(&mut self, partition: &TopicPartition) -> bool {
        self.set_paused(partition, false)
    }

    /// Waits for records, at most `timeout`: nothing came then where [`Polled::is_empty`]. Waits for
    /// `fetch.min.bytes` at most `fetch.max.wait.ms` of it. The positions move behind what is given, and
    /// behind what is passed over: of that `fetch.max.bytes` or so, however short the `timeout`.
    pub fn poll(&mut self, timeout: Duration) -> Result<Polled, PollError> {
        let start = Instant::now();
        let passed_before = self.metrics.bytes.get();
        let deadline = start.checked_add(timeout);
        let patience = start.checked_add(timeout.min(self.options.fetch_max_wait));
        let mut wanted = self.options.fetch_min_bytes;
        let mut until = patience;
        loop {
            let outcome = wait_for(Filled::new(self, wanted), until);
            if let Some(Err(error)) = outcome {
                return Err(error);
            }
            let polled = self.take()?;
            if polled.says_something() || (outcome.is_none() && until == deadline) {
                return Ok(polled);
            }
            let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if is_late && self.has_passed_enough(passed_before) {
                return Ok(polled);
            }
            if self.is_idle() {
                park_until(deadline);
                return Ok(polled);
            }
            (wanted, until) = (1, deadline);
        }
    }

    /// As [`Consumer::poll`], for a task: ready once there are `fetch.min.bytes`, whenever that is
    /// (there is no timer here; `fetch.max.wait.ms` is not looked at). To be dropped at any time, for
    /// instance by a runtime's timeout: nothing is lost, and `poll(Duration::ZERO)` gives what came.
    /// Ready at once, without records, where all partitions are paused.
    pub async fn poll_async(&mut self) -> Result<Polled, PollError> {
        let mut passed_before = self.metrics.bytes.get();
        loop {
            let wanted = self.options.fetch_min_bytes;
            if !self.is_idle() {
                Filled::new(self, wanted).await?;
            }
            let polled = self.take()?;
            if polled.says_something() || self.is_idle() {
                return Ok(polled);
            }
            if self.has_passed_enough(passed_before) {
                // Others are to run, and a timeout is to be noticed.
                passed_before = self.metrics.bytes.get();
                pause().await;
            }
        }
    }

    /// Whether so much was fetched since, and passed over, that it is time to look at the time.
    fn has_passed_enough(&self, before: u64) -> bool {
        self.metrics.bytes.get() - before >= self.options.fetch_max_bytes as u64
    }

    /// What happened so far.
    pub fn metrics(&self) -> &ConsumerMetrics {
        &self.metrics
    }

    fn isolation(&self) -> Isolation {
        self.options.isolation.into()
    }

    fn find(&self, partition: &TopicPartition) -> Option<usize> {
        self.assigned.iter().position(|assigned| *assigned.place == *partition)
    }

    fn set_paused(&mut self, partition: &TopicPartition, paused: bool) -> bool {
        let index = self.find(partition);
        if let Some(index) = index {
            self.assigned[index].paused = paused;
        }
        index.is_some()
    }

    /// Whether partitions are assigned, but none of them may give records.
    fn is_idle(&self) -> bool {
        !self.assigned.is_empty() && self.assigned.iter().all(|assigned| assigned.paused)
    }

    fn start_of(&self, assigned: &Assigned) -> Option<Offset> {
        match self.options.auto_offset_reset {
            AutoOffsetReset::Earliest => Some(assigned.log.watermarks().log_start),
            AutoOffsetReset::Latest => Some(assigned.log.end_for(self.isolation())),
            AutoOffsetReset::None => None,
        }
    }

    /// The partition that is served as the `step`th, where it may give records.
    fn in_turn(&self, step: usize) -> Option<usize> {
        let index = (self.turn + step) % self.assigned.len();
        (!self.assigned[index].paused).then_some(index)
    }

    /// Fetches what is there, up to the limits. One partition's error waits until the others' records
    /// were given out.
    fn fill(&mut self) -> Result<(), PollError> {
        if self.assigned.is_empty() {
            return Err(PollError::NothingAssigned);
        }
        if let Some(error) = self.take_deferred() {
            return Err(error);
        }
        let mut ahead = self.ahead();
        // What the partitions hold up to the one that is looked at: one that holds a lot must not
        // keep the others from being fetched when their turn comes.
        let mut so_far = Ahead::default();
        for step in 0..self.assigned.len() {
            let Some(index) = self.in_turn(step) else { continue };
            if let Err(error) = self.fill_one(index, so_far, &mut ahead) {
                self.assigned[index].defer(error);
            }
            so_far = so_far + self.assigned[index].ahead();
        }
        if ahead.bytes == 0 && self.resets.is_empty() {
            return self.take_deferred().map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// An error that waited until other records were given out.
    fn take_deferred(&mut self) -> Option<PollError> {
        let mut ready = self.assigned.iter_mut().filter(|assigned| !assigned.paused);
        ready.find_map(|assigned| assigned.deferred.take())
    }

    /// Fetches of one partition what is there, up to the limits, and adds it to `ahead`.
    fn fill_one(
        &mut self,
        index: usize,
        before: Ahead,
        ahead: &mut Ahead,
    ) -> Result<(), PollError> {
        let (options, isolation) = (&self.options, self.options.isolation.into());
        let assigned = &mut self.assigned[index];
        while !(before + assigned.ahead()).is_enough(options) {
            let Some(position) = assigned.position else {
                return Err(PollError::NoPosition(assigned.place()));
            };
            let Some(room) = assigned.room(options.max_partition_fetch_bytes) else { break };
            let left = options.fetch_max_bytes.saturating_sub(ahead.bytes);
            if left == 0 && ahead.bytes > 0 {
                break;
            }
            match assigned.fetch(room.min(left), isolation, &mut self.decoder)? {
                Fetch::Nothing => break,
                Fetch::Got(got) => {
                    *ahead = *ahead + got;
                    self.metrics.fetches.add(1);
                    self.metrics.bytes.add(got.bytes as u64);
                }
                // What was fetched ahead is given out first.
                Fetch::OutOfRange { .. } if assigned.ahead().bytes > 0 => break,
                Fetch::OutOfRange { log_start, log_end } => {
                    return self.reset(index, position, log_start, log_end);
                }
            }
        }
        Ok(())
    }

    fn reset(
        &mut self,
        index: usize,
        from: Offset,
        log_start: Offset,
        log_end: Offset,
    ) -> Result<(), PollError> {
        let assigned = &self.assigned[index];
        let partition = assigned.place();
        if twin!(JumpsToEnd) {
            self.assigned[index].move_to(log_end);
            return Ok(());
        }
        let Some(to) = self.start_of(assigned) else {
            return Err(PollError::OutOfRange { partition, offset: from, log_start, log_end });
        };
        tracing::warn!(%partition, from, to, log_start, log_end, "the position was out of range");
        self.metrics.resets.add(1);
        self.assigned[index].move_to(to);
        self.resets.push(Reset { partition, from, to, log_start, log_end });
        Ok(())
    }

    /// Gives out what was fetched, up to `max.poll.records`.
    fn take(&mut self) -> Result<Polled, PollError> {
        let mut slices: Vec<Slice> = Vec::new();
        let mut taken = 0;
        let first = self.turn;
        for step in 0..self.assigned.len() {
            let index = (first + step) % self.assigned.len();
            let room = self.options.max_poll_records.saturating_sub(taken);
            if room == 0 || self.assigned[index].paused {
                continue;
            }
            match self.assigned[index].take(room, &mut self.decoder, &mut slices) {
                Ok(0) => {}
                Ok(count) => {
                    taken += count;
                    self.turn = (index + 1) % self.assigned.len();
                    let position = self.assigned[index].position;
                    if let Some(position) = position.filter(|_| twin!(OnePositionForAll)) {
                        self.assigned.iter_mut().for_each(|other| other.move_to(position));
                    }
                }
                Err(error) => self.assigned[index].defer(error),
            }
        }
        let resets = std::mem::take(&mut self.resets);
        if slices.is_empty()
            && resets.is_empty()
            && let Some(error) = self.take_deferred()
        {
            return Err(error);
        }
        self.metrics.records.add(taken as u64);
        Ok(Polled::new(slices, resets, &self.readers))
    }

    /// What is ready to be given out.
    fn ahead(&self) -> Ahead {
        let ready = self.assigned.iter().filter(|assigned| !assigned.paused);
        ready.fold(Ahead::default(), |sum, assigned| sum + assigned.ahead())
    }
}

/// Lets the task's runtime do other work before it goes on.
async fn pause() {
    let mut is_over = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
