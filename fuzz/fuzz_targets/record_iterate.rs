//! Any bytes as the uncompressed records of a batch whose checksum is right: an error, or records that
//! come out the same when they are written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline::record::{
    Batch, BatchBuilder, BatchSettings, Decoder, Encoder, Header, NewRecord, Record,
};
use trunkline_fuzz::{count_and_payload, framed};

fuzz_target!(|input: &[u8]| {
    let Some((count, payload)) = count_and_payload(input) else { return };
    let bytes = framed(0, count, payload);
    let batch = Batch::check(&bytes).expect("the header and its checksum are right");
    let mut decoder = Decoder::new();
    let Ok(records) = batch.records(&mut decoder) else { return };
    let Ok(records) = records.collect::<Result<Vec<_>, _>>() else { return };
    assert_eq!(records.len(), usize::from(count.max(1)), "all records or an error");

    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    for record in &records {
        let Some(headers) = headers_of(record) else { return };
        let again = NewRecord {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        if record.timestamp < 0 || builder.push(&again).is_err() {
            return; // what cannot be written may be read
        }
    }
    let sealed = builder.seal(&mut Encoder::new()).expect("what was pushed is sealed");
    let mut decoder = Decoder::new();
    let batch = sealed.batch();
    let read = batch.records(&mut decoder).expect("what was sealed is read");
    for (place, (record, read)) in records.iter().zip(read).enumerate() {
        let read = read.expect("what was sealed is read");
        assert_eq!(read.offset, place as i64);
        assert_eq!(
            (read.timestamp, read.key, read.value, headers_of(&read)),
            (record.timestamp, record.key, record.value, headers_of(record))
        );
    }
});

/// `None` where a name is no text: a header cannot be written so.
fn headers_of<'a>(record: &Record<'a>) -> Option<Vec<Header<'a>>> {
    let header_of = |name, value| Some(Header { name: std::str::from_utf8(name).ok()?, value });
    record.headers().map(|header| header_of(header.name, header.value)).collect()
}
