//! Batches that Apache Kafka's own classes wrote (`tests/interop`): each is read as Kafka reads it,
//! and what can be built from the same records has the same bytes.

use std::{fs, path::Path};

use serde_json::Value;
use trunkline::record::{
    Batch, BatchBuilder, BatchSettings, Codec, Compression, Decoder, Encoder, Header, Marker,
    NewRecord, Record, SealedBatch, control_batch,
};

/// A batch's bytes and what Kafka says of it.
struct Fixture {
    name: String,
    bytes: Vec<u8>,
    facts: Value,
}

impl Fixture {
    fn number(&self, field: &str) -> i64 {
        self.facts[field].as_i64().unwrap_or_else(|| panic!("{}: {field}", self.name))
    }

    fn flag(&self, field: &str) -> bool {
        self.facts[field].as_bool().unwrap_or_else(|| panic!("{}: {field}", self.name))
    }

    fn text(&self, field: &str) -> &str {
        self.facts[field].as_str().unwrap_or_else(|| panic!("{}: {field}", self.name))
    }

    fn records(&self) -> &[Value] {
        self.facts["records"].as_array().unwrap()
    }
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/fixtures/batches");
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            let facts = fs::read_to_string(path.with_extension("json")).unwrap();
            fixtures.push(Fixture {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                bytes: fs::read(&path).unwrap(),
                facts: serde_json::from_str(&facts).unwrap(),
            });
        }
    }
    assert!(fixtures.len() >= 20, "the fixtures are there");
    fixtures
}

fn unhex(value: &Value) -> Option<Vec<u8>> {
    let digits = value.as_str()?;
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    Some((0..digits.len()).step_by(2).map(byte).collect())
}

/// Names and values of a record's headers.
fn headers_of(facts: &Value) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = facts["headers"].as_array().unwrap();
    headers.iter().map(|pair| (pair[0].as_str().unwrap().to_owned(), unhex(&pair[1]))).collect()
}

fn assert_record(record: &Record<'_>, facts: &Value, name: &str) {
    assert_eq!(Some(record.offset), facts["offset"].as_i64(), "{name}");
    assert_eq!(Some(record.timestamp), facts["timestamp"].as_i64(), "{name}");
    assert_eq!(record.key, unhex(&facts["key"]).as_deref(), "{name}");
    assert_eq!(record.value, unhex(&facts["value"]).as_deref(), "{name}");
    let headers: Vec<_> = record
        .headers()
        .map(|header| {
            let name = String::from_utf8(header.name.to_vec()).unwrap();
            (name, header.value.map(<[u8]>::to_vec))
        })
        .collect();
    assert_eq!(headers, headers_of(facts), "{name}");
}

