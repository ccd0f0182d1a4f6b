//! The house rules that a machine can check (`ARCHITECTURE.md`): who imports whom, that every module
//! says its duty, names that say nothing, unfinished code, unsafe code, locks that no scheduler sees. It prints, and does not
//! refuse, long files and long functions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

/// Files of the repository, without their endings, in which unsafe code may stand; each use has a
/// `SAFETY:` note of its own. `clippy::undocumented_unsafe_blocks` reads them more closely.
const FENCED: [&str; 5] = [
    "engine/src/io/uring",
    "engine/src/io/write_back",
    "engine/src/io/map",
    "engine/tests/sanitizers/planted",
    "benches/mapped",
];
/// Lines above a use of `unsafe` in which its note may stand.
const NOTE_LINES: usize = 6;
/// Siblings that one may import: who, whom. Neither looks back.
/// `engine` is opened with its `options`; a topic's name has its bound where all `limits` stand.
const SIBLINGS: [(&str, &str); 2] = [("engine", "options"), ("types", "limits")];
/// Names that say nothing about a duty, for modules; as the last word of a type too.
const SAYS_NOTHING: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "stuff"];
/// Crates that only the room `sync` names: a lock that goes past it hangs `tests/schedules`.
const BEHIND_SYNC: [&str; 2] = ["parking_lot", "arc_swap"];
/// Macros of unfinished work.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// Lines without tests from which a file is mentioned.
const LONG_FILE: usize = 500;
/// Lines from which a function is mentioned.
const LONG_FUNCTION: usize = 70;

#[test]
fn the_engine_keeps_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../ARCHITECTURE.md")).unwrap();
    let table = Table::of_page(&page).expect("ARCHITECTURE.md has the table of the rooms");
    let sources = Sources::read(&root.join("src"), "rs");
    let report = check(&table, &sources);
    for remark in &report.remarks {
        println!("{remark}");
    }
    println!(
        "{} files, {} lines without tests, {} imports between {} rooms",
        report.files, report.lines, report.imports, report.rooms
    );
    let absent: Vec<_> = table.0.keys().filter(|room| !sources.rooms().contains(*room)).collect();
    println!("rooms of the table that are not built yet: {absent:?}");
    let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{} faults:\n  {}", faults.len(), faults.join("\n  "));
    // A checker that sees nothing finds nothing.
    assert!(report.files > 40 && report.imports > 60 && report.rooms >= 10, "{report:?}");
}

#[test]
fn the_crates_own_page_has_the_same_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../ARCHITECTURE.md")).unwrap();
    let crate_page = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let crate_page: Vec<_> = crate_page
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let crate_page = crate_page.join("\n");
    assert_eq!(Table::of_page(&crate_page), Table::of_page(&page));
}

/// Tests, tools and the crates outside the workspace too.
#[test]
fn unsafe_code_is_fenced_in_and_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = Sources::read(&root, "rs");
    let places = ["engine/src/", "engine/tests/realfs/", "harness/", "benches/", "fuzz/"];
    for place in places {
        assert!(sources.0.keys().any(|file| file.starts_with(place)), "{place} was not read");
    }
    let faults: Vec<_> =
        sources.0.iter().flat_map(|(file, text)| unsafe_faults(file, text)).collect();
    assert!(faults.is_empty(), "{} faults:\n  {}", faults.len(), faults.join("\n  "));
}

#[test]
fn every_crate_denies_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifests = Sources::read(&root, "toml").0;
    let crates = manifests.iter().filter(|(file, _)| file.ends_with("Cargo.toml"));
    let crates: Vec<_> = crates.map(|(file, text)| (file, denies_unsafe_code(text))).collect();
    assert!(crates.len() >= 6, "{crates:?}");
    assert!(crates.iter().all(|(_, denies)| *denies), "{crates:?}");
}

/// Whether a manifest does so itself, or by its workspace.
fn denies_unsafe_code(manifest: &str) -> bool {
    manifest.contains("\nunsafe_code = \"deny\"\n")
        || manifest.contains("[lints]\nworkspace = true\n")
}

/// The row of each room, from 1 at the bottom.
#[derive(Debug, PartialEq, Eq)]
struct Table(BTreeMap<String, usize>);

