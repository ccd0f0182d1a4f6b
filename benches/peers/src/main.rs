//! The engine against logs that others wrote: the same records, the same promises, in one run, each peer's records
//! read back and counted after it was opened again. Where a peer promises less or does more, its page says so.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use trunkline_benches::{
    pairs::{Group, timed},
    payload,
    rows::{
        append::{self, Shape},
        appenders::{self, APPENDERS, Appender, Latencies},
        durable, scan,
    },
};

mod peer;

use peer::{Commitlog, OkayWal, Peer, RaftEngine, Scanned, Seglog, Shared, WalDb, emptied};

/// Runs the engine's rows and its peers' in short alternating slices and prints their ratios with confidence
/// intervals.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Groups whose names contain one of these; all where none is given.
    groups: Vec<String>,
    /// Slices of each row that count; fewer than 100 cannot resolve 5 %.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Where the rows' files go: the disk that is measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

const DURABLE: Shape = Shape { records: 16, record_bytes: 1024 };

fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::Builder::new()
        .prefix(".trunkline-peers-")
        .tempdir_in(&arguments.dir)
        .unwrap_or_else(|error| {
            panic!("no folder can be made in {}: {error}", arguments.dir.display())
        });
    let folder = folder.path();
    let is_wanted = |name: &str| {
        arguments.groups.is_empty() || arguments.groups.iter().any(|part| name.contains(part))
    };
    let run = |name: &str, group: Group<'_>| {
        let outcome = group.run(arguments.rounds, |round| {
            eprint!("\r{name}: {round} of {} rounds", arguments.rounds);
        });
        eprintln!();
        println!("{}", outcome.table());
        let _ = std::io::stdout().flush();
    };
    println!(
        "### read back after opening again\n\n| peer | records appended | found |\n|---|---|---|"
    );
    keeps::<Commitlog>(folder);
    keeps::<Seglog>(folder);
    keeps::<RaftEngine>(folder);
    keeps::<WalDb>(folder);
    keeps::<OkayWal>(folder);
    println!();

    for shape in append::SHAPES {
        let name = shape.name();
        if is_wanted(&name) {
            let mut group = append::group(shape, folder);
            written::<Commitlog>(&mut group, shape, folder);
            written::<Seglog>(&mut group, shape, folder);
            written::<RaftEngine>(&mut group, shape, folder);
            written::<WalDb>(&mut group, shape, folder);
            run(&name, group);
        }
    }
    if is_wanted(durable::NAME) {
        let mut group = durable::group(folder);
        one_appender::<OkayWal>(&mut group, folder);
        one_appender::<RaftEngine>(&mut group, folder);
        one_appender::<WalDb>(&mut group, folder);
        one_appender::<Seglog>(&mut group, folder);
        run(durable::NAME, group);
    }
    if is_wanted(appenders::NAME) {
        let latencies = Latencies::default();
        let mut group = appenders::group(folder, &latencies);
        all_appenders::<OkayWal>(&mut group, folder, &latencies);
        all_appenders::<RaftEngine>(&mut group, folder, &latencies);
        all_appenders::<WalDb>(&mut group, folder, &latencies);
        run(appenders::NAME, group);
        println!("{}", latencies.table());
    }
    if is_wanted(scan::NAME) {
        let mut group = scan::group(folder);
        scanned::<Commitlog>(&mut group, folder);
        scanned::<Seglog>(&mut group, folder);
        run(scan::NAME, group);
    }
}

/// Values of a batch.
fn values(shape: Shape) -> Vec<Vec<u8>> {
    let bytes = payload(shape.records * shape.record_bytes);
    bytes.chunks(shape.record_bytes).map(<[u8]>::to_vec).collect()
}

fn borrowed(values: &[Vec<u8>]) -> Vec<&[u8]> {
    values.iter().map(Vec::as_slice).collect()
}

