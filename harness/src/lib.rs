//! The instrument: what linger, batch size and compression buy on your own disks.
//!
//! `docs/HARNESS.md` is its manual. The way of a run: [`args`] → [`grid`] → [`workload::Workload`] →
//! [`drive`] → [`result::RunResult`]; a sweep goes on to [`journal`] → [`cells`] → [`table`],
//! [`verdict`] and [`report`]. Only [`target`] knows the engine.
//!
//! [`verify`] and [`dump`] are the operator's tools: they read [`folder`]s of ours and of Kafka's.

pub mod acks;
pub mod args;
pub mod batches;
pub mod cells;
pub mod count;
pub mod data_dir;
pub mod date;
pub mod doubts;
pub mod drive;
pub mod dump;
pub mod failure;
pub mod folder;
pub mod grid;
pub mod groups;
pub mod hlog;
pub mod journal;
pub mod keys;
pub mod latency;
pub mod leftover;
pub mod machine;
pub mod main_job;
pub mod memory;
pub mod mount;
pub mod number;
pub mod output;
pub mod pacing;
pub mod payload;
pub mod percentile;
pub mod precondition;
pub mod progress;
pub mod rate;
pub mod removal;
pub mod report;
pub mod result;
pub mod result_file;
pub mod run;
pub mod show;
pub mod size;
pub mod span;
pub mod stop;
pub mod supplies;
pub mod sweep;
pub mod table;
pub mod tag;
pub mod target;
pub mod usage;
pub mod verdict;
pub mod verify;
pub mod workload;
