use super::*;
use crate::cells::tests::entry;

const DEFAULT: (u64, u64, &str) = (5, 16 << 10, "none");

fn texts(entries: &[crate::journal::Entry]) -> Vec<(&'static str, String)> {
    let findings = of(&Comparison::of(entries));
    findings.into_iter().map(|finding| (finding.topic, finding.text)).collect()
}

fn text_of(entries: &[crate::journal::Entry], topic: &str) -> String {
    let texts = texts(entries);
    let found = texts.iter().find(|(known, _)| *known == topic);
    found.unwrap_or_else(|| panic!("{topic} in {texts:?}")).1.clone()
}

#[test]
fn nothing_says_nothing() {
    assert_eq!(of(&Comparison::default()), []);
}

#[test]
fn the_fastest_is_held_against_kafkas_defaults() {
    let large = (50, 256 << 10, "none");
    let runs = |speed| [entry(DEFAULT, "max", 0, 200.0, 1.0), entry(large, "max", 0, speed, 1.0)];
    let text = text_of(&runs(500.0), "throughput");
    assert!(text.contains("500 MB/s") && text.contains("2.50 times"), "{text}");
    assert!(text.contains("durable") && text.contains("linger 50 ms"), "{text}");
    let text = text_of(&runs(210.0), "throughput");
    assert!(text.contains("within the noise"), "{text}");
    let text = text_of(&runs(100.0), "throughput");
    assert!(text.contains("No other cell was faster"), "{text}");
}

#[test]
fn a_difference_within_the_noise_of_repetitions_is_called_that() {
    let large = (5, 256 << 10, "none");
    let mut runs = vec![
        entry(DEFAULT, "max", 0, 200.0, 1.0),
        entry(DEFAULT, "max", 1, 260.0, 1.0),
        entry(large, "max", 0, 240.0, 1.0),
    ];
    assert!(text_of(&runs, "noise").contains("up to 30 %"));
    assert!(text_of(&runs, "batch size").contains("within the noise"));
    runs[1] = entry(DEFAULT, "max", 1, 201.0, 1.0);
    assert!(text_of(&runs, "batch size").contains("1.20 times"), "noise is small now");
}

#[test]
fn lingering_costs_at_a_low_rate() {
    let at = |linger, p50| entry((linger, 16 << 10, "none"), "2k", 0, 2.0, p50);
    let text = text_of(&[at(0, 300.0), at(50, 25_300.0), at(5, 2_800.0)], "linger, low");
    let expected = "At 2.00 k records/s, linger 0 ms answers in 300 µs (p50); 5 ms adds 2.50 ms; 50 ms \
         adds 25.0 ms (batches of 16KiB, no compression).";
    assert_eq!(text, expected);
}

#[test]
fn what_did_not_keep_a_low_rate_is_no_measure_of_the_others() {
    let at = |linger, p50| entry((linger, 16 << 10, "none"), "2k", 0, 2.0, p50);
    let mut runs = [at(0, 9_000_000.0), at(5, 2_800.0), at(50, 900.0)];
    runs[0].result.records_unsent = 1_000;
    let text = text_of(&runs, "linger, low");
    assert!(text.contains("linger 0 ms did not keep the rate"), "{text}");
    assert!(!text.contains("p50") && !text.contains("chance"), "{text}");
    runs[0].result.records_unsent = 0;
    assert!(
        text_of(&runs, "linger, low").contains("5 ms takes 9.00 s off; 50 ms takes 9.00 s off (")
    );
    runs[2].result.latency_us.p50 = None;
    assert!(text_of(&runs, "linger, low").contains("50 ms was measured too briefly to say"));
}

#[test]
fn lingering_gains_at_half_speed_and_not_at_full() {
    let mut runs = Vec::new();
    for (linger, cpu) in [(0, 900.0), (50, 600.0)] {
        let cell = (linger, 16 << 10, "none");
        let mut half = entry(cell, "50%", 0, 100.0, 500.0);
        half.result.config.rate_per_second = Some(100_000);
        half.result.records = 100_000;
        half.result.cpu_ns_per_record = Some(cpu);
        runs.push(half);
        runs.push(entry(cell, "max", 0, 200.0 + linger as f64 / 10.0, 1.0));
    }
    let text = text_of(&runs, "linger, half");
    assert!(text.contains("600 instead of 900 ns of CPU"), "{text}");
    assert!(text_of(&runs, "linger, full").contains("nothing beyond the noise"));
    assert!(text_of(&runs, "linger, full").contains("batches fill"));
    runs[1].result.batch_fill = Some(0.4);
    let text = text_of(&runs, "linger, full");
    assert!(text.contains("nothing beyond the noise") && !text.contains("fill"), "{text}");
    runs[3].result.mb_per_second = 300.0;
    assert!(text_of(&runs, "linger, full").contains("50 %: linger 50 ms"));
}