impl Table {
    /// Reads the fenced block whose first row is that of `engine` and `options`.
    fn of_page(page: &str) -> Option<Self> {
        let start = page.find("\n7 engine  options")? + 1;
        let rows = page[start..].lines().take_while(|line| !line.starts_with("```"));
        let mut rooms = BTreeMap::new();
        for (below, line) in rows.enumerate() {
            let (number, names) = line.split_once(' ')?;
            assert_eq!(number.parse(), Ok(7 - below), "row {line:?}");
            let names = names.split("   ").next()?;
            for name in names.split("  ") {
                let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                assert!(is_name && !name.is_empty(), "room {name:?} in row {line:?}");
                assert!(rooms.insert(name.to_owned(), 7 - below).is_none(), "{name} stands twice");
            }
        }
        Some(Self(rooms))
    }
}

/// What was looked at and found.
#[derive(Debug, Default)]
struct Report {
    faults: Vec<Fault>,
    remarks: Vec<Fault>,
    files: usize,
    lines: usize,
    imports: usize,
    rooms: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    /// Path below `src`.
    file: String,
    /// From 1.
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "engine/src/{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Files of a folder: path below it, with `/`, and text.
struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Those that end in `kind`; what was built is passed over.
    fn read(src: &Path, kind: &str) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![src.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path: PathBuf = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if path.is_dir() {
                    if name != "target" && !name.starts_with('.') {
                        folders.push(path);
                    }
                } else if path.extension().is_some_and(|ending| ending == kind) {
                    let below = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
                    files.insert(below, fs::read_to_string(&path).unwrap());
                }
            }
        }
        Self(files)
    }

    fn rooms(&self) -> BTreeSet<String> {
        self.0.keys().filter(|file| *file != "lib.rs").map(|file| room_of(file)).collect()
    }
}

fn room_of(file: &str) -> String {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs").to_owned()
}

fn check(table: &Table, sources: &Sources) -> Report {
    let mut report = Report { rooms: sources.rooms().len(), ..Report::default() };
    for room in sources.rooms() {
        if !table.0.contains_key(&room) {
            report.fault(&format!("{room}.rs"), 1, format!("{room} is no room of the table"));
        }
    }
    let tests = test_files(sources);
    for (file, text) in &sources.0 {
        let code = Code::of(text);
        report.check_unfinished(file, &code.all);
        let is_test = tests.iter().any(|test| file.starts_with(test));
        if is_test {
            continue;
        }
        report.files += 1;
        report.lines += code.lines_without_tests;
        report.check_duty(file, text);
        report.check_names(file, &code.shipped);
        report.check_sync(file, &code.shipped);
        if file != "lib.rs" {
            report.check_imports(table, file, &code.shipped);
        }
        report.note_sizes(file, &code);
    }
    report
}

impl Report {
    fn fault(&mut self, file: &str, line: usize, what: String) {
        self.faults.push(Fault { file: file.to_owned(), line, what });
    }

    fn check_duty(&mut self, file: &str, text: &str) {
        if !text.starts_with("//! ") {
            self.fault(file, 1, "the file does not open with its duty (`//! …`)".into());
        }
    }

    fn check_names(&mut self, file: &str, code: &str) {
        for part in file.split('/').map(|part| part.trim_end_matches(".rs")) {
            if part.split('_').any(|word| SAYS_NOTHING.contains(&word)) {
                self.fault(file, 1, format!("the name {part:?} says nothing"));
            }
        }
        for (at, word) in words(code) {
            let declares = ["mod", "struct", "enum", "trait", "type"].contains(&word);
            let name = code[at + word.len()..].trim_start();
            let name = &name[..name.find(|c: char| !is_word(c)).unwrap_or(name.len())];
            if declares && SAYS_NOTHING.contains(&last_word(name).as_str()) {
                self.fault(file, line_at(code, at), format!("the name {name:?} says nothing"));
            }
        }
    }

    fn check_unfinished(&mut self, file: &str, code: &str) {
        for (at, word) in words(code) {
            if UNFINISHED.contains(&word) && code[at + word.len()..].starts_with('!') {
                self.fault(file, line_at(code, at), format!("{word}! is unfinished work"));
            }
        }
    }

    fn check_sync(&mut self, file: &str, code: &str) {
        for (at, word) in words(code).filter(|(_, word)| BEHIND_SYNC.contains(word)) {
            if room_of(file) != "sync" {
                self.fault(file, line_at(code, at), format!("{word} is named outside of sync"));
            }
        }
    }

