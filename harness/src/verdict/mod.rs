//! What a sweep says, in sentences that its figures bear out. A difference within the noise of
//! repeated runs is called that.

mod codecs;
mod lingers;
mod throughput;

use std::fmt::Write as _;

use crate::{
    cells::{Cell, Comparison, Row},
    result::RunResult,
    show,
    size::ByteSize,
};

/// A sentence or a few about one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in a word or two.
    pub topic: &'static str,
    /// What was found.
    pub text: String,
}

/// Kafka's defaults: linger 5 ms, batches of 16 KiB, no compression.
const DEFAULTS: (u64, u64, &str) = (5, 16 << 10, "none");
/// Noise that is assumed where nothing was repeated.
const ASSUMED_NOISE: f64 = 0.1;
/// Least noise: two or three repetitions don't prove less.
const LEAST_NOISE: f64 = 0.03;
/// As [`ASSUMED_NOISE`], of median latencies: a factor, since these range over powers of ten.
const ASSUMED_LATENCY_NOISE: f64 = 2.0;
/// As [`LEAST_NOISE`], of median latencies.
const LEAST_LATENCY_NOISE: f64 = 1.1;

/// What all of it says, most important first. Empty without results.
pub fn of(comparison: &Comparison) -> Vec<Finding> {
    let view = View::of(comparison);
    let findings = [
        throughput::most(&view),
        throughput::batch_size(&view),
        codecs::compression(&view),
        lingers::cost_at_low_rate(&view),
        lingers::gain_at_middle_rate(&view),
        lingers::at_full_speed(&view),
        durability(&view),
        noise(&view),
    ];
    findings.into_iter().flatten().collect()
}

