//! What waiting for fuller batches costs and brings, at a low rate, at half speed, at full speed.

use std::fmt::Write as _;

use super::{DEFAULTS, Finding, View, group, named, without_linger};
use crate::{cells::Row, result::RunResult, show};

type Run<'a> = (&'a Row, &'a RunResult);

/// At a low rate batches don't fill: lingering is paid in latency.
pub(super) fn cost_at_low_rate(view: &View<'_>) -> Option<Finding> {
    let column = view.low_column()?;
    let runs = view.lingers_at(column, DEFAULTS.1);
    let (first, others) = runs.split_first()?;
    if others.is_empty() {
        return None;
    }
    let mut text = format!(
        "At {} records/s, linger {} ms ",
        show::rate(first.1.config.rate_per_second? as f64),
        first.0.config.linger_ms,
    );
    if first.1.is_overloaded() {
        let _ = write!(
            text,
            "did not keep the rate ({}): nothing to compare.",
            without_linger(first.0)
        );
        return Some(Finding { topic: "linger, low", text });
    }
    let shortest = first.1.latency_us.p50?;
    let _ = write!(text, "answers in {} (p50)", show::micros(Some(shortest)));
    for (row, run) in others {
        let linger = row.config.linger_ms;
        if run.is_overloaded() {
            let _ = write!(text, "; {linger} ms did not keep the rate");
            continue;
        }
        let Some(p50) = run.latency_us.p50 else {
            let _ = write!(text, "; {linger} ms was measured too briefly to say");
            continue;
        };
        let by = show::micros(Some((p50 - shortest).abs()));
        let _ = if view.is_latency_noise(column, p50, shortest) {
            write!(text, "; {linger} ms makes no difference beyond the noise")
        } else if p50 > shortest {
            write!(text, "; {linger} ms adds {by}")
        } else {
            write!(text, "; {linger} ms takes {by} off")
        };
    }
    let _ = write!(text, " ({}).", without_linger(first.0));
    Some(Finding { topic: "linger, low", text })
}

/// At half speed lingering pays in fewer, fuller batches, the more the larger these may be.
pub(super) fn gain_at_middle_rate(view: &View<'_>) -> Option<Finding> {
    let column = view.middle_column()?;
    let sizes = view.at(column).into_iter().map(|(row, _)| row.config.batch_size_bytes);
    let runs = view.lingers_at(column, sizes.max()?);
    let ((short_row, short), (long_row, long)) = (runs.first()?, runs.last()?);
    let (from, to) = (short_row.config.linger_ms, long_row.config.linger_ms);
    if from == to {
        return None;
    }
    let mut text = format!(
        "At {} of the slowest linger's full speed ({} records/s, {}), ",
        view.comparison.rates[column],
        show::rate(long.config.rate_per_second? as f64),
        without_linger(long_row)
    );
    if short.is_overloaded() || long.is_overloaded() {
        text.push_str("a linger did not keep the rate: nothing to compare.");
        return Some(Finding { topic: "linger, half", text });
    }
    let records = |run: &RunResult| show::rate(run.records as f64 / run.batches.max(1) as f64);
    let syncs = |run: &RunResult| show::rate(run.fsyncs as f64 / run.elapsed_seconds.max(0.001));
    let _ = write!(
        text,
        "linger {to} instead of {from} ms puts {} instead of {} records into a batch, at {} instead of \
         {} ns of CPU a record",
        records(long),
        records(short),
        show::optional(long.cpu_ns_per_record),
        show::optional(short.cpu_ns_per_record)
    );
    if short.fsyncs > 0 || long.fsyncs > 0 {
        let _ = write!(text, " and {} instead of {} syncs a second", syncs(long), syncs(short));
    }
    let _ = match (short.latency_us.p50, long.latency_us.p50) {
        (Some(short), Some(long)) if view.is_latency_noise(column, short, long) => {
            write!(text, "; p50 makes no difference beyond the noise.")
        }
        (short, long) => {
            write!(text, "; p50 is {} instead of {}.", show::micros(long), show::micros(short))
        }
    };
    Some(Finding { topic: "linger, half", text })
}

/// Least fill of batches that left because they were full.
const FULL: f64 = 0.9;

/// At full speed batches fill before any linger ends; or so one expects.
pub(super) fn at_full_speed(view: &View<'_>) -> Option<Finding> {
    let runs = view.at_full_speed();
    let mut widest: Option<(f64, Run<'_>, Run<'_>)> = None;
    for one in &runs {
        for other in runs.iter().filter(|other| group(other.0) == group(one.0)) {
            let (slow, fast) = (one.1.mb_per_second, other.1.mb_per_second);
            let factor = fast / slow.max(f64::MIN_POSITIVE);
            let differs = one.0.config.linger_ms != other.0.config.linger_ms;
            if differs && widest.as_ref().is_none_or(|(known, ..)| factor > *known) {
                widest = Some((factor, *one, *other));
            }
        }
    }
    let (factor, slow, fast) = widest?;
    // The widest of many differences: twice the noise of one comes about by chance.
    let text = if factor - 1.0 <= 2.0 * view.noise {
        // A batch that leaves full without lingering would not have waited with it either.
        let shortest = runs.iter().map(|(row, _)| row.config.linger_ms).min();
        let mut unlingering = runs.iter().filter(|run| Some(run.0.config.linger_ms) == shortest);
        if unlingering.all(|(_, run)| run.batch_fill.is_some_and(|fill| fill >= FULL)) {
            "At full speed batches fill before any linger ends: it changes nothing beyond the noise."
        } else {
            "At full speed lingers differ by nothing beyond the noise."
        }
        .to_owned()
    } else {
        format!(
            "At full speed the largest difference between lingers is {:.0} %: {} against linger {} ms.",
            (factor - 1.0) * 100.0,
            named(fast.0),
            slow.0.config.linger_ms
        )
    };
    Some(Finding { topic: "linger, full", text })
}
