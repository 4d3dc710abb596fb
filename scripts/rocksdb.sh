#!/usr/bin/env bash
# Compiles RocksDB, once per user and version, and tells cargo to link it. librocksdb-sys would compile the same 340
# files one by one, and most of that time goes into reading the same headers again: here a dozen files are one unit, as
# in RocksDB's own `make unity.a`. Does nothing, and needs no network, when all is there.
# With ROCKSDB_COMPILE=1 the crate compiles it after all, for another CPU (RUSTFLAGS) for instance.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

cache=${HYPERBYTEDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperbytedb}
version=$(awk '/^name = "librocksdb-sys"$/ { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock)
script=$(sha256sum scripts/rocksdb.sh | cut -c1-12)
library=$cache/rocksdb-$version-$(uname -m)-$script
configuration=.cargo/rocksdb.toml # .cargo/config.toml includes it
files_per_unit=15

if [ "$(uname -s)" != Linux ] || [ -n "${ROCKSDB_COMPILE:-}" ]; then
  rm -f "$configuration"
  exit
fi

staging=""
trap '[ -z "$staging" ] || rm -rf "$staging"' EXIT

# The folder of a crate's source; downloads the dependencies when they are missing.
crate_folder() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  cargo metadata --quiet --locked --format-version 1 --filter-platform "$host" |
    grep -oE "\"manifest_path\":\"[^\"]*/$1(-[0-9][^\"/]*)?/Cargo.toml\"" | cut -d'"' -f4 | xargs dirname
}

# As the crate's build script has them, with the CRC instructions that the engine needs anyway.
flags() {
  echo -std=c++20 -O2 -w -fPIC -ffunction-sections -fdata-sections -include cstdint
  echo -DNDEBUG -DLZ4 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX
  echo -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT
  echo -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT
  case "$(uname -m)" in
    x86_64) echo -msse4.2 -mpclmul ;;
    aarch64) echo -march=armv8-a+crc+crypto ;;
  esac
}

# One for each core, as far as memory goes: a unit takes up to 1.1 GB.
parallel_units() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1200000) }' /proc/meminfo)
  if [ "$memory" -ge "$cores" ]; then echo "$cores"; elif [ "$memory" -gt 1 ]; then echo "$memory"; else echo 1; fi
}

compile() {
  local source lz4
  source=$(crate_folder librocksdb-sys)
  lz4=$(crate_folder lz4-sys)
  mkdir -p "$cache"
  staging=$(mktemp -d "$cache/rocksdb.XXXXXX")

  # build_version.cc is the crate's own.
  { grep -v '^util/build_version.cc$' "$source/rocksdb_lib_sources.txt" | sed 's/.*/#include "&"/'
    echo '#include "build_version.cc"'
  } | split --lines "$files_per_unit" --numeric-suffixes --additional-suffix=.cc - "$staging/unit"
  # shellcheck disable=SC2046 # the flags are words
  printf '%s\0' "$staging"/unit*.cc | xargs -0 -P "$(parallel_units)" -I{} \
    "${CXX:-c++}" $(flags) -I "$source/rocksdb/include" -I "$source/rocksdb" -I "$source" -I "$lz4/liblz4/lib" \
    -c {} -o {}.o || { echo "setup: RocksDB does not compile as units; try ROCKSDB_COMPILE=1" >&2; exit 1; }
  mkdir "$staging/library"
  "${AR:-ar}" rcs "$staging/library/librocksdb.a" "$staging"/unit*.o
  mv -T "$staging/library" "$library" || [ -d "$library" ] # another set-up was first
}

if [ ! -d "$library" ]; then
  echo "setup: compiling RocksDB $version (once per user)"
  compile
fi
# Rewritten only when it says something else.
wanted="[env]
ROCKSDB_LIB_DIR = \"$library\"
ROCKSDB_STATIC = \"1\""
[ "$(cat "$configuration" 2>/dev/null)" = "$wanted" ] || echo "$wanted" >"$configuration"
