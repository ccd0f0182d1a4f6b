use std::time::Duration;
use trunkline::{
    AutoOffsetReset::Earliest, ConsumerOptions, Engine, EngineOptions, ProducerOptions,
    ProducerRecord, TopicConfig,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::open(EngineOptions::new("trunkline-data"))?;
    let orders = engine.topic_or_create("orders", 3, TopicConfig::default())?;
    let producer = engine.producer(ProducerOptions::default())?;
    let record = ProducerRecord::new(Some(b"customer 7"), Some(b"two apples"));
    let sent = producer.send(&orders, &record)?.wait()?; // durable now: on the device
    let mut consumer = engine.consumer(ConsumerOptions::default().auto_offset_reset(Earliest))?;
    consumer.assign(&orders, sent.partition)?;
    let mut records = consumer.poll(Duration::from_secs(1))?;
    while let Some(record) = records.next_record()? {
        let value = String::from_utf8_lossy(record.value.unwrap_or_default());
        println!("{}: {value}", record.offset);
    }
    Ok(engine.close()?)
}