#[test]
fn codecs_are_held_against_none() {
    let lz4 = (5, 16 << 10, "lz4");
    let runs = [entry(DEFAULT, "max", 0, 200.0, 1.0), entry(lz4, "max", 0, 100.0, 1.0)];
    let text = text_of(&runs, "compression");
    assert!(
        text.contains(
            "batches of 16KiB, lz4 makes them 3.90 times smaller, at 50 % of the throughput"
        ),
        "{text}"
    );
}

#[test]
fn codecs_are_compared_at_one_batch_size() {
    let cell = |kib: u64, codec, speed| entry((5, kib << 10, codec), "max", 0, speed, 1.0);
    let mut runs = vec![cell(16, "none", 200.0), cell(256, "none", 400.0)];
    runs.extend([cell(16, "lz4", 300.0), cell(256, "lz4", 200.0)]);
    let text = text_of(&runs, "compression");
    assert!(text.contains("batches of 256KiB") && text.contains("at 50 % of"), "{text}");
}

#[test]
fn a_latency_within_the_noise_of_repetitions_is_no_result() {
    let at = |linger, repeat, p50| entry((linger, 16 << 10, "none"), "50%", repeat, 100.0, p50);
    let low = |linger, repeat, p50| entry((linger, 16 << 10, "none"), "2k", repeat, 2.0, p50);
    let mut runs = vec![at(0, 0, 30_200.0), at(50, 0, 721.0), low(0, 0, 300.0), low(5, 0, 500.0)];
    for run in &mut runs[..2] {
        run.result.config.rate_per_second = Some(100_000);
        run.result.records = 100_000;
    }
    assert!(text_of(&runs, "linger, half").contains("p50 is 721 µs instead of 30.2 ms"));
    let text = text_of(&runs, "linger, low");
    assert!(text.contains("5 ms makes no difference beyond the noise"), "assumed: {text}");
    let text = text_of(&runs, "noise");
    assert!(
        text.contains("p50 within a factor of 2") && text.contains("`sweep --repeat 3`"),
        "{text}"
    );
    let mut again = at(0, 1, 600.0);
    again.result.config = runs[0].result.config.clone();
    again.result.records = 100_000;
    runs.extend([again, low(5, 1, 510.0)]);
    let text = text_of(&runs, "linger, half");
    assert!(text.contains("p50 makes no difference beyond the noise"), "{text}");
    assert!(text_of(&runs, "linger, low").contains("5 ms adds 200 µs"), "repeated closely");
    let text = text_of(&runs, "noise");
    assert!(
        text.contains("at 2k in their p50 by a factor of 1.02") && text.contains("factor of 50.3")
    );
    assert!(!text.contains("--repeat"), "{text}");
}

#[test]
fn durability_is_always_named() {
    let mut runs = vec![entry(DEFAULT, "max", 0, 200.0, 1.0)];
    assert!(text_of(&runs, "durability").contains("waited until the disk"));
    runs[0].result.config.durability = "written".into();
    assert!(text_of(&runs, "durability").contains("a power cut"));
    runs.push(entry(DEFAULT, "max", 0, 100.0, 1.0));
    assert!(text_of(&runs, "durability").contains("Both levels"));
    let mut unheard = vec![entry(DEFAULT, "max", 0, 200.0, 1.0)];
    unheard[0].result.config.acks = "0".into();
    let text = text_of(&unheard, "durability");
    assert!(
        text.contains("acks 0: nothing was waited for") && !text.contains("durable:"),
        "{text}"
    );
    assert!(!text_of(&unheard, "throughput").contains("durable"));
}

#[test]
fn lines_fit_a_terminal() {
    let runs =
        [entry(DEFAULT, "max", 0, 200.0, 1.0), entry((0, 16 << 10, "none"), "2k", 0, 2.0, 9.0)];
    let text = for_terminal(&of(&Comparison::of(&runs)));
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.starts_with("Verdict\n  throughput  "), "{text}");
}
