#!/usr/bin/env bash
# Installs what a build needs and a base image lacks: libclang, OpenSSL, and libchdb (one copy per user).
# Does nothing, and needs no network, when all is there.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

chdb_version=26.7.3-stable.1
cache=${HYPERBYTEDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperbytedb}
engine_dir=$cache/chdb-$chdb_version
stamp=$engine_dir/.complete
link=third_party/chdb/lib

staging=""
trap '[ -z "$staging" ] || rm -rf "$staging"' EXIT

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_packages() {
  command -v apt-get >/dev/null || { echo "setup: please install: $*" >&2; exit 1; }
  echo "setup: installing $*"
  as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq "$@" >/dev/null
}

# bindgen (RocksDB, chDB) loads libclang when it runs, and needs the compiler's own headers of the same package.
# libclang-cpp, which other packages bring, is another library.
have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return
  exists '/usr/lib/llvm-*/lib/libclang[.-][0-9s]*' '/usr/lib/*/libclang[.-][0-9s]*' &&
    exists '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' '/usr/lib/clang/*/include/stddef.h'
}
exists() { compgen -G "$1" >/dev/null || compgen -G "$2" >/dev/null; }

# The build script of the engine's bindings can download the engine itself, so it links OpenSSL.
have_openssl() { [ "$(uname -s)" != Linux ] || [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null; }

engine_package() {
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo "@chdb/lib-linux-x64-gnu" ;;
    Linux-aarch64) echo "@chdb/lib-linux-arm64-gnu" ;;
    Darwin-arm64) echo "@chdb/lib-darwin-arm64" ;;
    Darwin-x86_64) echo "@chdb/lib-darwin-x64" ;;
    *) echo "setup: no libchdb package for $(uname -s)-$(uname -m)" >&2; exit 1 ;;
  esac
}

# The package manager checks the archive against its registry; for the platform we test, also against our own record.
check_integrity() {
  local archive=$1 expected=""
  case "$(engine_package)" in
    @chdb/lib-linux-x64-gnu) expected=XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw== ;;
  esac
  local actual
  actual=$(openssl dgst -sha512 -binary "$archive" | base64 -w0)
  if [ -n "$expected" ] && [ "$actual" != "$expected" ]; then
    echo "setup: the archive of libchdb $chdb_version has sha512 $actual, expected $expected" >&2
    exit 1
  fi
}

fetch_engine() {
  mkdir -p "$cache"
  staging=$(mktemp -d "$cache/chdb.XXXXXX")
  echo "setup: fetching libchdb $chdb_version (once per user, 170 MB)"
  (cd "$staging" && npm pack --silent "$(engine_package)@$chdb_version" >/dev/null)
  local archive
  archive=$(echo "$staging"/*.tgz)
  check_integrity "$archive"
  mkdir "$staging/engine"
  tar -xzf "$archive" -C "$staging/engine" --strip-components=1
  touch "$staging/engine/.complete"
  rm -rf "$engine_dir"
  mv "$staging/engine" "$engine_dir"
}

if [ ! -d "${CARGO_TARGET_DIR:-target}/release" ]; then
  echo "setup: a first build takes about 10 minutes on two cores: RocksDB 4 and libchdb 1 (170 MB), both once per user," \
    "then the dependencies and the server 5; for the tests, as long again"
fi
command -v cargo >/dev/null || { echo "setup: Rust is missing: see https://rustup.rs" >&2; exit 1; }
missing=()
have_libclang || missing+=(libclang-dev)
have_openssl || missing+=(pkg-config libssl-dev)
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"

if [ ! -f "$stamp" ]; then
  if command -v npm >/dev/null; then
    fetch_engine
  else
    # Without npm the bindings download the engine themselves.
    echo "setup: npm is missing; the build will download libchdb itself"
    rm -f "$link"
    exit 0
  fi
fi
[ "$(readlink "$link" 2>/dev/null)" = "$engine_dir" ] || ln -sfn "$engine_dir" "$link"
