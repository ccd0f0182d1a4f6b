//! The command line. Its help is the manual: each option says what it means, its unit and default.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use trunkline::{limits::MAX_GROUP_BYTES, record::Compression, types::Durability};

use crate::{
    acks::Acks,
    count::Count,
    dump::{self, DumpArgs},
    keys::KeyKind,
    main_job::DEFAULT_MEASURE,
    payload::PayloadKind,
    precondition::Allowances,
    rate::Rate,
    size::ByteSize,
    span::Span,
    verify::{self, VerifyArgs},
};

/// What linger, batch size and compression buy on your own disks, measured
#[derive(Debug, Parser)]
#[command(
    version,
    long_about = ABOUT,
    after_long_help = EXAMPLES,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; without one, the main job.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the main job.
    #[command(flatten)]
    pub main_job: MainJobArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure one workload
    #[command(long_about = RUN_ABOUT, after_long_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Measure a grid of workloads; ends in an HTML report
    #[command(long_about = SWEEP_ABOUT, after_long_help = SWEEP_EXAMPLES)]
    Sweep(Box<SweepArgs>),
    /// Check a data folder, ours or Kafka's, byte by byte
    #[command(long_about = verify::ABOUT, after_long_help = verify::EXAMPLES)]
    Verify(VerifyArgs),
    /// Print the batches and records of a log, ours or Kafka's
    #[command(long_about = dump::ABOUT, after_long_help = dump::EXAMPLES)]
    Dump(DumpArgs),
}

const ABOUT: &str = "\
What linger, batch size and compression buy on your own disks, measured.

A producer gathers records into batches. A batch leaves when it is full (batch.size) or has waited \
long enough (linger.ms); it may be compressed. Larger batches cost fewer bytes, system calls and \
syncs for each record, and waiting costs latency. How much of each depends on your disk: this \
program writes real log files in Apache Kafka's format to it and tells you.

WITHOUT A SUBCOMMAND it does its main job: a short sweep over 18 combinations of linger, batch size \
and codec, each at a low rate, at half of what the slowest linger reaches with that batch size and \
codec, and at full speed. It takes under two minutes, \
writes to a folder under the current one, removes it afterwards, and ends in a table, a verdict and \
the path of a report to open in a browser. Nothing leaves this machine.";

const EXAMPLES: &str = "\
Examples:
  trunkline-harness                                   the main job, on the current disk
  trunkline-harness run --rate 50k --linger-ms 0      one workload, 50,000 records/s
  trunkline-harness sweep --linger-ms 0,5,20 --batch-size 16KiB,1MiB --rate 10k,max
  trunkline-harness verify /var/lib/kafka/data        is every byte of a log as it was written?

How to read the results:
  MB/s       millions of bytes of keys and values a second, before compression
  latency    from when a record was due (open loop) to its acknowledgement: what a caller feels
  service    from when it was really sent to its acknowledgement: what the engine took
  p99        99 of 100 records were faster; n/a where too few records were sent to know it
  durable    the acknowledgement waited for the disk (fdatasync); written: for the page cache only,
             which a power cut can take back. Two results compare only where both are named.";

const RUN_ABOUT: &str = "\
Measure one workload.

Sends records for a while, prints records/s, MB/s, percentiles of latency and service time, batches \
and how full they were, compression ratio, CPU time a record, bytes written for each user byte and \
the number of syncs.

With --rate the loop is open: each record has a time at which it is due, and its latency counts from \
then, even where the engine could not take it in time. With --rate max records are sent as fast as \
the engine takes them; latencies are then those of a full buffer (--buffer-memory) and say little.";

const RUN_EXAMPLES: &str = "\
Examples:
  trunkline-harness run
      10 seconds at full speed with Kafka's defaults: linger 5 ms, batches of 16 KiB, no compression
  trunkline-harness run --rate 20k --linger-ms 0 --duration 30s
      the latency of 20,000 records/s that wait for nothing
  trunkline-harness run --payload json --record-size 100 --durability written --records 50M
      how fast small records go into the page cache
  trunkline-harness run --dir /mnt/nvme/log --records 1M --keep --json run.json --hlog run.hlog
      keep the log, the result as JSON, and a histogram a second for HdrHistogram's tools";