    fn check_imports(&mut self, table: &Table, file: &str, code: &str) {
        let own = room_of(file);
        let Some(row) = table.0.get(&own) else { return };
        for (at, room) in imports(file, code) {
            let line = line_at(code, at);
            self.imports += 1;
            match table.0.get(&room) {
                _ if room == own => {}
                _ if SIBLINGS.contains(&(own.as_str(), room.as_str())) => {}
                Some(below) if below < row => {}
                Some(other) if other == row => {
                    self.fault(file, line, format!("{own} imports its sibling {room}"));
                }
                Some(_) => self.fault(file, line, format!("{own} imports {room}, which is above")),
                None => self.fault(file, line, format!("{own} imports {room}, which is no room")),
            }
        }
    }

    fn note_sizes(&mut self, file: &str, code: &Code) {
        let mut note = |line, what| self.remarks.push(Fault { file: file.to_owned(), line, what });
        if code.lines_without_tests > LONG_FILE {
            note(1, format!("{} lines without tests", code.lines_without_tests));
        }
        for (at, word) in words(&code.shipped) {
            let rest = &code.shipped[at..];
            let Some(end) = end_of_item(rest).filter(|_| word == "fn") else { continue };
            let lines = rest[..end].lines().count();
            if lines > LONG_FUNCTION {
                let name = rest[2..].trim_start();
                let name = &name[..name.find(|c: char| !is_word(c)).unwrap_or(0)];
                note(line_at(&code.shipped, at), format!("fn {name} has {lines} lines"));
            }
        }
    }
}

/// What is wrong with the uses of `unsafe` in a file, of the repository's root.
fn unsafe_faults(file: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let lines: Vec<_> = text.lines().collect();
    let uses: BTreeSet<_> = words(&code)
        .filter(|(_, word)| *word == "unsafe")
        .map(|(at, _)| line_at(&code, at))
        .collect();
    let fenced = FENCED.iter().any(|fenced| file.starts_with(fenced));
    let mut faults = Vec::new();
    for line in &uses {
        // Up to the use before: its note is not this one's.
        let before = uses.range(..line).next_back().copied().unwrap_or(0);
        let mut above = lines[before.max(line.saturating_sub(NOTE_LINES))..*line].iter();
        if !fenced {
            faults.push(format!("{file}:{line}: unsafe code outside the fenced files"));
        } else if !above.any(|line| line.contains("// SAFETY: ") || line.contains("/// # Safety")) {
            faults.push(format!("{file}:{line}: unsafe code without a `SAFETY:` note of its own"));
        }
    }
    faults
}

/// Rooms that `code` of `file` names: `crate::room`, `crate::{room, room::x}`, and as many `super::`
/// as lead out of the room; with the byte where each stands.
fn imports(file: &str, code: &str) -> Vec<(usize, String)> {
    let is_folder = file.ends_with("/mod.rs");
    let depth = file.split('/').count() - usize::from(is_folder);
    let mut found = Vec::new();
    let mut after = 0;
    for (at, word) in words(code) {
        if at >= after && (word == "crate" || word == "super") {
            let mut rooms = Vec::new();
            after = code.len() - follow(&code[at..], 0, depth, &mut rooms).len();
            found.extend(rooms.into_iter().map(|room| (at, room)));
        }
    }
    found
}

/// Follows a path that stands `supers` modules above its file, at `depth`, and notes the rooms that it
/// names at the root. Gives the code behind.
fn follow<'a>(code: &'a str, mut supers: usize, depth: usize, rooms: &mut Vec<String>) -> &'a str {
    let mut rest = code.trim_start();
    if let Some(next) = path_step(rest, "crate") {
        (rest, supers) = (next, usize::MAX);
    }
    while let Some(next) = path_step(rest, "super") {
        (rest, supers) = (next, supers + 1);
    }
    rest = rest.trim_start();
    if rest.starts_with('{') && supers > 0 {
        let end = end_of_group(rest);
        for part in split_group(&rest[1..end]) {
            follow(part, supers, depth, rooms);
        }
        return &rest[end..];
    }
    let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
    if supers >= depth && !matches!(name, "" | "self") {
        rooms.push(name.to_owned());
    }
    &rest[name.len()..]
}

