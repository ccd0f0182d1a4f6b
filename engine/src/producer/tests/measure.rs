//! How many records a second, for who asks; nothing is asserted.

use super::{logs::topic_on_disk, threads::live, *};

/// Time that a thread was on a CPU, so that a busy machine tells the same.
fn cpu_nanos(path: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// Records a second, into the double and into a log. `cargo test --release -p trunkline --lib
/// producer::tests::measure -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn measure() {
    let sizes = [("16 KiB", 16 << 10), ("128 KiB", 128 << 10)];
    for (name, batch_size) in sizes {
        for (partitions, stamped) in [(1, false), (4, false), (4, true)] {
            let options = ProducerOptions::new().batch_size(batch_size);
            let (producer, queues, topic) = live(options, DoubleTopic::new(partitions, batch_size));
            for log in &topic.partitions {
                log.forget();
            }
            let owner = Arc::as_ptr(&topic) as usize;
            let stamps = if stamped { "given" } else { "taken" };
            drop(queues);
            let title = format!("double, {name}, {partitions} partitions, timestamps {stamps}");
            measure_sends(&title, &producer, stamped, |record| {
                let queues = producer.accumulator.topic(0, owner, || unreachable!()).unwrap();
                producer.send_to(queues, record)
            });
        }
        let config = TopicConfig::default().durability(Durability::Written);
        let (topic, _root) = topic_on_disk(4, &config);
        let options = ProducerOptions::new().batch_size(batch_size);
        let producer = Producer::new(Arc::new(SystemClock::new()), options).unwrap();
        let title = format!("log, written, {name}, 4 partitions");
        measure_sends(&title, &producer, false, |record| producer.send(&topic, record));
    }
}

fn measure_sends(
    title: &str,
    producer: &Producer,
    stamped: bool,
    send: impl Fn(&ProducerRecord<'_>) -> Result<Ack, SendError>,
) {
    const RECORDS: u64 = 10_000_000;
    let value = [b'x'; 100];
    let mut record = ProducerRecord::of_value(&value);
    record.timestamp = stamped.then_some(NOW);
    let (started, own) = (Instant::now(), cpu_nanos("/proc/thread-self/schedstat"));
    let all = process_cpu_nanos();
    for _ in 0..RECORDS {
        black_box(send(black_box(&record)).unwrap());
    }
    let own = cpu_nanos("/proc/thread-self/schedstat") - own;
    producer.flush();
    let all = process_cpu_nanos() - all;
    let metrics = producer.metrics();
    assert_eq!(metrics.records, RECORDS);
    println!(
        "{title}: {:.2} M records/s; CPU a record: {:.0} ns send, {:.0} ns sender; {:.0} records a \
         batch, {} memory waits",
        RECORDS as f64 / started.elapsed().as_secs_f64() / 1e6,
        own as f64 / RECORDS as f64,
        all.saturating_sub(own) as f64 / RECORDS as f64,
        metrics.average_batch_records(),
        metrics.memory_waits,
    );
}

/// The same of all threads.
fn process_cpu_nanos() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.map(|task| cpu_nanos(&task.path().join("schedstat").to_string_lossy())).sum()
}
