#!/usr/bin/env bash
# Runs set-up on a bare machine: a new root of the distribution with what the README asks for, an empty HOME and cache,
# and none of what set-up brings. Then runs a test that needs libclang (to compile), libchdb and cargo-nextest.
# The configuration of this machine says where the registries are. What takes minutes, and is no part of set-up's own
# ways, is kept: the bare root, npm's cache of archives, this machine's compiled RocksDB and cargo-nextest, and the
# compiled dependencies of the test, except those that look for libclang, libchdb or OpenSSL.
# `--build` keeps only the bare root, and goes on to build the whole server: half an hour. `--all` goes on with the two
# commands of the README, `make serve` until it answers and `make test`: an hour, with this machine's compiled RocksDB.
# `--package BINARIES` does none of that: it installs the Debian package made of these binaries, upgrades and removes it.
# `--container BINARIES` carries out the Containerfile's instructions on their archive, one by one, and runs what comes of it as a
# container would: as its user, with a root file system that is read-only.
#
# All mounts live in a mount namespace of their own, so none outlives this script, however it ends.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

user_cache=${HYPERBYTEDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperbytedb}
cache=$user_cache/fresh
base=$cache/base # kept for the next run
root=$cache/root
kept_target=/var/cache/target

skip() { echo "test-fresh: SKIPPED: $*"; exit 0; }
fail() { echo "test-fresh: $*" >&2; exit 1; }
say() { echo "test-fresh: $*"; }

check_machine() {
  [ "$(id -u)" = 0 ] || skip "only root can make a root"
  command -v apt-get >/dev/null || skip "this is no Debian: there is no apt"
  unshare --mount --pid --fork true 2>/dev/null || skip "the kernel allows no new mount namespace here"
  git rev-parse --git-dir >/dev/null 2>&1 || skip "this is no git clone"
  [ -d "$(npm prefix -g 2>/dev/null)/lib/node_modules/npm" ] || skip "there is no npm as Node.js brings it"
  if ! command -v debootstrap >/dev/null; then
    say "installing debootstrap"
    apt-get update -qq
    apt-get install -y -qq debootstrap >/dev/null || skip "debootstrap cannot be installed"
  fi
}

# libclang-cpp is there on many machines, and is not libclang.
packages() {
  local clang
  clang=$(apt-cache show libclang-dev | sed -n 's/^Depends:.*libclang-\([0-9]*\)-dev.*/\1/p' | head -1)
  echo "build-essential,ca-certificates,python3,libclang-cpp$clang"
}

make_base() {
  local suite mirror wanted proxy=""
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  wanted="$suite $(packages)"
  [ "$(cat "$base.made" 2>/dev/null)" != "$wanted" ] || return 0
  # shellcheck disable=SC2016 # apt's own variables
  mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" "Created-By: Packages" | head -1)
  [ -n "$mirror" ] || skip "apt knows no mirror of $suite"
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  say "making a root of $suite (once per user, about a minute)"
  rm -rf --one-file-system "$base" "$base.made"
  env ${proxy:+"http_proxy=$proxy"} debootstrap --variant=minbase --include="$(packages)" "$suite" "$base" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
    skip "debootstrap failed: $(tail -1 "$cache/debootstrap.log")"
  printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d" # packages start no services
  chmod +x "$base/usr/sbin/policy-rc.d"
  echo "$wanted" >"$base.made"
}

# Shows a file or folder of this machine in the new root, read-only, if it is there.
show() {
  local from=$1 to=$root${2:-$1}
  [ -e "$from" ] || return 0
  mkdir -p "$(dirname "$to")"
  if [ -d "$from" ]; then mkdir -p "$to"; else [ -e "$to" ] || : >"$to"; fi
  mount --bind "$from" "$to"
  mount -o remount,bind,ro "$to"
}

# A folder of the new root that the next run finds again.
keep() {
  mkdir -p "$cache/$1" "$root$2"
  mount --bind "$cache/$1" "$root$2"
}

show_toolchain() {
  local prefix
  show "$(rustc --print sysroot)" /opt/rust
  prefix=$(npm prefix -g)
  show "$(readlink -f "$prefix/bin/node")" /usr/bin/node
  show "$prefix/lib/node_modules/npm" /usr/lib/node_modules/npm
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/bin/npm"
}

show_what_takes_minutes() {
  local library
  keep npm /root/.npm
  keep target "$kept_target"
  for library in "$user_cache"/rocksdb-*; do show "$library" "/root/.cache/hyperbytedb/${library##*/}"; done
  if command -v cargo-nextest >/dev/null; then
    say "cargo-nextest is that of this machine: set-up's own way to it is not tried"
    show "$(readlink -f "$(command -v cargo-nextest)")" /usr/local/bin/cargo-nextest
  fi
}