/// What follows `name::` at the start of `code`.
fn path_step<'a>(code: &'a str, name: &str) -> Option<&'a str> {
    code.trim_start().strip_prefix(name)?.trim_start().strip_prefix("::")
}

/// Position of the brace that closes the one at the start of `code`.
fn end_of_group(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn split_group(group: &str) -> Vec<&str> {
    let mut depth = 0;
    group
        .split(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 && c == ','
        })
        .collect()
}

/// A file's code without comments and with empty literals, each line in its place.
struct Code {
    all: String,
    /// Without what is compiled for tests only.
    shipped: String,
    lines_without_tests: usize,
}

impl Code {
    fn of(text: &str) -> Self {
        let all = without_comments(text);
        let mut shipped = all.clone();
        let mut test_lines = 0;
        let mut from = 0;
        while let Some(at) = shipped[from..].find("#[cfg(test)]").map(|at| at + from) {
            let item = at + "#[cfg(test)]".len();
            let end = item + end_of_item(&shipped[item..]).unwrap_or(shipped.len() - item);
            test_lines += shipped[at..end].lines().count();
            let blank: String =
                shipped[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            shipped.replace_range(at..end, &blank);
            from = at + blank.len();
        }
        Self { all, shipped, lines_without_tests: text.lines().count() - test_lines }
    }
}

/// Where the item that starts `code` ends: behind its `;`, or the brace that closes its first one.
fn end_of_item(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            ';' if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Blanks comments and what stands in literals; bytes other than ASCII become one `?` each, so that
/// positions are those of the result.
fn without_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let len = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['r', '"' | '#', ..] | ['b', 'r', '"' | '#', ..] if !follows_word(&chars, at) => {
                raw_string(rest).unwrap_or(0)
            }
            ['"', ..] => quoted(rest, '"'),
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(rest, '\''),
            _ => 0,
        };
        let blanked = rest.iter().take(len).map(|c| if *c == '\n' { '\n' } else { ' ' });
        out.extend(blanked);
        at += len;
        if len == 0 {
            out.push(if rest[0].is_ascii() { rest[0] } else { '?' });
            at += 1;
        }
    }
    out
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| is_word(chars[before]))
}

