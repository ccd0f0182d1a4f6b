//! The room as a whole: golden bytes, round trips, damage.

mod edges;

use proptest::prelude::*;

use super::*;
use crate::limits::{BATCH_HEADER, MAX_BATCH_BYTES};

/// Two records with a key, a null, an empty value and headers, written by hand from Kafka's format.
#[rustfmt::skip]
const GOLDEN: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0,             // base offset
    0, 0, 0, 75,                        // batch length: 61 − 12 + 11 + 15
    0xFF, 0xFF, 0xFF, 0xFF,             // leader epoch −1
    2,                                  // magic
    0x36, 0x25, 0x26, 0xD1,             // crc
    0, 0x10,                            // attributes: transactional
    0, 0, 0, 1,                         // last offset delta
    0, 0, 0, 0, 0, 0, 0x03, 0xE8,       // base timestamp 1000
    0, 0, 0, 0, 0, 0, 0x03, 0xE8,       // max timestamp 1000
    0, 0, 0, 0, 0, 0, 0, 9,             // producer id
    0, 3,                               // producer epoch
    0, 0, 0, 70,                        // base sequence
    0, 0, 0, 2,                         // record count
    20, 0, 0, 0, 2, b'k', 6, b'a', b'b', b'c', 0, // 10 bytes, delta 0, offset 0, key "k", value "abc"
    28, 0, 0x85, 0x01, 2, 1, 0,         // 14 bytes, delta −67, offset 1, key null, value empty
    4, 2, b'h', 1, 2, b'i', 2, b'v',    // 2 headers: h = null, i = "v"
];

const GOLDEN_HEADERS: [Header<'_>; 2] =
    [Header { name: "h", value: None }, Header { name: "i", value: Some(b"v") }];
const GOLDEN_RECORDS: [NewRecord<'_>; 2] = [
    NewRecord { timestamp: 1000, key: Some(b"k"), value: Some(b"abc"), headers: &[] },
    NewRecord { timestamp: 933, key: None, value: Some(b""), headers: &GOLDEN_HEADERS },
];

fn build(settings: BatchSettings, records: &[NewRecord<'_>]) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(builder.push(record), Ok(index as u32));
    }
    builder.seal(&mut Encoder::new()).unwrap()
}

fn golden_with(codec: Codec) -> SealedBatch {
    let settings = BatchSettings {
        compression: codec.into(),
        producer_id: 9,
        producer_epoch: 3,
        base_sequence: 70,
        transactional: true,
    };
    build(settings, &GOLDEN_RECORDS)
}

/// A batch with `header`'s fields, and length and CRC of its own.
fn closed(header: BatchHeader, array: &[u8]) -> SealedBatch {
    let bytes = [&[0; BATCH_HEADER], array].concat();
    let raw_bytes = bytes.len();
    SealedBatch::close(bytes, header, raw_bytes)
}

/// The header of an uncompressed batch with timestamps from 1000 and a last offset delta of 9.
fn header(record_count: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 500,
        batch_length: 0,
        leader_epoch: 1,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: 9,
        base_timestamp: 1000,
        max_timestamp: 2000,
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        base_sequence: -1,
        record_count,
    }
}

/// The first error that reading the records gives.
fn fault(batch: &SealedBatch) -> BatchError {
    let mut decoder = Decoder::new();
    let mut records = match Batch::check(batch.bytes()).unwrap().records(&mut decoder) {
        Ok(records) => records,
        Err(error) => return error,
    };
    let error = records.by_ref().find_map(Result::err).expect("the batch is damaged");
    assert_eq!(records.next(), None, "an error ends the iteration");
    error
}

fn fault_of_array(record_count: i32, array: &[u8]) -> BatchError {
    fault(&closed(header(record_count), array))
}

#[test]
fn golden_bytes_are_written() {
    let sealed = golden_with(Codec::None);
    assert_eq!(sealed.bytes(), GOLDEN);
    assert_eq!(BatchHeader::parse(GOLDEN).as_ref(), Ok(sealed.header()));
    assert_eq!(sealed.raw_bytes(), GOLDEN.len());
}

