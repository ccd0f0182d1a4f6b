//! Opening a segment to append to it again: what is believed of its files, and how the rest is had
//! from the log.

use std::{path::Path, sync::Arc};

use super::{
    ActiveSegment, Segment, SegmentError, SegmentOptions, Suffix, TxnIndex,
    cut::cut_log,
    name::file_path,
    offset_index::OffsetEntry,
    published::{Published, View},
    rule::IndexRule,
    seal::Seal,
    tables::Tables,
    time_index::TimeEntry,
    walk::Headers,
};
use crate::{
    io::{File, Open, Storage},
    types::Offset,
};

/// What is believed of the files when a segment is opened for append. The log must be whole: after a
/// crash, [`scan`](super::scan) it first and cut off what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// The seal of the clean close, where it fits the log's length; otherwise as `Indexes`.
    Seal(&'a Seal),
    /// The index files, once the log confirms their last entries; batches are read from there on, and
    /// their checksums decide whether their timestamps are believed.
    Indexes,
    /// Nothing: the indexes are rebuilt from all headers, and the aborted transactions begin empty. Their file stays
    /// as it is until the caller says what belongs in it
    /// ([`restore_transactions`](ActiveSegment::restore_transactions)), or truncates.
    Nothing,
}

impl ActiveSegment {
    /// Opens the segment at `base_offset` of `dir` to append to it again.
    pub fn open(
        storage: &Storage,
        dir: &Path,
        base_offset: Offset,
        options: &SegmentOptions,
        trust: Trust<'_>,
    ) -> Result<Self, SegmentError> {
        let file = storage.open(&file_path(dir, base_offset, Suffix::Log), Open::Write)?;
        let len = file.len()?;
        let seal = match trust {
            Trust::Seal(seal) if seal.fits(base_offset, len, Offset::MAX) => Some(seal.clone()),
            _ => None,
        };
        let next_offset = seal.as_ref().map_or(Offset::MAX, |seal| seal.next_offset);
        let published = Arc::new(Published::new(len, next_offset));
        let segment = Segment::new(storage, dir, base_offset, published, seal, options);
        Self::open_around(segment, file, trust)
    }

    /// Opens a sealed segment to append to it again, as when a truncation reaches back into it. Those
    /// who hold `sealed` keep reading; they see what is appended, and [`SegmentError::Truncated`]
    /// where a truncation takes away what they read.
    pub fn reopen(sealed: &Segment) -> Result<Self, SegmentError> {
        sealed.unmap();
        let file = sealed.storage().open(sealed.path(), Open::Write)?;
        Self::reopen_as(sealed, file)
    }

    fn reopen_as(sealed: &Segment, file: File) -> Result<Self, SegmentError> {
        let published = sealed.published().clone();
        let segment = Segment::new(
            sealed.storage(),
            sealed.dir(),
            sealed.base_offset(),
            published,
            sealed.seal().cloned(),
            sealed.options(),
        );
        Self::open_around(segment, file, Trust::Indexes)
    }

    /// As [`ActiveSegment::reopen`], of one that is then cut to `len` bytes and `next_offset`. Where somebody
    /// holds mapped bytes of what goes the segment goes on in a copy ([`cut_log`]), and those who hold `sealed` see
    /// the cut and nothing that comes after it.
    pub fn reopen_cut(
        sealed: &Segment,
        len: u64,
        next_offset: Offset,
    ) -> Result<Self, SegmentError> {
        sealed.unmap();
        let (storage, dir, base) = (sealed.storage(), sealed.dir(), sealed.base_offset());
        let file = storage.open(sealed.path(), Open::Write)?;
        if file.mapped_len()? <= len {
            return Self::reopen_as(sealed, file);
        }
        sealed.published().truncated(len, next_offset);
        let file = cut_log(storage, dir, base, file, len)?;
        let published = Arc::new(Published::new(len, next_offset));
        let segment = Segment::new(storage, dir, base, published, None, sealed.options());
        Self::open_around(segment, file, Trust::Indexes)
    }

