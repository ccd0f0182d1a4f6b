//! Each planted bug (`trunkline::twins`) is caught: by a story of its own, by a life with power cuts, or by
//! one in which a call to the disk goes wrong.

use trunkline::{
    io::{Fault, Verb},
    twins::Twin,
};

use crate::{
    directed,
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

/// How a bug shows, and in which life.
fn caught(twin: Twin) -> Option<String> {
    for (name, story) in directed::ALL {
        let (_, failures) = over_seeds(0..1, |_| {
            twin.plant();
            let outcome = story();
            Twin::uproot();
            outcome
        });
        if let Some((_, what)) = failures.first() {
            return Some(format!("{name}: {}", first_line(what)));
        }
    }
    for first in (0..number("TRUNKLINE_TWIN_LIVES").unwrap_or(LIVES)).step_by(AT_ONCE as usize) {
        let (_, failures) = over_seeds(first..first + AT_ONCE, |seed| {
            twin.plant();
            let outcome = Life::new(seed).run(5);
            Twin::uproot();
            outcome
        });
        if let Some((seed, what)) = failures.first() {
            return Some(format!("power cuts, seed {seed}: {}", first_line(what)));
        }
    }
    for seed in 0..FAULT_LIVES {
        let (disk, _) = Life::new(seed).run_with_fault(STEPS, 0, Fault::Io).unwrap();
        let calls: Vec<(u64, Fault)> = (1..)
            .zip(disk.verbs())
            .flat_map(|(call, verb)| {
                FAULTS.into_iter().filter(move |it| it.1 == verb).map(move |it| (call, it.0))
            })
            .collect();
        let (_, failures) = over_seeds(0..calls.len() as u64, |place| {
            let (call, fault) = calls[place as usize];
            twin.plant();
            let outcome = Life::new(seed).run_with_fault(STEPS, call, fault).map(drop);
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
    for twin in Twin::ALL {
        match caught(twin) {
            Some(how) => println!("{:<22} {how}", format!("{twin:?}")),
            None => missed.push(twin),
        }
    }
    println!("{} of {} planted bugs are caught", Twin::ALL.len() - missed.len(), Twin::ALL.len());
    assert!(missed.is_empty(), "nobody finds {missed:?}");
}
