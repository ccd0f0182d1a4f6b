//! The largest and smallest of everything, and what is said along the way.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::limits::LOG_OVERHEAD;

fn of_values(values: &[&[u8]]) -> SealedBatch {
    let records: Vec<_> =
        values.iter().map(|value| NewRecord { value: Some(value), ..Default::default() }).collect();
    build(BatchSettings::default(), &records)
}

/// An error may stand in place of a record that is missing, so one more may come than was counted.
#[test]
fn iterators_say_how_much_is_left() {
    let sealed = of_values(&[b"a", b"b", b"c"]);
    let mut decoder = Decoder::new();
    let mut records = sealed.batch().records(&mut decoder).unwrap();
    for left in [4, 3, 2, 1] {
        assert_eq!(records.size_hint(), (0, Some(left)));
        assert_eq!(records.next().is_some(), left > 1);
    }
    assert_eq!(records.size_hint(), (0, Some(0)));

    let sealed = golden_with(Codec::None);
    let mut records = sealed.batch().records(&mut decoder).unwrap();
    let record = records.nth(1).unwrap().unwrap();
    let mut headers = record.headers();
    for left in [2, 1, 0] {
        assert_eq!((headers.len(), headers.size_hint()), (left, (left, Some(left))));
        assert_eq!(headers.next().is_some(), left > 0);
    }
}

#[test]
fn a_cursor_of_another_batch_is_refused() {
    let large = of_values(&[&[7; 100], &[7; 100], &[7; 100]]);
    let mut decoder = Decoder::new();
    let mut records = large.batch().records(&mut decoder).unwrap();
    assert_eq!(records.by_ref().flatten().count(), 3);
    let cursor = records.cursor();
    assert_eq!(large.batch().resume(cursor, &Decoder::new()).next(), None);
    let few = of_values(&[&[7; 1_000], &[7; 1_000]]);
    let short = of_values(&[b"", b"", b"", b"", b""]);
    for (other, lacks) in [(few, "records"), (short, "bytes")] {
        let decoder = Decoder::new();
        let resumed =
            catch_unwind(AssertUnwindSafe(|| other.batch().resume(cursor, &decoder).next()));
        assert!(resumed.is_err(), "it has fewer {lacks}");
    }
}

/// `DefaultRecord.recordSizeUpperBound` of Kafka, by hand: 21, then lengths and bytes.
#[test]
fn a_records_upper_bound_is_kafkas() {
    let record = |key, value, headers| NewRecord { timestamp: 0, key, value, headers };
    let bound = |record| BatchBuilder::record_bytes(&record);
    assert_eq!(bound(record(None, None, &[])), 21 + 1 + 1 + 1);
    assert_eq!(bound(record(Some(b"ab"), Some(b"xyz"), &[])), 21 + 3 + 4 + 1);
    assert_eq!(bound(record(None, Some(&[0; 64]), &[])), 21 + 1 + 66 + 1);
    // h = null, i = "v"
    assert_eq!(bound(record(None, None, &GOLDEN_HEADERS)), 21 + 1 + 1 + 1 + (2 + 1) + (2 + 2));
}

#[test]
fn a_batch_may_be_as_large_as_the_limit() {
    // Length, attributes, timestamp, offset, key and headers beside the value and its length.
    let beside = BATCH_HEADER + 5 + 1 + 1 + 1 + 1 + 5 + 1;
    let value = vec![0; MAX_BATCH_BYTES - beside + 1];
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    let record = |value| NewRecord { timestamp: 0, value: Some(value), ..Default::default() };
    let bytes = MAX_BATCH_BYTES + 1;
    let refused = builder.push(&record(&value));
    assert_eq!(refused, Err(RecordError::TooLarge { bytes, limit: MAX_BATCH_BYTES }));
    assert_eq!(builder.push(&record(&value[1..])), Ok(0));
    assert_eq!(builder.raw_bytes(), MAX_BATCH_BYTES);
    let sealed = builder.seal(&mut Encoder::new()).unwrap();
    assert_eq!(sealed.bytes().len(), MAX_BATCH_BYTES);
    assert_eq!(sealed.header().total_bytes(), MAX_BATCH_BYTES);
    assert!(Batch::check(sealed.bytes()).is_ok());
}

