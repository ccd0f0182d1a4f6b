//! Power cuts on a disk that forgets what was not synced (`io::ForgetfulDisk`): seeded lives of a log
//! dir with several partitions, in which the power goes at a random operation, again and again, now
//! and then during the recovery itself.
//!
//! After each cut: every record that was acknowledged as durable, and neither truncated nor deleted
//! since, is there, byte for byte, at its offset; what stands behind is a prefix of what was appended;
//! indexes, leader epochs, producers' sequences and transactions say the same as the records.
//!
//! `TRUNKLINE_POWER_CUTS` sets the number of cuts, `TRUNKLINE_SEED` runs a single life.

use crate::life::{Life, Tally};
use crate::seeds::{number, over_seeds, shown};

const CUTS: u64 = 10_000;
const CUTS_A_LIFE: u64 = 5;

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let (tally, failures) = live(lives(1), |seed| Life::new(seed).run(CUTS_A_LIFE));
    println!("{tally}");
    assert!(failures.is_empty(), "{} lives went wrong:\n{}", failures.len(), shown(&failures));
    assert!(tally.acknowledged > tally.cuts, "the lives acknowledge records: {tally}");
}

/// A device that writes sectors, not pages: fewer lives, other tears.
#[test]
fn power_cuts_that_tear_pages_lose_nothing_that_was_acknowledged() {
    let lives = lives(4);
    let (tally, failures) = live(lives, |seed| Life::new(seed).with_torn_pages().run(CUTS_A_LIFE));
    println!("by sectors: {tally}");
    assert!(failures.is_empty(), "{} lives went wrong:\n{}", failures.len(), shown(&failures));
    assert!(tally.acknowledged > tally.cuts, "the lives acknowledge records: {tally}");
}

/// Lives that went wrong once; what was mended then.
const ONCE_FAILED: [(u64, &str); 13] = [
    (7, "a checkpoint was lowered to the offset asked for, not to where the truncation ended"),
    (10, "a rolled segment's reserved space was taken for rot: its trimming was not durable"),
    (5, "leader epochs forgot deleted records before the log start was durable"),
    (17, "zeros at the end of a transaction index were read as an entry"),
    (42, "aborted transactions of a rolled segment were lost with its unsynced index"),
    (52, "a segment below the recovery point kept its reserved space"),
    (56, "aborted transactions beyond the newest snapshot's offset were lost"),
    (151, "a torn transaction index made recovery panic"),
    (202, "records that came back below the log start had no leader epoch"),
    (457, "a truncation forgot which other files were to be synced: a commit lied"),
    (683, "a restart that was interrupted below the log start was taken for rot"),
    (
        11_338,
        "a truncation to below the log start stopped at an index that no checkpoint had synced",
    ),
    (960, "the same, with an epoch that began in the middle of a batch"),
];

#[test]
fn lives_that_once_went_wrong_go_well() {
    for (seed, what) in ONCE_FAILED {
        let (_, failures) = live(seed..seed + 1, |seed| Life::new(seed).run(CUTS_A_LIFE));
        assert!(failures.is_empty(), "{what}:\n{}", shown(&failures));
    }
}

#[test]
fn power_cuts_over_prepared_space_lose_nothing_that_was_acknowledged() {
    let lives = lives(2);
    let (tally, failures) = live(lives, |seed| {
        let life = Life::new(seed).with_prepared_space();
        let life = if seed % 3 == 0 { life.with_maps() } else { life };
        // A device that writes sectors, too.
        if seed % 2 == 0 { life.run(CUTS_A_LIFE) } else { life.with_torn_pages().run(CUTS_A_LIFE) }
    });
    println!("over prepared space: {tally}");
    assert!(failures.is_empty(), "{} lives went wrong:\n{}", failures.len(), shown(&failures));
    assert!(tally.acknowledged > tally.cuts, "the lives acknowledge records: {tally}");
}

/// A process that dies alone leaves all it wrote, and a recovery that takes it for durable, or shortens what the next
/// one looks at, loses it when the power goes afterwards.
#[test]
fn power_cuts_after_kills_lose_nothing_that_was_acknowledged() {
    let lives = lives(2);
    let (tally, failures) = live(lives, |seed| {
        let life = Life::new(seed).with_kills();
        let life = if seed % 3 == 0 { life.with_prepared_space() } else { life };
        if seed % 2 == 0 { life.run(CUTS_A_LIFE) } else { life.with_torn_pages().run(CUTS_A_LIFE) }
    });
    println!("after kills: {tally}");
    assert!(failures.is_empty(), "{} lives went wrong:\n{}", failures.len(), shown(&failures));
    assert!(tally.lives == 1 || tally.kills > tally.cuts / 2, "the process dies: {tally}");
}

/// The control: were syncs left out, the test above would see it.
#[test]
fn without_syncs_acknowledged_records_are_lost() {
    const LIVES: u64 = 40;
    let (_, failures) = live(0..LIVES, |seed| Life::new(seed).without_syncs().run(1));
    let lost = failures.iter().filter(|(_, failure)| failure.contains("lost")).count();
    println!("without syncs: {lost} of {LIVES} lives lost acknowledged records");
    let panics: Vec<_> =
        failures.into_iter().filter(|(_, failure)| failure.starts_with("panic")).collect();
    assert!(panics.is_empty(), "lies are no reason to panic:\n{}", shown(&panics));
    assert!(
        lost >= LIVES as usize / 4,
        "too little was lost without any sync: does the test see it?"
    );
}

/// Lives on a disk that lies in which recovery panicked once, on a segment without a batch before an empty one.
#[test]
fn a_disk_that_lies_is_no_reason_to_panic() {
    for seed in [344, 807, 894, 1538] {
        let lies = |seed| Life::new(seed).without_syncs();
        let (_, by_pages) = live(seed..seed + 1, |seed| lies(seed).run(CUTS_A_LIFE));
        let torn = |seed| lies(seed).with_torn_pages().run(CUTS_A_LIFE);
        let (_, by_sectors) = live(seed..seed + 1, torn);
        for (seed, failure) in by_pages.into_iter().chain(by_sectors) {
            assert!(!failure.starts_with("panic"), "seed {seed}: {failure}");
        }
    }
}

/// Seeds of the lives, one in `part` of all of them.
fn lives(part: u64) -> std::ops::Range<u64> {
    match number("TRUNKLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRUNKLINE_POWER_CUTS").unwrap_or(CUTS).div_ceil(part * CUTS_A_LIFE),
    }
}

/// Runs a life for each seed. Gives the sum of those that went well, and why the others did not.
fn live(
    seeds: std::ops::Range<u64>,
    life: impl Fn(u64) -> Result<Tally, String> + Sync,
) -> (Tally, Vec<(u64, String)>) {
    let (tallies, failures) = over_seeds(seeds, life);
    let mut sum = Tally::default();
    for tally in &tallies {
        sum.add(tally);
    }
    (sum, failures)
}
