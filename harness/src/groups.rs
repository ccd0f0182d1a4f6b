//! What the records of batches are worth as samples. Records of one batch are acknowledged at one
//! moment: a stall that hits the batch hits them all, and a thousand of them may say no more than one.
//!
//! Kish's design effect (Survey Sampling, 1965) tells how much: `n` records in batches of `m` are worth
//! `n / (1 + (m − 1) · ρ)` independent ones. ρ is the part of the variance that lies between batches,
//! from a one-way analysis of variance: 1 where all records of a batch have one latency, near 0 where
//! they differ among themselves as much as batches do, as they do while a batch lingers.

/// Most independent records that a batch is worth: what happens to one batch in a hundred is not seen
/// in twenty batches, however many records they hold.
const MOST_WORTH: u64 = 20;

/// Sums over batches, from which the variance between and within them follows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Groups {
    batches: u64,
    records: f64,
    sum: f64,
    squares: f64,
    /// Sum over batches of (sum of its latencies)² / its records.
    between: f64,
    /// Sum over batches of its records².
    sizes_squared: f64,
}

/// One batch's latencies, as they come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Group {
    records: f64,
    sum: f64,
    squares: f64,
}

impl Group {
    /// `count` records with a latency of `ns`.
    pub fn enter(&mut self, ns: u64, count: u64) {
        let (ns, count) = (ns as f64, count as f64);
        self.records += count;
        self.sum += ns * count;
        self.squares += ns * ns * count;
    }
}

impl Groups {
    /// Adds a batch; one without records is none.
    pub fn add(&mut self, group: Group) {
        if group.records > 0.0 {
            self.batches += 1;
            self.records += group.records;
            self.sum += group.sum;
            self.squares += group.squares;
            self.between += group.sum * group.sum / group.records;
            self.sizes_squared += group.records * group.records;
        }
    }

    /// Adds those of another interval or producer.
    pub fn merge(&mut self, other: &Self) {
        self.batches += other.batches;
        self.records += other.records;
        self.sum += other.sum;
        self.squares += other.squares;
        self.between += other.between;
        self.sizes_squared += other.sizes_squared;
    }

    /// How many independent records these are worth.
    pub fn effective_samples(&self) -> u64 {
        if self.batches == 0 {
            return 0;
        }
        // In the sums, the size of a batch counts as often as the batch has records.
        let size = self.sizes_squared / self.records;
        let worth = self.records / (1.0 + (size - 1.0) * self.correlation());
        (worth as u64).min(self.batches.saturating_mul(MOST_WORTH))
    }

    /// ρ, 0 to 1; 1 where nothing tells.
    fn correlation(&self) -> f64 {
        let (batches, records) = (self.batches as f64, self.records);
        if self.batches < 2 || records <= batches {
            return 1.0;
        }
        let between = (self.between - self.sum * self.sum / records).max(0.0) / (batches - 1.0);
        let within = (self.squares - self.between).max(0.0) / (records - batches);
        let size = (records - self.sizes_squared / records) / (batches - 1.0);
        let all = between + (size - 1.0) * within;
        if all > 0.0 { ((between - within) / all).clamp(0.0, 1.0) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `batches` of `size` records; the latency of record `i` of batch `b` is `of(b, i)`.
    fn groups(batches: u64, size: u64, of: impl Fn(u64, u64) -> u64) -> Groups {
        let mut groups = Groups::default();
        for batch in 0..batches {
            let mut group = Group::default();
            (0..size).for_each(|index| group.enter(of(batch, index), 1));
            groups.add(group);
        }
        groups
    }

    #[test]
    fn records_with_a_batch_each_count_each() {
        assert_eq!(groups(1_000, 1, |batch, _| batch * 1_000).effective_samples(), 1_000);
        assert_eq!(Groups::default().effective_samples(), 0);
    }

    #[test]
    fn a_batch_whose_records_share_one_latency_counts_once() {
        let shared = groups(50, 100, |batch, _| 1_000_000 + batch * 10_000);
        assert_eq!(shared.effective_samples(), 50);
        assert_eq!(groups(1, 500, |_, index| index).effective_samples(), 1, "nothing tells");
    }

    #[test]
    fn records_that_differ_within_their_batch_count_more_but_not_without_limit() {
        // Lingering: each batch has the same spread, 0 to 50 ms.
        let lingering = groups(20, 100, |_, index| index * 500_000);
        assert_eq!(lingering.effective_samples(), 400);
        let mut random = fastrand::Rng::with_seed(7);
        let stalls: Vec<u64> = (0..20).map(|_| random.u64(..200_000_000)).collect();
        let stalled = groups(20, 100, |batch, index| stalls[batch as usize] + index * 500_000);
        assert!((20..40).contains(&stalled.effective_samples()), "{stalled:?}");
    }

    #[test]
    fn parts_make_the_whole() {
        let of = |batch: u64, index| (batch * 7_919) % 1_000 * 1_000 + index * 3_000;
        let whole = groups(200, 10, of);
        let mut parts = groups(120, 10, of);
        parts.merge(&groups(80, 10, |batch, index| of(batch + 120, index)));
        assert_eq!(parts.effective_samples(), whole.effective_samples());
    }
}
