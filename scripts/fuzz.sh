#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (default 60). Needs no nightly toolchain: the address sanitizer is left out.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
for target in $(cargo fuzz list); do
  echo "fuzz: $target for ${FUZZ_SECONDS:-60} s"
  mkdir -p "fuzz/corpus/$target"
  inputs=("fuzz/corpus/$target")
  [ ! -d "fuzz/seeds/$target" ] || inputs+=("fuzz/seeds/$target")
  RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$target" "${inputs[@]}" -- \
    -max_total_time="${FUZZ_SECONDS:-60}" -max_len=65536 -print_final_stats=1
done
