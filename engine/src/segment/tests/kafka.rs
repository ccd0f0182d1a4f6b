//! Segments that Apache Kafka 4.3.1 wrote (`tests/interop/fixtures`): read as they are, and written
//! again to the same bytes.

use std::{fs, path::Path};

use super::*;
use crate::segment::{FileName, Stage};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/fixtures/kafka-folder");

/// A segment of Kafka's, as its folder entry shows it.
struct Theirs {
    dir: PathBuf,
    base: Offset,
    len: u64,
    end: Offset,
    is_last: bool,
    options: SegmentOptions,
}

fn their_segments() -> Vec<Theirs> {
    let mut all = Vec::new();
    for entry in fs::read_dir(FIXTURES).unwrap() {
        let dir = entry.unwrap().path();
        let Some(topic) = dir.file_name().and_then(|name| name.to_str()?.strip_suffix("-0")) else {
            continue;
        };
        let options = SegmentOptions {
            index_interval_bytes: match topic {
                "segments" | "deleted" => 1024,
                "transactions" => 512,
                "compacted" => 256,
                _ => 4096,
            },
            gaps_allowed: topic == "compacted",
            ..SegmentOptions::default()
        };
        let mut logs: Vec<(Offset, u64)> = Vec::new();
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let name = FileName::parse(entry.file_name().to_str().unwrap());
            let is_log = |n: &FileName| n.suffix == Suffix::Log && n.stage == Stage::Live;
            if let Some(name) = name.filter(is_log) {
                logs.push((name.base_offset, entry.metadata().unwrap().len()));
            }
        }
        logs.sort_unstable();
        for (n, (base, len)) in logs.iter().enumerate() {
            let next = logs.get(n + 1).map(|(base, _)| *base);
            let (end, is_last) = (next.unwrap_or(Offset::MAX), next.is_none());
            let options = options.clone();
            all.push(Theirs { dir: dir.clone(), base: *base, len: *len, end, is_last, options });
        }
    }
    assert!(all.len() > 15, "{} segments", all.len());
    all
}

impl Theirs {
    fn open(&self) -> Arc<Segment> {
        let Self { dir, base, len, end, options, .. } = self;
        Segment::sealed(&Storage::portable(), dir, *base, *len, *end, None, options)
    }

    fn bytes(&self, suffix: Suffix) -> Vec<u8> {
        fs::read(file_path(&self.dir, self.base, suffix)).unwrap()
    }
}

#[test]
fn kafkas_indexes_are_confirmed_by_kafkas_logs() {
    for theirs in their_segments() {
        let segment = theirs.open();
        let all = headers(&segment);
        for (position, header) in &all {
            for offset in [header.base_offset, header.last_offset()] {
                assert_eq!(segment.locate(offset).unwrap(), Some((*position, *header)));
            }
        }
        let largest = all.iter().map(|(_, header)| header.max_timestamp).max();
        let found = segment.max_timestamp().unwrap();
        assert_eq!(found.map(|(timestamp, _)| timestamp), largest.filter(|time| *time >= 0));
        if let Some((timestamp, _)) = found {
            assert!(segment.find_timestamp(timestamp, 0).unwrap().is_some());
            assert_eq!(segment.find_timestamp(timestamp + 1, 0).unwrap(), None);
        }
        segment.transactions().unwrap();
        let metrics = &theirs.options.metrics;
        let counts = (metrics.index_rebuilds.get(), metrics.index_fallbacks.get());
        assert_eq!(counts, (0, 0), "{}", segment.path().display());
    }
}

#[test]
fn the_same_batches_give_the_same_files() {
    for theirs in their_segments() {
        let segment = theirs.open();
        let dir = tempfile::tempdir().unwrap();
        let mut ours =
            ActiveSegment::create(&Storage::portable(), dir.path(), theirs.base, &theirs.options)
                .unwrap();
        for (position, header) in headers(&segment) {
            let bytes = segment.read(position, u64::MAX, 0, true).unwrap().to_vec();
            assert_eq!(bytes.len(), header.total_bytes());
            ours.append(&mut vec![SealedBatch::check(bytes).unwrap()]).unwrap();
        }
        for entry in segment.transactions().unwrap().iter() {
            ours.append_aborted(entry).unwrap();
        }
        ours.seal().unwrap();
        for suffix in [Suffix::Log, Suffix::Index, Suffix::TimeIndex] {
            let written = fs::read(file_path(dir.path(), theirs.base, suffix)).unwrap();
            let path = file_path(&theirs.dir, theirs.base, suffix);
            assert_eq!(written, theirs.bytes(suffix), "{}", path.display());
        }
        let txnindex = |dir: &Path| fs::read(file_path(dir, theirs.base, Suffix::TxnIndex)).ok();
        assert_eq!(txnindex(dir.path()), txnindex(&theirs.dir));
    }
}

#[test]
fn kafkas_last_segment_is_appended_to() {
    for theirs in their_segments().iter().filter(|theirs| theirs.is_last) {
        let dir = tempfile::tempdir().unwrap();
        for suffix in [Suffix::Log, Suffix::Index, Suffix::TimeIndex] {
            let path = file_path(dir.path(), theirs.base, suffix);
            fs::write(path, theirs.bytes(suffix)).unwrap();
        }
        let (storage, options) = (Storage::portable(), &theirs.options);
        let mut active =
            ActiveSegment::open(&storage, dir.path(), theirs.base, options, Trust::Indexes)
                .unwrap();
        assert_eq!(options.metrics.index_rebuilds.get(), 0);
        let next = active.next_offset();
        active.append(&mut vec![batch(next, &[i64::MAX / 2], 10)]).unwrap();
        let (sealed, _) = active.seal().unwrap();
        assert_eq!(sealed.find_timestamp(i64::MAX / 2, 0).unwrap(), Some((i64::MAX / 2, next)));
    }
}
