//! Any bytes as the compressed records of a batch whose checksum is right: the codecs' own input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline::{
    limits::{BATCH_HEADER, LOG_OVERHEAD},
    record::{Attributes, Batch, BatchHeader, Decoder, NO_PRODUCER},
};

/// Decompressed bytes that one input may give.
const LIMIT: usize = 16 << 20;

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (codec, count, payload) = input;
    let mut bytes = vec![0; BATCH_HEADER];
    bytes.extend_from_slice(payload);
    let mut header = BatchHeader {
        base_offset: 0,
        batch_length: (bytes.len() - LOG_OVERHEAD) as i32,
        leader_epoch: 0,
        crc: 0,
        attributes: Attributes::default().with_codec(codec % 5),
        last_offset_delta: count as i32,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count as i32 + 1,
    };
    header.write(&mut bytes);
    header.crc = crc32c(&bytes[21..]);
    header.write(&mut bytes);
    let batch = Batch::check(&bytes).expect("the header and its checksum are right");
    let mut decoder = Decoder::with_limit(LIMIT);
    if let Ok(records) = batch.records(&mut decoder) {
        for record in records {
            if record.is_err() {
                break;
            }
        }
    }
    assert!(decoder.buffer_bytes() <= 2 * LIMIT);
});

/// Bit by bit: the fuzzer must not depend on what it checks.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc: u32, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
        crc
    })
}
