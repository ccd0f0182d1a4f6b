//! What came of the trials: the last verdicts, kept for the next run, and the page that has the score and a
//! reason for each mutant that survives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use crate::{Result, mutant::Mutant, trial::Verdict};

const PAGE: &str = "docs/MUTANTS.md";

/// Verdicts by a mutant's key.
pub type Verdicts = BTreeMap<String, String>;

pub fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Caught(test) => format!("caught by {test}"),
        Verdict::TimedOut(test) => format!("timed out {test}"),
        Verdict::Survived => "survived".into(),
    }
}

/// Of the last run; empty when there was none.
pub fn read_verdicts(path: &Path) -> Result<Verdicts> {
    if !path.exists() {
        return Ok(Verdicts::new());
    }
    let text = fs::read_to_string(path)?;
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs.map(|(key, verdict)| (key.to_owned(), verdict.to_owned())).collect())
}

pub fn write_verdicts(path: &Path, verdicts: &Verdicts) -> Result<()> {
    let lines = verdicts.iter().map(|(key, verdict)| format!("{key}\t{verdict}\n"));
    Ok(fs::write(path, lines.collect::<String>())?)
}

/// Writes the scores into the page, and refuses survivors that it has no reason for, and reasons for
/// mutants that do not survive.
pub fn report(
    root: &Path,
    rooms: &[String],
    mutants: &[Mutant],
    verdicts: &Verdicts,
) -> Result<()> {
    let page = fs::read_to_string(root.join(PAGE))?;
    let mut page: Vec<String> = page.lines().map(str::to_owned).collect();
    let (commit, day) = (git(root, "%h")?, git(root, "%cs")?);
    for room in rooms {
        let score = Score::of(room, mutants, verdicts);
        let row = format!("| `{room}` | {score} | {commit} | {day} |");
        println!("{row}");
        match page.iter_mut().find(|line| line.starts_with(&format!("| `{room}` |"))) {
            Some(line) => *line = row,
            None => println!("{PAGE} has no row for {room}"),
        }
    }
    fs::write(root.join(PAGE), page.join("\n") + "\n")?;

    let survives =
        |mutant: &&Mutant| verdicts.get(&mutant.key()).is_some_and(|verdict| verdict == "survived");
    let reasons = reasons(root)?;
    let unexplained: Vec<_> =
        mutants.iter().filter(survives).filter(|mutant| !reasons.contains(&mutant.key())).collect();
    println!("{} mutants survive without a reason", unexplained.len());
    for mutant in &unexplained {
        println!("{}", row(mutant));
    }
    for mutant in
        mutants.iter().filter(|mutant| !survives(mutant) && reasons.contains(&mutant.key()))
    {
        println!("does not survive, though {PAGE} has a reason: {}", mutant.key());
    }
    match unexplained.len() {
        0 => Ok(()),
        number => Err(format!("{number} mutants survive without a reason").into()),
    }
}

/// Keys of the mutants that the page has a reason for.
pub fn reasons(root: &Path) -> Result<BTreeSet<String>> {
    let page = fs::read_to_string(root.join(PAGE))?;
    Ok(page.lines().filter_map(reasoned).collect())
}

/// The key in a row of the table of survivors: file, function, change, reason.
fn reasoned(line: &str) -> Option<String> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let [file, function, change, reason] = cells[..] else { return None };
    let plain = |cell: &str| cell.trim_matches('`').replace("\\|", "|");
    let is_reasoned = plain(file).ends_with(".rs") && !reason.is_empty();
    is_reasoned.then(|| [file, function, change].map(plain).join(" | "))
}

/// Such a row, without a reason.
fn row(mutant: &Mutant) -> String {
    let cells = [mutant.file_in_src(), &mutant.function, &mutant.change];
    let cells = cells.map(|cell| format!("`{}`", cell.replace('|', "\\|")));
    format!("| {} | |", cells.join(" | "))
}

fn git(root: &Path, format: &str) -> Result<String> {
    let format = format!("--format={format}");
    let output = Command::new("git").current_dir(root).args(["log", "-1", &format]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[derive(Default)]
struct Score {
    caught: usize,
    timed_out: usize,
    survived: usize,
    unviable: usize,
}

impl Score {
    fn of(room: &str, mutants: &[Mutant], verdicts: &Verdicts) -> Self {
        let mut score = Self::default();
        for mutant in mutants.iter().filter(|mutant| mutant.room() == room) {
            let verdict = verdicts.get(&mutant.key()).map_or("", String::as_str);
            match verdict.split(' ').next() {
                Some("caught") => score.caught += 1,
                Some("timed") => score.timed_out += 1,
                Some("survived") => score.survived += 1,
                Some("unviable") => score.unviable += 1,
                _ => {}
            }
        }
        score
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let killed = self.caught + self.timed_out;
        let viable = killed + self.survived;
        let percent = 100.0 * killed as f64 / viable.max(1) as f64;
        let Self { caught, timed_out, survived, unviable } = self;
        write!(f, "{viable} | {unviable} | {caught} | {timed_out} | {survived} | {percent:.1} %")
    }
}