#[test]
fn golden_bytes_are_read() {
    let batch = Batch::check(GOLDEN).unwrap();
    assert_eq!(batch.codec(), Codec::None);
    let mut decoder = Decoder::new();
    let records: Vec<_> = batch.records(&mut decoder).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 2);
    let [first, second] = [&records[0], &records[1]];
    assert_eq!((first.offset, first.timestamp), (0, 1000));
    assert_eq!((first.key, first.value), (Some(&b"k"[..]), Some(&b"abc"[..])));
    assert_eq!(first.headers().count(), 0);
    assert_eq!((second.offset, second.timestamp), (1, 933));
    assert_eq!((second.key, second.value), (None, Some(&b""[..])));
    assert_eq!(second.header_count(), 2);
    let headers: Vec<_> = second.headers().collect();
    assert_eq!(headers[0], RecordHeader { name: b"h", value: None });
    assert_eq!(headers[1], RecordHeader { name: b"i", value: Some(b"v") });
}

#[test]
fn an_uncompressed_batch_is_read_in_place() {
    let sealed = golden_with(Codec::None);
    let within = sealed.bytes().as_ptr_range();
    let mut decoder = Decoder::new();
    let batch = Batch::check(sealed.bytes()).unwrap();
    for record in batch.records(&mut decoder).unwrap().map(Result::unwrap) {
        let names = record.headers().map(|header| header.name);
        let values = record.headers().filter_map(|header| header.value);
        for slice in record.key.into_iter().chain(record.value).chain(names).chain(values) {
            let slice = slice.as_ptr_range();
            assert!(within.start <= slice.start && slice.end <= within.end);
        }
    }
    assert_eq!(decoder.buffer_bytes(), 0, "the decoder was not used");
}

#[test]
fn buffers_go_round() {
    let mut encoder = Encoder::new();
    let settings = BatchSettings { compression: Codec::Snappy.into(), ..Default::default() };
    let mut builder = BatchBuilder::new(Vec::with_capacity(4096), settings);
    builder.push(&GOLDEN_RECORDS[0]).unwrap();
    builder.seal(&mut encoder).unwrap();
    // The first builder's buffer, 4096 bytes large, now is the second batch's.
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    builder.push(&GOLDEN_RECORDS[0]).unwrap();
    assert_eq!(builder.seal(&mut encoder).unwrap().into_bytes().capacity(), 4096);
    // An uncompressed batch leaves in the buffer that it was built in.
    let buffer = Vec::with_capacity(4096);
    let place = buffer.as_ptr();
    let mut builder = BatchBuilder::new(buffer, BatchSettings::default());
    builder.push(&GOLDEN_RECORDS[0]).unwrap();
    assert_eq!(builder.seal(&mut encoder).unwrap().bytes().as_ptr(), place);
    // Of those that come back the larger one is kept.
    for [first, second] in [[10, 100_000], [100_000, 10]] {
        let mut encoder = Encoder::new();
        encoder.recycle(Vec::with_capacity(first));
        encoder.recycle(Vec::with_capacity(second));
        let mut builder = BatchBuilder::new(Vec::new(), settings);
        builder.push(&GOLDEN_RECORDS[0]).unwrap();
        assert_eq!(builder.seal(&mut encoder).unwrap().into_bytes().capacity(), 100_000);
    }
}

#[test]
fn a_batch_that_does_not_shrink_is_kept_compressed() {
    let settings = BatchSettings { compression: Codec::Gzip.into(), ..Default::default() };
    let sealed = build(settings, &[NewRecord { value: Some(b"x"), ..Default::default() }]);
    assert!(sealed.bytes().len() > sealed.raw_bytes());
    assert_eq!(sealed.header().attributes.codec_id(), Codec::Gzip.id());
}

#[test]
fn timestamps_of_the_header() {
    let at = |timestamp| NewRecord { timestamp, ..Default::default() };
    let sealed = build(BatchSettings::default(), &[at(50), at(40), at(70), at(-1)]);
    assert_eq!((sealed.header().base_timestamp, sealed.header().max_timestamp), (50, 70));
    let none = build(BatchSettings::default(), &[at(-1)]);
    assert_eq!((none.header().base_timestamp, none.header().max_timestamp), (-1, -1));
}

