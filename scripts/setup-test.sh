#!/usr/bin/env bash
# Installs what only the tests need: cargo-nextest, curl, the real InfluxDB server and shell, and the Python client, in a
# per-user environment. Does nothing when all is there.
set -euo pipefail

cache=${HYPERBYTEDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperbytedb}
venv=$cache/venv
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_packages() {
  echo "setup: installing $*"
  as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq "$@" >/dev/null
}

command -v cargo-nextest >/dev/null || cargo install --locked cargo-nextest
command -v curl >/dev/null || install_packages curl # the README's tour
if ! command -v influx >/dev/null || ! command -v influxd >/dev/null; then
  install_packages influxdb influxdb-client
fi
if [ ! -f "$venv/.complete" ]; then
  # The distribution's Python comes without.
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  echo "setup: making a Python environment with the influxdb client"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet 'influxdb==5.3.2' 'msgpack>=1,<2'
  touch "$venv/.complete"
fi
