//! Any bytes as the lz4-compressed records of a batch whose checksum is right.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| trunkline_fuzz::decompress(3, input));
