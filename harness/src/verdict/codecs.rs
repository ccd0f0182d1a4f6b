//! What compression saves and costs.

use super::{Finding, View, group, throughput::fastest, times};
use crate::{show, size::ByteSize};

/// Each codec against none, all at one batch size: that of the fastest cell without compression.
pub(super) fn compression(view: &View<'_>) -> Option<Finding> {
    let runs = view.at_full_speed();
    let (plain_row, plain) = fastest(&runs, |row| row.config.compression == "none")?;
    let size = plain_row.config.batch_size_bytes;
    let mut codecs: Vec<&str> = Vec::new();
    for (row, _) in &runs {
        let codec = row.config.compression.as_str();
        if codec != "none" && !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    let sentences: Vec<String> = codecs
        .iter()
        .filter_map(|codec| {
            let (_, run) = fastest(&runs, |row| group(row) == (size, codec))?;
            let speed = if view.is_noise(run.mb_per_second, plain.mb_per_second) {
                "the same throughput within the noise".to_owned()
            } else {
                format!("{} the throughput", times(run.mb_per_second / plain.mb_per_second))
            };
            Some(format!(
                "{codec} makes them {} smaller, at {speed} and {} ns of CPU a record",
                times(run.compression_ratio?),
                show::optional(run.cpu_ns_per_record)
            ))
        })
        .collect();
    if sentences.is_empty() {
        return None;
    }
    let text = format!(
        "With batches of {}, {} (without: {} ns).",
        ByteSize(size),
        sentences.join("; "),
        show::optional(plain.cpu_ns_per_record)
    );
    Some(Finding { topic: "compression", text })
}
