#!/usr/bin/env bash
# Licences, bans and sources of all dependencies; advisories where their database can be reached.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
cargo deny --locked check bans licenses sources
if ! cargo deny --locked check advisories 2>/tmp/hyperbytedb-advisories.log; then
  if grep -qiE 'failed to fetch|unable to (load|fetch)|could not (connect|resolve)|failed to (clone|connect)' /tmp/hyperbytedb-advisories.log; then
    echo "audit: the advisory database cannot be reached from here; advisories were not checked"
  else
    cat /tmp/hyperbytedb-advisories.log
    exit 1
  fi
fi
