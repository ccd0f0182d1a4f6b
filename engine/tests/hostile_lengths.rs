//! Lengths and counts that lie: a few bytes from outside claim that much more follows (KAFKA-14063,
//! kafka-protocol-rs#152). Each gets a typed error, or is done without, and what is allocated for it is
//! bounded by the bytes that are there, whatever they claim.
//!
//! The allocator counts what Rust code asks for; libzstd's own memory it does not see.

use std::{
    alloc::System,
    fmt::Display,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::{ForgetfulDisk, Open, Storage},
    limits::MAX_BATCH_BYTES,
    log::{
        Isolation, LogConfig, LogDir, PartitionLog, ReadError, UnrecoveredLog,
        checkpoint::{LOG_STARTS, RECOVERY_POINTS, read_offsets},
        epochs::LeaderEpochs,
        producers::ProducerStates,
        state::STATE_FILE,
    },
    record::{Batch, BatchBuilder, BatchSettings, Codec, Decoder, Encoder, NewRecord},
    segment::Seals,
    types::{TopicName, TopicPartition},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What may be allocated for any of them, bytes in sum.
const BOUND: usize = 1 << 20;

/// What is done with the bytes that lie. It gives the typed error, or says that they were done without.
type Act = Box<dyn FnOnce() -> Result<String, String>>;
/// A name, and what makes the bytes.
type Claim = (&'static str, fn() -> Act);

const CLAIMS: [Claim; 22] = [
    ("a batch of 256 MiB", || batch_check(8, (MAX_BATCH_BYTES as i32 - 12).to_be_bytes())),
    ("a batch of 2 GiB", || batch_check(8, i32::MAX.to_be_bytes())),
    (A_MILLION_RECORDS, || records_of(1 << 20, Codec::None, record(0))),
    ("2^31 - 1 records", || records_of(i32::MAX, Codec::None, record(0))),
    ("2^31 - 1 headers of a record", || records_of(1, Codec::None, record(i32::MAX))),
    ("a record of 2 GiB", || records_of(1, Codec::None, varint(i32::MAX))),
    ("a key of 2 GiB", || records_of(1, Codec::None, record_with_key(i32::MAX))),
    ("a snappy block of 2 GiB", || records_of(1, Codec::Snappy, snappy_block(i32::MAX, &[0; 9]))),
    ("4 GiB in a snappy block", || {
        records_of(1, Codec::Snappy, snappy_block(8, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0]))
    }),
    ("an lz4 block of 2 GiB", || records_of(1, Codec::Lz4, lz4_frame())),
    ("1 TiB in a zstd frame", || records_of(1, Codec::Zstd, zstd_frame())),
    (A_BATCH_IN_A_LOG, || fetch_of_a_batch_that_claims(MAX_BATCH_BYTES as i32 - 12)),
    ("a batch in a log that is opened", || open_with_the_last_batch(MAX_BATCH_BYTES as i32 - 12)),
    ("an index of 1 TiB", || open_with_a_file_of_a_tebibyte("t-0/00000000000000000000.index")),
    ("a time index of 1 TiB", || {
        open_with_a_file_of_a_tebibyte("t-0/00000000000000000000.timeindex")
    }),
    ("an index of aborted transactions of 1 TiB", || {
        open_with_a_file_of_a_tebibyte("t-0/00000000000000000000.txnindex")
    }),
    ("our own checkpoint of 1 TiB", || open_with_a_file_of_a_tebibyte(STATE_FILE)),
    ("a recovery point checkpoint of 1 TiB", || open_with_a_file_of_a_tebibyte(RECOVERY_POINTS)),
    ("2^31 - 1 lines of a checkpoint", checkpoint),
    ("2^31 - 1 leader epochs", leader_epochs),
    ("2^31 - 1 producers of a snapshot", snapshot),
    ("seals of 1 TiB", seals),
];
const A_MILLION_RECORDS: &str = "a million records";
const A_BATCH_IN_A_LOG: &str = "a batch of 256 MiB in a log";

/// The counter is one for all threads: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that `act` allocates.
fn allocated(act: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    act();
    region.change().bytes_allocated
}

#[test]
fn what_is_claimed_is_not_allocated() {
    let _alone = alone();
    let big = allocated(|| drop(std::hint::black_box(vec![1_u8; 2 * BOUND])));
    assert!(big > BOUND, "the counter counts");
    for (name, claim) in CLAIMS {
        let act = claim();
        let mut outcome = Ok(String::new());
        let bytes = allocated(|| outcome = act());
        let answer = outcome.unwrap_or_else(|what| panic!("{name}: {what}"));
        println!("{name:<38} {bytes:>7} bytes allocated: {answer}");
        assert!(bytes <= BOUND, "{name}: {bytes} bytes were allocated");
    }
}

#[cfg(feature = "twins")]
#[test]
fn twins_of_lengths_are_caught() {
    use trunkline::twins::Twin;
    let _alone = alone();
    let pairs =
        [(Twin::LengthBelieved, A_BATCH_IN_A_LOG), (Twin::CountBelieved, A_MILLION_RECORDS)];
    for (twin, name) in pairs {
        let (_, claim) = CLAIMS.iter().find(|claim| claim.0 == name).unwrap();
        let act = claim();
        twin.plant();
        let bytes = allocated(|| drop(act()));
        Twin::uproot();
        println!("{:<22} {name}: {bytes} bytes allocated", format!("{twin:?}"));
        assert!(bytes > BOUND, "{name}: {twin:?} is not seen");
    }
    println!("{} of {} planted bugs are caught", pairs.len(), pairs.len());
}

/// The typed error.
fn refused<T, E: Display>(result: Result<T, E>) -> Result<String, String> {
    result.err().map(|error| error.to_string()).ok_or_else(|| "it was believed".into())
}

/// A whole batch of one record without a payload.
fn sound_batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    builder.push(&NewRecord { timestamp: 1, ..NewRecord::default() }).unwrap();
    builder.seal(&mut Encoder::new()).unwrap().into_bytes()
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}

