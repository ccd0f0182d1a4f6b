use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
    thread,
    time::Duration,
};

use super::*;

/// A waker that counts its calls.
#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn calls(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(count.clone())))
}

fn nobody_waits(watermark: &Watermark) -> bool {
    watermark.line.lock().waiters.is_empty() && watermark.lowest.load(SeqCst) == i64::MAX
}

fn eio() -> IoError {
    IoError::new("sync", "/a", io::Error::from_raw_os_error(5))
}

#[test]
fn it_rises_and_never_falls_but_by_a_reset() {
    let watermark = Watermark::new(5);
    watermark.raise(3);
    assert_eq!(watermark.get(), 5);
    watermark.raise(8);
    watermark.reset(20);
    assert_eq!(watermark.get(), 8, "a reset never raises");
    watermark.reset(6);
    assert_eq!(watermark.get(), 6);
    watermark.raise(i64::MAX);
    assert_eq!(watermark.get(), i64::MAX);
    assert!(watermark.wait_until(i64::MAX, None).unwrap());
}

#[test]
fn only_those_who_are_reached_are_woken() {
    let watermark = Watermark::new(0);
    let counts: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
    let targets = [10, 20, 20, 30];
    let mut waits: Vec<_> = targets.iter().map(|target| watermark.reached(*target)).collect();
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert!(poll(wait, count).is_pending());
    }
    let calls = || counts.iter().map(|count| count.calls()).collect::<Vec<_>>();
    watermark.raise(9);
    assert_eq!(calls(), [0, 0, 0, 0]);
    watermark.raise(20);
    assert_eq!(calls(), [1, 1, 1, 0]);
    for (wait, count) in waits.iter_mut().zip(&counts).take(3) {
        assert!(matches!(poll(wait, count), Poll::Ready(Ok(()))));
    }
    assert!(poll(&mut waits[3], &counts[3]).is_pending());
    watermark.raise(29);
    assert_eq!(calls(), [1, 1, 1, 0]);
    drop(waits);
    assert!(nobody_waits(&watermark), "who gives up leaves the line");
}

/// The number may rise between a waiter's first look and its place in line; nobody would wake it then.
#[test]
fn who_comes_to_the_line_too_late_is_told_at_once() {
    let watermark = Watermark::new(5);
    let waker = Waker::noop();
    assert!(matches!(watermark.enter(6, waker), Ok(Place::InLine(_))));
    for reached in [5, 4] {
        assert!(matches!(watermark.enter(reached, waker), Ok(Place::Outside)));
    }
    watermark.raise(6);
    assert!(nobody_waits(&watermark));
}

#[test]
fn the_last_waker_is_the_one_that_is_called() {
    let watermark = Arc::new(Watermark::new(0));
    let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mut wait = Reached::new(watermark.clone(), 1);
    assert!(poll(&mut wait, &first).is_pending());
    assert!(poll(&mut wait, &second).is_pending());
    watermark.raise(1);
    assert_eq!((first.calls(), second.calls()), (0, 1));
    assert!(matches!(poll(&mut wait, &second), Poll::Ready(Ok(()))));
}

#[test]
fn a_truncation_ends_the_waiting_for_what_it_cut_off() {
    let watermark = Watermark::new(10);
    let counts: [Arc<Count>; 2] = Default::default();
    let (mut below, mut beyond) = (watermark.reached(15), watermark.reached(16));
    assert!(
        poll(&mut below, &counts[0]).is_pending() && poll(&mut beyond, &counts[1]).is_pending()
    );
    watermark.reset(15);
    assert_eq!((watermark.get(), counts[0].calls(), counts[1].calls()), (10, 0, 1));
    watermark.raise(15);
    assert!(matches!(poll(&mut below, &counts[0]), Poll::Ready(Ok(()))));
    assert!(matches!(poll(&mut beyond, &counts[1]), Poll::Ready(Err(WaitError::Truncated))));
    let mut anew = watermark.reached(16);
    assert!(poll(&mut anew, &counts[1]).is_pending(), "who comes later waits for new records");
    watermark.raise(16);
    assert!(matches!(poll(&mut anew, &counts[1]), Poll::Ready(Ok(()))));
}

#[test]
fn what_was_cut_off_is_not_reached_by_what_is_written_anew() {
    let watermark = Watermark::new(10);
    let counts: [Arc<Count>; 2] = Default::default();
    let (mut looks, mut leaves) = (watermark.reached(16), watermark.reached(16));
    assert!(
        poll(&mut looks, &counts[0]).is_pending() && poll(&mut leaves, &counts[1]).is_pending()
    );
    watermark.reset(15);
    watermark.raise(16);
    assert!(matches!(poll(&mut looks, &counts[0]), Poll::Ready(Err(WaitError::Truncated))));
    drop(leaves);
    assert!(watermark.line.lock().cut_off.is_empty(), "who gives up is forgotten");
}

#[test]
fn a_failure_is_told_to_all_who_wait_now_and_later() {
    let watermark = Watermark::new(10);
    let count = Arc::default();
    let mut wait = watermark.reached(11);
    assert!(poll(&mut wait, &count).is_pending());
    watermark.fail(eio());
    watermark.close();
    assert_eq!(count.calls(), 1);
    let Poll::Ready(Err(WaitError::Failed(error))) = poll(&mut wait, &count) else {
        panic!("the first reason stays")
    };
    assert_eq!(error.to_string(), eio().to_string());
    assert!(matches!(watermark.wait_until(12, None), Err(WaitError::Failed(_))));
    assert!(watermark.wait_until(10, None).unwrap(), "what was reached stays reached");
    assert!(nobody_waits(&watermark));

    let closed = Watermark::new(0);
    closed.close();
    assert!(matches!(closed.wait_until(1, None), Err(WaitError::Closed)));
}

#[test]
fn a_deadline_ends_the_waiting() {
    let watermark = Watermark::new(0);
    assert!(!watermark.wait_until(1, Some(Instant::now())).unwrap());
    let soon = Instant::now() + Duration::from_millis(1);
    assert!(!watermark.wait_until(1, Some(soon)).unwrap());
    assert!(nobody_waits(&watermark));
    watermark.raise(1);
    assert!(watermark.wait_until(1, Some(soon)).unwrap(), "reached counts more than the deadline");
}

/// Each side waits for the other's last step: a lost wake-up would stop both for good.
#[test]
fn no_wake_up_is_lost() {
    const STEPS: i64 = 20_000;
    let (ping, pong) = (Watermark::new(0), Watermark::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for step in 1..=STEPS {
                ping.raise(step);
                assert!(pong.wait_until(step, None).unwrap());
            }
        });
        for step in 1..=STEPS {
            assert!(ping.wait_until(step, None).unwrap());
            pong.raise(step);
        }
    });
    assert!(nobody_waits(&ping) && nobody_waits(&pong));
}

/// Two raisers and many waiters, each of which waits for numbers of its own.
#[test]
fn everybody_is_woken_whoever_raises() {
    const LAST: i64 = 3_000;
    let watermark = Watermark::new(0);
    thread::scope(|scope| {
        for waiter in 1..=6 {
            let watermark = &watermark;
            scope.spawn(move || {
                for target in (0..=LAST).step_by(waiter) {
                    assert!(watermark.wait_until(target, None).unwrap());
                    assert!(watermark.get() >= target);
                }
            });
        }
        for raiser in 0..2 {
            let watermark = &watermark;
            scope.spawn(move || {
                for to in (raiser..=LAST).step_by(2) {
                    watermark.raise(to);
                    thread::yield_now();
                }
            });
        }
    });
    assert!(nobody_waits(&watermark));
}
