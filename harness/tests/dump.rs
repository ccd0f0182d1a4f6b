//! `dump` against Apache Kafka: its records as the oracle reads them, its lines as Kafka's own tool
//! prints them (`tests/kafka-dump/`, made with `DumpLogSegments` 4.3.1 from the interop fixtures; the
//! first line, which names the file, is left out).

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/interop/fixtures")
}

fn harness() -> Command {
    Command::new(env!("CARGO_BIN_EXE_trunkline-harness"))
}

fn dump(options: &[&str], path: &Path) -> Output {
    harness().arg("dump").args(options).arg(path).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_record_of_kafkas_folder_is_printed_as_the_oracle_prints_it() {
    let output = dump(&["--json"], &fixtures().join("kafka-folder"));
    let expected = std::fs::read(fixtures().join("expected.jsonl")).unwrap();
    assert!(output.stdout == expected, "the dumps differ");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn a_partition_and_a_file_are_parts_of_the_folder() {
    let folder = fixtures().join("kafka-folder");
    let expected = std::fs::read_to_string(fixtures().join("expected.jsonl")).unwrap();
    let of_partition: String = expected
        .split_inclusive('\n')
        .filter(|line| line.starts_with(r#"{"topic":"segments","#))
        .collect();
    let output = dump(&["--json"], &folder.join("segments-0"));
    assert!(text(&output.stdout) == of_partition);
    let output = dump(&["--json"], &folder.join("segments-0/00000000000000000066.log"));
    assert!(output.stdout.len() > 1_000 && of_partition.contains(text(&output.stdout)));
}

#[test]
fn lines_are_those_of_kafkas_own_tool() {
    let cases: [(&str, &[&str], &str); 9] = [
        ("transactions-0/00000000000000000065.log", &[], "data"),
        ("transactions-0/00000000000000000065.log", &["--no-data"], "records"),
        ("transactions-0/00000000000000000065.log", &["--shallow"], "shallow"),
        ("append-time-0/00000000000000000000.log", &[], "data"),
        ("compacted-0/00000000000000000000.log", &[], "data"),
        ("transactions-0/00000000000000000065.index", &[], ""),
        ("transactions-0/00000000000000000065.timeindex", &[], ""),
        ("transactions-0/00000000000000000065.txnindex", &[], ""),
        ("transactions-0/00000000000000000065.snapshot", &[], ""),
    ];
    for (file, options, kind) in cases {
        let path = fixtures().join("kafka-folder").join(file);
        let output = dump(options, &path);
        let (first, rest) = text(&output.stdout).split_once('\n').unwrap();
        assert_eq!(first, format!("Dumping {}", path.display()));
        let dot = if kind.is_empty() { "" } else { "." };
        let golden = format!("tests/kafka-dump/{}{dot}{kind}.txt", file.replace('/', "_"));
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
        let expected = std::fs::read_to_string(&golden).unwrap();
        for (number, (ours, theirs)) in rest.lines().zip(expected.lines()).enumerate() {
            assert_eq!(ours, theirs, "{file} {options:?} line {}", number + 2);
        }
        assert_eq!(rest.len(), expected.len(), "{file} {options:?}");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    }
}

#[test]
fn who_stops_reading_ends_it_quietly() {
    for options in [&["--json"][..], &[]] {
        let mut child = harness()
            .arg("dump")
            .args(options)
            .arg(fixtures().join("kafka-folder"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut start = [0; 64];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{options:?}");
    }
}

#[test]
fn damage_is_told_and_what_follows_it_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let partition = dir.path().join("segments-0");
    std::fs::create_dir(&partition).unwrap();
    let log = partition.join("00000000000000000000.log");
    let whole = fixtures().join("kafka-folder/segments-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&whole).unwrap();
    let offsets = |output: &Output| text(&output.stdout).lines().count();
    let all = offsets(&dump(&["--json"], &whole));
    // In the first batch's records; and a tail of zeros.
    bytes[100] ^= 4;
    bytes.extend([0; 500]);
    std::fs::write(&log, &bytes).unwrap();
    let output = dump(&["--json"], dir.path());
    let first = i64::from(i32::from_be_bytes(bytes[57..61].try_into().unwrap()));
    assert_eq!((output.status.code(), offsets(&output) as i64), (Some(1), all as i64 - first));
    let told = text(&output.stderr);
    assert!(told.contains("00000000000000000000.log at byte 17: crc"), "{told}");
    let output = dump(&["--shallow"], &log);
    let lines = text(&output.stdout);
    assert!(lines.lines().nth(2).unwrap().ends_with("isvalid: false"), "{lines}");
    assert!(lines.ends_with("Found 500 invalid bytes at the end of 00000000000000000000.log\n"));
}

#[test]
fn what_cannot_be_printed_is_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
    for path in [dir.path().join("missing"), dir.path().into(), dir.path().join("notes.txt")] {
        let output = dump(&[], &path);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(path.to_str().unwrap()));
    }
    let index = fixtures().join("kafka-folder/segments-0/00000000000000000000.index");
    assert_eq!(dump(&["--json"], &index).status.code(), Some(2));
}
