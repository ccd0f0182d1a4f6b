//! `trunkline-seals` held against the segments: what we knew of each when it was sealed.

use std::path::Path;

use trunkline::{
    segment::{SEALS_FILE, Seal, Seals, Suffix, file_path},
    types::{Offset, TopicPartition},
};

use super::{fault::Findings, root::Voice};

/// What a segment turned out to hold.
pub(super) struct SegmentFound {
    pub(super) base_offset: Offset,
    /// Bytes of the `.log` file.
    pub(super) len: u64,
    /// Offset behind the last whole batch.
    pub(super) next_offset: Offset,
    /// Largest timestamp, and the last offset of the earliest batch that holds it.
    pub(super) largest: Option<(i64, Offset)>,
    /// Whether all of the file is whole batches.
    pub(super) is_whole: bool,
    /// CRC32C of `.index`, `.timeindex`, `.txnindex`, of those that there are.
    pub(super) checksums: [Option<u32>; 3],
}

/// Holds the seals of the partition in `dir` against its segments, as far as nobody else has used the
/// folder since.
pub(super) fn check(
    seals: &Seals,
    name: &TopicPartition,
    dir: &Path,
    segments: &[SegmentFound],
    voice: Voice,
    findings: &mut Findings,
) {
    if voice == Voice::None {
        let fits = |seal: &Seal| {
            segments.iter().any(|it| seal.fits(it.base_offset, it.len, it.next_offset))
        };
        if !seals.iter().all(fits) {
            findings.note(format!(
                "{name}: {SEALS_FILE} is not believed: another program has used the folder since"
            ));
        }
        return;
    }
    for seal in seals.iter() {
        let Some(segment) = segments.iter().find(|it| it.base_offset == seal.base_offset) else {
            let expected = format!("a segment at offset {}", seal.base_offset);
            findings.refuse(&dir.join(SEALS_FILE), 0, "sealed segment", expected, "none");
            continue;
        };
        let log = file_path(dir, seal.base_offset, Suffix::Log);
        if segment.len == seal.log_len {
            check_log(seal, segment, &log, findings);
            check_indexes(seal, segment, dir, findings);
        } else {
            let expected = format!("{} as in {SEALS_FILE}", seal.log_len);
            let at = segment.len.min(seal.log_len);
            findings.refuse(&log, at, "file length", expected, segment.len);
        }
    }
}

/// Of a damaged log nobody can say where it ends.
fn check_log(seal: &Seal, segment: &SegmentFound, log: &Path, findings: &mut Findings) {
    if !segment.is_whole {
        return;
    }
    if segment.next_offset != seal.next_offset {
        let expected = format!("{} as in {SEALS_FILE}", seal.next_offset);
        let (what, found) = ("offset behind the last batch", segment.next_offset);
        findings.refuse(log, segment.len, what, expected, found);
    }
    if segment.largest != seal.largest_timestamp {
        let told = |largest: Option<(i64, Offset)>| match largest {
            Some((timestamp, offset)) => format!("{timestamp} at offset {offset}"),
            None => "none".into(),
        };
        let expected = format!("{} as in {SEALS_FILE}", told(seal.largest_timestamp));
        findings.refuse(log, 0, "largest timestamp", expected, told(segment.largest));
    }
}

fn check_indexes(seal: &Seal, segment: &SegmentFound, dir: &Path, findings: &mut Findings) {
    let sealed = [
        (Suffix::Index, seal.index_crc),
        (Suffix::TimeIndex, seal.timeindex_crc),
        (Suffix::TxnIndex, seal.txnindex_crc),
    ];
    for ((suffix, sealed), found) in sealed.into_iter().zip(segment.checksums) {
        // A missing file is told elsewhere, and no fault.
        let Some(found) = found.filter(|found| *found != sealed) else { continue };
        let file = file_path(dir, seal.base_offset, suffix);
        let expected = format!("{sealed:08x} as in {SEALS_FILE}");
        findings.refuse(&file, 0, "checksum of the file", expected, format!("{found:08x}"));
    }
}
