#!/usr/bin/env bash
# Power cuts and full disks on real file systems: a small ext4 or xfs on a loop device above a disk
# that forgets what was not flushed (src/main.rs). After each cut the file system recovers, then the
# engine: every record that was acknowledged as durable must be there, and `verify` must be clean.
# A control that acknowledges from the page cache must lose some, or the disk forgets nothing.
#
#   bash engine/tests/realfs/torture.sh [--ext4 CUTS] [--xfs CUTS] [--if-available]
#
# Needs root, /dev/fuse, loop devices, mkfs.ext4 (e2fsprogs) and mkfs.xfs (xfsprogs).
# With --if-available what is missing is said, and nothing fails.
set -euo pipefail
cd "$(dirname "$0")/../../.."
declare -A cuts=([ext4]=20 [xfs]=5)
controls=8
missing_is_fine=
while (($#)); do
  case $1 in
    --ext4 | --xfs) cuts[${1#--}]=$2; shift ;;
    --if-available) missing_is_fine=1 ;;
    *) echo "usage: torture.sh [--ext4 CUTS] [--xfs CUTS] [--if-available]" >&2; exit 2 ;;
  esac
  shift
done

unavailable() {
  echo "!!! real file systems: SKIPPED, not passed: $1" >&2
  [ -n "$missing_is_fine" ] && exit 0
  exit 2
}
[ "$(id -u)" = 0 ] || unavailable "mounting needs root"
[ -e /dev/fuse ] || unavailable "there is no /dev/fuse"
[ -e /dev/loop-control ] || unavailable "there are no loop devices"
for tool in losetup mount mkfs.ext4 mkfs.xfs; do
  command -v "$tool" >/dev/null || unavailable "$tool is missing (packages util-linux, e2fsprogs, xfsprogs)"
done

cargo build --release -q --manifest-path engine/tests/realfs/Cargo.toml
cargo build --release -q -p trunkline --example acknowledged
cargo build --release -q -p trunkline-harness
target=$(realpath "${CARGO_TARGET_DIR:-target}")/release
disk_program=$(realpath "${CARGO_TARGET_DIR:-engine/tests/realfs/target}")/release/trunkline-realfs
work=$(mktemp -d -p . .trunkline-realfs-XXXX)
mkdir "$work/fuse" "$work/mnt"

# The disk: commands go to it by one pipe, answers come by another.
mkfifo "$work/in" "$work/out"
"$disk_program" "$work/fuse" 320 <"$work/in" >"$work/out" &
disk=$!
exec 8>"$work/in" 9<"$work/out"
answer() { read -r -t 60 reply <&9 || { echo "the disk does not answer" >&2; exit 1; }; }
tell() { echo "$1" >&8; answer; }
loop=
finish() {
  [ -n "${sender:-}" ] && kill -9 "$sender" 2>/dev/null
  echo on >&8 2>/dev/null
  mountpoint -q "$work/mnt" && umount -l "$work/mnt"
  [ -n "$loop" ] && losetup -d "$loop"
  echo end >&8
  exec 8>&- 9<&-
  wait "$disk" 2>/dev/null
  mountpoint -q "$work/fuse" && umount -l "$work/fuse"
  rm -rf "$work"
}
trap finish EXIT
answer
loop=$(losetup --find --show "$work/fuse/disk.img") || unavailable "no loop device can be had"

make_fs() {
  case $1 in
    ext4) mkfs.ext4 -q -F "$loop" ;;
    xfs) mkfs.xfs -q -f "$loop" ;;
  esac
}
mount_fs() { mount -t "$1" "$loop" "$work/mnt"; }

