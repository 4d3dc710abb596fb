#!/usr/bin/env bash
# The side-by-side benchmark of ../shared/bench for the built server and its peers, one after the other.
# PEERS chooses among influxd, influxd-tsi, vm (default: influxd).
set -euo pipefail
server=$(readlink -f "$1")
table=$(dirname "$(readlink -f "$0")")/bench-table.py
cd "$(dirname "$(readlink -f "$0")")/../../shared/bench" 2>/dev/null || { echo "bench-peers: skipped, ../shared/bench is not there"; exit 0; }
./setup.sh
export HYPERBYTEDB=$server
for name in ${PEERS:-influxd} hyperbyte; do
  echo "== $name"
  ./run_one.sh "$name"
done
case " ${PEERS:-influxd} " in *" influxd "*) "$table" ;; esac
