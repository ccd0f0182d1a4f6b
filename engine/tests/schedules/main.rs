//! The engine's own sources, compiled once more with locks, atomics and threads whose every step a
//! scheduler decides (`sync` here in place of `src/sync.rs`): each scenario runs through thousands of
//! schedules, drawn from a seed, and a failing one can be replayed. Planted races ([`race::Race`])
//! show that the scenarios would find one.
//!
//! The schedulers know one order of all atomic operations. What rests on weaker ones is the business
//! of `tests/orderings`.

// Much of the engine is not used here, and nothing of it is another crate's business.
#![allow(
    clippy::duplicate_mod,
    dead_code,
    missing_docs,
    unfulfilled_lint_expectations,
    unreachable_pub,
    unused_imports
)]

macro_rules! setters {
    ($options:ident { $($field:ident: $type:ty),* $(,)? }) => {
        impl $options {
            $(
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}
macro_rules! twin {
    ($name:ident) => {
        false
    };
}
macro_rules! race {
    ($name:ident) => {
        crate::race::is_planted(crate::race::Race::$name)
    };
}

#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/commit/mod.rs"]
mod commit;
#[path = "../../src/consumer/mod.rs"]
mod consumer;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/io/mod.rs"]
mod io;
#[path = "../../src/limits.rs"]
mod limits;
#[path = "../../src/log/mod.rs"]
mod log;
#[path = "../../src/metrics.rs"]
mod metrics;
#[path = "../../src/producer/mod.rs"]
mod producer;
#[path = "../../src/record/mod.rs"]
mod record;
#[path = "../../src/segment/mod.rs"]
mod segment;
#[path = "../../src/topic/mod.rs"]
mod topic;
#[path = "../../src/types.rs"]
mod types;

// Private to their rooms, and looked at alone: a second time, beside the copy that the rooms use.
#[path = "../../src/producer/ack.rs"]
mod ack;
#[path = "../../src/producer/pool.rs"]
mod pool;
#[path = "../../src/segment/published.rs"]
mod published;
use producer::SendError;

mod explore;
mod race;
mod sync;

mod acks;
mod benches;
mod group_commits;
mod logs;
mod pools;
mod producers;
mod publishing;
mod waiting;

use explore::Scenario;

fn main() -> std::process::ExitCode {
    let scenarios: Vec<Scenario> = [
        waiting::SCENARIOS,
        group_commits::SCENARIOS,
        publishing::SCENARIOS,
        pools::SCENARIOS,
        acks::SCENARIOS,
        logs::SCENARIOS,
        producers::SCENARIOS,
    ]
    .concat();
    explore::run(&scenarios)
}
