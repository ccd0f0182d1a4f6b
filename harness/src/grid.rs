//! The combinations of a sweep and the order in which they are measured.

use std::{collections::HashMap, time::Duration};

use crate::{
    args::GridArgs,
    percentile,
    rate::Rate,
    workload::{Extent, Workload},
};

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What to do. Its rate may be a percentage.
    pub workload: Workload,
    /// Which repetition, from 0.
    pub repeat: u32,
}

/// Why a grid makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// `run` measures one workload.
    #[error(
        "run takes one value of each option and has {0} combinations here; `sweep` takes lists"
    )]
    NotOne(usize),
    /// A single run has no maximum to take a part of.
    #[error(
        "a percentage of full speed needs a sweep with `max` in --rate, such as --rate 50%,max"
    )]
    PercentWithoutMax,
    /// The engine does not take one of the combinations.
    #[error("{reason} ({cell})")]
    Refused {
        /// The combination.
        cell: String,
        /// What is wrong.
        reason: String,
    },
}

/// All combinations of the options; each is one that the engine takes.
pub fn workloads(args: &GridArgs, default_duration: Duration) -> Result<Vec<Workload>, GridError> {
    let percent = |rate: &Rate| matches!(rate, Rate::PercentOfMax(_));
    if args.rate.iter().any(percent) && !args.rate.contains(&Rate::Max) {
        return Err(GridError::PercentWithoutMax);
    }
    let mut all = vec![first(args, default_duration)];
    vary(&mut all, &args.durability, |workload, value| workload.durability = value);
    vary(&mut all, &args.acks, |workload, value| workload.acks = value);
    vary(&mut all, &args.payload, |workload, value| workload.payload = value);
    vary(&mut all, &args.record_size, |workload, value| workload.record_size = value);
    vary(&mut all, &args.keys, |workload, value| workload.keys = value);
    vary(&mut all, &args.partitions, |workload, value| workload.partitions = value);
    vary(&mut all, &args.producers, |workload, value| workload.producers = value);
    vary(&mut all, &args.buffer_memory, |workload, value| workload.buffer_memory = value);
    vary(&mut all, &args.compression, |workload, value| workload.compression = value);
    vary(&mut all, &args.batch_size, |workload, value| workload.batch_size = value);
    vary(&mut all, &args.linger_ms, |workload, value| workload.linger_ms = value);
    vary(&mut all, &args.rate, |workload, value| workload.rate = value);
    for workload in &all {
        let refused = |reason| GridError::Refused { cell: workload.to_string(), reason };
        workload.check().map_err(refused)?;
    }
    Ok(all)
}

/// The one workload of `run`.
pub fn single(args: &GridArgs, default_duration: Duration) -> Result<Workload, GridError> {
    let mut all = workloads(args, default_duration)?;
    match (all.pop(), all.len()) {
        (Some(workload), 0) => Ok(workload),
        (_, others) => Err(GridError::NotOne(others + 1)),
    }
}

/// Every workload `repeats` times, in an order drawn from `seed`: one repetition after the other,
/// each shuffled, so that a drift of the disk hits all cells alike. Full speed comes first in the
/// first repetition where percentages of it are asked for.
pub fn order(workloads: &[Workload], repeats: u32, seed: u64) -> Vec<Planned> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x006f_7264_6572);
    let percentages = workloads.iter().any(|w| matches!(w.rate, Rate::PercentOfMax(_)));
    let mut planned = Vec::new();
    for repeat in 0..repeats {
        let mut round: Vec<Planned> =
            workloads.iter().map(|w| Planned { workload: w.clone(), repeat }).collect();
        random.shuffle(&mut round);
        if repeat == 0 && percentages {
            round.sort_by_key(|planned| planned.workload.rate != Rate::Max);
        }
        planned.extend(round);
    }
    planned
}

/// The largest rates that were measured so far, to take percentages of.
#[derive(Debug, Default)]
pub struct Maxima(HashMap<String, HashMap<u64, Vec<f64>>>);

impl Maxima {
    /// A run at full speed took this many records a second.
    pub fn note(&mut self, workload: &Workload, records_per_second: f64) {
        let lingers = self.0.entry(group(workload)).or_default();
        lingers.entry(workload.linger_ms).or_default().push(records_per_second);
    }

    /// The workload with its percentage as a number, two digits of it. `None` where the maximum is
    /// not known.
    pub fn resolve(&self, workload: &Workload) -> Option<Workload> {
        let Rate::PercentOfMax(percent) = workload.rate else { return Some(workload.clone()) };
        let lingers = self.0.get(&group(workload))?;
        let mean = |rates: &Vec<f64>| rates.iter().sum::<f64>() / rates.len() as f64;
        let least = lingers.values().map(mean).min_by(f64::total_cmp)?;
        let rate = two_digits(least * f64::from(percent) / 100.0).max(1);
        Some(Workload { rate: Rate::PerSecond(rate), ..workload.clone() })
    }
}

/// What is compared at one rate: everything but linger.
fn group(workload: &Workload) -> String {
    Workload { linger_ms: 0, rate: Rate::Max, ..workload.clone() }.to_string()
}

fn two_digits(rate: f64) -> u64 {
    let scale = 10_f64.powf((rate.max(1.0).log10() - 1.0).floor().max(0.0));
    ((rate / scale).floor() * scale) as u64
}

