//! Topics: their settings, their partitions, and where these stand on disk.

mod catalog;
mod config;
mod folder;
mod offline;
mod placement;
mod properties;
mod survey;
#[expect(clippy::module_inception, reason = "the room is named for its noun")]
mod topic;

pub use catalog::{
    Catalog, CatalogEntry, CatalogError, LoadedCatalog, RefusedSetting, Stage, TOPICS_FILE,
};
pub use config::{CleanupPolicy, CompressionType, ConfigError, TopicConfig};
pub use folder::{Folder, deleted_name, is_reserved};
pub use offline::{OfflinePartition, OfflineReason};
pub use placement::{DirLoad, place};
pub use properties::PropertyError;
pub use survey::{FoundPartition, Survey, SurveyError};
pub use topic::Topic;
