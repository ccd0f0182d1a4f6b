//! Heat maps: linger × batch size, one for each codec, for each of several figures.

use std::fmt::Write as _;

use super::text::escaped;
use crate::{
    cells::{Comparison, Row},
    result::RunResult,
    show,
    size::ByteSize,
};

/// A figure that is mapped, at one of the rates.
#[derive(Debug, Clone)]
struct Figure {
    label: String,
    column: usize,
    value: fn(&RunResult) -> Option<f64>,
    text: fn(f64) -> String,
    higher_is_better: bool,
}

const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 40.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 30.0;

/// The maps with the buttons that choose between them.
pub(super) fn section(comparison: &Comparison) -> String {
    let figures = figures(comparison);
    if figures.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<section><h2>Linger × batch size</h2><p>Colour is the figure’s place between the least and \
         the most of all maps of it, on a logarithmic scale; the frame marks the best.</p>\
         <div class=\"toggle\">\n",
    );
    for (index, figure) in figures.iter().enumerate() {
        let checked = if index == 0 { " checked" } else { "" };
        let _ = writeln!(
            html,
            "<input type=\"radio\" name=\"figure\" id=\"figure{index}\"{checked}>\
             <label for=\"figure{index}\">{}</label>",
            escaped(&figure.label)
        );
    }
    for (index, figure) in figures.iter().enumerate() {
        let _ = write!(
            html,
            "<div class=\"maps\" id=\"maps{index}\">{}</div>",
            maps(comparison, figure)
        );
    }
    html + "</div></section>\n"
}

/// The style rules that show the chosen figure.
pub(super) fn toggle_rules(comparison: &Comparison) -> String {
    (0..figures(comparison).len())
        .map(|index| format!("#figure{index}:checked~#maps{index}{{display:grid}}\n"))
        .collect::<Vec<_>>()
        .concat()
}

fn figures(comparison: &Comparison) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (column, rate) in comparison.rates.iter().enumerate().rev() {
        let mut add = |label: String, value, text, higher_is_better| {
            let known = |(_, run): (&Row, &RunResult)| value_of(value, run).is_some();
            if comparison.at(column).any(known) {
                figures.push(Figure { label, column, value, text, higher_is_better });
            }
        };
        if rate == "max" {
            add(
                "MB/s at full speed".into(),
                |run| Some(run.mb_per_second),
                show::three_digits,
                true,
            );
            add(
                "CPU ns a record at full speed".into(),
                |run| run.cpu_ns_per_record,
                show::three_digits,
                false,
            );
            add("compression ratio".into(), |run| run.compression_ratio, show::three_digits, true);
        } else {
            add(format!("p50 at {rate}"), |run| run.latency_us.p50, micros, false);
            add(format!("p90 at {rate}"), |run| run.latency_us.p90, micros, false);
            add(format!("p99 at {rate}"), |run| run.latency_us.p99, micros, false);
            add(
                format!("CPU ns a record at {rate}"),
                |run| run.cpu_ns_per_record,
                show::three_digits,
                false,
            );
        }
    }
    figures
}

fn micros(us: f64) -> String {
    show::micros(Some(us))
}

/// An overloaded run has no latency to speak of.
fn value_of(value: fn(&RunResult) -> Option<f64>, run: &RunResult) -> Option<f64> {
    value(run).filter(|value| *value > 0.0 && !run.is_overloaded())
}

fn maps(comparison: &Comparison, figure: &Figure) -> String {
    let values: Vec<f64> =
        comparison.at(figure.column).filter_map(|(_, run)| value_of(figure.value, run)).collect();
    let (least, most) = (
        values.iter().copied().fold(f64::MAX, f64::min),
        values.iter().copied().fold(0.0, f64::max),
    );
    let best = if figure.higher_is_better { most } else { least };
    let mut facets: Vec<(String, Vec<(&Row, &RunResult)>)> = Vec::new();
    for (row, run) in comparison.at(figure.column) {
        let others = comparison.others(row);
        let name = match others.as_str() {
            "" => row.config.compression.clone(),
            others => format!("{} · {others}", row.config.compression),
        };
        match facets.iter_mut().find(|(known, _)| *known == name) {
            Some((_, runs)) => runs.push((row, run)),
            None => facets.push((name, vec![(row, run)])),
        }
    }
    let shade = |value: f64| {
        if most > least { (value / least).ln() / (most / least).ln() } else { 0.5 }
    };
    facets.iter().map(|(name, runs)| map(name, runs, figure, best, &shade)).collect()
}

fn map(
    name: &str,
    runs: &[(&Row, &RunResult)],
    figure: &Figure,
    best: f64,
    shade: &dyn Fn(f64) -> f64,
) -> String {
    let lingers = distinct(runs.iter().map(|(row, _)| row.config.linger_ms));
    let sizes = distinct(runs.iter().map(|(row, _)| row.config.batch_size_bytes));
    let width = LEFT + WIDTH * sizes.len() as f64 + 4.0;
    let height = TOP + HEIGHT * lingers.len() as f64 + 4.0;
    let mut svg = format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{}, {}\" style=\"max-width:{}px\">\n",
        escaped(name),
        escaped(&figure.label),
        escaped(name),
        width * 1.15
    );
    for (x, size) in sizes.iter().enumerate() {
        let at = LEFT + WIDTH * (x as f64 + 0.5);
        let _ = write!(
            svg,
            "<text class=\"axis\" x=\"{at}\" y=\"18\" text-anchor=\"middle\">{}</text>",
            ByteSize(*size)
        );
    }
    for (y, linger) in lingers.iter().enumerate() {
        let at = TOP + HEIGHT * (y as f64 + 0.5) + 4.0;
        let _ = write!(
            svg,
            "<text class=\"axis\" x=\"{}\" y=\"{at}\" text-anchor=\"end\">{linger} ms</text>",
            LEFT - 8.0
        );
    }
    for (row, run) in runs {
        let x = sizes.iter().position(|size| *size == row.config.batch_size_bytes).unwrap_or(0);
        let y = lingers.iter().position(|linger| *linger == row.config.linger_ms).unwrap_or(0);
        let (x, y) = (LEFT + WIDTH * x as f64, TOP + HEIGHT * y as f64);
        svg.push_str(&cell(run, figure, best, shade, x, y));
    }
    svg + "</svg></figure>\n"
}

fn cell(
    run: &RunResult,
    figure: &Figure,
    best: f64,
    shade: &dyn Fn(f64) -> f64,
    x: f64,
    y: f64,
) -> String {
    let value = value_of(figure.value, run);
    let text = match value {
        Some(value) => (figure.text)(value),
        None if run.is_overloaded() => "over".into(),
        None => "n/a".into(),
    };
    let part = value.map_or(0.0, shade);
    let mut class = String::from("cell");
    if part > 0.5 {
        class.push_str(" strong");
    }
    if value.is_none() {
        class.push_str(" none");
    }
    if value == Some(best) {
        class.push_str(" best");
    }
    format!(
        "<g class=\"{class}\" style=\"--t:{:.0}%\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>\n",
        part * 100.0,
        x + 2.0,
        y + 2.0,
        WIDTH - 4.0,
        HEIGHT - 4.0,
        x + WIDTH / 2.0,
        y + HEIGHT / 2.0 + 5.0,
        escaped(&text)
    )
}

fn distinct(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
