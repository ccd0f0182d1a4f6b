//! The README's example: it is `quickstart.rs`, and runs, and runs again.

use std::{fs, path::Path, process::Command};

/// Set in the process that runs the example.
const RUNS_IT: &str = "TRUNKLINE_TEST_README";

#[allow(dead_code, reason = "the example's main is no test")]
mod quickstart {
    include!("quickstart.rs");

    pub(crate) fn run() {
        main().unwrap();
    }
}

#[test]
fn the_readmes_example_runs_twice() {
    if std::env::var_os(RUNS_IT).is_some() {
        return quickstart::run();
    }
    let folder = tempfile::tempdir().unwrap();
    for expected in ["0: two apples\n", "0: two apples\n1: two apples\n"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_readmes_example_runs_twice", "--nocapture"])
            .env(RUNS_IT, "1")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && printed.contains(expected), "{printed}");
    }
}

#[test]
fn the_readme_shows_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("../README.md")).unwrap();
    let example = fs::read_to_string(root.join("tests/readme/quickstart.rs")).unwrap();
    assert!(readme.contains(&format!("```rust\n{example}```\n")), "they differ");
}
