//! Accumulates records into batches and sends them: partitioning, memory, linger, retries and
//! acknowledgements.

mod accumulator;
mod ack;
mod committer;
#[cfg(test)]
mod double;
mod error;
mod metrics;
mod options;
mod partitioner;
mod pool;
#[expect(clippy::module_inception, reason = "one noun a file")]
mod producer;
mod queue;
mod record;
mod schedule;
mod sender;
mod sink;
mod split;
#[cfg(test)]
mod tests;
mod topics;

pub use ack::{Ack, RecordMetadata};
pub use error::SendError;
pub use metrics::ProducerMetrics;
pub use options::{
    Acks, DEFAULT_BATCH_SIZE, DEFAULT_BUFFER_MEMORY, DEFAULT_DELIVERY_TIMEOUT, DEFAULT_LINGER,
    DEFAULT_MAX_BLOCK, DEFAULT_MAX_REQUEST_SIZE, DEFAULT_RETRY_BACKOFF, OptionsError,
    ProducerOptions,
};
pub use partitioner::{murmur2, partition_for_key};
pub(crate) use producer::WeakProducer;
pub use producer::{CloseError, Producer, ProducerError};
pub use record::ProducerRecord;
