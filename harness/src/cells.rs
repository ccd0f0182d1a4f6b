//! A sweep's results side by side: repetitions of a cell together, cells that differ only in their
//! rate in one row.

use crate::{
    count::grouped, journal::Entry, rate::Rate, result::RunResult, size::ByteSize, workload::Config,
};

/// One combination of options at one rate, with all its repetitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// As it is named in the journal.
    pub name: String,
    /// At least one.
    pub runs: Vec<RunResult>,
}

impl Cell {
    /// The run of median throughput; at a set rate, where all have one throughput, that of median p50.
    /// Percentiles are never averaged: a cell's are those of one run.
    pub fn typical(&self) -> &RunResult {
        let mut order: Vec<&RunResult> = self.runs.iter().collect();
        order.sort_by(|a, b| a.records_per_second.total_cmp(&b.records_per_second));
        if self.runs.iter().all(|run| run.latency_us.p50.is_some() && run.config.rate != "max") {
            order.sort_by(|a, b| p50(a).total_cmp(&p50(b)));
        }
        order[(order.len() - 1) / 2]
    }

    /// Largest p50 over the smallest. `None` where fewer than two runs have one.
    pub fn latency_spread(&self) -> Option<f64> {
        let known = || self.runs.iter().filter_map(|run| run.latency_us.p50);
        let (least, most) = (known().fold(f64::MAX, f64::min), known().fold(0.0, f64::max));
        (known().count() > 1 && least > 0.0).then(|| most / least)
    }

    /// Largest less smallest throughput, as a part of the typical one. `None` with a single run.
    pub fn spread(&self) -> Option<f64> {
        let speeds = || self.runs.iter().map(|run| run.records_per_second);
        let (least, most) = (speeds().fold(f64::MAX, f64::min), speeds().fold(0.0, f64::max));
        let typical = self.typical().records_per_second;
        (self.runs.len() > 1 && typical > 0.0).then(|| (most - least) / typical)
    }
}

fn p50(run: &RunResult) -> f64 {
    run.latency_us.p50.unwrap_or(f64::MAX)
}

/// Cells that differ only in their rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The options that they share; the rate says nothing here.
    pub config: Config,
    /// For each of [`Comparison::rates`] the cell, where there is one.
    pub cells: Vec<Option<Cell>>,
}

/// All cells of a sweep.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// The rates as they were asked for: numbers first, then percentages, `max` last.
    pub rates: Vec<String>,
    /// Ordered by the other options, then codec, batch size, linger.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Puts the entries of a journal side by side.
    pub fn of(entries: &[Entry]) -> Self {
        let mut rates: Vec<Rate> = Vec::new();
        for entry in entries {
            if let Ok(rate) = entry.result.config.rate.parse()
                && !rates.contains(&rate)
            {
                rates.push(rate);
            }
        }
        // Their order is that of the variants: numbers, percentages, max.
        rates.sort_unstable();
        let rates: Vec<String> = rates.iter().map(ToString::to_string).collect();
        let mut rows: Vec<Row> = Vec::new();
        for entry in entries {
            let config = without_rate(&entry.result.config);
            let Some(column) = rates.iter().position(|rate| *rate == entry.result.config.rate)
            else {
                continue;
            };
            let place = rows.iter().position(|row| row.config == config).unwrap_or_else(|| {
                rows.push(Row { config, cells: vec![None; rates.len()] });
                rows.len() - 1
            });
            rows[place].cells[column]
                .get_or_insert_with(|| Cell { name: entry.cell.clone(), runs: Vec::new() })
                .runs
                .push(entry.result.clone());
        }
        rows.sort_by_key(|row| order(&row.config));
        Self { rates, rows }
    }

    /// The typical runs at one of the rates, by row.
    pub fn at(&self, column: usize) -> impl Iterator<Item = (&Row, &RunResult)> {
        self.rows
            .iter()
            .filter_map(move |row| row.cells[column].as_ref().map(|cell| (row, cell.typical())))
    }

    /// Place of the rate `max`.
    pub fn max_column(&self) -> Option<usize> {
        self.rates.iter().position(|rate| rate == "max")
    }

    /// Every cell.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.rows.iter().flat_map(|row| row.cells.iter().flatten())
    }

    /// The noise of the throughput at full speed: the largest spread of a repeated cell. `None`
    /// where none was repeated.
    pub fn noise(&self) -> Option<f64> {
        let column = self.max_column()?;
        let cells = self.rows.iter().filter_map(|row| row.cells[column].as_ref());
        cells.filter_map(Cell::spread).max_by(f64::total_cmp)
    }

    /// The noise of the median latency at one of the rates, as a factor: the largest spread of a
    /// repeated cell that kept the rate. `None` where none was repeated.
    pub fn latency_noise(&self, column: usize) -> Option<f64> {
        let cells = self.rows.iter().filter_map(|row| row.cells[column].as_ref());
        let kept = cells.filter(|cell| !cell.runs.iter().any(RunResult::is_overloaded));
        kept.filter_map(Cell::latency_spread).max_by(f64::total_cmp)
    }

    /// What the options beside linger, batch size, codec and rate are called in this row, as far as
    /// they vary over the rows: `durability written, 4 partitions`. Empty where none varies.
    pub fn others(&self, row: &Row) -> String {
        let mut parts = Vec::new();
        for (name, value) in OTHERS {
            let mut rows = self.rows.iter().map(|row| value(&row.config));
            let first = rows.next();
            if rows.any(|other| Some(other) != first) {
                parts.push(format!("{name} {}", value(&row.config)));
            }
        }
        parts.join(", ")
    }
}

