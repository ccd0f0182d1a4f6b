//! The interval log: a histogram a second, in the form that HdrHistogram's own tools read.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hdrhistogram::serialization::{
    V2DeflateSerializeError, V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag},
};

use crate::latency::Latencies;

/// Maximum values stand in the log in milliseconds; the histograms hold nanoseconds.
const MAX_VALUE_DIVISOR: f64 = 1_000_000.0;

/// A log being written.
#[derive(Debug)]
pub struct IntervalLog {
    path: PathBuf,
    file: BufWriter<File>,
    start: SystemTime,
    begun: bool,
}

/// The log could not be written.
#[derive(Debug, thiserror::Error)]
#[error("histogram log {path}: {reason}")]
pub struct HlogError {
    /// The file.
    path: PathBuf,
    /// What went wrong.
    reason: String,
}

impl IntervalLog {
    /// Makes the file.
    pub fn create(path: &Path) -> Result<Self, HlogError> {
        let file = File::create(path)
            .map_err(|error| HlogError { path: path.into(), reason: error.to_string() })?;
        Ok(Self {
            path: path.into(),
            file: BufWriter::new(file),
            start: SystemTime::now(),
            begun: false,
        })
    }

    /// The run starts `at` this time: intervals count from it.
    pub fn begin(&mut self, at: SystemTime) {
        self.start = at;
    }

    /// Writes one interval, times since the run's start, with a histogram for each of the tags
    /// `latency` (from the intended time) and, in an open loop, `service` (from the actual send).
    pub fn write(
        &mut self,
        from: Duration,
        to: Duration,
        latencies: &Latencies,
    ) -> Result<(), HlogError> {
        let failed = |reason: String| HlogError { path: self.path.clone(), reason };
        let text =
            encode(self.start, (from, to), latencies).map_err(|error| failed(error.to_string()))?;
        // Each interval is encoded with the header; only the first one keeps it.
        let text = if self.begun { without_header(&text) } else { &text };
        self.file.write_all(text).map_err(|error| failed(error.to_string()))?;
        self.begun = true;
        Ok(())
    }

    /// Writes what is still in memory.
    pub fn finish(mut self) -> Result<(), HlogError> {
        self.file
            .flush()
            .map_err(|error| HlogError { path: self.path.clone(), reason: error.to_string() })
    }
}

/// The header and a line for each histogram that has values.
fn encode(
    start: SystemTime,
    (from, to): (Duration, Duration),
    latencies: &Latencies,
) -> Result<Vec<u8>, IntervalLogWriterError<V2DeflateSerializeError>> {
    let mut text = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Logged by trunkline-harness; values in nanoseconds, maxima in milliseconds]")
        .with_base_time(start)
        .with_start_time(start)
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(&mut text, &mut serializer)?;
    for (tag, histogram) in [("latency", &latencies.response), ("service", &latencies.service)] {
        if !histogram.is_empty() {
            writer.write_histogram(histogram, from, to.saturating_sub(from), Tag::new(tag))?;
        }
    }
    Ok(text)
}

fn without_header(text: &[u8]) -> &[u8] {
    let header: usize = text
        .split_inclusive(|byte| *byte == b'\n')
        .take_while(|line| line.starts_with(b"#"))
        .map(<[u8]>::len)
        .sum();
    &text[header..]
}

#[cfg(test)]
mod tests {
    use hdrhistogram::{
        Histogram,
        serialization::{
            Deserializer,
            interval_log::{IntervalLogIterator, LogEntry},
        },
    };

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.hlog");
        let mut log = IntervalLog::create(&path).unwrap();
        log.begin(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        for second in 0..3_u64 {
            let mut latencies = Latencies::default();
            latencies.response.record_n(2_000_000, second).unwrap();
            latencies.service.record_n(1_000_000, second).unwrap();
            let at = Duration::from_secs(second);
            log.write(at, at + Duration::from_secs(1), &latencies).unwrap();
        }
        log.finish().unwrap();

        let text = std::fs::read(&path).unwrap();
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&text) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let bytes = base64(interval.encoded_histogram());
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                let tag = interval.tag().unwrap().as_str().to_owned();
                found.push((tag, interval.start_timestamp().as_secs(), histogram.len()));
            }
        }
        let expected = [("latency", 1, 1), ("service", 1, 1), ("latency", 2, 2), ("service", 2, 2)];
        assert_eq!(found, expected.map(|(tag, at, count)| (tag.to_owned(), at, count)));
        let text = String::from_utf8_lossy(&text);
        assert_eq!(text.matches("BaseTime").count(), 1);
        assert!(text.contains("StartTime: 1000000"), "the run's, not the file's: {text}");
    }

    fn base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
        for digit in text.bytes().filter(|byte| *byte != b'=') {
            let value = DIGITS.iter().position(|known| *known == digit).unwrap() as u32;
            bits = bits << 6 | value;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }
}