#[test]
fn log_append_time_is_that_of_every_record() {
    for codec in Codec::ALL {
        let mut sealed = golden_with(codec);
        sealed.set_log_append_time(77_777);
        let batch = Batch::check(sealed.bytes()).unwrap();
        assert_eq!(batch.header(), sealed.header());
        assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((batch.header().base_timestamp, batch.header().max_timestamp), (1000, 77_777));
        let mut decoder = Decoder::new();
        let records = batch.records(&mut decoder).unwrap();
        assert!(records.map(Result::unwrap).all(|record| record.timestamp == 77_777));
    }
}

#[test]
fn a_stamp_needs_no_new_crc() {
    let mut sealed = golden_with(Codec::Zstd);
    sealed.stamp(1 << 40, 12);
    let batch = Batch::check(sealed.bytes()).unwrap();
    assert_eq!(batch.header(), sealed.header());
    assert_eq!((batch.header().base_offset, batch.header().leader_epoch), (1 << 40, 12));
    let mut decoder = Decoder::new();
    let offsets = batch.records(&mut decoder).unwrap().map(|record| record.unwrap().offset);
    assert!(offsets.eq([1 << 40, (1 << 40) + 1]));
}

#[test]
fn outside_bytes_are_exactly_one_batch() {
    let sealed = golden_with(Codec::Lz4);
    let mut expected = sealed.clone();
    let bytes = sealed.into_bytes();
    let checked = SealedBatch::check(bytes.clone()).unwrap();
    assert_eq!(checked.raw_bytes(), bytes.len(), "what it was before compression is not known");
    assert_eq!(checked.header(), expected.header());
    expected.stamp(4, 4);
    let two = [&bytes[..], expected.bytes()].concat();
    let trailing = BatchError::Trailing { position: bytes.len(), found: bytes.len() };
    assert_eq!(SealedBatch::check(two.clone()), Err(trailing));
    let first = Batch::check(&two).unwrap();
    assert_eq!(first.bytes(), bytes);
    let second = Batch::check(&two[first.bytes().len()..]).unwrap();
    assert_eq!(second, expected.batch());
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let at = |timestamp| NewRecord { timestamp, ..Default::default() };
    assert_eq!(builder.push(&at(-2)), Err(RecordError::NegativeTimestamp { found: -2 }));
    builder.push(&at(-1)).unwrap();
    let before = builder.raw_bytes();
    let delta = RecordError::TimestampDelta { base: -1, found: i64::MAX };
    assert_eq!(builder.push(&at(i64::MAX)), Err(delta));
    let huge = vec![0; MAX_BATCH_BYTES];
    let too_large = builder.push(&NewRecord { value: Some(&huge), ..at(0) });
    assert!(matches!(too_large, Err(RecordError::TooLarge { limit: MAX_BATCH_BYTES, .. })));
    assert_eq!((builder.raw_bytes(), builder.record_count()), (before, 1));
    assert_eq!(builder.push(&at(5)), Ok(1));
}

#[test]
fn an_empty_batch_is_not_sealed() {
    let builder = BatchBuilder::new(vec![1, 2, 3], BatchSettings::default());
    assert!(builder.is_empty());
    assert_eq!(builder.raw_bytes(), BATCH_HEADER);
    assert_eq!(builder.seal(&mut Encoder::new()), Err(RecordError::Empty));
}

#[test]
fn a_producer_may_be_named_late() {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    builder.push(&GOLDEN_RECORDS[0]).unwrap();
    builder.set_producer(5, 6, 7);
    let header = *builder.seal(&mut Encoder::new()).unwrap().header();
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 6, 7));
}

// Control batches

#[test]
fn golden_bytes_of_a_marker() {
    let batch = control_batch(Marker::Commit, 7, 2, 0x0102_0304, 99);
    #[rustfmt::skip]
    let array = [
        32, 0, 0, 0,                 // 16 bytes, delta 0, offset 0
        8, 0, 0, 0, 1,               // key: version 0, type 1
        12, 0, 0, 1, 2, 3, 4,        // value: version 0, coordinator epoch
        0,                           // no headers
    ];
    assert_eq!(batch.bytes()[BATCH_HEADER..], array);
    let header = batch.header();
    assert!(header.attributes.is_control() && header.attributes.is_transactional());
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 2, -1));
    assert_eq!((header.base_timestamp, header.record_count), (99, 1));
}

