//! `src/sync.rs` over `shuttle`: the same names, with the interfaces of what the engine uses.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, PoisonError},
    time::Duration,
};

pub(crate) use shuttle::{hint::spin_loop, sync::atomic, thread_local};

/// `parking_lot::Mutex`.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a [`Mutex`]; `None` while a condition variable has it.
pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("the guard is here")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("the guard is here")
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `parking_lot::Condvar`. There is no time: a timeout never ends the waiting.
#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().expect("the guard is here");
        guard.0 = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) {
        self.wait(guard);
    }

    pub(crate) fn wait_while<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(&mut *guard) {
            self.wait(guard);
        }
    }

    pub(crate) fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
        _: Duration,
    ) {
        self.wait_while(guard, condition);
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// `arc_swap::ArcSwap`: each load and each store is one step.
#[derive(Debug)]
pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub(crate) fn load(&self) -> Arc<T> {
        self.0.lock().clone()
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        self.load()
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        // The value before is dropped when the lock is free again: its drop may take locks.
        let before = std::mem::replace(&mut *self.0.lock(), value);
        drop(before);
    }
}

/// `std::thread`, with two kinds of [`thread::park`].
pub(crate) mod thread {
    use std::{cell::Cell, sync::Arc, time::Duration};

    pub(crate) use shuttle::thread::{
        Builder, JoinHandle, ScopedJoinHandle, panicking, scope, spawn, yield_now,
    };

    use super::{Condvar, Mutex};

    // Who opens a scope must not wait for anything inside it: shuttle wakes it there when the last of
    // the scope's threads ends, whatever it waits for.

    std::thread_local! {
        static WAKES_EARLY: Cell<bool> = const { Cell::new(false) };
    }
    shuttle::thread_local! {
        static PARKER: Arc<Parker> = Arc::default();
    }

    /// Whether a park may return for no reason, as the standard library's may. Where it may, a lost
    /// wake-up is often made good by luck; where it never does, nobody sees that the look was not taken
    /// again.
    pub(crate) fn parks_wake_early(early: bool) {
        WAKES_EARLY.set(early);
    }

    /// A thread, to be unparked.
    #[derive(Debug, Clone)]
    pub(crate) struct Thread(shuttle::thread::Thread, Arc<Parker>);

    #[derive(Debug, Default)]
    struct Parker {
        token: Mutex<bool>,
        changed: Condvar,
    }

    pub(crate) fn current() -> Thread {
        Thread(shuttle::thread::current(), PARKER.with(Arc::clone))
    }

    impl Thread {
        pub(crate) fn unpark(&self) {
            if WAKES_EARLY.get() {
                self.0.unpark();
            } else {
                *self.1.token.lock() = true;
                self.1.changed.notify_one();
            }
        }
    }

    pub(crate) fn park() {
        if WAKES_EARLY.get() {
            return shuttle::thread::park();
        }
        let parker = PARKER.with(Arc::clone);
        let mut token = parker.token.lock();
        while !*token {
            parker.changed.wait(&mut token);
        }
        *token = false;
    }

    /// There is no time: only [`Thread::unpark`] ends it.
    pub(crate) fn park_timeout(_: Duration) {
        park();
    }
}
