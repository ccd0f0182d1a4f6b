//! Latency against throughput: each combination's way from a low rate to full speed.

use std::fmt::Write as _;

use super::{axis::LogAxis, text::escaped};
use crate::{
    cells::{Comparison, Row},
    percentile::Percentiles,
    result::RunResult,
    show,
    size::ByteSize,
};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// Frontier points that are listed.
const MOST_LISTED: usize = 8;

type Quantile = fn(&Percentiles) -> Option<f64>;

/// A run in the plot.
#[derive(Debug, Clone, Copy)]
struct Point<'a> {
    row: &'a Row,
    run: &'a RunResult,
    mb: f64,
    us: f64,
}

/// The plots of p50 and p99 with their legend.
pub(super) fn section(comparison: &Comparison) -> String {
    let quantiles: [(&str, Quantile); 2] = [("p50", |of| of.p50), ("p99", |of| of.p99)];
    let plots: String =
        quantiles.iter().filter_map(|(name, quantile)| plot(comparison, name, *quantile)).collect();
    if plots.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>Latency against throughput</h2><p>A line is one combination from its lowest \
         rate to full speed, where latency (hollow) is the time through a full buffer. To the right \
         is more, down is sooner; nothing measured beats the ringed points in both.</p>{}\
         <div class=\"plots\">{plots}</div></section>\n",
        legend(comparison)
    )
}

fn plot(comparison: &Comparison, name: &str, quantile: Quantile) -> Option<String> {
    let lines: Vec<Vec<Point<'_>>> = comparison
        .rows
        .iter()
        .map(|row| {
            let runs = row.cells.iter().flatten().map(crate::cells::Cell::typical);
            runs.filter(|run| !run.is_overloaded())
                .filter_map(|run| {
                    let us = quantile(&run.latency_us)?;
                    (us > 0.0 && run.mb_per_second > 0.0).then_some(Point {
                        row,
                        run,
                        mb: run.mb_per_second,
                        us,
                    })
                })
                .collect()
        })
        .collect();
    let points = || lines.iter().flatten();
    // At full speed alone there is nothing to see but buffers.
    if points().filter(|point| point.run.config.rate_per_second.is_some()).count() < 2 {
        return None;
    }
    let x = LogAxis::over(&points().map(|point| point.mb), LEFT, WIDTH - RIGHT);
    let y = LogAxis::over(&points().map(|point| point.us), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<figure><figcaption>{name}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{name} latency against throughput\">\n"
    );
    svg.push_str(&grid(x, y));
    for line in &lines {
        if let Some(first) = line.first() {
            let path: Vec<String> = line
                .iter()
                .map(|point| format!("{:.1},{:.1}", x.at(point.mb), y.at(point.us)))
                .collect();
            let class = codec_class(&first.row.config.compression);
            let _ = writeln!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", path.join(" "));
        }
    }
    let frontier = frontier(points().copied());
    for point in points() {
        let ringed = frontier.iter().any(|known| std::ptr::eq(known.run, point.run));
        svg.push_str(&mark(point, x.at(point.mb), y.at(point.us), comparison, ringed));
    }
    svg.push_str("</svg>");
    let listed: Vec<String> = frontier
        .iter()
        .take(MOST_LISTED)
        .map(|point| {
            format!(
                "<li>{} MB/s at {}: {}</li>",
                show::three_digits(point.mb),
                show::micros(Some(point.us)),
                escaped(&described(comparison, point))
            )
        })
        .collect();
    Some(format!(
        "{svg}<details><summary>The ringed points</summary><ol>{}</ol></details></figure>\n",
        listed.concat()
    ))
}

/// The points that no other beats in both throughput and latency, slowest first. Points at full
/// speed are left out: their latency is the buffer's.
fn frontier<'a>(points: impl Iterator<Item = Point<'a>>) -> Vec<Point<'a>> {
    let mut points: Vec<Point<'a>> =
        points.filter(|point| point.run.config.rate_per_second.is_some()).collect();
    points.sort_by(|a, b| b.mb.total_cmp(&a.mb).then(a.us.total_cmp(&b.us)));
    let mut soonest = f64::MAX;
    points.retain(|point| {
        let better = point.us < soonest;
        soonest = soonest.min(point.us);
        better
    });
    points.reverse();
    points
}

fn grid(x: LogAxis, y: LogAxis) -> String {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut svg = String::new();
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
            <text class=\"axis\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            tick_label(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
            <text class=\"axis\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            show::micros(Some(tick)).replace(".00", "").replace(".0", "")
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">MB/s</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 8.0
    );
    svg
}

