#!/usr/bin/env bash
# Runs fuzz targets and adds their executions to the ledger in docs/TESTING.md.
#
#   bash fuzz/ledger.sh SECONDS [TARGET...]      each target for so long, two at a time
#   SANITIZER= bash fuzz/ledger.sh ...           without AddressSanitizer, several times as fast
#   RUNS=1000000 bash fuzz/ledger.sh ...         at most so many executions each
#
# A finding stops the script and leaves its input in fuzz/artifacts; mended, it becomes a seed and a
# test. The corpus of a target stays in fuzz/corpus and is where the next run goes on.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?usage: ledger.sh SECONDS [TARGET...]}
shift
targets=("$@")
if ((${#targets[@]} == 0)); then
  for target in fuzz_targets/*.rs; do targets+=("$(basename "$target" .rs)"); done
fi
ledger=../docs/TESTING.md
built=$(bash build.sh)
commit=$(git rev-parse --short=12 HEAD)
day=$(date -u +%F)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fuzz() {
  bash run.sh "$built" "$1" -max_total_time="$seconds" -runs="${RUNS:--1}" >"$work/$1" 2>&1
}

# A row: | target | executions | last commit | day |
add() {
  local runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$1")
  awk -v target="\`$1\`" -v runs="$runs" -v commit="$commit" -v day="$day" '
    BEGIN { FS = " *[|] *"; OFS = "|" }
    $2 == target && !done {
      gsub(",", "", $3)
      sum = sprintf("%.0f", $3 + runs)
      text = ""
      while (length(sum) > 3) { text = "," substr(sum, length(sum) - 2) text; sum = substr(sum, 1, length(sum) - 3) }
      printf "| %s | %s%s | %s | %s |\n", target, sum, text, commit, day
      done = 1
      next
    }
    { print }
  ' "$ledger" >"$work/ledger"
  cat "$work/ledger" >"$ledger"
  echo "$1: $runs executions, no finding"
}

for ((at = 0; at < ${#targets[@]}; at += 2)); do
  pair=("${targets[@]:at:2}")
  pids=()
  for target in "${pair[@]}"; do
    fuzz "$target" &
    pids+=($!)
  done
  for place in "${!pair[@]}"; do
    wait "${pids[place]}" || { tail -n 40 "$work/${pair[place]}"; echo "${pair[place]}: a finding"; exit 1; }
    add "${pair[place]}"
  done
done