type OptionText = fn(&Config) -> String;

const OTHERS: [(&str, OptionText); 11] = [
    ("durability", |config| config.durability.clone()),
    ("acks", |config| config.acks.clone()),
    ("payload", |config| config.payload.clone()),
    ("record size", |config| ByteSize(config.record_size_bytes).to_string()),
    ("keys", |config| config.keys.clone()),
    ("partitions", |config| config.partitions.to_string()),
    ("producers", |config| config.producers.to_string()),
    ("buffer memory", |config| ByteSize(config.buffer_memory_bytes).to_string()),
    ("measured for", |config| match (config.records, config.duration_seconds) {
        (Some(records), _) => format!("{} records", grouped(records)),
        (None, seconds) => format!("{} s", seconds.unwrap_or(0.0)),
    }),
    ("warm-up", |config| format!("{} s", config.warmup_seconds)),
    ("seed", |config| config.seed.to_string()),
];

fn without_rate(config: &Config) -> Config {
    Config { rate: String::new(), rate_per_second: None, ..config.clone() }
}

fn order(config: &Config) -> impl Ord + use<> {
    let codec = ["none", "snappy", "lz4", "zstd", "gzip"]
        .iter()
        .position(|codec| config.compression.split(':').next() == Some(codec));
    let others = OTHERS.map(|(_, value)| value(config));
    (others, codec, config.compression.clone(), config.batch_size_bytes, config.linger_ms)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::percentile::Percentiles;

    /// A finished run with made-up figures.
    pub(crate) fn entry(
        (linger_ms, batch_size_bytes, codec): (u64, u64, &str),
        rate: &str,
        repeat: u32,
        mb_per_second: f64,
        p50_us: f64,
    ) -> Entry {
        let config = Config {
            linger_ms,
            batch_size_bytes,
            compression: codec.into(),
            rate: rate.into(),
            rate_per_second: rate.parse::<crate::count::Count>().ok().map(|count| count.0),
            record_size_bytes: 1_000,
            durability: "durable".into(),
            acks: "all".into(),
            payload: "json".into(),
            keys: "none".into(),
            partitions: 1,
            producers: 1,
            buffer_memory_bytes: 32 << 20,
            ..Config::default()
        };
        let latency = Percentiles {
            p50: Some(p50_us),
            p90: Some(p50_us * 1.5),
            p99: None,
            p999: None,
            max: Some(p50_us * 9.0),
            samples: 2_000,
            effective_samples: 2_000,
        };
        let result = RunResult {
            mb_per_second,
            records_per_second: mb_per_second * 1_000.0,
            latency_us: latency,
            service_us: latency,
            compression_ratio: Some(if codec == "none" { 1.0 } else { 3.9 }),
            cpu_ns_per_record: Some(1_000.0),
            batch_fill: Some(0.9),
            batches: 1_000,
            elapsed_seconds: 1.0,
            records: rate.parse::<crate::count::Count>().map_or(1_000, |count| count.0),
            fsyncs: 900,
            config,
            ..RunResult::default()
        };
        let cell = format!("{linger_ms} {batch_size_bytes} {codec} {rate}");
        Entry { cell, repeat, result }
    }

    #[test]
    fn repetitions_and_rates_come_together() {
        let comparison = Comparison::of(&[
            entry((5, 16_384, "lz4"), "max", 0, 100.0, 10.0),
            entry((5, 16_384, "none"), "max", 0, 200.0, 10.0),
            entry((5, 16_384, "none"), "2k", 0, 2.0, 10.0),
            entry((5, 16_384, "none"), "max", 1, 220.0, 10.0),
            entry((5, 16_384, "none"), "max", 2, 210.0, 10.0),
        ]);
        assert_eq!(comparison.rates, ["2k", "max"]);
        let names: Vec<&str> =
            comparison.rows.iter().map(|row| row.config.compression.as_str()).collect();
        assert_eq!(names, ["none", "lz4"]);
        let cell = comparison.rows[0].cells[1].as_ref().unwrap();
        assert_eq!((cell.runs.len(), cell.typical().mb_per_second), (3, 210.0));
        assert!((comparison.noise().unwrap() - 20.0 / 210.0).abs() < 1e-9);
        assert_eq!(comparison.rows[1].cells[0], None);
    }

    #[test]
    fn at_a_set_rate_repetitions_are_told_apart_by_their_latency() {
        let half = |linger, repeat, p50| entry((linger, 16_384, "none"), "2k", repeat, 2.0, p50);
        let mut entries = vec![half(0, 0, 700.0), half(5, 0, 9_000.0)];
        assert_eq!(Comparison::of(&entries).latency_noise(0), None);
        entries.extend([half(0, 1, 30_000.0), half(0, 2, 1_400.0)]);
        let comparison = Comparison::of(&entries);
        let cell = comparison.rows[0].cells[0].as_ref().unwrap();
        assert_eq!(cell.typical().latency_us.p50, Some(1_400.0));
        assert!((comparison.latency_noise(0).unwrap() - 30_000.0 / 700.0).abs() < 1e-9);
        entries[2].result.records_unsent = 1_000;
        assert_eq!(Comparison::of(&entries).latency_noise(0), None, "a growing queue is no noise");
    }

    #[test]
    fn only_what_varies_is_named() {
        let mut entries = vec![entry((5, 16_384, "none"), "max", 0, 100.0, 10.0); 2];
        let comparison = Comparison::of(&entries);
        assert_eq!(comparison.others(&comparison.rows[0]), "");
        entries[1].result.config.durability = "written".into();
        let comparison = Comparison::of(&entries);
        assert_eq!(comparison.others(&comparison.rows[1]), "durability written");
        let other = &mut entries[1].result.config;
        (other.durability, other.seed) = ("durable".into(), 7);
        (other.duration_seconds, other.warmup_seconds) = (Some(0.5), 2.0);
        entries[0].result.config.records = Some(5_000);
        let comparison = Comparison::of(&entries);
        let named: Vec<_> = comparison.rows.iter().map(|row| comparison.others(row)).collect();
        assert_eq!(
            named,
            [
                "measured for 0.5 s, warm-up 2 s, seed 7",
                "measured for 5,000 records, warm-up 0 s, seed 0"
            ]
        );
    }
}
