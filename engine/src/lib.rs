//! A log engine in Kafka's own file format, to link into other systems.
//!
//! ```
//! use std::time::Duration;
//! use trunkline::{
//!     AutoOffsetReset::Earliest, ConsumerOptions, Engine, EngineOptions, ProducerOptions,
//!     ProducerRecord, TopicConfig,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let data = folder.path();
//! let engine = Engine::open(EngineOptions::new(data))?;
//! let orders = engine.topic_or_create("orders", 3, TopicConfig::default())?;
//! let producer = engine.producer(ProducerOptions::default())?;
//! let record = ProducerRecord::new(Some(b"customer 7"), Some(b"two apples"));
//! let sent = producer.send(&orders, &record)?.wait()?; // durable now: on the device
//! let mut consumer = engine.consumer(ConsumerOptions::default().auto_offset_reset(Earliest))?;
//! consumer.assign(&orders, sent.partition)?;
//! let mut records = consumer.poll(Duration::from_secs(1))?;
//! let record = records.next_record()?.expect("one was sent");
//! assert_eq!(record.value, Some(&b"two apples"[..]));
//! engine.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Rooms, from the bottom up; a room imports only rooms below its row (`ARCHITECTURE.md`,
//! checked by `tests/tidy.rs`):
//!
//! ```text
//! 7 engine  options
//! 6 producer  consumer
//! 5 topic
//! 4 log
//! 3 segment  commit
//! 2 io  record
//! 1 types  limits  error  clock  metrics  sync  twins
//! ```

/// Builder methods of an options struct: each sets the public field of its name.
macro_rules! setters {
    ($options:ident { $($field:ident: $type:ty),* $(,)? }) => {
        impl $options {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

/// Whether a bug is planted ([`twins`]); never without the feature.
#[cfg(feature = "twins")]
macro_rules! twin {
    ($name:ident) => {
        crate::twins::is_planted(crate::twins::Twin::$name)
    };
}
#[cfg(not(feature = "twins"))]
macro_rules! twin {
    ($name:ident) => {
        false
    };
}

/// Whether a race is planted: never here, only where `tests/schedules` and `tests/orderings` compile
/// these sources.
macro_rules! race {
    ($name:ident) => {
        false
    };
}

pub mod clock;
pub mod commit;
pub mod consumer;
pub mod engine;
pub mod error;
pub mod io;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod options;
pub mod producer;
pub mod record;
pub mod segment;
mod sync;
pub mod topic;
#[cfg(feature = "twins")]
pub mod twins;
pub mod types;

pub use consumer::{AutoOffsetReset, ConsumerOptions};
pub use engine::Engine;
pub use options::EngineOptions;
pub use producer::{ProducerOptions, ProducerRecord};
pub use topic::TopicConfig;