#[test]
fn headers_are_read_as_kafka_reads_them() {
    for fixture in fixtures() {
        let name = &fixture.name;
        let batch = Batch::check(&fixture.bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let header = batch.header();
        let attributes = header.attributes;
        let horizon = attributes.has_delete_horizon().then_some(header.base_timestamp);
        let last_sequence = header.last_sequence() as i64;
        for (field, ours) in [
            ("sizeInBytes", header.total_bytes() as i64),
            ("baseOffset", header.base_offset),
            ("partitionLeaderEpoch", header.leader_epoch as i64),
            ("crc", header.crc as i64),
            ("attributes", attributes.0 as i64),
            ("lastOffsetDelta", header.last_offset_delta as i64),
            ("lastOffset", header.last_offset()),
            ("baseTimestamp", header.base_timestamp),
            ("maxTimestamp", header.max_timestamp),
            ("producerId", header.producer_id),
            ("producerEpoch", header.producer_epoch as i64),
            ("baseSequence", header.base_sequence as i64),
            ("lastSequence", last_sequence),
            ("recordsCount", header.record_count as i64),
        ] {
            assert_eq!(ours, fixture.number(field), "{name}: {field}");
        }
        assert_eq!(batch.codec().name(), fixture.text("codec"), "{name}");
        assert_eq!(attributes.timestamp_type().to_string(), fixture.text("timestampType"));
        assert_eq!(attributes.is_transactional(), fixture.flag("isTransactional"), "{name}");
        assert_eq!(attributes.is_control(), fixture.flag("isControl"), "{name}");
        assert_eq!(horizon, fixture.facts["deleteHorizonMs"].as_i64(), "{name}");
    }
}

#[test]
fn records_are_read_as_kafka_reads_them() {
    let mut decoder = Decoder::new();
    for fixture in fixtures() {
        let name = &fixture.name;
        let batch = Batch::check(&fixture.bytes).unwrap();
        let mut records = batch.records(&mut decoder).unwrap();
        for facts in fixture.records() {
            let record = records.next().unwrap_or_else(|| panic!("{name}: too few records"));
            assert_record(&record.unwrap(), facts, name);
        }
        assert_eq!(records.next(), None, "{name}");
    }
}

#[test]
fn markers_are_read_as_kafka_reads_them() {
    let mut decoder = Decoder::new();
    let mut markers = 0;
    for fixture in fixtures() {
        let marker = Batch::check(&fixture.bytes).unwrap().marker(&mut decoder).unwrap();
        let ours = marker.map(|marker| {
            let kind = match marker.kind {
                Marker::Abort => "ABORT",
                Marker::Commit => "COMMIT",
            };
            (kind, marker.coordinator_epoch as i64)
        });
        let control = &fixture.facts["control"];
        let theirs = control["type"].as_str().zip(control["coordinatorEpoch"].as_i64());
        assert_eq!(ours, theirs, "{}", fixture.name);
        markers += usize::from(ours.is_some());
    }
    assert!(markers >= 2, "both kinds were seen");
}

/// The batch that our builder makes of a fixture's records.
fn rebuilt(fixture: &Fixture, compression: Compression) -> SealedBatch {
    let settings = BatchSettings {
        compression,
        producer_id: fixture.number("producerId"),
        producer_epoch: fixture.number("producerEpoch") as i16,
        base_sequence: fixture.number("baseSequence") as i32,
        transactional: fixture.flag("isTransactional"),
    };
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for facts in fixture.records() {
        let headers = headers_of(facts);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect();
        // With log-append time the timestamp that the producer gave is only in the difference.
        let delta = facts["timestampDelta"].as_i64().unwrap();
        builder
            .push(&NewRecord {
                timestamp: fixture.number("baseTimestamp") + delta,
                key: unhex(&facts["key"]).as_deref(),
                value: unhex(&facts["value"]).as_deref(),
                headers: &headers,
            })
            .unwrap();
    }
    let mut sealed = builder.seal(&mut Encoder::new()).unwrap();
    if fixture.text("timestampType") == "LogAppendTime" {
        sealed.set_log_append_time(fixture.number("maxTimestamp"));
    }
    sealed.stamp(fixture.number("baseOffset"), fixture.number("partitionLeaderEpoch") as i32);
    sealed
}

/// Whether a producer could have written it: not compacted, no marker.
fn is_from_a_producer(fixture: &Fixture) -> bool {
    let count = fixture.number("recordsCount");
    count > 0
        && count == fixture.number("lastOffsetDelta") + 1
        && fixture.facts["deleteHorizonMs"].is_null()
        && !fixture.flag("isControl")
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let mut same = 0;
    for fixture in fixtures().iter().filter(|fixture| is_from_a_producer(fixture)) {
        if fixture.text("codec") == "none" {
            assert_eq!(
                rebuilt(fixture, Codec::None.into()).bytes(),
                fixture.bytes,
                "{}",
                fixture.name
            );
            same += 1;
        }
    }
    assert!(same >= 8, "only {same} fixtures were compared");
}

#[test]
fn compressed_batches_of_ours_differ_from_kafkas_in_the_compressed_bytes_alone() {
    let mut decoder = Decoder::new();
    let mut codecs = Vec::new();
    for fixture in fixtures().iter().filter(|fixture| is_from_a_producer(fixture)) {
        let theirs = Batch::check(&fixture.bytes).unwrap();
        if theirs.codec() == Codec::None {
            continue;
        }
        let sealed = rebuilt(fixture, theirs.codec().into());
        let ours = Batch::check(sealed.bytes()).unwrap();
        let mut header = *ours.header();
        header.crc = theirs.header().crc;
        header.batch_length = theirs.header().batch_length;
        assert_eq!(&header, theirs.header(), "{}", fixture.name);
        let array_bytes = ours.records(&mut decoder).unwrap().raw_bytes();
        let expected = theirs.records(&mut decoder).unwrap().raw_bytes();
        assert_eq!(array_bytes, expected, "{}", fixture.name);
        for (record, facts) in ours.records(&mut decoder).unwrap().zip(fixture.records()) {
            assert_record(&record.unwrap(), facts, &fixture.name);
        }
        codecs.push(theirs.codec());
    }
    for codec in &Codec::ALL[1..] {
        assert!(codecs.contains(codec), "{codec} was not seen");
    }
}

#[test]
fn markers_have_the_same_bytes() {
    for (name, kind) in [("control-abort", Marker::Abort), ("control-commit", Marker::Commit)] {
        let fixtures = fixtures();
        let fixture = fixtures.iter().find(|fixture| fixture.name == name).unwrap();
        let mut marker = control_batch(
            kind,
            fixture.number("producerId"),
            fixture.number("producerEpoch") as i16,
            fixture.facts["control"]["coordinatorEpoch"].as_i64().unwrap() as i32,
            fixture.number("baseTimestamp"),
        );
        marker.stamp(fixture.number("baseOffset"), fixture.number("partitionLeaderEpoch") as i32);
        assert_eq!(marker.bytes(), fixture.bytes, "{name}");
    }
}
