//! What rests on weaker orderings than the strongest: the published ends of a segment and its index
//! entries, both read without a lock. Their sources are compiled once more with the atomics of `loom`,
//! which goes through all orders in which a thread may see another's steps (C11, with one exception:
//! an access that is `SeqCst` counts as acquire and release only). Planted races, again, must be found.
//!
//! What needs the one order of `SeqCst` would be refused here without need: `commit/watermark.rs` is the
//! business of `tests/schedules`.

// Some of the sources are not used here, and nothing of them is another crate's business.
#![allow(dead_code, unreachable_pub, unused_imports)]

use std::{
    panic,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use libtest_mimic::{Arguments, Failed, Trial};
use loom::{
    model::Builder,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};
use trunkline::types;

macro_rules! race {
    ($name:ident) => {
        crate::race::is_planted(crate::race::Race::$name)
    };
}

#[path = "../../src/segment/entries.rs"]
mod entries;
#[path = "../../src/segment/published.rs"]
mod published;
#[path = "../schedules/race.rs"]
mod race;

use entries::Entries;
use published::Published;
use race::Race;

/// `src/sync.rs` over `loom`, as far as it is needed.
mod sync {
    pub(crate) use loom::{
        hint::spin_loop,
        sync::{MutexGuard, atomic},
    };

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

/// What two threads do together, and the races that it must find.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    run: fn(),
    races: &'static [Race],
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the_ends_belong_together",
        run: the_ends_belong_together,
        races: &[
            Race::WriteNotFenced,
            Race::LookNotFenced,
            Race::SequenceNotRechecked,
            Race::WriteNotShown,
        ],
    },
    Scenario {
        name: "a_truncation_outdates_what_was_read",
        run: a_truncation_outdates_what_was_read,
        races: &[Race::CutNotFenced, Race::ReadNotFenced, Race::ViewNotConfirmed],
    },
    Scenario {
        name: "an_end_says_what_was_written_before",
        run: an_end_says_what_was_written_before,
        races: &[Race::WriteNotFenced],
    },
    Scenario {
        name: "an_entry_is_whole",
        run: an_entry_is_whole,
        races: &[Race::EntryNotReleased],
    },
];

/// How often a thread is interrupted where it could go on, unless `LOOM_MAX_PREEMPTIONS` says it; all
/// that is known to go wrong needs fewer.
const PREEMPTIONS: usize = 3;

static FIGURES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // The panic of a race that was caught is no news.
        if !race::is_any_planted() {
            hook(info);
        }
    }));
    let mut trials = Vec::new();
    for scenario in SCENARIOS.iter().copied() {
        let name = scenario.name;
        trials.push(Trial::test(name, move || {
            let (ran, result) = explore(&scenario);
            if let Err(panic) = result {
                panic::resume_unwind(panic);
            }
            note(format!("{name}: {ran} executions"));
            Ok(())
        }));
        for race in scenario.races {
            trials.push(Trial::test(format!("{name}::{race:?}"), move || hunt(&scenario, *race)));
        }
    }
    let listed: Vec<Race> = SCENARIOS.iter().flat_map(|it| it.races).copied().collect();
    trials.push(Trial::test("each_race_has_its_scenario", move || {
        assert!(Race::OF_ORDERINGS.iter().all(|race| listed.contains(race)));
        Ok(())
    }));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    let mut figures = FIGURES.lock().unwrap().clone();
    figures.sort();
    for line in &figures {
        println!("{line}");
    }
    println!(
        "{} planted races are caught",
        figures.iter().filter(|it| it.contains("caught")).count()
    );
    conclusion.exit_code()
}

fn note(line: String) {
    FIGURES.lock().unwrap().push(line);
}

/// How many executions there were, and how they ended.
fn explore(scenario: &Scenario) -> (usize, std::thread::Result<()>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let (run, count) = (scenario.run, ran.clone());
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
    let result = panic::catch_unwind(|| {
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            run();
        });
    });
    (ran.load(Ordering::Relaxed), result)
}

fn hunt(scenario: &Scenario, race: Race) -> Result<(), Failed> {
    race::plant(Some(race));
    let (ran, result) = explore(scenario);
    race::plant(None);
    let name = scenario.name;
    if result.is_ok() {
        return Err(format!("{race:?} was not found in {ran} executions of {name}").into());
    }
    note(format!("{name}: {race:?} caught by execution {ran}"));
    Ok(())
}

/// Each length is seven times its offset, whatever is appended and cut.
fn the_ends_belong_together() {
    let published = Arc::new(Published::new(7, 1));
    let reads = published.clone();
    let reader = thread::spawn(move || {
        let view = reads.view();
        assert_eq!(view.len, view.next_offset as u64 * 7, "torn: {view:?}");
    });
    published.appended(21, 3);
    published.truncated(14, 2);
    reader.join().unwrap();
}

/// The last bytes of a file are cut off and written anew.
fn a_truncation_outdates_what_was_read() {
    let published = Arc::new(Published::new(21, 3));
    let last_bytes = Arc::new(AtomicU64::new(0));
    let (reads, its_bytes) = (published.clone(), last_bytes.clone());
    let reader = thread::spawn(move || {
        let view = reads.view();
        if view.len == 21 {
            let read = its_bytes.load(Relaxed);
            assert!(!reads.is_current(&view) || read == 0, "not what stood there: {view:?}");
        }
    });
    published.truncated(14, 2);
    last_bytes.store(1, Relaxed);
    reader.join().unwrap();
}

/// Who sees an end, by any way, sees the bytes before it.
fn an_end_says_what_was_written_before() {
    let published = Arc::new(Published::new(7, 1));
    let bytes = Arc::new(AtomicU64::new(0));
    let (reads, its_bytes) = (published.clone(), bytes.clone());
    let reader = thread::spawn(move || {
        if reads.next_offset() == 3 || reads.view().next_offset == 3 {
            assert_eq!(its_bytes.load(Relaxed), 1, "an end before its bytes");
        }
    });
    bytes.store(1, Relaxed);
    published.appended(21, 3);
    reader.join().unwrap();
}

/// Who sees that there is an entry sees its words.
fn an_entry_is_whole() {
    let entries = Arc::new(Entries::<2>::new());
    entries.push([1, 10]);
    let reads = entries.clone();
    let reader = thread::spawn(move || {
        let last = reads.last().expect("one was there before");
        assert!(last == [1, 10] || last == [2, 20], "torn: {last:?}");
    });
    entries.push([2, 20]);
    reader.join().unwrap();
}