fn batch_check(at: usize, field: [u8; 4]) -> Act {
    let mut bytes = sound_batch();
    put(&mut bytes, at, field);
    Box::new(move || refused(Batch::check(&bytes)))
}

/// A batch with a right checksum that claims `count` records and holds these bytes of them.
fn records_of(count: i32, codec: Codec, records: Vec<u8>) -> Act {
    let mut bytes = sound_batch();
    bytes.truncate(61);
    bytes.extend(records);
    let length = bytes.len() as i32 - 12;
    put(&mut bytes, 8, length.to_be_bytes());
    put(&mut bytes, 21, i16::from(codec.id()).to_be_bytes());
    put(&mut bytes, 23, (count - 1).to_be_bytes());
    put(&mut bytes, 57, count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    put(&mut bytes, 17, crc.to_be_bytes());
    Box::new(move || {
        let batch = Batch::check(&bytes).map_err(|error| error.to_string())?;
        let mut decoder = Decoder::new();
        match batch.records(&mut decoder) {
            Err(error) => Ok(error.to_string()),
            // As a caller does who wants them all.
            Ok(records) => match records.collect::<Vec<_>>().pop() {
                Some(Err(error)) => Ok(error.to_string()),
                other => Err(format!("the last record is {other:?}")),
            },
        }
    })
}

/// Zigzag, seven bits a byte.
fn varint(number: i32) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 31)) as u32;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A record without key and value that claims so many headers.
fn record(headers: i32) -> Vec<u8> {
    let body = [&[0, 0, 0, 1, 1][..], &varint(headers)].concat();
    [varint(body.len() as i32), body].concat()
}

fn record_with_key(length: i32) -> Vec<u8> {
    let body = [&[0, 0, 0][..], &varint(length), &[1, 0]].concat();
    [varint(body.len() as i32), body].concat()
}

/// A xerial stream of one block that claims this length.
fn snappy_block(length: i32, block: &[u8]) -> Vec<u8> {
    let header = [&b"\x82SNAPPY\0"[..], &1_i32.to_be_bytes(), &1_i32.to_be_bytes()].concat();
    [&header, &length.to_be_bytes()[..], block].concat()
}

/// A frame of independent blocks of at most 64 KiB, whose first block claims 2 GiB.
fn lz4_frame() -> Vec<u8> {
    let descriptor = [0x60, 0x40];
    let checksum = (twox_hash::XxHash32::oneshot(0, &descriptor) >> 8) as u8;
    let block = [&0x7FFF_FFFF_u32.to_le_bytes()[..], &[0; 9]].concat();
    [&0x184D_2204_u32.to_le_bytes()[..], &descriptor, &[checksum], &block].concat()
}

