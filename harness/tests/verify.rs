//! `verify`: a clean folder has no fault, and whatever is planted into one is named with its file and
//! byte.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use trunkline::{
    clock::{Clock, ManualClock},
    commit::Strategy,
    io::Storage,
    log::{LogConfig, LogDir, PartitionLog, UnrecoveredLog},
    record::{
        BatchBuilder, BatchHeader, BatchSettings, Encoder, Header, Marker, NewRecord, SealedBatch,
        control_batch,
    },
    types::{TopicName, TopicPartition},
};
use trunkline_harness::verify::{Fault, Findings, Recovery, VerifyArgs, check};

const NOW_MS: i64 = 1_700_000_000_000;
const FIRST: &str = "00000000000000000000";

/// A folder that we wrote and closed: segments, epochs, codecs, producers and aborted transactions.
struct Folder {
    temporary: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = Self { temporary: tempfile::tempdir().unwrap() };
        folder.write(true, 0);
        folder
    }

    /// As [`Folder::new`], but never closed, as a crash leaves it.
    fn crashed() -> Self {
        let folder = Self { temporary: tempfile::tempdir().unwrap() };
        folder.write(false, 0);
        folder
    }

    fn path(&self) -> &Path {
        self.temporary.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn write(&self, close: bool, prepare_bytes: u64) {
        let dir =
            Arc::new(LogDir::open(&Storage::portable(), self.path(), Strategy::SyncEach).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW_MS));
        let config = LogConfig::default()
            .segment_bytes(6_000)
            .index_interval_bytes(512)
            .prepare_bytes(prepare_bytes);
        for number in 0..2 {
            let name = TopicPartition::new(TopicName::new("orders").unwrap(), number);
            let log = UnrecoveredLog::open(&dir, &name, config.clone(), clock.clone()).unwrap();
            let log = log.recover().unwrap().0;
            fill(&log, number == 1);
            let end = log.watermarks().log_end;
            log.commit(end).unwrap();
            if close {
                log.close().unwrap();
            }
        }
        if close {
            dir.close().unwrap();
        }
    }

    fn check_with(&self, compacted: Option<Vec<String>>) -> Findings {
        let args = VerifyArgs {
            dir: self.path().into(),
            compacted,
            recover: false,
            cut_damage: false,
            json: false,
        };
        check(&args).unwrap().1
    }

    fn check(&self) -> Findings {
        self.check_with(None)
    }

    fn recover(&self) -> (Vec<Recovery>, Findings) {
        self.recover_and(false)
    }

    fn recover_and(&self, cut_damage: bool) -> (Vec<Recovery>, Findings) {
        let dir = self.path().into();
        check(&VerifyArgs { dir, compacted: None, recover: true, cut_damage, json: false }).unwrap()
    }

    /// Changes a file.
    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.file(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    }

    /// Names of all files, with their contents.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.path(), self.path(), &mut files);
        files
    }

    /// Base offsets of a partition's segments.
    fn segments(&self, partition: &str) -> Vec<String> {
        let names = self.files().into_keys();
        let logs = names.filter(|name| name.starts_with(partition) && is_kind(name, "log"));
        logs.map(|name| name[partition.len() + 1..].trim_end_matches(".log").into()).collect()
    }
}

fn is_kind(name: &str, kind: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == kind)
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

fn fill(log: &PartitionLog, with_transactions: bool) {
    let codecs = ["none", "lz4", "zstd", "snappy", "gzip"];
    let mut encoder = Encoder::new();
    for n in 0..120_i32 {
        let settings = BatchSettings {
            compression: codecs[n as usize / 7 % 5].parse().unwrap(),
            producer_id: if with_transactions { 40 + i64::from(n % 2) } else { -1 },
            producer_epoch: if with_transactions { 3 } else { -1 },
            base_sequence: if with_transactions { n / 2 * 3 } else { -1 },
            transactional: with_transactions && n % 2 == 0,
        };
        let batch = batch(n, settings, &mut encoder);
        let epoch = n / 50;
        log.append(vec![batch], epoch).unwrap();
        if with_transactions && n % 10 == 8 {
            let kind = if n % 20 == 8 { Marker::Abort } else { Marker::Commit };
            let marker = control_batch(kind, 40, 3, 7, NOW_MS + i64::from(n));
            log.append(vec![marker], epoch).unwrap();
        }
    }
}

