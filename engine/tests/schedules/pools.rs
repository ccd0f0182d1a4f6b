//! [`Pool`]: bytes that are taken and given back, first come, first served.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    commit::{thread_waker, wait_for},
    explore::{MANY, Scenario},
    pool::{Pool, PoolClosed, Room, Take},
    race::Race,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        thread,
    },
};

const fn scenario(name: &'static str, run: fn(), races: &'static [Race]) -> Scenario {
    Scenario { structure: "buffer_pool", name, run, schedules: MANY, races }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("never_more_than_there_is", never_more_than_there_is, &[Race::TakenTwice]),
    scenario("nobody_overtakes", nobody_overtakes, &[Race::LineOvertaken]),
    scenario(
        "who_gives_up_lets_others_through",
        who_gives_up_lets_others_through,
        &[Race::DropServesNobody],
    ),
    scenario(
        "who_gives_up_late_gives_back",
        who_gives_up_late_gives_back,
        &[Race::ServedBytesKept],
    ),
    scenario("a_close_is_told", a_close_is_told, &[Race::CloseTellsNobody]),
];

fn poll(take: &mut Take) -> Poll<Result<Room, PoolClosed>> {
    Pin::new(take).poll(&mut Context::from_waker(&thread_waker()))
}

/// Three take and give back, each of them twice.
fn never_more_than_there_is() {
    const TOTAL: usize = 4;
    let pool = Pool::new(TOTAL, 2);
    let held = AtomicUsize::new(0);
    thread::scope(|scope| {
        for sizes in [[1, 4], [3, 2], [2, 3]] {
            let (pool, held) = (&pool, &held);
            scope.spawn(move || {
                for bytes in sizes {
                    let room = wait_for(pool.take(bytes), None).unwrap().unwrap();
                    let now = held.fetch_add(room.bytes(), Ordering::SeqCst) + room.bytes();
                    assert!(now <= TOTAL, "{now} of {TOTAL} bytes are taken");
                    held.fetch_sub(room.bytes(), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!((pool.available(), pool.waiting()), (TOTAL, 0));
}

/// One waits for all bytes; two come later and want little, by either way in.
fn nobody_overtakes() {
    let pool = Pool::new(3, 1);
    let held = [1, 2].map(|bytes| pool.try_take(bytes).unwrap());
    let mut all = pool.take(3);
    assert!(poll(&mut all).is_pending());
    let had_all = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let room = wait_for(pool.take(1), None).unwrap().unwrap();
            assert!(had_all.load(Ordering::SeqCst), "overtook who waits for {} more", room.bytes());
        });
        scope.spawn(|| {
            if pool.try_take(1).is_some() {
                assert!(had_all.load(Ordering::SeqCst), "overtook who waits");
            }
        });
        scope.spawn(|| drop(held));
        scope.spawn(|| {
            let room = wait_for(all, None).unwrap().unwrap();
            had_all.store(true, Ordering::SeqCst);
            drop(room);
        });
    });
    assert_eq!((pool.available(), pool.waiting()), (3, 0));
}

/// One stands in line and gives up; another stands behind, for whom there is enough.
fn who_gives_up_lets_others_through() {
    let pool = Pool::new(3, 1);
    let (one, two) = (pool.try_take(1).unwrap(), pool.try_take(2).unwrap());
    let mut gives_up = pool.take(3);
    assert!(poll(&mut gives_up).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| drop(one));
        scope.spawn(|| drop(gives_up));
        scope.spawn(|| {
            drop(wait_for(pool.take(1), None).unwrap().unwrap());
            drop(two);
        });
    });
    assert_eq!((pool.available(), pool.waiting()), (3, 0));
}

/// One is served, perhaps, and gives up before it knows.
fn who_gives_up_late_gives_back() {
    let pool = Pool::new(3, 1);
    let held = pool.try_take(3).unwrap();
    let mut gives_up = pool.take(3);
    assert!(poll(&mut gives_up).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| drop(held));
        scope.spawn(|| drop(gives_up));
        scope.spawn(|| drop(wait_for(pool.take(2), None).unwrap().unwrap()));
    });
    assert_eq!((pool.available(), pool.waiting()), (3, 0));
}

/// Two wait when the pool is closed, or come then; one may be served before.
fn a_close_is_told() {
    let pool = Pool::new(2, 1);
    let held = pool.try_take(2).unwrap();
    thread::scope(|scope| {
        for bytes in [1, 2] {
            let pool = &pool;
            scope.spawn(move || wait_for(pool.take(bytes), None).unwrap().map(drop));
        }
        scope.spawn(|| {
            pool.close();
            assert!(pool.try_take(1).is_none());
        });
    });
    drop(held);
    assert_eq!((pool.available(), pool.waiting()), (2, 0));
}
