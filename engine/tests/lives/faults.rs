//! Every call to the disk of a reference life, times every way in which it can go wrong: the engine
//! gives a typed error or goes on, and what it leaves, as the page cache has it and after a power cut,
//! holds all that was acknowledged. Where the disk lies (a lost or misdirected write, a flipped bit, a
//! sync that does nothing) records may be gone, but what can be read is right.
//!
//! `TRUNKLINE_FAULT_SEEDS` sets how many lives are gone through.

use std::collections::BTreeMap;

use crate::life::Life;
use crate::seeds::{number, over_seeds, shown};
use trunkline::io::{Fault, Verb};

const SEEDS: u64 = 3;
const STEPS: usize = 40;

/// The calls of a life without faults.
fn calls_of(life: Life) -> (Vec<Verb>, u64) {
    let (disk, struck) = life.run_with_fault(STEPS, 0, Fault::Io, None).unwrap();
    assert!(!struck);
    (disk.verbs(), disk.trace())
}

#[test]
fn every_fault_at_every_call_loses_nothing_and_tells_no_lie() {
    every_fault_at_every_call(number("TRUNKLINE_FAULT_SEEDS").unwrap_or(SEEDS), Life::new);
}

#[test]
fn every_fault_at_every_call_over_prepared_space_loses_nothing_and_tells_no_lie() {
    let seeds = number("TRUNKLINE_FAULT_SEEDS").unwrap_or(SEEDS).div_ceil(2);
    every_fault_at_every_call(seeds, |seed| Life::new(seed).with_prepared_space());
}

fn every_fault_at_every_call(seeds: u64, life: impl Fn(u64) -> Life + Sync) {
    let mut struck: BTreeMap<Fault, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for seed in 0..seeds {
        let (verbs, _) = calls_of(life(seed));
        for fault in Fault::ALL.iter().copied() {
            let fits = |(_, verb): &(u64, &Verb)| fault.fits(**verb);
            let calls: Vec<u64> = (1..).zip(&verbs).filter(fits).map(|(call, _)| call).collect();
            let (went_well, failed) = over_seeds(0..calls.len() as u64, |place| {
                let call = calls[place as usize];
                life(seed)
                    .run_with_fault(STEPS, call, fault, None)
                    .map(|(_, struck)| u64::from(struck))
            });
            *struck.entry(fault).or_default() += went_well.into_iter().sum::<u64>();
            failures.extend(failed.into_iter().map(|(place, what)| {
                let call = calls[place as usize];
                (call, format!("life {seed}, {fault:?} of {:?}: {what}", verbs[call as usize - 1]))
            }));
        }
    }
    for (fault, count) in &struck {
        println!("{fault:?}: {count} runs");
    }
    println!("{} runs, each reopened three times", struck.values().sum::<u64>());
    assert!(failures.is_empty(), "{} runs went wrong:\n{}", failures.len(), shown(&failures));
    assert!(struck.values().all(|count| *count > 20), "{struck:?}");
}

/// The calls of a recovery decide what is cut off: here each of those that follow a crash goes wrong.
#[test]
fn every_fault_at_every_call_of_a_recovery_loses_nothing_and_tells_no_lie() {
    let seeds = number("TRUNKLINE_FAULT_SEEDS").unwrap_or(SEEDS) * 4;
    let mut runs = 0;
    let mut failures = Vec::new();
    for (seed, is_killed) in (0..seeds).flat_map(|seed| [(seed, false), (seed, true)]) {
        let crashed = || {
            let life = Life::new(seed);
            let life = if seed % 2 == 0 { life } else { life.with_prepared_space().with_maps() };
            if is_killed { life.killed(seed % 3) } else { life.crashed(1 + seed % 3) }
        };
        let (disk, _) = crashed().unwrap().recover_with_fault(0, Fault::Io).unwrap();
        let verbs = disk.verbs();
        let faults: Vec<(u64, Fault)> = (1..)
            .zip(&verbs)
            .flat_map(|(call, verb)| {
                let fits = move |fault: &Fault| fault.fits(*verb);
                Fault::ALL.iter().copied().filter(fits).map(move |fault| (call, fault))
            })
            .collect();
        let (went_well, failed) = over_seeds(0..faults.len() as u64, |place| {
            let (call, fault) = faults[place as usize];
            crashed()?.recover_with_fault(call, fault).map(|(_, struck)| u64::from(struck))
        });
        runs += went_well.into_iter().sum::<u64>();
        failures.extend(failed.into_iter().map(|(place, what)| {
            let (call, fault) = faults[place as usize];
            let verb = &verbs[call as usize - 1];
            (call, format!("life {seed}, killed {is_killed}, {fault:?} of {verb:?}: {what}"))
        }));
    }
    println!("{runs} recoveries with a fault, each reopened three times");
    assert!(failures.is_empty(), "{} runs went wrong:\n{}", failures.len(), shown(&failures));
    assert!(runs > 1_000 * seeds, "{runs}");
}