# power_cut FS SEED DURABILITY: works on the mounted file system until the power goes, and mounts what
# is left.
power_cut() {
  "$target/examples/acknowledged" send "$work/mnt/data" "$2" "$3" >"$work/acks" 2>"$work/errors" &
  sender=$!
  sleep "0.$(printf '%02d' $((RANDOM % 50 + 20)))"
  tell "cut $2"
  kill -9 "$sender" 2>/dev/null || true
  wait "$sender" 2>/dev/null || true
  sender=
  if [ -s "$work/acks" ] && [ "$(tail -c1 "$work/acks" | wc -l)" -eq 0 ]; then sed -i '$d' "$work/acks"; fi
  cat "$work/acks" >>"$work/all"
  umount "$work/mnt"
  tell on
  mount_fs "$1"
}
check() { "$target/examples/acknowledged" check "$work/mnt/data" "$work/all" >"$work/check" 2>&1; }
fresh() {
  mountpoint -q "$work/mnt" && umount "$work/mnt"
  make_fs "$1"
  mount_fs "$1"
  : >"$work/all"
}

lose_nothing() {
  local fs=$1 rounds=$2 acknowledged=0 round
  for ((round = 1; round <= rounds; round++)); do
    # Anew before it is full: how fast it fills depends on the machine.
    if ((round % 10 == 1 || $(df --output=avail -BM "$work/mnt" | tail -1 | tr -d ' M') < 120)); then fresh "$fs"; fi
    power_cut "$fs" "$round" durable
    acknowledged=$((acknowledged + $(wc -l <"$work/acks")))
    if [ ! -s "$work/all" ]; then continue; fi
    check || { echo "$fs, cut $round:"; cat "$work/check"; exit 1; }
    "$target/trunkline-harness" verify "$work/mnt/data" >"$work/verify" || { cat "$work/verify"; exit 1; }
    if [ -t 2 ]; then printf '\r%s: %d of %d cuts, %d records acknowledged' "$fs" "$round" "$rounds" "$acknowledged" >&2; fi
  done
  [ -t 2 ] && echo >&2
  ((acknowledged > rounds)) || { echo "$fs: only $acknowledged records acknowledged: nothing was tried"; exit 1; }
  echo "$fs: $rounds power cuts, $acknowledged records acknowledged as durable, 0 lost, verify clean after each"
}

control_loses() {
  local fs=$1 lost=0 round
  for ((round = 1; round <= controls; round++)); do
    fresh "$fs"
    power_cut "$fs" "$round" written
    check || lost=$((lost + 1))
  done
  ((lost > 0)) || { echo "$fs: the control lost nothing: this disk forgets nothing"; exit 1; }
  echo "$fs: control without syncs: records lost at $lost of $controls cuts"
}

# The disk is filled up, then there is room again: appends wait and go on, what was acknowledged stays.
fill_up() {
  local fs=$1 before size
  fresh "$fs"
  size=$(df --output=avail -B1 "$work/mnt" | tail -1)
  fallocate -l $((size - (12 << 20))) "$work/mnt/ballast"
  "$target/examples/acknowledged" send "$work/mnt/data" 1 durable >"$work/acks" 2>"$work/errors" &
  sender=$!
  before=-1
  for ((i = 0; i < 60; i++)); do
    sleep 0.5
    kill -0 "$sender" || { echo "$fs: a full disk ended the sender:"; cat "$work/errors"; exit 1; }
    now=$(wc -l <"$work/acks")
    if ((now > 0 && now == before)); then break; fi
    before=$now
  done
  ((i < 60)) || { echo "$fs: the disk never was full"; exit 1; }
  rm "$work/mnt/ballast"
  for ((i = 0; i < 60; i++)); do
    sleep 0.5
    now=$(wc -l <"$work/acks")
    if ((now > before)); then break; fi
  done
  ((i < 60)) || { echo "$fs: appends did not go on once there was room"; exit 1; }
  kill -9 "$sender"
  wait "$sender" 2>/dev/null || true
  sender=
  sed -i '$d' "$work/acks"
  cp "$work/acks" "$work/all"
  check || { echo "$fs, full:"; cat "$work/check"; exit 1; }
  "$target/trunkline-harness" verify "$work/mnt/data" >"$work/verify" || { cat "$work/verify"; exit 1; }
  echo "$fs: full after $before records, $now and more once there was room, 0 lost, verify clean"
}

for fs in ext4 xfs; do
  if ((cuts[$fs] > 0)); then
    control_loses "$fs"
    fill_up "$fs"
    lose_nothing "$fs" "${cuts[$fs]}"
  fi
done
