//! Control batches: the markers that end a transaction
//! (`org.apache.kafka.common.record.EndTransactionMarker`).

use super::{
    Batch, BatchBuilder, BatchError, BatchSettings, Decoder, Encoder, NewRecord, Record,
    SealedBatch,
};
use crate::limits::BATCH_HEADER;

/// How a transaction ended. The numbers are those of the control record's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Marker {
    /// Its records are to be passed over.
    Abort,
    /// Its records count.
    Commit,
}

/// A transaction marker, read from a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionMarker {
    /// How the transaction ended.
    pub kind: Marker,
    /// Term of the transaction coordinator that wrote the marker.
    pub coordinator_epoch: i32,
}

/// Version of keys and values that are written.
const VERSION: i16 = 0;

/// The batch that ends a producer's transaction in one partition. `timestamp` is in milliseconds;
/// below −1 it counts as −1, none.
#[expect(clippy::missing_panics_doc, reason = "one small uncompressed record fits a batch")]
pub fn control_batch(
    kind: Marker,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp: i64,
) -> SealedBatch {
    let settings =
        BatchSettings { producer_id, producer_epoch, transactional: true, ..Default::default() };
    let mut key = [0; 4];
    key[..2].copy_from_slice(&VERSION.to_be_bytes());
    key[2..].copy_from_slice(&(kind as i16).to_be_bytes());
    let mut value = [0; 6];
    value[..2].copy_from_slice(&VERSION.to_be_bytes());
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let timestamp = timestamp.max(-1);
    let record = NewRecord { timestamp, key: Some(&key), value: Some(&value), headers: &[] };
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    builder
        .push(&record)
        .and_then(|_| builder.seal_as(&mut Encoder::new(), true))
        .expect("one small uncompressed record fits a batch")
}

impl Batch<'_> {
    /// The transaction marker of a control batch. `None` where the batch holds data, a control
    /// record of another kind (Kafka's metadata log has some), or, compacted, no record any more.
    pub fn marker(&self, decoder: &mut Decoder) -> Result<Option<TransactionMarker>, BatchError> {
        if !self.header().attributes.is_control() {
            return Ok(None);
        }
        match self.records(decoder)?.next().transpose()? {
            Some(record) => read_marker(&record),
            None => Ok(None),
        }
    }
}

fn read_marker(record: &Record<'_>) -> Result<Option<TransactionMarker>, BatchError> {
    let key = record.key.unwrap_or_default();
    let &[version_0, version_1, kind_0, kind_1, ..] = key else {
        return refuse("control record key", "at least 4 bytes", key.len() as i64);
    };
    known_version(version_0, version_1, "version of a control record's key")?;
    let kind = match i16::from_be_bytes([kind_0, kind_1]) {
        0 => Marker::Abort,
        1 => Marker::Commit,
        _ => return Ok(None),
    };
    let value = record.value.unwrap_or_default();
    let &[version_0, version_1, a, b, c, d, ..] = value else {
        return refuse("control record value", "at least 6 bytes", value.len() as i64);
    };
    known_version(version_0, version_1, "version of a transaction marker")?;
    let coordinator_epoch = i32::from_be_bytes([a, b, c, d]);
    Ok(Some(TransactionMarker { kind, coordinator_epoch }))
}

/// Later versions only add fields behind, so they are read as the one that is known.
fn known_version(high: u8, low: u8, what: &'static str) -> Result<(), BatchError> {
    match i16::from_be_bytes([high, low]) {
        version if version < VERSION => refuse(what, "at least 0", version as i64),
        _ => Ok(()),
    }
}

fn refuse<T>(what: &'static str, expected: &'static str, found: i64) -> Result<T, BatchError> {
    // A marker stands alone in its batch: the fault is told to the record, not the byte.
    Err(BatchError::Record {
        record: 0,
        at: BATCH_HEADER,
        compressed: false,
        what,
        expected,
        found,
    })
}
