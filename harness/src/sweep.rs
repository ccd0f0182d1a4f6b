//! `sweep`: measures a grid, keeps a journal, ends in a table, a verdict and a report.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    args::SweepArgs,
    cells::Comparison,
    data_dir::DataDir,
    date, doubts,
    drive::{self, Job, RunError},
    failure::Failure,
    grid::{self, Maxima, Planned},
    journal::Journal,
    leftover,
    machine::Machine,
    memory, output,
    payload::Pool,
    precondition::{self, Allowances},
    progress::{Progress, clock},
    rate::Rate,
    report,
    result::RunResult,
    run,
    stop::Stop,
    supplies::Supplies,
    table, verdict,
    workload::{Extent, Workload},
};

/// How long each run measures unless it is told.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(3);
/// What a run takes beside warm-up and measuring, for the time left until there is experience.
const GUESSED_OVERHEAD: Duration = Duration::from_millis(300);

/// A sweep, ready to run.
#[derive(Debug)]
pub struct Sweep {
    /// The runs in their order.
    pub planned: Vec<Planned>,
    /// Folder of the journal and the report.
    pub out: PathBuf,
    /// Folder under which the logs are written.
    pub dir: PathBuf,
    /// The command that measures it again.
    pub command: String,
    /// What is allowed.
    pub allowances: Allowances,
    /// No run is begun that would end later than this.
    pub time_limit: Option<Duration>,
}

/// Measures what `args` say.
pub fn run(args: &SweepArgs, stop: &Stop) -> Result<(), Failure> {
    let workloads = grid::workloads(&args.grid, DEFAULT_DURATION)?;
    let sweep = Sweep {
        planned: grid::order(&workloads, args.repeat, args.grid.seed),
        out: args.out.clone().unwrap_or_else(default_out),
        dir: args.dir.clone(),
        command: command_line(),
        allowances: args.allow.into(),
        time_limit: None,
    };
    sweep.run(stop)
}

/// A folder for results that does not exist yet.
pub fn default_out() -> PathBuf {
    format!("trunkline-report-{}", date::stamp_now()).into()
}

impl Sweep {
    /// Measures what is not in the journal yet, then tells what all of it says. After an
    /// interruption it tells what there is.
    pub fn run(&self, stop: &Stop) -> Result<(), Failure> {
        leftover::clear(&self.dir);
        // Held to the end: what was made above it goes with it.
        let data = DataDir::create(&self.dir.join(DataDir::default_path()), false, stop)?;
        let machine = Machine::of(&self.dir);
        let expected = self.planned.iter().map(|planned| planned.workload.expected_bytes()).max();
        let expected = expected.unwrap_or(0);
        if let Some(warning) =
            precondition::check(&self.dir, &machine.mount, expected, self.allowances)?
        {
            crate::say!("WARNING: {warning}");
        }
        let partitions = self.planned.iter().map(|planned| planned.workload.partitions).max();
        precondition::check_open_files(partitions.unwrap_or(0))?;
        for planned in &self.planned {
            Pool::check(&planned.workload.payload, planned.workload.record_size)?;
        }
        let mut journal = Journal::open(&self.out)?;
        if let Some(first) = self.planned.first() {
            journal.check_continues(&machine, first.workload.percentiles)?;
        }
        let outcome = self.measure(&machine, data.path(), &mut journal, stop);
        if !journal.entries().is_empty() {
            self.tell(&journal)?;
        }
        if matches!(outcome, Err(Failure::Run(RunError::Interrupted))) {
            crate::say!(
                "{} of {} runs are finished; go on with the same command and --out {}",
                self.finished(&journal),
                self.planned.len(),
                self.out.display()
            );
        }
        outcome
    }

