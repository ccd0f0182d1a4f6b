//! Several threads that each make one batch durable after another: what they share is the sync.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::OpenOptions,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::{Arc, Barrier, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use trunkline::{commit::Strategy, io::Storage, log::LogDir, types::Durability};

use super::{
    append::{append_again, log_in},
    durable::{BLOCK, FILE_BYTES, prepared},
};
use crate::{
    pairs::{Group, Work},
    sealed,
};

/// The group's name.
pub const NAME: &str = "durable, 1024 B x 16, 8 appenders with one batch in flight each";
/// Threads.
pub const APPENDERS: usize = 8;
/// Batches of a thread in a slice.
pub const BATCHES: usize = 32;

/// How long each batch took until it was durable, by row.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Arc<Mutex<BTreeMap<String, Vec<Duration>>>>);

impl Latencies {
    fn add(&self, row: &str, of_slice: impl IntoIterator<Item = Duration>) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.entry(row.to_owned()).or_default().extend(of_slice);
    }

    /// A table in Markdown.
    pub fn table(&self) -> String {
        let mut text =
            String::from("| row | batch p50, µs | p99 | p99.9 | max |\n|---|---|---|---|---|\n");
        for (row, latencies) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            latencies.sort_unstable();
            let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
            let [p50, p99, p999, max] =
                [0.5, 0.99, 0.999, 1.0].map(|part| at(part).as_secs_f64() * 1e6);
            let _ = writeln!(text, "| {row} | {p50:.0} | {p99:.0} | {p999:.0} | {max:.0} |");
        }
        text
    }
}

/// An appender: makes one batch durable each time that it is called.
pub type Appender = Box<dyn FnMut() + Send>;

/// A row in which these threads append side by side. `ready` is called before each slice.
pub fn side_by_side<R: FnMut(&mut Vec<Appender>)>(
    name: &str,
    latencies: &Latencies,
    mut appenders: Vec<Appender>,
    mut ready: R,
) -> impl FnMut() -> Duration + use<R> {
    let (name, latencies) = (name.to_owned(), latencies.clone());
    move || {
        ready(&mut appenders);
        let begin = Barrier::new(appenders.len() + 1);
        let (elapsed, each) = thread::scope(|scope| {
            let threads: Vec<_> = appenders
                .iter_mut()
                .map(|append| {
                    let begin = &begin;
                    scope.spawn(move || {
                        begin.wait();
                        let mut taken = Vec::with_capacity(BATCHES);
                        for _ in 0..BATCHES {
                            let start = Instant::now();
                            append();
                            taken.push(start.elapsed());
                        }
                        taken
                    })
                })
                .collect();
            begin.wait();
            let start = Instant::now();
            let each: Vec<_> = threads.into_iter().map(|it| it.join().expect("appends")).collect();
            (start.elapsed(), each)
        });
        latencies.add(&name, each.into_iter().flatten());
        elapsed
    }
}

/// What all of the appenders do in a slice.
pub fn work(batch: &[u8]) -> Work {
    let batches = (APPENDERS * BATCHES) as u64;
    Work { bytes: batches * batch.len() as u64, units: batches, unit: "batches" }
}

/// One direct write of all that is in flight, again and again, and the engine with one partition and with one a
/// thread.
pub fn group(folder: &Path, latencies: &Latencies) -> Group<'static> {
    let batch = sealed(16, 1024);
    let mut group = Group::new(NAME, work(&batch));
    let name = "raw: all 8 in one write, overwritten, O_DIRECT and O_DSYNC";
    group.row(name, direct(folder, name, batch.len(), latencies));
    for partitions in [1, APPENDERS] {
        for storage in [Storage::portable(), Storage::system()] {
            let name = format!("trunkline, partitions: {partitions}, {}", storage.backend());
            let dir = LogDir::open(&storage, &folder.join(&name), Strategy::FlushOnce);
            let dir = Arc::new(dir.expect("opens"));
            let logs: Vec<_> = (0..partitions as u32)
                .map(|it| {
                    Arc::new(log_in(&dir, it, |config| config.durability(Durability::Durable)))
                })
                .collect();
            let appender = |place: usize| -> Appender {
                let (log, mut spare) = (logs[place % partitions].clone(), Some(batch.clone()));
                Box::new(move || {
                    let end = append_again(&log, &mut spare);
                    log.commit(end).expect("syncs");
                })
            };
            let appenders = (0..APPENDERS).map(appender).collect();
            let row = side_by_side(&name, latencies, appenders, move |_| {
                for log in logs.iter().filter(|log| log.size().1 >= FILE_BYTES) {
                    log.restart_at(0).expect("the log can be emptied");
                    log.step(Duration::MAX).expect("files can be removed");
                }
            });
            group.row(name.clone(), row);
        }
    }
    group
}

fn direct(
    folder: &Path,
    name: &str,
    len: usize,
    latencies: &Latencies,
) -> impl FnMut() -> Duration + use<> {
    let path = folder.join("direct-8");
    drop(prepared(&path));
    let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
    let file = OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path);
    let file = file.expect("the file system takes direct writes");
    let len = (len * APPENDERS).next_multiple_of(BLOCK as usize);
    let room = vec![1; len + BLOCK as usize];
    let mut position = 0;
    let (name, latencies) = (name.to_owned(), latencies.clone());
    move || {
        let at = room.as_ptr().align_offset(BLOCK as usize);
        let mut taken = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            let start = Instant::now();
            file.write_all_at(&room[at..at + len], position).expect("writes");
            taken.push(start.elapsed());
            position += len as u64;
            if position + len as u64 > FILE_BYTES {
                position = 0;
            }
        }
        latencies.add(&name, taken.iter().copied());
        taken.iter().sum()
    }
}
