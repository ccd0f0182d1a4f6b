//! `run`: one workload, told at the end.

use std::{fmt::Write as _, path::Path, time::Duration};

use crate::{
    acks::Acks,
    args::RunArgs,
    count::{counted, grouped},
    data_dir::DataDir,
    drive::{self, Job, Moment},
    failure::Failure,
    grid,
    hlog::IntervalLog,
    leftover,
    machine::Machine,
    memory, output,
    percentile::Percentiles,
    precondition,
    progress::Progress,
    result::RunResult,
    result_file::ResultFile,
    show,
    size::ByteSize,
    stop::Stop,
    supplies::Supplies,
    workload::Workload,
};

/// How long a run measures unless it is told.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// Measures what `args` say and prints the result.
pub fn run(args: &RunArgs, stop: &Stop) -> Result<(), Failure> {
    let workload = grid::single(&args.grid, DEFAULT_DURATION)?;
    if args.keep && args.dir.is_none() {
        return Err(Failure::Wish("--keep needs --dir: name the folder that is to stay".into()));
    }
    let path = args.dir.clone().unwrap_or_else(DataDir::default_path);
    if args.dir.is_none() {
        leftover::clear(Path::new("."));
    }
    let dir = DataDir::create(&path, args.keep, stop)?;
    let machine = Machine::of(dir.path());
    let expected = workload.expected_bytes();
    if let Some(warning) =
        precondition::check(dir.path(), &machine.mount, expected, args.allow.into())?
    {
        crate::say!("WARNING: {warning}");
    }
    precondition::check_open_files(workload.partitions)?;
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    let json = args.json.as_deref().filter(|_| !to_stdout);
    let failed = |path: &Path, source| Failure::Write { path: path.into(), source };
    let json = json
        .map(|path| match ResultFile::open(path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(failed(path, error)),
        })
        .transpose()?;
    let hlog = args.hlog.as_deref().map(IntervalLog::create).transpose()?;
    let mut supplies = Supplies::default();
    let (pool, keys) = supplies.of(&workload)?;

    let mut progress = Progress::default();
    let memory_touched = memory::touch(expected, stop);
    let job = Job {
        workload: &workload,
        dir: dir.path(),
        pool,
        keys,
        hlog,
        memory_touched,
        keep: args.keep,
        stop,
    };
    let outcome = drive::run(job, &mut |moment| {
        progress.show(moment.done, || line(moment));
    });
    progress.clear();
    if args.keep && outcome.is_err() {
        crate::say!("the log as far as it came is in {}", dir.path().display());
    }
    let result = RunResult::new(&workload, &machine, &outcome?);

    let text = serde_json::to_string_pretty(&result)
        .map_err(|error| failed(Path::new("JSON"), error.into()))?
        + "\n";
    let on_stdout = |error| failed(Path::new("standard output"), error);
    if to_stdout {
        return output::print(&text).map_err(on_stdout);
    }
    // Whatever becomes of the file: what was measured is shown.
    let written =
        json.map_or(Ok(()), |(path, file)| file.write(&text).map_err(|error| failed(path, error)));
    let mut summary = summary(&workload, &result);
    if args.keep {
        let _ = writeln!(summary, "\n  the log is in {}", dir.path().display());
    }
    let shown = output::print(&summary).map_err(on_stdout);
    written.and(shown)
}

/// A moment of a run on one line.
pub fn line(moment: &Moment) -> String {
    let state = if moment.warming_up { "warming up" } else { "measuring" };
    format!(
        "{state}  {} records/s  slowest lately {}",
        show::rate(moment.rate),
        show::micros((moment.recent_max_us > 0.0).then_some(moment.recent_max_us))
    )
}

/// What a run found, for people.
pub fn summary(workload: &Workload, result: &RunResult) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(settings(workload, result));
    line(String::new());
    line(format!(
        "  {} records/s    {} MB/s    ({} records of {} in {} s)",
        grouped(result.records_per_second as u64),
        show::three_digits(result.mb_per_second),
        grouped(result.records),
        workload.record_size,
        show::three_digits(result.elapsed_seconds)
    ));
    line(String::new());
    let names = ["p50", "p90", "p99", "p99.9", "max"];
    line(format!("  {:<10}{}", "", columns(&names.map(str::to_owned))));
    line(format!("  {:<10}{}", "latency", columns(&percentiles(&result.latency_us))));
    line(format!("  {:<10}{}", "service", columns(&percentiles(&result.service_us))));
    line(String::new());
    line(figures(workload, result));
    text.push_str(&notes(result));
    text
}