/// What the engine does about one fault meets another.
#[test]
fn a_second_fault_right_behind_the_first_loses_nothing() {
    let first = [
        Fault::Io,
        Fault::DoneThenIo,
        Fault::NoSpace,
        Fault::TooManyFiles,
        Fault::Short,
        Fault::ShortThenIo,
    ];
    let mut runs = 0;
    let mut failures = Vec::new();
    for seed in 0..number("TRUNKLINE_FAULT_SEEDS").unwrap_or(1) {
        let (verbs, _) = calls_of(Life::new(seed));
        for (fault, then) in first.iter().flat_map(|it| [(*it, Fault::Io), (*it, Fault::NoSpace)]) {
            let fits = |(_, verb): &(u64, &Verb)| fault.fits(**verb);
            let calls: Vec<u64> = (1..).zip(&verbs).filter(fits).map(|(call, _)| call).collect();
            let (went_well, failed) = over_seeds(0..calls.len() as u64, |place| {
                let ran =
                    Life::new(seed).run_with_fault(STEPS, calls[place as usize], fault, Some(then));
                ran.map(|(_, struck)| u64::from(struck))
            });
            runs += went_well.into_iter().sum::<u64>();
            failures.extend(failed.into_iter().map(|(place, what)| {
                let call = calls[place as usize];
                let verb = verbs[call as usize - 1];
                (call, format!("life {seed}, {fault:?} of {verb:?}, then {then:?}: {what}"))
            }));
        }
    }
    println!("{runs} runs with two faults, each reopened three times");
    assert!(failures.is_empty(), "{} runs went wrong:\n{}", failures.len(), shown(&failures));
    assert!(runs > 1000, "{runs}");
}

/// Runs that went wrong once: the life, the call, the fault, and what was mended then.
const ONCE_FAILED: [(u64, u64, Fault, Option<Fault>, &str); 8] = [
    (11, 504, Fault::Flipped, None, "a leader epoch that one batch alone bears became a term"),
    (
        2,
        486,
        Fault::Flipped,
        None,
        "a base offset that a read changed hid a record asked for by time",
    ),
    (3, 296, Fault::DoneThenIo, None, "a segment that a failed roll had left stood in the way"),
    (6, 412, Fault::DoneThenIo, None, "a segment that a failed roll had left ended the log"),
    (8, 128, Fault::DoneThenIo, None, "a term had begun with an append that had failed"),
    (0, 117, Fault::Io, Some(Fault::Io), "space reserved for a segment that was not begun stayed"),
    (0, 1020, Fault::NoSpace, None, "a failed append left the leader epochs of its batches behind"),
    (
        3,
        635,
        Fault::Misdirected,
        None,
        "bytes before a segment's first batch became a segment of its name",
    ),
];

#[test]
fn runs_that_once_went_wrong_go_well() {
    for (seed, call, fault, then, what) in ONCE_FAILED {
        let (_, failures) = over_seeds(seed..seed + 1, |seed| {
            let (_, struck) = Life::new(seed).run_with_fault(STEPS, call, fault, then)?;
            // Another sequence of calls: the run is not the one that it was.
            if struck { Ok(()) } else { Err("the fault did not strike".into()) }
        });
        assert!(failures.is_empty(), "{what}:\n{}", shown(&failures));
    }
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    for seed in 0..20 {
        let (verbs, trace) = calls_of(Life::new(seed));
        assert_eq!(calls_of(Life::new(seed)), (verbs.clone(), trace));
        assert!(verbs.len() > 50, "{}", verbs.len());
        assert_ne!(trace, calls_of(Life::new(seed + 1)).1);
    }
}