const SWEEP_ABOUT: &str = "\
Measure a grid of workloads; ends in an HTML report.

Every option of `run` takes a comma list here, and every combination is measured: in random order, \
so that no slow drift of the disk looks like an effect, and --repeat times, so that you can tell \
an effect from noise. Results go to results.jsonl in --out, a line each as it is finished: run the \
same command with the same --out again and what is there is not measured again. At the end (and \
after Ctrl-C) report.html stands beside it: one file, no network needed.

A rate may be a percentage, 50%: of what the slowest linger took at `max` with the same batch size \
and codec; `max` must be in the list too. So all lingers of a batch size and codec get the same rate.";

const SWEEP_EXAMPLES: &str = "\
Examples:
  trunkline-harness sweep --linger-ms 0,1,5,20,100 --batch-size 1KiB,16KiB,128KiB,1MiB \\
                          --compression none,lz4,zstd --rate 1k,50%,max --repeat 3 --out my-disk
  trunkline-harness sweep --durability written,durable --rate max --repeat 5
      what durability costs here";

/// Options of the main job.
#[derive(Debug, Clone, Args)]
pub struct MainJobArgs {
    /// Folder for results.jsonl and report.html [default: trunkline-report-DATE-TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Folder under which the log is written, and removed afterwards: it decides which disk is
    /// measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// What an acknowledgement means: durable (on the disk) or written (in the page cache)
    #[arg(long, value_name = "LEVEL", default_value_t = Durability::Durable)]
    pub durability: Durability,
    /// How long each run measures, after a warm-up of a fifth of it. Up to the default the job stops
    /// before two minutes are over, whatever is left
    #[arg(long, value_name = "TIME", default_value_t = DEFAULT_MEASURE, value_parser = measured)]
    pub measure: Span,
    /// Seed of the order of the runs; the cells and what they send are the same with every seed
    /// [default: drawn from the clock, and told]
    #[arg(long, value_name = "N")]
    pub order_seed: Option<u64>,
    /// What is allowed although it spoils results.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Folder for the log: must not exist yet, or be empty; what is made in it is removed afterwards
    /// [default: a folder under the current one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the log in --dir (removed otherwise)
    #[arg(long)]
    pub keep: bool,
    /// Write the result as JSON (docs/HARNESS.md names each field); `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a histogram a second, in HdrHistogram's interval log form
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// The workload.
    #[command(flatten)]
    pub grid: GridArgs,
    /// What is allowed although it spoils results.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// Options of `sweep`.
#[derive(Debug, Clone, Args)]
pub struct SweepArgs {
    /// Folder under which the logs are written, and removed afterwards: it decides which disk is
    /// measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Folder for results.jsonl and report.html; what is there already is not measured again
    /// [default: trunkline-report-DATE-TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How often each combination is measured
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// The grid.
    #[command(flatten)]
    pub grid: GridArgs,
    /// What is allowed although it spoils results.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// What is allowed although it spoils results.
#[derive(Debug, Clone, Copy, Args)]
pub struct AllowArgs {
    /// Measure on tmpfs too: memory, where syncs cost nothing
    #[arg(long)]
    pub allow_tmpfs: bool,
    /// Measure a debug build too; the result is marked
    #[arg(long)]
    pub allow_debug_build: bool,
}

impl From<AllowArgs> for Allowances {
    fn from(args: AllowArgs) -> Self {
        Self { tmpfs: args.allow_tmpfs, debug_build: args.allow_debug_build }
    }
}

/// The workload: one value each for `run`, comma lists for `sweep`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workload (comma lists in a sweep)")]
pub struct GridArgs {
    /// linger.ms: how long a batch that is not full waits for more records, in milliseconds
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "5",
          value_parser = linger_ms)]
    pub linger_ms: Vec<u64>,
    /// batch.size: a batch leaves when it has this many bytes, before compression; at most 64MiB
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "16KiB",
          value_parser = batch_size)]
    pub batch_size: Vec<ByteSize>,
    /// Codecs, with a level where the engine has several.
    #[arg(
        long,
        value_name = "CODEC",
        value_delimiter = ',',
        default_value = "none",
        help = "none, gzip[:1-9], snappy, lz4[:9] or zstd[:-131072..22]; without a level, Kafka's default"
    )]
    pub compression: Vec<Compression>,
    /// Records offered a second over all producers (open loop), such as 100k; or max: as fast as
    /// the engine takes them. A sweep also takes percentages of max: 50%
    #[arg(long, value_name = "RATE", value_delimiter = ',', default_value = "max")]
    pub rate: Vec<Rate>,
    /// What an acknowledgement means: durable (on the disk) or written (in the page cache)
    #[arg(long, value_name = "LEVEL", value_delimiter = ',', default_value = "durable")]
    pub durability: Vec<Durability>,
    /// Whose acknowledgement is waited for: 0 (nobody's), 1 (the leader's) or all. On one node 1
    /// and all are the same
    #[arg(long, value_name = "ACKS", value_delimiter = ',', default_value = "all")]
    pub acks: Vec<Acks>,
    /// Bytes of a record's value; at most 63MiB
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "1KiB",
          value_parser = record_size)]
    pub record_size: Vec<ByteSize>,
    /// What values are made of: random (incompressible), text (prose), json (events), or
    /// file:PATH (slices of your own data, 32 MiB or more). text and json are generated, calibrated
    /// to what real prose and real records compress to
    #[arg(long, value_name = "KIND", value_delimiter = ',', default_value = "json")]
    pub payload: Vec<PayloadKind>,
    /// none, uniform, or zipf (100,000 keys, exponent 0.99). Without keys a record goes to the
    /// sticky partition, with one to murmur2(key) mod partitions
    #[arg(long, value_name = "KIND", value_delimiter = ',', default_value = "none")]
    pub keys: Vec<KeyKind>,
    /// Partitions of the topic
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: Vec<u32>,
    /// Producers, each with a thread and a buffer of its own
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub producers: Vec<u32>,
    /// buffer.memory of each producer: records that are not acknowledged yet. When it is in use,
    /// sending waits
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "32MiB",
          value_parser = buffer_memory)]
    pub buffer_memory: Vec<ByteSize>,
    /// Records to measure, over all producers, instead of a duration
    #[arg(long, value_name = "N", conflicts_with = "duration", help_heading = "How long",
          value_parser = records)]
    pub records: Option<Count>,
    /// How long to measure [default: 10s for run, 3s for each run of a sweep]
    #[arg(long, value_name = "TIME", help_heading = "How long", value_parser = measured)]
    pub duration: Option<Span>,
    /// Sent before and not counted [default: 1s; 0s with --records]
    #[arg(long, value_name = "TIME", help_heading = "How long", value_parser = duration)]
    pub warmup: Option<Span>,
    /// Seed of payload, keys and order: the same seed sends the same records
    #[arg(long, value_name = "N", default_value_t = 42, help_heading = "How")]
    pub seed: u64,
    /// Show a percentile only where its rank is known to a twentieth of the tail beyond it
    /// (p99: 262,777 independent records) instead of a quarter (10,512)
    #[arg(long, help_heading = "How")]
    pub strict_percentiles: bool,
}

