//! Any bytes as a record batch, as they are and with the checksum put right: an error or records, never
//! a panic, never more memory than allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline::record::{Batch, Decoder, SealedBatch};
use trunkline_fuzz::right_the_batches;

/// Decompressed bytes that one input may give.
const LIMIT: usize = 16 << 20;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut bytes = bytes.to_vec();
    right_the_batches(&mut bytes);
    check(&bytes);
});

fn check(bytes: &[u8]) {
    let mut decoder = Decoder::with_limit(LIMIT);
    let Ok(batch) = Batch::check(bytes) else { return };
    let _ = batch.marker(&mut decoder);
    let Ok(records) = batch.records(&mut decoder) else { return };
    for record in records {
        let Ok(record) = record else { return };
        assert!(record.offset >= batch.header().base_offset);
        assert!(record.offset <= batch.header().last_offset());
        assert_eq!(record.headers().count(), record.header_count());
    }
    let whole = batch.bytes().to_vec();
    let mut sealed = SealedBatch::check(whole).expect("what was a batch is one when it is owned");
    sealed.stamp(7, 3);
    assert!(Batch::check(sealed.bytes()).is_ok(), "a stamp stands outside the checksum");
}
