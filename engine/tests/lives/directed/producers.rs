//! Producers: sends that are repeated, and buffers that are used again.

use std::{sync::Arc, time::Duration};

use trunkline::{
    consumer::{AutoOffsetReset, ConsumerOptions},
    engine::Engine,
    io::{ForgetfulDisk, Storage},
    producer::{Producer, ProducerOptions, ProducerRecord, SendError},
    record::{BatchSettings, SealedBatch},
    topic::{Topic, TopicConfig},
    types::Offset,
};

use super::{at_every_operation, batch_of, engine_on, open, words};

const PRODUCER: i64 = 70;

/// redpanda#3039: the server was killed before it answered, and what its producer sent again stood in the
/// log twice, or was refused. Killed (the page cache stays) or cut off at whichever operation: a batch that
/// is there is recognised, at its first offset, and one that is not is taken.
pub(super) fn a_send_is_repeated_after_a_kill() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    open(&disk.storage())?.append([1])?;
    disk.settle();
    // Enough for two rolls and a checkpoint between them; a batch now and then is committed.
    let send_all = |storage: &Storage| {
        let Ok(opened) = open(storage) else { return 0 };
        for number in 0..9 {
            let appended = opened.log.append(vec![numbered(number)], 0);
            let Ok(end) = appended.map(|appended| appended.end) else { return number };
            if number % 3 == 1 && opened.log.commit(end).is_err() {
                return number;
            }
            if number == 5 && opened.log.checkpoint().is_ok() {
                let _ = opened.dir.persist();
            }
        }
        9
    };
    let check = |left: &ForgetfulDisk, sent: i32| {
        let opened = open(&left.storage())?;
        let there = opened.log.watermarks().log_end as i32 - 1;
        // The producer never heard of the last one. Before that nothing can be sent again that is not the
        // last there is: what went before was acknowledged, or is gone as well.
        for number in (there - 1).max(0)..=sent.max(there) {
            let appended = opened.log.append(vec![numbered(number)], 0).map_err(words)?;
            let expected = [Offset::from(number) + 1];
            if appended.base_offsets != expected {
                let found = appended.base_offsets;
                return Err(format!("batch {number} of {there}: expected {expected:?}, {found:?}"));
            }
        }
        opened.expect(
            [1].into_iter().chain((0..=sent.max(there)).map(|n| 10 + i64::from(n))),
            "sent again",
        )
    };
    at_every_operation(&disk, send_all, |left, sent, _| check(left, *sent))?;
    for operations in (0..200).step_by(3) {
        let disk = disk.fork();
        disk.power_off_after(operations);
        let sent = send_all(&disk.storage());
        // Whoever kills a process does not cut the power: all that was written is there.
        check(&disk.kill(), sent).map_err(|what| format!("killed at {operations}: {what}"))?;
    }
    Ok(())
}

/// One record, the producer's `number`th.
fn numbered(number: i32) -> SealedBatch {
    let settings = BatchSettings {
        producer_id: PRODUCER,
        producer_epoch: 0,
        base_sequence: number,
        ..BatchSettings::default()
    };
    batch_of(10 + i64::from(number), format!("{number:032}").as_bytes(), settings)
}

/// KAFKA-19012: a batch's buffer went back to the pool while the batch was still being sent, and the next
/// topic's records were sent in its place. Memory for two batches, three topics by turns, and a disk that
/// is full for a while, so that batches wait, are tried again and expire.
pub(super) fn a_buffer_is_used_again() -> Result<(), String> {
    let disk = ForgetfulDisk::new();
    let engine = engine_on(&disk.storage())?;
    let create = |name| engine.create_topic(name, 1, TopicConfig::default()).unwrap();
    let topics = ["a", "b", "c"].map(create);
    let options = ProducerOptions::new()
        .batch_size(512)
        .buffer_memory(1024)
        .linger(Duration::ZERO)
        .retry_backoff(Duration::from_millis(1))
        .delivery_timeout(Duration::from_millis(100));
    let producer = engine.producer(options).map_err(words)?;
    let mut sent = Sent::default();
    for round in 0..12 {
        // What is sent in that round waits, is tried again and expires; its buffer is the next one's.
        disk.fill_up(if round == 6 { 0 } else { 1 << 30 });
        sent.send(&producer, &topics, round)?;
    }
    if sent.0.len() < 12 {
        return Err(format!("only {} records were acknowledged", sent.0.len()));
    }
    for topic in &topics {
        let found = read(&engine, topic)?;
        let name = topic.name();
        let expected = sent.0.iter().filter(|it| it.0 == name.to_string());
        let expected: Vec<_> =
            expected.map(|(_, offset, value)| (*offset, value.clone())).collect();
        if found != expected {
            return Err(format!("topic {name}: expected {expected:?}, found {found:?}"));
        }
    }
    Ok(())
}

/// Topic, offset and value of what was acknowledged.
#[derive(Default)]
struct Sent(Vec<(String, Offset, String)>);

impl Sent {
    fn send(
        &mut self,
        producer: &Producer,
        topics: &[Arc<Topic>],
        round: usize,
    ) -> Result<(), String> {
        let send = |topic: &Arc<Topic>| {
            // Of many lengths, so that what is left of a longer one would show.
            let value = format!("{} {}", topic.name(), "x".repeat(300 - 20 * round));
            let record = ProducerRecord::new(None, Some(value.as_bytes()));
            let ack = producer.send(topic, &record).map_err(words)?;
            Ok((topic.name().to_string(), value, ack))
        };
        let acks: Vec<_> = topics.iter().map(send).collect::<Result<_, String>>()?;
        for (topic, value, ack) in acks {
            match ack.wait() {
                Ok(placed) => self.0.push((topic, placed.offset.ok_or("no offset")?, value)),
                Err(SendError::Expired { .. }) => {}
                Err(error) => return Err(format!("{topic}: {error}")),
            }
        }
        Ok(())
    }
}

fn read(engine: &Engine, topic: &Arc<Topic>) -> Result<Vec<(Offset, String)>, String> {
    let options = ConsumerOptions::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = engine.consumer(options).map_err(words)?;
    consumer.assign(topic, 0).map_err(words)?;
    let mut found = Vec::new();
    loop {
        let mut polled = consumer.poll(Duration::ZERO).map_err(words)?;
        if polled.is_empty() {
            return Ok(found);
        }
        while let Some(record) = polled.next_record().map_err(words)? {
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            found.push((record.offset, value));
        }
    }
}
