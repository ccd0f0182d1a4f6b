//! Each planted bug (`trunkline::twins`) is caught: by a story of its own, by a life with power cuts, or by
//! one in which a call to the disk goes wrong. Those of lengths that lie are caught by
//! `tests/hostile_lengths.rs`, which counts what is allocated.

use std::path::Path;

use trunkline::{
    io::{Fault, Verb},
    twins::Twin,
};

use crate::{
    directed::{self, Story},
    life::Life,
    seeds::{number, over_seeds},
};

/// Lives that are tried before a bug counts as one that nobody finds.
const LIVES: u64 = 4_000;
/// Lives that are gone through with a fault at each of these calls.
const FAULT_LIVES: u64 = 6;
const FAULTS: [(Fault, Verb); 3] =
    [(Fault::Io, Verb::Sync), (Fault::Flipped, Verb::Write), (Fault::Misdirected, Verb::Write)];
const STEPS: usize = 40;
/// Lives that are lived before a look at how they went.
const AT_ONCE: u64 = 50;

/// Each story, and the bugs that it must catch, with words of how they show: those that make its mistake, and by
/// that mistake.
const PAIRS: [(&str, &[(Twin, &str)]); 31] = [
    ("an index names other batches", &[(Twin::IndexBelieved, "base offset: expected 1, found 2")]),
    (
        "the index reaches the device before the log",
        &[(Twin::IndexAheadOfLog, "an entry names offset 4")],
    ),
    ("an index is torn and holds zeros", &[(Twin::ZerosAreEntries, "an entry names offset 0")]),
    (
        "a log goes on behind its last index entry",
        &[(Twin::EndFromIndex, "expected a batch below")],
    ),
    (
        "aborted transactions are made anew",
        &[(Twin::TransactionsOverwritten, "aborted transactions []")],
    ),
    (
        "a process is killed and the power goes behind its recovery",
        &[(Twin::TransactionsUnsynced, "ends at 3, aborted transactions []")],
    ),
    ("a short log is put right again", &[(Twin::IndexesCutUnjudged, "was put right")]),
    (
        "damage stands beside an aborted transaction",
        &[(Twin::AbortedNotTold, "aborted transactions []")],
    ),
    ("two batches change places", &[(Twin::OffsetUnchecked, "read as if all were well")]),
    (
        "reserved space stands before the next segment",
        &[(Twin::ReserveNotTrimmed, "header: expected 61 bytes")],
    ),
    (
        "the power goes in the middle of a roll",
        &[(Twin::RollOffByOne, "batch at offset 4, expected 5")],
    ),
    (
        "a checkpoint speaks of what is not durable",
        &[(Twin::CheckpointBeforeSync, "has aborted transactions")],
    ),
    (
        "the power goes in the middle of a truncation",
        &[
            (Twin::CutBeforeCheckpoint, "appends are refused"),
            (Twin::CutNotSynced, "truncated to 2 (true): ends at 4"),
            (Twin::RemovedFromTheFront, "appends are refused"),
            (Twin::RenameNotSynced, "appends are refused"),
        ],
    ),
    (
        "a sync fails at a roll",
        &[(Twin::FailedSyncTriedAgain, "acknowledged"), (Twin::NewSegmentNotSynced, "lost")],
    ),
    ("a sync fails and the next one succeeds", &[(Twin::FailedSyncTriedAgain, "acknowledged")]),
    (
        "a flush for many files fails",
        &[(Twin::FlushFailedForOne, "acknowledged"), (Twin::FlushLeftOut, "4 operations")],
    ),
    (
        "prepared space is cut off",
        &[(Twin::RoomOutlivesCut, "lost"), (Twin::RoomBelievedUnsynced, "lost")],
    ),
    ("a device is slow and records keep coming", &[(Twin::MemoryUnbounded, "16384 are allowed")]),
    ("a device is slow and a log keeps appending", &[(Twin::BacklogUnbounded, "none is durable")]),
    (
        "the power goes when a term begins",
        &[
            (Twin::RenameBeforeSync, "after a power cut"),
            (Twin::EpochsNotStored, "after a power cut"),
        ],
    ),
    (
        "a truncation is killed and the power goes behind it",
        &[(Twin::EpochsBeforeLog, "leader epoch: expected 1, found 2")],
    ),
    ("a term fails to begin", &[(Twin::FailedTermForgotten, "leader epoch: expected")]),
    ("the leader epochs are damaged", &[(Twin::DamagedEpochsRefused, "leader-epoch-checkpoint")]),
    ("a follower parts from its leader", &[(Twin::TermEndsAtLogEnd, "the follower keeps 2")]),
    (
        "a leader comes back from a pause",
        &[(Twin::StaleLeaderAccepted, "a leader of term 3 appends in term 5")],
    ),
    (
        "a process is killed and its producer repeats",
        &[(Twin::RepeatsAccepted, "expected [1], [2]")],
    ),
    ("a buffer is used again for another topic", &[(Twin::BufferNotCleared, "topic a: expected")]),
    ("a consumer's position is deleted", &[(Twin::JumpsToEnd, "read up to [0]")]),
    (
        "a consumer takes batches in parts",
        &[(Twin::RestOfBatchSkipped, "expected offset 3, found 5")],
    ),
    (
        "a consumer reads partitions that differ",
        &[(Twin::OnePositionForAll, "partition 1: expected offset 0, found 3")],
    ),
    (
        "a consumer meets a damaged batch",
        &[(Twin::DamagePassedOver, "read up to [5, 30]"), (Twin::CrcUnchecked, "header count")],
    ),
];

