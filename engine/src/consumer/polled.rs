//! What a poll gives: records that borrow the fetched bytes.

use std::sync::Arc;

use crate::{
    error::Corruption,
    log::Fetched,
    record::{Batch, BatchError, BatchHeader, Decoder, Record, RecordCursor, RecordHeaders},
    sync::Mutex,
    types::{Offset, TopicName, TopicPartition},
};

/// Readers that are kept for the next poll; more are only in use when many polls' records are held at
/// once.
const KEPT_READERS: usize = 4;

/// A record, borrowed from the fetched bytes, or from the buffer that its batch was decompressed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerRecord<'a> {
    /// The topic.
    pub topic: &'a TopicName,
    /// The partition's number.
    pub partition: u32,
    /// Its position in the partition.
    pub offset: Offset,
    /// Milliseconds since 1970-01-01 UTC; −1 for none.
    pub timestamp: i64,
    /// Its key; null and empty are told apart.
    pub key: Option<&'a [u8]>,
    /// Its value; null and empty are told apart.
    pub value: Option<&'a [u8]>,
    record: Record<'a>,
}

impl<'a> ConsumerRecord<'a> {
    fn new(place: &'a TopicPartition, record: Record<'a>) -> Self {
        let Record { offset, timestamp, key, value, .. } = record;
        let (topic, partition) = (&place.topic, place.partition);
        Self { topic, partition, offset, timestamp, key, value, record }
    }

    /// The headers, in their order.
    pub fn headers(&self) -> RecordHeaders<'a> {
        self.record.headers()
    }
}

/// A position that was set anew, because the log no longer holds it (`auto.offset.reset`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The partition.
    pub partition: TopicPartition,
    /// The position before.
    pub from: Offset,
    /// The position now. Between the two lies what the consumer will not see.
    pub to: Offset,
    /// First offset that the log held then.
    pub log_start: Offset,
    /// Its log end offset then.
    pub log_end: Offset,
}

/// The records of one poll. It owns the fetched bytes: keep it, or hand it to another thread, while the
/// consumer goes on.
///
/// ```no_run
/// # use trunkline::{consumer::Consumer, error::Corruption};
/// # fn read(consumer: &mut Consumer) -> Result<(), Box<dyn std::error::Error>> {
/// let mut polled = consumer.poll(std::time::Duration::from_secs(1))?;
/// while let Some(record) = polled.next_record()? {
///     println!("{} {}: {:?}", record.partition, record.offset, record.value);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Polled {
    slices: Vec<Slice>,
    resets: Vec<Reset>,
    /// The slice that is read.
    at: usize,
    reader: Reader,
    /// Where the reader goes back to.
    home: Arc<Mutex<Vec<Reader>>>,
}

/// A run of records of one batch.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) place: Arc<TopicPartition>,
    pub(super) batch: StoredBatch,
    /// Records below stand in the batch, but are not asked for.
    pub(super) from: Offset,
    /// Records from there on.
    pub(super) count: usize,
}

/// A batch in fetched bytes, whose checksum was checked.
#[derive(Debug, Clone)]
pub(super) struct StoredBatch {
    pub(super) fetched: Arc<Fetched>,
    /// Where it stands in the bytes.
    pub(super) at: usize,
    pub(super) header: BatchHeader,
    /// No record of it is given out: it is a control batch, or its transaction was aborted.
    pub(super) passed_over: bool,
}

impl StoredBatch {
    pub(super) fn batch(&self) -> Batch<'_> {
        let bytes = &self.fetched.bytes()[self.at..][..self.header.total_bytes()];
        Batch::trusted(bytes, self.header)
    }

    pub(super) fn corruption(&self, error: BatchError) -> Corruption {
        let position = self.fetched.position() + self.at as u64;
        error.into_corruption(self.fetched.path(), position)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fetched, &other.fetched) && self.at == other.at
    }
}

/// Where reading stands. It survives a [`Polled`]: the next one may begin in the middle of the batch
/// that was decompressed last, and goes on there.
#[derive(Debug)]
pub(super) struct Reader {
    decoder: Decoder,
    /// The batch that `decoder` and `cursor` belong to.
    open: Option<StoredBatch>,
    cursor: RecordCursor,
    /// Records below were passed.
    passed: Offset,
}

impl Default for Reader {
    fn default() -> Self {
        Self { decoder: Decoder::new(), open: None, cursor: RecordCursor::START, passed: 0 }
    }
}

impl Polled {
    pub(super) fn new(
        slices: Vec<Slice>,
        resets: Vec<Reset>,
        home: &Arc<Mutex<Vec<Reader>>>,
    ) -> Self {
        let reader = if slices.is_empty() { None } else { home.lock().pop() };
        Self { slices, resets, at: 0, reader: reader.unwrap_or_default(), home: home.clone() }
    }

