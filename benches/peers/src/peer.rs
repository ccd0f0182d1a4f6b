//! What each peer is asked to do, and how: their own batches where they have them, the same records, the same
//! promises.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use commitlog::{CommitLog, LogOptions, ReadLimit, message::MessageBuf, message::MessageSet};
use okaywal::{Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use raft_proto::eraftpb;
use trunkline_benches::rows::{append, appenders::APPENDERS};

/// One of the logs that others wrote.
pub trait Peer: Sized {
    /// Its name and version.
    const NAME: &'static str;
    /// Whether it can make records durable at all.
    const DURABLE: bool = true;

    /// Opens what is in `dir`, or begins there.
    fn open(dir: &Path) -> Self;

    /// Appends a batch; in the page cache, or durable with `sync`, when it returns.
    fn append(&mut self, records: &[&[u8]], sync: bool);

    /// The records that it finds in `dir` when it is opened there.
    fn count(dir: &Path) -> u64;
}

/// One that several threads may append to.
pub trait Shared: Peer + Send + Sync + 'static {
    /// As [`Peer::append`] with a sync; by thread number `appender` of eight.
    fn append_durably(&self, appender: usize, records: &[&[u8]]);
}

/// One whose reads are measured.
pub trait Scanned: Peer {
    /// Opens what is in `dir`; each call then reads all records, checksums verified, and counts them.
    fn scanner(dir: &Path) -> impl FnMut() -> u64 + 'static;
}

/// `commitlog`: a Kafka-like log. Its flush makes nothing durable, and it repairs no torn tail, so that it is held
/// against what is `Written` only.
pub struct Commitlog {
    log: CommitLog,
    buffer: MessageBuf,
}

impl Peer for Commitlog {
    const NAME: &'static str = "commitlog 0.2";
    const DURABLE: bool = false;

    fn open(dir: &Path) -> Self {
        let mut options = LogOptions::new(dir);
        options.segment_max_bytes(1 << 30).index_max_items(10_000_000).message_max_bytes(4 << 20);
        Self { log: CommitLog::new(options).expect("opens"), buffer: MessageBuf::default() }
    }

    fn append(&mut self, records: &[&[u8]], _: bool) {
        self.buffer.clear();
        for record in records {
            self.buffer.push(record).expect("a message takes it");
        }
        self.log.append(&mut self.buffer).expect("the disk has room");
    }

    fn count(dir: &Path) -> u64 {
        Self::scanner(dir)()
    }
}

impl Scanned for Commitlog {
    fn scanner(dir: &Path) -> impl FnMut() -> u64 + 'static {
        let peer = Self::open(dir);
        move || {
            let (mut offset, mut count) = (0, 0);
            while peer.log.next_offset() > offset {
                let read = peer.log.read(offset, ReadLimit::max_bytes(1 << 20)).expect("reads");
                for record in read.iter() {
                    assert!(record.verify_hash(), "a checksum");
                    offset = record.offset() + 1;
                    count += 1;
                }
            }
            count
        }
    }
}

/// `seglog`: one file of a fixed size, one writer, a checksum for each record.
pub struct Seglog(seglog::write::Writer);

/// A slice more than what a file takes before it begins anew.
const SEGLOG_BYTES: usize = append::FILE_BYTES as usize + (128 << 20);

impl Seglog {
    fn path(dir: &Path) -> PathBuf {
        dir.join("segment")
    }
}

impl Peer for Seglog {
    const NAME: &'static str = "seglog 0.1";

    fn open(dir: &Path) -> Self {
        Self(seglog::write::Writer::create(Self::path(dir), SEGLOG_BYTES, 0).expect("opens"))
    }

    fn append(&mut self, records: &[&[u8]], sync: bool) {
        for record in records {
            self.0.append(record).expect("the segment has room");
        }
        if sync {
            self.0.sync().expect("syncs");
        } else {
            self.0.flush_writer().expect("the disk has room");
        }
    }

    fn count(dir: &Path) -> u64 {
        Self::scanner(dir)()
    }
}

impl Scanned for Seglog {
    fn scanner(dir: &Path) -> impl FnMut() -> u64 + 'static {
        // To open it takes a scan as well, which is not measured.
        let writer = seglog::write::Writer::open(Self::path(dir), SEGLOG_BYTES, 0).expect("opens");
        let flushed = writer.flushed_offset();
        let mut reader = seglog::read::Reader::open(Self::path(dir), Some(flushed)).expect("opens");
        move || {
            let (mut records, mut count) = (reader.iter(0), 0);
            while records.next_record().expect("reads").is_some() {
                count += 1;
            }
            count
        }
    }
}

/// `wal-db`: appends without a lock, and syncs that several share. It has no batches: each record is a write.
pub struct WalDb(wal_db::Wal);

impl WalDb {
    fn append_all(&self, records: &[&[u8]]) {
        for record in records {
            let _ = self.0.append(record).expect("the disk has room");
        }
    }
}

