//! The program: reads the command line and ends with an exit code.

use std::{fmt::Display, process::ExitCode};

use clap::Parser;

use trunkline_harness::{
    args::{Cli, Command},
    dump,
    failure::Failure,
    main_job, run,
    stop::Stop,
    sweep, verify,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        None => measured(|stop| main_job::run(&cli.main_job, stop)),
        Some(Command::Run(args)) => measured(|stop| run::run(args, stop)),
        Some(Command::Sweep(args)) => measured(|stop| sweep::run(args, stop)),
        Some(Command::Verify(args)) => told(verify::run(args)),
        Some(Command::Dump(args)) => told(dump::run(args)),
    }
}

/// Measures; Ctrl-C asks it to end.
fn measured(measure: impl FnOnce(&Stop) -> Result<(), Failure>) -> ExitCode {
    if cfg!(debug_assertions) {
        trunkline_harness::say!(
            "WARNING: this is a debug build; its figures say nothing about the engine."
        );
    }
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => {
            trunkline_harness::say!("trunkline-harness: cannot listen for Ctrl-C: {error}");
            return ExitCode::FAILURE;
        }
    };
    match measure(&stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            trunkline_harness::say!("trunkline-harness: {failure}");
            ExitCode::from(failure.exit_code() as u8)
        }
    }
}

/// The exit code of a tool that found all in order (0), or did not (1), or could not look (2).
fn told(outcome: Result<bool, impl Display>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            trunkline_harness::say!("trunkline-harness: {error}");
            ExitCode::from(2)
        }
    }
}
