//! The table at the end of a sweep.

use crate::{
    cells::{Cell, Comparison, Row},
    percentile::Percentiles,
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
    let columns: Vec<Vec<Column>> =
        (0..comparison.rates.len()).map(|place| columns_of(comparison, place)).collect();
    for (rate, columns) in comparison.rates.iter().zip(&columns) {
        groups.push(match rate.as_str() {
            "max" => "at full speed".to_owned(),
            rate if rate.ends_with('%') => format!("at {rate}"),
            rate => format!("at {rate} records/s"),
        });
        groups.extend(std::iter::repeat_n(String::new(), columns.len() - 1));
        heads.extend(columns.iter().map(|(head, _)| (*head).to_owned()));
    }
    let mut lines = vec![groups, heads];
    lines
        .extend(comparison.rows.iter().map(|row| cells_of(comparison, row, with_others, &columns)));
    let fixed = if with_others { 4 } else { 3 };
    let durability = if with_others { String::new() } else { durability_of(comparison) };
    format!("\n{durability}{}{}", align(&lines, fixed), notes(comparison))
}

fn durability_of(comparison: &Comparison) -> String {
    let Some(run) = comparison.cells().next().map(Cell::typical) else { return String::new() };
    let mount = &run.machine.mount;
    match (run.config.acks.as_str(), run.config.durability.as_str()) {
        ("0", _) => "acks 0: nothing was waited for\n".into(),
        (_, "durable") if mount.is_memory() => format!(
            "durable in name: every acknowledgement waited for a sync, but {} is memory, not a disk\n",
            mount.file_system
        ),
        (_, "durable") => "durable: every acknowledgement waited for the disk\n".into(),
        (_, "written") => "written: acknowledged from the page cache\n".into(),
        _ => String::new(),
    }
}

/// What the words in the table mean, where they occur.
fn notes(comparison: &Comparison) -> String {
    let mut notes = String::new();
    let percentages: Vec<&str> =
        comparison.rates.iter().map(String::as_str).filter(|rate| rate.ends_with('%')).collect();
    if !percentages.is_empty() {
        notes = format!(
            "{}: of the slowest linger's full speed with the same batch size and codec\n",
            percentages.join(", ")
        );
    }
    if comparison.cells().any(|cell| cell.typical().is_overloaded()) {
        notes
            .push_str("over: the rate was not kept; latencies would be those of a growing queue\n");
    }
    notes
}