impl Peer for WalDb {
    const NAME: &'static str = "wal-db 1";

    fn open(dir: &Path) -> Self {
        Self(wal_db::Wal::open(dir.join("wal")).expect("opens"))
    }

    fn append(&mut self, records: &[&[u8]], sync: bool) {
        self.append_all(records);
        if sync {
            self.0.sync().expect("syncs");
        }
    }

    fn count(dir: &Path) -> u64 {
        let peer = Self::open(dir);
        peer.0.iter().expect("reads").map(|record| u64::from(record.is_ok())).sum()
    }
}

impl Shared for WalDb {
    fn append_durably(&self, _: usize, records: &[&[u8]]) {
        self.append_all(records);
        self.0.sync().expect("syncs");
    }
}

/// `raft-engine`: one stream of all groups' entries, which stay in memory too; compression off.
pub struct RaftEngine {
    engine: Engine,
    /// Of each appender, which has a group of its own: within one, indexes must follow each other.
    next: [AtomicU64; APPENDERS],
}

struct Entries;

impl MessageExt for Entries {
    type Entry = eraftpb::Entry;

    fn index(entry: &Self::Entry) -> u64 {
        entry.index
    }
}

impl RaftEngine {
    fn write(&self, appender: usize, records: &[&[u8]], sync: bool) {
        let first = self.next[appender].fetch_add(records.len() as u64, Relaxed);
        let entries: Vec<_> = (first..)
            .zip(records)
            .map(|(index, record)| eraftpb::Entry {
                index,
                data: record.to_vec().into(),
                ..eraftpb::Entry::default()
            })
            .collect();
        let mut batch = LogBatch::with_capacity(entries.len());
        batch.add_entries::<Entries>(appender as u64 + 1, &entries).expect("a batch takes them");
        self.engine.write(&mut batch, sync).expect("the disk has room");
    }
}

impl Peer for RaftEngine {
    const NAME: &'static str = "raft-engine 0.4";

    fn open(dir: &Path) -> Self {
        let config = Config {
            dir: dir.to_str().expect("text").to_owned(),
            batch_compression_threshold: ReadableSize(0),
            recovery_threads: 2,
            ..Config::default()
        };
        Self {
            engine: Engine::open(config).expect("opens"),
            next: std::array::from_fn(|_| AtomicU64::new(1)),
        }
    }

    fn append(&mut self, records: &[&[u8]], sync: bool) {
        self.write(0, records, sync);
    }

    fn count(dir: &Path) -> u64 {
        let engine = Self::open(dir).engine;
        let of_group = |group: &u64| {
            let range = engine.first_index(*group).zip(engine.last_index(*group));
            range.map_or(0, |(first, last)| {
                let mut found = Vec::new();
                engine
                    .fetch_entries_to::<Entries>(*group, first, last + 1, None, &mut found)
                    .expect("reads")
            })
        };
        engine.raft_groups().iter().map(of_group).sum::<usize>() as u64
    }
}

impl Shared for RaftEngine {
    fn append_durably(&self, appender: usize, records: &[&[u8]]) {
        self.write(appender, records, true);
    }
}

/// `okaywal`: zeros written ahead in files that it uses again once their entries are checkpointed, which here
/// costs nothing. It replays all that is not when it is opened.
pub struct OkayWal(WriteAheadLog);

const OKAYWAL_BYTES: u32 = 64 << 20;

#[derive(Debug, Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl LogManager for Counted {
    fn recover(&mut self, entry: &mut Entry<'_>) -> std::io::Result<()> {
        let chunks = entry.read_all_chunks()?.unwrap_or_default();
        self.0.fetch_add(chunks.len() as u64, Relaxed);
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

impl OkayWal {
    fn open_with(dir: &Path, counted: Counted) -> Self {
        let config = okaywal::Configuration::default_for(dir)
            .preallocate_bytes(OKAYWAL_BYTES)
            .checkpoint_after_bytes(u64::from(OKAYWAL_BYTES) * 3 / 4);
        Self(config.open(counted).expect("opens"))
    }
}

impl Peer for OkayWal {
    const NAME: &'static str = "okaywal 0.3";

    fn open(dir: &Path) -> Self {
        Self::open_with(dir, Counted::default())
    }

    fn append(&mut self, records: &[&[u8]], _: bool) {
        self.append_durably(0, records);
    }

    fn count(dir: &Path) -> u64 {
        let counted = Counted::default();
        drop(Self::open_with(dir, counted.clone()));
        counted.0.load(Relaxed)
    }
}

impl Shared for OkayWal {
    fn append_durably(&self, _: usize, records: &[&[u8]]) {
        let mut entry = self.0.begin_entry().expect("begins");
        for record in records {
            entry.write_chunk(record).expect("the disk has room");
        }
        entry.commit().expect("syncs");
    }
}

/// An empty folder in place of what is at `dir`.
pub fn emptied(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => fs::create_dir_all(dir).expect("the folder takes folders"),
    }
}
