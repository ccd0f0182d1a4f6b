//! A disk in memory that forgets at a power cut whatever was not synced.

/// Placeholder, replaced in the next commit.
#[derive(Debug)]
pub struct ForgetfulDisk;
