//! What a run found: the JSON whose names are documented in `docs/HARNESS.md` and stay.

use serde::{Deserialize, Serialize};

use crate::{
    drive::Measured,
    machine::Machine,
    percentile::Percentiles,
    rate::Rate,
    tag,
    workload::{Config, Workload},
};

/// Version of this form. A name never changes its meaning; new names may come.
pub const FORM: u32 = 2;

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunResult {
    /// [`FORM`].
    pub form: u32,
    /// When the run began, RFC 3339, UTC.
    pub started: String,
    /// `records` over `elapsed_seconds`.
    pub records_per_second: f64,
    /// Megabytes (10⁶) of keys and values a second.
    pub mb_per_second: f64,
    /// Records that were acknowledged in the measured time, whenever they were sent.
    pub records: u64,
    /// Bytes of their keys and values.
    pub user_bytes: u64,
    /// Seconds of the measured time: from the end of the warm-up to the end of the duration, or to
    /// the last acknowledgement where a number of records was asked for.
    pub elapsed_seconds: f64,
    /// Seconds from when the last record was due (at rate `max`: from the end of the measured time)
    /// to the last acknowledgement.
    #[serde(default)]
    pub drain_seconds: f64,
    /// Microseconds from the intended send time to the acknowledgement. At rate `max` there is no
    /// schedule, and it counts from the send.
    pub latency_us: Percentiles,
    /// Microseconds from the actual send to the acknowledgement.
    pub service_us: Percentiles,
    /// Batches appended in the measured time.
    pub batches: u64,
    /// Mean bytes of a batch before compression as a part of `batch.size`; above 1 where single
    /// records are larger than it.
    pub batch_fill: Option<f64>,
    /// Bytes of all batches before compression over those after it, headers included.
    pub compression_ratio: Option<f64>,
    /// CPU time of this process for each record, nanoseconds, user and system: engine, system calls
    /// and the generator's own work, without the time that its pacing spun.
    pub cpu_ns_per_record: Option<f64>,
    /// Bytes written to the disk, in whole pages, for each byte of key and value. Null where the
    /// system does not count them.
    pub write_amplification: Option<f64>,
    /// Syncs of files and folders.
    pub fsyncs: u64,
    /// How late the generator was by its own fault, microseconds; null at rate `max`.
    pub generator_lag_us: Option<Percentiles>,
    /// Records that were due in the measured time and could not be sent in it.
    pub records_unsent: u64,
    /// Bytes of memory touched and freed before the run (memory given back to the host).
    pub memory_touched_bytes: u64,
    /// What makes this result doubtful; empty where nothing does.
    pub warnings: Vec<String>,
    /// The settings.
    pub config: Config,
    /// The machine.
    pub machine: Machine,
}

impl RunResult {
    /// Puts a run's figures together.
    pub fn new(workload: &Workload, machine: &Machine, measured: &Measured) -> Self {
        let latencies = &measured.latencies;
        let records = latencies.acknowledged;
        let user_bytes = records * workload.record_bytes();
        let until_ns = measured.until_ns.unwrap_or(latencies.last_ns);
        let elapsed_seconds = until_ns.saturating_sub(measured.from_ns) as f64 / 1e9;
        let per = |total: f64, by: f64| (by > 0.0).then(|| digits(total / by));
        let rate = |total: u64| per(total as f64, elapsed_seconds).unwrap_or(0.0);
        let counters = measured.counters;
        // A little before or after the measured time, but all at once.
        let counted = counters.records as f64;
        let effective = latencies.groups.effective_samples();
        let earned = |histogram| Percentiles::of(histogram, effective, workload.percentiles);
        let response = earned(&latencies.response);
        let service = match measured.lag {
            Some(_) => earned(&latencies.service),
            None => response,
        };
        let capacity = counters.batches as f64 * workload.batch_size.0 as f64;
        let mut result = Self {
            form: FORM,
            started: measured.started.clone(),
            records_per_second: rate(records),
            mb_per_second: digits(rate(user_bytes) / 1e6),
            records,
            user_bytes,
            elapsed_seconds: digits(elapsed_seconds),
            drain_seconds: digits(drain_seconds(workload, measured)),
            latency_us: response,
            service_us: service,
            batches: counters.batches,
            batch_fill: per(counters.raw_bytes as f64, capacity),
            compression_ratio: per(counters.raw_bytes as f64, counters.batch_bytes as f64),
            cpu_ns_per_record: per(measured.usage.cpu_ns as f64, counted),
            write_amplification: measured
                .usage
                .disk_bytes
                .and_then(|bytes| per(bytes as f64, counted * workload.record_bytes() as f64)),
            fsyncs: counters.fsyncs,
            generator_lag_us: measured
                .lag
                .as_ref()
                .map(|lag| &lag.histogram)
                .map(|lag| Percentiles::of(lag, lag.len(), workload.percentiles)),
            records_unsent: measured.unsent,
            memory_touched_bytes: measured.memory_touched,
            warnings: Vec::new(),
            config: workload.config(),
            machine: machine.clone(),
        };
        result.warnings = result.doubts();
        result
    }

