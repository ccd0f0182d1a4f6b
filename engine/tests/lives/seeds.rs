//! Many lives, on all cores, and what is said of those that went wrong.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs a life for each seed. Gives what those gave that went well, and why the others did not.
pub(crate) fn over_seeds<T: Send>(
    seeds: std::ops::Range<u64>,
    life: impl Fn(u64) -> Result<T, String> + Sync,
) -> (Vec<T>, Vec<(u64, String)>) {
    let next = AtomicU64::new(seeds.start);
    let results = Mutex::new((Vec::new(), Vec::new()));
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = catch_unwind(AssertUnwindSafe(|| life(seed)));
                    let outcome = outcome.unwrap_or_else(|panic| Err(words_of(&*panic)));
                    let mut results = results.lock().unwrap();
                    match outcome {
                        Ok(outcome) => results.0.push(outcome),
                        Err(failure) => results.1.push((seed, failure)),
                    }
                }
            });
        }
    });
    let (went_well, mut failures) = results.into_inner().unwrap();
    failures.sort();
    (went_well, failures)
}

fn words_of(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without words"))
}

pub(crate) fn shown(failures: &[(u64, String)]) -> String {
    let lines: Vec<_> =
        failures.iter().take(20).map(|(seed, what)| format!("  seed {seed}: {what}")).collect();
    lines.join("\n")
}
