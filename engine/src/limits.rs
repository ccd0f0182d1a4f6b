//! Every bound of the engine in one place, each proven consistent at compile time.

/// Bytes before `batchLength`'s own count starts: base offset (8) and length (4).
pub const LOG_OVERHEAD: usize = 12;
/// Bytes of a v2 batch header, from base offset to record count.
pub const BATCH_HEADER: usize = 61;
/// Largest record batch that is ever written or believed, in bytes. A length field beyond it is
/// corrupt data, whatever the file's size.
pub const MAX_BATCH_BYTES: usize = 256 << 20;
/// Largest decompressed record array that is accepted from one batch, in bytes.
pub const MAX_DECOMPRESSED_BYTES: usize = 512 << 20;
/// Largest ratio of decompressed to compressed bytes that is accepted once the output has passed
/// [`RATIO_FREE_BYTES`]: zstd reaches 16,000 on constant input, so the bound is on memory, not taste.
pub const MAX_DECOMPRESSION_RATIO: usize = 32 << 10;
/// Output that is accepted at any ratio, in bytes.
pub const RATIO_FREE_BYTES: usize = 4 << 20;
/// Most bytes that one append writes to one file, in one group, and most that a `durable` partition has
/// written and not synced. It bounds what a power cut can leave half-written behind a gap, and so tells
/// a torn group from rotten data at recovery.
pub const MAX_GROUP_BYTES: usize = 64 << 20;
/// Longest topic name, in bytes (Kafka: 249, so that folder names stay under 255).
pub const MAX_TOPIC_NAME: usize = 249;
/// Most partitions of one topic.
pub const MAX_PARTITIONS: u32 = 100_000;
/// Largest relative offset inside one segment: index entries store it as `i32`.
pub const MAX_RELATIVE_OFFSET: i64 = i32::MAX as i64;
/// Largest log end offset: whatever is appended to a log that ends here, no offset overflows.
pub const MAX_LOG_END: i64 = i64::MAX - (1 << 32);
/// Batches remembered for each producer id, to recognise a repeated send (Kafka: 5).
pub const PRODUCER_WINDOW: usize = 5;
/// Bytes of an offset index entry.
pub const OFFSET_INDEX_ENTRY: usize = 8;
/// Bytes of a time index entry.
pub const TIME_INDEX_ENTRY: usize = 12;
/// Bytes of a transaction index entry.
pub const TXN_INDEX_ENTRY: usize = 34;
/// Largest checkpoint file that is read, in bytes: about a million lines.
pub const MAX_CHECKPOINT_BYTES: u64 = 64 << 20;

const _: () = assert!(BATCH_HEADER > LOG_OVERHEAD);
const _: () = assert!(MAX_BATCH_BYTES <= i32::MAX as usize - LOG_OVERHEAD);
const _: () = assert!(MAX_BATCH_BYTES <= MAX_DECOMPRESSED_BYTES);
const _: () = assert!(RATIO_FREE_BYTES <= MAX_DECOMPRESSED_BYTES);
