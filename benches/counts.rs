//! Instructions of the hot loops, counted by callgrind: a regression shows without a quiet machine.
//!
//! Each loop runs `n` times and `2n` times; the difference is what `n` of them cost, without start and
//! set-up. `benches/counts.txt` has the counts of the last `--store`, and what they were counted with; one that
//! exceeds its own by more than the tolerance is an error.

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
};

use clap::Parser;
use tempfile::TempDir;
use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::Storage,
    log::{Isolation, LogConfig, LogDir, PartitionLog, UnrecoveredLog},
    producer::partition_for_key,
    record::{Batch, BatchBuilder, BatchSettings, Codec, Compression, Decoder, Encoder, NewRecord},
    segment::OffsetIndex,
    types::{Durability, TopicName, TopicPartition},
};
use trunkline_benches::{payload, rows::append::append_again, sealed};

/// Where the counts are kept.
const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt");
/// By how much a count may exceed the one that is stored, in percent.
const TOLERANCE: f64 = 3.0;

/// Counts instructions of the hot loops with callgrind, and holds them against `benches/counts.txt`.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Store the counts as those to be held to.
    #[arg(long)]
    store: bool,
    /// Only loops whose names contain this.
    filter: Option<String>,
    /// Run one loop, so many times: what callgrind runs.
    #[arg(long, num_args = 2, value_names = ["LOOP", "TIMES"], hide = true)]
    run: Option<Vec<String>>,
}

/// A loop: its name, how many times make a count, and the work, once.
struct Loop {
    name: &'static str,
    times: u64,
    begin: fn() -> Box<dyn FnMut()>,
}

const LOOPS: [Loop; 11] = [
    Loop { name: "push and seal, 160 x 100 B", times: 200, begin: || seal(Codec::None, 160, 100) },
    Loop { name: "push and seal, 16 x 1 KiB", times: 200, begin: || seal(Codec::None, 16, 1024) },
    Loop {
        name: "push and seal, 160 x 100 B, lz4",
        times: 50,
        begin: || seal(Codec::Lz4, 160, 100),
    },
    Loop {
        name: "push and seal, 160 x 100 B, zstd",
        times: 50,
        begin: || seal(Codec::Zstd, 160, 100),
    },
    Loop { name: "check and iterate, 160 x 100 B", times: 200, begin: || iterate(160, 100) },
    Loop { name: "check and iterate, 16 x 1 KiB", times: 200, begin: || iterate(16, 1024) },
    Loop { name: "partition of a key of 24 bytes", times: 10_000, begin: partition },
    Loop { name: "look-up in an index of 10,000 entries", times: 10_000, begin: look_up },
    Loop { name: "append written, 160 x 100 B", times: 200, begin: || append(160, 100) },
    Loop { name: "append written, 16 x 1 KiB", times: 200, begin: || append(16, 1024) },
    Loop { name: "fetch of one batch, 16 x 1 KiB", times: 500, begin: fetch },
];

fn seal(codec: Codec, records: usize, bytes: usize) -> Box<dyn FnMut()> {
    let payload = payload(records * bytes);
    let compression = Compression::new(codec);
    let settings = BatchSettings { compression, ..BatchSettings::default() };
    let (mut encoder, mut buffer) = (Encoder::new(), Vec::new());
    Box::new(move || {
        let mut builder = BatchBuilder::new(std::mem::take(&mut buffer), settings);
        for value in payload.chunks(bytes) {
            let record = NewRecord { value: Some(value), ..NewRecord::default() };
            builder.push(&record).expect("fits");
        }
        buffer = builder.seal(&mut encoder).expect("seals").into_bytes();
    })
}

fn iterate(records: usize, bytes: usize) -> Box<dyn FnMut()> {
    let bytes = sealed(records, bytes);
    let mut decoder = Decoder::new();
    Box::new(move || {
        let batch = Batch::check(black_box(&bytes)).expect("valid");
        let records = batch.records(&mut decoder).expect("valid");
        let values = records.map(|record| record.expect("valid").value.map_or(0, <[u8]>::len));
        black_box(values.sum::<usize>());
    })
}

fn partition() -> Box<dyn FnMut()> {
    Box::new(|| {
        black_box(partition_for_key(black_box(b"a key of twenty-four byt"), 64));
    })
}

fn look_up() -> Box<dyn FnMut()> {
    let entries =
        (1..=10_000_u32).flat_map(|n| [(n * 16 + 15).to_be_bytes(), (n * 4096).to_be_bytes()]);
    let bytes: Vec<u8> = entries.flatten().collect();
    let index = OffsetIndex::decode(0, &bytes).expect("entries that rise");
    let mut offset = 0;
    Box::new(move || {
        offset = (offset + 7_919) % 160_000;
        black_box(index.lookup(offset));
    })
}

