//! What the fuzz targets share: bytes in a frame whose checksum is right, so that what lies behind the
//! checksum is reached.

use std::cell::RefCell;

use trunkline::{
    limits::{BATCH_HEADER, LOG_OVERHEAD},
    record::{Attributes, Batch, BatchHeader, Decoder, NO_PRODUCER},
};

/// Decompressed bytes that one input may give.
pub const MAX_OUTPUT: usize = 16 << 20;

/// The records section `payload` of `count` records (at least 1) in a batch whose header and checksum
/// are right; `codec` is Kafka's number.
pub fn framed(codec: u8, count: u16, payload: &[u8]) -> Vec<u8> {
    let count = i32::from(count.max(1));
    let mut bytes = vec![0; BATCH_HEADER];
    bytes.extend_from_slice(payload);
    let mut header = BatchHeader {
        base_offset: 0,
        batch_length: (bytes.len() - LOG_OVERHEAD) as i32,
        leader_epoch: 0,
        crc: 0,
        attributes: Attributes::default().with_codec(codec),
        last_offset_delta: count - 1,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_000,
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
    };
    header.write(&mut bytes);
    header.crc = crc32c::crc32c(&bytes[21..]);
    header.write(&mut bytes);
    bytes
}

/// Two bytes of record count, then what stands behind a batch's header.
pub fn count_and_payload(input: &[u8]) -> Option<(u16, &[u8])> {
    let (count, payload) = input.split_first_chunk()?;
    Some((u16::from_le_bytes(*count), payload))
}

/// Decodes `input` as the records of a batch with this codec: an error or records, and never more
/// memory than was allowed.
pub fn decompress(codec: u8, input: &[u8]) {
    let Some((count, payload)) = count_and_payload(input) else { return };
    let bytes = framed(codec, count, payload);
    let batch = Batch::check(&bytes).expect("the header and its checksum are right");
    // One decoder for all inputs, as a consumer has it: what one leaves behind must not harm the next.
    thread_local! {
        static DECODER: RefCell<Decoder> = RefCell::new(Decoder::with_limit(MAX_OUTPUT));
    }
    DECODER.with_borrow_mut(|decoder| {
        if let Ok(mut records) = batch.records(decoder) {
            while let Some(Ok(_)) = records.next() {}
        }
        assert!(decoder.buffer_bytes() <= 2 * MAX_OUTPUT);
    });
}
