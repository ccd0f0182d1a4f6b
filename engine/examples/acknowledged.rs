//! Proves recovery from outside: after kill -9 (`harness/tests/kill-loop.sh`) and after power cuts of real
//! file systems (`engine/tests/realfs/torture.sh`).
//!
//! `acknowledged send DIR SEED [DURABILITY]` sends records until it is killed and prints a line for each
//! one that was acknowledged (durable, unless told otherwise): partition, offset, value. `acknowledged
//! check DIR FILE` opens the folder as any engine does after a crash and fails unless every line of FILE
//! stands in the log as it was printed. It ends without a close, so that the next open follows a crash too.

use std::{
    collections::VecDeque,
    error::Error,
    fs,
    io::{self, BufRead, Write},
    time::Duration,
};

use trunkline::{
    Engine, EngineOptions,
    consumer::{AutoOffsetReset::Earliest, ConsumerOptions},
    producer::{Ack, ProducerOptions, ProducerRecord},
    topic::TopicConfig,
    types::Durability,
};

const TOPIC: &str = "acknowledged";
const PARTITIONS: u32 = 4;
/// Small, so that a run of a second rolls a few times.
const SEGMENT_BYTES: i32 = 2 << 20;
/// Records under way at a time.
const WINDOW: usize = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["send", dir, seed] => send(dir, seed.parse()?, Durability::Durable),
        ["send", dir, seed, durability] => send(dir, seed.parse()?, durability.parse()?),
        ["check", dir, file] => check(dir, file),
        _ => Err("usage: acknowledged send DIR SEED [DURABILITY] | check DIR FILE".into()),
    }
}

fn send(dir: &str, seed: u64, durability: Durability) -> Result<(), Box<dyn Error>> {
    let engine = Engine::open(EngineOptions::new(dir))?;
    let config = TopicConfig::default().segment_bytes(SEGMENT_BYTES).durability(durability);
    let topic = match engine.topic(TOPIC) {
        Some(topic) => topic,
        None => engine.create_topic(TOPIC, PARTITIONS, config)?,
    };
    let producer = engine.producer(ProducerOptions::default().linger(Duration::from_millis(1)))?;
    let mut out = io::stdout().lock();
    let mut waiting: VecDeque<(Ack, String)> = VecDeque::new();
    for number in 0_u64.. {
        let value = format!("{seed}-{number}-{:>100}", number.wrapping_mul(seed | 1));
        let ack = producer.send(&topic, &ProducerRecord::of_value(value.as_bytes()))?;
        waiting.push_back((ack, value));
        while waiting.len() > WINDOW || waiting.front().is_some_and(|(ack, _)| ack.is_done()) {
            let Some((ack, value)) = waiting.pop_front() else { break };
            let sent = ack.wait()?;
            let offset = sent.offset.ok_or("an acknowledged record has an offset")?;
            // One write a line: what the reader has of it was acknowledged before the kill.
            out.write_all(format!("{} {offset} {value}\n", sent.partition).as_bytes())?;
        }
    }
    Ok(())
}

fn check(dir: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let engine = Engine::open(EngineOptions::new(dir))?;
    let topic = engine.topic(TOPIC).ok_or("the topic is gone")?;
    let mut stored: Vec<Vec<Vec<u8>>> = Vec::new();
    for partition in 0..topic.partition_count() {
        let mut consumer =
            engine.consumer(ConsumerOptions::default().auto_offset_reset(Earliest))?;
        consumer.assign(&topic, partition)?;
        let mut values = Vec::new();
        loop {
            let mut polled = consumer.poll(Duration::ZERO)?;
            if polled.is_empty() {
                break;
            }
            while let Some(record) = polled.next_record()? {
                if record.offset != values.len() as i64 {
                    return Err(format!("offset {} follows {}", record.offset, values.len()).into());
                }
                values.push(record.value.unwrap_or_default().to_vec());
            }
        }
        stored.push(values);
    }
    let mut count = 0;
    for line in io::BufReader::new(fs::File::open(file)?).split(b'\n') {
        let line = String::from_utf8(line?)?;
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().ok_or_else(|| format!("half a line: {line:?}"));
        let (partition, offset): (usize, usize) = (word()?.parse()?, word()?.parse()?);
        let value = word()?;
        let found = stored.get(partition).and_then(|values| values.get(offset));
        if found.map(Vec::as_slice) != Some(value.as_bytes()) {
            return Err(format!("LOST: {partition} {offset}: {value:?}, found {found:?}").into());
        }
        count += 1;
    }
    println!("{count} acknowledged records, all there");
    // No destructor runs: the folder is left as by a process that was killed.
    std::process::exit(0);
}
