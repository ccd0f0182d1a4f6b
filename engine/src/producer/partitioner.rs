//! Which partition a record goes to: the one that is named, murmur2 of its key, or the sticky one.
//!
//! Sticky, as KIP-794 ("uniform sticky partitioner"; Kafka: `BuiltInPartitioner`): records without
//! a key stay on one partition until `batch.size` bytes went to it, and then go to another, drawn at
//! random with weights that fall with the length of a partition's queue. Counting bytes, not
//! batches, keeps the shares equal when some partitions are slow and their batches grow. A partition
//! that refuses appends is left at once and not drawn, as one without a leader in Kafka.

use crate::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

/// Partition of a record with this key, among `partitions`; Kafka's, for every byte string.
///
/// # Panics
/// Where there is no partition.
#[inline]
pub fn partition_for_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7FFF_FFFF) % partitions
}

/// Murmur2 with 32 bits and Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
#[inline]
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_B28C;
    const MULTIPLIER: u32 = 0x5BD1_E995;
    const SHIFT: u32 = 24;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let word = word.wrapping_mul(MULTIPLIER);
        let word = (word ^ (word >> SHIFT)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ word;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// Partitions that one weighted draw looks at. Of a topic with more, a window of so many is drawn
/// first, each with the same chance, so that a switch has a bounded cost.
const WEIGHED: usize = 1024;

/// What a draw knows of a partition.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Batches that are not decided yet.
    pub(super) queued: AtomicU32,
    /// The partition refuses appends.
    down: AtomicBool,
}

impl Load {
    /// Whether the partition refuses appends.
    #[inline]
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Whether it refuses appends from now on; gives what was before.
    pub(super) fn set_down(&self, down: bool) -> bool {
        self.down.swap(down, Ordering::Relaxed)
    }
}

/// The sticky partition of one topic, shared by all threads of a producer.
#[derive(Debug)]
pub(super) struct Sticky {
    /// Number of switches so far and the partition of now, in one word: whoever chose before a
    /// switch finds another word.
    current: AtomicU64,
    /// Bytes that went to the current partition. Touched only by whoever holds the lock of that
    /// partition's queue and found its choice current: plain loads and stores suffice.
    produced: AtomicUsize,
    batch_bytes: usize,
    random: Mutex<fastrand::Rng>,
}

/// A look at the sticky partition; to be confirmed under the lock of that partition's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice(u64);

impl Choice {
    pub(super) fn partition(self) -> u32 {
        self.0 as u32
    }
}

impl Sticky {
    /// Of a topic with `partitions`; switches after `batch_bytes`.
    pub(super) fn new(partitions: u32, batch_bytes: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let first = random.u32(..partitions);
        Self {
            current: AtomicU64::new(u64::from(first)),
            produced: AtomicUsize::new(0),
            batch_bytes: batch_bytes.max(1),
            random: Mutex::new(random),
        }
    }

    /// The partition of now.
    pub(super) fn peek(&self) -> Choice {
        Choice(self.current.load(Ordering::Acquire))
    }

    /// Whether nobody switched since `choice` was made.
    pub(super) fn is_current(&self, choice: Choice) -> bool {
        self.peek() == choice
    }

    /// Counts `bytes` that went to `choice`'s partition, and switches when that is enough: at
    /// `batch_bytes`, but at a batch's boundary (`between_batches`) where one comes before twice as
    /// much, so that no small batch is left behind. Where all partitions are down, it stays.
    ///
    /// To be called under the lock of the partition's queue, with a current choice.
    pub(super) fn count(
        &self,
        choice: Choice,
        bytes: usize,
        between_batches: bool,
        loads: &[Load],
    ) {
        let produced = self.produced.load(Ordering::Relaxed) + bytes;
        let enough =
            if between_batches { self.batch_bytes } else { self.batch_bytes.saturating_mul(2) };
        if produced < enough {
            self.produced.store(produced, Ordering::Relaxed);
            return;
        }
        self.produced.store(0, Ordering::Relaxed);
        self.leave(choice, loads);
    }

    /// Goes to another partition, or the same again, among those that are not down; stays where all
    /// are.
    ///
    /// To be called as [`count`](Self::count).
    pub(super) fn leave(&self, choice: Choice, loads: &[Load]) {
        let Some(next) = draw(&mut self.random.lock(), loads) else { return };
        self.produced.store(0, Ordering::Relaxed);
        let switches = (choice.0 >> 32).wrapping_add(1) << 32;
        self.current.store(switches | u64::from(next), Ordering::Release);
    }
}

/// Draws a partition that is not down; the weight of each is the longest queue's length + 1 − its own
/// queue's.
fn draw(random: &mut fastrand::Rng, loads: &[Load]) -> Option<u32> {
    if loads.len() <= WEIGHED {
        return draw_within(random, loads, 0, loads.len());
    }
    let start = random.usize(..loads.len());
    // Seldom is a whole window down: then the cost does not matter.
    draw_within(random, loads, start, WEIGHED)
        .or_else(|| draw_within(random, loads, 0, loads.len()))
}

