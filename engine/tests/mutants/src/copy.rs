//! The copy of the engine that holds the mutants, and its build.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    Result,
    mutant::{Mutant, State},
    rewrite::{Place, rewrite, rewrite_alone},
    sites::{self, Form, Shape, Site},
};

/// Test targets that have something to say about the engine's code, besides its own tests.
const TARGETS: [&str; 10] = [
    "bit_flips",
    "engine",
    "engine_power_cuts",
    "golden_batches",
    "kafka_folder",
    "lives",
    "model",
    "offline",
    "readme",
    "transactions",
];
/// An error of these may come from the way in which a mutant is switched on.
const BORROWS: [&str; 10] =
    ["E0282", "E0283", "E0373", "E0382", "E0499", "E0502", "E0505", "E0506", "E0597", "E0716"];

pub struct Copy {
    root: PathBuf,
    /// Of each file with mutants, below the root.
    texts: HashMap<String, String>,
    sites: BTreeMap<String, Vec<Site>>,
}

impl Copy {
    /// Copies what the engine and its tests need into `to`.
    pub fn make(
        from: &Path,
        to: &Path,
        texts: HashMap<String, String>,
        mutants: &mut [Mutant],
    ) -> Result<Self> {
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(to)?;
        for name in ["Cargo.lock", "README.md", "ARCHITECTURE.md"] {
            fs::copy(from.join(name), to.join(name))?;
        }
        let workspace = fs::read_to_string(from.join("Cargo.toml"))?;
        let members = "members = [\"engine\", \"harness\", \"benches\"]";
        if !workspace.contains(members) {
            return Err(format!("Cargo.toml has no {members}").into());
        }
        fs::write(to.join("Cargo.toml"), workspace.replace(members, "members = [\"engine\"]"))?;
        copy_folder(&from.join("engine"), &to.join("engine"))?;
        let mut in_files: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, mutant) in mutants.iter().enumerate() {
            in_files
                .entry(texts.get_key_value(&mutant.file).ok_or("a file")?.0)
                .or_default()
                .push(index);
        }
        let mut sites = BTreeMap::new();
        for (file, in_file) in in_files {
            sites.insert(file.to_owned(), sites::find(&texts[file], &in_file, mutants)?);
        }
        let lib = to.join("engine/src/lib.rs");
        let text = fs::read_to_string(&lib)?;
        fs::write(lib, format!("{text}\n#[doc(hidden)]\npub mod mutation;\n"))?;
        let switch = include_str!("switch.rs");
        let constant = format!("\nconst MUTANTS: usize = {};\n", mutants.len());
        fs::write(to.join("engine/src/mutation.rs"), format!("{switch}{constant}"))?;
        Ok(Self { root: to.to_owned(), texts, sites })
    }

    pub fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// Writes all mutants in, and takes out what does not compile, until it does. Gives the programs of
    /// tests, the engine's own first.
    pub fn build(&mut self, mutants: &mut [Mutant]) -> Result<Vec<PathBuf>> {
        for round in 1.. {
            let places = self.write(mutants)?;
            let said = self.cargo(&["check", "--lib"])?;
            if said.succeeded {
                break;
            }
            let out = self.take_out(&said.errors, &places, mutants)?;
            println!(
                "build {round}: {} errors, {out} mutants changed or taken out",
                said.errors.len()
            );
            if out == 0 {
                return Err(format!("errors that no mutant explains: {:#?}", said.errors).into());
            }
        }
        let mut arguments = vec!["test", "--no-run", "--lib"];
        for target in TARGETS {
            arguments.extend(["--test", target]);
        }
        let said = self.cargo(&arguments)?;
        let message = || format!("the tests do not build: {:#?}", said.errors).into();
        said.succeeded.then_some(said.programs).ok_or_else(message)
    }

    /// Builds the engine's own tests, quickly, with this mutant alone in the sources; None where it does not
    /// compile.
    pub fn build_alone(&self, mutant: &Mutant) -> Result<Option<PathBuf>> {
        let source = &self.texts[&mutant.file];
        fs::write(self.root.join(&mutant.file), rewrite_alone(source, mutant))?;
        let unoptimised = "profile.dev.package.trunkline.opt-level=0";
        let said = self.cargo(&["test", "--no-run", "--lib", "--config", unoptimised]);
        fs::write(self.root.join(&mutant.file), source)?;
        let said = said?;
        Ok(said.succeeded.then(|| said.programs.into_iter().next()).flatten())
    }

    /// Puts the sources back.
    pub fn write_originals(&self) -> Result<()> {
        for file in self.sites.keys() {
            fs::write(self.root.join(file), &self.texts[file])?;
        }
        Ok(())
    }

    fn write(&self, mutants: &[Mutant]) -> Result<HashMap<String, Vec<Place>>> {
        let mut places = HashMap::new();
        for (file, sites) in &self.sites {
            let rewritten = rewrite(&self.texts[file], sites, mutants);
            let path = self.root.join(file);
            if fs::read_to_string(&path)? != rewritten.text {
                fs::write(path, &rewritten.text)?;
            }
            places.insert(file.clone(), rewritten.places);
        }
        Ok(places)
    }

    /// Gives how many mutants, or forms of sites, the errors take out.
    fn take_out(
        &mut self,
        errors: &[CompileError],
        places: &HashMap<String, Vec<Place>>,
        mutants: &mut [Mutant],
    ) -> Result<usize> {
        let mut out = 0;
        for error in errors {
            for mutant in error.const_function(&self.sites) {
                out += usize::from(mutants[mutant].state == State::Switched);
                mutants[mutant].state = State::Alone;
            }
            let Some((file, place)) = error.culprit(places) else { continue };
            let site = &mut self.sites.get_mut(file).ok_or("a known file")?[place.site];
            if site.form == Form::Values && place.mutant.is_none() {
                site.form = Form::Branches;
                out += 1;
                continue;
            }
            let is_borrow = BORROWS.contains(&error.code.as_str());
            let (culprits, state) = match place.mutant {
                Some(mutant) if is_borrow => (vec![mutant], State::Alone),
                Some(mutant) => (vec![mutant], State::Unviable),
                None => (site.mutants.clone(), State::Alone),
            };
            for culprit in culprits {
                if mutants[culprit].state == State::Switched {
                    mutants[culprit].state = state;
                    out += 1;
                }
            }
        }
        Ok(out)
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Said> {
        let output = Command::new("cargo")
            .current_dir(&self.root)
            .args(arguments)
            .args(["-p", "trunkline", "--features", "sim", "--message-format=json"])
            .env("CARGO_TARGET_DIR", self.root.with_file_name("build"))
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_INCREMENTAL", "1")
            .env("RUSTFLAGS", "--cap-lints allow")
            .output()?;
        let mut said = Said { succeeded: output.status.success(), ..Said::default() };
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{"))
        {
            said.message(&serde_json::from_slice(line)?);
        }
        if !said.succeeded && said.errors.is_empty() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(said)
    }
}

/// What cargo had to say.
#[derive(Default)]
struct Said {
    succeeded: bool,
    errors: Vec<CompileError>,
    programs: Vec<PathBuf>,
}

impl Said {
    fn message(&mut self, message: &Value) {
        let text = |at: &str| message.pointer(at).and_then(Value::as_str).unwrap_or_default();
        if text("/reason") == "compiler-message" && text("/message/level") == "error" {
            let spans = message.pointer("/message/spans").and_then(Value::as_array);
            let mut spans: Vec<_> =
                spans.into_iter().flatten().filter_map(Blamed::of_json).collect();
            spans.sort_by_key(|span| !span.is_primary);
            if !spans.is_empty() {
                let (code, text) =
                    (text("/message/code/code").into(), text("/message/message").into());
                self.errors.push(CompileError { code, text, spans });
            }
        } else if !text("/executable").is_empty() {
            let path = text("/executable").into();
            let is_lib = text("/target/kind/0") == "lib";
            self.programs.insert(if is_lib { 0 } else { self.programs.len() }, path);
        }
    }
}

#[derive(Debug)]
struct CompileError {
    code: String,
    text: String,
    /// What is blamed first stands first.
    spans: Vec<Blamed>,
}

#[derive(Debug)]
struct Blamed {
    file: String,
    from: usize,
    to: usize,
    is_primary: bool,
}

impl Blamed {
    /// Of a macro's code: where the macro is used.
    fn of_json(span: &Value) -> Option<Self> {
        let mut outermost = span;
        while let Some(use_of_macro) = outermost.pointer("/expansion/span") {
            outermost = use_of_macro;
        }
        Some(Self {
            file: outermost["file_name"].as_str()?.to_owned(),
            from: outermost["byte_start"].as_u64()? as usize,
            to: outermost["byte_end"].as_u64()? as usize,
            is_primary: span["is_primary"].as_bool()?,
        })
    }
}

impl CompileError {
    /// Mutants of the function that a constant calls, where that is the error.
    fn const_function(&self, sites: &BTreeMap<String, Vec<Site>>) -> Vec<usize> {
        let is_called = |site: &&Site| match &site.shape {
            Shape::Const { function } => self.text.contains(&format!("{function}`")),
            _ => false,
        };
        match self.code.as_str() {
            "E0015" => sites
                .values()
                .flatten()
                .filter(is_called)
                .flat_map(|site| site.mutants.clone())
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The smallest code of a mutant that is blamed, or else the smallest site.
    fn culprit<'a>(
        &self,
        places: &'a HashMap<String, Vec<Place>>,
    ) -> Option<(&'a String, &'a Place)> {
        let around = |span: &Blamed| {
            let (from, to) = (span.from, span.to);
            let places = places.get_key_value(&span.file);
            places.into_iter().flat_map(move |(file, places)| {
                let holds =
                    move |place: &&Place| place.bytes.start <= from && to <= place.bytes.end;
                places.iter().filter(holds).map(move |place| (file, place))
            })
        };
        let smallest = |of_mutants: bool| {
            self.spans.iter().find_map(|span| {
                around(span)
                    .filter(|(_, place)| place.mutant.is_some() == of_mutants)
                    .min_by_key(|(_, place)| place.bytes.len())
            })
        };
        smallest(true).or_else(|| smallest(false))
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name();
        if name == "target" || name == "mutants" {
            continue;
        }
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
