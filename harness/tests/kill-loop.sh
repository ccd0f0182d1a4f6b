#!/usr/bin/env bash
# kill -9 during a run, again and again (default 200 times), now and then while the log is being opened: after
# each, every acknowledged record must be there and `verify` must be clean. Nobody closes the folder in
# between, so that crash follows crash. The page cache outlives a killed process, so this proves recovery, and
# all that `written` promises; what survives a power cut is shown by engine/tests/lives.
set -euo pipefail
rounds=${1:-200}
cd "$(dirname "$0")/../.."
cargo build --release -q -p trunkline --example acknowledged
cargo build --release -q -p trunkline-harness
target=$(realpath "${CARGO_TARGET_DIR:-target}")/release
work=$(mktemp -d -p . .trunkline-kill-loop-XXXX)
trap 'rm -rf "$work"' EXIT
acknowledged=0
for ((round = 1; round <= rounds; round++)); do
  # A fresh folder every fifth round; in between the log goes on from where the kill left it.
  if ((round % 5 == 1)); then
    rm -rf "${work:?}/data" "$work/all"; : >"$work/all"
    if ((round % 10 == 1)); then durability=durable; else durability=written; fi
  fi
  "$target/examples/acknowledged" send "$work/data" "$round" "$durability" >"$work/acks" &
  pid=$!
  if ((RANDOM % 4)); then sleep "0.$(printf '%02d' $((RANDOM % 60 + 10)))"; else sleep "0.00$((RANDOM % 10))"; fi
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  # The kill may cut the last line short: it then is no acknowledgement that anybody read whole.
  if [ -s "$work/acks" ] && [ "$(tail -c1 "$work/acks" | wc -l)" -eq 0 ]; then sed -i '$d' "$work/acks"; fi
  cat "$work/acks" >>"$work/all"
  # A run killed while it made the topic has acknowledged nothing, and may have no topic yet; once
  # something is acknowledged, a partition that is gone is a loss.
  if [ ! -s "$work/all" ]; then continue; fi
  "$target/examples/acknowledged" check "$work/data" "$work/all" >"$work/check" || { cat "$work/check"; exit 1; }
  "$target/trunkline-harness" verify "$work/data" >"$work/verify" || { cat "$work/verify"; exit 1; }
  acknowledged=$((acknowledged + $(wc -l <"$work/acks")))
  if [ -t 2 ]; then printf '\r%d of %d kills, %d records acknowledged, 0 lost' "$round" "$rounds" "$acknowledged" >&2; fi
done
if [ -t 2 ]; then echo >&2; fi
echo "kill-loop: $rounds kills, $acknowledged records acknowledged, 0 lost, verify clean after each"
