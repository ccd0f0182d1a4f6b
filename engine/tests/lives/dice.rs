//! What is drawn in a life: by a seed, or, for a fuzzer, from bytes.

use std::ops::{Bound, RangeBounds};

use fastrand::Rng;

/// Where draws come from.
#[derive(Debug, Clone)]
pub(crate) enum Dice {
    /// A seed: the same draws each time, without end.
    Seeded(Rng),
    /// Bytes, the last one first; zeros once they are spent.
    Bytes(Vec<u8>),
}

/// Draws of one type of number.
macro_rules! draws {
    ($($name:ident),*) => {$(
        pub(crate) fn $name(&mut self, range: impl RangeBounds<$name>) -> $name {
            match self {
                Self::Seeded(rng) => rng.$name(range),
                Self::Bytes(bytes) => {
                    let low = match range.start_bound() {
                        Bound::Included(low) => *low as i128,
                        Bound::Excluded(low) => *low as i128 + 1,
                        Bound::Unbounded => $name::MIN as i128,
                    };
                    let high = match range.end_bound() {
                        Bound::Included(high) => *high as i128,
                        Bound::Excluded(high) => *high as i128 - 1,
                        Bound::Unbounded => $name::MAX as i128,
                    };
                    assert!(low <= high, "an empty range");
                    (low + take(bytes, high - low) % (high - low + 1)) as $name
                }
            }
        }
    )*};
}

impl Dice {
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self::Seeded(Rng::with_seed(seed))
    }

    draws!(u8, u32, u64, usize, i32, i64);

    pub(crate) fn bool(&mut self) -> bool {
        match self {
            Self::Seeded(rng) => rng.bool(),
            Self::Bytes(_) => self.u8(..2) == 1,
        }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Seeded(rng) => rng.fill(bytes),
            Self::Bytes(_) => bytes.fill(self.u8(..)),
        }
    }

    /// Whether nothing is left to draw from.
    pub(crate) fn is_spent(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }
}

/// As many bytes as numbers up to `span` need.
fn take(bytes: &mut Vec<u8>, span: i128) -> i128 {
    let (mut drawn, mut reach) = (0_i128, 0_i128);
    while reach < span {
        drawn = drawn << 8 | i128::from(bytes.pop().unwrap_or(0));
        reach = reach << 8 | 0xFF;
    }
    drawn
}

#[test]
fn bytes_are_drawn_within_the_range_and_lives_of_them_go_well() {
    let mut seeded = Rng::with_seed(5);
    for _ in 0..200 {
        let mut bytes = vec![0; seeded.usize(..400)];
        seeded.fill(&mut bytes);
        let mut dice = Dice::Bytes(bytes.clone());
        for _ in 0..50 {
            assert!((-3..9).contains(&dice.i64(-3..9)));
            assert!(dice.usize(..=3) <= 3);
            assert_eq!(dice.u8(7..=7), 7);
        }
        crate::life::Life::drawn(Dice::Bytes(bytes)).run(2).unwrap();
    }
    let mut dice = Dice::Bytes(vec![2, 1]);
    assert_eq!((dice.u32(..256), dice.is_spent()), (1, false));
    assert_eq!((dice.u64(..), dice.is_spent()), (2 << 56, true));
}