# Where the registries are, and how they are reached.
show_configuration() {
  local path
  for path in /etc/apt /usr/share/keyrings /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt ${PIP_FIND_LINKS:-}; do
    show "$path"
  done
  show "$(readlink -f /etc/resolv.conf)" /etc/resolv.conf
  show "$(npm config get globalconfig)" /usr/etc/npmrc
  for path in .npmrc .pip .config/pip; do show "$HOME/$path" "/root/$path"; done
  show "${CARGO_HOME:-$HOME/.cargo}/config.toml" /root/.cargo/config.toml
}

# Of the environment, only what says how registries are reached.
environment() {
  local name
  printf '%s\n' HOME=/root LANG=C.UTF-8 PATH=/opt/rust/bin:/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  for name in $(compgen -e); do
    case $name in
      *_proxy | *_PROXY | PIP_* | npm_config_* | NPM_CONFIG_* | NODE_EXTRA_CA_CERTS) echo "$name=${!name}" ;;
      CARGO_HTTP_* | CARGO_NET_* | CARGO_REGISTRIES_* | SSL_CERT_* | CURL_CA_BUNDLE | REQUESTS_CA_BUNDLE) echo "$name=${!name}" ;;
    esac
  done
}

inside() {
  local variables
  mapfile -t variables < <(environment)
  env -i "${variables[@]}" chroot "$root" bash -euo pipefail -c "cd /src; $1"
}

run_in_namespace() {
  make_base
  cp -a --reflink=auto "$base" "$root"
  mkdir "$root/src"
  git ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from=- --ignore-failed-read --file=- |
    tar --extract --touch --directory="$root/src" --file=- # newer than what was compiled from another tree
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  show_configuration
  show_toolchain
  case "${1:-}" in --build | --package | --container) ;; *) show_what_takes_minutes ;; esac
  inside "apt-get update -qq -o APT::Update::Error-Mode=any" || skip "apt's sources cannot be reached"

  case "${1:-}" in
    --package)
      the_package
      say "passed"
      return
      ;;
    --container)
      the_container
      say "passed"
      return
      ;;
  esac

  say "set-up"
  inside "make setup-test" | tee "$cache/setup.log"
  grep -q 'first build' <(head -1 "$cache/setup.log") || fail "the first line does not say what takes how long"
  say "set-up again, which needs no network"
  inside "unshare --net make setup-test"
  say "a test that needs libclang, libchdb and cargo-nextest"
  inside "export CARGO_TARGET_DIR=$kept_target CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0
    cargo clean --quiet --locked -p chdb-rust -p openssl-sys
    cargo nextest run --cargo-quiet --locked -p hyperbytedb-engine-chdb --test storage -- tables_are_made_and_grow"
  if [ "${1:-}" = --build ]; then
    say "the server"
    inside "make build && target/release/hyperbytedb --version"
  fi
  if [ "${1:-}" = --all ]; then the_two_commands; fi
  say "passed"
}

the_two_commands() {
  keep all /src/target
  say "make serve"
  inside 'make serve >serve.log 2>&1 & server=$!
    for _ in $(seq 3600); do
      kill -0 $server 2>/dev/null || { tail -20 serve.log; exit 1; }
      if python3 -c "import urllib.request as u; u.urlopen(\"http://127.0.0.1:8086/ping\", timeout=5)" 2>/dev/null; then
        kill -INT $(pidof hyperbytedb) && wait $server
        exit
      fi
      sleep 1
    done
    exit 1' || fail "make serve did not answer"
  show "$PWD/../shared" /shared
  say "make test"
  inside "make test"
}

# Two versions, with the quickest compression.
make_packages() {
  local version
  rm -rf "$cache/packages"
  for version in 0.1 0.2; do
    DIST=$cache/packages NO_TARBALL=1 DEB_COMPRESSION=gzip COMPRESSION=1 scripts/dist.sh "$1" "$version"
  done
}

the_package() {
  show "$cache/packages" /packages
  inside 'install_version() {
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Options::=--force-confold /packages/hyperbytedb_$1_*.deb >/dev/null
    }
    # Runs the service as systemd would, and asks it something.
    ask() {
      setpriv --reuid hyperbytedb --regid hyperbytedb --clear-groups --inh-caps=-all \
        hyperbytedb serve --config /etc/hyperbytedb/hyperbytedb.toml >/tmp/serve.log 2>&1 & server=$!
      for _ in $(seq 60); do ! hyperbytedb-cli ping >/dev/null 2>&1 || break; sleep 0.5; done
      hyperbytedb-cli -database telegraf -format csv -execute "$1" || { cat /tmp/serve.log; return 1; }
      kill -INT $server && wait $server
    }
    install_version 0.1
    [ "$(stat -c "%U %a" /var/lib/hyperbytedb)" = "hyperbytedb 750" ]
    [ "$(stat -c "%U:%G %a" /etc/hyperbytedb/hyperbytedb.toml)" = "root:hyperbytedb 640" ]
    ask "CREATE DATABASE telegraf"
    ask "INSERT cpu,host=a usage=42 1000"
    echo "# mine" >>/etc/hyperbytedb/hyperbytedb.toml
    install_version 0.2
    grep -q "^# mine" /etc/hyperbytedb/hyperbytedb.toml
    ask "SELECT usage FROM cpu" | grep -q "1000,42"
    hyperbytedb --version
    test -s /usr/share/man/man1/hyperbytedb.1.gz
    apt-get remove -y -qq hyperbytedb >/dev/null
    [ ! -e /usr/bin/hyperbytedb ]
    [ -e /etc/hyperbytedb/hyperbytedb.toml ]
    [ -d /var/lib/hyperbytedb/wal ]
    apt-get purge -y -qq hyperbytedb >/dev/null
    [ ! -e /etc/hyperbytedb ]
    [ -d /var/lib/hyperbytedb/wal ]'
}

