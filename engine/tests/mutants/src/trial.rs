//! Runs tests: once each to learn what they reach, then those that can tell against each mutant.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::Result;

/// Jobs at a time.
const JOBS: usize = 2;
/// A test that takes this much longer than usual, and ten times as long, hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// A process runs the tests up to such a duration together, then the next one those up to the next.
const TIERS: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(2)];
/// What a test's process may use: kilobytes of memory, blocks of a file (512 or 1024 bytes).
const BOUNDS: &str = "ulimit -v 6000000 && ulimit -f 2000000 && exec \"$@\"";
/// Shorter than by themselves: a mutant that these leave alone would mostly be left alone by the rest.
const COUNTS: [(&str, &str); 3] = [
    ("TRUNKLINE_POWER_CUTS", "300"),
    ("TRUNKLINE_FAULT_SEEDS", "1"),
    ("TRUNKLINE_FLIP_STRIDE", "7"),
];

/// A test, and what is known of it.
#[derive(Debug, Clone)]
pub struct Test {
    /// Index into the programs.
    pub program: usize,
    pub name: String,
    pub usual: Duration,
    /// Numbers of the mutants that make a difference in it.
    pub reaches: BTreeSet<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The test that failed.
    Caught(String),
    TimedOut(String),
    Survived,
}

pub struct Trials<'a> {
    programs: &'a [PathBuf],
    engine: PathBuf,
    /// For what the tests leave behind.
    scratch: PathBuf,
}

/// What one process had to say.
enum Outcome {
    Passed,
    Failed(String),
    TimedOut(String),
}

impl<'a> Trials<'a> {
    pub fn new(programs: &'a [PathBuf], engine: PathBuf, scratch: PathBuf) -> Self {
        Self { programs, engine, scratch }
    }

    /// Runs each test by itself, with no mutant on. Leaves out what does not end in this time.
    pub fn learn(&self, limit: Duration) -> Result<Vec<Test>> {
        let mut tests = Vec::new();
        for program in 0..self.programs.len() {
            let listed =
                self.command(program, 0)?.args(["--list", "--format", "terse"]).output()?;
            for line in String::from_utf8(listed.stdout)?.lines() {
                if let Some(name) = line.strip_suffix(": test") {
                    let (name, usual) = (name.to_owned(), Duration::ZERO);
                    tests.push(Test { program, name, usual, reaches: BTreeSet::new() });
                }
            }
        }
        let learnt = in_jobs(tests, |job, mut test| {
            let report = self.scratch(job).join("reached");
            let mut command = self.command(test.program, job)?;
            command.env("MUTANTS_REACHED", &report).args(["--exact", &test.name]);
            let started = Instant::now();
            let outcome = watch(command, limit, &test.name)?;
            test.usual = started.elapsed();
            let reached = fs::read_to_string(&report).unwrap_or_default();
            test.reaches = reached.lines().map(str::parse).collect::<Result<_, _>>()?;
            self.clean(job)?;
            match outcome {
                Outcome::Passed => Ok(Some(test)),
                Outcome::TimedOut(_) => Ok(None),
                Outcome::Failed(test) => Err(format!("{test} fails without a mutant").into()),
            }
        })?;
        Ok(learnt.into_iter().flatten().collect())
    }

    /// Tries these tests against the mutant of this number (0: it is in the sources), quick ones first.
    pub fn try_mutant(&self, mutant: u32, tests: &[&Test], job: usize) -> Result<Verdict> {
        for group in groups(tests) {
            let program = group[0].program;
            let usual = group.iter().map(|test| test.usual).max().unwrap_or_default();
            let mut command = self.command(program, job)?;
            command.env("MUTANT", mutant.to_string()).arg("--exact");
            command.args(group.iter().map(|test| &test.name));
            let outcome = watch(command, PATIENCE + usual * 10, &group[0].name)?;
            self.clean(job)?;
            match outcome {
                Outcome::Passed => {}
                Outcome::Failed(test) => return Ok(Verdict::Caught(test)),
                Outcome::TimedOut(test) => return Ok(Verdict::TimedOut(test)),
            }
        }
        Ok(Verdict::Survived)
    }

    fn command(&self, program: usize, job: usize) -> Result<Command> {
        fs::create_dir_all(self.scratch(job))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", BOUNDS, "sh"])
            .arg(&self.programs[program])
            .arg("--test-threads=1")
            .current_dir(&self.engine)
            .env("TMPDIR", self.scratch(job))
            .env("PROPTEST_RNG_SEED", "1")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("CARGO_MANIFEST_DIR", &self.engine)
            .envs(COUNTS);
        Ok(command)
    }

    fn scratch(&self, job: usize) -> PathBuf {
        self.scratch.join(job.to_string())
    }

    fn clean(&self, job: usize) -> Result<()> {
        remove(&self.scratch(job))
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Tests that run in one process each, the quick ones first.
fn groups<'t>(tests: &[&'t Test]) -> Vec<Vec<&'t Test>> {
    let mut groups: BTreeMap<_, Vec<&Test>> = BTreeMap::new();
    for test in tests {
        let tier = TIERS.iter().position(|upto| test.usual <= *upto);
        // A slow test has a process of its own, and its place by its time.
        let time = if tier.is_some() { Duration::ZERO } else { test.usual };
        groups.entry((tier.unwrap_or(TIERS.len()), time, test.program)).or_default().push(test);
    }
    groups.into_values().collect()
}

/// Runs a program of tests until one fails, or none ends for so long.
fn watch(mut command: Command, patience: Duration, first: &str) -> Result<Outcome> {
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut child = Watched(child);
    let out = child.0.stdout.take().ok_or("a piped output")?;
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    let mut last = first.to_owned();
    let outcome = loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                let Some(result) = line.strip_prefix("test ") else { continue };
                let (name, result) = result.rsplit_once(" ... ").unwrap_or((result, ""));
                if result == "FAILED" {
                    break Outcome::Failed(name.to_owned());
                }
                name.clone_into(&mut last);
            }
            Err(RecvTimeoutError::Timeout) => break Outcome::TimedOut(format!("after {last}")),
            Err(RecvTimeoutError::Disconnected) => {
                let passed = child.0.wait()?.success();
                break if passed {
                    Outcome::Passed
                } else {
                    Outcome::Failed(format!("after {last}"))
                };
            }
        }
    };
    drop(child);
    // Whoever the child started may still hold its output: the reader is not waited for.
    drop(reader);
    Ok(outcome)
}

/// A child that does not outlive its watcher.
struct Watched(Child);

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gives each item to one of the jobs, and their results in the items' order.
pub fn in_jobs<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    work: impl Fn(usize, T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let queue: Mutex<VecDeque<(usize, T)>> = Mutex::new(items.into_iter().enumerate().collect());
    let results = Mutex::new(HashMap::new());
    thread::scope(|scope| {
        for job in 0..JOBS {
            let (queue, results, work) = (&queue, &results, &work);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().expect("no job panics").pop_front();
                    let Some((at, item)) = next else { break };
                    let result = work(job, item).map_err(|error| error.to_string());
                    results.lock().expect("no job panics").insert(at, result);
                }
            });
        }
    });
    let mut results: Vec<_> = results.into_inner().expect("no job panics").into_iter().collect();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result.map_err(Into::into)).collect()
}