    /// Whether more was offered than the engine takes: latencies are then those of a queue that
    /// grows with the length of the run. Seen by records that could not be sent, or by how long the
    /// last acknowledgements came after the last record was due.
    pub fn is_overloaded(&self) -> bool {
        let Some(rate) = self.config.rate_per_second else { return false };
        let due = self.latency_us.samples as f64;
        let offering = due / rate.max(1) as f64;
        let patience = self.config.linger_ms as f64 / 1e3 + PATIENCE_SECONDS;
        self.records_unsent as f64 > MOST_UNSENT * due
            || self.drain_seconds > MOST_BEHIND * offering + patience
    }

    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.machine.build == "debug" {
            doubts.push("debug build: several times slower than the engine is".into());
        }
        if self.machine.mount.is_memory() {
            doubts.push(format!("{}: memory, not a disk", self.machine.mount.file_system));
        }
        if self.config.acks == "0" {
            doubts.push("nothing was waited for (acks 0)".into());
        }
        if self.is_overloaded() {
            doubts.push(format!(
                "offered {} records/s, took {:.0}: the latencies are those of a growing queue",
                self.config.rate_per_second.unwrap_or(0),
                self.records_per_second
            ));
        }
        if let Some((name, lag, latency)) = self.highest_lag()
            && lag > MOST_LAG * latency
        {
            doubts.push(format!(
                "the generator itself was late: {lag:.0} µs ({name}) of a latency of {latency:.0} µs"
            ));
        }
        if self.elapsed_seconds + self.drain_seconds > tag::LONGEST_NS as f64 / 1e9 {
            doubts.push("longer than the 39 hours that latencies can be kept for".into());
        }
        doubts
    }
}

impl RunResult {
    /// The generator's lag and the latency at the highest percentile that both have earned.
    fn highest_lag(&self) -> Option<(&'static str, f64, f64)> {
        let lags = self.generator_lag_us?.named().into_iter();
        let both = lags.zip(self.latency_us.named()).rev();
        both.map(|((name, lag), (_, latency))| Some((name, lag?, latency?))).find_map(|found| found)
    }
}

/// Seconds from the moment when the last record was due to the last acknowledgement.
fn drain_seconds(workload: &Workload, measured: &Measured) -> f64 {
    let last_ns = measured.latencies.last_ns;
    let due_ns = match (measured.until_ns, workload.rate) {
        (Some(until_ns), _) => until_ns,
        (None, Rate::PerSecond(rate)) => {
            let due = measured.latencies.response.len() as f64;
            measured.from_ns + (due / rate.max(1) as f64 * 1e9) as u64
        }
        (None, Rate::Max | Rate::PercentOfMax(_)) => last_ns,
    };
    last_ns.saturating_sub(due_ns) as f64 / 1e9
}

/// Largest part of the records that were due that may stay unsent.
const MOST_UNSENT: f64 = 0.01;
/// Longest that the engine may be behind at the end, as a part of the time in which records were due,
/// …
const MOST_BEHIND: f64 = 0.01;
/// … beside its linger and this much for the last acknowledgements, in seconds.
const PATIENCE_SECONDS: f64 = 0.1;
/// Largest part of a latency that may be the generator's own lag.
const MOST_LAG: f64 = 0.1;

/// Six significant digits: more would only look exact.
fn digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(5 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "figures are rounded to six digits")]
pub(crate) mod tests {
    use super::*;
    use crate::{
        groups::Group, latency::Latencies, pacing::GeneratorLag, rate::Rate, target::Counters,
        usage::Usage, workload::tests::workload,
    };

    /// Records with a batch each, acknowledged within two seconds after one of warm-up.
    pub(crate) fn measured(records: u64, lag: Option<GeneratorLag>) -> Measured {
        let mut latencies = Latencies::default();
        latencies.response.record_n(2_000_000, records).unwrap();
        if lag.is_some() {
            latencies.service.record_n(1_000_000, records).unwrap();
        }
        for _ in 0..records {
            let mut group = Group::default();
            group.enter(2_000_000, 1);
            latencies.groups.add(group);
        }
        (latencies.records, latencies.acknowledged) = (records, records);
        latencies.last_ns = 3_000_000_000;
        Measured {
            started: "2026-01-01T00:00:00Z".into(),
            from_ns: 1_000_000_000,
            until_ns: None,
            latencies,
            counters: Counters {
                records,
                failed: 0,
                batches: 100,
                raw_bytes: 819_200,
                batch_bytes: 204_800,
                fsyncs: 50,
            },
            usage: Usage { cpu_ns: records * 500, disk_bytes: Some(records * 2_048) },
            lag,
            unsent: 0,
            memory_touched: 0,
        }
    }

