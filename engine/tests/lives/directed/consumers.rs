//! Consumers: nothing is skipped that nobody hears of.

use std::{path::Path, sync::Arc, time::Duration};

use trunkline::{
    consumer::{AutoOffsetReset, Consumer, ConsumerOptions, PollError, Seek},
    engine::Engine,
    io::{ForgetfulDisk, Open},
    record::{BatchBuilder, BatchSettings, Encoder, NewRecord, SealedBatch},
    topic::{Topic, TopicConfig},
    types::{Offset, TopicPartition},
};

use super::{ROOT, engine_on, words};

/// An engine with a topic whose partitions hold this many batches of [`BATCH`] records.
struct Stage {
    disk: ForgetfulDisk,
    engine: Engine,
    topic: Arc<Topic>,
}

const BATCH: i64 = 5;

impl Stage {
    fn with_batches(batches: &[i64]) -> Result<Self, String> {
        let disk = ForgetfulDisk::new();
        let engine = engine_on(&disk.storage())?;
        let config = TopicConfig::default().segment_bytes(1000).retention_ms(-1);
        let topic = engine.create_topic("t", batches.len() as u32, config).map_err(words)?;
        for (log, batches) in topic.partitions().iter().zip(batches) {
            for _ in 0..*batches {
                log.append(vec![batch()], 0).map_err(words)?;
            }
            log.commit(BATCH * batches).map_err(words)?;
        }
        Ok(Self { disk, engine, topic })
    }

    /// A consumer of all partitions that begins at their first records, and takes 3 records a poll.
    fn consumer(&self, reset: AutoOffsetReset) -> Result<Consumer, String> {
        let options = ConsumerOptions::new().auto_offset_reset(reset).max_poll_records(3);
        let mut consumer = self.engine.consumer(options).map_err(words)?;
        for log in self.topic.partitions() {
            consumer.assign(&self.topic, log.partition().partition).map_err(words)?;
            consumer.seek(log.partition(), Seek::Offset(0)).map_err(words)?;
        }
        Ok(consumer)
    }

    fn partition(&self, number: u32) -> TopicPartition {
        self.topic.partition(number).expect("it is here").partition().clone()
    }
}

fn batch() -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), BatchSettings::default());
    for timestamp in 0..BATCH {
        let record = NewRecord { timestamp, key: None, value: Some(b"value"), headers: &[] };
        builder.push(&record).unwrap();
    }
    builder.seal(&mut Encoder::new()).unwrap()
}

/// Takes all there is, and holds each partition's records against those before: none may be missing, and
/// none come twice. Gives the position behind the last in each, and the errors.
fn drain(
    consumer: &mut Consumer,
    begin: &[Offset],
) -> Result<(Vec<Offset>, Vec<PollError>), String> {
    let (mut next, mut errors) = (begin.to_vec(), Vec::new());
    // Far more polls than there are records.
    for _ in 0..500 {
        let mut polled = match consumer.poll(Duration::ZERO) {
            Ok(polled) if polled.is_empty() && polled.resets().is_empty() => break,
            Ok(polled) => polled,
            Err(error) => {
                errors.push(error);
                if errors.len() == 20 {
                    break;
                }
                continue;
            }
        };
        for reset in polled.resets() {
            let position = &mut next[reset.partition.partition as usize];
            if *position != reset.from {
                return Err(format!("{reset:?}, but the position was {position}"));
            }
            *position = reset.to;
        }
        while let Some(record) = polled.next_record().map_err(words)? {
            let position = &mut next[record.partition as usize];
            if record.offset != *position {
                let (found, partition) = (record.offset, record.partition);
                return Err(format!(
                    "partition {partition}: expected offset {position}, found {found}"
                ));
            }
            *position += 1;
        }
    }
    Ok((next, errors))
}

