//! Rows that do the same work, compared within one run: short slices of each, in a new order each
//! round, so that what the machine does meanwhile strikes all of them alike. What is told is the ratio
//! to another row, with its confidence interval; absolute figures move from hour to hour.

use std::{
    fmt::{self, Write as _},
    time::{Duration, Instant},
};

use fastrand::Rng;

/// Samples that a confidence interval is drawn from.
const RESAMPLES: usize = 4000;

/// One way to do the work.
pub trait Row {
    /// Performs a slice and gives its length: of the work alone, not of what makes ready for it.
    fn slice(&mut self) -> Duration;
}

impl<F: FnMut() -> Duration> Row for F {
    fn slice(&mut self) -> Duration {
        self()
    }
}

/// Runs `work` and gives its duration.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// What a slice of each row of a group does.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Bytes.
    pub bytes: u64,
    /// Records, batches or whatever the group counts.
    pub units: u64,
    /// The word for them.
    pub unit: &'static str,
}

/// Rows and the times of their slices.
pub struct Group<'a> {
    name: String,
    work: Work,
    rows: Vec<(String, Box<dyn Row + 'a>)>,
}

impl<'a> Group<'a> {
    /// A group whose rows all do `work` in a slice.
    pub fn new(name: impl Into<String>, work: Work) -> Self {
        Self { name: name.into(), work, rows: Vec::new() }
    }

    /// Adds a row. The first one is what the others are held against.
    pub fn row(&mut self, name: impl Into<String>, row: impl Row + 'a) {
        self.rows.push((name.into(), Box::new(row)));
    }

    /// One slice of each that does not count, then `rounds` that do.
    pub fn run(mut self, rounds: usize, mut progress: impl FnMut(usize)) -> Outcome {
        let mut rng = Rng::with_seed(1);
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let mut slices = vec![Vec::with_capacity(rounds); self.rows.len()];
        for round in 0..=rounds {
            rng.shuffle(&mut order);
            for row in &order {
                let elapsed = self.rows[*row].1.slice();
                if round > 0 {
                    slices[*row].push(elapsed.as_secs_f64());
                }
            }
            progress(round);
        }
        let names = self.rows.into_iter().map(|(name, _)| name);
        Outcome { name: self.name, work: self.work, rows: names.zip(slices).collect() }
    }
}

/// Seconds of each slice of each row; the same place in each is the same round.
#[derive(Debug, Clone)]
pub struct Outcome {
    name: String,
    work: Work,
    rows: Vec<(String, Vec<f64>)>,
}

/// How often one row does the work in the time in which another does it once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// By the time of all slices together: what stalls now and then counts.
    pub of_totals: f64,
    /// Its 95 % confidence interval (bootstrap over rounds).
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// Median of the rounds' ratios: what stalls now and then does not count.
    pub median: f64,
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of_totals, low, high, median } = self;
        write!(f, "{of_totals:.3} [{low:.3}, {high:.3}], median {median:.3}")
    }
}

impl Outcome {
    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The speed of row `row` over that of row `base`.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn ratio(&self, row: &str, base: &str) -> Ratio {
        let slices = |name: &str| {
            let found = self.rows.iter().find(|(row, _)| row == name);
            &found.unwrap_or_else(|| panic!("no row {name:?} in {}", self.name)).1
        };
        ratio(slices(base), slices(row))
    }

    /// A table in Markdown: each row with its speed and its ratio to the first one.
    pub fn table(&self) -> String {
        let Work { bytes, units, unit } = self.work;
        let mut text = format!(
            "### {}\n\n| row | MB/s | {unit}/s | slice p50, ms | p99, ms | max, ms | ratio to the first |\n|---|---|---|---|---|---|---|\n",
            self.name
        );
        for (name, slices) in &self.rows {
            let total: f64 = slices.iter().sum();
            let a_second = |amount: u64| amount as f64 * slices.len() as f64 / total;
            let mut sorted = slices.clone();
            sorted.sort_by(f64::total_cmp);
            let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part) as usize] * 1e3;
            let ratio = self.ratio(name, &self.rows[0].0);
            let _ = writeln!(
                text,
                "| {name} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {ratio} |",
                a_second(bytes) / 1e6,
                a_second(units),
                at(0.5),
                at(0.99),
                at(1.0),
            );
        }
        text
    }
}

fn ratio(base: &[f64], row: &[f64]) -> Ratio {
    let rounds = base.len();
    let mut each: Vec<f64> = base.iter().zip(row).map(|(base, row)| base / row).collect();
    each.sort_by(f64::total_cmp);
    let mut rng = Rng::with_seed(2);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..rounds).map(|_| rng.usize(..rounds));
            let (base, row) =
                drawn.fold((0.0, 0.0), |sums, at| (sums.0 + base[at], sums.1 + row[at]));
            base / row
        })
        .collect();
    resampled.sort_by(f64::total_cmp);
    Ratio {
        of_totals: base.iter().sum::<f64>() / row.iter().sum::<f64>(),
        low: resampled[RESAMPLES / 40],
        high: resampled[RESAMPLES - 1 - RESAMPLES / 40],
        median: each[rounds / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Work = Work { bytes: 1000, units: 10, unit: "records" };

    #[test]
    fn a_row_of_half_the_speed_has_ratio_one_half() {
        let mut group = Group::new("g", WORK);
        let mut rounds = 0;
        group.row("limit", || Duration::from_millis(10));
        group.row("other", || Duration::from_millis(20));
        let outcome = group.run(100, |round| rounds = round);
        assert_eq!(rounds, 100);
        let ratio = outcome.ratio("other", "limit");
        assert!((ratio.of_totals - 0.5).abs() < 1e-9 && (ratio.median - 0.5).abs() < 1e-9);
        assert!((ratio.low - 0.5).abs() < 1e-9 && (ratio.high - 0.5).abs() < 1e-9);
        let table = outcome.table();
        assert!(
            table.contains(
                "| other | 0 | 500 | 20.00 | 20.00 | 20.00 | 0.500 [0.500, 0.500], median 0.500 |"
            ),
            "{table}"
        );
    }

    #[test]
    fn the_interval_holds_the_ratio_and_narrows_with_the_rounds() {
        let mut rng = Rng::with_seed(7);
        let mut noisy = |rounds: usize| -> (Vec<f64>, Vec<f64>) {
            // What the machine does strikes both rows of a round; the rest is each row's own.
            (0..rounds)
                .map(|_| {
                    let machine = 1.0 + rng.f64();
                    (machine * (1.0 + 0.1 * rng.f64()), 1.25 * machine * (1.0 + 0.1 * rng.f64()))
                })
                .unzip()
        };
        let widths: Vec<f64> = [100, 1600]
            .map(|rounds| {
                let (base, row) = noisy(rounds);
                let found = ratio(&base, &row);
                assert!(found.low < 0.8 && 0.8 < found.high, "{found}");
                assert!(found.low <= found.of_totals && found.of_totals <= found.high);
                found.high - found.low
            })
            .into();
        assert!(widths[0] < 0.05 && widths[1] < widths[0] / 2.0, "{widths:?}");
    }
}
