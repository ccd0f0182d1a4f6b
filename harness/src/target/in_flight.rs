//! Batches that are not acknowledged yet, each with the tags of its records.
//!
//! The engine stamps the time of the acknowledgement itself, once a batch, so the harness needs no
//! thread of its own to wait and no callback: it asks from time to time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use trunkline::producer::Ack;

use crate::latency::Recorder;

/// Tag lists that are kept for reuse.
const SPARE_LISTS: usize = 64;

/// What one producer has sent and not heard of.
#[derive(Debug)]
pub(super) struct InFlight {
    recorder: Arc<Recorder>,
    batches: VecDeque<Flight>,
    /// Number of the batch at the front.
    front: u64,
    /// For each slot the number of the batch that its last record went into.
    latest: Vec<u64>,
    spare: Vec<Vec<u64>>,
}

#[derive(Debug)]
struct Flight {
    ack: Ack,
    tags: Vec<u64>,
}

impl InFlight {
    pub(super) fn new(recorder: Arc<Recorder>, slots: u32) -> Self {
        let latest = vec![u64::MAX; slots.max(1) as usize];
        Self { recorder, batches: VecDeque::new(), front: 0, latest, spare: Vec::new() }
    }

    /// A record was sent. Records of one slot that follow each other into one batch share an entry.
    pub(super) fn sent(&mut self, slot: u32, ack: Ack, tag: u64) {
        let latest = &mut self.latest[slot as usize];
        let place = latest.wrapping_sub(self.front) as usize;
        if let Some(flight) = self.batches.get_mut(place)
            && flight.ack.shares_batch_with(&ack)
        {
            flight.tags.push(tag);
            return;
        }
        *latest = self.front + self.batches.len() as u64;
        let mut tags = self.spare.pop().unwrap_or_default();
        tags.push(tag);
        self.batches.push_back(Flight { ack, tags });
    }

    /// Records the batches at the front that are done.
    pub(super) fn harvest(&mut self) {
        while self.batches.front().is_some_and(|flight| flight.ack.is_done()) {
            self.record_front();
        }
    }

    /// Waits for all batches and records them.
    pub(super) fn wait_for_all(&mut self) {
        while let Some(flight) = self.batches.front() {
            if flight.ack.wait_timeout(Duration::from_secs(1)).is_some() {
                self.record_front();
            }
        }
    }

    fn record_front(&mut self) {
        let Some(Flight { ack, mut tags }) = self.batches.pop_front() else { return };
        self.front += 1;
        match (ack.wait_timeout(Duration::ZERO), ack.acknowledged_at()) {
            (Some(Ok(_)), Some(at)) => self.recorder.acknowledged(&tags, at),
            (Some(Err(error)), _) => self.recorder.failed(tags.len() as u64, &error),
            // Only called for batches that are done.
            (answer, _) => unreachable!("a batch that is done has an answer: {answer:?}"),
        }
        if self.spare.len() < SPARE_LISTS {
            tags.clear();
            self.spare.push(tags);
        }
    }
}