type Column = (&'static str, fn(&Cell) -> String);
type PercentileOf = fn(&Percentiles) -> Option<f64>;

/// The percentiles that a column can be of, the highest first.
const PERCENTILES: [(PercentileOf, Column); 3] = [
    (|of| of.p999, ("p99.9", |cell| overload_or(cell, cell.typical().latency_us.p999))),
    (|of| of.p99, ("p99", |cell| overload_or(cell, cell.typical().latency_us.p99))),
    (|of| of.p90, ("p90", |cell| overload_or(cell, cell.typical().latency_us.p90))),
];

/// Beside p50 and maximum, the highest percentile that most of the rate's cells have earned.
fn columns_of(comparison: &Comparison, place: usize) -> Vec<Column> {
    const FULL: &[Column] = &[
        ("MB/s", |cell| show::three_digits(cell.typical().mb_per_second)),
        ("records/s", |cell| show::rate(cell.typical().records_per_second)),
        ("ns CPU", |cell| show::optional(cell.typical().cpu_ns_per_record)),
        ("ratio", |cell| show::optional(cell.typical().compression_ratio)),
    ];
    if comparison.rates[place] == "max" {
        return FULL.to_vec();
    }
    let mut columns: Vec<Column> =
        vec![("p50", |cell| overload_or(cell, cell.typical().latency_us.p50))];
    let kept: Vec<_> =
        comparison.at(place).map(|(_, run)| run).filter(|run| !run.is_overloaded()).collect();
    let earned = |of: PercentileOf| kept.iter().filter(|run| of(&run.latency_us).is_some()).count();
    let highest = PERCENTILES.iter().find(|(of, _)| 2 * earned(*of) > kept.len());
    columns.extend(highest.map(|(_, column)| *column));
    columns.push(("max", |cell| overload_or(cell, cell.typical().latency_us.max)));
    columns
}

/// Latencies of a queue that grows are no latencies of the cell.
fn overload_or(cell: &Cell, us: Option<f64>) -> String {
    if cell.typical().is_overloaded() { "over".into() } else { show::micros(us) }
}

fn cells_of(
    comparison: &Comparison,
    row: &Row,
    with_others: bool,
    columns: &[Vec<Column>],
) -> Vec<String> {
    let config = &row.config;
    let mut cells = vec![
        format!("{} ms", config.linger_ms),
        ByteSize(config.batch_size_bytes).to_string(),
        config.compression.clone(),
    ];
    if with_others {
        cells.push(comparison.others(row));
    }
    for (columns, cell) in columns.iter().zip(&row.cells) {
        for (_, text) in columns {
            cells.push(cell.as_ref().map_or_else(String::new, text));
        }
    }
    cells
}

/// Columns as wide as they must be; texts of the first line run over the columns of their group.
fn align(lines: &[Vec<String>], left_aligned: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines[1..].iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns).map(width).collect();
    // The next group begins behind the text over this one, however narrow its columns are.
    let begins: Vec<usize> =
        (0..lines[0].len()).filter(|column| !lines[0][*column].is_empty()).collect();
    for (place, &column) in begins.iter().enumerate() {
        let end = begins.get(place + 1).copied().unwrap_or(columns);
        let room: usize = widths[column..end].iter().map(|width| width + 2).sum::<usize>() - 2;
        let missing = lines[0][column].chars().count().saturating_sub(room);
        widths[end - 1] += missing;
    }
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
        assert!(lines[3].contains("2.50 ms") && !lines[2].contains("p99"), "{text}");
        assert!(lines[4].contains("over"), "{text}");
        assert!(lines[5].starts_with("over: the rate was not kept"), "{text}");
        let end = |line: &str, part: &str| line.find(part).map(|at| at + part.len());
        assert_eq!(end(lines[2], "MB/s"), end(lines[3], "512"), "{text}");
    }

    #[test]
    fn the_percentile_shown_is_the_highest_that_most_cells_earned() {
        let cell = |linger| entry((linger, 16_384, "none"), "2k", 0, 2.0, 2_500.0);
        let heads = |entries: &[crate::journal::Entry]| {
            let text = render(&Comparison::of(entries));
            text.trim_start().lines().nth(2).unwrap().to_owned()
        };
        let mut entries = [cell(0), cell(5), cell(50)];
        assert!(heads(&entries).ends_with("p50      p90      max"), "{}", heads(&entries));
        entries[0].result.latency_us.p99 = Some(4_000.0);
        entries[2].result.latency_us.p90 = None;
        assert!(heads(&entries).contains("p90"), "two of three");
        entries[1].result.latency_us.p99 = Some(4_000.0);
        assert!(heads(&entries).contains("p99") && !heads(&entries).contains("p90"));
        for entry in &mut entries {
            (entry.result.latency_us.p90, entry.result.latency_us.p99) = (None, None);
        }
        assert!(!heads(&entries).contains("p9"), "{}", heads(&entries));
    }

    #[test]
    fn texts_over_narrow_columns_do_not_run_into_each_other() {
        let mut entries = Vec::new();
        for rate in ["2k", "30k", "50%", "max"] {
            let mut entry = entry((5, 16_384, "none"), rate, 0, 2.0, 9.0);
            let latency = &mut entry.result.latency_us;
            (latency.p50, latency.p90, latency.max) = (None, None, Some(9_000.0));
            entries.push(entry);
        }
        let text = render(&Comparison::of(&entries));
        let head = text.trim_start().lines().nth(1).unwrap().trim_start().to_owned();
        let groups: Vec<&str> = head.split("  ").filter(|part| !part.is_empty()).collect();
        let expected = ["at 2k records/s", "at 30k records/s", "at 50%", "at full speed"];
        assert_eq!(groups.iter().map(|part| part.trim()).collect::<Vec<_>>(), expected, "{text}");
        assert!(text.contains("50%: of the slowest linger's full speed"), "{text}");
    }

    #[test]
    fn memory_is_not_called_a_disk() {
        let mut in_memory = entry((5, 16_384, "none"), "max", 0, 512.3, 10.0);
        in_memory.result.machine.mount.file_system = "tmpfs".into();
        let text = render(&Comparison::of(&[in_memory]));
        assert!(text.contains("memory, not a disk") && !text.contains("for the disk"), "{text}");
    }

    #[test]
    fn without_acknowledgements_nothing_is_called_durable() {
        let mut unheard = entry((5, 16_384, "none"), "max", 0, 512.3, 10.0);
        unheard.result.config.acks = "0".into();
        let text = render(&Comparison::of(&[unheard]));
        assert!(
            text.contains("acks 0: nothing was waited for") && !text.contains("durable"),
            "{text}"
        );
    }
}
