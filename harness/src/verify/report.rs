//! How `verify` tells what it found: lines for people, one object for programs.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    VerifyError,
    fault::{Counts, Fault, Findings},
    recover::Recovery,
};
use crate::{count::counted, output};

/// All that is to be told.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What `--recover` did.
    pub(super) recoveries: Vec<Recovery>,
    /// What was found.
    pub(super) findings: Findings,
    /// How long the check took.
    pub(super) seconds: f64,
}

/// The object that `--json` prints.
#[derive(Debug, Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    counts: Counts,
    fault_count: u64,
    faults: &'a [Fault],
    notes: &'a [String],
    recovered: &'a [Recovery],
    seconds: f64,
}

impl Report {
    /// Tells it on standard output.
    pub(super) fn print(&self, json: bool) -> Result<(), VerifyError> {
        let text = if json { self.json() } else { self.text() };
        output::print(&text).map_err(VerifyError::Output)
    }

    fn text(&self) -> String {
        let recovered: String = self.recoveries.iter().map(Recovery::text).collect();
        let mut lines: Vec<String> = self.findings.faults.iter().map(ToString::to_string).collect();
        let more = |(file, more): (&std::path::Path, u64)| {
            format!("{}: {more} more faults like these", file.display())
        };
        lines.extend(self.findings.untold().map(more));
        lines.extend(self.findings.notes.iter().map(|note| format!("note: {note}")));
        lines.push(self.summary());
        recovered + &lines.join("\n") + "\n"
    }

    fn summary(&self) -> String {
        let Counts { partitions, segments, batches, records, bytes } = self.findings.counts;
        let speed = bytes as f64 / 1e6 / self.seconds.max(1e-9);
        [
            counted(partitions, "partition", "partitions"),
            counted(segments, "segment", "segments"),
            counted(batches, "batch", "batches"),
            counted(records, "record", "records"),
            counted(bytes, "byte", "bytes"),
            counted(self.findings.fault_count(), "fault", "faults"),
            format!("{:.2} s ({speed:.0} MB/s)", self.seconds),
        ]
        .join(", ")
    }

    fn json(&self) -> String {
        let object = Json {
            counts: self.findings.counts,
            fault_count: self.findings.fault_count(),
            faults: &self.findings.faults,
            notes: &self.findings.notes,
            recovered: &self.recoveries,
            seconds: self.seconds,
        };
        // A path that is no UTF-8 cannot be told in JSON.
        serde_json::to_string(&object).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
            + "\n"
    }
}

/// Bytes of log read so far, on a terminal.
#[derive(Debug)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Of `bytes` in all.
    pub(super) fn new(bytes: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let template = "{bar:24.cyan/238} {percent:>3} %  {bytes} of {total_bytes}, {eta} left";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(bytes).with_style(style.progress_chars("━━─"))
        });
        Self(bar)
    }

    /// Whether anybody sees it.
    pub(super) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// `bytes` were read.
    pub(super) fn show(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
        }
    }

    /// Takes the line away.
    pub(super) fn clear(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