fn batch_size(text: &str) -> Result<ByteSize, String> {
    // What one append takes; the engine would cut larger ones.
    within(text, ByteSize(0), ByteSize(MAX_GROUP_BYTES as u64))
}

fn record_size(text: &str) -> Result<ByteSize, String> {
    // A batch of one record must fit an append.
    within(text, ByteSize(1), ByteSize::mib(63))
}

fn buffer_memory(text: &str) -> Result<ByteSize, String> {
    within(text, ByteSize(1), ByteSize::mib(1024))
}

/// Milliseconds, or a time with its unit that is a whole number of them.
fn linger_ms(text: &str) -> Result<u64, String> {
    const MOST_MS: u64 = 600_000;
    let whole = || "must be a whole number of milliseconds, such as 5 or 5ms".to_owned();
    let ms = if let Ok(ms) = text.parse::<u64>() {
        ms
    } else {
        let ns = text.parse::<Span>().map_err(|_| whole())?.0.as_nanos();
        if !ns.is_multiple_of(1_000_000) {
            return Err(whole());
        }
        u64::try_from(ns / 1_000_000).unwrap_or(u64::MAX)
    };
    if ms <= MOST_MS { Ok(ms) } else { Err(format!("must be at most {MOST_MS} ms")) }
}

fn within(text: &str, least: ByteSize, most: ByteSize) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    if (least..=most).contains(&size) {
        return Ok(size);
    }
    Err(format!("must be {least} to {most}"))
}

