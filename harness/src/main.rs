//! The instrument: what linger, batch size and compression buy on your own disks.

mod compression;
mod count;
mod keys;
mod latency;
mod number;
mod pacing;
mod payload;
mod percentile;
mod rate;
mod size;
mod span;
mod tag;

fn main() {}
