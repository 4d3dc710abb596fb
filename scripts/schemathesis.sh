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
url=http://127.0.0.1:$port
query() { curl -fsS -u adm:secret "$url/query" --data-urlencode "q=$1" -o /dev/null; }
query 'CREATE DATABASE db'
curl -fsS -u adm:secret "$url/write?db=db" --data-binary $'m,t=a v=1,i=1i,s="x",b=true\nm,t=b v=2'

# Snapshots are bounded, which is a 503; snappy protobuf is nothing that can be made up.
send() {
  "$venv/bin/schemathesis" --config-file "$1" run "$root/docs/openapi.json" --url "$url" --auth adm:secret --exclude-path-regex '^/api/v1/(backup|prom)' \
    --checks not_a_server_error --suppress-health-check filter_too_much --max-examples "$examples" --phases examples,coverage,fuzzing
}
# First anything anywhere; then to a database that there is, with statements that there are, so that what is made up beside them counts.
: >"$data/anything.toml"
send "$data/anything.toml"
cat >"$data/there.toml" <<'CONFIG'
[parameters]
"query.db" = "db"
"query.database" = "db"
"query.bucket" = "db"
"query.q" = "SELECT * FROM m WHERE t = 'a'; SHOW STATS; SELECT mean(v) FROM m GROUP BY time(1m) fill(none)"
"query.query" = "SELECT * FROM m"
CONFIG
send "$data/there.toml"
