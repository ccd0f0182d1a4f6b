//! The segment that is appended to. One owner, `&mut self`; readers share its [`Segment`].

use std::{io::ErrorKind, mem, path::Path, sync::Arc};

use super::{
    AbortedTransaction, Segment, SegmentError, SegmentOptions, Suffix, TxnIndex,
    index_file::IndexFile,
    name::file_path,
    published::{LargestTimestamp, Published},
    rule::IndexRule,
    seal::Seal,
    tables::Tables,
};
use crate::{
    io::{File, Open, Storage},
    limits::{MAX_RELATIVE_OFFSET, OFFSET_INDEX_ENTRY, TIME_INDEX_ENTRY, TXN_INDEX_ENTRY},
    record::SealedBatch,
    types::Offset,
};

/// What a truncation left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// Bytes of the log that went.
    pub removed_bytes: u64,
    /// Bytes that stayed.
    pub len: u64,
    /// Offset that the next batch must have or exceed.
    pub next_offset: Offset,
}

/// A seal that failed (a full disk, as a rule), with the segment back: it can still be appended to.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SealFailure {
    /// The segment.
    pub segment: Box<ActiveSegment>,
    /// Why.
    #[source]
    pub error: SegmentError,
}

/// A segment that is appended to.
#[derive(Debug)]
pub struct ActiveSegment {
    segment: Arc<Segment>,
    file: File,
    index: IndexFile,
    timeindex: IndexFile,
    txnindex: Option<File>,
    /// Entries that stand in its file.
    txn_written: usize,
    rule: IndexRule,
    first_timestamp: Option<i64>,
    tail: Tail,
    /// Byte up to which the file was written with zeros ahead, as far as is known.
    prepared: u64,
    /// Where the file ended each time that zeros were written behind the batches, or cut off.
    room: Vec<u64>,
}

/// What space is prepared by, in bytes: a block of the file system, as a rule.
const BLOCK: u64 = 4096;

/// What stands behind the published bytes of the `.log` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing.
    Exact,
    /// Space that was reserved, or written with zeros: it stays until the segment is sealed.
    Reserved,
    /// What a failed write or a failed cut may have left: it goes before the next append.
    Torn,
}

impl ActiveSegment {
    /// Makes the files of a new segment in `dir`. Their folder entries are durable once the caller has
    /// synced `dir`. On failure nothing stays, or empty files, which the next attempt takes for its own.
    pub fn create(
        storage: &Storage,
        dir: &Path,
        base_offset: Offset,
        options: &SegmentOptions,
    ) -> Result<Self, SegmentError> {
        let published = Arc::new(Published::new(0, base_offset));
        published.set_largest(None);
        let segment = Segment::new(storage, dir, base_offset, published, None, options)
            .with_tables(Tables::new(base_offset))
            .with_transactions(TxnIndex::new());
        let file = create_log(storage, segment.path())?;
        let made = Self::create_around(segment, &file);
        if made.is_err() {
            // Where it stays, it stays empty: reserved space would look like a segment that lost its batches.
            let _ = file.set_len(0);
            for suffix in [Suffix::Log, Suffix::Index, Suffix::TimeIndex] {
                // An error here changes nothing: the first one is what the caller must hear of.
                let _ = storage.remove_file(&file_path(dir, base_offset, suffix));
            }
        }
        made
    }

    fn create_around(segment: Segment, file: &File) -> Result<Self, SegmentError> {
        segment.storage().remove_file(&segment.file_path(Suffix::TxnIndex))?;
        let reserved = segment.options().preallocate;
        let rule = IndexRule::new(segment.options());
        let mut active = Self::assemble(segment, file.clone(), rule, (0, 0))?;
        if let Some(bytes) = reserved {
            file.allocate(bytes)?;
            active.tail = Tail::Reserved;
        }
        Ok(active)
    }

    /// `on_disk` says how many entries of the tables the two index files hold already.
    pub(super) fn assemble(
        segment: Segment,
        file: File,
        rule: IndexRule,
        on_disk: (usize, usize),
    ) -> Result<Self, SegmentError> {
        let segment = segment.with_file(file.clone());
        let index = IndexFile::open(&segment, Suffix::Index, OFFSET_INDEX_ENTRY, on_disk.0)?;
        let timeindex = IndexFile::open(&segment, Suffix::TimeIndex, TIME_INDEX_ENTRY, on_disk.1)?;
        // Also one that is to hold nothing: it is synced with the others, whatever a crash left of it.
        let txnindex =
            match segment.storage().open(&segment.file_path(Suffix::TxnIndex), Open::Write) {
                Err(error) if error.is_not_found() => None,
                other => Some(other?),
            };
        let first_timestamp = match segment.first_timestamp() {
            // Whoever reads there gets the error; what stands behind stays open to all others.
            Err(SegmentError::Corrupt(error)) => {
                tracing::error!(%error, "the first batch is damaged");
                None
            }
            other => other?,
        };
        Ok(Self {
            txn_written: segment.live_transactions().len(),
            segment: Arc::new(segment),
            file,
            index,
            timeindex,
            txnindex,
            rule,
            first_timestamp,
            tail: Tail::Exact,
            prepared: 0,
            room: Vec::new(),
        })
    }

