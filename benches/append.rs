//! Sealed batches into a partition's log, beside a plain loop that checksums and writes the same
//! bytes: how much of the disk's (here: the page cache's) speed the engine gives.

#![expect(missing_docs, reason = "criterion's macros make public functions")]

use std::{hint::black_box, os::unix::fs::FileExt, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trunkline::{
    clock::SystemClock,
    commit::Strategy,
    io::Storage,
    log::{LogConfig, LogDir, PartitionLog, UnrecoveredLog},
    record::SealedBatch,
    types::{Durability, TopicName, TopicPartition},
};
use trunkline_benches::sealed;

/// Bytes after which a log is begun anew, so that a bench does not fill the disk.
const RESET_BYTES: u64 = 512 << 20;

fn log(dir: &std::path::Path) -> Arc<PartitionLog> {
    let dir = Arc::new(LogDir::open(&Storage::portable(), dir, Strategy::SyncEach).expect("opens"));
    let partition = TopicPartition::new(TopicName::new("bench").expect("valid"), 0);
    let config = LogConfig::default().durability(Durability::Written);
    let unrecovered = UnrecoveredLog::open(&dir, &partition, config, Arc::new(SystemClock::new()));
    let (log, _) = unrecovered.expect("opens").recover().expect("recovers");
    Arc::new(log)
}

fn append(c: &mut Criterion) {
    for (name, records, bytes) in
        [("100 B x 160", 160, 100), ("100 B x 1024", 1024, 100), ("1 KiB x 16", 16, 1024)]
    {
        let batch = sealed(records, bytes);
        let mut group = c.benchmark_group(format!("append written, {name}"));
        group.throughput(Throughput::Bytes(batch.len() as u64));
        let folder = tempfile::tempdir_in(".").expect("the current folder takes files");

        let file = std::fs::File::create(folder.path().join("limit")).expect("opens");
        let mut position = 0;
        group.bench_function("limit: crc32c and pwrite", |b| {
            b.iter(|| {
                black_box(crc32c::crc32c(&batch[21..]));
                file.write_all_at(&batch, position).expect("writes");
                position = (position + batch.len() as u64) % RESET_BYTES;
            });
        });
        let log = log(folder.path());
        group.bench_function("trunkline", |b| {
            b.iter_batched(
                || batch.clone(),
                |bytes| {
                    if log.size().1 > RESET_BYTES {
                        log.restart_at(0).expect("restarts");
                    }
                    let batch = SealedBatch::check(bytes).expect("a valid batch");
                    log.append(vec![batch], 0).expect("appends")
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
