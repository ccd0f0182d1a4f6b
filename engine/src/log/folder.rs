//! What stands in a partition's folder, once work that a crash interrupted is finished.

use std::{ffi::OsStr, path::Path};

use crate::{
    error::IoError,
    io::{File, Open, Storage},
    segment::{FileName, OffsetRule, Segment, Stage, Suffix, file_path},
    types::Offset,
};

/// The segments of a folder, by rising base offset: base offset and length of each `.log` file.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) logs: Vec<(Offset, u64)>,
}

/// Files of a segment beside its `.log`.
pub(super) const INDEXES: [Suffix; 3] = [Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex];

impl Folder {
    /// Lists the folder after it has dealt with what a crash left, in Kafka's order: given-up files
    /// go, unfinished cleaning goes, a finished one (`.swap`) takes its place, indexes without a log
    /// go. What is not a segment's stays untouched.
    pub(super) fn read(storage: &Storage, dir: &Path) -> Result<Self, IoError> {
        let mut names = list(storage, dir)?;
        let is_unfinished = |name: &FileName| match name.stage {
            Stage::Deleted | Stage::Cleaned => true,
            // A swap at or above an unfinished cleaning belongs to the same, undecided group.
            Stage::Swap => names.iter().any(|(other, _)| {
                other.stage == Stage::Cleaned && other.base_offset <= name.base_offset
            }),
            Stage::Live => false,
        };
        let unfinished: Vec<_> =
            names.iter().map(|(name, _)| *name).filter(is_unfinished).collect();
        let mut changed = !unfinished.is_empty();
        for name in unfinished {
            storage.remove_file(&dir.join(name.to_string()))?;
        }
        if names.iter().any(|(name, _)| name.stage == Stage::Swap) {
            names = list(storage, dir)?;
            changed |= finish_swaps(storage, dir, &names)?;
        }
        if changed {
            storage.sync_dir(dir)?;
            names = list(storage, dir)?;
        }
        let mut logs: Vec<_> = names
            .iter()
            .filter(|(name, _)| name.stage == Stage::Live && name.suffix == Suffix::Log)
            .map(|(name, len)| (name.base_offset, *len))
            .collect();
        remove_empty(storage, dir, &mut logs)?;
        for (name, _) in &names {
            let is_orphan = INDEXES.contains(&name.suffix)
                && !logs.iter().any(|(base, _)| *base == name.base_offset);
            if is_orphan {
                tracing::warn!(%name, dir = %dir.display(), "an index without a log is removed");
                storage.remove_file(&dir.join(name.to_string()))?;
            }
        }
        Ok(Self { logs })
    }

    /// Which offsets the batches of the segment at `place` may have. An empty segment behind it bounds
    /// nothing: it may be what a failed roll has left.
    pub(super) fn rule(&self, place: usize, gaps_allowed: bool) -> OffsetRule {
        let following = self.logs[place + 1..].iter().find(|(_, len)| *len > 0);
        let end = following.map_or(Offset::MAX, |(base, _)| *base);
        OffsetRule { base: self.logs[place].0, end, gaps_allowed }
    }
}

/// An empty segment between two others holds nothing: a roll that failed has left it, and its clean-up
/// failed too. Where its bytes were lost, the gap before the next one tells.
fn remove_empty(
    storage: &Storage,
    dir: &Path,
    logs: &mut Vec<(Offset, u64)>,
) -> Result<(), IoError> {
    let between = logs.iter().skip(1).take(logs.len().saturating_sub(2));
    let mut empty: Vec<_> = between.filter(|(_, len)| *len == 0).map(|(base, _)| *base).collect();
    let mut lost = Vec::new();
    for base in &empty {
        // It had batches: the index is there when they are put back.
        let index = file_path(dir, *base, Suffix::TxnIndex);
        if !twin!(IndexesCutUnjudged)
            && storage.exists(&index)?
            && storage.open(&index, Open::Read)?.len()? > 0
        {
            lost.push(*base);
        }
    }
    empty.retain(|base| !lost.contains(base));
    for base in &empty {
        tracing::warn!(base, dir = %dir.display(), "an empty segment between others is removed");
        remove_segment(storage, dir, *base)?;
    }
    if !empty.is_empty() {
        storage.sync_dir(dir)?;
        logs.retain(|(base, _)| !empty.contains(base));
    }
    Ok(())
}

/// The segments' files, sorted by base offset, with the lengths of the `.log` files.
fn list(storage: &Storage, dir: &Path) -> Result<Vec<(FileName, u64)>, IoError> {
    let is_log = |name: &OsStr| name.as_encoded_bytes().ends_with(Suffix::Log.as_str().as_bytes());
    let entries = storage.list_names(dir, is_log)?;
    let mut names: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| Some((FileName::parse(entry.name.to_str()?)?, entry.len)))
        .collect();
    names.sort();
    Ok(names)
}

/// Renames each `.swap` into place. A log's swap replaces every original that begins within it; the
/// last offset is that of the last batch header that can be walked to.
fn finish_swaps(storage: &Storage, dir: &Path, names: &[(FileName, u64)]) -> Result<bool, IoError> {
    for (name, _) in names.iter().filter(|(name, _)| name.stage == Stage::Swap) {
        let swap = dir.join(name.to_string());
        if name.suffix == Suffix::Log {
            let end = end_of_swap(storage, &swap, name.base_offset)?;
            let covered = names.iter().filter(|(other, _)| {
                other.stage == Stage::Live
                    && other.base_offset >= name.base_offset
                    && other.base_offset < end
                    && other.suffix != Suffix::Snapshot
            });
            for (original, _) in covered {
                storage.remove_file(&dir.join(original.to_string()))?;
            }
        }
        let live = FileName { stage: Stage::Live, ..*name };
        storage.rename(&swap, &dir.join(live.to_string()))?;
    }
    Ok(true)
}

fn end_of_swap(storage: &Storage, path: &Path, base: Offset) -> Result<Offset, IoError> {
    let file = storage.open(path, Open::Read)?;
    let (mut position, mut end) = (0, base.saturating_add(1));
    loop {
        let bytes = file.read_at(position, crate::limits::BATCH_HEADER)?;
        let Ok(header) = crate::record::BatchHeader::parse(&bytes) else { return Ok(end) };
        end = header.next_offset();
        position += header.total_bytes() as u64;
    }
}

/// All files of a sealed segment, to be synced; the indexes are opened anew. Where such a sync fails
/// nobody may ask for another: it would succeed over what was lost.
pub(super) fn files_of(storage: &Storage, segment: &Segment) -> Result<Vec<File>, IoError> {
    let mut files = vec![storage.open(segment.path(), Open::Write)?];
    for suffix in INDEXES {
        match storage.open(&segment.file_path(suffix), Open::Write) {
            Err(error) if error.is_not_found() => {}
            other => files.push(other?),
        }
    }
    Ok(files)
}

/// Removes all files of a segment, the log first: indexes without a log are removed at the next open.
pub(super) fn remove_segment(storage: &Storage, dir: &Path, base: Offset) -> Result<(), IoError> {
    storage.remove_file(&file_path(dir, base, Suffix::Log))?;
    INDEXES.iter().try_for_each(|suffix| storage.remove_file(&file_path(dir, base, *suffix)))
}
