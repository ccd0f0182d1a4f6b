#!/usr/bin/env bash
# Live interop with Apache Kafka, both ways: builds the oracle (run.sh) and our programs, then
#   (a) Kafka writes a folder; our `verify` finds no fault and our `dump --json` prints what Kafka reads;
#   (b) we write a folder with each codec, closed cleanly and killed (kill -9) on the way; Kafka's classes
#       and tools accept it and read what we read: folders with all that a log can hold, written by the
#       example write_folder, and those of a run of the harness;
#   (c) Kafka goes on with a folder of ours; we open it again and go on.
# Needs Java 17 or later and Maven 3.8 or later; everything else comes through Maven and Cargo.
set -eu

usage() {
    cat <<'HELP'
usage: live.sh [--if-available] [--bytes SIZE] [--codecs "none gzip ..."] [--big SIZE] [--keep]
  --if-available  without Java or Maven print SKIPPED and exit 0, not 1
  --bytes SIZE    bytes of log in each folder of (b) and (c)            [default: 8MiB]
  --codecs LIST   codecs of (b)                      [default: none gzip snappy lz4 zstd]
  --big SIZE      one more run of the harness: 4 partitions, this size, uncompressed [default: none]
  --keep          keep the work folder
SIZE: bytes, or with KiB, MiB, GiB.
HELP
}

bytes_of() {
    case $1 in
        *GiB) echo $((${1%GiB} << 30)) ;;
        *MiB) echo $((${1%MiB} << 20)) ;;
        *KiB) echo $((${1%KiB} << 10)) ;;
        *) echo $(($1)) ;;
    esac
}

if_available=false keep=false bytes=$(bytes_of 8MiB) big=0 codecs="none gzip snappy lz4 zstd"
while [ $# -gt 0 ]; do
    case $1 in
        --if-available) if_available=true ;;
        --keep) keep=true ;;
        --bytes) bytes=$(bytes_of "$2"); shift ;;
        --big) big=$(bytes_of "$2"); shift ;;
        --codecs) codecs=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