make_archive() {
  rm -rf "$cache/packages"
  DIST=$cache/packages NO_DEB=1 COMPRESSION=1 scripts/dist.sh "$1"
}

# The Containerfile's instructions, one a line.
instructions() { sed -e '/^#/d' -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' deploy/container/Containerfile; }

words_of() { python3 -c 'import json, sys; print("\n".join(json.loads(sys.argv[1])))' "$1"; }

the_container() {
  local instruction rest user=root variables=() volume="" stop_signal=TERM check=() command=()
  # A new version of the package writes it.
  ! mountpoint -q "$root/etc/ssl/certs/ca-certificates.crt" || umount "$root/etc/ssl/certs/ca-certificates.crt"
  show "$cache/packages" /packages
  while read -r instruction rest <&3; do
    say "$instruction ${rest:0:80}"
    case $instruction in
      FROM) [[ $rest = debian:* ]] || fail "the bare root is Debian's, not $rest" ;;
      ARG | EXPOSE) ;;
      ADD) inside "tar -C ${rest##* } -xf /packages/*.tar.gz" ;;
      RUN) inside "$rest" ;;
      ENV) read -ra words <<<"$rest" && variables+=("${words[@]}") ;;
      USER) user=$rest ;;
      VOLUME) volume=$rest ;;
      STOPSIGNAL) stop_signal=${rest#SIG} ;;
      HEALTHCHECK) mapfile -t check < <(words_of "${rest#*CMD }") ;;
      CMD) mapfile -t command < <(words_of "$rest") ;;
      *) fail "$instruction is not known here" ;;
    esac
  done 3< <(instructions)
  # A new volume gets what the image has in its place.
  cp -a "$root$volume" "$root/tmp/volume"
  mount --bind "$root/tmp/volume" "$root$volume"
  mount --bind "$root" "$cache/mounted"
  mount -o remount,bind,ro "$cache/mounted"
  mount -t tmpfs tmpfs "$cache/mounted/tmp"
  mount --bind "$root$volume" "$cache/mounted$volume"
  mount --rbind /dev "$cache/mounted/dev"
  mount -t proc proc "$cache/mounted/proc"
  mount --bind /etc/hosts "$cache/mounted/etc/hosts" # as a container gets one
  run_the_container "CREATE DATABASE d" "INSERT INTO d.autogen cpu usage=42 1000"
  run_the_container 'SELECT usage FROM d.autogen.cpu' | tee "$cache/container.log" | grep -q 1000,42 || fail "the volume has lost its points"
}

# With the variables of `the_container`: until the health check passes, then each statement, then the stop.
run_the_container() {
  local statement server path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  as_contained() { env -i "$path" "${variables[@]}" chroot "$cache/mounted" setpriv --reuid "$user" --regid "$user" --clear-groups "$@"; }
  ! chroot "$cache/mounted" touch /written 2>/dev/null || fail "the root file system can be written"
  (exec env -i "$path" "${variables[@]}" chroot "$cache/mounted" setpriv --reuid "$user" --regid "$user" --clear-groups "${command[@]}") >"$cache/serve.log" 2>&1 &
  server=$!
  for _ in $(seq 120); do ! as_contained "${check[@]}" >/dev/null 2>&1 || break; sleep 0.5; done
  as_contained "${check[@]}" >&2 || fail "it is not healthy: $(cat "$cache/serve.log")"
  for statement in "$@"; do as_contained hyperbytedb-cli -format csv -execute "$statement"; done
  kill "-$stop_signal" "$server"
  wait "$server" || fail "it did not end well: $(cat "$cache/serve.log")"
}

if [ "${1:-}" = --in-namespace ]; then
  run_in_namespace "${@:2}"
  exit
fi
check_machine
mkdir -p "$cache/mounted"
exec 9>"$cache/lock"
flock 9
remove_root() { rm -rf --one-file-system "$root" "$cache/packages"; }
remove_root
case "${1:-}" in
  --package) make_packages "$2" ;;
  --container) make_archive "$2" ;;
esac
trap remove_root EXIT
unshare --mount --pid --fork --kill-child "$0" --in-namespace "$@"
