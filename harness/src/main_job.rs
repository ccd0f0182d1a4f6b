//! The main job: what a newcomer gets without any option.

use std::time::Duration;

use clap::Parser;

use crate::{
    args::{Cli, Command, MainJobArgs},
    failure::Failure,
    grid::{self, Planned},
    span::Span,
    stop::Stop,
    sweep::{self, Sweep},
    workload::Workload,
};

/// 18 combinations, each at a low rate, at half its maximum and at full speed.
const GRID: &str = "sweep --linger-ms 0,5,50 --batch-size 16KiB,256KiB \
                    --compression none,lz4,zstd --rate 2k,50%,max --record-size 1KiB --payload json";
/// How often Kafka's defaults are measured beyond the first time, to know the noise.
const REFERENCE_REPEATS: u32 = 2;
/// The warm-up is this part of the time that is measured.
const WARMUP_PART: u32 = 5;

/// On a machine so busy that the runs take longer than they should, what is not begun by then is left
/// out: the main job takes under two minutes.
const TIME_LIMIT: Duration = Duration::from_secs(110);

/// Runs it.
pub fn run(args: &MainJobArgs, stop: &Stop) -> Result<(), Failure> {
    let sweep = Sweep {
        planned: planned(args)?,
        out: args.out.clone().unwrap_or_else(sweep::default_out),
        dir: args.dir.clone(),
        allowances: args.allow.into(),
        time_limit: (args.measure <= DEFAULT_MEASURE).then_some(TIME_LIMIT),
    };
    let seconds: f64 = sweep.planned.len() as f64 * (args.measure.0.as_secs_f64() * 1.2 + 0.35);
    eprintln!(
        "What linger, batch size and compression buy on this disk: {} short runs, {}, about {:.0} s. \
         Other options: --help",
        sweep.planned.len(),
        args.durability,
        seconds
    );
    sweep.run(stop)
}

/// The runs in their order. The repetitions of the reference are spread over the sweep.
fn planned(args: &MainJobArgs) -> Result<Vec<Planned>, Failure> {
    let grid = preset();
    let mut workloads = grid::workloads(&grid, args.measure.0)?;
    for workload in &mut workloads {
        workload.durability = args.durability;
        workload.warmup = args.measure.0 / WARMUP_PART;
    }
    let mut planned = grid::order(&workloads, 1, grid.seed);
    let reference = workloads.iter().find(|workload| is_reference(workload));
    for repeat in 1..=REFERENCE_REPEATS {
        let place = planned.len() * repeat as usize / REFERENCE_REPEATS as usize;
        planned.extend(reference.map(|reference| Planned { workload: reference.clone(), repeat }));
        planned[place..].rotate_right(1);
    }
    Ok(planned)
}

/// Kafka's defaults at full speed.
fn is_reference(workload: &Workload) -> bool {
    workload.to_string().starts_with("linger-ms=5 batch-size=16KiB compression=none rate=max ")
}

fn preset() -> crate::args::GridArgs {
    let line = std::iter::once("trunkline-harness").chain(GRID.split_whitespace());
    match Cli::try_parse_from(line).map(|cli| cli.command) {
        Ok(Some(Command::Sweep(sweep))) => sweep.grid,
        _ => unreachable!("the preset is a constant that a test parses"),
    }
}

/// Default of `--measure`.
pub const DEFAULT_MEASURE: Span = Span::secs(1);

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, path::PathBuf};

    use trunkline::types::Durability;

    use super::*;
    use crate::{args::AllowArgs, rate::Rate};

    fn args() -> MainJobArgs {
        MainJobArgs {
            out: None,
            dir: PathBuf::from("."),
            durability: Durability::Written,
            measure: DEFAULT_MEASURE,
            allow: AllowArgs { allow_tmpfs: false, allow_debug_build: false },
        }
    }

    #[test]
    fn it_has_at_most_18_cells_at_three_rates_and_repeats_the_reference() {
        let planned = planned(&args()).unwrap();
        let cells: HashSet<_> = planned
            .iter()
            .map(|run| (run.workload.linger_ms, run.workload.batch_size, run.workload.compression))
            .collect();
        assert_eq!(cells.len(), 18);
        assert_eq!(planned.len(), 18 * 3 + 2);
        let reference: Vec<usize> =
            (0..planned.len()).filter(|&n| is_reference(&planned[n].workload)).collect();
        assert_eq!(reference.len(), 3);
        assert!(reference[2] > 50 && (20..40).contains(&reference[1]), "{reference:?}");
        assert!(planned[..18].iter().all(|run| run.workload.rate == Rate::Max));
        assert!(planned.iter().all(|run| run.workload.durability == Durability::Written));
    }

    #[test]
    fn it_is_planned_to_stay_under_two_minutes() {
        let planned = planned(&args()).unwrap();
        let each = DEFAULT_MEASURE.0 + DEFAULT_MEASURE.0 / WARMUP_PART;
        assert!((each * planned.len() as u32).as_secs() < 70);
    }
}
