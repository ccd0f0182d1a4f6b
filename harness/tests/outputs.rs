//! Where output goes wrong: nobody reads it, it cannot be written, it would land in somebody's log.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Output, Stdio},
};

const SHORT: [&str; 7] = [
    "--allow-debug-build",
    "--allow-tmpfs",
    "--records=500",
    "--durability=written",
    "--payload=random",
    "--record-size=100",
    "--linger-ms=0",
];

fn harness(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline-harness"));
    command.current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// With a reader that is gone before the first word.
fn unread(command: &mut Command) -> i32 {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let other = writer.try_clone().unwrap();
    command.stdout(writer).stderr(other).status().unwrap().code().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn a_reader_who_leaves_ends_nothing_but_the_reading() {
    let dir = tempfile::tempdir().unwrap();
    let run = unread(harness(dir.path()).arg("run").args(SHORT));
    let sweep = unread(harness(dir.path()).args(["sweep", "--out", "out"]).args(SHORT));
    assert_eq!((run, sweep), (0, 0));
    assert_eq!(names(dir.path()), ["out"]);
    assert_eq!(names(&dir.path().join("out")), ["report.html", "results.jsonl"]);
}

#[test]
fn a_full_device_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let (code, _, errors) = output(harness(dir.path()).arg("run").args(SHORT).stdout(full()));
    assert!(code == 1 && errors.contains("standard output: No space"), "{code} {errors}");
    let mut sweep = harness(dir.path());
    let (code, _, errors) = output(sweep.args(["sweep", "--out=out"]).args(SHORT).stdout(full()));
    assert!(code == 1 && !errors.contains("panicked"), "{code} {errors}");
    assert!(dir.path().join("out/report.html").exists());
    let line = ["run", "--keep", "--dir=log"];
    assert_eq!(output(harness(dir.path()).args(line).args(SHORT)).0, 0);
    assert_eq!(output(harness(dir.path()).args(["verify", "log"])).0, 0);
    let (code, _, errors) = output(harness(dir.path()).args(["verify", "log"]).stdout(full()));
    assert!(code == 2 && errors.contains("write the findings"), "{code} {errors}");
}

#[test]
fn a_result_that_cannot_be_written_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let run = |json: &str| output(harness(dir.path()).args(["run", "--json", json]).args(SHORT));
    let (code, shown, errors) = run("/dev/full");
    assert!(code == 1 && shown.contains("records/s") && errors.contains("/dev/full"), "{errors}");
    let (code, shown, errors) = run("missing/run.json");
    assert!(code == 1 && shown.is_empty() && errors.contains("missing/run.json"), "{errors}");
    assert_eq!(run("run.json").0, 0);
    assert_eq!(names(dir.path()), ["run.json"]);
}

#[test]
fn nothing_is_put_into_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let line = ["run", "--keep", "--dir=log"];
    let (code, shown, _) = output(harness(dir.path()).args(line).args(SHORT));
    assert!(code == 0 && shown.contains("the log is in log"), "{shown}");
    let before = names(&dir.path().join("log"));
    for out in ["log", "log/report", "log/harness-0"] {
        let (code, _, errors) =
            output(harness(dir.path()).args(["sweep", "--out", out]).args(SHORT));
        assert!(code == 2 && errors.contains("is in the data folder of a log"), "{errors}");
    }
    let (code, _, errors) = output(harness(dir.path()).args(["run", "--dir=log"]).args(SHORT));
    assert!(code == 2 && errors.contains("trunkline-data") && !errors.contains("log/trunkline"));
    assert_eq!(names(&dir.path().join("log")), before);
}

#[test]
fn an_interrupted_run_tells_where_the_kept_log_is() {
    let dir = tempfile::tempdir().unwrap();
    let line = ["run", "--keep", "--dir=log", "--allow-debug-build", "--allow-tmpfs"];
    let rate = ["--rate=100", "--duration=1h", "--warmup=0s"];
    let run = harness(dir.path()).args(line).args(rate).spawn().unwrap();
    while !dir.path().join("log/harness-0").exists() {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = run.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("the log as far as it came is in log"), "{errors}");
}

#[test]
fn folders_that_were_made_go_again_and_mistakes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"x").unwrap();
    let line = ["sweep", "--dir=new/a/b", "--out=out"];
    assert_eq!(output(harness(dir.path()).args(line).args(SHORT)).0, 0);
    assert_eq!(names(dir.path()), ["file", "out"]);
    for (line, part) in [
        (&["run", "--keep"][..], "--keep needs --dir"),
        (&["run", "--dir=file"], "file is a file"),
        (&["sweep", "--dir=file"], "file is a file"),
        (&["sweep", "--out=file"], "file is a file"),
    ] {
        let (code, _, errors) = output(harness(dir.path()).args(line).args(SHORT));
        assert!(code != 0 && errors.contains(part), "{line:?}: {errors}");
    }
    assert_eq!(names(dir.path()), ["file", "out"]);
}
