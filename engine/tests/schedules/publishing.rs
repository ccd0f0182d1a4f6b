//! [`Published`]: the ends of a segment, as the appender shows them to readers.

use crate::{
    explore::{MANY, Scenario},
    published::Published,
    race::Race,
    sync::{
        atomic::{AtomicU64, Ordering},
        thread,
    },
};

const fn scenario(name: &'static str, run: fn(), races: &'static [Race]) -> Scenario {
    Scenario { structure: "published_ends", name, run, schedules: MANY, races }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(
        "the_ends_belong_together",
        the_ends_belong_together,
        &[Race::SequenceNotRechecked, Race::WriteNotShown],
    ),
    scenario(
        "a_truncation_outdates_what_was_read",
        a_truncation_outdates_what_was_read,
        &[Race::ViewNotConfirmed],
    ),
    scenario(
        "what_the_appender_says_goes_before",
        what_the_appender_says_goes_before,
        &[Race::SuggestedBlindly],
    ),
];

/// Each length is seven times its offset, whatever is appended and cut.
fn the_ends_belong_together() {
    let published = Published::new(7, 1);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2 {
                    let view = published.view();
                    assert_eq!(view.len, view.next_offset as u64 * 7, "torn: {view:?}");
                }
            });
        }
        scope.spawn(|| {
            published.appended(21, 3);
            published.truncated(14, 2);
            published.appended(35, 5);
        });
    });
}

/// The last bytes of a file are cut off and written anew.
fn a_truncation_outdates_what_was_read() {
    let published = Published::new(21, 3);
    let last_bytes = AtomicU64::new(0);
    let first = published.view();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let view = published.view();
                if view.len < 21 {
                    return;
                }
                let read = last_bytes.load(Ordering::Relaxed);
                if published.is_current(&view) {
                    let expected = u64::from(!view.has_same_truncations(&first));
                    assert_eq!(read, expected, "not what stood there: {view:?}");
                }
            });
        }
        scope.spawn(|| {
            published.truncated(14, 2);
            last_bytes.store(1, Ordering::Relaxed);
            published.appended(21, 3);
        });
    });
}

/// A reader looks for a sealed segment's largest timestamp while it is opened for append.
fn what_the_appender_says_goes_before() {
    let published = Published::new(21, 3);
    thread::scope(|scope| {
        scope.spawn(|| {
            let view = published.view();
            published.suggest_largest(&view, Some((5, 2)));
        });
        scope.spawn(|| {
            published.set_largest(Some((5, 2)));
            published.appended(28, 4);
            published.set_largest(Some((9, 3)));
        });
    });
    assert_eq!(published.largest(), Some(Some((9, 3))));
}
