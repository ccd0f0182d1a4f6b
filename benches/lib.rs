//! What the benches share: payload with the redundancy of text, and sealed batches of it.

pub mod mapped;
pub mod pairs;
pub mod rows;

use trunkline::record::{BatchBuilder, BatchSettings, Encoder, NewRecord};

/// Words of the payload: enough repetition for a codec to find, no record twice the same.
const WORDS: [&str; 16] = [
    "partition",
    "offset",
    "leader",
    "follower",
    "batch",
    "segment",
    "linger",
    "record",
    "epoch",
    "commit",
    "append",
    "fetch",
    "{\"id\":",
    "\"name\":\"",
    "\",",
    "}",
];

/// `bytes` bytes of seeded words and numbers.
pub fn payload(bytes: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(42);
    let mut text = Vec::with_capacity(bytes + 32);
    while text.len() < bytes {
        text.extend_from_slice(WORDS[rng.usize(..WORDS.len())].as_bytes());
        text.extend_from_slice(rng.u16(..).to_string().as_bytes());
    }
    text.truncate(bytes);
    text
}

/// An uncompressed batch of `records` records of `bytes` bytes each.
///
/// # Panics
/// Where that is more than a batch takes.
pub fn sealed(records: usize, bytes: usize) -> Vec<u8> {
    let payload = payload(records * bytes);
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    for value in payload.chunks(bytes) {
        builder
            .push(&NewRecord { value: Some(value), ..NewRecord::default() })
            .expect("a batch takes it");
    }
    builder.seal(&mut Encoder::new()).expect("uncompressed").into_bytes()
}
