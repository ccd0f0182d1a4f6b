//! [`GroupCommit`] and [`CommitFile`]: one sync serves all who wait on a file, and whoever waits leads.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    commit::{CommitError, CommitFile, GroupCommit, Strategy},
    explore::{MANY, Scenario},
    io::{ForgetfulDisk, Loss, Open, SyncKind},
    race::Race,
    sync::{Mutex, thread},
};

const fn scenario(name: &'static str, run: fn(), races: &'static [Race]) -> Scenario {
    Scenario { structure: "group_commit", name, run, schedules: MANY, races }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        "what_is_committed_is_on_the_device",
        what_is_committed_is_on_the_device,
        &[Race::ReleasedInSilence, Race::LineLetGo, Race::SyncCountsLaterBytes],
    ),
    scenario(
        "files_are_led_by_whoever_needs_them",
        files_are_led_by_whoever_needs_them,
        &[Race::LineLetGo],
    ),
    scenario(
        "a_truncation_beside_commits",
        a_truncation_beside_commits,
        &[Race::GenerationIgnored],
    ),
    scenario(
        "a_truncation_leaves_nobody_asleep",
        a_truncation_leaves_nobody_asleep,
        &[Race::CallNotPassedOn],
    ),
    scenario("a_failed_sync_fails_all", a_failed_sync_fails_all, &[Race::FailureTellsNobody]),
];

/// Bytes that are written, with what they are told by.
struct Written {
    file: usize,
    end: u64,
    tag: u8,
}

struct Bench {
    disk: ForgetfulDisk,
    group: Arc<GroupCommit>,
    files: Vec<Arc<CommitFile>>,
    /// Appends and truncations exclude each other, as in a log.
    writer: Mutex<()>,
}

impl Bench {
    fn new(files: usize) -> Self {
        let disk = ForgetfulDisk::new();
        let storage = disk.storage();
        let open = |n: usize| storage.open(Path::new(&format!("/{n}")), Open::CreateNew).unwrap();
        let files = (0..files).map(|n| CommitFile::new(open(n), 0)).collect();
        disk.settle();
        let group = GroupCommit::new(storage, Strategy::SyncEach);
        Self { disk, group, files, writer: Mutex::new(()) }
    }

    fn append(&self, file: usize, tag: u8) -> Written {
        let _writer = self.writer.lock();
        self.write(file, tag)
    }

    fn write(&self, file: usize, tag: u8) -> Written {
        let to = &self.files[file];
        let start = to.written_end();
        to.file().write_at(start, vec![tag; 10]).unwrap();
        to.written(start + 10);
        Written { file, end: start + 10, tag }
    }

    fn commit(&self, written: &[&Written]) -> Result<(), CommitError> {
        let target = |it: &&Written| (self.files[it.file].clone(), it.end);
        self.group.commit(&written.iter().map(target).collect::<Vec<_>>())
    }

    /// What a power cut of now would leave.
    fn assert_on_device(&self, written: &Written) {
        assert!(self.files[written.file].durable_end() >= written.end);
        let left = self.disk.fork().power_cut(Loss::Everything).storage();
        let file = left.open(self.files[written.file].file().path(), Open::Read).unwrap();
        let bytes = file.read_at(written.end - 10, 10).unwrap();
        assert_eq!(bytes, [written.tag; 10], "committed up to {}, and lost", written.end);
    }
}

/// Three append to one file and commit, one of them twice.
fn what_is_committed_is_on_the_device() {
    let bench = Bench::new(1);
    thread::scope(|scope| {
        for tags in [&[1, 2][..], &[3], &[4]] {
            let bench = &bench;
            scope.spawn(move || {
                for tag in tags {
                    let written = bench.append(0, *tag);
                    bench.commit(&[&written]).unwrap();
                    bench.assert_on_device(&written);
                }
            });
        }
    });
}

/// Each of three needs two of three files.
fn files_are_led_by_whoever_needs_them() {
    let bench = Bench::new(3);
    thread::scope(|scope| {
        for number in 0..3 {
            let bench = &bench;
            scope.spawn(move || {
                let written = [number, (number + 1) % 3].map(|file| bench.append(file, 1));
                bench.commit(&written.each_ref()).unwrap();
                for written in &written {
                    bench.assert_on_device(written);
                }
            });
        }
    });
}

/// Three commit what stands in the file; a fourth cuts the last of it off and writes it anew.
fn a_truncation_beside_commits() {
    let bench = Bench::new(1);
    let [first, second, third] = [1, 2, 3].map(|tag| bench.append(0, tag));
    thread::scope(|scope| {
        for stays in [first, second] {
            let bench = &bench;
            scope.spawn(move || {
                bench.commit(&[&stays]).unwrap();
                bench.assert_on_device(&stays);
            });
        }
        let bench = &bench;
        scope.spawn(move || match bench.commit(&[&third]) {
            Ok(()) | Err(CommitError::Truncated { end: 30, .. }) => {}
            Err(error) => panic!("{error}"),
        });
        scope.spawn(move || {
            let writer = bench.writer.lock();
            let file = &bench.files[0];
            file.reset(20);
            file.file().set_len(20).unwrap();
            file.file().sync(SyncKind::All).unwrap();
            assert!(file.durable_end() <= 20);
            let anew = bench.write(0, 4);
            drop(writer);
            bench.commit(&[&anew]).unwrap();
            bench.assert_on_device(&anew);
        });
    });
}

/// Of three who commit only one still needs it after a truncation, and nobody commits later: who led,
/// and who was called to lead next, may both have gone.
fn a_truncation_leaves_nobody_asleep() {
    let bench = Bench::new(1);
    let [stays, second, third] = [1, 2, 3].map(|tag| bench.append(0, tag));
    thread::scope(|scope| {
        for goes in [second, third] {
            let bench = &bench;
            scope.spawn(move || drop(bench.commit(&[&goes])));
        }
        scope.spawn(|| bench.commit(&[&stays]).unwrap());
        scope.spawn(|| bench.files[0].reset(10));
    });
    assert_eq!(bench.files[0].durable_end(), 10);
}

/// The first sync fails: nobody is told that his bytes are durable, and nobody waits for ever.
fn a_failed_sync_fails_all() {
    let bench = Bench::new(2);
    let written =
        [1, 2, 3].map(|tag| [0, usize::from(tag == 3)].map(|file| bench.append(file, tag)));
    bench.disk.fail_sync(1);
    let failed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for written in written {
            let (bench, failed) = (&bench, &failed);
            scope.spawn(move || {
                let targets = written.each_ref().map(|it| (bench.files[it.file].clone(), it.end));
                let results = bench.group.commit_each(&targets);
                for (written, result) in written.iter().zip(results) {
                    match result {
                        Ok(()) => bench.assert_on_device(written),
                        Err(CommitError::Io(_)) => drop(failed.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(failed.into_inner() > 0, "a sync failed, and nobody heard of it");
}
