#!/usr/bin/env bash
# The side-by-side benchmark of ../shared/bench for the built server and its peers, one after the other: load, queries and
# start; a dashboard beside a writer; 2,000 measurements; 1,000,000 series and a start after kill -9. Ten minutes.
# PEERS chooses among influxd, influxd-tsi, vm (default: influxd; vm takes the load alone).
set -euo pipefail
server=$(readlink -f "$1")
scripts=$(dirname "$(readlink -f "$0")")
cd "$scripts/../../shared/bench" 2>/dev/null || { echo "bench-peers: skipped, ../shared/bench is not there"; exit 0; }
./setup.sh
export HYPERBYTEDB=$server BENCH_WORK=${BENCH_WORK:-$HOME/.cache/hyperbytedb-bench}

url_of() { echo "http://127.0.0.1:$(cat "$BENCH_WORK/run/$1.port")"; }

start_anew() {
  ./server.sh wipe "$1" >/dev/null
  ./server.sh start "$1"
}

# The rest of the measurements, each with a fresh server.
others() {
  local name=$1 results=$BENCH_WORK/results/$1
  start_anew "$name"
  ./mixed.py "$(url_of "$name")" --secs 6 --json "$results-mixed.json"
  ./server.sh stop "$name"
  start_anew "$name"
  ./many.py "$(url_of "$name")" | tee "$results-many.json"
  ./server.sh stop "$name"
  start_anew "$name"
  "$scripts/bench-series.py" "$(url_of "$name")" --pid "$(cat "$BENCH_WORK/run/$name.pid")" | tee "$results-series.json"
  ./server.sh stop "$name" KILL
  started=$(./server.sh start "$name")
  echo "$started"
  "$scripts/bench-series.py" "$(url_of "$name")" --first-answer --started-ms "${started##* }" | tee "$results-restart.json"
  ./server.sh stop "$name"
  ./server.sh wipe "$name"
}

for name in ${PEERS:-influxd} hyperbyte; do
  echo "== $name"
  ./run_one.sh "$name"
  [ "$name" = vm ] || others "$name"
done
case " ${PEERS:-influxd} " in *" influxd "*) "$scripts/bench-table.py" ;; esac
