//! Which mutant is on. This file is added to the copy of the engine that `engine/tests/mutants` makes.
//! `MUTANT=7` switches the seventh on; `MUTANTS_REACHED=path` switches none on, and writes the number of each
//! one that made a difference into that file, at its first time.

use std::{
    env,
    fs::File,
    io::Write,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

const RECORDING: u32 = u32::MAX - 1;
const UNREAD: u32 = u32::MAX;

static ON: AtomicU32 = AtomicU32::new(UNREAD);
static REACHED: [AtomicBool; MUTANTS + 1] = [const { AtomicBool::new(false) }; MUTANTS + 1];
static REPORT: LazyLock<Mutex<File>> = LazyLock::new(|| {
    let path = env::var_os("MUTANTS_REACHED").expect("asked for in `number`");
    Mutex::new(File::options().create(true).append(true).open(path).expect("a file to write to"))
});

/// Whether this mutant is on.
#[inline(always)]
pub fn on(mutant: u32) -> bool {
    let on = ON.load(Relaxed);
    if on < RECORDING { on == mutant } else { on_slowly(mutant) }
}

/// The value of the mutant that is on, or the original one. A mutant whose value is the original's counts
/// as not reached.
#[inline(always)]
pub fn choose<T: PartialEq, const N: usize>(original: T, mutants: [(u32, T); N]) -> T {
    let on = ON.load(Relaxed);
    if on == 0 { original } else { choose_slowly(original, mutants) }
}

#[cold]
fn on_slowly(mutant: u32) -> bool {
    let on = number();
    if on == RECORDING {
        reached(mutant);
    }
    on == mutant
}

fn choose_slowly<T: PartialEq, const N: usize>(original: T, mutants: [(u32, T); N]) -> T {
    let on = number();
    for (mutant, value) in mutants {
        if on == RECORDING && value != original {
            reached(mutant);
        } else if on == mutant {
            return value;
        }
    }
    original
}

#[inline]
fn number() -> u32 {
    let on = ON.load(Relaxed);
    if on != UNREAD {
        return on;
    }
    let on = match env::var("MUTANT") {
        Ok(number) => number.parse().expect("a number"),
        Err(_) if env::var_os("MUTANTS_REACHED").is_some() => RECORDING,
        Err(_) => 0,
    };
    ON.store(on, Relaxed);
    on
}

fn reached(mutant: u32) {
    if !REACHED[mutant as usize].swap(true, Relaxed) {
        let mut report = REPORT.lock().expect("no writer panicked");
        writeln!(report, "{mutant}").expect("room for a line");
    }
}
