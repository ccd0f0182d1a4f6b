//! `trunkline-topics`: which topics there are, and their settings. A text file of ours in the root of
//! every log dir (Kafka keeps this in its cluster metadata):
//!
//! ```text
//! trunkline-topics 1
//! generation 7
//! topic orders 4 live AAECAwQFBgcICQoLDA0ODw
//! retention.ms=-1
//! crc32c 1a2b3c4d
//! ```
//!
//! A change counts once it stands in every log dir, one generation on; so of the copies that are
//! found, the newest valid one holds everything that was ever acknowledged. The last line is the
//! checksum of all before it: no flipped bit passes. A lost file costs the topics their settings
//! ([`super::survey`] tells what then happens), never a record.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{ConfigError, TopicConfig};
use crate::{
    error::{Corruption, IoError},
    io::Storage,
    limits::MAX_CHECKPOINT_BYTES,
    types::{TopicId, TopicName},
};

/// The file's name.
pub const TOPICS_FILE: &str = "trunkline-topics";
/// Its first line.
const FIRST_LINE: &str = "trunkline-topics 1";

/// The topics of an engine.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    /// Rises by one a change.
    pub generation: u64,
    /// The topics by name.
    pub topics: BTreeMap<TopicName, CatalogEntry>,
}

/// A topic of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogEntry {
    /// Its id.
    pub id: TopicId,
    /// Number of its partitions.
    pub partitions: u32,
    /// Where it stands between its creation and its end.
    pub stage: Stage,
    /// Its settings.
    pub config: TopicConfig,
    /// Lines that are none of `config`: it has no such setting, or not such a value. They are kept, and
    /// the topic is not served: to go on without them could delete what they keep.
    pub refused: Vec<RefusedSetting>,
}

/// A line of a topic's settings that is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedSetting {
    /// The line.
    pub text: String,
    /// Where it begins in the file, bytes.
    pub position: u64,
    /// What is wrong with it.
    pub error: ConfigError,
}

/// Where a topic stands between its creation and its end. What a crash leaves half-made is taken
/// back, what it leaves half-deleted is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its folders are being made; nobody was told that it exists.
    Creating,
    /// It exists.
    Live,
    /// Its folders are being given up.
    Deleting,
}

impl Stage {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Creating, "creating"), (Self::Live, "live"), (Self::Deleting, "deleting")];

    fn name(self) -> &'static str {
        match self {
            Self::Creating => Self::ALL[0].1,
            Self::Live => Self::ALL[1].1,
            Self::Deleting => Self::ALL[2].1,
        }
    }
}

/// Why the catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// No log dir holds a valid copy, and this one is damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// What [`Catalog::load`] found.
#[derive(Debug, Default)]
pub struct LoadedCatalog {
    /// The newest valid copy; empty where no log dir holds one.
    pub catalog: Catalog,
    /// Copies that were damaged, while another was not.
    pub damaged: Vec<CatalogError>,
    /// Whether every log dir holds this very copy.
    pub is_everywhere: bool,
}

impl Catalog {
    /// Reads the newest valid copy of `log_dirs`. An error where copies exist but none is valid: to
    /// go on with default settings could delete data that the lost settings keep.
    pub fn load(storage: &Storage, log_dirs: &[PathBuf]) -> Result<LoadedCatalog, CatalogError> {
        let (mut copies, mut damaged) = (Vec::new(), Vec::new());
        for dir in log_dirs {
            match Self::read(storage, &dir.join(TOPICS_FILE)) {
                Ok(Some(catalog)) => copies.push(catalog),
                Ok(None) => {}
                Err(error) => damaged.push(error),
            }
        }
        let newest = copies.iter().max_by_key(|catalog| catalog.generation).cloned();
        let Some(catalog) = newest else {
            return match damaged.pop() {
                Some(error) => Err(error),
                None => Ok(LoadedCatalog::default()),
            };
        };
        let is_everywhere = copies.len() == log_dirs.len()
            && copies.iter().all(|copy| copy.generation == catalog.generation);
        Ok(LoadedCatalog { catalog, damaged, is_everywhere })
    }

    /// Writes the catalog to every log dir, durably; the first error after all were tried.
    pub fn store(&self, storage: &Storage, log_dirs: &[PathBuf]) -> Result<(), IoError> {
        let text = self.to_text();
        let mut result = Ok(());
        for dir in log_dirs {
            result = result.and(storage.replace(&dir.join(TOPICS_FILE), text.as_bytes()));
        }
        result
    }

