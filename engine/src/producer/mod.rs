//! Accumulates records into batches and sends them: partitioning, memory, linger, retries and
//! acknowledgements.

#![cfg_attr(not(test), expect(dead_code, reason = "the sender follows"))]

mod ack;
mod error;
mod options;
mod partitioner;
mod pool;
mod record;

pub use ack::{Ack, RecordMetadata};
pub use error::SendError;
pub use options::{
    Acks, DEFAULT_BATCH_SIZE, DEFAULT_BUFFER_MEMORY, DEFAULT_DELIVERY_TIMEOUT, DEFAULT_LINGER,
    DEFAULT_MAX_BLOCK, DEFAULT_MAX_REQUEST_SIZE, DEFAULT_RETRY_BACKOFF, OptionsError,
    ProducerOptions,
};
pub use partitioner::{murmur2, partition_for_key};
pub use record::ProducerRecord;
