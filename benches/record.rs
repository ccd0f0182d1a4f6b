//! Encoding, sealing and iterating record batches, by codec.

#![expect(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trunkline::record::{
    Batch, BatchBuilder, BatchSettings, Codec, Compression, Decoder, Encoder, NewRecord,
};
use trunkline_benches::{payload, sealed};

const RECORDS: usize = 160;
const RECORD_BYTES: usize = 100;

fn encode(c: &mut Criterion) {
    let payload = payload(RECORDS * RECORD_BYTES);
    let mut group = c.benchmark_group("push and seal, 160 x 100 B");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for codec in Codec::ALL {
        let settings =
            BatchSettings { compression: Compression::new(codec), ..BatchSettings::default() };
        let mut encoder = Encoder::new();
        let mut buffer = Vec::new();
        group.bench_function(codec.name(), |b| {
            b.iter(|| {
                let mut builder = BatchBuilder::new(std::mem::take(&mut buffer), settings);
                for value in payload.chunks(RECORD_BYTES) {
                    let record = NewRecord { value: Some(value), ..NewRecord::default() };
                    builder.push(&record).expect("fits");
                }
                buffer = builder.seal(&mut encoder).expect("seals").into_bytes();
                black_box(buffer.len())
            });
        });
    }
    group.finish();
}

fn iterate(c: &mut Criterion) {
    let bytes = sealed(RECORDS, RECORD_BYTES);
    let mut group = c.benchmark_group("check and iterate, 160 x 100 B");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let mut decoder = Decoder::new();
    group.bench_function("none", |b| {
        b.iter(|| {
            let batch = Batch::check(&bytes).expect("valid");
            let records = batch.records(&mut decoder).expect("valid");
            records.map(|record| record.expect("valid").value.map_or(0, <[u8]>::len)).sum::<usize>()
        });
    });
    group.bench_function("limit: crc32c", |b| b.iter(|| crc32c::crc32c(black_box(&bytes[21..]))));
    group.finish();
}

criterion_group!(benches, encode, iterate);
criterion_main!(benches);
