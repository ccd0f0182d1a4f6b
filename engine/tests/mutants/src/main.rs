//! How much of the engine's code its tests would miss: each of cargo-mutants' mutants, in a fraction of the
//! time that a build for each takes. All of them are compiled into one copy of the engine, and one is
//! switched on by an environment variable; of the tests only those run against it that it makes a
//! difference to. `docs/MUTANTS.md` has the results.
//!
//! `trunkline-mutants [--again] [--quick] [ROOM...]`, from anywhere within the repository. `--again`: only
//! what was not caught last time. `--quick`: without the slow tests, to see what the quick ones miss.

mod copy;
mod ledger;
mod mutant;
mod rewrite;
mod sites;
mod trial;

use std::{
    collections::HashMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use copy::Copy;
use mutant::{Mutant, State};
use trial::{Trials, Verdict, in_jobs};

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
    let mut rooms: Vec<String> =
        arguments.into_iter().filter(|argument| !argument.starts_with("--")).collect();
    if rooms.is_empty() {
        rooms = ROOMS.map(str::to_owned).to_vec();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?;
    let work = root.join("target/mutants");
    let results_file = work.join("verdicts");
    let before = ledger::read_verdicts(&results_file)?;
    let started = Instant::now();

    let mut mutants = mutant::list(&root, &rooms, &sources(&root)?)?;
    let mut copy = Copy::make(&root, &work.join("copy"), sources(&root)?, &mut mutants)?;
    let programs = copy.build(&mut mutants)?;
    let count = |state| mutants.iter().filter(|mutant| mutant.state == state).count();
    println!(
        "{} mutants: {} switched on and off, {} unviable, {} to be built alone; {} s",
        mutants.len(),
        count(State::Switched),
        count(State::Unviable),
        count(State::Alone),
        started.elapsed().as_secs()
    );

    let trials = Trials::new(&programs, copy.engine(), work.join("scratch"));
    let tests = trials.learn(if quick { SLOW } else { ENDLESS })?;
    println!("{} tests, {} s", tests.len(), started.elapsed().as_secs());

    let is_caught = |mutant: &Mutant| before.get(&mutant.key()).is_some_and(|v| v != "survived");
    let wanted: Vec<&Mutant> =
        mutants.iter().filter(|mutant| !again || !is_caught(mutant)).collect();
    let mut verdicts = before.clone();
    verdicts.retain(|key, _| again || !mutants.iter().any(|mutant| mutant.key() == *key));
    let switched: Vec<_> =
        wanted.iter().copied().filter(|mutant| mutant.state == State::Switched).collect();
    let progress = Progress::new(switched.len());
    let tried = in_jobs(switched.iter().copied(), |job, mutant| {
        let reaching: Vec<_> =
            tests.iter().filter(|test| test.reaches.contains(&mutant.number)).collect();
        let verdict = trials.try_mutant(mutant.number, &reaching, job)?;
        progress.tell(mutant, &verdict);
        Ok(verdict)
    })?;
    for (mutant, verdict) in switched.into_iter().zip(tried) {
        verdicts.insert(mutant.key(), ledger::word(&verdict));
    }
    for mutant in mutants.iter().filter(|mutant| mutant.state == State::Unviable) {
        verdicts.insert(mutant.key(), "unviable".into());
    }
    ledger::write_verdicts(&results_file, &verdicts)?;
    println!("{} s", started.elapsed().as_secs());

    let alone: Vec<_> =
        wanted.iter().copied().filter(|mutant| mutant.state == State::Alone).collect();
    let own: Vec<_> = tests.iter().filter(|test| test.program == 0).collect();
    let progress = Progress::new(alone.len());
    copy.write_originals()?;
    for mutant in alone {
        let word = match copy.build_alone(mutant)? {
            Some(program) => {
                let programs = [program];
                let trials = Trials::new(&programs, copy.engine(), work.join("scratch"));
                let verdict = trials.try_mutant(0, &own, 0)?;
                progress.tell(mutant, &verdict);
                ledger::word(&verdict)
            }
            None => "unviable".into(),
        };
        verdicts.insert(mutant.key(), word);
        ledger::write_verdicts(&results_file, &verdicts)?;
    }
    println!("{} s", started.elapsed().as_secs());
    ledger::report(&root, &rooms, &mutants, &verdicts)
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
