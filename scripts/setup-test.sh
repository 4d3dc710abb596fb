#!/usr/bin/env bash
# Installs what only the tests need: cargo-nextest, curl, the real InfluxDB server and shell, Prometheus, and the Python
# clients, in a per-user environment. Does nothing when all is there.
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
# Its absence is a test that is skipped, and says so.
command -v prometheus >/dev/null || install_packages prometheus ||
  echo "setup: prometheus cannot be installed: the tests with it are skipped" >&2

# So is this one's: libchdb, out of which ClickHouse servers are made, has no Keeper.
[ -x /usr/share/zookeeper/bin/zkServer.sh ] || install_packages --no-install-recommends zookeeper ||
  echo "setup: zookeeper cannot be installed: the test with it is skipped" >&2

packages=('influxdb==5.3.2' 'influxdb-client==1.50.0' 'msgpack>=1,<2')
if [ "$(cat "$venv/.complete" 2>/dev/null)" != "${packages[*]}" ]; then
  # The distribution's Python comes without.
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  echo "setup: making a Python environment with the influxdb clients"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet "${packages[@]}"
  echo "${packages[*]}" >"$venv/.complete"
fi