    /// The file is longer than what is published.
    pub(super) fn tail_is_torn(&mut self) {
        self.tail = Tail::Torn;
    }

    /// What readers share.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The `.log` file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Offset that names the segment.
    pub fn base_offset(&self) -> Offset {
        self.segment.base_offset()
    }

    /// Bytes of whole batches that are written.
    pub fn len(&self) -> u64 {
        self.segment.len()
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offset behind the last batch.
    pub fn next_offset(&self) -> Offset {
        self.segment.next_offset()
    }

    /// Largest timestamp of the first batch, from which `segment.ms` counts; `None` while there is
    /// none.
    pub fn first_timestamp(&self) -> Option<i64> {
        self.first_timestamp
    }

    /// Whether an index takes no more entries: one of Kafka's reasons to roll. Appending further is
    /// no error, the index only stays sparse.
    pub fn is_index_full(&self) -> bool {
        let tables = self.segment.live_tables();
        self.rule.is_full(&tables.offsets, &tables.times)
    }

    /// Whether `last_offset` can be stored relative to the base offset: otherwise roll.
    pub fn relative_offset_fits(&self, last_offset: Offset) -> bool {
        (0..=MAX_RELATIVE_OFFSET).contains(&(last_offset - self.base_offset()))
    }

    /// Appends batches whose offsets are stamped, as one write, then publishes them. Gives their
    /// buffers back for use again.
    ///
    /// On failure nothing is published, `batches` is as it was, and what was half-written is cut off, at
    /// the latest before the next append. A full disk does not last; EIO latches the file (see
    /// [`crate::io`]).
    ///
    /// # Panics
    /// Where offsets do not rise.
    pub fn append(&mut self, batches: &mut Vec<SealedBatch>) -> Result<Vec<Vec<u8>>, SegmentError> {
        let Some(first) = batches.first().map(|batch| *batch.header()) else {
            return Ok(Vec::new());
        };
        let next_offset = self.check_room(batches)?;
        if self.tail == Tail::Torn {
            self.trim()?;
        }
        let mut position = self.len();
        let mut buffers: Vec<_> = batches.iter_mut().map(SealedBatch::lend).collect();
        if let Err(error) = self.file.write_all_at(position, &mut buffers) {
            batches.iter_mut().zip(buffers).for_each(|(batch, bytes)| batch.restore(bytes));
            self.tail = Tail::Torn;
            // Tried again before the next append, which reports it.
            let _ = self.trim();
            return Err(error.into());
        }
        let tables = self.segment.live_tables();
        for batch in batches.drain(..) {
            self.rule.add(position, batch.header(), &tables.offsets, &tables.times);
            position += batch.header().total_bytes() as u64;
        }
        self.first_timestamp.get_or_insert(first.max_timestamp);
        self.segment.published().set_largest(self.rule.largest());
        self.segment.published().appended(position, next_offset);
        if position > self.prepared {
            self.prepare(position);
        }
        Ok(buffers)
    }

    /// Writes zeros behind the batches, which end at `len`: half as much as there is of them, or up to as much,
    /// and no more than the limit. Who
    /// overwrites a file syncs bytes alone; who lengthens it waits for the file system's journal too, twice
    /// as long. The next sync makes the zeros durable with the batches that have just reached the end of
    /// those before. Until a segment is sealed its batches are so followed by zeros, and a recovery knows
    /// them for what they are.
    fn prepare(&mut self, len: u64) {
        let ahead = len.min(self.segment.options().prepare_bytes);
        // Half of it to all of it, by the segment's name: many that are appended to in step would all prepare
        // in one round, which then takes as long as all of their zeros do.
        let name = crc32c::crc32c(self.segment.path().as_os_str().as_encoded_bytes());
        let ahead = ahead - ahead * u64::from(name >> 24) / 512;
        let end = (len + ahead).next_multiple_of(BLOCK).min(i32::MAX as u64);
        if ahead == 0 || end <= len {
            return;
        }
        // Tried once, whatever comes of it: an append that finds nothing prepared makes its own room.
        self.prepared = end;
        self.tail = Tail::Reserved;
        match self.file.write_at(len, vec![0; (end - len) as usize]) {
            Ok(_) => self.room.push(end),
            Err(error) => {
                tracing::debug!(%error, "no space is prepared");
                // A full disk has none to spare for it.
                self.tail = Tail::Torn;
                let _ = self.trim();
                self.prepared = end;
            }
        }
    }

    /// Where the file ended each time that space was prepared or cut off since this was last asked: what
    /// `commit::CommitFile::room` is to be told.
    pub fn take_room(&mut self) -> Vec<u64> {
        mem::take(&mut self.room)
    }

    /// Gives the offset behind the last batch.
    fn check_room(&self, batches: &[SealedBatch]) -> Result<Offset, SegmentError> {
        let mut expected = self.next_offset();
        let mut incoming = 0;
        for batch in batches {
            let header = batch.header();
            let base = header.base_offset;
            assert!(base >= expected, "batch at offset {base}, expected {expected}");
            expected = header.next_offset();
            incoming += header.total_bytes() as u64;
        }
        let (len, last_offset) = (self.len(), expected - 1);
        if len + incoming > i32::MAX as u64 || !self.relative_offset_fits(last_offset) {
            let path = self.segment.path().into();
            return Err(SegmentError::Full { path, len, incoming, last_offset });
        }
        Ok(expected)
    }

    /// Records an aborted transaction, in memory and in the `.txnindex` file, which is made for the
    /// first one. Markers must come in the order of their offsets. Where the file cannot be written the
    /// entry counts all the same; it is written at the latest by [`Self::write_indexes`].
    pub fn append_aborted(&mut self, entry: AbortedTransaction) -> Result<(), SegmentError> {
        self.segment.live_transactions().push(entry);
        self.write_transactions()
    }

    fn write_transactions(&mut self) -> Result<(), SegmentError> {
        let index = self.segment.live_transactions();
        self.txn_written = self.txn_written.min(index.len());
        if self.txn_written == index.len() {
            return Ok(());
        }
        if self.txnindex.is_none() {
            let path = self.segment.file_path(Suffix::TxnIndex);
            self.txnindex = Some(self.segment.storage().open(&path, Open::Create)?);
        }
        if let Some(file) = &self.txnindex {
            let bytes = index.encode();
            let position = self.txn_written * TXN_INDEX_ENTRY;
            file.write_at(position as u64, bytes[position..].to_vec())?;
        }
        self.txn_written = index.len();
        Ok(())
    }

    /// Puts `entries` in place of the aborted transactions whose marker stands at or behind `from`, in
    /// memory and in the file: what recovery learnt from the batches. Before readers share the segment.
    ///
    /// What the file rightly holds is not written again: a recovery that is interrupted here may be followed by one
    /// that believes the file. Where more has to change than its end, another file takes its place.
    pub fn restore_transactions(
        &mut self,
        from: Offset,
        entries: Vec<AbortedTransaction>,
    ) -> Result<(), SegmentError> {
        let index = self.segment.live_transactions();
        index.truncate_to(from);
        for entry in entries {
            index.push(entry);
        }
        let (wanted, count) = (index.encode(), index.len());
        let found = match &self.txnindex {
            Some(file) => file.read_at(0, wanted.len())?,
            None => Vec::new(),
        };
        if found == wanted {
            self.txn_written = count;
            return self.trim_transactions();
        }
        if let Some(file) = self.txnindex.as_ref().filter(|_| twin!(TransactionsOverwritten)) {
            file.set_len(0)?;
            self.txn_written = 0;
            return self.write_transactions();
        }
        let path = self.segment.file_path(Suffix::TxnIndex);
        self.segment.storage().replace(&path, &wanted)?;
        self.txnindex = Some(self.segment.storage().open(&path, Open::Write)?);
        self.txn_written = count;
        Ok(())
    }

    /// Writes the pending entries to the index files, whose lengths then are entries × 8 and × 12.
    pub fn write_indexes(&mut self) -> Result<(), SegmentError> {
        let tables = self.segment.live_tables();
        self.index.append(tables.offsets.encode(self.index.written()))?;
        self.timeindex.append(tables.times.encode(self.timeindex.written()))?;
        self.write_transactions()
    }

    /// The index files, to be synced before the recovery point passes what they index.
    pub fn index_files(&self) -> Vec<File> {
        let always = [&self.index.file, &self.timeindex.file];
        let transactions = self.txnindex.iter().filter(|_| !twin!(TransactionsUnsynced));
        always.into_iter().chain(transactions).cloned().collect()
    }

    /// Cuts off every batch whose last offset is `offset` or larger, with its index entries. Durable
    /// once the caller has synced the log and the index files.
    ///
    /// The cut counts from the moment that readers could see it: where the disk fails behind that, an
    /// error is returned, the shorter log is what is published, and the files follow at the latest
    /// before the next append.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<Truncation, SegmentError> {
        let Some((position, first_gone)) = self.segment.locate(offset)? else {
            if offset < self.next_offset() {
                // What was behind the last batch was compacted away.
                let (len, next_offset) = (self.len(), offset.max(self.base_offset()));
                self.forget(len, next_offset, self.rule.largest());
            }
            // An earlier cut may have failed on the disk.
            self.trim_indexes()?;
            if self.tail == Tail::Torn {
                self.trim()?;
            }
            let (len, next_offset) = (self.len(), self.next_offset());
            return Ok(Truncation { removed_bytes: 0, len, next_offset });
        };
        let next_offset = offset.clamp(self.base_offset(), first_gone.base_offset);
        let removed_bytes = self.len() - position;
        let view = self.segment.published().view().cut(position, next_offset);
        let largest = self.segment.largest_left(&view)?;
        self.forget(position, next_offset, largest);
        self.trim_indexes()?;
        self.trim()?;
        Ok(Truncation { removed_bytes, len: position, next_offset })
    }

