//! What `cargo mutants` would do to the sources.

use std::{collections::HashMap, ops::Range, path::Path, process::Command};

use serde_json::Value;

use crate::Result;

/// What kind of code a mutant changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

/// What stands in the way of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is compiled in, and switched on by its number.
    Switched,
    /// It does not compile.
    Unviable,
    /// It changes the code of a planted bug, which is not compiled: it counts nowhere.
    Planted,
    /// It cannot be switched on (a constant, say): it is built by itself.
    Alone,
}

#[derive(Debug)]
pub struct Mutant {
    /// From 1.
    pub number: u32,
    /// Below the root, as `engine/src/log/mod.rs`.
    pub file: String,
    pub function: String,
    /// What is changed, without its place; the second such change in the same function ends with ` (2)`.
    pub change: String,
    pub line: usize,
    pub genre: Genre,
    /// The bytes of the file that are replaced.
    pub span: Range<usize>,
    pub replacement: String,
    /// Of the function that it is in, as it is written.
    pub return_type: String,
    pub state: State,
}

impl Mutant {
    /// The folder below `engine/src`.
    pub fn room(&self) -> &str {
        let path = self.file.strip_prefix("engine/src/").unwrap_or(&self.file);
        path.split(['/', '.']).next().unwrap_or(path)
    }

    /// Its name through all changes of other functions.
    pub fn key(&self) -> String {
        format!("{} | {} | {}", self.file_in_src(), self.function, self.change)
    }

    pub fn file_in_src(&self) -> &str {
        self.file.strip_prefix("engine/src/").unwrap_or(&self.file)
    }
}

/// All mutants of these rooms.
pub fn list(root: &Path, rooms: &[String], texts: &HashMap<String, String>) -> Result<Vec<Mutant>> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["mutants", "--list", "--json", "-p", "trunkline"]);
    for room in rooms {
        command.args(["-f", &format!("engine/src/{room}/**")]);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let Value::Array(listed) = serde_json::from_slice(&output.stdout)? else {
        return Err("cargo mutants lists no array".into());
    };
    let mut seen = HashMap::new();
    let mut mutants = Vec::new();
    for (value, number) in listed.iter().zip(1..) {
        let mut mutant = of_json(value, number, texts)?;
        let times: &mut u32 = seen.entry(mutant.key()).or_default();
        *times += 1;
        if *times > 1 {
            mutant.change = format!("{} ({times})", mutant.change);
        }
        mutants.push(mutant);
    }
    Ok(mutants)
}

fn of_json(value: &Value, number: u32, texts: &HashMap<String, String>) -> Result<Mutant> {
    let text = |at: &str| {
        let found = value.pointer(at).and_then(Value::as_str);
        found.ok_or_else(|| format!("no {at} in {value}")).map(str::to_owned)
    };
    let file = text("/file")?;
    let source = texts.get(&file).ok_or_else(|| format!("{file} was not read"))?;
    let place = |end: &str| {
        let number = |of: &str| {
            let found = value.pointer(&format!("/span/{end}/{of}")).and_then(Value::as_u64);
            found.map(|number| number as usize).ok_or_else(|| format!("no {end} {of} in {value}"))
        };
        Ok::<_, String>((number("line")?, number("column")?))
    };
    let (start, end) = (place("start")?, place("end")?);
    let genre = match text("/genre")?.as_str() {
        "FnValue" => Genre::FnValue,
        "BinaryOperator" => Genre::BinaryOperator,
        "UnaryOperator" => Genre::UnaryOperator,
        "MatchArm" => Genre::MatchArm,
        "MatchArmGuard" => Genre::MatchArmGuard,
        "StructField" => Genre::StructField,
        other => return Err(format!("unknown genre {other}").into()),
    };
    let function = text("/function/function_name").unwrap_or_else(|_| "constants".into());
    let name = text("/name")?;
    let change = name.splitn(4, ':').nth(3).unwrap_or(&name).trim().to_owned();
    Ok(Mutant {
        number,
        span: offset(source, start)..offset(source, end),
        file,
        change: change.trim_end_matches(&format!(" in {function}")).to_owned(),
        function,
        line: start.0,
        genre,
        replacement: text("/replacement")?,
        return_type: text("/function/return_type").unwrap_or_default(),
        state: State::Switched,
    })
}

/// The byte at a line and a column (a character), both from 1.
fn offset(text: &str, (line, column): (usize, usize)) -> usize {
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let within: usize = text[before..].chars().take(column - 1).map(char::len_utf8).sum();
    before + within
}