fn settings(workload: &Workload, result: &RunResult) -> String {
    let meaning = match workload.durability {
        _ if workload.acks == Acks::None => "nothing was waited for",
        trunkline::types::Durability::Durable if result.machine.mount.is_memory() => {
            "durable in name (synced before each acknowledgement, but to memory, not to a disk)"
        }
        trunkline::types::Durability::Durable => {
            "durable (on the disk before each acknowledgement)"
        }
        trunkline::types::Durability::Written => "written (page cache only: a power cut loses it)",
    };
    let machine = &result.machine;
    format!(
        "{meaning}, acks {}, rate {}, linger {} ms, batches of {}, compression {}\n\
         {}, {}, {} records of {}, keys {}\n\
         {}, {} cores, {} on {}, commit {}",
        workload.acks,
        workload.rate,
        workload.linger_ms,
        workload.batch_size,
        workload.compression,
        counted(workload.producers.into(), "producer", "producers"),
        counted(workload.partitions.into(), "partition", "partitions"),
        workload.payload,
        workload.record_size,
        workload.keys,
        machine.cpu_model,
        machine.cores,
        machine.mount.file_system,
        machine.mount.device,
        machine.commit,
    )
}

fn figures(workload: &Workload, result: &RunResult) -> String {
    let fill = result.batch_fill.map_or_else(
        || "a record each".to_owned(),
        |fill| {
            let mean = ByteSize((fill * workload.batch_size.0 as f64) as u64);
            format!("{} full on average ({} bytes)", show::percent(fill), grouped(mean.0))
        },
    );
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  {}, {fill}, compression ratio {}",
        counted(result.batches, "batch", "batches"),
        show::optional(result.compression_ratio)
    );
    let _ = writeln!(
        text,
        "  {} ns of CPU a record, {} bytes written for each user byte, {}",
        show::optional(result.cpu_ns_per_record),
        show::optional(result.write_amplification),
        counted(result.fsyncs, "fsync", "fsyncs")
    );
    if let Some(lag) = &result.generator_lag_us {
        let _ = writeln!(
            text,
            "  the generator itself was late by {} (p50), {} (p99), {} (max)",
            show::micros(lag.p50),
            show::micros(lag.p99),
            show::micros(lag.max)
        );
    }
    text
}

fn notes(result: &RunResult) -> String {
    let mut text = String::new();
    if result.config.rate_per_second.is_none() {
        text.push_str(
            "  At rate max latency is the time through a full buffer (--buffer-memory); \
             give a --rate to learn what a caller would feel.\n",
        );
    }
    if result.latency_us.p99.is_none() || result.latency_us.p999.is_none() {
        text.push_str(
            "  n/a: too few records or batches to know that percentile; measure longer.\n",
        );
    }
    for warning in &result.warnings {
        let _ = writeln!(text, "  WARNING: {warning}");
    }
    text
}

fn percentiles(of: &Percentiles) -> [String; 5] {
    [of.p50, of.p90, of.p99, of.p999, of.max].map(show::micros)
}

fn columns(cells: &[String; 5]) -> String {
    cells.iter().map(|cell| format!("{cell:>11}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pacing::GeneratorLag, rate::Rate, result::tests::measured, workload::tests::workload,
    };

    #[test]
    fn the_summary_says_everything_that_was_asked_for() {
        let paced = Workload { rate: Rate::PerSecond(10_000), ..workload() };
        let measured = measured(20_000, Some(GeneratorLag::default()));
        let result = RunResult::new(&paced, &Machine::default(), &measured);
        let text = summary(&paced, &result);
        for part in [
            "durable (on the disk",
            "10,000 records/s",
            "10.2 MB/s",
            "p99.9",
            "2.00 ms",
            "1.00 ms",
            "n/a",
            "100 batches, 50 % full",
            "compression ratio 4.00",
            "500 ns of CPU",
            "2.00 bytes written",
            "50 fsyncs",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        let mut few = RunResult { batches: 1, fsyncs: 1, batch_fill: None, ..result.clone() };
        few.machine.mount.file_system = "tmpfs".into();
        let text = super::summary(&paced, &few);
        assert!(
            text.contains("  1 batch, a record each, ") && text.contains(", 1 fsync\n"),
            "{text}"
        );
        assert!(text.contains("to memory") && !text.contains("on the disk"), "{text}");
        let unheard = Workload { acks: Acks::None, ..paced };
        let text = summary(&unheard, &result);
        assert!(text.contains("nothing was waited for") && !text.contains("durable ("), "{text}");
    }
}