    #[test]
    fn figures_are_put_together() {
        let result = RunResult::new(&workload(), &Machine::default(), &measured(20_000, None));
        assert_eq!(result.records_per_second, 10_000.0);
        assert_eq!(result.mb_per_second, 10.24);
        assert_eq!(result.batch_fill, Some(0.5));
        assert_eq!(result.compression_ratio, Some(4.0));
        assert_eq!(result.cpu_ns_per_record, Some(500.0));
        assert_eq!(result.write_amplification, Some(2.0));
        assert_eq!(result.service_us, result.latency_us);
        assert_eq!(result.generator_lag_us, None);
        assert!(result.latency_us.p99.is_some() && result.latency_us.p999.is_none());
        assert!(result.warnings.is_empty());
    }

    #[test]
    fn names_of_the_json_stay() {
        let result = RunResult::new(&workload(), &Machine::default(), &measured(20_000, None));
        let json: serde_json::Value = serde_json::to_value(&result).unwrap();
        for pointer in [
            "/records_per_second",
            "/mb_per_second",
            "/latency_us/p50",
            "/latency_us/p90",
            "/latency_us/p99",
            "/latency_us/p999",
            "/latency_us/max",
            "/service_us/p99",
            "/compression_ratio",
            "/batches",
            "/batch_fill",
            "/cpu_ns_per_record",
            "/write_amplification",
            "/fsyncs",
            "/generator_lag_us",
            "/config/linger_ms",
            "/config/batch_size_bytes",
            "/config/compression",
            "/config/durability",
            "/machine/cpu_model",
            "/machine/cores",
            "/machine/memory_bytes",
            "/machine/kernel",
            "/machine/file_system",
            "/machine/mount_options",
            "/machine/device",
            "/machine/commit",
            "/machine/version",
        ] {
            assert!(json.pointer(pointer).is_some(), "{pointer}");
        }
        assert!(json["latency_us"]["p999"].is_null(), "not earned: null");
        assert_eq!(serde_json::from_value::<RunResult>(json).unwrap(), result);
    }

    #[test]
    fn doubtful_results_say_so() {
        let paced = Workload { rate: Rate::PerSecond(20_000), ..workload() };
        let mut lag = GeneratorLag::default();
        lag.histogram.record_n(900_000, 20_000).unwrap();
        let mut machine = Machine { build: "debug".into(), ..Machine::default() };
        machine.mount.file_system = "tmpfs".into();
        let result = RunResult::new(&paced, &machine, &measured(20_000, Some(lag)));
        assert!(result.is_overloaded());
        assert_eq!(result.warnings.len(), 4, "{:?}", result.warnings);
        assert!(result.service_us.p50 < result.latency_us.p50);
    }

    #[test]
    fn what_was_sent_before_counts_for_the_throughput_and_the_drain_does_not() {
        // At full speed: a buffer of 10,000 records, full when the measured time begins and ends.
        let mut measured = measured(40_000, None);
        measured.until_ns = Some(2_000_000_000);
        measured.latencies.acknowledged = 30_000;
        measured.counters.records = 30_000;
        measured.usage.cpu_ns = 30_000 * 500;
        let result = RunResult::new(&workload(), &Machine::default(), &measured);
        assert_eq!((result.records_per_second, result.elapsed_seconds), (30_000.0, 1.0));
        assert_eq!((result.drain_seconds, result.latency_us.samples), (1.0, 40_000));
        assert_eq!(result.cpu_ns_per_record, Some(500.0));
    }

    #[test]
    fn the_generators_lag_is_held_against_the_highest_percentile_there_is() {
        let paced = Workload { rate: Rate::PerSecond(1_000), ..workload() };
        let warned = |lag_ns| {
            let mut lag = GeneratorLag::default();
            lag.histogram.record_n(lag_ns, 2_000).unwrap();
            let result = RunResult::new(&paced, &Machine::default(), &measured(2_000, Some(lag)));
            assert_eq!((result.latency_us.p99, result.is_overloaded()), (None, false));
            result.warnings.iter().any(|warning| warning.contains("(p90)"))
        };
        assert!(warned(900_000) && !warned(100_000));
    }

    #[test]
    fn figures_have_six_digits() {
        assert_eq!([digits(1_234_567.8), digits(0.001_234_567_8)], [1_234_570.0, 0.001_234_57]);
        assert_eq!([digits(0.0), digits(f64::NAN), digits(-2.5)], [0.0, 0.0, -2.5]);
    }
}
