#!/usr/bin/env bash
# Builds all fuzz targets on the stable toolchain, without cargo-fuzz. Prints the folder they are in.
# SANITIZER= (empty) builds without AddressSanitizer: several times as fast, for long runs.
set -euo pipefail
cd "$(dirname "$0")"
export RUSTC_BOOTSTRAP=1
target=$(rustc -vV | sed -n 's/^host: //p')
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table --cfg fuzzing"
sanitizer=${SANITIZER-address}
folder=target/${sanitizer:-plain}
if [ -n "$sanitizer" ]; then
  flags="$flags -Zsanitizer=$sanitizer"
  features=
else
  features=quick
  # Half as many again in the same time; with a sanitizer it is the sanitizer that counts.
  export CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_PANIC=abort
fi
RUSTFLAGS=$flags cargo build -q --release --bins --features "$features" --target "$target" --target-dir "$folder"
echo "$folder/$target/release"
