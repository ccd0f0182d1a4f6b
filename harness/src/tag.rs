//! What travels with a record to its acknowledgement: when it was due and when it left, in 64 bits,
//! so that a latency costs no allocation and no table.

/// Longest time after the start that a tag can hold, in nanoseconds: 39 hours.
pub const LONGEST_NS: u64 = ((1 << INTENDED_BITS) - 1) << INTENDED_SHIFT;

/// The latest time up to `ns` that a tag holds exactly.
pub fn aligned(ns: u64) -> u64 {
    ns >> INTENDED_SHIFT << INTENDED_SHIFT
}

/// The intended time is kept in units of 128 ns, far below what a clock read costs and jitters.
const INTENDED_SHIFT: u32 = 7;
const INTENDED_BITS: u32 = 40;
/// The delay from intended to actual is a small floating number: 19 bits, shifted by 0 to 31, so
/// that its error is under a 260,000th.
const MANTISSA_BITS: u32 = 19;
const LARGEST_SHIFT: u32 = 31;

/// When a record was due and when it left, in nanoseconds since the run's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// When the schedule wanted it sent.
    pub intended_ns: u64,
    /// When it was given to the engine.
    pub actual_ns: u64,
}

impl Stamps {
    /// Packs both times.
    pub fn pack(self) -> u64 {
        let units = self.intended_ns.min(LONGEST_NS) >> INTENDED_SHIFT;
        let delay = self.actual_ns.saturating_sub(units << INTENDED_SHIFT);
        let shift = (u64::BITS - delay.leading_zeros()).saturating_sub(MANTISSA_BITS);
        let (shift, mantissa) = if shift > LARGEST_SHIFT {
            (LARGEST_SHIFT, (1 << MANTISSA_BITS) - 1)
        } else {
            (shift, delay >> shift)
        };
        units << 24 | u64::from(shift) << MANTISSA_BITS | mantissa
    }

    /// Reads both times back.
    pub fn unpack(tag: u64) -> Self {
        let intended_ns = (tag >> 24) << INTENDED_SHIFT;
        let shift = (tag >> MANTISSA_BITS) & u64::from(LARGEST_SHIFT);
        let delay = (tag & ((1 << MANTISSA_BITS) - 1)) << shift;
        Self { intended_ns, actual_ns: intended_ns + delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_tag() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100_000 {
            let (intended_bits, delay_bits) = (random.u32(1..47), random.u32(1..50));
            let intended_ns = random.u64(..1 << intended_bits);
            let actual_ns = intended_ns + random.u64(..1 << delay_bits);
            let back = Stamps::unpack(Stamps { intended_ns, actual_ns }.pack());
            assert!(intended_ns - back.intended_ns < 128);
            let delay = actual_ns - back.intended_ns;
            let error = actual_ns.abs_diff(back.actual_ns);
            assert!(error <= delay >> 18, "{intended_ns} {actual_ns}: off by {error}");
        }
    }

    #[test]
    fn what_is_too_long_saturates() {
        let back = Stamps::unpack(Stamps { intended_ns: u64::MAX, actual_ns: u64::MAX }.pack());
        assert_eq!(back.intended_ns, LONGEST_NS);
        assert!(back.actual_ns > LONGEST_NS);
        let early = Stamps { intended_ns: 1_000, actual_ns: 0 };
        assert_eq!(Stamps::unpack(early.pack()).actual_ns, 896);
    }
}
