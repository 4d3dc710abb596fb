#!/usr/bin/env bash
# The dependencies of the server must have the same features when its tests are built: else all that depends on them is compiled twice.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

features() { cargo tree --locked --prefix none --format '{p} {f}' "$@" | sed 's/ (\*)$//' | sort -u; }

server=$(features -p hyperbytedb -p hyperbytedb-cli -e normal,build)
tests=$(features --workspace -e normal,build,dev)
differing=$(comm -23 <(echo "$server") <(echo "$tests"))
[ -z "$differing" ] || { echo "some dependency of tests changes the features of: $differing" >&2; exit 1; }
