//! Space that was prepared: which bytes of a file may share a flush with those of others.

use super::*;

/// A file with one sync behind it, and what it says of the space for its next bytes.
struct Bench {
    group: Arc<GroupCommit>,
    file: Arc<CommitFile>,
}

impl Bench {
    fn on(storage: Storage) -> Self {
        let file = files_of(&storage, Path::new("/"), 1).remove(0);
        Self { group: GroupCommit::new(storage, Strategy::FlushOnce), file }
    }

    /// Makes `end` bytes durable, with space for more up to `room`.
    fn prepare(&self, end: u64, room: u64) {
        self.file.written(end);
        self.file.room(room);
        self.group.commit(&[(self.file.clone(), end)]).unwrap();
    }

    /// Whether bytes up to `end`, appended now, are bytes alone.
    fn overwrites(&self, end: u64) -> bool {
        self.file.written(end);
        let target = self.file.lead().expect("nobody syncs it");
        self.file.release();
        self.file.overwritten(&target).is_some()
    }
}

#[test]
fn bytes_are_bytes_alone_within_space_that_a_sync_has_made_durable() {
    let bench = Bench::on(ForgetfulDisk::new().storage());
    bench.prepare(1000, 8192);
    assert!(bench.overwrites(8192));
    assert!(!bench.overwrites(8193));
}

/// A sync that was under way when space was prepared says nothing about it, but all about what was there.
#[test]
fn space_that_is_prepared_beside_a_sync_waits_for_the_next() {
    for later in [8192, 12_288] {
        let bench = Bench::on(ForgetfulDisk::new().storage());
        bench.file.written(1000);
        bench.file.room(8192);
        let target = bench.file.lead().unwrap();
        bench.file.room(later);
        bench.file.synced(target, true);
        bench.file.release();
        assert!(bench.overwrites(8192), "room up to {later}");
        assert!(!bench.overwrites(8193));
    }
}

/// Space that was cut off beside a sync and prepared again has other blocks than those that it made durable.
#[test]
fn space_that_is_cut_off_beside_a_sync_is_not_there_after_it() {
    let bench = Bench::on(ForgetfulDisk::new().storage());
    bench.file.written(1000);
    bench.file.room(8192);
    let target = bench.file.lead().unwrap();
    bench.file.room(4096);
    bench.file.room(8192);
    bench.file.synced(target, true);
    bench.file.release();
    assert!(!bench.overwrites(6000));
}

/// Where the file system is not known to overwrite in place, each file is synced by itself.
#[test]
fn a_disk_that_does_not_say_where_it_overwrites_has_no_bytes_alone() {
    let (gate, _) = mpsc::channel();
    let bench = Bench::on(Storage::new(Arc::new(GatedDisk { disk: ForgetfulDisk::new(), gate })));
    bench.prepare(1000, 8192);
    assert!(!bench.overwrites(2000));
}

/// How many files shared a flush when all were committed together, each within space that was prepared.
fn shared_a_flush(strategy: Strategy, files: usize) -> u64 {
    let storage = ForgetfulDisk::new().storage();
    let files = files_of(&storage, Path::new("/"), files);
    let group = GroupCommit::new(storage, strategy);
    let commit = |end| {
        let targets: Vec<_> = files.iter().map(|file| (file.clone(), end)).collect();
        for file in &files {
            file.written(end);
        }
        group.commit(&targets).unwrap();
    };
    for file in &files {
        file.written(1000);
        file.room(8192);
    }
    commit(1000);
    commit(2000);
    group.metrics().flushed_together.get()
}

#[test]
fn a_flush_is_shared_where_that_was_asked_for_and_there_is_somebody_to_share_it_with() {
    assert_eq!(shared_a_flush(Strategy::FlushOnce, 3), 3);
    assert_eq!(shared_a_flush(Strategy::FlushOnce, 1), 0);
    assert_eq!(shared_a_flush(Strategy::SyncEach, 3), 0);
}
