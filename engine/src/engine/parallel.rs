//! The same work on many things by a few threads.

use std::num::NonZero;

use crate::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
    thread,
};

/// The machine's cores, as far as this process may use them.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` on every item, on at most `threads` threads, and gives the results in the items' order.
/// One thread is the caller's own: no thread is made, and the order of the work is that of the items.
pub(super) fn in_parallel<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let places: Vec<_> = items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let item = place.lock().0.take();
            let result = item.map(&work);
            place.lock().1 = result;
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    places.into_iter().filter_map(|place| place.into_inner().1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for threads in [0, 1, 3, 100] {
            let items: Vec<u64> = (0..50).collect();
            let squares = in_parallel(threads, items.clone(), |n| n * n);
            assert_eq!(squares, items.iter().map(|n| n * n).collect::<Vec<_>>());
        }
        assert!(in_parallel(4, Vec::<u8>::new(), |n| n).is_empty());
    }
}