unavailable() {
    if $if_available; then
        printf 'SKIPPED live interop with Kafka: %s\n' "$1"
        exit 0
    fi
    printf '!!! live interop with Kafka CANNOT RUN: %s\n' "$1" >&2
    exit 1
}
command -v java >/dev/null || unavailable "java is missing (17 or later is needed)"
command -v mvn >/dev/null || unavailable "mvn is missing (Maven 3.8 or later is needed)"
java_version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
[ "${java_version:-0}" -ge 17 ] || unavailable "Java ${java_version:-of an unknown version} is too old (17 or later is needed)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$repository/target}
work=$(mktemp -d "${TMPDIR:-/tmp}/trunkline-interop.XXXXXX")
writer_pid=
finish() {
    [ -z "$writer_pid" ] || kill -9 "$writer_pid" 2>/dev/null || true
    if $keep; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT

started=$SECONDS
step() { printf '[%3ss] %s\n' "$((SECONDS - started))" "$*"; }
die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

step "building"
"$here/run.sh" murmur2 </dev/null >/dev/null || unavailable "the oracle could not be built (see above)"
(cd "$repository" && cargo build --quiet --release -p trunkline-harness && cargo build --quiet --release -p trunkline --example write_folder)
oracle() { "$here/run.sh" "$@"; }
harness="$target/release/trunkline-harness"
write_folder="$target/release/examples/write_folder"

# No fault, by our own judgement.
ours_is_content() { "$harness" verify "$1" >"$work/verify.txt" || { cat "$work/verify.txt" >&2; die "verify $1"; }; tail -1 "$work/verify.txt"; }

# No fault, by Kafka's judgement: its dump tool on every file, and its log classes. $2: --unclean or nothing.
kafka_is_content() {
    # shellcheck disable=SC2086
    oracle check $2 "$1" >"$work/check.txt" 2>&1 || { cat "$work/check.txt" >&2; die "the oracle's check $2 $1"; }
    grep -v '^note ' "$work/check.txt"
}

# Kafka recovers a folder whose writer was killed, with no fault but those that $2 matches.
kafka_recovers() {
    oracle check --unclean "$1" >"$work/check.txt" 2>&1 || {
        grep -q '^FAULT' "$work/check.txt" || { cat "$work/check.txt" >&2; die "the oracle's check --unclean $1"; }
        if grep '^FAULT' "$work/check.txt" | grep -v "$2" >&2; then die "the oracle's check --unclean $1"; fi
    }
    grep 'sha256=' "$work/check.txt" >"$work/theirs.txt"
}

# And so do we: the same offsets and records.
we_recover_the_same() {
    "$harness" verify --recover "$1" >"$work/verify.txt" || { cat "$work/verify.txt" >&2; die "verify --recover $1"; }
    cat "$work/verify.txt"
    kafka_is_content "$1" "" | grep 'sha256=' | tee "$work/ours.txt"
    cmp "$work/ours.txt" "$work/theirs.txt" || { cat "$work/theirs.txt" >&2; die "Kafka's recovery and ours differ"; }
    dumps_agree "$1"
}

# Both read the same records, byte for byte. The streams are compared as they come: those of a large folder
# would take three times its room on the disk.
dumps_agree() {
    mkfifo "$work/ours" "$work/theirs"
    oracle dump "$1" >"$work/theirs" &
    theirs=$!
    "$harness" dump --json "$1" >"$work/ours" &
    ours=$!
    cmp "$work/ours" "$work/theirs" || die "the dumps of $1 differ"
    wait $ours || die "dump --json $1"
    wait $theirs || die "the oracle's dump $1"
    rm "$work/ours" "$work/theirs"
}

# A kept run of the harness, of $2 bytes of values; further options behind.
run() {
    run_dir=$1 run_bytes=$2
    shift 2
    "$harness" run --dir "$run_dir" --keep --record-size 1KiB --records $((run_bytes / 1024)) --durability written \
        --allow-tmpfs "$@" >"$work/run.txt" 2>&1 || { cat "$work/run.txt" >&2; die "run $*"; }
}

# A folder whose writer was killed; further options behind.
killed() {
    killed_dir=$1
    shift
    "$write_folder" "$killed_dir" "$@" --forever &
    writer_pid=$!
    while [ "$(size_of "$killed_dir")" -lt "$bytes" ]; do
        kill -0 "$writer_pid" 2>/dev/null || die "write_folder ended by itself"
        sleep 0.02
    done
    kill -9 "$writer_pid"
    wait "$writer_pid" 2>/dev/null || true
    writer_pid=
}

size_of() { du -sb "$1" 2>/dev/null | cut -f1 | grep . || echo 0; }

step "(a) Kafka writes, we read"
oracle write "$work/kafka"
ours_is_content "$work/kafka"
dumps_agree "$work/kafka"

for codec in $codecs; do
    step "(b) $codec: we write and close, Kafka reads"
    folder="$work/clean-$codec"
    "$write_folder" "$folder" --compression "$codec" --bytes "$bytes"
    ours_is_content "$folder"
    kafka_is_content "$folder" ""
    dumps_agree "$folder"

    step "(b) $codec: we write and are killed, Kafka recovers"
    folder="$work/killed-$codec"
    killed "$folder" --compression "$codec"
    # A kill may tear the last write: Kafka then says that it cuts its beginning off.
    kafka_recovers "$folder" 'invalid bytes at the end of\|Found invalid messages in log segment\|Corruption found in segment'
    step "(b) $codec: and we recover"
    we_recover_the_same "$folder"

    step "(b) $codec: a run of the harness, Kafka reads"
    folder="$work/run-$codec"
    run "$folder" "$bytes" --compression "$codec" --partitions 2 --producers 2 --keys zipf
    ours_is_content "$folder"
    kafka_is_content "$folder" ""
    dumps_agree "$folder"
done

step "(b) we are killed with zeros written ahead, Kafka recovers all and nothing but the batches"
folder="$work/prepared"
killed "$folder" --prepare-bytes 1048576
# A sound log to Kafka but for its zeros: it says that it cuts them off.
kafka_recovers "$folder" 'Found record size 0 smaller\|Found invalid messages in log segment\|Corruption found in segment'
grep -q 'Found record size 0 smaller' "$work/check.txt" || die "the oracle saw no zeros ahead"
we_recover_the_same "$folder"

step "(b) we are killed between the files of a new segment, Kafka recovers and so do we"
rm "$folder/.kafka_cleanshutdown"
sed 's/ .* logEnd=\([0-9]*\) .*/ \1/' "$work/ours.txt" | while read -r partition end; do
    : >"$(printf '%s/%s/%020d.log' "$folder" "$partition" "$end")"
done
kafka_is_content "$folder" --unclean
we_recover_the_same "$folder"

step "(c) Kafka goes on with a folder of ours"
folder="$work/shared"
"$write_folder" "$folder" --compression lz4 --bytes "$bytes"
oracle append "$folder" live-0 20
ours_is_content "$folder"
kafka_is_content "$folder" ""
dumps_agree "$folder"
step "(c) we go on with what Kafka appended"
"$write_folder" "$folder" --compression zstd --bytes $((bytes * 2)) --seed 2
ours_is_content "$folder"
kafka_is_content "$folder" ""
dumps_agree "$folder"
step "(c) we go on with a folder of Kafka's"
"$harness" verify --recover "$work/kafka" >"$work/verify.txt" || { cat "$work/verify.txt" >&2; die "verify --recover $work/kafka"; }
tail -1 "$work/verify.txt"
kafka_is_content "$work/kafka" ""
dumps_agree "$work/kafka"

if [ "$big" -gt 0 ]; then
    step "4 partitions, $big bytes"
    folder="$work/big"
    run "$folder" "$big" --partitions 4
    ours_is_content "$folder"
    kafka_is_content "$folder" ""
    dumps_agree "$folder"
fi
step "Kafka and we agree on everything"
