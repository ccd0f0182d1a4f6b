#!/usr/bin/env bash
# Runs one target as `build.sh` built it, with its dictionary, corpus and seeds.
#
#   bash fuzz/run.sh FOLDER TARGET [libFuzzer's flags...]
set -euo pipefail
cd "$(dirname "$0")"
built=${1:?usage: run.sh FOLDER TARGET [FLAG...]}
target=${2:?usage: run.sh FOLDER TARGET [FLAG...]}
shift 2
flags=(-rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 "-dict=dictionaries/$target.dict" "-artifact_prefix=artifacts/$target/")
case $target in
  # Each run opens a log and so passes thousands of edges: what the fuzzer does for each would be most of it.
  log_operations) flags+=(-max_len=64 -entropic=0 -reduce_inputs=0) ;;
  index_open | recover_folder) flags+=(-max_len=2048 -entropic=0 -reduce_inputs=0) ;;
esac
mkdir -p "corpus/$target" "artifacts/$target"
exec "$built/$target" "${flags[@]}" "$@" "corpus/$target" "seeds/$target"
