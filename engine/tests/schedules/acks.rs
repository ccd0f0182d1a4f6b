//! [`Ack`] and [`Promise`]: the fate of a batch, and those who wait for it.

use crate::{
    SendError,
    ack::{Ack, Promise},
    explore::{MANY, Scenario},
    race::Race,
    sync::thread,
};

const fn scenario(name: &'static str, run: fn(), races: &'static [Race]) -> Scenario {
    Scenario { structure: "acknowledgements", name, run, schedules: MANY, races }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        "everybody_hears_of_the_batch",
        everybody_hears_of_the_batch,
        &[Race::FateNotLookedAt],
    ),
    scenario("a_split_is_followed", a_split_is_followed, &[Race::FateNotLookedAt]),
];

/// Two threads wait for three records of one batch.
fn everybody_hears_of_the_batch() {
    let mut promise = Promise::new(4);
    let acks = [0, 1, 2].map(|index| Ack::new(promise.fate(), index, 0));
    let twin = acks[1].clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (ack, offset) in acks.into_iter().zip(100..) {
                assert_eq!(ack.wait().unwrap().offset, Some(offset));
            }
        });
        scope.spawn(move || assert_eq!(twin.wait().unwrap().offset, Some(101)));
        scope.spawn(move || promise.accept(Some(100), None));
    });
}

/// The batch goes on as two, of which one is lost.
fn a_split_is_followed() {
    let mut promise = Promise::new(4);
    let acks = [0, 1, 2].map(|index| Ack::new(promise.fate(), index, 0));
    thread::scope(|scope| {
        for (ack, expected) in acks.into_iter().zip([Some(7), None, None]) {
            scope.spawn(move || match ack.wait() {
                Ok(placed) => assert_eq!(placed.offset, expected),
                Err(error) => assert!(expected.is_none() && matches!(error, SendError::Stopped)),
            });
        }
        scope.spawn(move || {
            let mut parts = promise.split(&[0, 1]);
            drop(parts.pop());
            parts[0].accept(Some(7), None);
        });
    });
}
