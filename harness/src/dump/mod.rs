//! `dump`: prints batches and records of a log, ours or Kafka's, without touching it.

mod args;
mod index;
mod json;
mod text;

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

pub use args::{ABOUT, DumpArgs, EXAMPLES};

use json::JsonLines;
use text::{Detail, TextLines};
use trunkline::{
    error::IoError,
    io::Storage,
    limits::MAX_RELATIVE_OFFSET,
    record::{Batch, BatchError, BatchHeader, Decoder},
    segment::{FileName, Suffix, file_path},
    types::TopicPartition,
};

use crate::{
    batches::{self, BatchFile, Found},
    folder::{Listing, PartitionFolder, Place},
};

/// Bytes that are gathered before they are written.
const OUTPUT_BYTES: usize = 256 << 10;

/// Why nothing could be printed.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The path could not be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// It is nothing that can be printed.
    #[error("{} is no .log, .index, .timeindex, .txnindex or .snapshot file named as a segment's", path.display())]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// JSON has records only.
    #[error("{} holds no records: --json prints those of .log files", path.display())]
    NoRecords {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to look at.
    #[error("{} holds no partition: no folder named <topic>-<number> in it", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// The output could not be written.
    #[error("write: {0}")]
    Output(#[from] io::Error),
}

/// Prints what `args` say. Whether all of it could be read. Who stops reading the output ends it
/// quietly.
pub fn run(args: &DumpArgs) -> Result<bool, DumpError> {
    let out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    match dump(args, out) {
        Err(DumpError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        other => other,
    }
}

/// Prints to `out`.
fn dump(args: &DumpArgs, out: impl Write) -> Result<bool, DumpError> {
    let storage = Storage::portable();
    let mut dump = Dump::new(args, &storage, out);
    match Place::find(&storage, &args.path)? {
        Place::Root { partitions, .. } if partitions.is_empty() => {
            return Err(DumpError::Nothing { path: args.path.clone() });
        }
        Place::Root { partitions, .. } => {
            partitions.iter().try_for_each(|partition| dump.partition(partition))?;
        }
        Place::Partition(partition) => dump.partition(&partition)?,
        Place::File(path) => dump.file(&path)?,
    }
    dump.out.flush()?;
    Ok(dump.all_read)
}

/// How a batch is printed.
enum Form {
    Text(TextLines),
    Json(JsonLines),
}

struct Dump<'a, W> {
    storage: &'a Storage,
    form: Form,
    out: W,
    decoder: Decoder,
    all_read: bool,
}

impl<'a, W: Write> Dump<'a, W> {
    fn new(args: &DumpArgs, storage: &'a Storage, out: W) -> Self {
        let detail = match (args.shallow, args.no_data) {
            (true, _) => Detail::Batches,
            (false, true) => Detail::Records,
            (false, false) => Detail::Data,
        };
        let form = if args.json {
            Form::Json(JsonLines::default())
        } else {
            Form::Text(TextLines::new(detail))
        };
        Self { storage, form, out, decoder: Decoder::new(), all_read: true }
    }

    fn partition(&mut self, partition: &PartitionFolder) -> Result<(), DumpError> {
        let listing = match Listing::read(self.storage, &partition.path) {
            Ok(listing) => listing,
            Err(error) => {
                self.unread(&error);
                return Ok(());
            }
        };
        if let Form::Json(json) = &mut self.form {
            json.begin(Some(&partition.name));
        }
        for (base_offset, _) in listing.of(Suffix::Log) {
            self.log(&file_path(&partition.path, base_offset, Suffix::Log), base_offset)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), DumpError> {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(FileName::parse);
        let name = name.ok_or_else(|| DumpError::NotASegment { path: path.into() })?;
        match &mut self.form {
            Form::Json(_) if name.suffix != Suffix::Log => {
                return Err(DumpError::NoRecords { path: path.into() });
            }
            Form::Json(json) => json.begin(partition_of(path).as_ref()),
            Form::Text(_) => {}
        }
        if name.suffix == Suffix::Log {
            return self.log(path, name.base_offset);
        }
        writeln!(self.out, "Dumping {}", path.display())?;
        match index::lines(self.storage, path, name) {
            Ok(lines) => self.out.write_all(lines.as_bytes())?,
            Err(fault) => self.unread(&fault),
        }
        Ok(())
    }

    fn log(&mut self, path: &Path, base_offset: i64) -> Result<(), DumpError> {
        let mut file = match BatchFile::open(self.storage, path) {
            Ok(file) => file,
            Err(error) => {
                self.unread(&error);
                return Ok(());
            }
        };
        if let Form::Text(_) = self.form {
            writeln!(self.out, "Dumping {}\nLog starting offset: {base_offset}", path.display())?;
        }
        loop {
            match file.read_batch() {
                Ok(None) => return Ok(()),
                Ok(Some(Found { position, batch: Ok(batch) })) => {
                    self.batch(path, position, &batch)?;
                }
                Ok(Some(Found { position, batch: Err(error) })) => {
                    self.damage(path, position, error, &mut file, base_offset)?;
                }
                Err(error) => {
                    self.unread(&error);
                    return Ok(());
                }
            }
        }
    }

    fn batch(&mut self, path: &Path, position: u64, batch: &Batch<'_>) -> Result<(), DumpError> {
        let printed = match &mut self.form {
            Form::Text(text) => text.batch(&mut self.out, position, batch, &mut self.decoder)?,
            Form::Json(json) => json.batch(&mut self.out, batch, &mut self.decoder)?,
        };
        if let Err(error) = printed {
            self.unread(&batches::corruption(error, path, position));
        }
        Ok(())
    }

    /// Tells what is wrong and goes on behind it.
    fn damage(
        &mut self,
        path: &Path,
        position: u64,
        error: BatchError,
        file: &mut BatchFile,
        base_offset: i64,
    ) -> Result<(), DumpError> {
        let plausible = |header: &BatchHeader| {
            let relative = header.last_offset().saturating_sub(base_offset);
            (0..=MAX_RELATIVE_OFFSET).contains(&relative)
        };
        let header = file.damaged_header();
        let (header, skipped) =
            match header.and_then(|header| Ok((header, file.skip_damage(plausible)?))) {
                Ok(found) => found,
                Err(error) => {
                    self.unread(&error);
                    return Ok(());
                }
            };
        if let Form::Text(_) = self.form {
            match header {
                Some(header) => text::batch_line(&mut self.out, position, &header, false)?,
                None if !skipped.resumes => {
                    let name = path.file_name().unwrap_or_default().display();
                    let bytes = skipped.bytes;
                    writeln!(self.out, "Found {bytes} invalid bytes at the end of {name}")?;
                }
                None => {}
            }
        }
        self.unread(&batches::corruption(error, path, position));
        Ok(())
    }

    fn unread(&mut self, fault: &dyn std::fmt::Display) {
        // What was printed before belongs before.
        let _ = self.out.flush();
        crate::say!("{fault}");
        self.all_read = false;
    }
}

/// The partition that a file's folder is named after.
fn partition_of(path: &Path) -> Option<TopicPartition> {
    let full = path.canonicalize().ok()?;
    TopicPartition::from_folder(full.parent()?.file_name()?.to_str()?)
}
