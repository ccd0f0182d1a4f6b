//! The instrument: what linger, batch size and compression buy on your own disks.

mod acks;
mod args;
mod count;
mod data_dir;
mod date;
mod drive;
mod grid;
mod hlog;
mod keys;
mod latency;
mod machine;
mod memory;
mod mount;
mod number;
mod pacing;
mod payload;
mod percentile;
mod precondition;
mod rate;
mod result;
mod size;
mod span;
mod stop;
mod tag;
mod target;
mod usage;
mod workload;

fn main() {}
