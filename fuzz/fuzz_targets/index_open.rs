//! Any bytes as the indexes of a sound segment: they are believed over the log nowhere. Every offset is
//! found where it is; a timestamp gives a record that bears it or a later one; the segment opens for
//! append and takes a batch, or says what is wrong.
#![no_main]

use std::{path::Path, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use trunkline::{
    io::{ForgetfulDisk, Open, Storage},
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord, SealedBatch},
    segment::{ActiveSegment, Segment, SegmentError, SegmentOptions, Suffix, Trust, file_path},
};
use trunkline_fuzz as _; // its allocator

const BASE: i64 = 1000;
const DIR: &str = "/t-0";
const TIMES: i64 = 1_700_000_000_000;

/// A sound segment, and where each of its batches begins.
struct Sound {
    disk: ForgetfulDisk,
    len: u64,
    end: i64,
    /// Base offset, offset behind, position and largest timestamp of each batch.
    batches: Vec<(i64, i64, u64, i64)>,
}

fn options() -> SegmentOptions {
    SegmentOptions { index_interval_bytes: 100, ..SegmentOptions::default() }
}

fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = ForgetfulDisk::new();
        let storage = disk.storage();
        storage.create_dir_all(Path::new(DIR)).expect("an empty disk takes a folder");
        let mut active = ActiveSegment::create(&storage, Path::new(DIR), BASE, &options())
            .expect("an empty folder takes a segment");
        let mut batches = Vec::new();
        for number in 0..12_i64 {
            let timestamp = TIMES + number * 7 % 60;
            let (base, at) = (active.next_offset(), active.len());
            let batch = batch(base, number % 3 + 1, timestamp, number as usize * 5);
            active.append(&mut vec![batch]).expect("there is room");
            batches.push((base, active.next_offset(), at, timestamp));
        }
        let (len, end) = (active.len(), active.next_offset());
        Sound { disk, len, end, batches }
    })
}

fn batch(base: i64, records: i64, timestamp: i64, size: usize) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let value = vec![b'v'; size];
    for _ in 0..records {
        let record = NewRecord { timestamp, value: Some(&value), ..NewRecord::default() };
        builder.push(&record).expect("fits");
    }
    let mut batch = builder.seal(&mut Encoder::new()).expect("seals");
    batch.stamp(base, 0);
    batch
}

fn put(storage: &Storage, suffix: Suffix, bytes: &[u8]) {
    let path = file_path(Path::new(DIR), BASE, suffix);
    let file = storage.open(&path, Open::Create).expect("opens");
    file.set_len(0).expect("cuts");
    file.write_at(0, bytes.to_vec()).expect("writes");
}

// One byte for the length of the offset index, one for that of the time index, in entries, then the
// bytes of both and of the transaction index.
fuzz_target!(|input: &[u8]| {
    let Some(([offsets, times], rest)) = input.split_first_chunk() else { return };
    let (offsets, rest) = rest.split_at((usize::from(*offsets) * 8).min(rest.len()));
    let (times, transactions) = rest.split_at((usize::from(*times) * 12).min(rest.len()));
    let sound = sound();
    let storage = sound.disk.fork().storage();
    put(&storage, Suffix::Index, offsets);
    put(&storage, Suffix::TimeIndex, times);
    if !transactions.is_empty() {
        put(&storage, Suffix::TxnIndex, transactions);
    }
    let (dir, len, end) = (Path::new(DIR), sound.len, sound.end);
    let sealed = Segment::sealed(&storage, dir, BASE, len, end, None, &options());
    check(&sealed, sound);
    match ActiveSegment::open(&storage, dir, BASE, &options(), Trust::Indexes) {
        Ok(mut active) => {
            check(active.segment(), sound);
            active.append(&mut vec![batch(end, 1, TIMES, 10)]).expect("there is room");
            assert_eq!(active.next_offset(), end + 1);
            active.seal().expect("the disk has room");
        }
        Err(SegmentError::Corrupt(_)) => {
            let again = ActiveSegment::open(&storage, dir, BASE, &options(), Trust::Nothing);
            check(again.expect("the log is sound").segment(), sound);
        }
        Err(error) => panic!("{error}"),
    }
});

fn check(segment: &Segment, sound: &Sound) {
    for (base, next, position, _) in &sound.batches {
        let found = segment.locate(*next - 1).expect("the log is sound");
        let found = found.map(|(at, header)| (at, header.base_offset));
        assert_eq!(found, Some((*position, *base)));
    }
    let latest = sound.batches.iter().map(|(.., timestamp)| *timestamp).max();
    for wanted in [TIMES + 31, TIMES + 100] {
        let found = segment.find_timestamp(wanted, BASE).expect("the log is sound");
        if let Some((timestamp, offset)) = found {
            let holds = |(base, next, _, held): &&(i64, i64, u64, i64)| {
                (*base..*next).contains(&offset) && *held == timestamp
            };
            assert!(timestamp >= wanted && sound.batches.iter().any(|it| holds(&it)));
        }
        assert!(found.is_none() || latest.is_some_and(|latest| latest >= wanted));
    }
    let _ = segment.transactions();
}
