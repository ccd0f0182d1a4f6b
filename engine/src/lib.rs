//! A log engine in Kafka's own file format, to link into other systems.
//!
//! Rooms, from the bottom up; a room imports only rooms below its row (`ARCHITECTURE.md`,
//! checked by `tests/tidy.rs`):
//!
//! ```text
//! 7 engine  options
//! 6 producer  consumer
//! 5 topic
//! 4 log
//! 3 segment  commit
//! 2 io  record
//! 1 types  limits  error  clock  metrics
//! ```

pub mod clock;
pub mod commit;
pub mod consumer;
pub mod engine;
pub mod error;
pub mod io;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod options;
pub mod producer;
pub mod record;
pub mod segment;
pub mod topic;
pub mod types;