    /// The part of a truncation that is in memory.
    fn forget(&mut self, len: u64, next_offset: Offset, largest: LargestTimestamp) {
        self.segment.published().truncated(len, next_offset);
        self.segment.published().set_largest(largest);
        let tables = self.segment.live_tables();
        tables.offsets.truncate_at(len);
        tables.times.truncate_to(next_offset);
        self.segment.live_transactions().truncate_to(next_offset);
        self.txn_written = self.txn_written.min(self.segment.live_transactions().len());
        self.rule.resume(tables.bytes_since_entry(len), largest);
        self.index.truncated(tables.offsets.len());
        self.timeindex.truncated(tables.times.len());
        self.tail = Tail::Torn;
        if len == 0 {
            self.first_timestamp = None;
        }
    }

    /// Ends the segment, or closes it cleanly: writes the final time index entry and all pending
    /// ones, trims every file to Kafka's shape. Making it durable is the caller's.
    pub fn seal(mut self) -> Result<(Arc<Segment>, Seal), SealFailure> {
        let seal = match self.close() {
            Ok(seal) => seal,
            Err(error) => return Err(SealFailure { segment: Box::new(self), error }),
        };
        let (active, published) = (&self.segment, self.segment.published().clone());
        let (storage, dir) = (active.storage(), active.dir());
        // The tables go with the active form: a sealed segment reads them again when it is asked.
        let sealed = Segment::new(
            storage,
            dir,
            active.base_offset(),
            published,
            Some(seal.clone()),
            active.options(),
        );
        Ok((Arc::new(sealed.with_file(self.file).mappable()), seal))
    }

