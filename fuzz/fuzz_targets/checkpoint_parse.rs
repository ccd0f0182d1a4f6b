//! Any bytes as each of the files beside a log: a typed error or a value that writes the same again.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use trunkline::{
    log::{epochs::LeaderEpochs, producers::ProducerStates, state::DirState},
    segment::{OffsetIndex, TimeIndex, TxnIndex},
};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("input");
    if let Ok(epochs) = LeaderEpochs::parse(path, bytes) {
        let again =
            LeaderEpochs::parse(path, &epochs.to_bytes()).expect("what was written is read");
        assert_eq!(again.entries(), epochs.entries());
    }
    if let Ok(state) = DirState::parse(path, bytes) {
        assert_eq!(state.to_bytes(), bytes);
    }
    if let Ok(states) = ProducerStates::parse(path, bytes, 1 << 40, 0) {
        let again = ProducerStates::parse(path, &states.to_bytes(), 1 << 40, 0);
        assert_eq!(again.expect("what was written is read").len(), states.len());
    }
    let _ = TxnIndex::decode(path, 0, bytes);
    if let Some(index) = OffsetIndex::decode(0, bytes) {
        assert_eq!(index.encode(0), bytes);
    }
    if let Some(index) = TimeIndex::decode(0, bytes) {
        assert_eq!(index.encode(0), bytes);
    }
});
