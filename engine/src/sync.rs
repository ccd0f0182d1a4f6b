//! The locks, atomics and threads that the rooms share state with. They come through here so that
//! `tests/schedules` can compile the same sources with others, where a scheduler decides every step;
//! in the engine itself this is nothing but the names. A clone of an `Arc`, a `OnceLock` and a plain
//! counter (`metrics`) stay as they are: nobody waits for them.

pub(crate) use std::{hint::spin_loop, sync::atomic, thread, thread_local};

pub(crate) use arc_swap::ArcSwap;
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