fn batch(n: i32, settings: BatchSettings, encoder: &mut Encoder) -> SealedBatch {
    let mut builder = BatchBuilder::new(Vec::new(), settings);
    for record in 0..3 {
        let text = format!("record {record} of batch {n}, {}", "freight ".repeat(8));
        let headers = [Header { name: "n", value: None }];
        let record = NewRecord {
            timestamp: NOW_MS + i64::from(n * 10 - record),
            key: (record > 0).then_some(&b"key"[..]),
            value: Some(text.as_bytes()),
            headers: &headers[..usize::from(record == 2)],
        };
        builder.push(&record).unwrap();
    }
    builder.seal(encoder).unwrap()
}

/// Positions and headers of a log's batches.
fn batches(log: &[u8]) -> Vec<(usize, BatchHeader)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < log.len() {
        let header = BatchHeader::parse(&log[at..]).unwrap();
        found.push((at, header));
        at += header.total_bytes();
    }
    found
}

#[track_caller]
fn one<'a>(findings: &'a Findings, file: &Path, what: &str) -> &'a Fault {
    let found = findings.faults.iter().find(|fault| fault.file == file && fault.what == what);
    found.unwrap_or_else(|| panic!("no `{what}` of {} in {:#?}", file.display(), findings.faults))
}