/// Bugs that show in what is allocated, which this test does not see.
const ELSEWHERE: [Twin; 2] = [Twin::LengthBelieved, Twin::CountBelieved];

/// Bugs that show where space is prepared and many files share a flush.
const OVER_PREPARED_SPACE: [Twin; 4] = [
    Twin::FlushLeftOut,
    Twin::FlushFailedForOne,
    Twin::RoomOutlivesCut,
    Twin::RoomBelievedUnsynced,
];

fn life(twin: Twin, seed: u64) -> Life {
    let life = Life::new(seed);
    if OVER_PREPARED_SPACE.contains(&twin) { life.with_prepared_space() } else { life }
}

fn stories() -> impl Iterator<Item = Story> {
    directed::ALL.into_iter().chain([directed::HEAVY])
}

/// What goes wrong in a story when the bug is planted.
fn told_with(twin: Twin, tell: fn() -> Result<(), String>) -> Option<String> {
    let (_, failures) = over_seeds(0..1, |_| {
        twin.plant();
        let outcome = tell();
        Twin::uproot();
        outcome
    });
    failures.first().map(|(_, what)| what.clone())
}

#[test]
fn twins_of_stories_are_caught_by_their_own() {
    for (name, tell) in stories() {
        let (_, twins) = PAIRS.iter().find(|pair| pair.0 == name).expect("each story has a twin");
        for (twin, words) in *twins {
            let what = told_with(*twin, tell).unwrap_or_else(|| "it ends well".into());
            println!("{:<22} {name}: {}", format!("{twin:?}"), first_line(&what));
            assert!(what.contains(words), "{name}, {twin:?}: {what:?} does not say {words:?}");
        }
    }
    assert_eq!(stories().count(), PAIRS.len(), "each pair is one of a story");
}

#[test]
fn the_page_names_each_story_and_its_twins() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/TESTING.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (name, twins) in PAIRS {
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(name));
        let row = row.unwrap_or_else(|| panic!("no row names the story {name:?}"));
        for (twin, _) in twins {
            assert!(row.contains(&format!("`{twin:?}`")), "{name:?} stands without {twin:?}");
        }
    }
}

/// How a bug shows, and in which life.
fn caught(twin: Twin) -> Option<String> {
    // Its own story first.
    let owner =
        PAIRS.iter().find(|pair| pair.1.iter().any(|(it, _)| *it == twin)).map(|pair| pair.0);
    let own = stories().filter(|(name, _)| Some(*name) == owner);
    for (name, tell) in own.chain(directed::ALL) {
        if let Some(what) = told_with(twin, tell) {
            return Some(format!("{name}: {}", first_line(&what)));
        }
    }
    for first in (0..number("TRUNKLINE_TWIN_LIVES").unwrap_or(LIVES)).step_by(AT_ONCE as usize) {
        let (_, failures) = over_seeds(first..first + AT_ONCE, |seed| {
            twin.plant();
            let outcome = life(twin, seed).run(5);
            Twin::uproot();
            outcome
        });
        if let Some((seed, what)) = failures.first() {
            return Some(format!("power cuts, seed {seed}: {}", first_line(what)));
        }
    }
    for seed in 0..FAULT_LIVES {
        let (disk, _) = life(twin, seed).run_with_fault(STEPS, 0, Fault::Io, None).unwrap();
        let calls: Vec<(u64, Fault)> = (1..)
            .zip(disk.verbs())
            .flat_map(|(call, verb)| {
                FAULTS.into_iter().filter(move |it| it.1 == verb).map(move |it| (call, it.0))
            })
            .collect();
        let (_, failures) = over_seeds(0..calls.len() as u64, |place| {
            let (call, fault) = calls[place as usize];
            twin.plant();
            let outcome = life(twin, seed).run_with_fault(STEPS, call, fault, None).map(drop);
            Twin::uproot();
            outcome
        });
        if let Some((place, what)) = failures.first() {
            let (call, fault) = calls[*place as usize];
            return Some(format!("{fault:?} at call {call}, seed {seed}: {}", first_line(what)));
        }
    }
    None
}

fn first_line(what: &str) -> String {
    what.lines().next().unwrap_or_default().chars().take(100).collect()
}

#[test]
fn every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    let here: Vec<Twin> = Twin::ALL.into_iter().filter(|it| !ELSEWHERE.contains(it)).collect();
    for twin in &here {
        match caught(*twin) {
            Some(how) => println!("{:<22} {how}", format!("{twin:?}")),
            None => missed.push(twin),
        }
    }
    println!("{} of {} planted bugs are caught", here.len() - missed.len(), here.len());
    assert!(missed.is_empty(), "nobody finds {missed:?}");
}