#[test]
fn markers_go_both_ways() {
    let mut decoder = Decoder::new();
    for kind in [Marker::Abort, Marker::Commit] {
        let sealed = control_batch(kind, 7, 2, -3, -500);
        let marker = Batch::check(sealed.bytes()).unwrap().marker(&mut decoder);
        assert_eq!(marker, Ok(Some(TransactionMarker { kind, coordinator_epoch: -3 })));
    }
    let data = golden_with(Codec::Gzip);
    assert_eq!(data.batch().marker(&mut decoder), Ok(None));
}

#[test]
fn control_records_that_are_no_markers() {
    let control = |count, array: &[u8]| {
        let attributes = Attributes::default().with_control(true);
        closed(BatchHeader { attributes, ..header(count) }, array)
    };
    let read = |batch: &SealedBatch| batch.batch().marker(&mut Decoder::new());
    assert_eq!(read(&control(0, &[])), Ok(None), "compacted");
    let other_kind = [20, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0];
    assert_eq!(read(&control(1, &other_kind)), Ok(None), "a leader change");
    let later_version = [34, 0, 0, 0, 8, 0, 1, 0, 0, 14, 0, 1, 0, 0, 0, 8, 9, 0];
    let marker = TransactionMarker { kind: Marker::Abort, coordinator_epoch: 8 };
    assert_eq!(read(&control(1, &later_version)), Ok(Some(marker)));
    for (array, what) in [
        (&[14, 0, 0, 0, 2, 0, 1, 0][..], "control record key"),
        (&[12, 0, 0, 0, 1, 1, 0], "control record key"),
        (&[20, 0, 0, 0, 8, 0xFF, 0xFF, 0, 1, 1, 0], "version of a control record's key"),
        (&[20, 0, 0, 0, 8, 0, 0, 0, 1, 1, 0], "control record value"),
    ] {
        assert_eq!(read(&control(1, array)).unwrap_err().what(), what);
    }
}

// Compacted batches

#[test]
fn compacted_batches_keep_their_offsets() {
    let array = [12, 0, 0, 4, 1, 1, 0, 12, 0, 9, 14, 1, 1, 0];
    let sealed = closed(header(2), &array);
    let mut decoder = Decoder::new();
    let records: Vec<_> =
        sealed.batch().records(&mut decoder).unwrap().map(Result::unwrap).collect();
    assert_eq!([records[0].offset, records[1].offset], [502, 507]);
    assert_eq!([records[0].timestamp, records[1].timestamp], [1000, 995]);
    assert_eq!(sealed.header().next_offset(), 510);
}

#[test]
fn a_batch_may_have_lost_all_records() {
    for codec in Codec::ALL {
        let attributes = Attributes::default().with_codec(codec.id());
        let sealed = closed(BatchHeader { attributes, ..header(0) }, &[]);
        let mut decoder = Decoder::new();
        assert_eq!(sealed.batch().records(&mut decoder).unwrap().next(), None, "{codec}");
    }
}

// Damage

