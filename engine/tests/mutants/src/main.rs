//! How much of the engine's code its tests would miss: each of cargo-mutants' mutants, in a fraction of the
//! time that a build for each takes. All of them are compiled into one copy of the engine, and one is
//! switched on by an environment variable; of the tests only those run against it that it makes a
//! difference to. `docs/MUTANTS.md` has the results.
//!
//! `trunkline-mutants [--again] [--quick] [--within=SECONDS] [ROOM...]`, from anywhere within the repository.
//!
//! - `--again`: only what was not caught last time, or not tried, and has no reason in the page.
//! - `--quick`: without slow tests, and without mutants that must be built by themselves.
//! - `--within=SECONDS`: without tests that take longer.

mod copy;
mod ledger;
mod mutant;
mod rewrite;
mod sites;
mod trial;

use std::{
    collections::{BTreeSet, HashMap},
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use copy::Copy;
use ledger::Verdicts;
use mutant::{Mutant, State};
use trial::{Test, Trials, Verdict, in_jobs};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Rooms whose tests are measured.
const ROOMS: [&str; 4] = ["record", "segment", "commit", "log"];
/// A test that takes longer is left out with `--quick`.
const SLOW: Duration = Duration::from_secs(2);
/// A test that takes longer hangs.
const ENDLESS: Duration = Duration::from_secs(900);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks_for = |option: &str| arguments.iter().any(|argument| argument == option);
    let (again, quick) = (asks_for("--again"), asks_for("--quick"));
    let within = arguments.iter().find_map(|argument| argument.strip_prefix("--within="));
    let within = within.map(|seconds| seconds.parse().map(Duration::from_secs)).transpose()?;
    let limit = within.unwrap_or(if quick { SLOW } else { ENDLESS });
    let mut rooms: Vec<String> =
        arguments.into_iter().filter(|argument| !argument.starts_with("--")).collect();
    if rooms.is_empty() {
        rooms = ROOMS.map(str::to_owned).to_vec();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?;
    let work = root.join("target/mutants");
    let started = Instant::now();

    let mut mutants = mutant::list(&root, &rooms, &sources(&root)?)?;
    let mut copy = Copy::make(&root, &work.join("copy"), sources(&root)?, &mut mutants)?;
    let programs = copy.build(&mut mutants)?;
    let count = |state| mutants.iter().filter(|mutant| mutant.state == state).count();
    println!(
        "{} mutants: {} switched on and off, {} unviable, {} to be built alone, {} of planted bugs; {} s",
        mutants.len(),
        count(State::Switched),
        count(State::Unviable),
        count(State::Alone),
        count(State::Planted),
        started.elapsed().as_secs()
    );

    let trials = Trials::new(&programs, copy.engine(), work.join("scratch"));
    let tests = trials.learn(limit)?;
    println!("{} tests, {} s", tests.len(), started.elapsed().as_secs());
    for test in tests.iter().filter(|test| test.usual > SLOW) {
        println!("slow: {}, {} s", test.name, test.usual.as_secs());
    }

    let verdicts = Kept::read(&work.join("verdicts"), &mutants, again)?;
    let reasons = if again { ledger::reasons(&root)? } else { BTreeSet::new() };
    let is_wanted =
        |mutant: &&Mutant| !verdicts.is_decided(mutant) && !reasons.contains(&mutant.key());
    let wanted: Vec<&Mutant> = mutants.iter().filter(is_wanted).collect();
    try_switched(&trials, &tests, &wanted, &verdicts)?;
    println!("{} s", started.elapsed().as_secs());
    if !quick {
        copy.write_originals()?;
        let own: Vec<_> = tests.iter().filter(|test| test.program == 0).collect();
        try_alone(&copy, &own, &wanted, &verdicts)?;
        println!("{} s", started.elapsed().as_secs());
    }
    ledger::report(&root, &rooms, &mutants, &verdicts.all())
}

/// Tries each mutant that can be switched on against the tests that reach it.
fn try_switched(
    trials: &Trials<'_>,
    tests: &[Test],
    wanted: &[&Mutant],
    verdicts: &Kept,
) -> Result<()> {
    let switched = wanted.iter().filter(|mutant| mutant.state == State::Switched);
    let switched: Vec<&Mutant> = switched.copied().collect();
    let progress = Progress::new(switched.len());
    in_jobs(switched, |job, mutant| {
        let reaching: Vec<_> =
            tests.iter().filter(|test| test.reaches.contains(&mutant.number)).collect();
        let verdict = trials.try_mutant(mutant.number, &reaching, job)?;
        progress.tell(mutant, &verdict);
        verdicts.keep(mutant, &ledger::word(&verdict))
    })?;
    Ok(())
}

/// Builds each other mutant by itself and tries it against the engine's own tests.
fn try_alone(copy: &Copy, own: &[&Test], wanted: &[&Mutant], verdicts: &Kept) -> Result<()> {
    let alone = wanted.iter().filter(|mutant| mutant.state == State::Alone);
    let alone: Vec<&Mutant> = alone.copied().collect();
    let progress = Progress::new(alone.len());
    for mutant in alone {
        let Some(program) = copy.build_alone(mutant)? else {
            verdicts.keep(mutant, "unviable")?;
            continue;
        };
        let programs = [program];
        let trials = Trials::new(&programs, copy.engine(), copy.engine().join("target"));
        let verdict = trials.try_mutant(0, own, 0)?;
        progress.tell(mutant, &verdict);
        verdicts.keep(mutant, &ledger::word(&verdict))?;
    }
    Ok(())
}

/// The verdicts so far, in a file that is written with each: a run that was broken off goes on with
/// `--again`.
struct Kept {
    path: PathBuf,
    verdicts: Mutex<Verdicts>,
}

impl Kept {
    /// Those of earlier runs; of these mutants none, unless they are to be tried `again`.
    fn read(path: &Path, mutants: &[Mutant], again: bool) -> Result<Self> {
        let mut verdicts = ledger::read_verdicts(path)?;
        for mutant in mutants {
            if mutant.state == State::Unviable {
                verdicts.insert(mutant.key(), "unviable".into());
            } else if !again || mutant.state == State::Planted {
                verdicts.remove(&mutant.key());
            }
        }
        Ok(Self { path: path.to_owned(), verdicts: Mutex::new(verdicts) })
    }

    fn is_decided(&self, mutant: &Mutant) -> bool {
        let verdicts = self.verdicts.lock().expect("no job panics");
        verdicts.get(&mutant.key()).is_some_and(|verdict| verdict != "survived")
    }

    fn keep(&self, mutant: &Mutant, verdict: &str) -> Result<()> {
        let mut verdicts = self.verdicts.lock().expect("no job panics");
        verdicts.insert(mutant.key(), verdict.to_owned());
        ledger::write_verdicts(&self.path, &verdicts)
    }

    fn all(&self) -> Verdicts {
        self.verdicts.lock().expect("no job panics").clone()
    }
}

/// The engine's sources: path below the root, and text.
fn sources(root: &Path) -> Result<HashMap<String, String>> {
    let mut texts = HashMap::new();
    let mut folders = vec![PathBuf::from("engine/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let path = folder.join(entry?.file_name());
            if root.join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(root.join(&path))?;
                texts.insert(path.to_str().ok_or("a path in UTF-8")?.to_owned(), text);
            }
        }
    }
    Ok(texts)
}

/// Says how far the trials are, and what survives.
struct Progress {
    done: AtomicUsize,
    of: usize,
    started: Instant,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self { done: AtomicUsize::new(0), of, started: Instant::now() }
    }

    fn tell(&self, mutant: &Mutant, verdict: &Verdict) {
        let done = self.done.fetch_add(1, Relaxed) + 1;
        if *verdict == Verdict::Survived {
            println!("survived: {}:{} {}", mutant.file, mutant.line, mutant.key());
        }
        if done.is_multiple_of(50) || done == self.of {
            println!("{done} of {} tried, {} s", self.of, self.started.elapsed().as_secs());
        }
    }
}
