//! Tests of one partition's log, over the simulated disk.

mod append;
mod bench;
mod fetch;
