//! Takes scenarios through schedules, and hunts the planted races.
//!
//! `TRUNKLINE_SCHEDULES=N`: schedules of each scheduler for each scenario. `TRUNKLINE_SCHEDULE_SEED=N`:
//! another seed. `TRUNKLINE_SCHEDULE=random:…`, or `pct:…`: a schedule that failed, as it was printed, for
//! the one scenario that is named behind `-- --exact`.

use std::{
    any::Any,
    collections::BTreeMap,
    env,
    fmt::Display,
    mem::ManuallyDrop,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use libtest_mimic::{Arguments, Failed, Trial};
use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{
        PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId,
    },
};

use crate::{
    race::{self, Race},
    sync::thread,
};

/// What some threads do together. It panics where something is wrong; threads that wait for each other
/// for ever are found by the scheduler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) structure: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
    /// Schedules of each scheduler: fewer where one takes long.
    pub(crate) schedules: usize,
    /// Planted races that it must find.
    pub(crate) races: &'static [Race],
}

/// Schedules of each scheduler for a scenario that is small.
pub(crate) const MANY: usize = 5_000;
/// For one with a whole log or producer.
pub(crate) const FEW: usize = 2_000;

const SEED: u64 = 0x7472_756e_6b6c_696e;
/// How often a schedule of the PCT scheduler changes priorities.
const PCT_DEPTH: usize = 3;
/// Far more than a scenario takes: one that spins is found by this.
const MOST_STEPS: usize = 200_000;
/// A task's stack: a log's calls are deeper than what shuttle gives by itself.
const STACK_BYTES: usize = 512 << 10;

/// Figures of each structure.
static FIGURES: Mutex<BTreeMap<&str, Figures>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Figures {
    scenarios: usize,
    schedules: usize,
    races: Vec<(Race, String)>,
}

/// Runs `scenarios` and hunts, as the arguments of a test program say.
pub(crate) fn run(scenarios: &[Scenario]) -> ExitCode {
    quiet_hunts();
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("races::each_has_its_scenario", {
        let listed: Vec<Race> = scenarios.iter().flat_map(|it| it.races).copied().collect();
        move || {
            let missing: Vec<_> = Race::ALL.iter().filter(|race| !listed.contains(race)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}").into()) }
        }
    })];
    for scenario in scenarios.iter().copied() {
        let name = format!("{}::{}", scenario.structure, scenario.name);
        trials.push(Trial::test(name.clone(), move || {
            check(&scenario);
            Ok(())
        }));
        for race in scenario.races {
            trials.push(Trial::test(format!("{name}::{race:?}"), move || hunt(&scenario, *race)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_figures();
    conclusion.exit_code()
}

fn print_figures() {
    let figures = FIGURES.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut all_schedules, mut caught) = (0, Vec::new());
    for (structure, Figures { scenarios, schedules, races }) in &*figures {
        println!("{structure}: {scenarios} scenarios, {schedules} schedules");
        for (race, how) in races {
            println!("  {race:?} is caught {how}");
        }
        all_schedules += schedules;
        caught.extend(races.iter().map(|(race, _)| *race));
    }
    let caught = Race::ALL.iter().filter(|race| caught.contains(race)).count();
    let (all, seed) = (Race::ALL.len(), seed());
    println!(
        "{all_schedules} schedules of seed {seed}; {caught} of {all} planted races are caught"
    );
}

/// The panic of a race that was caught is no news.
fn quiet_hunts() {
    // Shuttle sets its hook, which prints the schedule, with its first run.
    Runner::new(RandomScheduler::new_from_seed(0, 1), config()).run(|| {});
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !race::is_any_planted() {
            hook(info);
        }
    }));
}

fn check(scenario: &Scenario) {
    if let Some(schedule) = setting::<String>("TRUNKLINE_SCHEDULE") {
        return replay(scenario, &schedule);
    }
    let ran = AtomicUsize::new(0);
    for kind in KINDS {
        kind.explore(scenario, &ran);
    }
    note(scenario, |figures| {
        figures.scenarios += 1;
        figures.schedules += ran.load(Ordering::Relaxed);
    });
}

