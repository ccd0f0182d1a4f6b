//! What makes a sweep's results doubtful, told below its verdict.

use crate::{count::counted, journal::Entry};

/// Each doubt once, with the number of runs that have it.
pub fn of(entries: &[Entry]) -> Vec<String> {
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    let mut overloaded = 0;
    for entry in entries {
        overloaded += u64::from(entry.result.is_overloaded());
        for warning in entry.result.warnings.iter().filter(|text| !text.starts_with("offered")) {
            // Figures behind the colon are those of one run.
            let kind = match warning.split_once(':') {
                Some((kind, rest)) if rest.contains(|c: char| c.is_ascii_digit()) => kind,
                _ => warning,
            };
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((kind, 1)),
            }
        }
    }
    let told = |(kind, count): &(&str, u64)| format!("{kind} ({})", counted(*count, "run", "runs"));
    let mut doubts: Vec<String> = kinds.iter().map(told).collect();
    if overloaded > 0 {
        let (were, their) = if overloaded == 1 { ("was", "its") } else { ("were", "their") };
        doubts.push(format!(
            "{} {were} offered more than could be taken: {their} latencies are those of a growing \
             queue, marked “over”",
            counted(overloaded, "run", "runs")
        ));
    }
    doubts
}

/// The doubts as lines of text; empty where there are none.
pub fn for_terminal(doubts: &[String]) -> String {
    if doubts.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = doubts.iter().map(|doubt| format!("  {doubt}\n")).collect();
    format!("Doubts\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::tests::entry;

    #[test]
    fn each_doubt_is_told_once_with_its_number_of_runs() {
        let mut entries = vec![entry((5, 16_384, "none"), "2k", 0, 2.0, 9.0); 3];
        assert_eq!((of(&entries), for_terminal(&[])), (Vec::new(), String::new()));
        for (entry, late) in entries.iter_mut().zip([700, 800]) {
            let text =
                format!("the generator itself was late: {late} µs (p90) of a latency of 2 ms");
            entry.result.warnings.push(text);
        }
        entries[2].result.records_unsent = 500;
        entries[2].result.warnings.push("tmpfs: memory, not a disk".into());
        let text = for_terminal(&of(&entries));
        assert!(text.contains("the generator itself was late (2 runs)\n"), "{text}");
        assert!(text.contains("tmpfs: memory, not a disk (1 run)\n"), "{text}");
        assert!(text.contains("1 run was offered more") && text.contains("“over”"), "{text}");
    }
}