#[test]
fn a_header_takes_each_field_up_to_its_limit() {
    let sound = header(1);
    let parsed = |header: BatchHeader| {
        let mut bytes = [0; BATCH_HEADER];
        header.write(&mut bytes);
        BatchHeader::parse(&bytes).map_err(|error| error.what)
    };
    let batch_length = (MAX_BATCH_BYTES - LOG_OVERHEAD) as i32;
    assert!(parsed(BatchHeader { batch_length, ..sound }).is_ok());
    let length = parsed(BatchHeader { batch_length: batch_length + 1, ..sound });
    assert_eq!(length, Err("batch length"));
    for last_offset_delta in [0, 1, 9] {
        let highest = i64::MAX - 1 - i64::from(last_offset_delta);
        let at =
            |base_offset| BatchHeader { base_offset, batch_length, last_offset_delta, ..sound };
        assert!(parsed(at(highest)).is_ok());
        assert_eq!(parsed(at(highest + 1)), Err("last offset delta"));
    }
}

#[test]
fn a_stamp_leaves_room_for_the_offset_that_follows() {
    let mut sealed = of_values(&[b"a", b"b", b"c"]);
    let highest = i64::MAX - 1 - 2;
    for base_offset in [0, highest] {
        sealed.stamp(base_offset, 0);
        assert_eq!(sealed.header().last_offset(), base_offset + 2);
    }
    for base_offset in [-1, highest + 1] {
        let stamped = catch_unwind(AssertUnwindSafe(|| sealed.clone().stamp(base_offset, 0)));
        assert!(stamped.is_err(), "{base_offset}");
    }
}

#[test]
fn attributes_change_alone() {
    let all = Attributes(0x7C);
    assert_eq!(all.with_codec(1), Attributes(0x79));
    assert_eq!(all.with_codec(9), Attributes(0x79), "a codec's number has 3 bits");
    for (set, bit) in [
        (Attributes::with_log_append_time as fn(Attributes, bool) -> Attributes, 0x08),
        (Attributes::with_transactional, 0x10),
        (Attributes::with_control, 0x20),
    ] {
        assert_eq!(set(all, true), all, "it was set");
        assert_eq!(set(all, false), Attributes(0x7C & !bit));
        assert_eq!(set(Attributes(4), true), Attributes(4 | bit));
        assert_eq!(set(Attributes(4), false), Attributes(4), "it was not set");
    }
}

#[test]
fn timestamp_types_have_kafkas_names() {
    for (kind, name) in
        [(TimestampType::CreateTime, "CreateTime"), (TimestampType::LogAppendTime, "LogAppendTime")]
    {
        assert_eq!((kind.to_string().as_str(), name.parse()), (name, Ok(kind)));
    }
    assert!("createtime".parse::<TimestampType>().unwrap_err().contains("createtime"));
}

#[test]
fn a_marker_keeps_its_time() {
    for (given, kept) in [(-9, -1), (-1, -1), (0, 0), (7, 7)] {
        let marker = control_batch(Marker::Commit, 1, 0, 0, given);
        assert_eq!(marker.header().max_timestamp, kept);
    }
}

#[test]
fn what_was_lent_comes_back() {
    let mut sealed = golden_with(Codec::None);
    let before = sealed.clone();
    let lent = sealed.lend();
    assert_eq!((lent.as_slice(), sealed.bytes()), (before.bytes(), &[][..]));
    sealed.restore(lent);
    assert_eq!(sealed, before);
}

#[test]
fn a_builder_tells_its_settings() {
    let settings = BatchSettings { producer_id: 4, transactional: true, ..Default::default() };
    assert_eq!(*BatchBuilder::new(Vec::new(), settings).settings(), settings);
}

/// A varint may be longer than it must be, and a count of no headers too.
#[test]
fn no_headers_may_be_written_in_two_bytes() {
    let sealed = closed(header(1), &[14, 0, 0, 0, 1, 1, 0x80, 0]);
    let mut decoder = Decoder::new();
    let records: Vec<_> = sealed.batch().records(&mut decoder).unwrap().collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].as_ref().unwrap().header_count(), 0);
    let error = fault_of_array(1, &[14, 0, 0, 0, 1, 1, 0, 9]);
    assert_eq!((error.what(), error.position()), ("end of the record", BATCH_HEADER + 7));
    let missing = fault_of_array(1, &[2, 0]);
    assert_eq!(missing.found(), "-1 in record 0", "there is no number");
}
