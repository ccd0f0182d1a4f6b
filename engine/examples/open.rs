//! Times the opening of a data folder and prints what recovery read: `open DIR`.
//!
//! The folder is opened as an engine opens it, so it is recovered where it was not closed cleanly, and
//! closed cleanly afterwards.

use std::{error::Error, time::Instant};

use trunkline::{Engine, EngineOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: open DIR")?;
    let begun = Instant::now();
    let engine = Engine::open(EngineOptions::new(dir))?;
    let opened = begun.elapsed();
    for partition in &engine.recovery_report().partitions {
        println!(
            "{}: {}, {} segments, offsets {} to {}, checked {} bytes from offset {}, cut {} bytes",
            partition.partition,
            if partition.clean { "clean" } else { "recovered" },
            partition.segments,
            partition.log_start,
            partition.log_end,
            partition.checked_bytes,
            partition.checked_from,
            partition.cut.as_ref().map_or(0, |cut| cut.bytes),
        );
    }
    println!("opened in {:.1} ms", opened.as_secs_f64() * 1e3);
    engine.close()?;
    Ok(())
}
