//! Makes the seeds of the fuzz targets from what Apache Kafka wrote (`engine/tests/interop/fixtures`):
//! `cargo run --example make_seeds`, in this folder. Names follow from the content, so that a second
//! run changes nothing.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use trunkline::{
    clock::ManualClock,
    commit::Strategy,
    io::ForgetfulDisk,
    log::{LogConfig, LogDir, UnrecoveredLog},
    record::{Batch, BatchBuilder, BatchSettings, Codec, Compression, Encoder, NewRecord},
    types::{TopicName, TopicPartition},
};
use trunkline_fuzz::{FOLDER_FILES, FolderSettings, push_file};

const FIXTURES: &str = "../engine/tests/interop/fixtures";
/// Larger seeds slow every run down.
const MOST: usize = 8 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    walk(Path::new(FIXTURES), &mut files)?;
    files.sort();
    for path in files {
        let bytes = fs::read(&path)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = path.extension().and_then(|name| name.to_str()).unwrap_or_default();
        match extension {
            "bin" | "log" => batches(&bytes)?,
            "snapshot" => seed("producer_snapshot", &bytes)?,
            "index" | "timeindex" | "txnindex" => indexes(extension, &bytes)?,
            _ if name.contains("checkpoint") => seed("checkpoint_parse", &bytes)?,
            _ => {}
        }
    }
    folders()
}

/// Small log dirs that the engine wrote: closed, crashed, and as Kafka would leave them.
fn folders() -> Result<(), Box<dyn Error>> {
    for (number, codec) in [Codec::None, Codec::Lz4, Codec::Zstd].into_iter().enumerate() {
        for closed in [false, true] {
            let disk = ForgetfulDisk::new();
            write_folder(&disk, Compression::new(codec), closed)?;
            for ours in [true, false] {
                let change = (4 * number + 2 * usize::from(closed) + usize::from(ours)) as u8;
                let mut input = FolderSettings::seed(number == 1, change).to_vec();
                let storage = disk.storage();
                for (file, name) in FOLDER_FILES.iter().enumerate() {
                    let is_ours = name.contains("trunkline-");
                    let bytes = storage.read(&Path::new("/data").join(name), MOST as u64);
                    if let (true, Ok(bytes)) = (ours || !is_ours, bytes) {
                        push_file(&mut input, file, &bytes);
                    }
                }
                seed("recover_folder", &input)?;
            }
        }
    }
    Ok(())
}

fn write_folder(
    disk: &ForgetfulDisk,
    compression: Compression,
    closed: bool,
) -> Result<(), Box<dyn Error>> {
    let dir = LogDir::open(&disk.storage(), Path::new("/data"), Strategy::SyncEach)?;
    let dir = Arc::new(dir);
    let partition = TopicPartition::new(TopicName::new("t")?, 0);
    let config = LogConfig::default().segment_bytes(250).index_interval_bytes(1).retention_ms(-1);
    let clock = Arc::new(ManualClock::new(1_000_000));
    let (log, _) = UnrecoveredLog::open(&dir, &partition, config, clock)?.recover()?;
    for number in 0..4_i32 {
        let settings = BatchSettings {
            compression,
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: number,
            transactional: false,
        };
        let mut builder = BatchBuilder::new(Vec::new(), settings);
        let value = [b'v'; 20];
        let (key, value) = (Some(&b"key"[..]), Some(&value[..]));
        let timestamp = 1_000_000 + i64::from(number % 3);
        builder.push(&NewRecord { timestamp, key, value, headers: &[] })?;
        let appended = log.append(vec![builder.seal(&mut Encoder::new())?], number / 2)?;
        log.commit(appended.end)?;
    }
    log.checkpoint()?;
    dir.persist()?;
    if closed {
        log.close()?;
        dir.close()?;
    }
    Ok(())
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn batches(mut bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    while let Ok(batch) = Batch::check(bytes) {
        let whole = batch.bytes();
        bytes = &bytes[whole.len()..];
        seed("batch_decode", whole)?;
        let header = batch.header();
        let mut payload = (header.record_count.max(0) as u16).to_le_bytes().to_vec();
        payload.extend_from_slice(&whole[trunkline::limits::BATCH_HEADER..]);
        let target = match header.attributes.codec_id() {
            0 => "record_iterate",
            1 => "decompress_gzip",
            2 => "decompress_snappy",
            3 => "decompress_lz4",
            _ => "decompress_zstd",
        };
        seed(target, &payload)?;
    }
    Ok(())
}

fn indexes(kind: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let counts = match kind {
        "index" => [(bytes.len() / 8).min(255) as u8, 0],
        "timeindex" => [0, (bytes.len() / 12).min(255) as u8],
        _ => [0, 0],
    };
    seed("index_open", &[&counts[..], bytes].concat())
}

fn seed(target: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if bytes.is_empty() || bytes.len() > MOST {
        return Ok(());
    }
    let folder = Path::new("seeds").join(target);
    fs::create_dir_all(&folder)?;
    let name = format!("{:08x}", crc32c::crc32c(bytes));
    Ok(fs::write(folder.join(name), bytes)?)
}
