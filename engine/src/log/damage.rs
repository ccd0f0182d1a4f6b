//! What recovery does about damage: a pure judgement (`ARCHITECTURE.md`: recovery judges by
//! what was promised), and the cut.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use super::{Cut, DamagedRange, OnDamage, folder::remove_segment};
use crate::{
    error::{Corruption, IoError},
    io::{File, Open, Storage, SyncKind},
    limits::MAX_GROUP_BYTES,
    segment::{
        Damage, OffsetRule, ScanStart, Scanner, SegmentError, Suffix, copy_range, cut_log,
        file_name, file_path,
    },
    types::{Durability, Offset},
};

/// What recovery knows of a damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finding {
    /// Offset at which the valid part before the damage ends.
    pub(super) valid_until: Offset,
    /// Everything below was durable when the state was last written.
    pub(super) durable_end: Offset,
    /// Bytes from the damage to the end of the last valid batch behind it; 0 when there is none.
    pub(super) reach: u64,
    /// Whether segments with bytes follow: a roll syncs what is before it in a `Durable` partition.
    pub(super) later_segments: bool,
    /// What the partition's acknowledgements mean.
    pub(super) durability: Durability,
    /// The owner's decision beforehand.
    pub(super) on_damage: OnDamage,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing valid behind it, nothing durable in it: a torn tail, cut off and counted.
    CutTail,
    /// Valid batches behind it, none of them acknowledged as durable: cut, the bytes kept aside.
    CutAndKeepAside,
    /// Acknowledged data has rotted: nothing is cut, appends are refused.
    Refuse,
}

/// A partition that acknowledges only what is durable has at most a group's bytes in flight (an append
/// sees to it), so valid data that reaches further behind the damage was acknowledged.
pub(super) fn judge(finding: Finding) -> Verdict {
    let acknowledged = finding.valid_until < finding.durable_end
        || (finding.durability == Durability::Durable
            && (finding.reach > MAX_GROUP_BYTES as u64 || finding.later_segments));
    match (acknowledged, finding.on_damage, finding.reach) {
        (true, OnDamage::Refuse, _) => Verdict::Refuse,
        (true, OnDamage::Cut, _) | (false, _, 1..) => Verdict::CutAndKeepAside,
        (false, _, 0) => Verdict::CutTail,
    }
}

impl DamagedRange {
    /// A damage of the segment at `segment`, where the offset `offset` would stand.
    pub(super) fn of(damage: &Damage, segment: Offset, offset: Offset) -> Self {
        Self {
            corruption: damage.corruption.clone(),
            segment,
            position: damage.position,
            offset,
            resumes_at: damage.resumes_at.map(|(position, header)| (position, header.base_offset)),
        }
    }
}

/// Finds all damage in a segment of `len` bytes: reads it once. Gives the byte behind its last batch;
/// `end` rises to the offset there. `is_reserve` says what is none, and behind which offset.
pub(super) fn survey(
    file: &File,
    rule: OffsetRule,
    len: u64,
    end: &mut Offset,
    ranges: &mut Vec<DamagedRange>,
    is_reserve: impl Fn(&Damage, Offset) -> bool,
) -> Result<u64, SegmentError> {
    let base = rule.base;
    let mut scanner = Scanner::new(file, rule, 0, len)?;
    let mut start = ScanStart { position: 0, expected_offset: base };
    let mut valid_end = 0;
    loop {
        let scan = scanner.advance(start, Offset::MAX)?;
        if scan.valid_end > start.position {
            (*end, valid_end) = ((*end).max(scan.next_offset), scan.valid_end);
        }
        let Some(damage) = scan.damage else { return Ok(valid_end) };
        if is_reserve(&damage, scan.next_offset) {
            return Ok(valid_end);
        }
        ranges.push(DamagedRange::of(&damage, base, scan.next_offset));
        let Some((position, header)) = damage.resumes_at else { return Ok(valid_end) };
        start = ScanStart { position, expected_offset: header.base_offset };
    }
}

/// Cuts the log at byte `valid_end` of the first of `logs` (base offset and length of each), which
/// becomes offset `offset`; the segments behind go. With `keep_aside` the bytes stay in files that
/// neither Kafka nor we read. Durable when it returns.
///
/// From the last file to the first, so that after a crash what is left still is a prefix.
pub(super) fn cut(
    storage: &Storage,
    dir: &Path,
    logs: &[(Offset, u64)],
    valid_end: u64,
    offset: Offset,
    cause: Corruption,
    keep_aside: bool,
) -> Result<Cut, IoError> {
    let mut cut = Cut { cause, offset, bytes: 0, kept_aside: Vec::new() };
    for (place, (base, len)) in logs.iter().enumerate().rev() {
        let from = if place == 0 { valid_end } else { 0 };
        let path = file_path(dir, *base, Suffix::Log);
        let file = storage.open(&path, Open::Write)?;
        let len = &end_of_content(&file, from, *len)?;
        cut.bytes += len.saturating_sub(from);
        if keep_aside && from < *len {
            cut.kept_aside.push(copy_aside(storage, dir, &file, *base, from..*len)?);
        }
        if place == 0 {
            let file =
                if twin!(TornTailKept) { file } else { cut_log(storage, dir, *base, file, from)? };
            file.sync(SyncKind::All)?;
        } else {
            remove_segment(storage, dir, *base)?;
            storage.sync_dir(dir)?;
        }
    }
    cut.kept_aside.reverse();
    Ok(cut)
}