fn first(args: &GridArgs, default_duration: Duration) -> Workload {
    const WARMUP: Duration = Duration::from_secs(1);
    let (extent, warmup) = match args.records {
        Some(records) => (Extent::Records(records.0), Duration::ZERO),
        None => (Extent::Duration(args.duration.map_or(default_duration, |span| span.0)), WARMUP),
    };
    Workload {
        extent,
        warmup: args.warmup.map_or(warmup, |span| span.0),
        record_size: args.record_size[0],
        partitions: args.partitions[0],
        producers: args.producers[0],
        linger_ms: args.linger_ms[0],
        batch_size: args.batch_size[0],
        compression: args.compression[0],
        acks: args.acks[0],
        durability: args.durability[0],
        rate: args.rate[0],
        keys: args.keys[0],
        payload: args.payload[0].clone(),
        buffer_memory: args.buffer_memory[0],
        seed: args.seed,
        percentiles: if args.strict_percentiles {
            percentile::Rule::Strict
        } else {
            percentile::Rule::Quarter
        },
    }
}

/// Each workload once for each of the different values.
fn vary<T: Clone + PartialEq>(all: &mut Vec<Workload>, values: &[T], set: fn(&mut Workload, T)) {
    let mut different: Vec<&T> = Vec::new();
    for value in values {
        if !different.contains(&value) {
            different.push(value);
        }
    }
    *all = all
        .iter()
        .flat_map(|workload| {
            different.iter().map(|value| {
                let mut varied = workload.clone();
                set(&mut varied, (*value).clone());
                varied
            })
        })
        .collect();
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    pub(crate) fn grid(line: &str) -> GridArgs {
        let line = format!("trunkline-harness sweep {line}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Some(Command::Sweep(sweep)) => sweep.grid,
            other => panic!("{other:?}"),
        }
    }

    fn all(line: &str) -> Result<Vec<Workload>, GridError> {
        workloads(&grid(line), Duration::from_secs(3))
    }

    #[test]
    fn every_combination_comes_once() {
        let all =
            all("--linger-ms 0,5,5 --batch-size 1KiB,16KiB --compression none,lz4 --rate 1k,max");
        let mut names: Vec<String> = all.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), 16);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 16);
    }

    #[test]
    fn what_the_engine_would_refuse_is_refused_before_anything_runs() {
        for (line, part) in [
            (
                "--batch-size 16KiB,64MiB --buffer-memory 32MiB",
                "a full batch takes 64MiB, and buffer.memory has 32MiB: raise --buffer-memory",
            ),
            (
                "--record-size 1MiB --batch-size 1KiB --buffer-memory 1MiB",
                "buffer.memory has 1MiB: raise --buffer-memory",
            ),
        ] {
            let error = all(line).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("linger-ms=5"), "{line}: {error}");
        }
        assert!(all("--batch-size 64MiB --buffer-memory 64MiB").is_ok());
    }

    #[test]
    fn a_run_is_one_workload() {
        let single = |line| single(&grid(line), Duration::from_secs(3));
        let workload = single("--linger-ms 7").unwrap();
        assert_eq!((workload.linger_ms, workload.warmup), (7, Duration::from_secs(1)));
        assert_eq!(single("--linger-ms 7,8 --rate 1,2"), Err(GridError::NotOne(4)));
        assert_eq!(single("--rate 50%"), Err(GridError::PercentWithoutMax));
        assert_eq!(single("--records 5").unwrap().warmup, Duration::ZERO);
        assert_eq!(single("--records 5 --warmup 2s").unwrap().warmup, Duration::from_secs(2));
    }

    #[test]
    fn the_order_comes_from_the_seed_and_full_speed_first() {
        let all = all("--linger-ms 0,1,2,3,4 --rate 50%,max").unwrap();
        let ordered = order(&all, 3, 9);
        assert_eq!(ordered, order(&all, 3, 9));
        assert_ne!(ordered, order(&all, 3, 10));
        assert_eq!(ordered.len(), 30);
        assert!(ordered[..5].iter().all(|planned| planned.workload.rate == Rate::Max));
        for repeat in 0..3 {
            let round = &ordered[repeat * 10..][..10];
            assert!(round.iter().all(|planned| planned.repeat == repeat as u32));
        }
    }

    #[test]
    fn percentages_are_of_the_slowest_linger() {
        let all = all("--linger-ms 0,5 --batch-size 1KiB,16KiB --rate 50%,max").unwrap();
        let mut maxima = Maxima::default();
        assert_eq!(maxima.resolve(&all[0]), None, "not known yet");
        for workload in all.iter().filter(|workload| workload.rate == Rate::Max) {
            let speed = if workload.linger_ms == 0 { 247_777.0 } else { 300_000.0 };
            maxima.note(workload, speed * if workload.batch_size.0 == 1_024 { 0.1 } else { 1.0 });
        }
        for workload in all.iter().filter(|workload| workload.rate != Rate::Max) {
            let rate = if workload.batch_size.0 == 1_024 { 12_000 } else { 120_000 };
            assert_eq!(maxima.resolve(workload).unwrap().rate, Rate::PerSecond(rate));
        }
    }

    #[test]
    fn rates_have_two_digits() {
        let rates = [0.3, 7.9, 99.0, 123.0, 98_765.0].map(two_digits);
        assert_eq!(rates, [0, 7, 99, 120, 98_000]);
    }
}
