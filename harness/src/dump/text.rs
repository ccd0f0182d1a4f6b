//! Lines as Apache Kafka's `DumpLogSegments` (4.3) prints them.

use std::io::{self, Write};

use trunkline::record::{Batch, BatchError, BatchHeader, Codec, Decoder, Marker, Record};

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// A line for each batch.
    Batches,
    /// And one for each record.
    Records,
    /// And its key and payload on it.
    Data,
}

/// Prints batches.
#[derive(Debug)]
pub(super) struct TextLines {
    detail: Detail,
}

impl TextLines {
    /// With so much detail.
    pub(super) fn new(detail: Detail) -> Self {
        Self { detail }
    }

    /// Prints a batch, which stands at byte `position` of its file, and its records up to the first
    /// that cannot be read.
    pub(super) fn batch(
        &mut self,
        out: &mut impl Write,
        position: u64,
        batch: &Batch<'_>,
        decoder: &mut Decoder,
    ) -> io::Result<Result<(), BatchError>> {
        let header = batch.header();
        batch_line(out, position, header, true)?;
        if self.detail == Detail::Batches {
            return Ok(Ok(()));
        }
        let marker = if header.attributes.is_control() {
            match batch.marker(decoder) {
                Ok(marker) => marker,
                Err(error) => return Ok(Err(error)),
            }
        } else {
            None
        };
        let records = match batch.records(decoder) {
            Ok(records) => records,
            Err(error) => return Ok(Err(error)),
        };
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => return Ok(Err(error)),
            };
            record_line(out, header, &record)?;
            if let Some(marker) = marker {
                let kind = match marker.kind {
                    Marker::Abort => "ABORT",
                    Marker::Commit => "COMMIT",
                };
                let epoch = marker.coordinator_epoch;
                write!(out, " endTxnMarker: {kind} coordinatorEpoch: {epoch}")?;
            }
            if self.detail == Detail::Data && !header.attributes.is_control() {
                data(out, &record)?;
            }
            out.write_all(b"\n")?;
        }
        Ok(Ok(()))
    }
}

/// The line of a batch. `is_valid`: its CRC is right.
pub(super) fn batch_line(
    out: &mut impl Write,
    position: u64,
    header: &BatchHeader,
    is_valid: bool,
) -> io::Result<()> {
    let attributes = header.attributes;
    let codec = Codec::from_id(attributes.codec_id()).map_or("unknown".into(), |it| it.to_string());
    let horizon = if attributes.has_delete_horizon() {
        format!("OptionalLong[{}]", header.base_timestamp)
    } else {
        "OptionalLong.empty".into()
    };
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {horizon} position: {position} {}: {} size: {} magic: 2 \
         compresscodec: {codec} crc: {} isvalid: {is_valid}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id,
        header.producer_epoch,
        header.leader_epoch,
        attributes.is_transactional(),
        attributes.is_control(),
        attributes.timestamp_type(),
        header.max_timestamp,
        header.total_bytes(),
        header.crc,
    )
}

fn record_line(out: &mut impl Write, header: &BatchHeader, record: &Record<'_>) -> io::Result<()> {
    let size = |field: Option<&[u8]>| field.map_or(-1, |bytes| bytes.len() as i64);
    write!(
        out,
        "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [",
        record.offset,
        header.attributes.timestamp_type(),
        record.timestamp,
        size(record.key),
        size(record.value),
        sequence(header, record),
    )?;
    for (number, header) in record.headers().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(out, "{comma}{}", String::from_utf8_lossy(header.name))?;
    }
    out.write_all(b"]")
}

/// The record's sequence; −1 where its producer has none. Wraps from `i32::MAX` to 0.
fn sequence(header: &BatchHeader, record: &Record<'_>) -> i64 {
    if header.base_sequence < 0 {
        return -1;
    }
    let sequence = header.base_sequence as i64 + (record.offset - header.base_offset);
    sequence % (i32::MAX as i64 + 1)
}

fn data(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    for (name, field) in [("key", record.key), ("payload", record.value)] {
        if let Some(bytes) = field {
            write!(out, " {name}: {}", String::from_utf8_lossy(bytes))?;
        }
    }
    Ok(())
}
