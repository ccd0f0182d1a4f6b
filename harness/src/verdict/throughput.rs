//! How much gets through, and what batch size does to it.

use std::fmt::Write as _;

use super::{DEFAULTS, Finding, View, group, named, times};
use crate::{cells::Row, result::RunResult, show, size::ByteSize};

/// The fastest cell against Kafka's defaults.
pub(super) fn most(view: &View<'_>) -> Option<Finding> {
    let runs = view.at_full_speed();
    let (row, best) = fastest(&runs, |_| true)?;
    let with = if view.others.is_empty() { String::new() } else { format!(" ({})", view.others) };
    let mut text = format!(
        "{} MB/s ({} records/s) at most, {}, with {}{with}",
        show::three_digits(best.mb_per_second),
        show::rate(best.records_per_second),
        if best.config.acks == "0" {
            "acks 0 (nothing waited for)"
        } else if best.machine.mount.is_memory() {
            "in memory"
        } else {
            &best.config.durability
        },
        named(row)
    );
    let is_default =
        |row: &Row| (row.config.linger_ms, group(row)) == (DEFAULTS.0, (DEFAULTS.1, DEFAULTS.2));
    match fastest(&runs, is_default) {
        Some((default, _)) if std::ptr::eq(default, row) => {
            text.push_str(": Kafka's defaults. No other cell was faster.");
        }
        Some((_, default)) if view.is_noise(best.mb_per_second, default.mb_per_second) => {
            text.push_str(
                ". Kafka's defaults (linger 5 ms, 16KiB, none) are as fast within the noise.",
            );
        }
        Some((_, default)) => {
            let _ = write!(
                text,
                ": {} what Kafka's defaults (linger 5 ms, 16KiB, none) reach, {} MB/s.",
                times(best.mb_per_second / default.mb_per_second),
                show::three_digits(default.mb_per_second)
            );
        }
        None => text.push('.'),
    }
    Some(Finding { topic: "throughput", text })
}

/// The smallest batch size against the largest, each at its best linger, uncompressed if that was
/// measured.
pub(super) fn batch_size(view: &View<'_>) -> Option<Finding> {
    let runs = view.at_full_speed();
    let codec = runs
        .iter()
        .map(|(row, _)| row.config.compression.as_str())
        .min_by_key(|codec| *codec != "none")?;
    let of = |size: u64| {
        fastest(&runs, move |row: &Row| group(row) == (size, codec)).map(|(_, run)| run)
    };
    let sizes = || runs.iter().map(|(row, _)| row.config.batch_size_bytes);
    let (small, large) = (sizes().min()?, sizes().max()?);
    if small == large {
        return None;
    }
    let (at_small, at_large) = (of(small)?, of(large)?);
    let (small, large) = (ByteSize(small), ByteSize(large));
    let text = if view.is_noise(at_small.mb_per_second, at_large.mb_per_second) {
        format!("Batches of {large} are as fast as those of {small} within the noise ({codec}).")
    } else {
        let factor = at_large.mb_per_second / at_small.mb_per_second;
        format!(
            "Batches of {large} take {} the throughput of {small} ({} against {} MB/s, {codec}) and \
             {} against {} ns of CPU a record.",
            times(factor),
            show::three_digits(at_large.mb_per_second),
            show::three_digits(at_small.mb_per_second),
            show::optional(at_large.cpu_ns_per_record),
            show::optional(at_small.cpu_ns_per_record)
        )
    };
    Some(Finding { topic: "batch size", text })
}

/// The fastest of the runs whose row is wanted.
pub(super) fn fastest<'a>(
    runs: &[(&'a Row, &'a RunResult)],
    wanted: impl Fn(&Row) -> bool,
) -> Option<(&'a Row, &'a RunResult)> {
    let runs = runs.iter().filter(|(row, _)| wanted(row));
    runs.max_by(|a, b| a.1.mb_per_second.total_cmp(&b.1.mb_per_second)).copied()
}
