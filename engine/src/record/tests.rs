//! The room as a whole: golden bytes, damage, round trips.

use super::*;

/// Two records with a key, a null, an empty value and a header, written by hand from Kafka's format.
#[rustfmt::skip]
const GOLDEN: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0,             // base offset
    0, 0, 0, 75,                        // batch length: 61 − 12 + 11 + 15
    0xFF, 0xFF, 0xFF, 0xFF,             // leader epoch −1
    2,                                  // magic
    0, 0, 0, 0,                         // crc, see `golden`
    0, 0x10,                            // attributes: transactional
    0, 0, 0, 1,                         // last offset delta
    0, 0, 0, 0, 0, 0, 0x03, 0xE8,       // base timestamp 1000
    0, 0, 0, 0, 0, 0, 0x03, 0xE8,       // max timestamp 1000
    0, 0, 0, 0, 0, 0, 0, 9,             // producer id
    0, 3,                               // producer epoch
    0, 0, 0, 70,                        // base sequence
    0, 0, 0, 2,                         // record count
    20, 0, 0, 0, 2, b'k', 6, b'a', b'b', b'c', 0, // 10 bytes, delta 0, offset 0, key "k", value "abc"
    28, 0, 0x85, 0x01, 2, 1, 0,         // 14 bytes, delta −67, offset 1, key null, value empty
    4, 2, b'h', 1, 2, b'i', 2, b'v',    // 2 headers: h = null, i = "v"
];

fn golden() -> Vec<u8> {
    let mut bytes = GOLDEN.to_vec();
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn golden_bytes() {
    let settings = BatchSettings {
        producer_id: 9,
        producer_epoch: 3,
        base_sequence: 70,
        transactional: true,
        ..Default::default()
    };
    let mut builder = BatchBuilder::new(vec![1, 2, 3], settings);
    let first = NewRecord { timestamp: 1000, key: Some(b"k"), value: Some(b"abc"), headers: &[] };
    let headers = [Header { name: "h", value: None }, Header { name: "i", value: Some(b"v") }];
    let second = NewRecord { timestamp: 933, key: None, value: Some(b""), headers: &headers };
    assert_eq!(builder.push(&first), Ok(0));
    assert_eq!(builder.push(&second), Ok(1));
    let sealed = builder.seal(&mut Encoder::new()).unwrap();
    assert_eq!(sealed.bytes(), golden());
}
