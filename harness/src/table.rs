//! The table at the end of a sweep.

use crate::{
    cells::{Cell, Comparison, Row},
    show,
    size::ByteSize,
};

/// A row for each combination, columns for each rate: throughput, CPU and ratio at full speed,
/// latencies at the others.
pub fn render(comparison: &Comparison) -> String {
    let mut groups = vec!["", "", ""].into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut heads: Vec<String> =
        ["linger", "batch.size", "codec"].into_iter().map(str::to_owned).collect();
    let with_others = comparison.rows.iter().any(|row| !comparison.others(row).is_empty());
    if with_others {
        groups.push(String::new());
        heads.push("with".into());
    }
    let durability = comparison.cells().next().map(|cell| &cell.typical().config.durability);
    for rate in &comparison.rates {
        let columns = columns_of(rate);
        groups.push(match rate.as_str() {
            "max" => "at full speed".to_owned(),
            rate if rate.ends_with('%') => format!("at {rate} of it"),
            rate => format!("at {rate} records/s"),
        });
        groups.extend(std::iter::repeat_n(String::new(), columns.len() - 1));
        heads.extend(columns.iter().map(|(head, _)| (*head).to_owned()));
    }
    let mut lines = vec![groups, heads];
    lines.extend(comparison.rows.iter().map(|row| cells_of(comparison, row, with_others)));
    let fixed = if with_others { 4 } else { 3 };
    let durability = match durability.map(String::as_str) {
        Some("durable") if !with_others => "durable: every acknowledgement waited for the disk\n",
        Some("written") if !with_others => "written: acknowledged from the page cache\n",
        _ => "",
    };
    format!("\n{durability}{}", align(&lines, fixed))
}

type Column = (&'static str, fn(&Cell) -> String);

fn columns_of(rate: &str) -> &'static [Column] {
    const FULL: &[Column] = &[
        ("MB/s", |cell| show::three_digits(cell.typical().mb_per_second)),
        ("records/s", |cell| show::rate(cell.typical().records_per_second)),
        ("ns CPU", |cell| show::optional(cell.typical().cpu_ns_per_record)),
        ("ratio", |cell| show::optional(cell.typical().compression_ratio)),
    ];
    const PACED: &[Column] = &[
        ("p50", |cell| overload_or(cell, show::micros(cell.typical().latency_us.p50))),
        ("p99", |cell| overload_or(cell, show::micros(cell.typical().latency_us.p99))),
        ("max", |cell| overload_or(cell, show::micros(cell.typical().latency_us.max))),
    ];
    if rate == "max" { FULL } else { PACED }
}

/// Latencies of a queue that grows are no latencies of the cell.
fn overload_or(cell: &Cell, text: String) -> String {
    if cell.typical().is_overloaded() { "over".into() } else { text }
}

fn cells_of(comparison: &Comparison, row: &Row, with_others: bool) -> Vec<String> {
    let config = &row.config;
    let mut cells = vec![
        format!("{} ms", config.linger_ms),
        ByteSize(config.batch_size_bytes).to_string(),
        config.compression.clone(),
    ];
    if with_others {
        cells.push(comparison.others(row));
    }
    for (rate, cell) in comparison.rates.iter().zip(&row.cells) {
        for (_, text) in columns_of(rate) {
            cells.push(cell.as_ref().map_or_else(String::new, text));
        }
    }
    cells
}

/// Columns as wide as they must be; texts of the first line may run over those behind them.
fn align(lines: &[Vec<String>], left_aligned: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines[1..].iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let mut at = 0;
        let mut start = 0;
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let length = cell.chars().count();
            let pad = if index == 0 || column < left_aligned { 0 } else { width - length };
            let target = start + pad;
            if !cell.is_empty() {
                text.push_str(&" ".repeat(target.saturating_sub(at)));
                text.push_str(cell);
                at = target.max(at) + length;
            }
            // More room where the columns of a rate begin.
            let begins = lines[0].get(column + 1).is_some_and(|group| !group.is_empty());
            start += width + if begins { 4 } else { 2 };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::tests::entry;

    #[test]
    fn the_table_is_aligned_and_says_what_is_not_known() {
        let mut overloaded = entry((50, 262_144, "zstd"), "2k", 0, 1.0, 50.0);
        overloaded.result.records_unsent = 500;
        let comparison = Comparison::of(&[
            entry((5, 16_384, "none"), "max", 0, 512.3, 10.0),
            entry((5, 16_384, "none"), "2k", 0, 2.0, 2_500.0),
            overloaded,
        ]);
        let text = render(&comparison);
        let lines: Vec<&str> = text.trim_start().lines().collect();
        assert_eq!(lines[0], "durable: every acknowledgement waited for the disk");
        assert!(lines[1].contains("at 2k records/s") && lines[1].contains("at full speed"));
        assert!(lines[3].contains("5 ms") && lines[3].contains("512"), "{text}");
        assert!(lines[3].contains("2.50 ms") && lines[3].contains("n/a"), "{text}");
        assert!(lines[4].contains("over"), "{text}");
        let end = |line: &str, part: &str| line.find(part).map(|at| at + part.len());
        assert_eq!(end(lines[2], "MB/s"), end(lines[3], "512"), "{text}");
    }
}