/// The same, among the `count` partitions from `start` on.
fn draw_within(
    random: &mut fastrand::Rng,
    loads: &[Load],
    start: usize,
    count: usize,
) -> Option<u32> {
    let window = || {
        let places = (0..count).map(|step| (start + step) % loads.len());
        places.filter(|place| !loads[*place].is_down())
    };
    let length = |place: usize| loads[place].queued.load(Ordering::Relaxed);
    let longest = window().map(length).max()?;
    // Queues move while they are looked at: a length is never taken for more than the longest.
    let weight = |place: usize| u64::from(longest - length(place).min(longest)) + 1;
    let mut left = random.u64(..window().map(weight).sum::<u64>().max(1));
    let mut drawn = None;
    for place in window() {
        drawn = Some(place as u32);
        match left.checked_sub(weight(place)) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_kafkas() {
        // `UtilsTest.testMurmur2` of Kafka.
        let cases: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (bytes, expected) in cases {
            assert_eq!(murmur2(bytes) as i32, expected, "{bytes:?}");
        }
    }

    #[test]
    fn kafkas_own_code_gives_the_same_for_every_vector() {
        let vectors = include_str!("../../tests/interop/fixtures/murmur2.txt");
        for line in vectors.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [key, hash, partition] = fields[..] else { panic!("three fields: {line}") };
            let digits = if key == "-" { "" } else { key };
            let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            let key: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
            assert_eq!(murmur2(&key) as i32, hash.parse::<i32>().unwrap(), "{line}");
            assert_eq!(partition_for_key(&key, 7).to_string(), partition, "{line}");
        }
        assert!(vectors.lines().count() > 200);
    }

    #[test]
    fn a_negative_hash_gives_a_partition() {
        assert_eq!(partition_for_key(b"21", 7), (0xC5F2_F8EC & 0x7FFF_FFFF) % 7);
        assert_eq!(partition_for_key(b"21", 1), 0);
    }

    fn queues(lengths: &[u32]) -> Vec<Load> {
        let load = |length: &u32| Load { queued: AtomicU32::new(*length), ..Load::default() };
        lengths.iter().map(load).collect()
    }

    fn shares(lengths: &[u32], draws: usize) -> Vec<usize> {
        let (mut random, queued) = (fastrand::Rng::with_seed(7), queues(lengths));
        let mut shares = vec![0; lengths.len()];
        for _ in 0..draws {
            shares[draw(&mut random, &queued).unwrap() as usize] += 1;
        }
        shares
    }

    #[test]
    fn equal_queues_are_drawn_alike() {
        for share in shares(&[3; 8], 80_000) {
            assert!((9_500..10_500).contains(&share), "{share}");
        }
    }

    #[test]
    fn longer_queues_are_drawn_less() {
        // Kafka's own example: lengths 0, 3, 1 weigh 4, 1, 3.
        let shares = shares(&[0, 3, 1], 80_000);
        for (share, weight) in shares.iter().zip([4, 1, 3]) {
            assert!(share.abs_diff(weight * 10_000) < 1_000, "{shares:?}");
        }
    }

    #[test]
    fn what_is_down_is_left_and_not_drawn() {
        let loads = queues(&[0, 9, 0, 0]);
        let mut random = fastrand::Rng::with_seed(7);
        assert_eq!([0, 2, 3].map(|down| loads[down].set_down(true)), [false; 3]);
        assert!((0..100).all(|_| draw(&mut random, &loads) == Some(1)), "whatever its length");
        let sticky = Sticky::new(4, 100, 1);
        sticky.leave(sticky.peek(), &loads);
        assert_eq!(sticky.peek().partition(), 1);
        loads[1].set_down(true);
        let all_down = sticky.peek();
        sticky.leave(all_down, &loads);
        sticky.count(all_down, 1_000, true, &loads);
        assert!(sticky.is_current(all_down), "there is no better one");

        let wide = queues(&vec![0; 4 * WEIGHED]);
        assert!(!wide.iter().any(|load| load.set_down(true)));
        assert_eq!(draw(&mut random, &wide), None);
        wide[5].set_down(false);
        assert!((0..20).all(|_| draw(&mut random, &wide) == Some(5)), "a window without any");
    }

    #[test]
    fn a_wide_topic_is_drawn_from_everywhere() {
        let shares = shares(&vec![0; 4 * WEIGHED], 100_000);
        let quarters: Vec<usize> = shares.chunks(WEIGHED).map(|part| part.iter().sum()).collect();
        assert!(quarters.iter().all(|share| (24_000..26_000).contains(share)), "{quarters:?}");
    }

    #[test]
    fn it_switches_by_bytes_at_a_batch_boundary() {
        let (sticky, queued) = (Sticky::new(4, 100, 1), queues(&[0; 4]));
        let first = sticky.peek();
        sticky.count(first, 99, true, &queued);
        assert!(sticky.is_current(first), "too few bytes");
        sticky.count(first, 1, false, &queued);
        assert!(sticky.is_current(first), "in the middle of a batch");
        sticky.count(first, 0, true, &queued);
        assert!(!sticky.is_current(first));
        let second = sticky.peek();
        sticky.count(second, 199, false, &queued);
        assert!(sticky.is_current(second));
        sticky.count(second, 1, false, &queued);
        assert!(!sticky.is_current(second), "twice the batch's size ends the wait for a boundary");
    }

    #[test]
    fn bytes_are_spread_evenly() {
        let (sticky, queued) = (Sticky::new(6, 1_000, 42), queues(&[0; 6]));
        let mut bytes = [0; 6];
        for _ in 0..600_000 {
            let choice = sticky.peek();
            bytes[choice.partition() as usize] += 100;
            sticky.count(choice, 100, true, &queued);
        }
        for share in bytes {
            assert!((9_700_000..10_300_000).contains(&share), "{bytes:?}");
        }
    }
}