/// The findings as lines of at most 100 characters.
pub fn for_terminal(findings: &[Finding]) -> String {
    const WIDTH: usize = 100;
    const INDENT: usize = 14;
    let mut text = String::from("Verdict\n");
    for finding in findings {
        let mut line = format!("  {:<1$}", finding.topic, INDENT - 2);
        for word in finding.text.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(INDENT - 1);
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The rows that are compared: all that share the options beside linger, batch size and codec with
/// the fastest one.
struct View<'a> {
    comparison: &'a Comparison,
    rows: Vec<&'a Row>,
    others: String,
    noise: f64,
}

impl<'a> View<'a> {
    fn of(comparison: &'a Comparison) -> Self {
        let column = comparison.max_column().unwrap_or(comparison.rates.len().saturating_sub(1));
        let fastest = comparison
            .at(if comparison.rates.is_empty() { return Self::empty(comparison) } else { column })
            .max_by(|a, b| a.1.mb_per_second.total_cmp(&b.1.mb_per_second))
            .map(|(row, _)| row);
        let Some(fastest) = fastest.or(comparison.rows.first()) else {
            return Self::empty(comparison);
        };
        let others = comparison.others(fastest);
        let rows = comparison.rows.iter().filter(|row| comparison.others(row) == others).collect();
        let noise = comparison.noise().map_or(ASSUMED_NOISE, |noise| noise.max(LEAST_NOISE));
        Self { comparison, rows, others, noise }
    }

    fn empty(comparison: &'a Comparison) -> Self {
        Self { comparison, rows: Vec::new(), others: String::new(), noise: ASSUMED_NOISE }
    }

    /// The rows' typical runs in a column.
    fn at(&self, column: usize) -> Vec<(&'a Row, &'a RunResult)> {
        let run = |row: &&'a Row| row.cells[column].as_ref().map(|cell| (*row, cell.typical()));
        self.rows.iter().filter_map(run).collect()
    }

    fn at_full_speed(&self) -> Vec<(&'a Row, &'a RunResult)> {
        self.comparison.max_column().map_or_else(Vec::new, |column| self.at(column))
    }

    /// Place of the lowest rate that is a number.
    fn low_column(&self) -> Option<usize> {
        let first = self.comparison.rates.first()?;
        (first != "max" && !first.ends_with('%')).then_some(0)
    }

    /// Place of the percentage next to a half.
    fn middle_column(&self) -> Option<usize> {
        let percent = |rate: &str| rate.strip_suffix('%').and_then(|p| p.parse::<i32>().ok());
        let rates = self.comparison.rates.iter().enumerate();
        let known = rates.filter_map(|(column, rate)| Some((column, percent(rate)?)));
        known.min_by_key(|(_, percent)| (percent - 50).abs()).map(|(column, _)| column)
    }

    /// In a column, the runs that differ only in linger, shortest first: with this batch size and
    /// no compression where these were measured.
    fn lingers_at(&self, column: usize, batch_size: u64) -> Vec<(&'a Row, &'a RunResult)> {
        let runs = self.at(column);
        let is_default = |row: &Row| group(row) == (batch_size, DEFAULTS.2);
        let Some(group) = runs
            .iter()
            .find(|(row, _)| is_default(row))
            .or_else(|| runs.first())
            .map(|(row, _)| group(row))
        else {
            return Vec::new();
        };
        let mut runs: Vec<_> =
            runs.into_iter().filter(|(row, _)| self::group(row) == group).collect();
        runs.sort_by_key(|(row, _)| row.config.linger_ms);
        runs
    }

    fn is_noise(&self, a: f64, b: f64) -> bool {
        (a - b).abs() <= self.noise * a.max(b)
    }

    /// Whether two median latencies at the rate of a column are one within the noise there.
    fn is_latency_noise(&self, column: usize, a: f64, b: f64) -> bool {
        let noise = self.comparison.latency_noise(column);
        let factor = noise.map_or(ASSUMED_LATENCY_NOISE, |noise| noise.max(LEAST_LATENCY_NOISE));
        a.max(b) <= factor * a.min(b)
    }
}

/// What rows share that differ in nothing but linger.
fn group(row: &Row) -> (u64, &str) {
    (row.config.batch_size_bytes, &row.config.compression)
}

/// `linger 5 ms, batches of 16KiB, no compression`.
fn named(row: &Row) -> String {
    format!("linger {} ms, {}", row.config.linger_ms, without_linger(row))
}

/// `batches of 16KiB, no compression`.
fn without_linger(row: &Row) -> String {
    let config = &row.config;
    let codec = if config.compression == "none" { "no compression" } else { &config.compression };
    format!("batches of {}, {codec}", ByteSize(config.batch_size_bytes))
}

/// `1.80 times`, or below one `77 % of`.
fn times(factor: f64) -> String {
    if factor < 1.0 {
        return format!("{} of", show::percent(factor));
    }
    format!("{} times", show::three_digits(factor))
}

fn is_in_memory(cell: &Cell) -> bool {
    cell.typical().machine.mount.is_memory()
}

fn durability(view: &View<'_>) -> Option<Finding> {
    let rows = &view.comparison.rows;
    let first = &rows.first()?.config.durability;
    let unheard = rows.iter().filter(|row| row.config.acks == "0").count();
    if unheard > 0 {
        let which = if unheard == rows.len() { "All of this ran" } else { "Some rows ran" };
        let text = format!(
            "{which} with acks 0: nothing was waited for. Latencies there end when a batch was handed \
             to the log, and no figure says that anything was written; a power cut, or an error that \
             nobody hears, takes it."
        );
        return Some(Finding { topic: "durability", text });
    }
    let text = if rows.iter().any(|row| row.config.durability != *first) {
        "Both levels were measured: written is acknowledged from the page cache, and a power cut \
         takes it back; durable waited for the disk."
    } else if first == "durable" && view.comparison.cells().any(is_in_memory) {
        "Every acknowledgement waited for fdatasync, but the file system is in memory: nothing of this \
         is durable, and syncs cost nothing."
    } else if first == "durable" {
        "All of this is durable: every acknowledgement waited until the disk had the record \
         (fdatasync). Figures of systems that acknowledge from the page cache, as Kafka does, compare \
         with --durability written."
    } else {
        "All of this is written, not durable: records were acknowledged from the page cache, as \
         Kafka does, and a power cut takes the last ones back. What the disk costs: --durability \
         durable."
    };
    Some(Finding { topic: "durability", text: text.into() })
}

fn noise(view: &View<'_>) -> Option<Finding> {
    view.comparison.rows.first()?;
    let mut repeated = Vec::new();
    let mut assumed = Vec::new();
    if view.comparison.max_column().is_some() {
        match view.comparison.noise() {
            Some(noise) => repeated.push(format!("at full speed by up to {:.0} %", noise * 100.0)),
            None => assumed.push(format!("differences under {:.0} %", ASSUMED_NOISE * 100.0)),
        }
    }
    let rates = view.comparison.rates.iter().enumerate().filter(|(_, rate)| *rate != "max");
    let mut is_latency_assumed = false;
    for (column, rate) in rates {
        match view.comparison.latency_noise(column) {
            Some(noise) => repeated.push(format!(
                "at {rate} in their p50 by a factor of {}",
                show::three_digits(noise)
            )),
            None => is_latency_assumed = true,
        }
    }
    if is_latency_assumed {
        let elsewhere =
            if repeated.iter().any(|text| text.contains("p50")) { "other " } else { "" };
        assumed.push(format!("{elsewhere}p50 within a factor of {ASSUMED_LATENCY_NOISE}"));
    }
    let mut text = String::new();
    if !repeated.is_empty() {
        let repeated = repeated.join(", ");
        text = format!("Runs of one cell differed {repeated}: smaller differences mean nothing.");
    }
    if !assumed.is_empty() {
        let (space, what) = if text.is_empty() { ("", "Nothing") } else { (" ", "The rest") };
        let verb = if text.is_empty() { "was repeated" } else { "was not repeated" };
        let assumed = assumed.join(" and ");
        let _ = write!(
            text,
            "{space}{what} {verb}, so {assumed} are taken as noise; `sweep --repeat 3` measures it."
        );
    }
    Some(Finding { topic: "noise", text })
}

#[cfg(test)]
mod tests;