/// Where a file of `len` bytes ends, from byte `from` on, without the blocks of zeros behind: they were
/// reserved. (A batch may end with zeros, within a block.)
fn end_of_content(file: &File, from: u64, len: u64) -> Result<u64, IoError> {
    let mut end = len;
    if len.saturating_sub(from) <= BLOCK_BYTES {
        return Ok(len);
    }
    while end > from {
        let start = from.max((end - 1) / CHUNK_BYTES * CHUNK_BYTES);
        let bytes = file.read_at(start, (end - start) as usize)?;
        end = start;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end += last as u64 + 1;
            break;
        }
    }
    Ok(end.next_multiple_of(BLOCK_BYTES).min(len))
}

/// Bytes that are looked at for zeros at a time.
const CHUNK_BYTES: u64 = 1 << 20;
/// Bytes of a block of the file system, as a rule.
const BLOCK_BYTES: u64 = 4096;

/// Copies bytes of `file` into a new quarantine file, durably.
fn copy_aside(
    storage: &Storage,
    dir: &Path,
    file: &File,
    base: Offset,
    bytes: Range<u64>,
) -> Result<PathBuf, IoError> {
    let entries = storage.list_names(dir, |_| false)?;
    let name = (0..=entries.len())
        .map(|n| format!("{}-{}-{n}.quarantined", file_name(base, Suffix::Log), bytes.start))
        .find(|name| !entries.iter().any(|entry| entry.name == name.as_str()))
        .expect("a folder holds fewer names than its entries and one");
    let path = dir.join(name);
    let aside = storage.open(&path, Open::CreateNew)?;
    copy_range(file, bytes.start, bytes.end, &aside)?;
    aside.sync(SyncKind::All)?;
    storage.sync_dir(dir)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINDING: Finding = Finding {
        valid_until: 100,
        durable_end: 100,
        reach: 0,
        later_segments: false,
        durability: Durability::Durable,
        on_damage: OnDamage::Refuse,
    };

    #[test]
    fn a_torn_tail_is_cut() {
        assert_eq!(judge(FINDING), Verdict::CutTail);
    }

    #[test]
    fn one_group_out_of_order_is_kept_aside() {
        let reach = MAX_GROUP_BYTES as u64;
        assert_eq!(judge(Finding { reach, ..FINDING }), Verdict::CutAndKeepAside);
    }

    #[test]
    fn damage_below_the_durable_end_or_with_more_than_a_group_behind_it_is_rot() {
        let rot = [
            Finding { durable_end: 101, ..FINDING },
            Finding { durable_end: 101, reach: 9, durability: Durability::Written, ..FINDING },
            Finding { reach: MAX_GROUP_BYTES as u64 + 1, ..FINDING },
            Finding { reach: 1, later_segments: true, ..FINDING },
        ];
        for finding in rot {
            assert_eq!(judge(finding), Verdict::Refuse, "{finding:?}");
            let decided = Finding { on_damage: OnDamage::Cut, ..finding };
            assert_eq!(judge(decided), Verdict::CutAndKeepAside);
        }
    }

    #[test]
    fn what_was_only_written_may_go_whatever_its_reach() {
        let written = Finding { reach: 1 << 40, durability: Durability::Written, ..FINDING };
        assert_eq!(judge(written), Verdict::CutAndKeepAside);
    }

    /// The last blocks of a file that are all zeros were reserved, and are not kept aside.
    #[test]
    fn content_ends_with_the_last_block_that_holds_something() {
        let storage = crate::io::ForgetfulDisk::new().storage();
        let file = storage.open(Path::new("/file"), Open::Create).unwrap();
        let lengths = [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 5000];
        for len in lengths {
            for from in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, CHUNK_BYTES - 1, CHUNK_BYTES + 7] {
                let last = [0, from, from + 1, CHUNK_BYTES - 1, CHUNK_BYTES, len.saturating_sub(1)];
                for last in last.into_iter().filter(|last| *last < len && from <= len) {
                    file.set_len(0).unwrap();
                    file.set_len(len).unwrap();
                    file.write_at(last, vec![1]).unwrap();
                    let content = if last < from { from } else { last + 1 };
                    let expected = match len - from {
                        0..=BLOCK_BYTES => len,
                        _ => content.next_multiple_of(BLOCK_BYTES).min(len),
                    };
                    let found = end_of_content(&file, from, len).unwrap();
                    assert_eq!(found, expected, "{len} bytes from {from}, the last at {last}");
                }
            }
        }
    }
}
