#!/usr/bin/env bash
# Sends what schemathesis makes up from docs/openapi.json to a server with authentication and SQL on, as an admin: no
# answer may be a 500. usage: scripts/schemathesis.sh SERVER_BINARY
set -euo pipefail

binary=$1
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${HYPERBYTEDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperbytedb}
venv=$cache/schemathesis
examples=${EXAMPLES:-50}
port=${PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}

if [ ! -f "$venv/.complete" ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet 'schemathesis==4.32.5'
  touch "$venv/.complete"
fi
data=$(mktemp -d)
HYPERBYTEDB__SERVER__PORT=$port HYPERBYTEDB__STORAGE__DATA_DIR=$data \
  HYPERBYTEDB__AUTH__ENABLED=true HYPERBYTEDB__AUTH__ADMIN_USER=adm HYPERBYTEDB__AUTH__ADMIN_PASSWORD=secret \
  "$binary" serve >"$data/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$data"' EXIT
until curl -fs "http://127.0.0.1:$port/health/ready" >/dev/null; do
  kill -0 "$server" || { cat "$data/server.log"; exit 1; }
  sleep 0.1
done
# Snapshots are bounded, which is a 503; snappy protobuf is nothing that can be made up.
"$venv/bin/schemathesis" run "$root/docs/openapi.json" --url "http://127.0.0.1:$port" --auth adm:secret \
  --exclude-path-regex '^/api/v1/(backup|prom)' --checks not_a_server_error --max-examples "$examples" --phases examples,coverage,fuzzing
