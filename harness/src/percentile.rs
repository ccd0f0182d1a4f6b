//! Percentiles that are earned: one is given only where there are enough samples to know it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How sure a percentile must be. At 99 % confidence (z = 2.576) the rank of the value that is shown
/// is right within a part of the tail beyond it, which takes `z² · p / (1 − p) · part²` independent
/// samples ([`crate::groups`] tells how many the records of batches are worth).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// Within a quarter of the tail: a p99 stands between the true p98.75 and p99.25.
    /// p50 takes 107 samples, p90 956, p99 10,512, p99.9 106,067.
    #[default]
    Quarter,
    /// Within a twentieth of the tail: a p99 stands between the true p98.95 and p99.05.
    /// p50 takes 2,655 samples, p90 23,889, p99 262,777, p99.9 2,651,657.
    Strict,
}

const Z_99: f64 = 2.576;

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quarter => "quarter",
            Self::Strict => "strict",
        })
    }
}

impl Rule {
    /// Samples that the quantile `p` (0.99 for p99) takes.
    pub fn samples(self, p: f64) -> u64 {
        let part: f64 = match self {
            Self::Quarter => 4.0,
            Self::Strict => 20.0,
        };
        (Z_99 * Z_99 * p / (1.0 - p) * part * part).ceil() as u64
    }
}

/// A distribution of times in microseconds. `None`: not earned, shown as `n/a`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<f64>,
    /// 90 in 100 are faster.
    pub p90: Option<f64>,
    /// 99 in 100 are faster.
    pub p99: Option<f64>,
    /// 999 in 1,000 are faster.
    pub p999: Option<f64>,
    /// The slowest: always shown, `None` only without a sample.
    pub max: Option<f64>,
    /// Number of samples.
    pub samples: u64,
    /// How many independent samples they are worth: this decides what is earned.
    #[serde(default)]
    pub effective_samples: u64,
}

impl Percentiles {
    /// Each with its name, the lowest first.
    pub fn named(&self) -> [(&'static str, Option<f64>); 4] {
        [("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("p99.9", self.p999)]
    }

    /// Those of a histogram of nanoseconds that is worth this many independent samples.
    pub fn of(histogram: &Histogram<u64>, effective_samples: u64, rule: Rule) -> Self {
        let samples = histogram.len();
        let at = |p: f64| {
            let earned = effective_samples >= rule.samples(p);
            earned.then(|| micros(histogram.value_at_quantile(p)))
        };
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: (samples > 0).then(|| micros(histogram.max())),
            samples,
            effective_samples,
        }
    }
}

/// Nanoseconds as microseconds, to a tenth.
fn micros(ns: u64) -> f64 {
    (ns as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_ask_for_what_they_say() {
        let counts = |rule: Rule| [0.5, 0.9, 0.99, 0.999].map(|p| rule.samples(p));
        assert_eq!(counts(Rule::Quarter), [107, 956, 10_512, 106_067]);
        assert_eq!(counts(Rule::Strict), [2_655, 23_889, 262_777, 2_651_657]);
    }

    #[test]
    fn a_percentile_without_samples_is_not_given() {
        let mut histogram = Histogram::new(3).unwrap();
        assert_eq!(Percentiles::of(&histogram, 0, Rule::Quarter), Percentiles::default());
        for ns in 1..=1_000_u64 {
            histogram.record(ns * 1_000).unwrap();
        }
        let percentiles = Percentiles::of(&histogram, 1_000, Rule::Quarter);
        let near = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1.5;
        assert!(near(percentiles.p50, 500.0) && near(percentiles.p90, 900.0));
        assert_eq!((percentiles.p99, percentiles.p999), (None, None));
        assert!(near(percentiles.max, 1_000.0));
        let batched = Percentiles::of(&histogram, 200, Rule::Quarter);
        assert_eq!((batched.p50, batched.p90, batched.samples), (percentiles.p50, None, 1_000));
    }
}
