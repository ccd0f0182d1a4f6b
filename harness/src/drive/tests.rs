use std::time::{Duration, Instant};

use super::*;
use crate::{
    keys::KeyKind,
    payload::PayloadKind,
    size::ByteSize,
    workload::{Extent, tests::workload},
};
use trunkline::types::Durability;

fn drive(workload: &Workload, stop: &Stop, hlog: Option<&Path>) -> Result<Measured, RunError> {
    drive_in(tempfile::tempdir().unwrap().path(), workload, stop, hlog)
}

fn drive_in(
    dir: &Path,
    workload: &Workload,
    stop: &Stop,
    hlog: Option<&Path>,
) -> Result<Measured, RunError> {
    let pool = Pool::small(&workload.payload, workload.record_size.0 as usize, 1);
    let keys = Keys::new(workload.keys, 1);
    let hlog = hlog.map(|path| IntervalLog::create(path).unwrap());
    let mut told = 0;
    let job =
        Job { workload, dir, pool: &pool, keys: &keys, hlog, memory_touched: 0, keep: true, stop };
    let outcome = run(job, &mut |_| told += 1);
    assert!(told > 0, "the watcher is told");
    outcome
}

fn small() -> Workload {
    Workload {
        extent: Extent::Records(5_000),
        durability: Durability::Written,
        payload: PayloadKind::Random,
        linger_ms: 0,
        ..workload()
    }
}

#[test]
fn every_record_is_acknowledged_and_counted_once() {
    let keyed = Workload { keys: KeyKind::Zipf, partitions: 3, producers: 2, ..small() };
    for workload in [small(), keyed] {
        let measured = drive(&workload, &Stop::default(), None).unwrap();
        assert_eq!(measured.latencies.records, 5_000);
        assert_eq!(measured.latencies.response.len(), 5_000);
        assert_eq!(measured.latencies.acknowledged, 5_000);
        assert_eq!((measured.counters.records, measured.counters.failed), (5_000, 0));
        assert!(measured.counters.batches > 0 && measured.lag.is_none());
        assert!(measured.counters.raw_bytes >= 5_000 * workload.record_bytes());
    }
}

#[test]
fn an_open_loop_keeps_its_schedule() {
    let paced = Workload {
        extent: Extent::Duration(Duration::from_millis(300)),
        warmup: Duration::from_millis(100),
        rate: Rate::PerSecond(10_000),
        record_size: ByteSize(100),
        ..small()
    };
    let dir = tempfile::tempdir().unwrap();
    let hlog = dir.path().join("run.hlog");
    let measured = drive(&paced, &Stop::default(), Some(&hlog)).unwrap();
    // Due from 100 ms up to 400 ms, one each 100 µs; none is left out, sent or not.
    assert_eq!(measured.latencies.response.len(), 3_000);
    assert_eq!(measured.latencies.service.len(), measured.latencies.records);
    assert_eq!(measured.until_ns, Some(measured.from_ns + 300_000_000));
    assert!(measured.lag.is_some());
    assert!(std::fs::read_to_string(&hlog).unwrap().contains("Tag=latency"));
}

#[test]
fn what_was_due_and_not_sent_is_in_the_latencies() {
    let flooded = Workload {
        extent: Extent::Duration(Duration::from_millis(100)),
        rate: Rate::PerSecond(50_000_000),
        ..small()
    };
    let measured = drive(&flooded, &Stop::default(), None).unwrap();
    assert_eq!(measured.latencies.response.len(), 5_000_000);
    assert!(measured.latencies.records < 5_000_000, "a debug build takes no 50 GB/s");
    assert!(measured.unsent > 1_000_000, "{}", measured.unsent);
    // They were given up after a grace of 100 ms, and were due evenly over the 100 ms before it.
    assert!(measured.latencies.response.value_at_quantile(0.5) >= 120_000_000);
}

#[test]
fn full_speed_is_that_of_the_measured_time() {
    let workload = Workload {
        extent: Extent::Duration(Duration::from_millis(300)),
        warmup: Duration::from_millis(200),
        ..small()
    };
    let measured = drive(&workload, &Stop::default(), None).unwrap();
    let (acknowledged, counted) = (measured.latencies.acknowledged, measured.counters.records);
    // The counters are read by a thread that may wake up late, but not by the length of the run.
    assert!(acknowledged > 0 && counted > acknowledged / 3, "{acknowledged} {counted}");
    // The flush at the end, of what was sent in the measured time, is not in it.
    assert!(measured.latencies.last_ns >= measured.until_ns.unwrap());
}

#[test]
fn who_waits_in_a_producer_that_is_given_up_waits_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let lingering = Workload { linger_ms: 600_000, ..small() };
    let target = Target::open(dir.path(), &lingering.topic()).unwrap();
    let recorder = Arc::new(Recorder::new(0, None, false));
    recorder.begin(Instant::now());
    let mut producer = target.producer(&lingering.producer(), recorder.clone()).unwrap();
    let record = crate::target::Outgoing { key: None, value: b"x", timestamp_ms: 0, tag: 0 };
    producer.send(record).unwrap();
    target.give_up();
    assert!(producer.send(record).is_err());
    producer.finish().unwrap();
    let mut latencies = Latencies::default();
    recorder.take(&mut latencies);
    assert_eq!((latencies.records, latencies.failed), (0, 1));
}

#[test]
fn a_quota_is_kept_beside_a_warm_up() {
    let workload = Workload { warmup: Duration::from_millis(30), producers: 2, ..small() };
    let measured = drive(&workload, &Stop::default(), None).unwrap();
    assert_eq!(measured.latencies.records, 5_000);
    assert_eq!(measured.from_ns, crate::tag::aligned(30_000_000));
}

#[test]
fn a_run_can_be_stopped() {
    let endless = Workload { extent: Extent::Duration(Duration::from_hours(1)), ..small() };
    let stop = Stop::default();
    let outcome = thread::scope(|scope| {
        let running = scope.spawn(|| drive(&endless, &stop, None));
        thread::sleep(Duration::from_millis(50));
        stop.wish();
        running.join().unwrap()
    });
    assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
}

#[test]
fn what_was_acknowledged_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let workload = Workload { partitions: 3, keys: KeyKind::Uniform, ..small() };
    drive_in(dir.path(), &workload, &Stop::default(), None).unwrap();
    let engine =
        trunkline::engine::Engine::open(trunkline::options::EngineOptions::new(dir.path()))
            .unwrap();
    assert!(engine.recovery_report().is_clean(), "closed cleanly");
    let topic = engine.topic(crate::target::TOPIC).unwrap();
    let ends: Vec<i64> = topic.partitions().iter().map(|log| log.watermarks().log_end).collect();
    assert_eq!(ends.iter().sum::<i64>(), 5_000, "{ends:?}");
    assert!(ends.iter().all(|end| *end > 0), "{ends:?}");
}
