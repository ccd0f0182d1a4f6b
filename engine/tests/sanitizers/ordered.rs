//! What the standard library orders, and ThreadSanitizer knows only by `std_orderings.c` and
//! `thread.supp`: it must let this pass.

use std::{
    sync::{Arc, OnceLock, mpsc},
    thread,
};

const ROUNDS: usize = 50;

#[test]
fn the_last_owner_frees_what_others_have_read() {
    for _ in 0..ROUNDS {
        let shared = Arc::new(vec![1_u64; 100]);
        let owners = (0..3).map(|_| shared.clone()).collect::<Vec<_>>();
        let sum = |owner: Arc<Vec<u64>>| move || assert_eq!(owner.iter().sum::<u64>(), 100);
        let threads: Vec<_> = owners.into_iter().map(|owner| thread::spawn(sum(owner))).collect();
        drop(shared);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_once_lock_shows_what_was_done_before_it_was_set() {
    for _ in 0..ROUNDS {
        let once = OnceLock::<Vec<Box<u64>>>::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let numbers = (0..10).map(Box::new).collect();
                once.set(numbers).unwrap();
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let numbers = loop {
                        match once.get() {
                            Some(numbers) => break numbers,
                            None => thread::yield_now(),
                        }
                    };
                    assert_eq!(numbers.iter().map(|number| **number).sum::<u64>(), 45);
                });
            }
        });
    }
}

#[test]
fn a_scope_ends_behind_what_its_threads_did() {
    for _ in 0..ROUNDS {
        let mut numbers = [0_u64; 3];
        thread::scope(|scope| {
            for number in &mut numbers {
                scope.spawn(|| *number += 1);
            }
        });
        numbers[1] += 1;
        assert_eq!(numbers, [1, 2, 1]);
    }
}

#[test]
fn a_channel_hands_over_what_it_carries() {
    let (sender, receiver) = mpsc::channel::<Box<usize>>();
    thread::scope(|scope| {
        for _ in 0..3 {
            let sender = sender.clone();
            scope.spawn(move || {
                for number in 0..ROUNDS {
                    sender.send(Box::new(number)).unwrap();
                    thread::yield_now();
                }
            });
        }
        drop(sender);
        let sum: usize = receiver.iter().map(|number| *number).sum();
        assert_eq!(sum, 3 * ROUNDS * (ROUNDS - 1) / 2);
    });
}
