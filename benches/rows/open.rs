//! Opening what was closed cleanly: one log of many segments, an engine of many partitions.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use trunkline::{Engine, EngineOptions, TopicConfig, types::Durability};

use super::append::append_again;
use crate::{
    pairs::{Group, Work, timed},
    sealed,
};

const SEGMENTS: u64 = 1000;
const PARTITIONS: u32 = 5_000;

/// A group's name.
pub const SEGMENTS_NAME: &str = "open, 1000 segments";
/// A group's name.
pub const PARTITIONS_NAME: &str = "open, 5000 partitions";

fn config() -> TopicConfig {
    TopicConfig::default().durability(Durability::Written).segment_bytes(1 << 20).retention_ms(-1)
}

/// One log of many segments.
pub fn segments(folder: &Path) -> Group<'static> {
    let dir = folder.join("segments");
    let engine = Engine::open(EngineOptions::new(&dir)).expect("opens");
    let topic = engine.topic_or_create("bench", 1, config()).expect("makes a topic");
    let log = topic.partition(0).expect("it is here");
    let mut spare = Some(sealed(900, 1024));
    for _ in 0..SEGMENTS {
        append_again(log, &mut spare);
    }
    engine.close().expect("closes");
    group(SEGMENTS_NAME, &dir, Work { bytes: 0, units: SEGMENTS, unit: "segments" })
}

/// An engine of many partitions.
pub fn partitions(folder: &Path) -> Group<'static> {
    let dir = folder.join("partitions");
    let engine = Engine::open(EngineOptions::new(&dir)).expect("opens");
    engine.topic_or_create("bench", PARTITIONS, config()).expect("makes a topic");
    engine.close().expect("closes");
    let work = Work { bytes: 0, units: u64::from(PARTITIONS), unit: "partitions" };
    group(PARTITIONS_NAME, &dir, work)
}

fn group(name: &str, dir: &Path, work: Work) -> Group<'static> {
    let mut group = Group::new(name, work);
    let all = dir.to_path_buf();
    group.row("limit: list and stat", move || timed(|| assert!(stat_all(&all) > 1000)));
    let dir = dir.to_path_buf();
    group.row("trunkline", move || open(&dir));
    group
}

fn stat_all(dir: &PathBuf) -> usize {
    let entries = fs::read_dir(dir).expect("lists").map(|entry| entry.expect("lists"));
    entries
        .map(|entry| {
            let is_dir = entry.metadata().expect("stats").is_dir();
            if is_dir { stat_all(&entry.path()) } else { 1 }
        })
        .sum()
}

fn open(dir: &Path) -> Duration {
    let mut opened = None;
    let elapsed = timed(|| opened = Some(Engine::open(EngineOptions::new(dir)).expect("opens")));
    opened.expect("it was opened").close().expect("closes");
    elapsed
}
