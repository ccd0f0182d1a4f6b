//! [`Watermark`]: a number that rises, and those who wait for it.

use std::{io, pin::pin, sync::Arc, task::Context};

use crate::{
    commit::{Reached, WaitError, Watermark, thread_waker, wait_for},
    error::IoError,
    explore::{MANY, Scenario},
    race::Race,
    sync::thread,
};

const fn scenario(name: &'static str, run: fn(), races: &'static [Race]) -> Scenario {
    Scenario { structure: "watermark", name, run, schedules: MANY, races }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        "no_wake_up_is_lost",
        no_wake_up_is_lost,
        &[Race::LowestBeforeNumber, Race::NumberBeforeLowest],
    ),
    scenario(
        "who_gives_up_takes_nobody_along",
        who_gives_up_takes_nobody_along,
        &[Race::LeaveForgetsOthers],
    ),
    scenario("a_reset_is_told", a_reset_is_told, &[Race::ResetTellsNobody]),
    scenario("an_end_is_told", an_end_is_told, &[Race::EndTellsNobody]),
    scenario("what_was_reached_stays_reached", what_was_reached_stays_reached, &[]),
];

/// Two who wait for numbers of their own, and two who raise.
fn no_wake_up_is_lost() {
    let watermark = Arc::new(Watermark::new(0));
    thread::scope(|scope| {
        for targets in [[1, 3], [2, 3]] {
            let watermark = watermark.clone();
            scope.spawn(move || {
                for target in targets {
                    assert!(watermark.wait_until(target, None).unwrap());
                    assert!(watermark.get() >= target);
                }
            });
        }
        for to in [[1, 3], [2, 1]] {
            let watermark = watermark.clone();
            scope.spawn(move || to.map(|to| watermark.raise(to)));
        }
    });
    assert_eq!(watermark.get(), 3);
}

/// One stands in line and leaves it unserved; another waits for more.
fn who_gives_up_takes_nobody_along() {
    let watermark = Arc::new(Watermark::new(0));
    thread::scope(|scope| {
        let (leaves, waits) = (watermark.clone(), watermark.clone());
        scope.spawn(move || {
            let mut reached = pin!(Reached::new(leaves, 1));
            let waker = thread_waker();
            // Perhaps it is reached already; either way nobody waits for the answer.
            let _ = reached.as_mut().poll(&mut Context::from_waker(&waker));
        });
        scope.spawn(move || assert!(waits.wait_until(2, None).unwrap()));
        scope.spawn(|| {
            watermark.raise(1);
            watermark.raise(2);
        });
    });
}

/// Two stand in line when a truncation comes between their numbers; the number rises to both, for
/// other records, perhaps before they look again. A third may come at any time.
fn a_reset_is_told() {
    let watermark = Arc::new(Watermark::new(0));
    let waker = thread_waker();
    let [mut below, mut beyond] = [5, 7].map(|target| Reached::new(watermark.clone(), target));
    for reached in [&mut below, &mut beyond] {
        assert!(pin!(reached).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            watermark.reset(5);
            assert_eq!(watermark.get(), 0);
            watermark.raise(7);
        });
        scope.spawn(|| match watermark.wait_until(6, None) {
            Ok(true) | Err(WaitError::Truncated) => {}
            other => panic!("{other:?}"),
        });
        scope.spawn(move || {
            let below = wait_for(below, None).unwrap();
            assert!(below.is_ok(), "what stays was called cut off: {below:?}");
            let beyond = wait_for(beyond, None).unwrap();
            assert!(matches!(beyond, Err(WaitError::Truncated)), "cut off, and called {beyond:?}");
        });
    });
}

/// The number rises once and then no more.
fn an_end_is_told() {
    let watermark = Arc::new(Watermark::new(0));
    thread::scope(|scope| {
        for target in [1, 2] {
            let watermark = watermark.clone();
            scope.spawn(move || match watermark.wait_until(target, None) {
                Ok(reached) => assert!(reached && target == 1),
                Err(WaitError::Failed(error)) => assert!(error.to_string().contains("sync")),
                Err(other) => panic!("{target}: {other}"),
            });
        }
        let watermark = watermark.clone();
        scope.spawn(move || {
            watermark.raise(1);
            watermark.fail(IoError::new("sync", "/a", io::Error::from_raw_os_error(5)));
        });
    });
}

/// An end is for numbers that are not reached yet, whoever asks when.
fn what_was_reached_stays_reached() {
    let watermark = Arc::new(Watermark::new(0));
    thread::scope(|scope| {
        let waits = watermark.clone();
        scope.spawn(move || assert!(matches!(waits.wait_until(1, None), Ok(true))));
        scope.spawn(|| {
            watermark.raise(1);
            watermark.close();
        });
    });
}