    fn measure(
        &self,
        machine: &Machine,
        data: &Path,
        journal: &mut Journal,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut supplies = Supplies::default();
        let mut maxima = Maxima::default();
        let mut progress = Progress::default();
        let mut pace = Pace::new(&self.planned, journal);
        let started = Instant::now();
        if pace.skipped > 0 {
            progress.say(&format!("{} runs are in {} already", pace.skipped, self.out.display()));
        }
        for planned in &self.planned {
            if let Some(known) = entry_of(journal, planned) {
                note(&mut maxima, planned, known.records_per_second);
                continue;
            }
            if stop.wished() {
                progress.clear();
                return Err(RunError::Interrupted.into());
            }
            let end = started.elapsed() + planned_time(&planned.workload);
            if self.time_limit.is_some_and(|limit| end > limit) {
                progress.say(&format!(
                    "Time is up: {} of {} runs are left out.",
                    self.planned.len() + 1 - pace.current(),
                    self.planned.len()
                ));
                break;
            }
            let workload =
                maxima.resolve(&planned.workload).ok_or(grid::GridError::PercentWithoutMax)?;
            let begun = Instant::now();
            let mut result =
                Self::measure_one(&workload, machine, data, &mut supplies, stop, &mut |moment| {
                    progress.show(pace.done(begun.elapsed()), || {
                        format!(
                            "run {} of {}, {} left  {}  {}",
                            pace.current(),
                            self.planned.len(),
                            clock(pace.left(begun.elapsed())),
                            brief(&planned.workload),
                            run::line(moment)
                        )
                    });
                })?;
            result.config.rate = planned.workload.rate.to_string();
            note(&mut maxima, planned, result.records_per_second);
            journal.add(planned, result)?;
            pace.finished(&planned.workload, begun.elapsed());
        }
        progress.clear();
        Ok(())
    }

    fn measure_one(
        workload: &Workload,
        machine: &Machine,
        data: &Path,
        supplies: &mut Supplies,
        stop: &Stop,
        watch: &mut dyn FnMut(&drive::Moment),
    ) -> Result<RunResult, Failure> {
        let (pool, keys) = supplies.of(workload)?;
        let dir = DataDir::create(data, false, stop)?;
        let memory_touched = memory::touch(workload.expected_bytes(), stop);
        let job = Job {
            workload,
            dir: dir.path(),
            pool,
            keys,
            hlog: None,
            memory_touched,
            keep: false,
            stop,
        };
        let measured = drive::run(job, watch)?;
        Ok(RunResult::new(workload, machine, &measured))
    }

    /// The report beside the journal, table and verdict on standard output.
    fn tell(&self, journal: &Journal) -> Result<(), Failure> {
        let comparison = Comparison::of(journal.entries());
        let verdict = verdict::of(&comparison);
        let path = self.out.join(report::FILE_NAME);
        let html = report::render(&comparison, &verdict, journal.entries(), &self.command);
        fs::write(&path, html).map_err(|source| Failure::Write { path: path.clone(), source })?;
        let mut parts = vec![table::render(&comparison), verdict::for_terminal(&verdict)];
        parts.push(doubts::for_terminal(&doubts::of(journal.entries())));
        parts.retain(|part| !part.is_empty());
        let text = format!(
            "{}\nResults: {}\nReport:  {}\n",
            parts.join("\n"),
            journal.path().display(),
            absolute(&path).display()
        );
        let stdout = || PathBuf::from("standard output");
        output::print(&text).map_err(|source| Failure::Write { path: stdout(), source })
    }

    fn finished(&self, journal: &Journal) -> usize {
        self.planned.iter().filter(|planned| journal.has(planned)).count()
    }
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.into())
}

/// The command that was given.
pub fn command_line() -> String {
    std::iter::once("trunkline-harness".to_owned())
        .chain(std::env::args().skip(1))
        .collect::<Vec<_>>()
        .join(" ")
}

fn entry_of<'a>(journal: &'a Journal, planned: &Planned) -> Option<&'a RunResult> {
    let cell = planned.workload.to_string();
    let found =
        |entry: &&crate::journal::Entry| entry.repeat == planned.repeat && entry.cell == cell;
    journal.entries().iter().find(found).map(|entry| &entry.result)
}