fn replay(scenario: &Scenario, schedule: &str) {
    let (kind, steps) = schedule.split_once(':').expect("random:… or pct:…");
    let kind = KINDS.into_iter().find(|it| it.name() == kind).expect("random:… or pct:…");
    kind.begin();
    // It is printed in lines.
    let steps: String = steps.split_whitespace().collect();
    let mut scheduler = ReplayScheduler::new_from_encoded(&steps);
    // Of sources that were changed since it goes as far as it fits.
    scheduler.set_allow_incomplete();
    Runner::new(scheduler, config()).run(scenario.run);
}

fn hunt(scenario: &Scenario, race: Race) -> Result<(), Failed> {
    race::plant(Some(race));
    let ran = AtomicUsize::new(0);
    let caught = KINDS.into_iter().find_map(|kind| {
        panic::catch_unwind(AssertUnwindSafe(|| kind.explore(scenario, &ran))).err()
    });
    race::plant(None);
    let ran = ran.load(Ordering::Relaxed);
    let Some(panic) = caught else {
        return Err(format!("{race:?} was not found in {ran} schedules").into());
    };
    let said = said(panic.as_ref());
    note(scenario, |figures| {
        figures.races.push((race, format!("by schedule {ran} of {}: {said}", scenario.name)));
    });
    Ok(())
}

fn note(scenario: &Scenario, what: impl FnOnce(&mut Figures)) {
    let mut figures = FIGURES.lock().unwrap_or_else(PoisonError::into_inner);
    what(figures.entry(scenario.structure).or_default());
}

/// The first line of what a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    text.lines().next().unwrap_or_default().chars().take(100).collect()
}

/// Who decides which thread goes on.
#[derive(Clone, Copy)]
enum Kind {
    /// Any of them, at each step.
    Random,
    /// By priorities that change seldom: finds what needs few, but far, switches
    /// (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs").
    Pct,
}

const KINDS: [Kind; 2] = [Kind::Random, Kind::Pct];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Pct => "pct",
        }
    }

    fn begin(self) {
        thread::parks_wake_early(matches!(self, Self::Pct));
    }

    fn explore(self, scenario: &Scenario, ran: &AtomicUsize) {
        self.begin();
        let count = setting("TRUNKLINE_SCHEDULES").unwrap_or(scenario.schedules);
        match self {
            Self::Random => {
                self.run(RandomScheduler::new_from_seed(seed(), count), scenario, ran);
            }
            Self::Pct => {
                self.run(PctScheduler::new_from_seed(seed(), PCT_DEPTH, count), scenario, ran);
            }
        }
    }

    fn run(self, scheduler: impl Scheduler + 'static, scenario: &Scenario, ran: &AtomicUsize) {
        let started = Arc::new(AtomicUsize::new(0));
        let scheduler = Counted(ManuallyDrop::new(scheduler), started.clone());
        let run = scenario.run;
        let runner = Runner::new(scheduler, config());
        let result = panic::catch_unwind(AssertUnwindSafe(|| runner.run(run)));
        ran.fetch_add(started.load(Ordering::Relaxed), Ordering::Relaxed);
        if let Err(panic) = result {
            if !race::is_any_planted() {
                let (kind, Scenario { structure, name, .. }) = (self.name(), scenario);
                eprintln!(
                    "to replay it: TRUNKLINE_SCHEDULE='{kind}:<the schedule above>' cargo test \
                     -p trunkline --test schedules -- --exact '{structure}::{name}'"
                );
            }
            panic::resume_unwind(panic);
        }
    }
}

/// Counts the schedules. Never dropped: the random scheduler would then print a seed of its own, beside
/// the schedule that is printed anyway.
struct Counted<S>(ManuallyDrop<S>, Arc<AtomicUsize>);

impl<S: Scheduler> Scheduler for Counted<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.0.new_execution()?;
        self.1.fetch_add(1, Ordering::Relaxed);
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.0.next_task(runnable, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

fn config() -> Config {
    let mut config = Config::new();
    if race::is_any_planted() {
        config.failure_persistence = FailurePersistence::None;
    }
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    // Its warning that all atomics are taken for the strongest: see `tests/orderings`.
    config.silence_warnings = true;
    config
}

fn seed() -> u64 {
    setting("TRUNKLINE_SCHEDULE_SEED").unwrap_or(SEED)
}

fn setting<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