    /// Records that are not read yet.
    pub fn len(&self) -> usize {
        self.slices[self.at..].iter().map(|slice| slice.count).sum()
    }

    /// Whether there is no record (any more). [`Polled::resets`] may have something to tell all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Positions that this poll set anew, because the log no longer held them. Nothing is ever skipped
    /// without standing here.
    pub fn resets(&self) -> &[Reset] {
        &self.resets
    }

    pub(super) fn says_something(&self) -> bool {
        !self.slices.is_empty() || !self.resets.is_empty()
    }

    /// The next record; `None` behind the last one. Partition by partition, each in the order of its
    /// offsets. The error is that of a batch whose checksum is right, but whose records are not:
    /// whoever wrote it erred. The batch's other records are then passed over.
    pub fn next_record(&mut self) -> Result<Option<ConsumerRecord<'_>>, Corruption> {
        while self.slices.get(self.at).is_some_and(|slice| slice.count == 0) {
            self.at += 1;
        }
        let Some(slice) = self.slices.get_mut(self.at) else { return Ok(None) };
        if let Err(error) = self.reader.open(&slice.batch, slice.from) {
            slice.count = 0;
            return Err(slice.batch.corruption(error));
        }
        let Slice { place, batch, count, from } = slice;
        let mut records = batch.batch().resume(self.reader.cursor, &self.reader.decoder);
        match expect_record(records.next(), batch) {
            Ok(record) => {
                self.reader.cursor = records.cursor();
                self.reader.passed = record.offset + 1;
                *from = record.offset + 1;
                *count -= 1;
                Ok(Some(ConsumerRecord::new(place, record)))
            }
            Err(corruption) => {
                *count = 0;
                Err(corruption)
            }
        }
    }

    /// Calls `each` with every record that [`Polled::next_record`] would give; a little faster.
    pub fn for_each(
        &mut self,
        mut each: impl FnMut(&ConsumerRecord<'_>),
    ) -> Result<(), Corruption> {
        while let Some(slice) = self.slices.get_mut(self.at) {
            let count = std::mem::take(&mut slice.count);
            if count > 0 {
                self.reader.read(slice, count, &mut each)?;
            }
            self.at += 1;
        }
        Ok(())
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if self.reader.open.is_some() {
            let mut home = self.home.lock();
            if home.len() < KEPT_READERS {
                home.push(std::mem::take(&mut self.reader));
            }
        }
    }
}

impl Reader {
    /// Stands before the first record of `batch` that is not below `from`.
    fn open(&mut self, batch: &StoredBatch, from: Offset) -> Result<(), BatchError> {
        let is_open = self.open.as_ref().is_some_and(|open| open.is(batch));
        if is_open && self.passed == from {
            return Ok(());
        }
        if !is_open {
            self.open = None;
            batch.batch().records(&mut self.decoder)?;
            self.open = Some(batch.clone());
        }
        if !is_open || self.passed > from {
            self.cursor = RecordCursor::START;
        }
        let mut records = batch.batch().resume(self.cursor, &self.decoder);
        loop {
            self.cursor = records.cursor();
            match records.next().transpose()? {
                Some(record) if record.offset < from => {}
                _ => break,
            }
        }
        self.passed = from;
        Ok(())
    }

    /// Calls `each` with `count` records of a slice.
    fn read(
        &mut self,
        slice: &Slice,
        count: usize,
        each: &mut impl FnMut(&ConsumerRecord<'_>),
    ) -> Result<(), Corruption> {
        let Slice { place, batch, from, .. } = slice;
        self.open(batch, *from).map_err(|error| batch.corruption(error))?;
        let mut records = batch.batch().resume(self.cursor, &self.decoder);
        let mut passed = self.passed;
        for _ in 0..count {
            let record = expect_record(records.next(), batch)?;
            passed = record.offset + 1;
            each(&ConsumerRecord::new(place, record));
        }
        (self.cursor, self.passed) = (records.cursor(), passed);
        Ok(())
    }
}

/// A record that must be there: the header counts it.
fn expect_record<'a>(
    record: Option<Result<Record<'a>, BatchError>>,
    batch: &StoredBatch,
) -> Result<Record<'a>, Corruption> {
    if let Some(result) = record {
        return result.map_err(|error| batch.corruption(error));
    }
    let at = batch.fetched.position() + batch.at as u64;
    let (path, count) = (batch.fetched.path(), batch.header.record_count);
    Err(Corruption::new(path, at, "records", count, "fewer of the offsets asked for"))
}