    fn read(storage: &Storage, path: &Path) -> Result<Option<Self>, CatalogError> {
        match storage.read(path, MAX_CHECKPOINT_BYTES) {
            Ok(bytes) => Self::parse(path, &bytes).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\ngeneration {}\n", self.generation);
        for (name, entry) in &self.topics {
            let CatalogEntry { id, partitions, stage, config, refused } = entry;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "topic {name} {partitions} {} {id}", stage.name());
            text.push_str(&config.to_properties());
            for line in refused {
                text.extend([&line.text, "\n"]);
            }
        }
        let checksum = checksum_line(text.as_bytes());
        text + &checksum
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CatalogError> {
        let text = verified(path, bytes)?;
        let mut reader = Reader { path, lines: text.lines(), position: 0 };
        let first = reader.expect()?;
        if first.text != FIRST_LINE {
            return Err(first.refuse("first line", FIRST_LINE).into());
        }
        let line = reader.expect()?;
        let generation = line.text.strip_prefix("generation ").and_then(|n| n.parse().ok());
        let generation =
            generation.ok_or_else(|| line.refuse("generation", "`generation <number>`"))?;
        let mut catalog = Self { generation, topics: BTreeMap::new() };
        let mut last: Option<TopicName> = None;
        while let Some(line) = reader.next() {
            if let Some(topic) = line.text.strip_prefix("topic ") {
                let expected = "`topic <name> <partitions> <stage> <id>`, no name twice";
                let entry =
                    parse_topic(topic).filter(|(name, _)| !catalog.topics.contains_key(name));
                let (name, entry) = entry.ok_or_else(|| line.refuse("topic", expected))?;
                catalog.topics.insert(name.clone(), entry);
                last = Some(name);
            } else {
                let entry = last.as_ref().and_then(|name| catalog.topics.get_mut(name));
                let entry = entry.ok_or_else(|| line.refuse("setting", "a topic before it"))?;
                if let Err(error) = entry.config.set_properties(line.text) {
                    let (text, position) = (line.text.into(), line.position);
                    entry.refused.push(RefusedSetting { text, position, error });
                }
            }
        }
        Ok(catalog)
    }
}

fn parse_topic(text: &str) -> Option<(TopicName, CatalogEntry)> {
    let fields: Vec<&str> = text.split(' ').collect();
    let [name, partitions, stage, id] = fields[..] else { return None };
    let (stage, _) = Stage::ALL.into_iter().find(|(_, name)| *name == stage)?;
    let partitions =
        partitions.parse().ok().filter(|count| (1..=i32::MAX as u32).contains(count))?;
    let config = TopicConfig::default();
    let (id, refused) = (id.parse().ok()?, Vec::new());
    let entry = CatalogEntry { id, partitions, stage, config, refused };
    Some((TopicName::new(name).ok()?, entry))
}

fn checksum_line(bytes: &[u8]) -> String {
    format!("crc32c {:08x}\n", crc32c::crc32c(bytes))
}

/// The lines before the checksum, once it is right.
fn verified<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, Corruption> {
    let length = checksum_line(b"").len();
    let (text, found) = bytes.split_at(bytes.len().saturating_sub(length));
    let expected = checksum_line(text);
    if found != expected.as_bytes() {
        let found = String::from_utf8_lossy(found).trim_end().to_owned();
        let position = text.len() as u64;
        return Err(Corruption::new(path, position, "checksum", expected.trim_end(), found));
    }
    str::from_utf8(text).map_err(|error| {
        let position = error.valid_up_to() as u64;
        Corruption::new(path, position, "text", "UTF-8", "other bytes")
    })
}

struct Reader<'a> {
    path: &'a Path,
    lines: std::str::Lines<'a>,
    position: u64,
}

struct Line<'a> {
    path: &'a Path,
    text: &'a str,
    position: u64,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<Line<'a>> {
        let text = self.lines.next()?;
        let line = Line { path: self.path, text, position: self.position };
        self.position += text.len() as u64 + 1;
        Some(line)
    }

    fn expect(&mut self) -> Result<Line<'a>, Corruption> {
        let (path, position) = (self.path, self.position);
        let missing = || Corruption::new(path, position, "line", "one more", "end of file");
        self.next().ok_or_else(missing)
    }
}

