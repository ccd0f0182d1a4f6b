//! Blocking form of a future: the thread parks until its waker is called or a deadline is over.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use crate::sync::{
    thread::{self, Thread},
    thread_local,
};

/// Drives `future` on this thread. `None` when `deadline` passed first; the future is then dropped,
/// which takes it out of every line it waits in.
pub fn wait_for<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = thread_waker();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        if !park_until(deadline) {
            return None;
        }
    }
}

/// Parks this thread until [`thread_waker`] is called or `deadline` is over; `false`: it is over.
/// May return early for no reason, as `std::thread::park`: look again at what was waited for.
pub fn park_until(deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        thread::park();
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    thread::park_timeout(left);
    true
}

/// A waker that ends this thread's [`park_until`]. A wake that comes before the park is not lost.
pub fn thread_waker() -> Waker {
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    WAKER.with(Waker::clone)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
