//! Bytes as a life: appends, commits, truncations, deletions, rolls, checkpoints, closes and power cuts, as
//! the bytes say, against the model that judges the seeded lives of `engine/tests/lives`.
#![no_main]
#![allow(dead_code, reason = "lives are used in several ways")]

#[path = "../../engine/tests/lives/dice.rs"]
mod dice;
#[path = "../../engine/tests/lives/life.rs"]
mod life;
#[path = "../../engine/tests/lives/model.rs"]
mod model;

use dice::Dice;
use libfuzzer_sys::fuzz_target;
use life::Life;
use trunkline_fuzz as _; // its allocator

fuzz_target!(|bytes: &[u8]| {
    let outcome = Life::drawn(Dice::Bytes(bytes.to_vec())).run(2);
    assert!(outcome.is_ok(), "{outcome:?}");
});
