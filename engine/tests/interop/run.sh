#!/usr/bin/env bash
# Builds the oracle if its sources are newer than its jar, then runs it: ./run.sh SUBCOMMAND [ARGS]
set -eu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jar="$here/target/kafka-oracle.jar"

# Tests may start several of these at once: one builds, the others wait for it.
exec 9<"$here/pom.xml"
flock 9
if [ ! -f "$jar" ] || [ -n "$(find "$here/pom.xml" "$here/src" -newer "$jar" -print -quit)" ]; then
    if ! log=$(cd "$here" && mvn -q -B package 2>&1); then
        printf '%s\n' "$log" >&2
        exit 1
    fi
    touch "$jar"
fi
flock -u 9
exec 9<&-

exec java -Xmx1g -XX:+UseSerialGC -Djava.io.tmpdir="${TMPDIR:-/tmp}" -jar "$jar" "$@"
