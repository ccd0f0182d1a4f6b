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
fn calls_of(seed: u64) -> (Vec<Verb>, u64) {
    let (disk, struck) = Life::new(seed).run_with_fault(STEPS, 0, Fault::Io).unwrap();
    assert!(!struck);
    (disk.verbs(), disk.trace())
}

#[test]
fn every_fault_at_every_call_loses_nothing_and_tells_no_lie() {
    let mut struck: BTreeMap<Fault, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for seed in 0..number("TRUNKLINE_FAULT_SEEDS").unwrap_or(SEEDS) {
        let (verbs, _) = calls_of(seed);
        for fault in Fault::ALL {
            let fits = |(_, verb): &(u64, &Verb)| fault.fits(**verb);
            let calls: Vec<u64> = (1..).zip(&verbs).filter(fits).map(|(call, _)| call).collect();
            let (went_well, failed) = over_seeds(0..calls.len() as u64, |place| {
                let call = calls[place as usize];
                Life::new(seed)
                    .run_with_fault(STEPS, call, fault)
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

/// Runs that went wrong once: the life, the call, the fault, and what was mended then.
const ONCE_FAILED: [(u64, u64, Fault, &str); 2] = [
    (0, 1030, Fault::NoSpace, "a failed append left the leader epochs of its batches behind"),
    (
        3,
        639,
        Fault::Misdirected,
        "bytes before a segment's first batch became a segment of its name",
    ),
];

#[test]
fn runs_that_once_went_wrong_go_well() {
    for (seed, call, fault, what) in ONCE_FAILED {
        let (_, failures) = over_seeds(seed..seed + 1, |seed| {
            Life::new(seed).run_with_fault(STEPS, call, fault).map(drop)
        });
        assert!(failures.is_empty(), "{what}:\n{}", shown(&failures));
    }
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    for seed in 0..20 {
        let (verbs, trace) = calls_of(seed);
        assert_eq!(calls_of(seed), (verbs.clone(), trace));
        assert!(verbs.len() > 50, "{}", verbs.len());
        assert_ne!(trace, calls_of(seed + 1).1);
    }
}