/// Only the first repetition, which precedes all percentages: what these are of must not change in
/// the middle of a sweep.
fn note(maxima: &mut Maxima, planned: &Planned, records_per_second: f64) {
    if planned.workload.rate == Rate::Max && planned.repeat == 0 {
        maxima.note(&planned.workload, records_per_second);
    }
}

fn brief(workload: &Workload) -> String {
    format!(
        "linger {} ms, {}, {}, {}",
        workload.linger_ms, workload.batch_size, workload.compression, workload.rate
    )
}

/// How long the sweep will take: what is planned, corrected by what runs really took.
#[derive(Debug)]
struct Pace {
    skipped: usize,
    runs_done: usize,
    planned_done: Duration,
    planned_total: Duration,
    took: Duration,
}

impl Pace {
    fn new(planned: &[Planned], journal: &Journal) -> Self {
        let open: Vec<&Planned> = planned.iter().filter(|run| !journal.has(run)).collect();
        Self {
            skipped: planned.len() - open.len(),
            runs_done: 0,
            planned_done: Duration::ZERO,
            planned_total: open.iter().map(|run| planned_time(&run.workload)).sum(),
            took: Duration::ZERO,
        }
    }

    fn finished(&mut self, workload: &Workload, took: Duration) {
        self.runs_done += 1;
        self.planned_done += planned_time(workload);
        self.took += took;
    }

    /// Number of the run that is on, from 1.
    fn current(&self) -> usize {
        self.skipped + self.runs_done + 1
    }

    fn done(&self, in_run: Duration) -> f64 {
        let done = self.took + in_run;
        done.as_secs_f64() / (done + self.left(in_run)).as_secs_f64().max(0.001)
    }

    fn left(&self, in_run: Duration) -> Duration {
        let factor = if self.planned_done.is_zero() {
            1.0
        } else {
            self.took.as_secs_f64() / self.planned_done.as_secs_f64()
        };
        self.planned_total.saturating_sub(self.planned_done).mul_f64(factor).saturating_sub(in_run)
    }
}

fn planned_time(workload: &Workload) -> Duration {
    let measured = match workload.extent {
        Extent::Duration(duration) => duration,
        Extent::Records(records) => match workload.rate {
            Rate::PerSecond(rate) => Duration::from_secs_f64(records as f64 / rate as f64),
            Rate::Max | Rate::PercentOfMax(_) => Duration::from_secs(1),
        },
    };
    workload.warmup + measured + GUESSED_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::workload;

    #[test]
    fn a_percentage_is_of_the_first_repetition() {
        let mut maxima = Maxima::default();
        let full = |repeat| Planned { workload: workload(), repeat };
        note(&mut maxima, &full(0), 100_000.0);
        let half = Workload { rate: Rate::PercentOfMax(50), ..workload() };
        let rate = |maxima: &Maxima| maxima.resolve(&half).unwrap().rate;
        assert_eq!(rate(&maxima), Rate::PerSecond(50_000));
        note(&mut maxima, &full(1), 300_000.0);
        assert_eq!(rate(&maxima), Rate::PerSecond(50_000));
    }

    #[test]
    fn the_time_left_learns_from_what_runs_took() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let planned: Vec<Planned> =
            (0..4).map(|repeat| Planned { workload: workload(), repeat }).collect();
        let each = planned_time(&workload());
        let mut pace = Pace::new(&planned, &journal);
        assert_eq!((pace.current(), pace.left(Duration::ZERO)), (1, each * 4));
        assert!(pace.done(Duration::ZERO) < 1e-9);
        pace.finished(&workload(), each * 2);
        assert_eq!(pace.current(), 2);
        assert_eq!(pace.left(Duration::ZERO), each * 6, "everything takes twice as long");
        assert!((pace.done(Duration::ZERO) - 0.25).abs() < 1e-6);
    }
}
