//! The main job: what a newcomer gets without any option.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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

/// 18 combinations, each at a low rate, at half of full speed and at full speed.
const GRID: &str = "sweep --linger-ms 0,5,50 --batch-size 16KiB,256KiB \
                    --compression none,lz4,zstd --rate 2k,50%,max --record-size 1KiB --payload json";
/// How often the references are measured beyond the first time, to know the noise.
const REFERENCE_REPEATS: u32 = 2;
/// The cells that the verdict compares with others: Kafka's defaults at full speed and at the low rate,
/// and at half speed, where the latency swings most, the two lingers that it holds against each other.
const REFERENCES: [&str; 4] = [
    "linger-ms=5 batch-size=16KiB compression=none rate=max ",
    "linger-ms=5 batch-size=16KiB compression=none rate=2k ",
    "linger-ms=0 batch-size=256KiB compression=none rate=50% ",
    "linger-ms=50 batch-size=256KiB compression=none rate=50% ",
];
/// The warm-up is this part of the time that is measured.
const WARMUP_PART: u32 = 5;

/// On a machine so busy that the runs take longer than they should, what is not begun by then is left
/// out: the main job takes under two minutes.
const TIME_LIMIT: Duration = Duration::from_secs(110);

/// Runs it.
pub fn run(args: &MainJobArgs, stop: &Stop) -> Result<(), Failure> {
    let seed = args.order_seed.unwrap_or_else(drawn_seed);
    let mut command = sweep::command_line();
    if args.order_seed.is_none() {
        let _ = write!(command, " --order-seed {seed}");
    }
    let sweep = Sweep {
        planned: planned(args, seed)?,
        command,
        out: args.out.clone().unwrap_or_else(sweep::default_out),
        dir: args.dir.clone(),
        allowances: args.allow.into(),
        time_limit: (args.measure <= DEFAULT_MEASURE).then_some(TIME_LIMIT),
    };
    let seconds: f64 = sweep.planned.len() as f64 * (args.measure.0.as_secs_f64() * 1.2 + 0.35);
    crate::say!(
        "What linger, batch size and compression buy here: {} short runs, {}, about {:.0} s, in the \
         order that --order-seed {seed} repeats. Other options: --help",
        sweep.planned.len(),
        args.durability,
        seconds
    );
    sweep.run(stop)
}

/// A seed from the clock: the same cell is not measured at the same moment every time.
fn drawn_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // Short enough to be typed.
    now.map_or(0, |now| now.as_millis() as u64 % 1_000_000)
}

/// The runs in their order. The repetitions of the references are spread over the sweep.
fn planned(args: &MainJobArgs, order_seed: u64) -> Result<Vec<Planned>, Failure> {
    let grid = preset();
    let mut workloads = grid::workloads(&grid, args.measure.0)?;
    for workload in &mut workloads {
        workload.durability = args.durability;
        workload.warmup = args.measure.0 / WARMUP_PART;
    }
    let mut planned = grid::order(&workloads, 1, order_seed);
    for repeat in 1..=REFERENCE_REPEATS {
        let place = planned.len() * repeat as usize / REFERENCE_REPEATS as usize;
        let references = workloads.iter().filter(|workload| is_reference(workload));
        let again = references.map(|it| Planned { workload: it.clone(), repeat });
        planned.splice(place..place, again);
    }
    Ok(planned)
}

fn is_reference(workload: &Workload) -> bool {
    let name = workload.to_string();
    REFERENCES.iter().any(|reference| name.starts_with(reference))
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
            order_seed: None,
            allow: AllowArgs { allow_tmpfs: false, allow_debug_build: false },
        }
    }

    #[test]
    fn it_has_at_most_18_cells_at_three_rates_and_repeats_the_references() {
        let planned = planned(&args(), 7).unwrap();
        let cells: HashSet<_> = planned
            .iter()
            .map(|run| (run.workload.linger_ms, run.workload.batch_size, run.workload.compression))
            .collect();
        assert_eq!(cells.len(), 18);
        assert_eq!(planned.len(), 18 * 3 + 8);
        for reference in REFERENCES {
            let is_it = |n: &usize| planned[*n].workload.to_string().starts_with(reference);
            let places: Vec<usize> = (0..planned.len()).filter(is_it).collect();
            assert_eq!(places.len(), 3, "{reference}");
            assert!(places[2] > 57 && places.iter().any(|n| (27..31).contains(n)), "{places:?}");
        }
        assert!(planned[..18].iter().all(|run| run.workload.rate == Rate::Max));
        assert!(planned.iter().all(|run| run.workload.durability == Durability::Written));
    }

    #[test]
    fn the_order_comes_from_its_seed() {
        let of = |seed| planned(&args(), seed).unwrap();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn it_is_planned_to_stay_under_two_minutes() {
        let planned = planned(&args(), 7).unwrap();
        let each = DEFAULT_MEASURE.0 + DEFAULT_MEASURE.0 / WARMUP_PART;
        assert!((each * planned.len() as u32).as_secs() < 80);
    }
}
