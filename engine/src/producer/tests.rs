//! The room as a whole, on logs that are doubles. Where time matters the clock is moved by hand and
//! the sender is stepped by the test; no test waits for a duration.

mod batches;
mod delivery;
mod logs;
mod measure;
mod refusals;
mod threads;

use std::{
    collections::HashMap,
    hint::black_box,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    accumulator::{Accumulator, Placed, Placing},
    double::{Double, DoubleTopic, Failure},
    queue::TopicQueues,
    schedule::Look,
    sender::Sender,
    *,
};
use crate::{
    clock::{ManualClock, SystemClock},
    commit::{Strategy, wait_for},
    io::Storage,
    log::{
        AppendError::{Damaged, Failed},
        Isolation, LogDir, PartitionLog, UnrecoveredLog,
    },
    record::{Codec, Compression, Decoder, Header},
    topic::{Topic, TopicConfig},
    types::{Durability, TopicId, TopicName, TopicPartition},
};

const MS: Duration = Duration::from_millis(1);
const NOW: i64 = 1_700_000_000_000;

/// A producer without threads, with one topic.
struct Bench {
    clock: Arc<ManualClock>,
    accumulator: Arc<Accumulator>,
    sender: Sender,
    topic: Arc<DoubleTopic>,
}

impl Bench {
    fn new(options: ProducerOptions, topic: DoubleTopic) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let accumulator = Accumulator::new(clock.clone(), options);
        let sender = Sender::new(accumulator.clone(), false);
        Self { clock, accumulator, sender, topic: Arc::new(topic) }
    }

    fn small(options: ProducerOptions) -> Self {
        Self::new(options.batch_size(200), DoubleTopic::new(1, 200))
    }

    fn send(&self, record: &ProducerRecord<'_>) -> Result<Ack, SendError> {
        let owner = Arc::as_ptr(&self.topic) as usize;
        let topic = self.accumulator.topic(0, owner, || self.topic.queues())?;
        match self.accumulator.place(topic, record, &mut None)? {
            Placed::InBatch(ack) => Ok(ack),
            Placed::NeedsRoom(_) => Err(SendError::Full),
        }
    }

    fn send_text(&self, text: &str) -> Ack {
        self.send(&ProducerRecord::of_value(text.as_bytes())).unwrap()
    }

    fn log(&self) -> &Double {
        &self.topic.partitions[0]
    }

    fn step(&mut self) -> Look {
        let look = self.sender.step();
        self.sender.commit_now();
        look
    }

    fn step_after(&mut self, wait: Duration) -> Look {
        self.clock.advance(wait);
        self.step()
    }
}

fn offset(ack: Ack) -> i64 {
    assert!(ack.is_done(), "not decided");
    ack.wait().unwrap().offset.unwrap()
}

fn error(ack: Ack) -> SendError {
    assert!(ack.is_done(), "not decided");
    ack.wait().unwrap_err()
}
