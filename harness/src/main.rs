//! The instrument: what linger, batch size and compression buy on your own disks.

mod acks;
mod args;
mod cells;
mod count;
mod data_dir;
mod date;
mod drive;
mod failure;
mod grid;
mod hlog;
mod journal;
mod keys;
mod latency;
mod machine;
mod main_job;
mod memory;
mod mount;
mod number;
mod pacing;
mod payload;
mod percentile;
mod precondition;
mod progress;
mod rate;
mod report;
mod result;
mod run;
mod show;
mod size;
mod span;
mod stop;
mod supplies;
mod sweep;
mod table;
mod tag;
mod target;
mod usage;
mod verdict;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use stop::Stop;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cfg!(debug_assertions) {
        eprintln!("WARNING: this is a debug build; its figures say nothing about the engine.");
    }
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => {
            eprintln!("trunkline-harness: cannot listen for Ctrl-C: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match &cli.command {
        None => main_job::run(&cli.main_job, &stop),
        Some(Command::Run(args)) => run::run(args, &stop),
        Some(Command::Sweep(args)) => sweep::run(args, &stop),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("trunkline-harness: {failure}");
            ExitCode::from(failure.exit_code() as u8)
        }
    }
}