/// What was appended is there when the peer is opened again.
fn keeps<P: Peer>(folder: &Path) {
    let dir = folder.join(format!("{} keeps", P::NAME));
    emptied(&dir);
    let values = values(DURABLE);
    let records = borrowed(&values);
    let mut peer = P::open(&dir);
    let batches = 1000;
    for _ in 0..batches {
        peer.append(&records, P::DURABLE);
    }
    drop(peer);
    let (appended, found) = (batches * records.len() as u64, P::count(&dir));
    println!("| {} | {appended} | {found} |", P::NAME);
    emptied(&dir);
}

/// A peer, begun anew once it holds `most` bytes.
struct Renewed<P> {
    peer: Option<P>,
    dir: PathBuf,
    bytes: u64,
    most: u64,
}

impl<P: Peer> Renewed<P> {
    fn new(folder: &Path, most: u64) -> Self {
        Self { peer: None, dir: folder.join(P::NAME), bytes: most, most }
    }

    /// Before a slice of `bytes` bytes.
    fn ready(&mut self, bytes: u64) -> &mut P {
        if self.bytes + bytes > self.most {
            self.peer = None;
            emptied(&self.dir);
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.peer.get_or_insert_with(|| P::open(&self.dir))
    }
}

fn written<P: Peer + 'static>(group: &mut Group<'static>, shape: Shape, folder: &Path) {
    let (values, batches) = (values(shape), shape.batches());
    let mut renewed = Renewed::<P>::new(folder, append::FILE_BYTES);
    group.row(P::NAME, move || {
        let records = borrowed(&values);
        let peer = renewed.ready((batches * shape.records * shape.record_bytes) as u64);
        timed(|| (0..batches).for_each(|_| peer.append(&records, false)))
    });
}

fn one_appender<P: Peer + 'static>(group: &mut Group<'static>, folder: &Path) {
    let values = values(DURABLE);
    let mut renewed = Renewed::<P>::new(folder, durable::FILE_BYTES);
    group.row(P::NAME, move || {
        let records = borrowed(&values);
        let bytes = durable::BATCHES * (DURABLE.records * DURABLE.record_bytes) as u64;
        let peer = renewed.ready(bytes);
        timed(|| (0..durable::BATCHES).for_each(|_| peer.append(&records, true)))
    });
}

fn all_appenders<P: Shared>(group: &mut Group<'static>, folder: &Path, latencies: &Latencies) {
    let values = Arc::new(values(DURABLE));
    let mut renewed = Renewed::<Arc<P>>::new(folder, durable::FILE_BYTES);
    let bytes = (APPENDERS * appenders::BATCHES * DURABLE.records * DURABLE.record_bytes) as u64;
    let ready = move |appenders: &mut Vec<Appender>| {
        appenders.clear();
        let peer = renewed.ready(bytes).clone();
        appenders.extend((0..APPENDERS).map(|appender| -> Appender {
            let (peer, values) = (peer.clone(), values.clone());
            Box::new(move || peer.append_durably(appender, &borrowed(&values)))
        }));
    };
    group.row(P::NAME, appenders::side_by_side(P::NAME, latencies, Vec::new(), ready));
}

impl<P: Shared> Peer for Arc<P> {
    const NAME: &'static str = P::NAME;

    fn open(dir: &Path) -> Self {
        Self::new(P::open(dir))
    }

    fn append(&mut self, records: &[&[u8]], _: bool) {
        self.append_durably(0, records);
    }

    fn count(dir: &Path) -> u64 {
        P::count(dir)
    }
}

/// A scan of all records, warm.
fn scanned<P: Scanned>(group: &mut Group<'static>, folder: &Path) {
    let values = values(Shape { records: scan::RECORDS, record_bytes: 1024 });
    let dir = folder.join(format!("{} scanned", P::NAME));
    emptied(&dir);
    let mut peer = P::open(&dir);
    let records = borrowed(&values);
    (0..scan::BATCHES).for_each(|_| peer.append(&records, false));
    drop(peer);
    let mut scan = P::scanner(&dir);
    group.row(P::NAME, move || -> Duration {
        timed(|| assert_eq!(scan(), (scan::BATCHES * scan::RECORDS) as u64))
    });
}
