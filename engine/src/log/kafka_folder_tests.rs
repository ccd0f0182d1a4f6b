//! The files of a folder that Apache Kafka wrote (`tests/interop`), read by this room, and the same
//! content worked out again from the logs.

use std::path::{Path, PathBuf};

use super::{
    checkpoint::{
        CleanShutdown, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, read_clean_shutdown,
        read_offsets, read_partition_metadata,
    },
    epochs::LeaderEpochs,
    producers::{AbortedTransaction, ProducerStates, snapshot_offsets},
    state::{Witnesses, start_of},
};
use crate::{
    io::Storage,
    record::{Batch, BatchHeader, Decoder, TransactionMarker},
    segment::TxnIndex,
    types::TopicPartition,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/fixtures/kafka-folder")
}

fn partitions() -> Vec<(TopicPartition, PathBuf)> {
    let entries = Storage::portable().list(&root()).unwrap();
    let found: Vec<_> = entries
        .iter()
        .filter(|entry| entry.is_dir)
        .map(|entry| {
            let name = entry.name.to_str().unwrap();
            (TopicPartition::from_folder(name).unwrap(), root().join(name))
        })
        .collect();
    assert!(found.len() >= 10, "{found:?}");
    found
}

/// The content of all files of one kind, in order of their base offsets.
fn files(dir: &Path, suffix: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = Storage::portable().list(dir).unwrap();
    let paths = entries.iter().map(|entry| dir.join(&entry.name));
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == suffix));
    wanted.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Every batch of a partition, with its marker.
fn batches(dir: &Path) -> Vec<(BatchHeader, Option<TransactionMarker>)> {
    let mut decoder = Decoder::new();
    let mut found = Vec::new();
    for (_, bytes) in files(dir, "log") {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let batch = Batch::check(rest).unwrap();
            found.push((*batch.header(), batch.marker(&mut decoder).unwrap()));
            rest = &rest[batch.bytes().len()..];
        }
    }
    found
}

#[test]
fn the_checkpoints_of_the_folder_are_read() {
    let storage = Storage::portable();
    for name in [RECOVERY_POINTS, HIGH_WATERMARKS] {
        let offsets = read_offsets(&storage, &root().join(name)).unwrap().unwrap();
        for (partition, dir) in partitions() {
            let log_end = batches(&dir).last().unwrap().0.next_offset();
            assert_eq!(offsets[&partition], log_end, "{name}: {partition}");
        }
    }
    let closed = read_clean_shutdown(&storage, &root()).unwrap();
    assert_eq!(closed, Some(CleanShutdown { broker_epoch: Some(7) }));

    let (witnesses, damaged) = Witnesses::read(&storage, &root()).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    let log_starts = read_offsets(&storage, &root().join(LOG_STARTS)).unwrap().unwrap();
    assert_eq!(log_starts.len(), 1);
    for (partition, _) in partitions() {
        let start = start_of(&witnesses, &partition).unwrap();
        assert!(start.clean && start.state.is_none());
        assert_eq!(start.log_start, log_starts.get(&partition).copied());
        assert_eq!(start.high_watermark, Some(start.recovery_point));
    }
}

#[test]
fn topic_ids_are_read() {
    let storage = Storage::portable();
    for (_, dir) in partitions() {
        let id = read_partition_metadata(&storage, &dir).unwrap().unwrap();
        let text = std::fs::read_to_string(dir.join("partition.metadata")).unwrap();
        assert_eq!(text, format!("version: 0\ntopic_id: {id}"));
    }
}

#[test]
fn leader_epochs_are_what_the_batches_say() {
    let storage = Storage::portable();
    let log_starts = read_offsets(&storage, &root().join(LOG_STARTS)).unwrap().unwrap();
    for (partition, dir) in partitions() {
        let stored = LeaderEpochs::load(&storage, &dir).unwrap().unwrap();
        let text = std::fs::read(dir.join("leader-epoch-checkpoint")).unwrap();
        assert_eq!(stored.to_bytes(), text);
        let headers = batches(&dir);
        let carried = headers.iter().map(|(header, _)| (header.base_offset, header.leader_epoch));
        let mut rebuilt = LeaderEpochs::rebuild(carried);
        rebuilt.truncate_from_start(log_starts.get(&partition).copied().unwrap_or(0));
        assert_eq!(rebuilt, stored, "{partition}");
    }
}

#[test]
fn snapshots_are_what_the_batches_say() {
    let storage = Storage::portable();
    let mut producers = 0;
    for (partition, dir) in partitions() {
        let headers = batches(&dir);
        for offset in snapshot_offsets(&storage, &dir).unwrap() {
            let stored = ProducerStates::load(&storage, &dir, offset, 0).unwrap().unwrap();
            producers += stored.len();
            let mut replayed = ProducerStates::new(0);
            for (header, marker) in headers.iter().filter(|(h, _)| h.next_offset() <= offset) {
                replayed.replay(header, marker.map(Into::into), 0);
            }
            assert_eq!(replayed.to_bytes(), stored.to_bytes(), "{partition} at {offset}");
        }
    }
    assert!(producers > 5, "the folder has {producers} producers to compare");
}

#[test]
fn transaction_indexes_are_what_the_batches_say() {
    let mut aborted = 0;
    for (partition, dir) in partitions() {
        let stored: Vec<AbortedTransaction> = files(&dir, "txnindex")
            .iter()
            .flat_map(|(path, bytes)| {
                TxnIndex::decode(path, 0, bytes).unwrap().iter().collect::<Vec<_>>()
            })
            .collect();
        let mut states = ProducerStates::new(0);
        let replayed: Vec<AbortedTransaction> = batches(&dir)
            .iter()
            .flat_map(|(header, marker)| states.replay(header, marker.map(Into::into), 0))
            .collect();
        if partition.topic.as_str() == "compacted" {
            // The cleaner removed a transaction's records and left its marker and its entry.
            assert!(replayed.iter().all(|entry| stored.contains(entry)));
        } else {
            assert_eq!(replayed, stored, "{partition}");
        }
        aborted += stored.len();
    }
    assert!(aborted > 1, "the folder has {aborted} aborted transactions to compare");
}
