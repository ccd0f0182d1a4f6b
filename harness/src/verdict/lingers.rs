//! What waiting for fuller batches costs and brings, at a low rate, at half speed, at full speed.

use super::{Finding, View, group, named};
use crate::{cells::Row, result::RunResult, show};

type Run<'a> = (&'a Row, &'a RunResult);

/// At a low rate batches don't fill: lingering is paid in latency.
pub(super) fn cost_at_low_rate(view: &View<'_>) -> Option<Finding> {
    let runs = view.lingers_at(view.low_column()?);
    let (first, others) = runs.split_first()?;
    if others.is_empty() {
        return None;
    }
    let p50 = first.1.latency_us.p50;
    let mut text = format!(
        "At {} records/s, linger {} ms answers in {} (p50)",
        show::rate(first.1.config.rate_per_second? as f64),
        first.0.config.linger_ms,
        show::micros(p50)
    );
    for (row, run) in others {
        let (Some(p50), Some(other)) = (p50, run.latency_us.p50) else { continue };
        text.push_str(&format!(
            "; {} ms {} {}",
            row.config.linger_ms,
            if other >= p50 { "adds" } else { "takes off" },
            show::micros(Some((other - p50).abs()))
        ));
    }
    text.push('.');
    Some(Finding { topic: "linger, low", text })
}

/// At half speed lingering pays in fewer, fuller batches.
pub(super) fn gain_at_middle_rate(view: &View<'_>) -> Option<Finding> {
    let column = view.middle_column()?;
    let runs = view.lingers_at(column);
    let (short, long) = (runs.first()?, runs.last()?);
    if short.0.config.linger_ms == long.0.config.linger_ms {
        return None;
    }
    let records_a_batch = |run: &RunResult| {
        let batches = run.batches.max(1) as f64;
        show::three_digits(run.records as f64 / batches)
    };
    let per_second = |run: &RunResult| {
        show::rate(run.fsyncs as f64 / run.elapsed_seconds.max(f64::MIN_POSITIVE))
    };
    let mut text = format!(
        "At {} of full speed ({} records/s), from linger {} to {} ms: {} instead of {} records a \
         batch, {} instead of {} ns of CPU a record, p50 {} instead of {}",
        view.comparison.rates[column],
        show::rate(long.1.config.rate_per_second? as f64),
        short.0.config.linger_ms,
        long.0.config.linger_ms,
        records_a_batch(long.1),
        records_a_batch(short.1),
        show::optional(long.1.cpu_ns_per_record),
        show::optional(short.1.cpu_ns_per_record),
        show::micros(long.1.latency_us.p50),
        show::micros(short.1.latency_us.p50)
    );
    if short.1.fsyncs > 0 || long.1.fsyncs > 0 {
        text.push_str(&format!(
            ", {} instead of {} syncs a second",
            per_second(long.1),
            per_second(short.1)
        ));
    }
    if short.1.is_overloaded() || long.1.is_overloaded() {
        text.push_str(". The rate was more than one of them takes: their latencies are a queue's");
    }
    text.push_str(&format!(" ({}).", named(long.0).split_once(", ")?.1));
    Some(Finding { topic: "linger, half", text })
}

/// At full speed batches fill before any linger ends.
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
    let text = if view.is_noise(slow.1.mb_per_second, fast.1.mb_per_second) {
        "At full speed batches fill before any linger ends: it changes nothing beyond the noise."
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
