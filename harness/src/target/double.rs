//! A stand-in for the engine until it can be linked: real batches, one file, one sender thread.

use std::{
    collections::VecDeque,
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use trunkline::{
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord},
    types::Durability,
};

use super::{Counters, ProducerSettings};

pub(super) fn partition_for_key(_: &[u8], _: u32) -> u32 {
    0
}

#[derive(Debug, Clone)]
pub(super) struct Ack(Arc<OnceLock<Instant>>);

impl Ack {
    pub(super) fn is_done(&self) -> bool {
        self.0.get().is_some()
    }
    pub(super) fn shares_batch_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
    pub(super) fn acknowledged_at(&self) -> Option<Instant> {
        self.0.get().copied()
    }
    pub(super) fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), String>> {
        let until = Instant::now() + timeout;
        while self.0.get().is_none() {
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_micros(50));
        }
        Some(Ok(()))
    }
}

#[derive(Debug)]
pub(super) struct Log {
    file: Arc<Mutex<File>>,
    durability: Durability,
    totals: Arc<[AtomicU64; 4]>,
}

impl Log {
    pub(super) fn create(dir: &Path, durability: Durability) -> std::io::Result<Self> {
        let file = Arc::new(Mutex::new(File::create(dir.join("double.log"))?));
        Ok(Self { file, durability, totals: Arc::default() })
    }

    pub(super) fn counters(&self) -> Counters {
        let [batches, raw_bytes, batch_bytes, fsyncs] =
            std::array::from_fn(|n| self.totals[n].load(Ordering::Relaxed));
        Counters { batches, raw_bytes, batch_bytes, fsyncs }
    }

    pub(super) fn producer(&self, settings: &ProducerSettings) -> Producer {
        let shared = Arc::new(Shared::default());
        let sender = Sender {
            shared: shared.clone(),
            file: self.file.clone(),
            durable: self.durability == Durability::Durable,
            totals: self.totals.clone(),
            linger: settings.linger,
        };
        let thread = thread::spawn(move || sender.run());
        Producer { shared, settings: settings.clone(), thread: Some(thread) }
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    open: Option<Open>,
    full: VecDeque<Open>,
    bytes: usize,
}

struct Open {
    builder: BatchBuilder,
    since: Instant,
    done: Arc<OnceLock<Instant>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

#[derive(Debug)]
pub(super) struct Producer {
    shared: Arc<Shared>,
    settings: ProducerSettings,
    thread: Option<thread::JoinHandle<()>>,
}

impl Producer {
    pub(super) fn send(
        &self,
        key: Option<&[u8]>,
        value: &[u8],
        timestamp: i64,
    ) -> Result<Ack, String> {
        let record = NewRecord { timestamp, key, value: Some(value), headers: &[] };
        let mut queue = self.shared.queue.lock().unwrap();
        while queue.bytes > self.settings.buffer_memory {
            queue = self.shared.changed.wait(queue).unwrap();
        }
        let size = BatchBuilder::record_bytes(&record);
        if queue
            .open
            .as_ref()
            .is_some_and(|open| open.builder.raw_bytes() + size > self.settings.batch_size)
        {
            let full = queue.open.take().unwrap();
            queue.bytes += full.builder.raw_bytes();
            queue.full.push_back(full);
            self.shared.changed.notify_all();
        }
        if queue.open.is_none() {
            let settings = BatchSettings {
                compression: self.settings.compression,
                ..BatchSettings::default()
            };
            let builder = BatchBuilder::new(Vec::with_capacity(self.settings.batch_size), settings);
            queue.open = Some(Open { builder, since: Instant::now(), done: Arc::default() });
            self.shared.changed.notify_all();
        }
        let open = queue.open.as_mut().unwrap();
        open.builder.push(&record).map_err(|error| error.to_string())?;
        Ok(Ack(open.done.clone()))
    }

    pub(super) fn flush(&mut self) -> Result<(), String> {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| "the sender panicked".to_owned())?;
        }
        Ok(())
    }
}

struct Sender {
    shared: Arc<Shared>,
    file: Arc<Mutex<File>>,
    durable: bool,
    totals: Arc<[AtomicU64; 4]>,
    linger: Duration,
}

impl Sender {
    fn run(self) {
        let mut encoder = Encoder::default();
        loop {
            let mut queue = self.shared.queue.lock().unwrap();
            let mut ready: Vec<Open> = queue.full.drain(..).collect();
            queue.bytes = 0;
            let closed = self.shared.closed.load(Ordering::SeqCst);
            if ready.is_empty()
                && let Some(open) = &queue.open
            {
                let age = open.since.elapsed();
                if age >= self.linger || closed {
                    ready.extend(queue.open.take());
                } else {
                    let left = self.linger.saturating_sub(age);
                    drop(self.shared.changed.wait_timeout(queue, left).unwrap());
                    continue;
                }
            } else if ready.is_empty() {
                if closed {
                    return;
                }
                drop(self.shared.changed.wait_timeout(queue, Duration::from_millis(1)).unwrap());
                continue;
            }
            drop(queue);
            self.shared.changed.notify_all();
            let mut file = self.file.lock().unwrap();
            let mut done = Vec::new();
            for open in ready {
                let sealed = open.builder.seal(&mut encoder).unwrap();
                file.write_all(sealed.bytes()).unwrap();
                let add = |n: usize, by: u64| self.totals[n].fetch_add(by, Ordering::Relaxed);
                add(0, 1);
                add(1, sealed.raw_bytes() as u64);
                add(2, sealed.bytes().len() as u64);
                done.push(open.done);
            }
            if self.durable {
                file.sync_data().unwrap();
                self.totals[3].fetch_add(1, Ordering::Relaxed);
            }
            for done in done {
                let _ = done.set(Instant::now());
            }
        }
    }
}
