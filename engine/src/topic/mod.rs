//! Topics: their settings, their partitions, and where these stand on disk.

mod config;
mod properties;

pub use config::{CleanupPolicy, CompressionType, ConfigError, TopicConfig};
pub use properties::PropertyError;
