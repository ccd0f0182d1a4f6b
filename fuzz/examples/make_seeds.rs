//! Makes the seeds of the fuzz targets from what Apache Kafka wrote (`engine/tests/interop/fixtures`):
//! `cargo run --example make_seeds`, in this folder. Names follow from the content, so that a second
//! run changes nothing.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use trunkline::record::Batch;

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