fn block_comment(chars: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(chars: &[char]) -> Option<usize> {
    let open = chars.iter().position(|c| *c == '"')?;
    let hashes = chars[..open].iter().filter(|c| **c == '#').count();
    let start = open - hashes;
    if !matches!(chars[..start], ['r'] | ['b', 'r']) {
        return None; // a raw identifier
    }
    let close: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
    let body = &chars[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close)?;
    Some(open + 1 + end + close.len())
}

fn quoted(chars: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The files and folders, below `src` and without endings, that a `#[cfg(test)] mod x;` names.
fn test_files(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in &sources.0 {
        let code = without_comments(text);
        let folder = match file.strip_suffix("mod.rs").or_else(|| file.strip_suffix("lib.rs")) {
            Some(folder) => folder.to_owned(),
            None => format!("{}/", file.trim_end_matches(".rs")),
        };
        for (at, _) in code.match_indices("#[cfg(test)]") {
            let item = code[at + "#[cfg(test)]".len()..].trim_start();
            let name = item.strip_prefix("mod ").and_then(|rest| rest.split_once(';'));
            if let Some((name, _)) = name.filter(|(name, _)| name.chars().all(is_word)) {
                found.push(format!("{folder}{name}.rs"));
                found.push(format!("{folder}{name}/"));
            }
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The words of `code`, with their positions.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + code[from..].find(is_word)?;
        let len = code[start..].find(|c| !is_word(c)).unwrap_or(code.len() - start);
        from = start + len;
        Some((start, &code[start..from]))
    })
}

/// The last word of a name in camel or snake case, in small letters.
fn last_word(name: &str) -> String {
    let start = name.rfind(|c: char| c.is_ascii_uppercase() || c == '_').unwrap_or(0);
    name[start..].trim_start_matches('_').to_ascii_lowercase()
}

fn line_at(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The checker itself: what it must flag, and what it must let pass.
mod planted {
    use super::{Code, Sources, Table, check, denies_unsafe_code, unsafe_faults};

    const PAGE: &str = "text\n```text\n7 engine  options   wiring\n6 producer\n5 topic\n4 log    \
                        one partition\n3 segment  commit\n2 io  record\n1 types  error\n```\n";

    fn faults(file: &str, text: &str) -> Vec<String> {
        let sources = Sources([(file.to_owned(), text.to_owned())].into());
        let report = check(&Table::of_page(PAGE).unwrap(), &sources);
        report.faults.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn assert_flags(file: &str, text: &str, line: usize, what: &str) {
        let found = faults(file, &format!("//! Duty.\n{text}"));
        let place = format!("engine/src/{file}:{line}: ");
        let is_it = |fault: &String| fault.starts_with(&place) && fault.contains(what);
        assert!(found.len() == 1 && is_it(&found[0]), "{text:?}: {found:?}");
    }

    #[test]
    fn the_table_is_read() {
        let table = Table::of_page(PAGE).unwrap();
        let rows: Vec<_> = table.0.iter().map(|(room, row)| (room.as_str(), *row)).collect();
        assert_eq!(rows.len(), 11);
        for pair in [("engine", 7), ("options", 7), ("log", 4), ("record", 2), ("error", 1)] {
            assert!(rows.contains(&pair), "{rows:?}");
        }
        assert_eq!(Table::of_page("no table"), None);
    }

    #[test]
    fn imports_from_above_and_from_siblings_are_flagged() {
        let above = "imports log, which is above";
        assert_flags("segment/a.rs", "use crate::log::Log;", 2, above);
        assert_flags("segment/a.rs", "\nuse crate::{\n    types::X,\n    log,\n};", 3, above);
        assert_flags("segment/a.rs", "pub(super) fn f() { crate::log::g() }", 2, above);
        assert_flags("segment/mod.rs", "use super::log::Log;", 2, above);
        assert_flags("segment/a.rs", "use super::super::log;", 2, above);
        assert_flags("segment/a/b.rs", "use super::{super::{super::log}};", 2, above);
        assert_flags("io.rs", "use crate::record::Batch;", 2, "its sibling record");
        assert_flags("types.rs", "use super::error::E;", 2, "its sibling error");
        assert_flags("segment/a/b.rs", "use super::{c, super::{d, super::log}};", 2, above);
        assert_flags("log/x.rs", "use crate::nonsense::E;", 2, "which is no room");
        assert_flags(
            "log/x.rs",
            "#[cfg(any(test, feature = \"sim\"))]\nuse crate::topic::T;",
            3,
            "",
        );
    }

    #[test]
    fn names_and_unfinished_work_are_flagged() {
        assert_flags("log/util.rs", "", 1, "says nothing");
        assert_flags("log/file_helpers.rs", "", 1, "says nothing");
        assert_flags("log/x.rs", "pub struct LogManager;", 2, "\"LogManager\" says nothing");
        assert_flags("log/x.rs", "mod common;", 2, "\"common\" says nothing");
        assert_flags("log/x.rs", "fn f() { todo!() }", 2, "todo! is unfinished");
        assert_flags("log/x.rs", "fn f() { dbg!(1); }", 2, "dbg! is unfinished");
        assert_flags("log/x.rs", "#[cfg(test)]\nfn f() {\n unimplemented!() }", 4, "unfinished");
        assert_flags("log/x.rs", "use parking_lot::Mutex;", 2, "named outside of sync");
        assert_flags("log/x.rs", "fn f(x: arc_swap::ArcSwap<u8>) {}", 2, "outside of sync");
        assert_flags("nowhere.rs", "", 1, "is no room of the table");
        let found = faults("log/x.rs", "// no duty\n");
        assert!(found.len() == 1 && found[0].contains("duty"), "{found:?}");
    }

    #[test]
    fn unsafe_code_is_flagged() {
        let outside = "unsafe code outside the fenced files";
        let unnoted = "unsafe code without a `SAFETY:` note of its own";
        let block = "fn f() {\n    unsafe { g() }\n}\n";
        for file in ["engine/src/log/x.rs", "fuzz/src/lib.rs", "engine/tests/realfs/src/main.rs"] {
            assert_eq!(unsafe_faults(file, block), [format!("{file}:2: {outside}")]);
            let in_test = format!("#[cfg(test)]\nmod tests {{\n// SAFETY: planted.\n{block}}}\n");
            assert_eq!(unsafe_faults(file, &in_test), [format!("{file}:5: {outside}")]);
        }
        let file = "engine/src/io/uring/ring.rs";
        let fenced = |text: &str| unsafe_faults(file, text);
        assert_eq!(fenced(block), [format!("{file}:2: {unnoted}")]);
        assert_eq!(fenced("unsafe impl Send for X {}"), [format!("{file}:1: {unnoted}")]);
        let string = "let x = \"SAFETY: not a note\";\nunsafe { g() }";
        assert_eq!(fenced(string), [format!("{file}:2: {unnoted}")]);
        let far = format!("// SAFETY: planted.\n{}unsafe {{ g() }}", "\n".repeat(6));
        assert_eq!(fenced(&far), [format!("{file}:8: {unnoted}")]);
        let shared = "// SAFETY: planted.\nunsafe { g() };\nunsafe { h() };\n";
        assert_eq!(fenced(shared), [format!("{file}:3: {unnoted}")]);
        let noted = "/// # Safety\n/// Planted.\nunsafe fn f() {\n    // SAFETY: planted.\n    \
                     unsafe { g() }\n}\n";
        assert_eq!(fenced(noted), [""; 0]);
    }

    #[test]
    fn a_crate_without_the_lint_is_flagged() {
        assert!(denies_unsafe_code("[package]\n\n[lints]\nworkspace = true\n"));
        assert!(denies_unsafe_code("[lints.rust]\nunsafe_code = \"deny\"\n"));
        assert!(!denies_unsafe_code("[package]\nedition.workspace = true\n"));
        assert!(!denies_unsafe_code("[lints.rust]\n# unsafe_code = \"deny\"\n"));
    }

    #[test]
    fn what_is_right_passes() {
        let text = r##"//! Duty: todo!() in words is no work.
            use super::y;
            use crate::{error::{self, E}, log::z, segment::{A, B}, types};
            /* use crate::topic::T; /* unsafe */ todo!() */
            // use crate::topic::T; dbg!()
            const TEXT: &str = "use crate::topic::T; todo!() \" unsafe";
            const RAW: &str = r#"crate::topic "unsafe" {"#;
            const QUOTE: char = '"';
            fn life<'a>(x: &'a str) -> &'a str { x }
            #[cfg(test)]
            use crate::topic::T;
            #[cfg(test)]
            mod tests { use crate::engine::E; fn f() { g([0; 3]) } }
            fn after() { let unsafe_code = "helpers"; }
        "##;
        assert_eq!(faults("log/x.rs", text), [""; 0]);
        assert_eq!(unsafe_faults("engine/src/log/x.rs", text), [""; 0]);
        assert_eq!(faults("engine.rs", "//! Duty.\nuse crate::{options::O, log};"), [""; 0]);
        assert_eq!(faults("options.rs", "//! Duty.\nuse crate::engine::E;").len(), 1);
    }

    #[test]
    fn test_files_are_passed_over() {
        let mut files = Sources(
            [
                ("log/mod.rs", "//! Duty.\n#[cfg(test)]\nmod tests;\n#[cfg(test)] mod more_tests;"),
                ("log/tests.rs", "use crate::topic::T;"),
                ("log/more_tests.rs", "use crate::topic::T;"),
                ("log/x.rs", "//! Duty.\n#[cfg(test)]\nmod tests;"),
                ("log/x/tests.rs", "use crate::topic::T;"),
            ]
            .map(|(file, text)| (file.to_owned(), text.to_owned()))
            .into(),
        );
        let table = Table::of_page(PAGE).unwrap();
        assert!(check(&table, &files).faults.is_empty());
        files.0.insert("log/y/tests.rs".into(), "//! Duty.\nuse crate::topic::T;".into());
        assert_eq!(check(&table, &files).faults.len(), 1);
    }

    #[test]
    fn lines_and_long_functions_are_counted() {
        let body = "    f();\n".repeat(80);
        let text = format!("//! Duty.\nfn long() {{\n{body}}}\n#[cfg(test)]\nmod t {{\n{body}}}\n");
        assert_eq!(Code::of(&text).lines_without_tests, 83);
        let sources = Sources([("log/x.rs".to_owned(), text)].into());
        let report = check(&Table::of_page(PAGE).unwrap(), &sources);
        let remarks: Vec<_> = report.remarks.iter().map(ToString::to_string).collect();
        assert_eq!(remarks, ["engine/src/log/x.rs:2: fn long has 82 lines"]);
    }
}
