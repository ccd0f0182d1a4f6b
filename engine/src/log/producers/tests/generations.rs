//! An append is applied to the state that it was checked on, or not at all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

type Change = fn(&mut ProducerStates);

/// Whether an append that was begun before `change` is refused after it.
fn is_outdated_by(change: Change) -> bool {
    let mut states = ProducerStates::new(0);
    send(&mut states, &batch(0, 0, 1)).unwrap();
    let begun = states.begin(Origin::Client);
    change(&mut states);
    let end = states.end_offset();
    catch_unwind(AssertUnwindSafe(|| states.apply(begun, end, || 0))).is_err()
}

#[test]
fn every_change_of_the_state_outdates_what_was_checked_before() {
    assert!(!is_outdated_by(|_| {}));
    assert!(is_outdated_by(|states| {
        send(states, &batch(0, 1, 1)).unwrap();
    }));
    // What was idle for 9 of 10 ms stays.
    assert!(!is_outdated_by(|states| assert_eq!(states.expire(9, 10), 0)));
    assert!(is_outdated_by(|states| assert_eq!(states.expire(10, 10), 1)));
    assert!(is_outdated_by(|states| {
        send(states, &batch(0, 1, 1)).unwrap();
        assert_eq!(states.expire(10, 10), 1);
    }));
    // Records before the log start are gone, and so are those that were to come.
    assert!(!is_outdated_by(|states| states.log_start_moved(1)));
    assert!(is_outdated_by(|states| {
        states.log_start_moved(50);
        assert_eq!(states.end_offset(), 50);
    }));
}

#[test]
fn a_state_without_producers_is_empty() {
    let mut states = ProducerStates::new(0);
    assert!(states.is_empty());
    send(&mut states, &batch(0, 0, 1)).unwrap();
    assert!(!states.is_empty());
}