#[test]
fn a_clean_folder_has_no_fault_and_is_not_touched() {
    let folder = Folder::new();
    let before = folder.files();
    let findings = folder.check();
    assert_eq!(findings.faults, []);
    assert_eq!(findings.notes, Vec::<String>::new());
    let counts = findings.counts;
    assert_eq!((counts.partitions, counts.batches, counts.records), (2, 252, 720));
    assert!(counts.segments > 6, "{counts:?}");
    let logs = before.iter().filter(|(name, _)| is_kind(name, "log"));
    assert_eq!(counts.bytes, logs.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert!(before == folder.files(), "verify changed a file");
}

#[test]
fn one_partition_can_be_checked_alone() {
    let folder = Folder::new();
    let args = VerifyArgs {
        dir: folder.file("orders-1"),
        compacted: None,
        recover: false,
        cut_damage: false,
        json: false,
    };
    let findings = check(&args).unwrap().1;
    assert_eq!((findings.counts.partitions, findings.faults), (1, vec![]));
    assert!(check(&VerifyArgs { recover: true, ..args }).is_err());
}

#[test]
fn what_a_crash_leaves_has_no_fault_either() {
    let folder = Folder::crashed();
    let findings = folder.check();
    assert_eq!(findings.faults, []);
    assert!(findings.notes[0].contains("not closed cleanly"), "{:?}", findings.notes);
    // Kafka reserves the whole index of the segment that it appends to.
    let last = folder.segments("orders-0").pop().unwrap();
    folder.edit(&format!("orders-0/{last}.index"), |index| index.resize(1 << 20, 0));
    folder.edit(&format!("orders-0/{last}.timeindex"), |index| index.resize(12 << 10, 0));
    assert_eq!(folder.check().faults, []);
    folder.edit(&format!("orders-0/{FIRST}.index"), |index| index.extend([0; 16]));
    one(&folder.check(), &folder.file(&format!("orders-0/{FIRST}.index")), "zero tail");
}

#[test]
fn missing_indexes_are_no_fault() {
    let folder = Folder::new();
    for name in folder.files().into_keys() {
        if is_kind(&name, "index") || is_kind(&name, "timeindex") {
            fs::remove_file(folder.file(&name)).unwrap();
        }
    }
    let findings = folder.check();
    assert_eq!(findings.faults, []);
    assert!(findings.notes.iter().any(|note| note.contains("index files are missing")));
}

#[test]
fn flipped_bits_of_every_other_file_are_found() {
    let folder = Folder::new();
    let mut flipped = 0;
    for (name, bytes) in folder.files() {
        // The marker counts by its presence.
        if is_kind(&name, "log") || name == ".kafka_cleanshutdown" {
            continue;
        }
        // Each place of a byte's bits comes in turn.
        let step = if bytes.len() < 100 { 11 } else { 43 };
        for bit in (0..bytes.len() * 8).step_by(step) {
            folder.edit(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let findings = folder.check();
            let path = folder.file(&name);
            let named = findings.faults.iter().any(|fault| fault.file == path);
            assert!(named, "bit {bit} of {name}: {:#?}", findings.faults);
            flipped += 1;
            fs::write(&path, &bytes).unwrap();
        }
    }
    assert!(flipped > 500, "{flipped}");
}

#[test]
fn flipped_bits_of_a_log_are_found_in_their_batch() {
    let folder = Folder::new();
    for segment in ["orders-0", "orders-1"] {
        let name = format!("{segment}/{FIRST}.log");
        let bytes = fs::read(folder.file(&name)).unwrap();
        for (at, header) in batches(&bytes) {
            for bit in (0..header.total_bytes() * 8).step_by(61) {
                folder.edit(&name, |bytes| bytes[at + bit / 8] ^= 1 << (bit % 8));
                let findings = folder.check();
                let path = folder.file(&name);
                let range = at as u64..(at + header.total_bytes()) as u64;
                let first = findings.faults.iter().find(|fault| fault.file == path);
                let is_named = first.is_some_and(|fault| range.contains(&fault.byte));
                assert!(is_named, "bit {bit} of the batch at {at}: {:#?}", findings.faults);
                fs::write(&path, &bytes).unwrap();
            }
        }
    }
}

#[test]
fn damage_is_told_once_and_what_follows_is_checked() {
    let folder = Folder::new();
    let name = format!("orders-0/{FIRST}.log");
    let all = folder.check().counts.batches;
    let log = fs::read(folder.file(&name)).unwrap();
    let (at, header) = batches(&log)[5];
    folder.edit(&name, |log| log[at + 70] ^= 1);
    let findings = folder.check();
    let [fault] = &findings.faults[..] else { panic!("{:#?}", findings.faults) };
    assert_eq!((fault.byte, &fault.what[..]), (at as u64 + 17, "crc"));
    let end = at + header.total_bytes();
    assert!(fault.found.ends_with(&format!("; the next whole batch is at byte {end}")), "{fault}");
    assert_eq!(findings.counts.batches, all - 1);
}

#[test]
fn lost_segments_are_missed() {
    for (place, what) in [
        (0, "base offset of the first segment"),
        (1, "base offset of the segment"),
        (usize::MAX, "end of the log against the log end in trunkline-state"),
    ] {
        let folder = Folder::new();
        let segments = folder.segments("orders-0");
        assert!(segments.len() > 2);
        let place = place.min(segments.len() - 1);
        for suffix in ["log", "index", "timeindex"] {
            fs::remove_file(folder.file(&format!("orders-0/{}.{suffix}", segments[place])))
                .unwrap();
        }
        let findings = folder.check();
        let file = match segments.get(place + 1) {
            Some(next) if place > 0 => folder.file(&format!("orders-0/{next}.log")),
            _ => folder.file("orders-0"),
        };
        one(&findings, &file, what);
        one(&findings, &folder.file("orders-0/trunkline-seals"), "sealed segment");
    }
    let folder = Folder::new();
    fs::remove_file(folder.file(&format!("orders-0/{FIRST}.log"))).unwrap();
    one(&folder.check(), &folder.file(&format!("orders-0/{FIRST}.index")), "index");
    fs::remove_dir_all(folder.file("orders-0")).unwrap();
    one(&folder.check(), &folder.file("trunkline-state"), "partition");
}

#[test]
fn tails_are_named() {
    let folder = Folder::new();
    let last = format!("orders-0/{}", folder.segments("orders-0").last().unwrap());
    let log = fs::read(folder.file(&format!("{last}.log"))).unwrap();
    let path = folder.file(&format!("{last}.log"));
    let len = log.len() as u64;

    fs::write(&path, [&log[..], &[0; 777]].concat()).unwrap();
    let findings = folder.check();
    let fault = one(&findings, &path, "zero tail");
    assert_eq!((fault.byte, &fault.found[..]), (len, "777 zero bytes"));

    // The start of a batch, and less than a header.
    for torn in [100, 20] {
        fs::write(&path, [&log[..], &log[..torn]].concat()).unwrap();
        let findings = folder.check();
        let fault = one(&findings, &path, "batch length");
        let expected = format!("; no whole batch in the {torn} bytes up to the end");
        // Of a batch that is cut off the length is what does not fit; of less than a header, nothing.
        let at = if torn == 100 { len + 8 } else { len };
        assert!(fault.byte == at && fault.found.ends_with(&expected), "{fault}");
    }
    fs::write(&path, &log[..log.len() - 1]).unwrap();
    let findings = folder.check();
    let at = batches(&log).last().unwrap().0 as u64 + 8;
    assert_eq!(one(&findings, &path, "batch length").byte, at);
    fs::write(&path, &log).unwrap();

    for (suffix, entry) in [("index", 8), ("timeindex", 12)] {
        let path = folder.file(&format!("{last}.{suffix}"));
        let index = fs::read(&path).unwrap();
        fs::write(&path, [&index[..], &vec![0; entry * 3]].concat()).unwrap();
        let findings = folder.check();
        assert_eq!(one(&findings, &path, "zero tail").byte, index.len() as u64);
        fs::write(&path, [&index[..], &[1]].concat()).unwrap();
        let findings = folder.check();
        assert_eq!(one(&findings, &path, "file length").byte, index.len() as u64);
        fs::write(&path, &index).unwrap();
    }
}

#[test]
fn an_index_entry_that_is_off_by_one_is_found_without_its_checksum() {
    let folder = Folder::new();
    fs::remove_file(folder.file("orders-0/trunkline-seals")).unwrap();
    let cases = [
        ("index", 8, 0, "last offset of the batch"),
        ("index", 8, 4, "position of an entry"),
        ("timeindex", 12, 0, "largest timestamp up to the offset"),
        ("timeindex", 12, 8, "offset of an entry"),
    ];
    for (suffix, entry, field, what) in cases {
        let name = format!("orders-0/{FIRST}.{suffix}");
        let original = fs::read(folder.file(&name)).unwrap();
        assert!(original.len() >= entry * 3);
        for step in [1_u8, 255] {
            // The lowest byte of the second entry's field.
            let width = if field == 0 && suffix == "timeindex" { 8 } else { 4 };
            let at = entry + field + width - 1;
            folder.edit(&name, |index| index[at] = index[at].wrapping_add(step));
            let findings = folder.check();
            let [fault] = &findings.faults[..] else { panic!("{name}: {:#?}", findings.faults) };
            assert_eq!((fault.byte, &fault.what[..]), (entry as u64, what), "{name}");
            fs::write(folder.file(&name), &original).unwrap();
        }
        // Entries that are right, in the wrong order.
        folder.edit(&name, |index| index[..entry * 2].rotate_left(entry));
        one(&folder.check(), &folder.file(&name), "order of entries");
        fs::write(folder.file(&name), &original).unwrap();
    }
}

#[test]
fn batches_that_changed_places_are_found() {
    let folder = Folder::new();
    let name = format!("orders-0/{FIRST}.log");
    let log = fs::read(folder.file(&name)).unwrap();
    let (at, first) = batches(&log)[3];
    let (middle, second) = batches(&log)[4];
    let end = middle + second.total_bytes();
    folder.edit(&name, |log| log[at..end].rotate_left(middle - at));
    let findings = folder.check();
    let fault = one(&findings, &folder.file(&name), "base offset");
    assert_eq!(fault.byte, at as u64);
    assert_eq!(fault.expected, first.base_offset.to_string());
    assert_eq!(fault.found, second.base_offset.to_string());
}

#[test]
fn a_wrong_leader_epoch_is_found() {
    let folder = Folder::new();
    let name = format!("orders-0/{FIRST}.log");
    let log = fs::read(folder.file(&name)).unwrap();
    let (at, _) = batches(&log)[6];
    // Outside the CRC: nothing else would tell.
    folder.edit(&name, |log| log[at + 15] = 1);
    let findings = folder.check();
    let fault = &findings.faults[0];
    assert_eq!((&fault.file, fault.byte), (&folder.file(&name), at as u64 + 12));
    assert_eq!(
        fault.to_string(),
        format!(
            "{}: byte {}: leader epoch: expected 0 as in leader-epoch-checkpoint, found 1",
            fault.file.display(),
            at + 12
        )
    );
    // The next batch falls back to 0.
    assert_eq!(findings.faults[1].expected, "at least 1, as in the batch before");
    fs::write(folder.file(&name), &log).unwrap();

    fs::remove_file(folder.file("orders-0/leader-epoch-checkpoint")).unwrap();
    one(&folder.check(), &folder.file("orders-0/leader-epoch-checkpoint"), "file");
}

#[test]
fn zeros_written_ahead_are_no_fault_until_the_folder_is_closed() {
    let folder = Folder { temporary: tempfile::tempdir().unwrap() };
    folder.write(false, LogConfig::PREPARE_BYTES);
    let last = format!("orders-0/{}.log", folder.segments("orders-0").last().unwrap());
    let crashed = fs::read(folder.file(&last)).unwrap();
    assert!(crashed.ends_with(&[0; 100]), "zeros stand behind the batches");
    assert_eq!(folder.check().faults, []);
    let (recoveries, findings) = folder.recover();
    assert!(recoveries.iter().all(|recovery| recovery.cut_bytes == 0), "{recoveries:#?}");
    assert_eq!(findings.faults, []);
    let closed = fs::read(folder.file(&last)).unwrap();
    assert!(closed.len() < crashed.len() && crashed.starts_with(&closed));
    // Kafka takes them for damage in a folder that was closed.
    fs::write(folder.file(&last), &crashed).unwrap();
    one(&folder.check(), &folder.file(&last), "zero tail");
}

#[test]
fn gaps_are_what_compaction_leaves_if_somebody_says_so() {
    let folder = Folder::crashed();
    let last = format!("orders-0/{}.log", folder.segments("orders-0").last().unwrap());
    let log = fs::read(folder.file(&last)).unwrap();
    let (at, _) = batches(&log)[1];
    let (end, _) = batches(&log)[2];
    folder.edit(&last, |log| drop(log.drain(at..end)));
    // The index is a cache: its positions are no longer those of the log.
    for suffix in ["index", "timeindex"] {
        fs::write(folder.file(&last.replace("log", suffix)), b"").unwrap();
    }
    let findings = folder.check();
    assert_eq!(one(&findings, &folder.file(&last), "base offset").byte, at as u64);
    for topics in [vec![], vec!["orders".to_owned()]] {
        let findings = folder.check_with(Some(topics));
        assert_eq!(findings.faults, []);
        let said = "orders-0 is compacted (--compacted): gaps are no fault";
        assert!(findings.notes.iter().any(|note| note == said), "{:?}", findings.notes);
    }
    assert_ne!(folder.check_with(Some(vec!["others".into()])).fault_count(), 0);
    fs::write(folder.file("cleaner-offset-checkpoint"), "0\n1\norders 0 10\n").unwrap();
    assert_eq!(folder.check().faults, []);
}

#[test]
fn recovery_cuts_off_a_torn_tail_and_says_so() {
    let folder = Folder::crashed();
    let last = format!("orders-0/{}.log", folder.segments("orders-0").last().unwrap());
    let log = fs::read(folder.file(&last)).unwrap();
    folder.edit(&last, |bytes| bytes.extend_from_within(..100));
    assert_eq!(folder.check().fault_count(), 1);
    let (recoveries, findings) = folder.recover();
    assert_eq!(findings.faults, []);
    assert_eq!(findings.notes, Vec::<String>::new());
    let [first, second] = &recoveries[..] else { panic!("{recoveries:#?}") };
    assert_eq!((first.clean, first.cut_bytes, second.cut_bytes), (false, 100, 0));
    let cause = first.cut_cause.as_deref().unwrap();
    assert!(cause.contains(&format!("at byte {}: batch length", log.len() + 8)), "{cause}");
    assert!(log == fs::read(folder.file(&last)).unwrap());
    let (recoveries, _) = folder.recover();
    assert!(recoveries.iter().all(|recovery| recovery.clean));
}

#[test]
fn recovery_tells_of_an_index_that_it_made_anew_in_a_folder_that_was_closed() {
    let folder = Folder::new();
    let (recoveries, _) = folder.recover();
    assert!(recoveries.iter().all(|it| it.clean && it.rebuilt.is_empty()), "{recoveries:#?}");
    let index = format!("orders-0/{}.index", folder.segments("orders-0").last().unwrap());
    fs::remove_file(folder.file(&index)).unwrap();
    let (recoveries, findings) = folder.recover();
    assert_eq!((findings.faults, findings.notes), (vec![], vec![]));
    let told = format!("{}: it was missing", folder.file(&index).display());
    assert_eq!(recoveries[0].rebuilt, [told]);
    assert_eq!(recoveries[1].rebuilt, Vec::<String>::new());
}

#[test]
fn damage_stays_until_the_owner_gives_it_up() {
    let folder = Folder::crashed();
    let log = format!("orders-0/{FIRST}.log");
    folder.edit(&log, |bytes| bytes[70] ^= 1);
    let before = fs::read(folder.file(&log)).unwrap();
    let (recoveries, findings) = folder.recover();
    assert_eq!((recoveries[0].damaged.len(), recoveries[0].cut_bytes), (1, 0));
    assert!(!findings.notes.iter().any(|note| note.ends_with("mended by the next open")));
    assert!(findings.notes.iter().any(|note| note.contains("holds damage")), "{findings:?}");
    assert!(before == fs::read(folder.file(&log)).unwrap());
    let (recoveries, findings) = folder.recover_and(true);
    assert_eq!(findings.faults, []);
    assert!(recoveries[0].cut_bytes > 6_000 && !recoveries[0].kept_aside.is_empty());
    assert_eq!((recoveries[0].log_end, recoveries[0].damaged.len()), (0, 0));
}

#[test]
fn kafkas_own_folder_has_no_fault() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/interop/fixtures");
    let dir = fixtures.join("kafka-folder");
    let findings =
        check(&VerifyArgs { dir, compacted: None, recover: false, cut_damage: false, json: false })
            .unwrap()
            .1;
    assert_eq!(findings.faults, []);
    let lines = fs::read_to_string(fixtures.join("expected.jsonl")).unwrap().lines().count();
    assert_eq!(findings.counts.records, lines as u64);
    let said = "compacted-0 is compacted (cleaner-offset-checkpoint): gaps are no fault";
    assert_eq!(findings.notes, [said]);
}

#[test]
fn the_program_prints_a_line_a_fault_and_a_summary() {
    let folder = Folder::new();
    let run = |options: &[&str], path: &Path| {
        let program = env!("CARGO_BIN_EXE_trunkline-harness");
        let output = Command::new(program).arg("verify").args(options).arg(path).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&[], folder.path());
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert!(text.starts_with("2 partitions, ") && text.contains(" 720 records, "), "{text}");
    folder.edit(&format!("orders-0/{FIRST}.log"), |log| log[70] ^= 1);
    let (code, text) = run(&[], folder.path());
    let line =
        format!("{}/orders-0/{FIRST}.log: byte 17: crc: expected 0x", folder.path().display());
    assert!(code == 1 && text.starts_with(&line) && text.contains(", 1 fault, "), "{text}");
    let (code, text) = run(&["--json"], folder.path());
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, object["fault_count"].as_u64()), (1, Some(1)));
    assert_eq!(object["faults"][0]["byte"], 17);
    assert_eq!(object["partitions"], 2);
    assert_eq!(run(&[], &folder.file("missing")).0, 2);
    assert_eq!(run(&[], &folder.file("trunkline-state")).0, 2);
}
