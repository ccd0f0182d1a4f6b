//! A batch that is too large for its topic goes on as several (Kafka: `ProducerBatch.split`). That
//! happens where compression gained less than batch.size hoped for.

use crate::record::{
    BatchBuilder, BatchSettings, Decoder, Encoder, Header, NewRecord, RecordError, SealedBatch,
};

/// The parts of a batch, in order: the index of each part's first record in the whole, and the part,
/// or why a single record can't be sent.
pub(super) type Parts = Vec<(u32, Result<SealedBatch, TooLarge>)>;

/// A record that alone is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// Bytes of its batch, sealed.
    pub(super) bytes: usize,
}

/// Splits `batch`, of which this producer knows that it is sound, into parts that take at most
/// `limit` bytes sealed.
pub(super) fn split(
    batch: &SealedBatch,
    settings: BatchSettings,
    limit: usize,
    encoder: &mut Encoder,
    decoder: &mut Decoder,
) -> Result<Parts, RecordError> {
    let mut parts = Vec::new();
    let mut rest = vec![(0, batch.clone())];
    while let Some((first, batch)) = rest.pop() {
        let bytes = batch.bytes().len();
        if bytes <= limit {
            parts.push((first, Ok(batch)));
        } else if batch.header().record_count == 1 {
            parts.push((first, Err(TooLarge { bytes })));
        } else {
            let smaller = divide(&batch, settings, bytes.div_ceil(limit), encoder, decoder)?;
            rest.extend(smaller.into_iter().rev().map(|(index, part)| (first + index, part)));
        }
    }
    Ok(parts)
}

/// Divides a batch into at least two, with about a `pieces`-th of the bytes before compression each.
fn divide(
    batch: &SealedBatch,
    settings: BatchSettings,
    pieces: usize,
    encoder: &mut Encoder,
    decoder: &mut Decoder,
) -> Result<Vec<(u32, SealedBatch)>, RecordError> {
    let target = batch.raw_bytes().div_ceil(pieces.max(2));
    let count = batch.header().record_count as u32;
    let records = batch.batch().records(decoder).expect("this producer made the batch");
    let mut parts = Vec::new();
    let (mut first, mut builder) = (0, BatchBuilder::new(Vec::with_capacity(target), settings));
    for (index, record) in (0..).zip(records) {
        let record = record.expect("this producer made the batch");
        let headers: Vec<Header<'_>> = record
            .headers()
            .map(|header| Header {
                name: std::str::from_utf8(header.name).expect("written from a string"),
                value: header.value,
            })
            .collect();
        builder.push(&NewRecord {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: &headers,
        })?;
        // Never all records in the first part: that would be the batch again.
        let is_last_but_one = parts.is_empty() && index + 2 >= count;
        if index + 1 < count && (builder.raw_bytes() >= target || is_last_but_one) {
            let next = BatchBuilder::new(Vec::with_capacity(target), settings);
            parts.push((first, std::mem::replace(&mut builder, next).seal(encoder)?));
            first = index + 1;
        }
    }
    parts.push((first, builder.seal(encoder)?));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Codec, Compression};

    fn random_batch(records: usize, bytes: usize, settings: BatchSettings) -> SealedBatch {
        let mut random = fastrand::Rng::with_seed(3);
        let mut builder = BatchBuilder::new(Vec::new(), settings);
        for index in 0..records {
            let value: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
            let name = format!("h{index}");
            let headers = [Header { name: &name, value: (index % 2 == 0).then_some(&[][..]) }];
            let key = (index % 3 != 0).then(|| index.to_be_bytes());
            let key = key.as_ref().map(|key| &key[..]);
            let value = (index % 5 != 0).then_some(&value[..]);
            let timestamp = 1_000 - index as i64;
            builder.push(&NewRecord { timestamp, key, value, headers: &headers }).unwrap();
        }
        builder.seal(&mut Encoder::new()).unwrap()
    }

    fn texts(batch: &SealedBatch) -> Vec<String> {
        let mut decoder = Decoder::new();
        let records = batch.batch().records(&mut decoder).unwrap();
        records
            .map(|record| {
                let record = record.unwrap();
                let headers: Vec<_> = record.headers().collect();
                format!("{} {:?} {:?} {headers:?}", record.timestamp, record.key, record.value)
            })
            .collect()
    }

    #[test]
    fn the_parts_hold_the_same_records_and_fit() {
        let compression = Compression::new(Codec::Zstd);
        for settings in
            [BatchSettings::default(), BatchSettings { compression, ..Default::default() }]
        {
            let batch = random_batch(100, 300, settings);
            let limit = 4_000;
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            let parts = split(&batch, settings, limit, &mut encoder, &mut decoder).unwrap();
            assert!(parts.len() >= 7);
            let mut after = Vec::new();
            for (first, part) in parts {
                let part = part.unwrap();
                assert!(part.bytes().len() <= limit);
                assert_eq!(first as usize, after.len());
                after.extend(texts(&part));
            }
            assert_eq!(after, texts(&batch));
        }
    }

    #[test]
    fn only_the_record_that_is_too_large_is_refused() {
        let settings = BatchSettings::default();
        let mut builder = BatchBuilder::new(Vec::new(), settings);
        for bytes in [10, 500, 10] {
            let value = Some(&[7; 500][..bytes]);
            builder.push(&NewRecord { value, ..Default::default() }).unwrap();
        }
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let batch = builder.seal(&mut encoder).unwrap();
        let parts = split(&batch, settings, 200, &mut encoder, &mut decoder).unwrap();
        let fits: Vec<_> = parts.iter().map(|(first, part)| (*first, part.is_ok())).collect();
        assert_eq!(fits, [(0, true), (1, false), (2, true)]);
    }
}
