//! Groups of rows: the limit of the machine, the engine, and where others can be held against them too
//! (`benches/peers`) those that add them.
#![allow(clippy::missing_panics_doc, reason = "a bench whose disk fails has nothing to tell")]

pub mod append;
pub mod appenders;
pub mod durable;
pub mod open;
pub mod partitions;
pub mod produce;
pub mod scan;
pub mod send;
