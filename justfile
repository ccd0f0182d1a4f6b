# `just` lists the recipes; each is one command that also runs without just.

default:
    @just --list

# All tests, as in the README.
test:
    cargo test --workspace

# What CI runs.
ci:
    bash .ci/run

# Format, lints, docs.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy -p trunkline --all-targets --features twins -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    RUSTDOCFLAGS="-D warnings" cargo doc -p trunkline --no-deps --features sim

# The harness's main job: a short sweep on the current disk.
sweep:
    cargo run --release -p trunkline-harness

# Live interop with Apache Kafka, both directions (needs Java 17 and Maven).
interop:
    bash engine/tests/interop/live.sh

# kill -9 during a durable run, again and again.
kill-loop rounds="200":
    bash harness/tests/kill-loop.sh {{rounds}}

# Each planted bug must be caught by the tests.
twins:
    cargo test -p trunkline --features twins --test lives --test hostile_lengths twins -- --nocapture

# Schedules of threads, drawn from a seed, for whatever shares state; all orders of weak atomics for two.
shuttle:
    cargo test -p trunkline --test schedules --test orderings

# The tests under ThreadSanitizer and AddressSanitizer, on stable Rust: just sanitizers --thread --short
sanitizers *arguments:
    bash engine/tests/sanitizers/run.sh {{arguments}}

# Mutants that the tests miss (hours for all rooms): just mutants commit; just mutants --again
mutants *rooms:
    cargo run --release -q --manifest-path engine/tests/mutants/Cargo.toml -- {{rooms}}

# Power cuts and full disks on real file systems (needs root, FUSE and loop devices).
torture ext4="300" xfs="30":
    bash engine/tests/realfs/torture.sh --ext4 {{ext4}} --xfs {{xfs}}

# Criterion benches.
bench:
    cargo bench

# The engine against the limits of the machine within one run: just ratios durable --rounds 100
ratios *arguments:
    cargo run --release -p trunkline-benches --bin ratios -- {{arguments}}

# Instructions of the hot loops (needs valgrind), against benches/counts.txt: just counts --store
counts *arguments:
    cargo run --release -p trunkline-benches --bin counts -- {{arguments}}

# The engine against logs that others wrote, within one run: just peers "8 appenders"
peers *arguments:
    cargo run --release --manifest-path benches/peers/Cargo.toml -- {{arguments}}

# One fuzz target, built on the stable toolchain: just fuzz batch_decode 100000
fuzz target runs="100000":
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{target}} -- -runs={{runs}} -rss_limit_mb=2048

# All fuzz targets, so many seconds each; adds to the ledger in docs/TESTING.md.
fuzz-ledger seconds="60" *targets:
    bash fuzz/ledger.sh {{seconds}} {{targets}}