    fn open_around(segment: Segment, file: File, trust: Trust<'_>) -> Result<Self, SegmentError> {
        let view = segment.published().view();
        let mut segment = segment.with_file(file.clone());
        let mut tables = None;
        let transactions = match trust {
            Trust::Nothing => TxnIndex::new(),
            Trust::Seal(_) | Trust::Indexes => segment.load_transactions()?,
        };
        segment = segment.with_transactions(transactions);
        if trust != Trust::Nothing {
            tables = Tables::load(&segment, &view);
        }
        let sealed = segment.seal().map(|seal| (seal.next_offset, seal.largest_timestamp));
        let base_offset = segment.base_offset();
        let loaded = tables.is_some();
        segment =
            segment.with_tables(tables.map_or_else(|| Tables::new(base_offset), Tables::kept));
        let mut rule = IndexRule::new(segment.options());
        let mut on_disk = segment.live_tables().counts();
        let next_offset = match sealed {
            Some((next_offset, largest)) if loaded => {
                rule.resume(segment.live_tables().bytes_since_entry(view.len), largest);
                next_offset
            }
            _ => {
                let last = if loaded { confirmed_entries(&segment, &view)? } else { None };
                let caught_up = match &last {
                    Some(last) => catch_up(&segment, &view, last, &mut rule)?,
                    None => None,
                };
                if let Some(next_offset) = caught_up {
                    next_offset
                } else {
                    segment.options().metrics.index_rebuilds.add(1);
                    segment = segment.with_tables(Tables::new(base_offset));
                    on_disk = (0, 0);
                    rule = IndexRule::new(segment.options());
                    let nothing = LastEntries::default();
                    catch_up(&segment, &view, &nothing, &mut rule)?.unwrap_or(base_offset)
                }
            }
        };
        if view.next_offset == Offset::MAX {
            segment.published().found_end(next_offset);
        }
        segment.published().set_largest(rule.largest());
        // Markers that a crash took from the log.
        segment.live_transactions().truncate_to(next_offset);
        let is_long = file.len()? > view.len;
        let mut active = Self::assemble(segment.without_seal(), file, rule, on_disk)?;
        if trust != Trust::Nothing || twin!(TransactionsOverwritten) {
            active.trim_transactions()?;
        }
        if is_long {
            active.tail_is_torn();
        }
        Ok(active)
    }
}

/// Entries of a segment's tables to go on from, confirmed by the log.
#[derive(Debug, Default)]
struct LastEntries {
    /// The last one.
    offset: Option<OffsetEntry>,
    /// The last but one, with the position of its batch ([`TimeIndex::lookup_before`] says why).
    ///
    /// [`TimeIndex::lookup_before`]: super::TimeIndex::lookup_before
    time: Option<(TimeEntry, u64)>,
}

/// The last entries of the loaded tables; `None` where the log contradicts.
fn confirmed_entries(segment: &Segment, view: &View) -> Result<Option<LastEntries>, SegmentError> {
    let tables = segment.live_tables();
    let mut last = LastEntries { offset: tables.offsets.last(), time: None };
    if twin!(IndexAheadOfLog) {
        return Ok(Some(last));
    }
    if let Some(entry) = last.offset
        && segment.headers_by(tables, view, entry.last_offset)?.is_none()
    {
        return Ok(None);
    }
    let begin = tables.entry_older_than(view, i64::MAX);
    for entry in begin.into_iter().chain(tables.times.last()) {
        match segment.position_of(view, entry) {
            Ok(Some(position)) if Some(entry) == begin => last.time = Some((entry, position)),
            Ok(Some(_)) => {}
            Ok(None) | Err(SegmentError::Corrupt(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(last))
}

/// Walks from the last entries to the end, adds the entries that are due, and gives the offset behind
/// the last batch; `None` where no batch begins at the last entry (what looks like one there is part of
/// another). A damaged batch is left to its readers, and timestamps are taken from none behind
/// it; but where the last one is damaged the log has no known end.
fn catch_up(
    segment: &Segment,
    view: &View,
    last: &LastEntries,
    rule: &mut IndexRule,
) -> Result<Option<Offset>, SegmentError> {
    let tables = segment.live_tables();
    let mut is_met = last.offset.is_none();
    let indexed = last.offset.map_or(0, |entry| entry.position);
    let start = last.time.map_or(0, |(_, position)| position).min(indexed);
    let mut next_offset = segment.base_offset();
    rule.resume(0, last.time.map(|(entry, _)| (entry.timestamp, entry.offset)));
    let mut damaged = false;
    for item in Headers::new(segment, *view, start) {
        let (position, header) = item?;
        is_met |= position == indexed;
        let is_last = position + header.total_bytes() as u64 >= view.len;
        match segment.check_batch(position, &header) {
            Err(SegmentError::Corrupt(error)) if !is_last => {
                tracing::error!(%error, "a batch is damaged");
                damaged = true;
            }
            other => other?,
        }
        if damaged {
            rule.forget_largest(header.next_offset());
        }
        if position < indexed {
            rule.observe(&header);
        } else {
            // The interval counts from the batch of the last entry on, which is not due again.
            rule.add(position, &header, &tables.offsets, &tables.times);
        }
        next_offset = header.next_offset();
    }
    if let Some(entry) = last.offset.filter(|_| twin!(EndFromIndex)) {
        return Ok(Some(entry.last_offset + 1));
    }
    Ok((is_met || twin!(IndexAheadOfLog)).then_some(next_offset))
}
