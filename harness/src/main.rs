//! The program: reads the command line and ends with an exit code.

use std::process::ExitCode;

use clap::Parser;

use trunkline_harness::{
    args::{Cli, Command},
    main_job, run,
    stop::Stop,
    sweep,
};

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