/// A log, and the folder that goes with it. The clock is one by hand: what reads the system's does not run under
/// valgrind.
fn log() -> (TempDir, PartitionLog) {
    let folder = tempfile::tempdir_in(".").expect("the current folder takes files");
    let dir = LogDir::open(&Storage::portable(), folder.path(), Strategy::SyncEach);
    let partition = TopicPartition::new(TopicName::new("counts").expect("valid"), 0);
    let config = LogConfig::default().durability(Durability::Written);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let log = UnrecoveredLog::open(&Arc::new(dir.expect("opens")), &partition, config, clock);
    (folder, log.expect("opens").recover().expect("recovers").0)
}

fn append(records: usize, bytes: usize) -> Box<dyn FnMut()> {
    let ((folder, log), mut spare) = (log(), Some(sealed(records, bytes)));
    Box::new(move || {
        let _ = &folder;
        append_again(&log, &mut spare);
    })
}

fn fetch() -> Box<dyn FnMut()> {
    let ((folder, log), mut spare) = (log(), Some(sealed(16, 1024)));
    for _ in 0..256 {
        append_again(&log, &mut spare);
    }
    let mut offset = 0;
    Box::new(move || {
        let _ = &folder;
        offset = (offset + 16 * 37) % (256 * 16);
        let fetched = log.fetch(offset, 1, Isolation::LogEnd).expect("reads");
        black_box(fetched.next_offset());
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match &arguments.run {
        Some(run) => run_loop(&run[0], &run[1]),
        None => compare(&arguments),
    };
    ended.map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run_loop(name: &str, times: &str) -> Result<(), String> {
    let known = LOOPS.iter().find(|known| known.name == name).ok_or("no such loop")?;
    let mut work = (known.begin)();
    (0..times.parse().map_err(|_| "no number")?).for_each(|_: u64| work());
    Ok(())
}

fn compare(arguments: &Arguments) -> Result<(), String> {
    let here = machine()?;
    let stored = fs::read_to_string(STORED).unwrap_or_default();
    let (with, before) = parse(&stored);
    let mut counts = before.clone();
    let mut worse = Vec::new();
    let wanted = |known: &&Loop| {
        arguments.filter.as_ref().is_none_or(|filter| known.name.contains(filter.as_str()))
    };
    for known in LOOPS.iter().filter(wanted) {
        let once = count(known.name, known.times)?;
        let twice = count(known.name, 2 * known.times)?;
        let found = twice.saturating_sub(once) / known.times;
        let change = before.get(known.name).map(|old| {
            let change = (found as f64 / *old as f64 - 1.0) * 100.0;
            if change > TOLERANCE {
                worse.push(format!("{}: {old} were {found} (+{change:.1} %)", known.name));
            }
            format!("{change:+.1} %")
        });
        println!("{:<40} {found:>9} instructions  {}", known.name, change.unwrap_or_default());
        counts.insert(known.name.to_owned(), found);
    }
    if arguments.store {
        return store(&here, &counts);
    }
    if with != here {
        println!("{STORED} is of {with}; this is {here}: shown, and not held to");
        return Ok(());
    }
    if worse.is_empty() {
        return Ok(());
    }
    let worse = worse.join("\n  ");
    Err(format!(
        "more instructions than before; if they are worth it: just counts --store\n  {worse}"
    ))
}

/// Instructions of a process that runs a loop so many times.
fn count(name: &str, times: u64) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(program).args(["--run", name, &times.to_string()]);
    let printed = output(&mut valgrind)?;
    let total = printed.lines().find_map(|line| line.split_once("Collected : "));
    let total = total.and_then(|(_, count)| count.trim().parse().ok());
    total.ok_or_else(|| format!("valgrind told no count of {name}:\n{printed}"))
}

/// What counts depend on: the compiler, the tool, and the processor, by which `memcpy` and the like go.
fn machine() -> Result<String, String> {
    let version = |program: &str| output(Command::new(program).arg("--version"));
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("another processor", |it| it.1);
    Ok(format!("{}, {}, {model}", version("rustc")?.trim(), version("valgrind")?.trim()))
}

/// All that a command prints.
fn output(command: &mut Command) -> Result<String, String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output =
        command.output().map_err(|error| format!("{name} does not run ({error}): install it"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    if output.status.success() {
        Ok(printed)
    } else {
        Err(format!("{name}: {}\n{printed}", output.status))
    }
}

/// What they were counted with, and the count of each loop.
fn parse(stored: &str) -> (&str, BTreeMap<String, u64>) {
    let with = stored.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("none");
    let counts = stored.lines().filter_map(|line| {
        let (count, name) = line.split_once('\t')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    (with, counts.collect())
}

fn store(with: &str, counts: &BTreeMap<String, u64>) -> Result<(), String> {
    let lines = counts.iter().map(|(name, count)| format!("{count}\t{name}\n"));
    let text = format!("# {with}\n{}", lines.collect::<String>());
    fs::write(STORED, text).map_err(|error| format!("{STORED}: {error}"))
}
