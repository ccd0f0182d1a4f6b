//! The engine against the limits of its machine and against its peers: ratios within one run.

use std::{io::Write as _, path::PathBuf};

use clap::Parser;
use trunkline_benches::{
    pairs::Group,
    rows::{append, appenders, durable, open, partitions, produce, scan, send},
};

/// Runs each group's rows in short alternating slices and prints their ratios with confidence intervals.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Groups whose names contain one of these; all where none is given.
    groups: Vec<String>,
    /// Slices of each row that count; fewer than 100 cannot resolve 5 %.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Where the rows' files go: the disk that is measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::Builder::new()
        .prefix(".trunkline-ratios-")
        .tempdir_in(&arguments.dir)
        .unwrap_or_else(|error| {
            panic!("no folder can be made in {}: {error}", arguments.dir.display())
        });
    let is_wanted = |name: &str| {
        arguments.groups.is_empty() || arguments.groups.iter().any(|part| name.contains(part))
    };
    let run = |name: &str, group: Group<'_>| {
        let outcome = group.run(arguments.rounds, |round| {
            eprint!("\r{name}: {round} of {} rounds", arguments.rounds);
        });
        eprintln!();
        println!("{}", outcome.table());
        let _ = std::io::stdout().flush();
    };
    for shape in append::SHAPES {
        if is_wanted(&shape.name()) {
            run(&shape.name(), append::group(shape, folder.path()));
        }
    }
    if is_wanted(durable::NAME) {
        run(durable::NAME, durable::group(folder.path()));
    }
    if is_wanted(appenders::NAME) {
        let latencies = appenders::Latencies::default();
        run(appenders::NAME, appenders::group(folder.path(), &latencies));
        println!("{}", latencies.table());
    }
    for (partitions, rounds) in partitions::SIZES {
        let name = partitions::name(partitions);
        if is_wanted(&name) {
            run(&name, partitions::group(partitions, rounds, folder.path()));
        }
    }
    for (name, codec) in produce::names() {
        if is_wanted(&name) {
            run(&name, produce::group(&name, codec, folder.path()));
        }
    }
    if is_wanted(open::SEGMENTS_NAME) {
        run(open::SEGMENTS_NAME, open::segments(folder.path()));
    }
    if is_wanted(open::PARTITIONS_NAME) {
        run(open::PARTITIONS_NAME, open::partitions(folder.path()));
    }
    if is_wanted(scan::NAME) {
        run(scan::NAME, scan::group(folder.path()));
    }
    if is_wanted(send::NAME) {
        run(send::NAME, send::group(folder.path()));
    }
}
