#!/usr/bin/env bash
# A short real run of the main job, as a newcomer starts it, and a check of what it leaves behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
harness=${CARGO_TARGET_DIR:-target}/release/trunkline-harness
harness=$(realpath "$harness")
work=$(mktemp -d -p . .trunkline-main-job-XXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { printf 'main job: %s\n' "$*" >&2; exit 1; }
started=$SECONDS
if command -v strace >/dev/null 2>&1 && strace -f -o /dev/null true 2>/dev/null; then
  strace -f -e trace=connect,sendto -o syscalls "$harness" --measure 150ms --out report >output
  grep -E 'AF_INET6?' syscalls && fail "it opened a network connection"
else
  "$harness" --measure 150ms --out report >output
fi
cat output
echo "took $((SECONDS - started)) s"

[ "$(wc -l <report/results.jsonl)" -eq 62 ] || fail "expected 62 results"
for word in 'Verdict' 'throughput' 'durability' 'noise' 'Report:'; do
  grep -q "$word" output || fail "no '$word' in the output"
done
[ -z "$(find . -maxdepth 1 -name '.trunkline-*' ! -path .)" ] || fail "a data folder was left behind"
grep -q '</html>' report/report.html || fail "the report is not whole"
! grep -qE 'https?://|<script' report/report.html || fail "the report needs the network"

python3 - report/results.jsonl <<'PY'
import json, sys

cells = set()
for line in open(sys.argv[1]):
    run = json.loads(line)
    config, machine = run["config"], run["machine"]
    assert run["form"] == 2 and run["records"] > 0, run
    assert run["records_per_second"] > 0 and run["mb_per_second"] > 0, run
    for name in ("latency_us", "service_us"):
        times = [run[name][p] for p in ("p50", "p90", "p99", "p999", "max")]
        known = [t for t in times if t is not None]
        assert run[name]["max"] is not None and known == sorted(known), (name, run[name])
        assert (run[name]["p999"] is None) == (run[name]["effective_samples"] < 106067), run[name]
    assert run["batches"] > 0 and 0 < run["batch_fill"] <= 1.05, run
    ratio = run["compression_ratio"]
    assert ratio == 1 if config["compression"] == "none" else ratio > 1.2, (config, ratio)
    assert run["cpu_ns_per_record"] > 0, run
    assert config["durability"] == "durable" and run["fsyncs"] > 0, run
    assert machine["build"] == "release" and machine["file_system"] and machine["commit"], machine
    cells.add((config["linger_ms"], config["batch_size_bytes"], config["compression"], config["rate"]))
assert len(cells) == 54, len(cells)
print("main job: 62 results checked")
PY
