//! The segments of a log at one moment: readers pin it by its `Arc`s, changes make a new one.

use std::sync::Arc;

use super::Segment;
use crate::types::Offset;

/// Segments by rising base offset. Immutable; cloning costs one pointer a segment.
#[derive(Debug, Clone, Default)]
pub struct SegmentSet(Vec<Arc<Segment>>);

impl SegmentSet {
    /// A set of `segments`.
    ///
    /// # Panics
    /// Where base offsets do not strictly rise.
    pub fn new(segments: Vec<Arc<Segment>>) -> Self {
        let rises = segments.is_sorted_by(|a, b| a.base_offset() < b.base_offset());
        assert!(rises, "segments must stand by strictly rising base offset");
        Self(segments)
    }

    /// The segment that would hold `offset`: the last one that begins at or before it.
    pub fn floor(&self, offset: Offset) -> Option<&Arc<Segment>> {
        self.0.get(self.floor_index(offset)?)
    }

    /// Number of that segment, from 0.
    pub fn floor_index(&self, offset: Offset) -> Option<usize> {
        self.0.partition_point(|segment| segment.base_offset() <= offset).checked_sub(1)
    }

    /// The segments that may hold `offset` or what follows it.
    pub fn from(&self, offset: Offset) -> &[Arc<Segment>] {
        &self.0[self.floor_index(offset).unwrap_or(0)..]
    }

    /// All segments.
    pub fn as_slice(&self) -> &[Arc<Segment>] {
        &self.0
    }

    /// All segments, by rising base offset.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Segment>> {
        self.0.iter()
    }

    /// The oldest segment.
    pub fn first(&self) -> Option<&Arc<Segment>> {
        self.0.first()
    }

    /// The newest segment, the one that is appended to.
    pub fn last(&self) -> Option<&Arc<Segment>> {
        self.0.last()
    }

    /// Number of segments.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no segment.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Published bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.iter().map(|segment| segment.len()).sum()
    }

    /// This set with `segment` behind all others.
    #[must_use]
    pub fn with_pushed(&self, segment: Arc<Segment>) -> Self {
        Self::new(self.iter().cloned().chain([segment]).collect())
    }

    /// This set with `sealed` in place of the last segment, of which it is the sealed form, and
    /// `active` behind it: a roll.
    #[must_use]
    pub fn with_rolled(&self, sealed: Arc<Segment>, active: Arc<Segment>) -> Self {
        let before = self.0.len().saturating_sub(1);
        Self::new(self.0[..before].iter().cloned().chain([sealed, active]).collect())
    }

    /// This set without its oldest `count` segments, which are given too.
    #[must_use]
    pub fn without_prefix(&self, count: usize) -> (Self, Vec<Arc<Segment>>) {
        let (removed, kept) = self.0.split_at(count.min(self.0.len()));
        (Self(kept.to_vec()), removed.to_vec())
    }

    /// This set without the segments that begin at or behind `offset`, which are given too. The last
    /// one that stays may hold `offset` and is to be truncated itself.
    #[must_use]
    pub fn truncated(&self, offset: Offset) -> (Self, Vec<Arc<Segment>>) {
        let keep = self.0.partition_point(|segment| segment.base_offset() < offset);
        let (kept, removed) = self.0.split_at(keep);
        (Self(kept.to_vec()), removed.to_vec())
    }

    /// This set with `segment` in place of the last one, of which it is another form.
    #[must_use]
    pub fn with_last(&self, segment: Arc<Segment>) -> Self {
        let before = self.0.len().saturating_sub(1);
        Self::new(self.0[..before].iter().cloned().chain([segment]).collect())
    }
}

impl<'a> IntoIterator for &'a SegmentSet {
    type Item = &'a Arc<Segment>;
    type IntoIter = std::slice::Iter<'a, Arc<Segment>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{io::Storage, segment::SegmentOptions};

    fn segment(base: Offset) -> Arc<Segment> {
        let (storage, options) = (Storage::portable(), SegmentOptions::default());
        Segment::sealed(&storage, Path::new("/nowhere"), base, 100, base + 10, None, &options)
    }

    fn bases(set: &SegmentSet) -> Vec<Offset> {
        set.iter().map(|segment| segment.base_offset()).collect()
    }

    #[test]
    fn floor_finds_the_segment_that_would_hold_an_offset() {
        let set = SegmentSet::new(vec![segment(10), segment(20), segment(40)]);
        let floor = |offset| set.floor(offset).map(|segment| segment.base_offset());
        assert_eq!(floor(9), None);
        assert_eq!(floor(10), Some(10));
        assert_eq!(floor(39), Some(20));
        assert_eq!(floor(Offset::MAX), Some(40));
        assert_eq!((set.from(0).len(), set.from(25).len(), set.bytes()), (3, 2, 300));
        assert_eq!((&set).into_iter().count(), 3);
        assert!(!set.is_empty() && SegmentSet::new(Vec::new()).is_empty());
    }

    #[test]
    fn changes_make_a_new_set() {
        let set = SegmentSet::new(vec![segment(10), segment(20)]);
        let rolled = set.with_rolled(segment(20), segment(30));
        assert_eq!((bases(&set), bases(&rolled)), (vec![10, 20], vec![10, 20, 30]));
        let (kept, removed) = rolled.without_prefix(1);
        assert_eq!((bases(&kept), removed.len()), (vec![20, 30], 1));
        let (kept, removed) = rolled.truncated(20);
        assert_eq!((bases(&kept), removed.len()), (vec![10], 2));
        assert_eq!(bases(&rolled.truncated(21).0), vec![10, 20]);
        assert_eq!(bases(&set.with_last(segment(20)).with_pushed(segment(50))), vec![10, 20, 50]);
    }

    #[test]
    fn opening_lazily_touches_no_file() {
        let segment = segment(5);
        assert_eq!((segment.len(), segment.next_offset()), (100, 15));
        assert!(segment.file().unwrap_err().is_not_found());
    }
}
