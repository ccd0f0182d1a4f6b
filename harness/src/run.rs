//! `run`: one workload, told at the end.

use std::{fmt::Write as _, path::Path, time::Duration};

use crate::{
    acks::Acks,
    args::RunArgs,
    count::grouped,
    data_dir::DataDir,
    drive::{self, Job, Moment},
    failure::Failure,
    grid,
    hlog::IntervalLog,
    machine::Machine,
    memory,
    percentile::Percentiles,
    precondition,
    progress::Progress,
    result::RunResult,
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
    let path = args.dir.clone().unwrap_or_else(DataDir::default_path);
    let dir = DataDir::create(&path, args.keep, stop)?;
    let machine = Machine::of(dir.path());
    let expected = workload.expected_bytes();
    if let Some(warning) =
        precondition::check(dir.path(), &machine.mount, expected, args.allow.into())?
    {
        eprintln!("WARNING: {warning}");
    }
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
    let result = RunResult::new(&workload, &machine, &outcome?);

    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&result)
            .map_err(|error| Failure::Write { path: path.clone(), source: error.into() })?
            + "\n";
        if to_stdout {
            print!("{json}");
        } else {
            std::fs::write(path, json)
                .map_err(|source| Failure::Write { path: path.clone(), source })?;
        }
    }
    if !to_stdout {
        print!("{}", summary(&workload, &result));
        if args.keep {
            println!("\n  the log is in {}", dir.path().display());
        }
    }
    Ok(())
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
        trunkline::types::Durability::Durable => {
            "durable (on the disk before each acknowledgement)"
        }
        trunkline::types::Durability::Written => "written (page cache only: a power cut loses it)",
    };
    let machine = &result.machine;
    format!(
        "{meaning}, acks {}, rate {}, linger {} ms, batches of {}, compression {}\n\
         {} producer{}, {} partition{}, {} records of {}, keys {}\n\
         {}, {} cores, {} on {}, commit {}",
        workload.acks,
        workload.rate,
        workload.linger_ms,
        workload.batch_size,
        workload.compression,
        workload.producers,
        if workload.producers == 1 { "" } else { "s" },
        workload.partitions,
        if workload.partitions == 1 { "" } else { "s" },
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
    let fill = result.batch_fill.unwrap_or(0.0);
    let mean = ByteSize((fill * workload.batch_size.0 as f64) as u64);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  {} batches, {} full on average ({} bytes), compression ratio {}",
        grouped(result.batches),
        show::percent(fill),
        grouped(mean.0),
        show::optional(result.compression_ratio)
    );
    let _ = writeln!(
        text,
        "  {} ns of CPU a record, {} bytes written for each user byte, {} fsyncs",
        show::optional(result.cpu_ns_per_record),
        show::optional(result.write_amplification),
        grouped(result.fsyncs)
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
        let unheard = Workload { acks: Acks::None, ..paced };
        let text = summary(&unheard, &result);
        assert!(text.contains("nothing was waited for") && !text.contains("durable ("), "{text}");
    }
}