    /// As [`ActiveSegment::seal`], for a log that is closed: its readers keep what they hold. Nothing may
    /// be appended any more.
    pub fn close(&mut self) -> Result<Seal, SegmentError> {
        let tables = self.segment.live_tables();
        self.rule.finish(&tables.times);
        let index_crc = crc32c::crc32c(&tables.offsets.encode(0));
        let timeindex_crc = crc32c::crc32c(&tables.times.encode(0));
        let txnindex_crc = crc32c::crc32c(&self.segment.live_transactions().encode());
        self.write_indexes()?;
        self.trim_transactions()?;
        self.trim()?;
        Ok(Seal {
            base_offset: self.base_offset(),
            log_len: self.len(),
            next_offset: self.next_offset(),
            largest_timestamp: self.rule.largest(),
            index_crc,
            timeindex_crc,
            txnindex_crc,
        })
    }

    /// Cuts the log to what is published.
    pub(crate) fn trim(&mut self) -> Result<(), SegmentError> {
        if self.tail == Tail::Reserved && twin!(ReserveNotTrimmed) {
            return Ok(());
        }
        if self.tail != Tail::Exact {
            self.file.set_len(self.len())?;
            self.tail = Tail::Exact;
            self.prepared = 0;
            self.room.push(self.len());
        }
        Ok(())
    }

    fn trim_indexes(&mut self) -> Result<(), SegmentError> {
        self.index.trim()?;
        self.timeindex.trim()?;
        self.trim_transactions()
    }

    pub(super) fn trim_transactions(&mut self) -> Result<(), SegmentError> {
        self.write_transactions()?;
        let len = (self.segment.live_transactions().len() * TXN_INDEX_ENTRY) as u64;
        if let Some(file) = &self.txnindex
            && file.len()? != len
        {
            file.set_len(len)?;
        }
        Ok(())
    }
}

/// A new `.log`. An empty one that is there already is what a creation has left whose clean-up failed too.
fn create_log(storage: &Storage, path: &Path) -> Result<File, SegmentError> {
    match storage.open(path, Open::CreateNew) {
        Err(error) if error.source.kind() == ErrorKind::AlreadyExists => {
            let file = storage.open(path, Open::Write)?;
            if file.is_empty()? { Ok(file) } else { Err(error.into()) }
        }
        other => Ok(other?),
    }
}
