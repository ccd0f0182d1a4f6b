//! Any bytes as a producers' snapshot, as they are and with the checksum put right: a typed error, or
//! states that write the same again and take what producers send.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use trunkline::log::producers::ProducerStates;

/// Offset in the snapshot's name.
const END: i64 = 1 << 40;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 10 {
        let entries = ((bytes.len() - 10) / 46) as i32;
        bytes[..2].copy_from_slice(&1_i16.to_be_bytes());
        bytes[6..10].copy_from_slice(&entries.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        check(&bytes);
    }
});

fn check(bytes: &[u8]) {
    let path = Path::new("input");
    let Ok(mut states) = ProducerStates::parse(path, bytes, END, 0) else { return };
    let written = states.to_bytes();
    let again = ProducerStates::parse(path, &written, END, 0).expect("what was written is read");
    assert_eq!(again.len(), states.len());
    assert_eq!(again.to_bytes(), written);
    assert_eq!(again.first_unstable_offset(), states.first_unstable_offset());
    assert!(states.last_stable_offset(0, END) <= END);
    states.high_watermark_moved(END);
    states.log_start_moved(END / 2);
    states.expire(i64::MAX, 1);
    assert!(states.len() <= again.len());
}