fn records(text: &str) -> Result<Count, String> {
    let count: Count = text.parse().map_err(|error| format!("{error}"))?;
    if count.0 == 0 { Err("must be at least 1".into()) } else { Ok(count) }
}

/// A time that is long enough to measure anything in.
fn measured(text: &str) -> Result<Span, String> {
    const LEAST: Span = Span::millis(100);
    let span = duration(text)?;
    if span >= LEAST { Ok(span) } else { Err(format!("too short to measure: at least {LEAST}")) }
}

fn duration(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    if span <= Span::secs(24 * 3_600) { Ok(span) } else { Err("must be at most 24h".into()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("trunkline-harness").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_is_the_main_job() {
        let cli = parse("").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.main_job.measure, Span::secs(1));
        assert_eq!(cli.main_job.durability, Durability::Durable);
        assert!(parse("--measure 100ms --allow-tmpfs").unwrap().main_job.allow.allow_tmpfs);
        assert!(parse("--measure 100ms run").is_err(), "one or the other");
    }

    #[test]
    fn run_has_kafkas_defaults() {
        let Some(Command::Run(run)) = parse("run").unwrap().command else { panic!() };
        let grid = run.grid;
        assert_eq!((grid.linger_ms, grid.batch_size), (vec![5], vec![ByteSize::kib(16)]));
        assert_eq!(grid.compression, [Compression::default()]);
        assert_eq!((grid.acks, grid.buffer_memory), (vec![Acks::All], vec![ByteSize::mib(32)]));
        assert_eq!((grid.rate, grid.durability), (vec![Rate::Max], vec![Durability::Durable]));
    }

    #[test]
    fn all_options_of_the_issue_are_there() {
        let line = "run --dir d --records 2M --record-size 100 --partitions 4 --producers 2 \
                    --linger-ms 5 --batch-size 16KiB --compression zstd:3 --acks all \
                    --durability written --rate 100k --keys zipf --payload file:x \
                    --json j --hlog h --buffer-memory 64MiB --seed 7 --keep";
        assert!(parse(line).is_ok());
        assert!(parse("run --duration 30s --warmup 0s --rate max").is_ok());
        let line = "sweep --linger-ms 0,1,5,20,100 --batch-size 1KiB,16KiB,128KiB,1MiB \
                    --compression none,gzip,snappy,lz4,zstd --rate 1k,50%,max --repeat 3 --out o";
        let Some(Command::Sweep(sweep)) = parse(line).unwrap().command else { panic!() };
        assert_eq!((sweep.grid.linger_ms.len(), sweep.grid.compression.len()), (5, 5));
        assert_eq!(sweep.grid.rate[1], Rate::PercentOfMax(50));
    }

    #[test]
    fn a_linger_may_have_its_unit_and_a_mistake_is_explained() {
        let Some(Command::Run(run)) = parse("run --linger-ms 5ms,1s,7").unwrap().command else {
            panic!()
        };
        assert_eq!(run.grid.linger_ms, [5, 1_000, 7]);
        for (line, part) in [
            ("run --linger-ms 1.5", "a whole number of milliseconds"),
            ("run --duration 0s", "too short to measure: at least 100ms"),
            ("run --rate 0", "at least 1 record a second"),
            ("run --record-size 1GiB", "must be 1B to 63MiB"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "run --records 10 --duration 1s",
            "run --records 0",
            "run --record-size 0",
            "run --partitions 0",
            "run --producers 0",
            "run --compression brotli",
            "run --compression zstd:99",
            "run --acks 2",
            "run --durability maybe",
            "run --payload xml",
            "run --linger-ms -1",
            "run --linger-ms 1.5",
            "run --linger-ms 500us",
            "run --linger-ms 11m",
            "run --duration 0s",
            "run --duration 99ms",
            "sweep --duration 1ms",
            "--measure 0s",
            "run --record-size 64MiB",
            "run --batch-size 16k",
            "run --batch-size 65MiB",
            "run --compression lz4:1",
            "run --duration 10",
            "sweep --repeat 0",
            "sweep --rate 120%",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