/// A frame of one segment whose content is said to have 2^40 bytes, with an empty last block.
fn zstd_frame() -> Vec<u8> {
    let content_size = (1_u64 << 40).to_le_bytes();
    [&0xFD2F_B528_u32.to_le_bytes()[..], &[0xE0], &content_size, &[1, 0, 0]].concat()
}

const ROOT: &str = "/data";
const LOG: &str = "/data/t-0/00000000000000000000.log";

fn open(storage: &Storage) -> Result<PartitionLog, String> {
    let dir = LogDir::open(storage, Path::new(ROOT), Strategy::SyncEach);
    let dir = Arc::new(dir.map_err(|error| error.to_string())?);
    let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let config = LogConfig::default().index_interval_bytes(1);
    let log = UnrecoveredLog::open(&dir, &partition, config, clock);
    let (log, _) = log.and_then(UnrecoveredLog::recover).map_err(|error| error.to_string())?;
    Ok(log)
}

/// An open log of three batches.
fn filled(disk: &ForgetfulDisk) -> PartitionLog {
    let log = open(&disk.storage()).unwrap();
    for _ in 0..3 {
        let batch = trunkline::record::SealedBatch::check(sound_batch()).unwrap();
        log.append(vec![batch], 0).unwrap();
    }
    log.commit(3).unwrap();
    log
}

/// Batch `number` of three claims `length`.
fn claim_in_log(disk: &ForgetfulDisk, number: usize, length: i32) {
    let position = number * sound_batch().len() + 8;
    let file = disk.storage().open(Path::new(LOG), Open::Write).unwrap();
    file.write_at(position as u64, length.to_be_bytes().to_vec()).unwrap();
}

fn fetch_of_a_batch_that_claims(length: i32) -> Act {
    let disk = ForgetfulDisk::new();
    let log = filled(&disk);
    claim_in_log(&disk, 1, length);
    Box::new(move || match log.fetch(1, 1, Isolation::LogEnd) {
        Err(ReadError::Corrupt(corruption)) => Ok(corruption.to_string()),
        other => Err(format!("{other:?}")),
    })
}

fn open_with_the_last_batch(length: i32) -> Act {
    let disk = ForgetfulDisk::new();
    drop(filled(&disk));
    claim_in_log(&disk, 2, length);
    Box::new(move || {
        let end = open(&disk.fork().storage())?.watermarks().log_end;
        if end == 2 { Ok("cut off".into()) } else { Err(format!("ends at {end}")) }
    })
}

/// Sparse, so that it costs nothing to have.
fn make_huge(disk: &ForgetfulDisk, path: &Path) {
    disk.storage().open(path, Open::Create).unwrap().set_len(1 << 40).unwrap();
}

/// Either the folder opens with all its records, or the error says how long the file is.
fn open_with_a_file_of_a_tebibyte(name: &'static str) -> Act {
    let disk = ForgetfulDisk::new();
    drop(filled(&disk));
    make_huge(&disk, &PathBuf::from(ROOT).join(name));
    Box::new(move || match open(&disk.fork().storage()) {
        Ok(log) if log.watermarks().log_end == 3 => Ok("done without".into()),
        Ok(log) => Err(format!("{:?}", log.watermarks())),
        Err(error) if error.contains("1099511627776 bytes long") => Ok(error),
        Err(error) => Err(error),
    })
}

fn checkpoint() -> Act {
    let storage = ForgetfulDisk::new().storage();
    let path = PathBuf::from("/").join(LOG_STARTS);
    storage.replace(&path, b"0\n2147483647\nt 0 1\n").unwrap();
    Box::new(move || refused(read_offsets(&storage, &path)))
}

fn leader_epochs() -> Act {
    Box::new(|| refused(LeaderEpochs::parse(Path::new("f"), b"0\n2147483647\n0 0\n")))
}

fn snapshot() -> Act {
    let mut bytes = vec![0; 10 + 46];
    put(&mut bytes, 0, 1_i16.to_be_bytes());
    put(&mut bytes, 6, i32::MAX.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[6..]);
    put(&mut bytes, 2, crc.to_be_bytes());
    Box::new(move || refused(ProducerStates::parse(Path::new("f"), &bytes, 9, 0)))
}

fn seals() -> Act {
    let disk = ForgetfulDisk::new();
    make_huge(&disk, &PathBuf::from("/").join(trunkline::segment::SEALS_FILE));
    Box::new(move || refused(Seals::load(&disk.storage(), Path::new("/"))))
}
