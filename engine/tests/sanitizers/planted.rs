//! Bugs that the sanitizers must report, or their silence elsewhere says nothing. The only unsafe code
//! of the tests: safe code has no such bugs.
#![expect(unsafe_code, reason = "what safe code cannot do is what the sanitizers look for")]

use std::{
    cell::UnsafeCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A number that claims to be shared safely, and is not.
#[derive(Debug, Default)]
struct Unguarded(UnsafeCell<i64>);

// SAFETY: planted: nothing orders the accesses, which is what must be reported.
unsafe impl Sync for Unguarded {}

impl Unguarded {
    fn add(&self, more: i64) -> i64 {
        // SAFETY: planted: another thread may be here too. The number itself is always valid.
        unsafe {
            *self.0.get() += more;
            *self.0.get()
        }
    }
}

/// For ThreadSanitizer.
mod races {
    use trunkline::{
        Engine, EngineOptions, ProducerOptions, ProducerRecord, TopicConfig, clock::Clock,
    };

    use super::*;

    /// Called by the engine's own threads and its user's, with all of the engine on the stack.
    #[derive(Debug, Default)]
    struct UnorderedClock(Unguarded);

    impl Clock for UnorderedClock {
        fn wall_ms(&self) -> i64 {
            1_800_000_000_000 + self.0.add(1)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.add(1) as u64)
        }
    }

    #[test]
    #[ignore = "planted: run.sh runs it"]
    fn unordered_clock_in_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(UnorderedClock::default());
        let engine = Engine::open(EngineOptions::new(folder.path()).clock(clock)).unwrap();
        let topic = engine.create_topic("planted", 1, TopicConfig::default()).unwrap();
        let producer = engine.producer(ProducerOptions::default()).unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let record = ProducerRecord::of_value(b"x");
                        producer.send(&topic, &record).unwrap().wait().unwrap();
                    }
                });
            }
        });
    }

    /// Published without Release: as an io_uring completion that is passed on carelessly.
    #[test]
    #[ignore = "planted: run.sh runs it"]
    fn relaxed_flag() {
        let (number, flag, over) = (Unguarded::default(), Flag::default(), Flag::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                number.add(1);
                flag.raise();
                over.wait();
            });
            flag.wait();
            number.add(1);
            over.raise();
        });
    }

    /// Taken down without Release: the last owner does not see what the others did. With Release it
    /// passes, as an `Arc` does (`std_orderings.c`).
    #[test]
    #[ignore = "planted: run.sh runs it"]
    fn relaxed_count() {
        let (number, owners) = (Unguarded::default(), AtomicUsize::new(2));
        let (left, over) = (Flag::default(), Flag::default());
        let leave = || {
            if owners.fetch_sub(1, Ordering::Relaxed) == 1 {
                number.add(1);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                number.add(1);
                leave();
                left.raise();
                over.wait();
            });
            left.wait();
            leave();
            over.raise();
        });
    }

    /// A `OnceLock` orders what was before it was set, and nothing later.
    #[test]
    #[ignore = "planted: run.sh runs it"]
    fn write_to_what_a_once_lock_holds() {
        let once = OnceLock::<Arc<Unguarded>>::new();
        let (added, over) = (Flag::default(), Flag::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                once.get_or_init(Arc::default).add(1);
                added.raise();
                over.wait();
            });
            added.wait();
            once.get_or_init(Arc::default).add(1);
            over.raise();
        });
    }

    /// Orders nothing. A thread is kept by it until the other is through: of one that has ended,
    /// ThreadSanitizer may have forgotten what it did.
    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Flag {
        fn raise(&self) {
            self.0.store(true, Ordering::Relaxed);
        }

        fn wait(&self) {
            while !self.0.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        }
    }
}

/// For AddressSanitizer.
mod errors {
    #[test]
    #[ignore = "planted: run.sh runs it"]
    fn read_past_the_end() {
        let bytes = std::hint::black_box(vec![7_u8; 100]);
        // SAFETY: planted: byte 100 is not the vector's.
        std::hint::black_box(unsafe { *bytes.as_ptr().add(100) });
    }

    #[test]
    #[ignore = "planted: run.sh runs it"]
    fn read_after_free() {
        let bytes = std::hint::black_box(vec![7_u8; 100]);
        let first = bytes.as_ptr();
        drop(bytes);
        // SAFETY: planted: the vector is gone.
        std::hint::black_box(unsafe { *first });
    }

    #[test]
    #[ignore = "planted: run.sh runs it"]
    fn leak() {
        std::mem::forget(std::hint::black_box(vec![7_u8; 100]));
    }
}
