//! The finished runs of a sweep: one JSON object a line, so that a sweep can go on where it stopped.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    folder,
    grid::Planned,
    machine::Machine,
    percentile::Rule,
    removal::check_folder,
    result::{FORM, RunResult},
};

/// Name of the file in the sweep's folder.
pub const FILE_NAME: &str = "results.jsonl";

/// A finished run: its result with the cell that it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The workload, with its rate as it was asked for: the same in every repetition.
    pub cell: String,
    /// Which repetition, from 0.
    pub repeat: u32,
    /// What was found.
    #[serde(flatten)]
    pub result: RunResult,
}

/// The file, open for more.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
    finished: HashSet<(String, u32)>,
}

/// The file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An engine or a broker takes every folder there for its own.
    #[error("{dir} is in the data folder of a log, {log}: name another folder with --out")]
    InLog {
        /// The folder.
        dir: PathBuf,
        /// The data folder.
        log: PathBuf,
    },
    /// A whole line that is no result of ours.
    #[error("{path}, line {line}: {reason}; move the file away to begin anew")]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// What is there was measured on another disk, with another build, or by another rule: figures
    /// of both in one table would not compare.
    #[error(
        "{path} was begun with {what} {before}, and now it is {now}: results of both do not compare. \
         Name another folder with --out"
    )]
    Different {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As it was.
        before: String,
        /// As it is.
        now: String,
    },
}

impl Journal {
    /// Opens the journal in folder `dir`, made when absent. A last line that was cut off in the
    /// middle is dropped: its run is measured again.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE_NAME);
        let failed = |source| JournalError::Io { path: path.clone(), source };
        if let Some(log) = folder::log_above(dir) {
            return Err(JournalError::InLog { dir: dir.into(), log });
        }
        check_folder(dir).and_then(|()| fs::create_dir_all(dir)).map_err(failed)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
        file.set_len(whole as u64).map_err(failed)?;
        let mut journal =
            Self { path: path.clone(), file, entries: Vec::new(), finished: HashSet::new() };
        for (index, line) in text[..whole].lines().enumerate() {
            let entry = serde_json::from_str(line).map_err(|error| JournalError::Line {
                path: path.clone(),
                line: index + 1,
                reason: error.to_string(),
            })?;
            journal.remember(entry);
        }
        Ok(journal)
    }

    /// Whether runs on `machine` by this `rule` may go beside those that are there.
    pub fn check_continues(&self, machine: &Machine, rule: Rule) -> Result<(), JournalError> {
        let Some(Entry { result: first, .. }) = self.entries.first() else { return Ok(()) };
        let (was, mount, now) = (&first.machine, &first.machine.mount, &machine.mount);
        let facts = [
            ("form", first.form.to_string(), FORM.to_string()),
            ("file system", mount.file_system.clone(), now.file_system.clone()),
            ("device", mount.device.clone(), now.device.clone()),
            ("mount point", mount.mount_point.clone(), now.mount_point.clone()),
            ("commit", was.commit.clone(), machine.commit.clone()),
            ("build", was.build.clone(), machine.build.clone()),
            ("percentile rule", first.config.percentiles.clone(), rule.to_string()),
        ];
        match facts.into_iter().find(|(_, before, now)| before != now) {
            None => Ok(()),
            Some((what, before, now)) => {
                Err(JournalError::Different { path: self.path.clone(), what, before, now })
            }
        }
    }

    /// Whether a run is there already.
    pub fn has(&self, planned: &Planned) -> bool {
        self.finished.contains(&(planned.workload.to_string(), planned.repeat))
    }

    /// Adds a finished run, in the file before it answers.
    pub fn add(&mut self, planned: &Planned, result: RunResult) -> Result<(), JournalError> {
        let failed = |source| JournalError::Io { path: self.path.clone(), source };
        let cell = planned.workload.to_string();
        let entry = Entry { cell, repeat: planned.repeat, result };
        let line = serde_json::to_string(&entry).map_err(|error| failed(error.into()))? + "\n";
        self.file.write_all(line.as_bytes()).map_err(failed)?;
        self.remember(entry);
        Ok(())
    }

    /// All finished runs, in the order of their measurement.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn remember(&mut self, entry: Entry) {
        self.finished.insert((entry.cell.clone(), entry.repeat));
        self.entries.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::workload;

    fn planned(repeat: u32) -> Planned {
        Planned { workload: workload(), repeat }
    }

    #[test]
    fn finished_runs_are_known_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&dir.path().join("new")).unwrap();
        let result = RunResult { records: 7, ..RunResult::default() };
        journal.add(&planned(0), result.clone()).unwrap();
        assert!(journal.has(&planned(0)) && !journal.has(&planned(1)));
        let path = journal.path().to_owned();
        drop(journal);

        // The process was killed in the middle of the second line.
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
        let mut journal = Journal::open(path.parent().unwrap()).unwrap();
        assert_eq!(journal.entries().len(), 1);
        assert_eq!(journal.entries()[0].result, result);
        journal.add(&planned(1), result).unwrap();
        assert_eq!(Journal::open(path.parent().unwrap()).unwrap().entries().len(), 2);
    }

    #[test]
    fn what_does_not_compare_is_not_continued() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine =
            Machine { commit: "abc".into(), build: "release".into(), ..Machine::default() };
        machine.mount.device = "/dev/vda".into();
        let mut journal = Journal::open(dir.path()).unwrap();
        let continues = |journal: &Journal, machine: &Machine, rule| {
            journal.check_continues(machine, rule).map_err(|error| error.to_string())
        };
        assert_eq!(continues(&journal, &machine, Rule::Strict), Ok(()), "nothing is there yet");
        let config = workload().config();
        let result =
            RunResult { form: FORM, machine: machine.clone(), config, ..RunResult::default() };
        journal.add(&planned(0), result).unwrap();
        assert_eq!(continues(&journal, &machine, Rule::Quarter), Ok(()));
        let mut disk = machine.clone();
        disk.mount.device = "/dev/vdb".into();
        let others = [
            (disk, Rule::Quarter, "device /dev/vda, and now it is /dev/vdb"),
            (Machine { commit: "abd".into(), ..machine.clone() }, Rule::Quarter, "commit abc"),
            (Machine { build: "debug".into(), ..machine.clone() }, Rule::Quarter, "build release"),
            (machine.clone(), Rule::Strict, "percentile rule quarter"),
        ];
        for (machine, rule, part) in others {
            let error = continues(&journal, &machine, rule).unwrap_err();
            assert!(error.contains(part) && error.contains("--out"), "{error}");
        }
        let path = journal.path().to_owned();
        let older = fs::read_to_string(&path).unwrap().replace("\"form\":2", "\"form\":1");
        fs::write(&path, older).unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert!(continues(&journal, &machine, Rule::Quarter).unwrap_err().contains("form 1"));
    }

    #[test]
    fn a_file_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "{\"cell\":3}\n").unwrap();
        let error = Journal::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
