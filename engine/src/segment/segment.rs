//! A segment as its readers share it: sealed, or still being appended to.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{
    SegmentBytes, SegmentError, SegmentOptions, SegmentView, Suffix,
    bytes::Kind,
    name::file_path,
    published::{Published, View},
    seal::Seal,
    tables::Tables,
    txn_index::{AbortedTransaction, TxnIndex},
    walk::Headers,
};
use crate::{
    error::{Corruption, IoError},
    io::{File, Map, Open, Storage},
    limits::{BATCH_HEADER, MAX_CHECKPOINT_BYTES, TXN_INDEX_ENTRY},
    sync::Mutex,
    types::Offset,
};

/// One segment. All methods take `&self`, none waits for the appender.
#[derive(Debug)]
pub struct Segment {
    storage: Storage,
    dir: PathBuf,
    path: PathBuf,
    base_offset: Offset,
    options: SegmentOptions,
    /// Shared by all that stand for the same file: a truncation must reach every reader.
    published: Arc<Published>,
    seal: Option<Seal>,
    log: OnceLock<File>,
    mapping: Mutex<Mapping>,
    tables: OnceLock<Tables>,
    rebuilt: OnceLock<Tables>,
    checked: OnceLock<Tables>,
    /// A damaged one is not read again: once it is deleted it would pass for one that never was.
    transactions: OnceLock<Result<TxnIndex, Corruption>>,
}

/// What becomes of the file in memory.
#[derive(Debug)]
enum Mapping {
    /// It is read plainly: bytes are still appended to it, or cut off.
    None,
    /// It is mapped by the first reader who wants a range of it.
    Wanted,
    Mapped(Arc<Map>),
}

impl Segment {
    /// A sealed segment of `dir`, known by its folder entry: `len` is the file's length, and
    /// `next_offset` is where the next segment begins. Opens no file; what is needed is opened and
    /// read on first use. A `seal` that does not fit the length is left aside.
    pub fn sealed(
        storage: &Storage,
        dir: &Path,
        base_offset: Offset,
        len: u64,
        next_offset: Offset,
        seal: Option<Seal>,
        options: &SegmentOptions,
    ) -> Arc<Self> {
        let seal = seal.filter(|seal| seal.fits(base_offset, len, next_offset));
        let next_offset = seal.as_ref().map_or(next_offset, |seal| seal.next_offset);
        let published = Arc::new(Published::new(len, next_offset));
        if let Some(seal) = &seal {
            published.set_largest(seal.largest_timestamp);
        }
        let segment = Self::new(storage, dir, base_offset, published, seal, options);
        Arc::new(segment.mappable())
    }

    pub(super) fn new(
        storage: &Storage,
        dir: &Path,
        base_offset: Offset,
        published: Arc<Published>,
        seal: Option<Seal>,
        options: &SegmentOptions,
    ) -> Self {
        Self {
            storage: storage.clone(),
            dir: dir.into(),
            path: file_path(dir, base_offset, Suffix::Log),
            base_offset,
            options: options.clone(),
            published,
            seal,
            log: OnceLock::new(),
            mapping: Mutex::new(Mapping::None),
            tables: OnceLock::new(),
            rebuilt: OnceLock::new(),
            checked: OnceLock::new(),
            transactions: OnceLock::new(),
        }
    }

    /// Offset that names the segment: no batch of it begins below.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Offset behind the last batch. Of a sealed segment without a seal: where the next one begins.
    pub fn next_offset(&self) -> Offset {
        self.published.next_offset()
    }

    /// Bytes of whole batches that are written, from the file's start.
    pub fn len(&self) -> u64 {
        self.published.len()
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `.log` file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of one of the segment's files.
    pub fn file_path(&self, suffix: Suffix) -> PathBuf {
        file_path(&self.dir, self.base_offset, suffix)
    }

    /// The `.log` file; a sealed segment's is opened on first use.
    pub fn file(&self) -> Result<&File, IoError> {
        if let Some(file) = self.log.get() {
            return Ok(file);
        }
        let file = self.storage.open(&self.path, Open::Read)?;
        Ok(self.log.get_or_init(|| file))
    }

    /// What is known of the segment since it was sealed, while that holds.
    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref().filter(|seal| seal.log_len == self.len())
    }

