//! `verify`: checks a data folder, ours or Kafka's, without touching it.

mod args;
mod fault;
mod index;
mod partition;
mod producers;
mod recover;
mod report;
mod root;
mod seals;

use std::{
    collections::BTreeSet,
    num::NonZero,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use args::{ABOUT, EXAMPLES, VerifyArgs};
pub use fault::{Counts, Fault, Findings};
pub use recover::Recovery;

use report::{Progress, Report};
use root::Root;
use trunkline::{
    error::IoError,
    io::Storage,
    log::{ChangeError, DirError, OnDamage, OpenError},
    segment::Suffix,
    types::TopicPartition,
};

use crate::folder::{Listing, PartitionFolder, Place};

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The folder could not be read, or opened by `--recover`.
    #[error(transparent)]
    Io(#[from] IoError),
    /// It is a file.
    #[error("{} is a file: name a data folder or a partition's folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing to look at.
    #[error("{} holds no partition: no folder named <topic>-<number> in it", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// Checkpoints and clean-shutdown marker speak for all partitions of a data folder.
    #[error("--recover opens a whole data folder: name {} instead", root.display())]
    OnePartition {
        /// The folder above.
        root: PathBuf,
    },
    /// The findings could not be told.
    #[error("write the findings: {0}")]
    Output(std::io::Error),
    /// Another program has the folder open.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A partition could not be recovered.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A recovered partition could not be closed.
    #[error(transparent)]
    Close(#[from] ChangeError),
}

/// Checks what `args` say and prints what was found. Whether all is well.
pub fn run(args: &VerifyArgs) -> Result<bool, VerifyError> {
    let report = look(args)?;
    report.print(args.json)?;
    Ok(report.findings.fault_count() == 0)
}

/// Checks what `args` say: what `--recover` did, and what was found then. Prints nothing but progress.
pub fn check(args: &VerifyArgs) -> Result<(Vec<Recovery>, Findings), VerifyError> {
    let report = look(args)?;
    Ok((report.recoveries, report.findings))
}

fn look(args: &VerifyArgs) -> Result<Report, VerifyError> {
    let storage = Storage::portable();
    let job = Job::find(&storage, args)?;
    let mut report = Report::default();
    if args.recover {
        let mut unheard = Findings::default();
        let root = Root::read(&storage, &job.root, &mut unheard);
        let config = |name: &TopicPartition| {
            let compacted = compacted(args, &root, name).is_some();
            let on_damage = if args.cut_damage { OnDamage::Cut } else { OnDamage::Refuse };
            root.config(name).compacted(compacted).on_damage(on_damage)
        };
        report.recoveries = recover::recover(&storage, &job.root, &job.partitions, config)?;
    }
    let start = Instant::now();
    let has_damage = report.recoveries.iter().any(|recovery| !recovery.damaged.is_empty());
    report.findings = job.check(&storage, args, has_damage);
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// What is to be checked.
struct Job {
    /// The data folder.
    root: PathBuf,
    partitions: Vec<PartitionFolder>,
    set_aside: Vec<PathBuf>,
    /// Whether these are all partitions of the data folder.
    is_whole: bool,
}

impl Job {
    fn find(storage: &Storage, args: &VerifyArgs) -> Result<Self, VerifyError> {
        let path = args.dir.clone();
        match Place::find(storage, &path)? {
            Place::File(path) => Err(VerifyError::NotAFolder { path }),
            Place::Root { partitions, .. } if partitions.is_empty() => {
                Err(VerifyError::Nothing { path })
            }
            Place::Root { partitions, set_aside } => {
                Ok(Self { root: path, partitions, set_aside, is_whole: true })
            }
            Place::Partition(partition) => {
                let root = path.join("..");
                let root = root.canonicalize().unwrap_or(root);
                if args.recover {
                    return Err(VerifyError::OnePartition { root });
                }
                let (partitions, set_aside) = (vec![partition], Vec::new());
                Ok(Self { root, partitions, set_aside, is_whole: false })
            }
        }
    }

    fn check(&self, storage: &Storage, args: &VerifyArgs, has_damage: bool) -> Findings {
        let mut findings = Findings::default();
        let root = Root::read(storage, &self.root, &mut findings);
        if self.is_whole {
            let names: BTreeSet<_> = self.partitions.iter().map(|it| it.name.clone()).collect();
            root.check_missing(&names, &mut findings);
        }
        if has_damage {
            findings.note(
                "the folder is not closed, since it holds damage: each open finds it again, and mends \
                 only what a crash leaves at the ends of the logs",
            );
        } else if !root.is_closed {
            findings.note(
                "the folder was not closed cleanly, or is in use: what a crash leaves at the ends \
                 of the logs counts as a fault here, and is mended by the next open",
            );
        }
        for path in &self.set_aside {
            findings.note(format!("not looked at: {}", path.display()));
        }
        for found in self.check_partitions(storage, args, &root) {
            findings.merge(found);
        }
        findings
    }

    /// Checks all partitions, on as many threads as there are cores.
    fn check_partitions(&self, storage: &Storage, args: &VerifyArgs, root: &Root) -> Vec<Findings> {
        let read_bytes = AtomicU64::new(0);
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Findings>> =
            self.partitions.iter().map(|_| Mutex::default()).collect();
        let work = || {
            while let Some(partition) = self.partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                let compacted = compacted(args, root, &partition.name);
                let found = partition::check(storage, partition, root, compacted, &read_bytes);
                let place = self.partitions.iter().position(|other| other == partition);
                if let Some(slot) = place.and_then(|place| results.get(place)) {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = found;
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let progress = Progress::new(self.bytes(storage));
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> =
                (0..cores.min(self.partitions.len())).map(|_| scope.spawn(work)).collect();
            if progress.is_shown() {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        progress.show(read_bytes.load(Ordering::Relaxed));
                        thread::sleep(Duration::from_millis(100));
                    }
                });
            }
            for worker in workers {
                if let Err(panic) = worker.join() {
                    is_done.store(true, Ordering::Relaxed);
                    std::panic::resume_unwind(panic);
                }
            }
            is_done.store(true, Ordering::Relaxed);
        });
        progress.clear();
        results
            .into_iter()
            .map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    /// Bytes of all logs, as far as the folders can be listed.
    fn bytes(&self, storage: &Storage) -> u64 {
        let of = |partition: &PartitionFolder| -> u64 {
            let listing = Listing::read(storage, &partition.path).unwrap_or_default();
            listing.of(Suffix::Log).map(|(_, len)| len).sum()
        };
        self.partitions.iter().map(of).sum()
    }
}

/// Why gaps between a partition's offsets are what compaction leaves, if they are.
fn compacted(args: &VerifyArgs, root: &Root, partition: &TopicPartition) -> Option<&'static str> {
    let named = args.says_compacted(partition.topic.as_str());
    named.then_some("--compacted").or_else(|| root.compacted(partition))
}
