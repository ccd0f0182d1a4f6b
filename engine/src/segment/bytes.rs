//! Bytes of a segment's log: read into memory of their own, or a part of the mapped file.

use std::{fmt, ops::Deref, sync::Arc};

use crate::io::Map;

/// Bytes of a log as they were when they were read, whatever becomes of the file. Those that are mapped
/// cost no copy, and keep the file mapped as long as they are held.
#[derive(Clone)]
pub struct SegmentBytes(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Read(Vec<u8>),
    /// From `start`, `len` bytes, which [`Map::bytes`] has given.
    Mapped {
        map: Arc<Map>,
        start: usize,
        len: usize,
    },
}

impl SegmentBytes {
    /// Keeps the first `to` bytes; no effect where there are no more.
    pub fn truncate(&mut self, to: usize) {
        match &mut self.0 {
            Kind::Read(bytes) => bytes.truncate(to),
            Kind::Mapped { len, .. } => *len = to.min(*len),
        }
    }

    /// Whether they are a part of the mapped file.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Kind::Mapped { .. })
    }
}

impl Deref for SegmentBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Read(bytes) => bytes,
            Kind::Mapped { map, start, len } => map.held(*start..start + len),
        }
    }
}

impl Default for SegmentBytes {
    fn default() -> Self {
        Self(Kind::Read(Vec::new()))
    }
}

impl PartialEq for SegmentBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SegmentBytes {}

impl fmt::Debug for SegmentBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_mapped() { "mapped" } else { "read" };
        write!(f, "{} bytes, {kind}", self.len())
    }
}
