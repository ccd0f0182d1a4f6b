#!/usr/bin/env bash
# The engine's tests under ThreadSanitizer and AddressSanitizer (leaks included), on the stable toolchain.
# First what is planted must be reported (planted.rs), each for itself; then the tests must run without a report.
#
#   bash engine/tests/sanitizers/run.sh [--thread] [--address] [--short] [--if-available]
#
# Without --thread and --address: both. --short: a part, for CI. Needs x86-64 or aarch64 Linux and a C compiler.
# With --if-available what is missing is said, and nothing fails.
#
# ThreadSanitizer: std comes built without it. std_orderings.c tells it what std orders, thread.supp what is left.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=engine/tests/sanitizers
sanitizers=()
short=
missing_is_fine=
for argument; do
  case $argument in
    --thread | --address) sanitizers+=("${argument#--}") ;;
    --short) short=1 ;;
    --if-available) missing_is_fine=1 ;;
    *) echo "usage: run.sh [--thread] [--address] [--short] [--if-available]" >&2; exit 2 ;;
  esac
done
((${#sanitizers[@]})) || sanitizers=(thread address)

unavailable() {
  echo "!!! sanitizers: SKIPPED, not passed: $1" >&2
  [ -n "$missing_is_fine" ] && exit 0
  exit 2
}
fail() { echo "!!! $1" >&2; exit 1; }

export RUSTC_BOOTSTRAP=1
host=$(rustc -vV | sed -n 's/^host: //p')
libraries=$(rustc --print sysroot)/lib/rustlib/$host/lib
case $host in
  x86_64-*-linux-gnu | aarch64-*-linux-gnu) ;;
  *) unavailable "there are none for $host" ;;
esac
command -v "${CC:-cc}" >/dev/null || unavailable "there is no C compiler (CC or cc)"

# Unit tests that share memory among threads; the others have nothing that ThreadSanitizer could see.
with_threads=(commit:: consumer:: engine:: producer:: log::tests::threads segment::tests::readers
  segment::published segment::entries topic::)
# What reads and writes files and bytes of unknown content.
with_bytes=(io:: record:: segment:: log:: commit::group)
# Thousands of runs of what those do once.
long=(--skip log::tests::power --skip segment::tests::damage)
# A whole pass of some takes an hour under a sanitizer.
export TRUNKLINE_POWER_CUTS=1000 TRUNKLINE_FAULT_SEEDS=1

# The std functions of std_orderings.c by the names that this toolchain gave them.
std_function() {
  local name
  name=$(grep -aohE "_R[A-Za-z0-9_]*$1\b" "$libraries"/libstd-*.rlib | sort -u)
  [ "$(wc -w <<<"$name")" = 1 ] || fail "std has changed, std_orderings.c must follow: $1 is '$name'"
  echo "$name"
}

build() { # SANITIZER TESTS...: sets `binaries`
  local sanitizer=$1 target=target/$1 flags
  shift
  mkdir -p "$target"
  flags="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer"
  if [ "$sanitizer" = thread ]; then
    local once scope
    once=$(std_function '4sync4once5futex[A-Za-z0-9_]*4Once4call')
    scope=$(std_function '9ScopeData29decrement_num_running_threads')
    "${CC:-cc}" -O2 -fexceptions -Wall -Wextra -Werror -c $here/std_orderings.c -o "$target/new.o" \
      -DREAL_ONCE_CALL="__real_$once" -DWRAP_ONCE_CALL="__wrap_$once" \
      -DREAL_SCOPE_DECREMENT="__real_$scope" -DWRAP_SCOPE_DECREMENT="__wrap_$scope"
    if ! cmp -s "$target/new.o" "$target/std_orderings.o"; then
      # Cargo does not know of it.
      rm -rf "$target/$host/debug/.fingerprint"/trunkline-*
      mv "$target/new.o" "$target/std_orderings.o"
    fi
    flags+=" -Clink-arg=$PWD/$target/std_orderings.o"
    for name in __tsan_atomic64_fetch_sub "$once" "$scope"; do flags+=" -Clink-arg=-Wl,--wrap=$name"; done
    # Copies of generic functions that std was built with would go without it.
    flags+=" -Zshare-generics=off"
  fi
  local built
  # The C code of zstd is built with the sanitizer too. Proc macros are not: --target keeps them apart.
  built=$(RUSTFLAGS=$flags CFLAGS="-fsanitize=$sanitizer" cargo test -p trunkline "$@" --no-run \
    --target "$host" --target-dir "$target" 2>&1) || { echo "$built" >&2; fail "$sanitizer: the build failed"; }
  mapfile -t binaries < <(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' <<<"$built")
  ((${#binaries[@]})) || { echo "$built" >&2; fail "$sanitizer: nothing was built"; }
}

# Runs a test binary and keeps what it printed in `log`.
# A test that hangs is a finding too.
run() { timeout 3600 "$@" >"$log" 2>&1; }
reports() { grep -cE '(WARNING|ERROR): (Thread|Address|Leak)Sanitizer' "$log" || true; }

planted_are_reported() { # SANITIZER BINARY
  local kind name names
  kind=$([ "$1" = thread ] && echo races || echo errors)
  names=$("$2" --list --ignored | sed -n "s/^\(planted::$kind::.*\): test$/\1/p")
  [ -n "$names" ] || fail "$1: nothing is planted"
  for name in $names; do
    if run "$2" --ignored --exact "$name"; then fail "$1: $name passed: the sanitizer does not see it"; fi
    if grep -qE 'unexpected memory mapping|fatal error' "$log"; then
      cat "$log" >&2
      unavailable "$1 does not run on this machine"
    fi
    # The report is about the planted function, not about the test's surroundings.
    [ "$(reports)" -gt 0 ] && grep -qE "^ +#[0-9]+ .*${name##*::}" "$log" ||
      { cat "$log" >&2; fail "$1: $name failed, but was not reported"; }
  done
  echo "$1: planted and reported: $(wc -w <<<"$names")"
}

passes() { # SANITIZER NAME BINARY FILTERS...
  local sanitizer=$1 name=$2 started=$SECONDS status=0
  shift 2
  run "$@" || status=$?
  if [ $status != 0 ] || [ "$(reports)" != 0 ]; then
    cat "$log" >&2
    fail "$sanitizer: $name: reports: $(reports), status $status"
  fi
  local tests
  tests=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$log")
  [ "${tests:-0}" -gt 0 ] || fail "$sanitizer: $name: no test ran"
  echo "$sanitizer: $name: tests: $tests, reports: 0 ($((SECONDS - started)) s)"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export TSAN_OPTIONS="suppressions=$PWD/$here/thread.supp history_size=4"
export ASAN_OPTIONS="detect_leaks=1 detect_stack_use_after_return=1"
export RUST_BACKTRACE=0
for sanitizer in "${sanitizers[@]}"; do
  ls "$libraries"/librustc-*_rt."${sanitizer:0:1}san.a" >/dev/null 2>&1 ||
    unavailable "this toolchain has no runtime of the $sanitizer sanitizer"
  started=$SECONDS
  wanted=(--lib --test sanitizers)
  case $sanitizer$short in
    thread) wanted+=(--test engine --test model) ;;
    address) wanted+=(--test engine --test model --test bit_flips --test kafka_folder --test lives) ;;
  esac
  build "$sanitizer" "${wanted[@]}"
  echo "$sanitizer: built in $((SECONDS - started)) s"
  for binary in "${binaries[@]}"; do
    if [[ ${binary##*/} = sanitizers-* ]]; then planted_are_reported "$sanitizer" "$binary"; fi
  done
  for binary in "${binaries[@]}"; do
    name=${binary##*/}
    name=${name%-*}
    filters=()
    case $name-$sanitizer in
      trunkline-thread) filters=("${with_threads[@]}") ;;
      trunkline-address) [ -z "$short" ] || filters=("${with_bytes[@]}" "${long[@]}") ;;
      lives-address) filters=(--skip faults::every_fault) ;;
    esac
    passes "$sanitizer" "$name" "$binary" "${filters[@]}"
  done
done
