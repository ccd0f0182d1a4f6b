//! The whole producer: one thread that sends, the engine's own that seals and appends, one partition,
//! `Written`.

use std::{path::Path, sync::Arc, time::Duration};

use trunkline::{
    Engine, EngineOptions, ProducerOptions, ProducerRecord, TopicConfig,
    producer::Producer,
    record::{BatchBuilder, BatchSettings, Codec, Compression, Encoder, NewRecord},
    topic::Topic,
    types::Durability,
};

use crate::{
    pairs::{Group, Work, timed},
    payload,
};

const RECORDS: usize = 1_000_000;
const RECORD_BYTES: usize = 100;
const BATCH_BYTES: usize = 128 << 10;
/// Bytes of log after which it is begun anew.
const KEPT_BYTES: u64 = 256 << 20;

/// The groups: their names, and the codec of each.
pub fn names() -> [(String, Codec); 2] {
    [Codec::None, Codec::Lz4].map(|codec| (format!("produce, 100 B, {}", codec.name()), codec))
}

/// What one thread can encode, and the producer.
pub fn group(name: &str, codec: Codec, folder: &Path) -> Group<'static> {
    let payload = Arc::new(payload(4096 * RECORD_BYTES));
    let work =
        Work { bytes: (RECORDS * RECORD_BYTES) as u64, units: RECORDS as u64, unit: "records" };
    let mut group = Group::new(name, work);
    let bytes = payload.clone();
    group.row("limit: one thread encodes, compresses and checksums", move || {
        timed(|| encode(&bytes, codec))
    });
    let engine = Engine::open(EngineOptions::new(folder.join(codec.name()))).expect("opens");
    let topic = TopicConfig::default().durability(Durability::Written).file_delete_delay_ms(0);
    let topic = engine.topic_or_create("bench", 1, topic).expect("makes a topic");
    let options = ProducerOptions::default()
        .batch_size(BATCH_BYTES)
        .linger(Duration::from_millis(5))
        .compression(Compression::new(codec));
    let producer = engine.producer(options).expect("makes a producer");
    group.row("trunkline", move || {
        let _ = &engine;
        let log = topic.partition(0).expect("it is here");
        if log.size().1 > KEPT_BYTES {
            log.restart_at(0).expect("the log can be emptied");
            // At once, so that the memory of its pages is warm when it is taken again.
            log.step(Duration::MAX).expect("files can be removed");
        }
        timed(|| send(&producer, &topic, &payload))
    });
    group
}

fn records(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    payload.chunks_exact(RECORD_BYTES).cycle().take(RECORDS)
}

fn send(producer: &Producer, topic: &Arc<Topic>, payload: &[u8]) {
    let mut last = None;
    for value in records(payload) {
        last = Some(producer.send(topic, &ProducerRecord::of_value(value)).expect("sends"));
    }
    last.expect("records were sent").wait().expect("the disk has room");
}

fn encode(payload: &[u8], codec: Codec) {
    let settings = BatchSettings { compression: Compression::new(codec), ..Default::default() };
    let mut encoder = Encoder::new();
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    let mut filled = 0;
    for value in records(payload) {
        builder.push(&NewRecord { value: Some(value), ..NewRecord::default() }).expect("fits");
        filled += RECORD_BYTES + 8;
        if filled >= BATCH_BYTES {
            let sealed = builder.seal(&mut encoder).expect("seals");
            builder = BatchBuilder::new(sealed.into_bytes(), settings);
            filled = 0;
        }
    }
}