impl Line<'_> {
    fn refuse(&self, what: &'static str, expected: &str) -> Corruption {
        let found: String = self.text.chars().take(100).collect();
        Corruption::new(self.path, self.position, what, expected, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let entry = |byte, partitions, stage, config| CatalogEntry {
            id: TopicId([byte; 16]),
            partitions,
            stage,
            config,
            refused: Vec::new(),
        };
        let name = |name| TopicName::new(name).unwrap();
        let kept = TopicConfig::default().retention_ms(-1).segment_bytes(1 << 20);
        Catalog {
            generation: 7,
            topics: BTreeMap::from([
                (name("orders"), entry(1, 4, Stage::Live, kept)),
                (name("a.b_c-1"), entry(2, 1, Stage::Creating, TopicConfig::default())),
                (name("old"), entry(3, 2, Stage::Deleting, TopicConfig::default())),
            ]),
        }
    }

    fn log_dirs(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
        let root = tempfile::tempdir().unwrap();
        let dirs: Vec<_> = (0..count).map(|n| root.path().join(n.to_string())).collect();
        for dir in &dirs {
            std::fs::create_dir(dir).unwrap();
        }
        (root, dirs)
    }

    #[test]
    fn the_text_is_written_and_read() {
        let text = catalog().to_text();
        assert!(text.starts_with(
            "trunkline-topics 1\ngeneration 7\n\
             topic a.b_c-1 1 creating AgICAgICAgICAgICAgICAg\n\
             topic old 2 deleting AwMDAwMDAwMDAwMDAwMDAw\n\
             topic orders 4 live AQEBAQEBAQEBAQEBAQEBAQ\n\
             retention.ms=-1\nsegment.bytes=1048576\ncrc32c "
        ));
        assert_eq!(Catalog::parse(Path::new("f"), text.as_bytes()).unwrap(), catalog());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = catalog().to_text().into_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Catalog::parse(Path::new("f"), &flipped).unwrap_err();
            assert!(matches!(error, CatalogError::Corrupt(_)), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Catalog::parse(Path::new("f"), &bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_the_checksum_vouches_for_is_still_read_strictly() {
        for body in [
            "",
            "trunkline-topics 2\ngeneration 1\n",
            "trunkline-topics 1\n",
            "trunkline-topics 1\ngeneration x\n",
            "trunkline-topics 1\ngeneration 1\nretention.ms=1\n",
            "trunkline-topics 1\ngeneration 1\ntopic a 0 live AQEBAQEBAQEBAQEBAQEBAQ\n",
            "trunkline-topics 1\ngeneration 1\ntopic a 1 dead AQEBAQEBAQEBAQEBAQEBAQ\n",
            "trunkline-topics 1\ngeneration 1\ntopic a 1 live x\n",
        ] {
            let text = body.to_owned() + &checksum_line(body.as_bytes());
            assert!(Catalog::parse(Path::new("f"), text.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn settings_that_are_refused_are_their_topics_alone_and_kept() {
        let body = "trunkline-topics 1\ngeneration 1\ntopic a 1 live AQEBAQEBAQEBAQEBAQEBAQ\n\
                    retention.ms=-1\nfrom.the.future=1\nsegment.bytes=0\n\
                    topic b 1 live AgICAgICAgICAgICAgICAg\n";
        let text = body.to_owned() + &checksum_line(body.as_bytes());
        let catalog = Catalog::parse(Path::new("f"), text.as_bytes()).unwrap();
        let topic = |name| &catalog.topics[&TopicName::new(name).unwrap()];
        assert_eq!(body[topic("a").refused[0].position as usize..].find("from"), Some(0));
        let names: Vec<_> = topic("a").refused.iter().map(|it| it.error.to_string()).collect();
        assert!(names[0].contains("from.the.future") && names[1].contains("segment.bytes"));
        assert_eq!((topic("a").config.retention_ms, topic("b").refused.len()), (-1, 0));
        assert_eq!(catalog.to_text(), text);
    }

    #[test]
    fn the_newest_valid_copy_wins() {
        let storage = Storage::portable();
        let (_root, dirs) = log_dirs(3);
        assert_eq!(Catalog::load(&storage, &dirs).unwrap().catalog, Catalog::default());
        let old = Catalog { generation: 6, topics: BTreeMap::new() };
        old.store(&storage, &dirs[..2]).unwrap();
        catalog().store(&storage, &dirs[1..2]).unwrap();
        let loaded = Catalog::load(&storage, &dirs).unwrap();
        assert_eq!(loaded.catalog, catalog());
        assert!(!loaded.is_everywhere);
        catalog().store(&storage, &dirs).unwrap();
        assert!(Catalog::load(&storage, &dirs).unwrap().is_everywhere);
    }

    #[test]
    fn a_damaged_copy_falls_back_to_another_or_is_an_error() {
        let storage = Storage::portable();
        let (_root, dirs) = log_dirs(2);
        catalog().store(&storage, &dirs).unwrap();
        std::fs::write(dirs[0].join(TOPICS_FILE), "rot").unwrap();
        let loaded = Catalog::load(&storage, &dirs).unwrap();
        assert_eq!((loaded.catalog, loaded.damaged.len()), (catalog(), 1));
        assert!(!loaded.is_everywhere);
        let error = Catalog::load(&storage, &dirs[..1]).unwrap_err();
        let CatalogError::Corrupt(corruption) = error else { panic!("{error}") };
        assert_eq!(corruption.path, dirs[0].join(TOPICS_FILE));
    }
}