fn tick_label(tick: f64) -> String {
    let text = show::three_digits(tick);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Shape tells linger, size tells batch size, colour tells codec.
fn mark(point: &Point<'_>, x: f64, y: f64, comparison: &Comparison, ringed: bool) -> String {
    let config = &point.row.config;
    let lingers = distinct(comparison, |row| row.config.linger_ms);
    let sizes = distinct(comparison, |row| row.config.batch_size_bytes);
    let shape = lingers.iter().position(|linger| *linger == config.linger_ms).unwrap_or(0);
    let rank = sizes.iter().position(|size| *size == config.batch_size_bytes).unwrap_or(0);
    let radius = 4.0 + 3.0 * rank as f64 / (sizes.len().max(2) - 1) as f64;
    let hollow = if point.run.config.rate_per_second.is_none() { " hollow" } else { "" };
    let ring = if ringed {
        format!("<circle class=\"ring\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\"/>", radius + 4.0)
    } else {
        String::new()
    };
    format!(
        "<g class=\"mark {}{hollow}\">{ring}{}<title>{}: {} MB/s, {}</title></g>\n",
        codec_class(&config.compression),
        shape_of(shape, x, y, radius),
        escaped(&described(comparison, point)),
        show::three_digits(point.mb),
        show::micros(Some(point.us))
    )
}

fn shape_of(shape: usize, x: f64, y: f64, r: f64) -> String {
    let polygon = |corners: &[(f64, f64)]| {
        let corners: Vec<String> =
            corners.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx * r, y + dy * r)).collect();
        format!("<polygon points=\"{}\"/>", corners.join(" "))
    };
    match shape % 5 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\"/>"),
        1 => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        2 => polygon(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
        3 => polygon(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
        _ => polygon(&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)]),
    }
}

fn described(comparison: &Comparison, point: &Point<'_>) -> String {
    let config = &point.run.config;
    let others = comparison.others(point.row);
    format!(
        "linger {} ms, {}, {}, {}{}{others}",
        config.linger_ms,
        ByteSize(config.batch_size_bytes),
        config.compression,
        match config.rate_per_second {
            Some(rate) => format!("{} records/s offered", show::rate(rate as f64)),
            None => "full speed".into(),
        },
        if others.is_empty() { "" } else { ", " }
    )
}

fn legend(comparison: &Comparison) -> String {
    let mut items = String::new();
    let mut item = |class: &str, shape: String, text: &str| {
        let _ = write!(
            items,
            "<li><svg viewBox=\"0 0 20 20\" class=\"key\"><g class=\"mark {class}\">{shape}</g></svg>{}</li>",
            escaped(text)
        );
    };
    let mut codecs: Vec<&str> = Vec::new();
    for row in &comparison.rows {
        if !codecs.contains(&row.config.compression.as_str()) {
            codecs.push(&row.config.compression);
        }
    }
    for codec in codecs {
        item(codec_class(codec), shape_of(0, 10.0, 10.0, 7.0), codec);
    }
    for (index, linger) in distinct(comparison, |row| row.config.linger_ms).iter().enumerate() {
        item("plain", shape_of(index, 10.0, 10.0, 6.0), &format!("linger {linger} ms"));
    }
    let sizes = distinct(comparison, |row| row.config.batch_size_bytes);
    for (rank, size) in sizes.iter().enumerate() {
        let radius = 4.0 + 3.0 * rank as f64 / (sizes.len().max(2) - 1) as f64;
        item("plain", shape_of(0, 10.0, 10.0, radius), &ByteSize(*size).to_string());
    }
    format!("<ul class=\"legend\">{items}</ul>")
}

fn codec_class(compression: &str) -> &'static str {
    match compression.split(':').next() {
        Some("gzip") => "gzip",
        Some("snappy") => "snappy",
        Some("lz4") => "lz4",
        Some("zstd") => "zstd",
        _ => "plain",
    }
}

fn distinct(comparison: &Comparison, value: fn(&Row) -> u64) -> Vec<u64> {
    let mut values: Vec<u64> = comparison.rows.iter().map(value).collect();
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::tests::entry;

    #[test]
    fn the_frontier_is_what_nothing_beats_in_both() {
        let entries = [
            entry((0, 1_024, "none"), "2k", 0, 2.0, 100.0),
            entry((5, 1_024, "none"), "2k", 0, 2.0, 300.0),
            entry((0, 2_048, "none"), "2k", 0, 50.0, 90.0),
            entry((5, 2_048, "none"), "2k", 0, 90.0, 400.0),
            entry((9, 2_048, "none"), "max", 0, 500.0, 10.0),
        ];
        let comparison = Comparison::of(&entries);
        let points = comparison.rows.iter().flat_map(|row| {
            row.cells.iter().flatten().map(move |cell| {
                let run = cell.typical();
                Point { row, run, mb: run.mb_per_second, us: run.latency_us.p50.unwrap() }
            })
        });
        let found: Vec<f64> = frontier(points).iter().map(|point| point.mb).collect();
        assert_eq!(found, [50.0, 90.0]);
    }
}
