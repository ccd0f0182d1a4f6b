//! Records the commit that the binary was built from, so that each result can name it.

use std::{path::Path, process::Command};

fn main() {
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    println!("cargo:rustc-env=TRUNKLINE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // The log of HEAD grows with each commit and checkout. Not the index: `describe --dirty` writes it.
    let moves = ["HEAD", "logs/HEAD"]
        .into_iter()
        .filter_map(|file| git(&["rev-parse", "--git-path", file]));
    for path in moves.filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-changed=../engine/src");
    println!("cargo:rerun-if-changed=src");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
