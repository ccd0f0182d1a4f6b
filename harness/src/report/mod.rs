//! The report: one HTML file that needs no network and no script, in light or dark, narrow or wide.

mod axis;
mod curve;
mod heatmap;
mod text;

use std::fmt::Write as _;

use crate::{
    cells::{Cell, Comparison},
    doubts,
    journal::Entry,
    result::RunResult,
    show,
    size::ByteSize,
    verdict::Finding,
};
use text::escaped;

/// Name of the file in the sweep's folder.
pub const FILE_NAME: &str = "report.html";

const STYLE: &str = include_str!("style.css");

/// The whole page. `command` reproduces the sweep.
pub fn render(
    comparison: &Comparison,
    verdict: &[Finding],
    entries: &[Entry],
    command: &str,
) -> String {
    let Some(first) = entries.first() else { return String::new() };
    let machine = &first.result.machine;
    let mount = &machine.mount;
    let title = format!("What linger, batch size and compression buy on {}", mount.device);
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{toggles}</style></head>\n<body><main>\n\
         <header><p class=\"eyebrow\">Trunkline · {started}</p><h1>{title}</h1>\n\
         <p class=\"facts\">{file_system} · {cpu}, {cores} cores · {kernel}</p></header>\n",
        title = escaped(&title),
        toggles = heatmap::toggle_rules(comparison),
        started = escaped(&first.result.started),
        file_system = escaped(&mount.file_system),
        cpu = escaped(&machine.cpu_model),
        cores = machine.cores,
        kernel = escaped(&machine.kernel),
    );
    page.push_str(&findings(verdict));
    page.push_str(&warnings(entries));
    page.push_str(&heatmap::section(comparison));
    page.push_str(&curve::section(comparison));
    page.push_str(&table(comparison));
    page.push_str(&method(comparison, &first.result, entries.len(), command));
    page.push_str("</main></body></html>\n");
    page
}

fn findings(verdict: &[Finding]) -> String {
    let Some((first, others)) = verdict.split_first() else { return String::new() };
    let mut html =
        format!("<section class=\"verdict\"><p class=\"lead\">{}</p><dl>\n", escaped(&first.text));
    for finding in others {
        let (topic, text) = (escaped(finding.topic), escaped(&finding.text));
        let _ = writeln!(html, "<div><dt>{topic}</dt><dd>{text}</dd></div>");
    }
    html + "</dl></section>\n"
}

fn warnings(entries: &[Entry]) -> String {
    let items: Vec<String> =
        doubts::of(entries).iter().map(|item| format!("<li>{}</li>", escaped(item))).collect();
    if items.is_empty() {
        return String::new();
    }
    let items = items.concat();
    format!("<section class=\"warnings\"><h2>Doubts</h2><ul>{items}</ul></section>\n")
}

