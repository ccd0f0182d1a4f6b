//! Keys of records: none, uniform, or zipf. Drawn at start-up, so that a key costs nothing to draw
//! while it is measured.

use std::{fmt, str::FromStr};

/// How keys are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// No key: the producer's sticky partitioner chooses.
    None,
    /// Each of the keys as often as any other.
    Uniform,
    /// Few keys are most of the records: the k-th key's share falls as `1 / k^0.99`
    /// ([`ZIPF_EXPONENT`]), as in YCSB.
    Zipf,
}

/// Exponent of the zipf distribution (YCSB's constant).
pub const ZIPF_EXPONENT: f64 = 0.99;
/// Different keys.
pub const KEY_COUNT: u32 = 100_000;
/// Bytes of a key: 16 hexadecimal digits.
pub const KEY_BYTES: usize = 16;
/// Keys drawn before they repeat in the same order.
const DRAWS: usize = 1 << 20;

impl FromStr for KeyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "uniform" => Ok(Self::Uniform),
            "zipf" => Ok(Self::Zipf),
            _ => Err(format!("keys must be none, uniform or zipf, found `{text}`")),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        })
    }
}

/// The keys of a run, shared by its producers.
#[derive(Debug)]
pub struct Keys {
    draws: Vec<u32>,
}

impl Keys {
    /// Draws the keys of `kind` from `seed`.
    pub fn new(kind: KeyKind, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x6b65_7973);
        let draws = match kind {
            KeyKind::None => Vec::new(),
            KeyKind::Uniform => (0..DRAWS).map(|_| random.u32(..KEY_COUNT)).collect(),
            KeyKind::Zipf => {
                let zipf = Zipf::new(KEY_COUNT, ZIPF_EXPONENT);
                (0..DRAWS).map(|_| zipf.sample(&mut random)).collect()
            }
        };
        Self { draws }
    }

    /// Writes record `nth`'s key into `key`. `None` where records have no key.
    pub fn write<'k>(&self, nth: u64, key: &'k mut [u8; KEY_BYTES]) -> Option<&'k [u8]> {
        let draw = *self.draws.get(nth as usize % self.draws.len().max(1))?;
        // An odd multiplier is a bijection: different draws stay different keys.
        let mixed = (u64::from(draw) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (digit, byte) in key.iter_mut().zip((0..KEY_BYTES).rev()) {
            *digit = b"0123456789abcdef"[(mixed >> (byte * 4)) as usize & 15];
        }
        Some(key)
    }
}

/// Samples 0 to n − 1 with probability ∝ 1 / (k + 1)^s, by inversion of the cumulated table.
#[derive(Debug)]
pub struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    /// A distribution over `n` ranks with exponent `s`.
    pub fn new(n: u32, s: f64) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=n)
            .map(|rank| {
                sum += f64::from(rank).powf(-s);
                sum
            })
            .collect();
        Self { cumulated }
    }

    /// Draws a rank; 0 is the most frequent.
    pub fn sample(&self, random: &mut fastrand::Rng) -> u32 {
        let total = self.cumulated.last().copied().unwrap_or_default();
        let point = random.f64() * total;
        let rank = self.cumulated.partition_point(|&sum| sum <= point);
        rank.min(self.cumulated.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn shares(kind: KeyKind, seed: u64) -> Vec<f64> {
        let keys = Keys::new(kind, seed);
        let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
        let mut key = [0; KEY_BYTES];
        for nth in 0..500_000 {
            *counts.entry(keys.write(nth, &mut key).unwrap().to_vec()).or_default() += 1;
        }
        let mut shares: Vec<f64> = counts.values().map(|n| *n as f64 / 500_000.0).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        shares
    }

    #[test]
    fn zipf_keys_have_the_documented_shares() {
        let harmonic: f64 = (1..=KEY_COUNT).map(|k| f64::from(k).powf(-ZIPF_EXPONENT)).sum();
        let shares = shares(KeyKind::Zipf, 1);
        for rank in [1, 2, 10] {
            let expected = f64::from(rank).powf(-ZIPF_EXPONENT) / harmonic;
            let found = shares[rank as usize - 1];
            assert!((found / expected - 1.0).abs() < 0.1, "rank {rank}: {found} of {expected}");
        }
    }

    #[test]
    fn uniform_keys_are_even() {
        let shares = shares(KeyKind::Uniform, 1);
        assert!(shares.len() > 95_000);
        assert!(shares[0] < 25.0 / 500_000.0);
    }

    #[test]
    fn keys_come_from_the_seed_alone() {
        let key = |seed, nth| {
            let mut key = [0; KEY_BYTES];
            Keys::new(KeyKind::Zipf, seed).write(nth, &mut key).map(<[u8]>::to_vec)
        };
        assert_eq!(key(7, 12_345), key(7, 12_345));
        let differing = (0..50).filter(|&nth| key(7, nth) != key(8, nth)).count();
        assert!(differing > 10);
        assert!(key(7, 0).unwrap().iter().all(u8::is_ascii_hexdigit));
        assert_eq!(Keys::new(KeyKind::None, 7).write(0, &mut [0; KEY_BYTES]), None);
    }
}