    /// The segment as it is now, for several answers that must fit each other.
    pub fn view(&self) -> SegmentView<'_> {
        SegmentView::new(self, self.published.view())
    }

    /// Whole batches from byte `position`, where one must start, up to `upto` (no further than the
    /// published length) and at most `max_bytes`; with `first_whole` the first batch comes even when
    /// it is larger. Empty where no batch fits.
    ///
    /// Headers are checked for sanity and continuity; the CRC is the caller's to check. Who has
    /// `position` from another call takes both from one [`Segment::view`].
    pub fn read(
        &self,
        position: u64,
        upto: u64,
        max_bytes: usize,
        first_whole: bool,
    ) -> Result<SegmentBytes, SegmentError> {
        self.view().read(position, upto, max_bytes, first_whole)
    }

    pub(super) fn read_in(
        &self,
        view: &View,
        position: u64,
        upto: u64,
        max_bytes: usize,
        first_whole: bool,
    ) -> Result<SegmentBytes, SegmentError> {
        let room = upto.min(view.len).saturating_sub(position);
        let least = if first_whole { BATCH_HEADER as u64 } else { 0 };
        let wanted = (max_bytes as u64).max(least).min(room) as usize;
        if wanted < BATCH_HEADER {
            return Ok(SegmentBytes::default());
        }
        let mut bytes = self.start_reading(view, position, wanted)?;
        if bytes.is_mapped() {
            self.touch_headers(&bytes, position);
        }
        let (whole, first) = self.whole_batches(&bytes, position, view)?;
        let is_beyond = first as u64 > room && !twin!(LengthBelieved);
        if whole > 0 || !first_whole || is_beyond {
            bytes.truncate(whole);
            return Ok(bytes);
        }
        // What was read is not read again: it has told where the batch ends.
        self.read_on(bytes, position, first)
    }

    /// Has memory give the headers that the index knows of, all side by side. The walk that follows learns
    /// the place of each from the one before, and would wait for one after the other: a tenth of the time
    /// of a scan with checksums.
    fn touch_headers(&self, bytes: &[u8], position: u64) {
        let Some(tables) = self.tables.get() else { return };
        let places = tables.offsets.positions_from(position).map(|at| (at - position) as usize);
        let touched = places
            .take_while(|at| *at < bytes.len())
            .filter_map(|at| Some(bytes[at] ^ bytes.get(at + BATCH_HEADER - 1)?))
            .fold(0, |all, byte| all ^ byte);
        black_box(touched);
    }

    /// `len` bytes, all of them published.
    fn start_reading(
        &self,
        view: &View,
        position: u64,
        len: usize,
    ) -> Result<SegmentBytes, SegmentError> {
        let nothing = match self.map(view)? {
            Some(map) => Kind::Mapped { map, start: position as usize, len: 0 },
            None => Kind::Read(Vec::new()),
        };
        self.read_on(SegmentBytes(nothing), position, len)
    }

    /// `bytes`, which stand at `position`, with as many behind them as make `len`.
    fn read_on(
        &self,
        bytes: SegmentBytes,
        position: u64,
        len: usize,
    ) -> Result<SegmentBytes, SegmentError> {
        let at = position + bytes.len() as u64;
        let mut bytes = SegmentBytes(match bytes.0 {
            Kind::Mapped { map, start, .. } => {
                let unreadable = |error| IoError::at("read", &self.path, at, error);
                map.bytes(start..start + len).map_err(unreadable)?;
                Kind::Mapped { map, start, len }
            }
            Kind::Read(mut bytes) => {
                bytes.reserve_exact(len - bytes.len());
                Kind::Read(self.file()?.read_into(at, bytes)?)
            }
        });
        bytes.truncate(len);
        self.check_complete(&bytes, position, len)?;
        Ok(bytes)
    }

    /// The mapped file, which has all bytes of `view`; `None` where it is to be read plainly.
    fn map(&self, view: &View) -> Result<Option<Arc<Map>>, IoError> {
        let mut mapping = self.mapping.lock();
        if matches!(*mapping, Mapping::Wanted) {
            *mapping = match self.file()?.map() {
                Ok(Some(map)) => Mapping::Mapped(map),
                Ok(None) => Mapping::None,
                Err(error) => {
                    // A process may have so many maps, and no more.
                    tracing::debug!(%error, "the segment is read plainly");
                    Mapping::None
                }
            };
        }
        match &*mapping {
            Mapping::Mapped(map) if map.len() as u64 >= view.len => Ok(Some(map.clone())),
            _ => Ok(None),
        }
    }

    /// The mapped file, if somebody has wanted it before.
    pub(super) fn mapped(&self) -> Option<Arc<Map>> {
        match &*self.mapping.lock() {
            Mapping::Mapped(map) => Some(map.clone()),
            _ => None,
        }
    }

    /// The segment is going to be cut, or appended to, or its folder given back: from now on it is read
    /// plainly. Those who hold mapped bytes keep them, and the file mapped ([`File::mapped_len`]).
    pub(crate) fn unmap(&self) {
        *self.mapping.lock() = Mapping::None;
    }

    /// The file is going to be cut to `len` bytes, below `next_offset`, and to go on in other hands: those who
    /// hold this segment read no further, and hear of it ([`SegmentError::Truncated`]).
    pub(crate) fn give_up(&self, len: u64, next_offset: Offset) {
        self.unmap();
        self.published().truncated(len, next_offset);
    }

    /// Bytes of the whole batches at the start of `bytes`, and of the first one, whole or not.
    fn whole_batches(
        &self,
        bytes: &[u8],
        position: u64,
        view: &View,
    ) -> Result<(usize, usize), SegmentError> {
        let (mut at, mut first) = (0, 0);
        let mut expected = (position == 0).then_some(self.base_offset);
        while bytes.len() - at >= BATCH_HEADER {
            let header = match self.check_header(&bytes[at..], position + at as u64, expected, view)
            {
                // What stands before it can be read; who goes on from there gets the error.
                Err(SegmentError::Corrupt(_)) if at > 0 => break,
                other => other?,
            };
            let total = header.total_bytes();
            if first == 0 {
                first = total;
            }
            if total > bytes.len() - at {
                break;
            }
            at += total;
            expected = Some(header.next_offset());
        }
        Ok((at, first))
    }

    /// Largest timestamp of the first batch, milliseconds, from which Kafka counts `segment.ms`;
    /// `None` where the segment is empty.
    pub fn first_timestamp(&self) -> Result<Option<i64>, SegmentError> {
        let first = self.headers(0).next().transpose()?;
        Ok(first.map(|(_, header)| header.max_timestamp))
    }

    /// The headers from byte `position` on, where a batch must start, up to the published end of now.
    pub fn headers(&self, position: u64) -> Headers<'_> {
        self.view().headers(position)
    }

    /// Collects the aborted transactions that touch `from..upto`; says whether that is all, or
    /// later segments may hold more (Kafka: `collectAbortedTxns`).
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upto: Offset,
        into: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, SegmentError> {
        Ok(self.transactions()?.collect(from, upto, into))
    }

    /// The index of aborted transactions. Corrupt, it is to be rebuilt from the producers' state.
    pub fn transactions(&self) -> Result<&TxnIndex, SegmentError> {
        self.transactions_by(|| Ok(None))
    }

    /// As [`Segment::transactions`]; but where no checksum vouches for an index that holds something, it
    /// is what `replay` has from the log, if that can tell. Asked once a segment.
    pub fn transactions_by(
        &self,
        replay: impl FnOnce() -> Result<Option<Vec<AbortedTransaction>>, SegmentError>,
    ) -> Result<&TxnIndex, SegmentError> {
        let known = if let Some(known) = self.transactions.get() {
            known
        } else {
            let loaded = match self.load_transactions() {
                Err(SegmentError::Corrupt(corruption)) => Err(corruption),
                other => Ok(other?),
            };
            let is_sound = |index: &TxnIndex| self.seal().is_some() || index.is_empty();
            let replayed = if loaded.as_ref().is_ok_and(is_sound) { None } else { replay()? };
            let index = replayed.map_or(loaded, |entries| Ok(TxnIndex::of(entries)));
            self.transactions.get_or_init(|| index)
        };
        known.as_ref().map_err(|corruption| corruption.clone().into())
    }

    /// The index of aborted transactions is `entries` from now on, whatever its file says: what a recovery has
    /// learnt. Before readers share the segment.
    pub(crate) fn tell_transactions(&self, entries: Vec<AbortedTransaction>) {
        self.transactions.get_or_init(|| Ok(TxnIndex::of(entries)));
    }

    pub(crate) fn load_transactions(&self) -> Result<TxnIndex, SegmentError> {
        let (path, bytes) = self.read_transactions()?;
        let found = crc32c::crc32c(&bytes);
        match self.seal() {
            Some(seal) if seal.txnindex_crc != found => {
                let (expected, found) =
                    (format!("{:#010x}", seal.txnindex_crc), format!("{found:#010x}"));
                Err(Corruption::new(&path, 0, "checksum of the file", expected, found).into())
            }
            _ => Ok(TxnIndex::decode(&path, self.base_offset, &bytes)?),
        }
    }

    fn read_transactions(&self) -> Result<(PathBuf, Vec<u8>), SegmentError> {
        let path = self.file_path(Suffix::TxnIndex);
        // At least a batch with records and one with the marker belong to a transaction. A crash may
        // have taken them from the log.
        let limit = (self.len() / BATCH_HEADER as u64 + 1) * TXN_INDEX_ENTRY as u64;
        match self.storage.read(&path, limit.max(MAX_CHECKPOINT_BYTES)) {
            Err(error) if error.is_not_found() => Ok((path, Vec::new())),
            other => Ok((path, other?)),
        }
    }

    pub(super) fn tables(&self, view: &View) -> Result<&Tables, SegmentError> {
        self.loaded(view).map_or_else(|| self.rebuilt(view), Ok)
    }

    /// The appender's tables, or those of the index files where they can be used.
    pub(super) fn loaded(&self, view: &View) -> Option<&Tables> {
        if let Some(tables) = self.tables.get() {
            return Some(tables);
        }
        let tables = Tables::load(self, view)?;
        Some(self.tables.get_or_init(|| tables))
    }

    /// The offset index as the headers give it.
    pub(super) fn rebuilt(&self, view: &View) -> Result<&Tables, SegmentError> {
        if let Some(tables) = self.rebuilt.get() {
            return Ok(tables);
        }
        let tables = Tables::rebuild(self, view)?;
        Ok(self.rebuilt.get_or_init(|| tables))
    }

    /// The tables as the batches give them whose checksums fit, up to the first that does not.
    pub(super) fn checked(&self, view: &View) -> Result<&Tables, SegmentError> {
        if let Some(tables) = self.checked.get() {
            return Ok(tables);
        }
        let tables = Tables::rebuild_checked(self, view)?;
        Ok(self.checked.get_or_init(|| tables))
    }

    pub(super) fn has_checked_times(&self) -> bool {
        self.checked.get().is_some()
    }

    /// The file must have given what the published length promises.
    fn check_complete(
        &self,
        bytes: &[u8],
        position: u64,
        wanted: usize,
    ) -> Result<(), SegmentError> {
        if bytes.len() == wanted {
            return Ok(());
        }
        let (expected, found) = (position + wanted as u64, position + bytes.len() as u64);
        let expected = format!("at least {expected} bytes");
        Err(Corruption::new(&self.path, found, "file length", expected, found).into())
    }

    /// A result that was had under `view`, unless a truncation has taken the log away meanwhile.
    pub(super) fn confirm<T>(
        &self,
        result: Result<T, SegmentError>,
        view: &View,
    ) -> Result<T, SegmentError> {
        if self.published.is_current(view) {
            return result;
        }
        Err(SegmentError::Truncated { path: self.path.clone() })
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn options(&self) -> &SegmentOptions {
        &self.options
    }

    pub(super) fn gaps_allowed(&self) -> bool {
        self.options.gaps_allowed
    }

    pub(super) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Gives the segment an open file and tables, before it is shared.
    pub(super) fn with_file(mut self, file: File) -> Self {
        self.log = OnceLock::from(file);
        self
    }

    /// As nothing is appended to it any more.
    pub(super) fn mappable(self) -> Self {
        *self.mapping.lock() = Mapping::Wanted;
        self
    }

    pub(super) fn with_tables(mut self, tables: Tables) -> Self {
        self.tables = OnceLock::from(tables);
        self
    }

    pub(super) fn with_transactions(mut self, transactions: TxnIndex) -> Self {
        self.transactions = OnceLock::from(Ok(transactions));
        self
    }

    /// What the seal says ends with the next append.
    pub(super) fn without_seal(mut self) -> Self {
        self.seal = None;
        self
    }

    /// The tables of a segment that is appended to.
    pub(super) fn live_tables(&self) -> &Tables {
        self.tables.get().expect("an active segment is made with its tables")
    }

    /// The transactions of a segment that is appended to.
    pub(super) fn live_transactions(&self) -> &TxnIndex {
        let known = self.transactions.get().and_then(|known| known.as_ref().ok());
        known.expect("an active segment is made with its transactions")
    }
}