type Column = (&'static str, fn(&RunResult) -> String);

const COLUMNS: [Column; 15] = [
    ("linger", |run| format!("{} ms", run.config.linger_ms)),
    ("batch.size", |run| ByteSize(run.config.batch_size_bytes).to_string()),
    ("codec", |run| run.config.compression.clone()),
    ("rate", |run| rate(run)),
    ("MB/s", |run| show::three_digits(run.mb_per_second)),
    ("records/s", |run| show::rate(run.records_per_second)),
    ("p50", |run| show::micros(run.latency_us.p50)),
    ("p90", |run| show::micros(run.latency_us.p90)),
    ("p99", |run| show::micros(run.latency_us.p99)),
    ("p99.9", |run| show::micros(run.latency_us.p999)),
    ("max", |run| show::micros(run.latency_us.max)),
    ("fill", |run| run.batch_fill.map_or_else(|| "n/a".into(), show::percent)),
    ("ratio", |run| show::optional(run.compression_ratio)),
    ("CPU ns/record", |run| show::optional(run.cpu_ns_per_record)),
    ("fsyncs/s", |run| show::rate(run.fsyncs as f64 / run.elapsed_seconds.max(0.001))),
];

fn rate(run: &RunResult) -> String {
    match run.config.rate_per_second {
        Some(number) if run.config.rate.ends_with('%') => {
            format!("{} ({})", run.config.rate, show::rate(number as f64))
        }
        Some(number) => show::rate(number as f64),
        None => "max".into(),
    }
}

fn table(comparison: &Comparison) -> String {
    let with_others = comparison.rows.iter().any(|row| !comparison.others(row).is_empty());
    let mut heads =
        COLUMNS.iter().map(|(head, _)| format!("<th>{head}</th>")).collect::<Vec<_>>().concat();
    if with_others {
        heads.push_str("<th>with</th>");
    }
    let mut rows = String::new();
    for row in &comparison.rows {
        for cell in row.cells.iter().flatten() {
            let run = cell.typical();
            let mut cells = COLUMNS
                .iter()
                .map(|(_, text)| format!("<td>{}</td>", escaped(&text(run))))
                .collect::<Vec<_>>()
                .concat();
            if with_others {
                let _ = write!(cells, "<td>{}</td>", escaped(&comparison.others(row)));
            }
            let class = if run.is_overloaded() { " class=\"over\"" } else { "" };
            let _ = writeln!(rows, "<tr{class}{}>{cells}</tr>", tooltip(cell));
        }
    }
    format!(
        "<section><h2>All cells</h2><p>Latency counts from when a record was due. Rows in grey were \
         offered more than they took. n/a: too few records \
         or batches to know that percentile.</p>\
         <div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table>\
         </div></section>\n"
    )
}

fn tooltip(cell: &Cell) -> String {
    let speeds: Vec<String> =
        cell.runs.iter().map(|run| show::three_digits(run.mb_per_second)).collect();
    format!(" title=\"{} run(s): {} MB/s\"", cell.runs.len(), speeds.join(", "))
}

fn method(comparison: &Comparison, first: &RunResult, runs: usize, command: &str) -> String {
    let (config, machine) = (&first.config, &first.machine);
    let mount = &machine.mount;
    let measured = match (config.duration_seconds, config.records) {
        (Some(seconds), _) => format!("{seconds} s each"),
        (None, Some(records)) => format!("{records} records each"),
        (None, None) => String::new(),
    };
    let facts = [
        ("Disk", format!("{} on {}, {}", mount.file_system, mount.device, mount.mount_options)),
        ("Device", mount.device_model.clone()),
        ("Processor", format!("{}, {} cores", machine.cpu_model, machine.cores)),
        ("Memory", ByteSize(machine.memory_bytes >> 20 << 20).to_string()),
        ("Kernel", machine.kernel.clone()),
        ("Harness", format!("{} {}, {} build", machine.version, machine.commit, machine.build)),
        ("Records", format!("{} of {}", config.payload, ByteSize(config.record_size_bytes))),
        (
            "Runs",
            format!(
                "{runs} in random order, {measured} after {} s of warm-up, seed {}",
                config.warmup_seconds, config.seed
            ),
        ),
        ("Durability", durabilities(comparison)),
    ];
    let facts = facts
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(text)))
        .collect::<Vec<_>>()
        .concat();
    format!(
        "<section><h2>Machine and method</h2><dl>{facts}</dl>\
         <p>Before each run as much memory as it would use was touched and freed, since memory that a \
         virtual machine gave back to its host is slow at first. Each cell shows its run of median \
         throughput, at a set rate of median p50; percentiles are never averaged. MB are 10⁶ bytes of keys and values before \
         compression.</p><p>To measure it again:</p><pre>{}</pre></section>\n",
        escaped(command)
    )
}

fn durabilities(comparison: &Comparison) -> String {
    let mut levels: Vec<&str> = Vec::new();
    for row in &comparison.rows {
        let unheard = row.config.acks == "0";
        let level = if unheard { "acks 0, nothing waited for" } else { &row.config.durability };
        if !levels.contains(&level) {
            levels.push(level);
        }
    }
    levels.join(" and ")
}

#[cfg(test)]
mod tests;
