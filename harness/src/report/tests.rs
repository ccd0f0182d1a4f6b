use super::*;
use crate::{cells::tests::entry, verdict};

fn page() -> String {
    let mut entries = Vec::new();
    for linger in [0, 5, 50] {
        for size in [16 << 10, 256 << 10] {
            for (codec, speed) in [("none", 500.0), ("lz4", 300.0), ("zstd", 120.0)] {
                let cell = (linger, size, codec);
                entries.push(entry(cell, "max", 0, speed + linger as f64, 60_000.0));
                entries.push(entry(cell, "2k", 0, 2.0, 300.0 + linger as f64 * 600.0));
            }
        }
    }
    entries[0].result.machine.mount.device = "/dev/<vda>".into();
    entries[0].result.warnings.push("debug build: several times slower than the engine is".into());
    let comparison = Comparison::of(&entries);
    render(&comparison, &verdict::of(&comparison), &entries, "trunkline-harness --durability \"x\"")
}

#[test]
fn the_page_stands_alone() {
    let page = page();
    for foreign in ["http://", "https://", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
}

#[test]
fn everything_is_on_it() {
    let page = page();
    for part in [
        "MB/s at full speed",
        "p50 at 2k",
        "Latency against throughput",
        "All cells",
        "Machine and method",
        "/dev/&lt;vda&gt;",
        "debug build: several times slower than the engine is (1 run)",
        "--durability &quot;x&quot;",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("p99 at 2k"), "nothing earned it");
    assert_eq!(page.matches("<tr ").count(), 36);
    assert_eq!(page.matches("class=\"maps\"").count(), page.matches("type=\"radio\"").count());
}

#[test]
fn tags_are_balanced() {
    let page = page();
    for tag in ["section", "svg", "figure", "g", "div", "table", "dl", "ul", "text", "title"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}