/// iggy#2715: a consumer in the middle of a stream was set to its end, and heard nothing of it. Records that
/// are gone, in front or behind, are told: by a reset to where its owner wants it, or by an error.
pub(super) fn a_position_is_gone() -> Result<(), String> {
    let stage = Stage::with_batches(&[8])?;
    let log = stage.topic.partition(0).ok_or("no partition")?.clone();
    let partition = stage.partition(0);
    let mut earliest = stage.consumer(AutoOffsetReset::Earliest)?;
    let mut strict = stage.consumer(AutoOffsetReset::None)?;
    log.delete_records_before(12).map_err(words)?;
    let (next, errors) = drain(&mut earliest, &[0])?;
    if next != [40] || !errors.is_empty() {
        return Err(format!("read up to {next:?}: {errors:?}"));
    }
    for _ in 0..2 {
        match strict.poll(Duration::ZERO) {
            Err(PollError::OutOfRange { offset: 0, log_start: 12, log_end: 40, .. }) => {}
            other => return Err(format!("records before 12 are gone: {other:?}")),
        }
    }
    if strict.position(&partition) != Some(0) {
        return Err(format!("its position became {:?}", strict.position(&partition)));
    }
    // Behind: the log was cut below the position.
    log.truncate_to(20).map_err(words)?;
    match earliest.poll(Duration::ZERO).map_err(words)?.resets() {
        [reset] if (reset.from, reset.to) == (40, 12) => {}
        other => return Err(format!("the log was cut to 20: {other:?}")),
    }
    let (next, _) = drain(&mut earliest, &[12])?;
    if next == [20] { Ok(()) } else { Err(format!("read up to {next:?} of 20")) }
}

/// iggy#2924: a consumer that did not take all of a batch skipped the rest. Here no poll ends where a batch
/// does, with pauses and a change of the assignment in between.
pub(super) fn batches_are_taken_in_parts() -> Result<(), String> {
    let stage = Stage::with_batches(&[7, 4])?;
    let mut consumer = stage.consumer(AutoOffsetReset::None)?;
    let first = stage.partition(0);
    let mut next = vec![0, 0];
    for step in 0..6 {
        let mut polled = consumer.poll(Duration::ZERO).map_err(words)?;
        while let Some(record) = polled.next_record().map_err(words)? {
            let position = &mut next[record.partition as usize];
            if record.offset != *position {
                return Err(format!("expected offset {position}, found {}", record.offset));
            }
            *position += 1;
        }
        match step {
            1 => consumer.pause(&first),
            3 => consumer.resume(&first),
            _ => true,
        };
        let positions = [0, 1].map(|number| consumer.position(&stage.partition(number)));
        if positions != [Some(next[0]), Some(next[1])] {
            return Err(format!("positions {positions:?}, given {next:?}"));
        }
    }
    let (next, errors) = drain(&mut consumer, &next)?;
    if next == [35, 20] && errors.is_empty() {
        return Ok(());
    }
    Err(format!("read up to {next:?} of 35 and 20: {errors:?}"))
}

/// iggy#4034: one offset to go on from for all partitions: who owned several skipped the beginning of the
/// later ones. Here they are of very different lengths.
pub(super) fn partitions_differ() -> Result<(), String> {
    let stage = Stage::with_batches(&[9, 1, 0, 4])?;
    let (next, errors) = drain(&mut stage.consumer(AutoOffsetReset::None)?, &[0; 4])?;
    if next == [45, 5, 0, 20] && errors.is_empty() {
        return Ok(());
    }
    Err(format!("read up to {next:?} of 45, 5, 0 and 20: {errors:?}"))
}

/// iggy#4034, the other half: what could not be read was marked as read. A damaged batch is an error each
/// time it is met, the position stays before it, and the other partitions go on.
pub(super) fn a_batch_is_damaged() -> Result<(), String> {
    let stage = Stage::with_batches(&[3, 6])?;
    let path = Path::new(ROOT).join("t-0/00000000000000000000.log");
    let log = stage.disk.storage().open(&path, Open::Write).map_err(words)?;
    let second = batch().bytes().len() as u64 + 70;
    log.write_at(second, vec![0xFF; 4]).map_err(words)?;
    let mut consumer = stage.consumer(AutoOffsetReset::Earliest)?;
    let (next, errors) = drain(&mut consumer, &[0, 0])?;
    let is_told = errors.iter().all(|error| matches!(error, PollError::Corrupt { .. }));
    if next != [5, 30] || errors.len() < 3 || !is_told {
        return Err(format!("read up to {next:?} of 5 and 30: {errors:?}"));
    }
    match consumer.position(&stage.partition(0)) {
        Some(5) => Ok(()),
        other => Err(format!("its position became {other:?}")),
    }
}