#[test]
fn every_flipped_bit_is_found_or_stands_outside_the_crc() {
    for codec in Codec::ALL {
        let good = golden_with(codec).into_bytes();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_stamped = matches!(bit / 8, 0..8 | 12..16);
            match Batch::check(&bytes) {
                Ok(_) => assert!(is_stamped, "{codec}: bit {bit} was not found"),
                Err(error) => {
                    let is_negative_offset = bit == 7;
                    assert!(!is_stamped || is_negative_offset, "{codec}: bit {bit}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_cut_off_batch_is_incomplete_at_each_length() {
    for codec in Codec::ALL {
        let good = golden_with(codec).into_bytes();
        for available in 0..good.len() {
            let needed = if available < BATCH_HEADER { BATCH_HEADER } else { good.len() };
            let error = Batch::check(&good[..available]).unwrap_err();
            assert_eq!(error, BatchError::Incomplete { needed, available });
        }
    }
}

#[test]
fn a_cut_off_array_under_a_right_crc_is_an_error_at_each_length() {
    for codec in Codec::ALL {
        let good = golden_with(codec);
        for length in BATCH_HEADER..good.bytes().len() {
            let cut = closed(*good.header(), &good.bytes()[BATCH_HEADER..length]);
            let error = fault(&cut);
            let position = error.position();
            assert!((BATCH_HEADER..=length).contains(&position), "{codec} at {length}: {error}");
        }
    }
}

#[test]
fn record_counts_that_lie() {
    for codec in Codec::ALL {
        let good = golden_with(codec);
        let array = &good.bytes()[BATCH_HEADER..];
        let base = BatchHeader { last_offset_delta: 2, ..*good.header() };
        let low = fault(&closed(BatchHeader { record_count: 1, ..base }, array));
        assert_eq!((low.what(), low.expected()), ("end of the records", "no more bytes".into()));
        let none = fault(&closed(BatchHeader { record_count: 0, ..base }, array));
        assert_eq!(none.what(), "end of the records");
        let high = fault(&closed(BatchHeader { record_count: 3, ..base }, array));
        assert_eq!(high.what(), "record length");
        assert!(matches!(high, BatchError::Record { record: 2, .. }));
    }
}

#[test]
fn bytes_behind_the_last_record_are_an_error() {
    let error = fault_of_array(1, &[12, 0, 0, 0, 1, 1, 0, 0]);
    let expected = BatchError::Record {
        record: 1,
        at: BATCH_HEADER + 7,
        compressed: false,
        what: "end of the records",
        expected: "no more bytes",
        found: 1,
    };
    assert_eq!(error, expected);
}

#[test]
fn lengths_that_lie_inside_a_record() {
    let cases: [(&[u8], &str, usize); 22] = [
        (&[], "record length", 0),
        (&[0x80], "record length", 0),
        (&[0xFF; 7], "record length", 0),
        (&[1, 0, 0, 0, 1, 1, 0], "record length", 0),
        (&[14, 0, 0, 0, 1, 1, 0], "record length", 0),
        (&[0], "record attributes", 1),
        (&[2, 0], "timestamp delta", 2),
        (&[6, 0, 0x80, 0x80], "timestamp delta", 2),
        (&[4, 0, 0], "offset delta", 3),
        (&[12, 0, 0, 1, 1, 1, 0], "offset delta", 4),
        (&[12, 0, 0, 20, 1, 1, 0], "offset delta", 4),
        (&[6, 0, 0, 0], "key length", 4),
        (&[12, 0, 0, 0, 3, 1, 0], "key length", 4),
        (&[12, 0, 0, 0, 6, 1, 0], "key length", 4),
        (&[8, 0, 0, 0, 1], "value length", 5),
        (&[12, 0, 0, 0, 1, 3, 0], "value length", 5),
        (&[12, 0, 0, 0, 1, 4, 0], "value length", 5),
        (&[10, 0, 0, 0, 1, 1], "header count", 6),
        (&[12, 0, 0, 0, 1, 1, 1], "header count", 6),
        (&[16, 0, 0, 0, 1, 1, 4, 0, 1], "header count", 6),
        (&[16, 0, 0, 0, 1, 1, 2, 1, 1], "header", 7),
        (&[18, 0, 0, 0, 1, 1, 2, 0, 1, 0], "end of the record", 9),
    ];
    for (array, what, at) in cases {
        let error = fault_of_array(1, array);
        assert_eq!((error.what(), error.position()), (what, BATCH_HEADER + at), "{array:?}");
    }
}

#[test]
fn offsets_must_rise() {
    let error = fault_of_array(2, &[12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0]);
    assert_eq!((error.what(), error.found()), ("offset delta", "1 in record 1".into()));
}

#[test]
fn a_timestamp_beyond_64_bits_is_an_error() {
    let header = BatchHeader { base_timestamp: i64::MAX, ..header(1) };
    assert_eq!(fault(&closed(header, &[12, 0, 2, 0, 1, 1, 0])).what(), "timestamp delta");
}

// Any records

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Owned {
    fn read(record: &Record<'_>) -> Self {
        let name = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        Self {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers()
                .map(|header| (name(header.name), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    fn push_to(&self, builder: &mut BatchBuilder) {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| Header { name, value: value.as_deref() })
            .collect();
        let record = NewRecord {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        };
        let before = builder.raw_bytes();
        builder.push(&record).unwrap();
        assert!(builder.raw_bytes() - before <= BatchBuilder::record_bytes(&record));
    }
}

fn any_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        Just(None),
        Just(Some(Vec::new())),
        prop::collection::vec(any::<u8>(), 1..300).prop_map(Some),
    ]
}

fn any_record() -> impl Strategy<Value = Owned> {
    let timestamp =
        prop_oneof![Just(-1), 0..i64::MAX / 2, 1_700_000_000_000..1_700_000_100_000_i64];
    let headers = prop::collection::vec((".{0,5}", any_bytes()), 0..4);
    (timestamp, any_bytes(), any_bytes(), headers)
        .prop_map(|(timestamp, key, value, headers)| Owned { timestamp, key, value, headers })
}

fn any_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL[..])
}

fn build_owned(codec: Codec, records: &[Owned]) -> SealedBatch {
    let settings = BatchSettings { compression: codec.into(), ..Default::default() };
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for record in records {
        record.push_to(&mut builder);
    }
    builder.seal(&mut Encoder::new()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_records_come_back(
        codec in any_codec(),
        records in prop::collection::vec(any_record(), 1..40),
        base_offset in 0..i64::MAX / 2,
    ) {
        let mut sealed = build_owned(codec, &records);
        sealed.stamp(base_offset, 3);
        let header = *sealed.header();
        prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap());
        prop_assert_eq!(header.base_timestamp, records[0].timestamp);
        let batch = Batch::check(sealed.bytes()).unwrap();
        let mut decoder = Decoder::new();
        let read = batch.records(&mut decoder).unwrap();
        prop_assert_eq!(read.raw_bytes() + BATCH_HEADER, sealed.raw_bytes());
        let read: Vec<_> = read.map(Result::unwrap).collect();
        let offsets = (base_offset..).take(records.len());
        prop_assert!(read.iter().map(|record| record.offset).eq(offsets));
        prop_assert!(read.iter().map(Owned::read).eq(records));
    }

    /// What a broken writer could put under a right CRC.
    #[test]
    fn damage_under_a_right_crc_never_panics(
        codec in any_codec(),
        records in prop::collection::vec(any_record(), 1..5),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let sealed = build_owned(codec, &records);
        let mut array = sealed.bytes()[BATCH_HEADER..].to_vec();
        for (at, byte) in &changes {
            let at = at.index(array.len());
            array[at] = *byte;
        }
        let damaged = closed(*sealed.header(), &array);
        let mut decoder = Decoder::with_limit(1 << 20);
        let batch = Batch::check(damaged.bytes()).unwrap();
        if let Ok(records) = batch.records(&mut decoder) {
            for record in records.map_while(Result::ok) {
                prop_assert_eq!(record.headers().count(), record.header_count());
            }
        }
    }

    #[test]
    fn any_array_never_panics(
        count in 0..10_i32,
        array in prop::collection::vec(prop_oneof![0..32_u8, any::<u8>()], 0..100),
    ) {
        let batch = closed(header(count), &array);
        let mut decoder = Decoder::new();
        for record in batch.batch().records(&mut decoder).unwrap().flatten() {
            prop_assert!(record.headers().count() == record.header_count());
        }
    }
}

#[test]
fn reading_goes_on_where_it_left_off() {
    for codec in Codec::ALL {
        let sealed = golden_with(codec);
        let batch = sealed.batch();
        let (mut first, mut second) = (Decoder::new(), Decoder::new());
        let whole: Vec<_> = batch.records(&mut first).unwrap().map(Result::unwrap).collect();
        batch.records(&mut second).unwrap();
        let (mut cursor, mut one_by_one) = (RecordCursor::START, Vec::new());
        loop {
            let mut records = batch.resume(cursor, &second);
            let Some(record) = records.next() else { break };
            one_by_one.push(record.unwrap());
            cursor = records.cursor();
        }
        assert_eq!(one_by_one, whole, "{codec}");
    }
}
