#!/usr/bin/env bash
# Makes the packages in target/dist: a tarball that runs wherever it is unpacked, and, where dpkg-deb is, a Debian package.
#
#     scripts/dist.sh FOLDER_OF_THE_BINARIES [VERSION]
set -euo pipefail
binaries=$(readlink -f "$1")
cd "$(dirname "$(readlink -f "$0")")/.."

version=${2:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}
dist=${DIST:-$PWD/target/dist}
name=hyperbytedb-$version-linux-$(uname -m)
tree=$dist/$name
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

command -v patchelf >/dev/null || {
  echo "dist: installing patchelf"
  as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq patchelf >/dev/null
}

# bin, lib and share: the server finds libchdb beside it.
make_tree() {
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,lib,etc,share/man/man1,share/bash-completion/completions,share/doc}
  install "$binaries"/hyperbytedb{,-cli} "$tree/bin"
  patchelf --set-rpath '$ORIGIN/../lib' "$tree/bin/hyperbytedb"
  install -m 0644 third_party/chdb/lib/libchdb.so "$tree/lib"
  local program
  for program in hyperbytedb hyperbytedb-cli; do
    "$tree/bin/$program" man "$tree/share/man/man1"
    "$tree/bin/$program" completions bash >"$tree/share/bash-completion/completions/$program"
  done
  "$tree/bin/hyperbytedb" config >"$tree/etc/hyperbytedb.toml"
  sed -i 's|^data_dir = .*|data_dir = "/var/lib/hyperbytedb"|' "$tree/etc/hyperbytedb.toml"
  cp -r README.md CHANGELOG.md COMPAT.md docs deploy "$tree/share/doc/"
  chmod -R u+rwX,go+rX,go-w "$tree"
}

make_tarball() {
  tar -C "$dist" -I "gzip -${COMPRESSION:-6}" --owner=0 --group=0 --sort=name -cf "$tree.tar.gz" "$name"
  echo "dist: $tree.tar.gz"
}

# Libraries that the server takes from the system, as the packages that have them.
depends() {
  local glibc
  glibc=$(objdump -T "$tree/bin/hyperbytedb" "$tree/lib/libchdb.so" 2>/dev/null | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -1)
  echo "libc6 (>= ${glibc#GLIBC_}), libstdc++6, libgcc-s1, passwd"
}

make_deb() {
  local root=$dist/deb
  rm -rf "$root"
  mkdir -p "$root"/{DEBIAN,etc/hyperbytedb,usr/bin,usr/lib/hyperbytedb,usr/share/doc,lib/systemd/system}
  cp -r "$tree/bin" "$tree/lib" "$root/usr/lib/hyperbytedb"
  ln -s ../lib/hyperbytedb/bin/hyperbytedb ../lib/hyperbytedb/bin/hyperbytedb-cli "$root/usr/bin"
  cp -r "$tree/share/man" "$tree/share/bash-completion" "$root/usr/share"
  gzip -9n "$root"/usr/share/man/man1/*
  cp -r "$tree/share/doc" "$root/usr/share/doc/hyperbytedb"
  cp deploy/debian/copyright "$root/usr/share/doc/hyperbytedb"
  cp "$tree/etc/hyperbytedb.toml" "$root/etc/hyperbytedb"
  cp deploy/systemd/hyperbytedb.service "$root/lib/systemd/system"
  install -m 0755 deploy/debian/{postinst,prerm,postrm} "$root/DEBIAN"
  echo /etc/hyperbytedb/hyperbytedb.toml >"$root/DEBIAN/conffiles"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: hyperbytedb
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The developers of HyperbyteDB <hyperbytedb@localhost>
Section: database
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $(depends)
Suggests: influxdb-client, telegraf, grafana
Description: time-series database that speaks InfluxDB 1.x
 Takes InfluxDB's line protocol and InfluxQL on its HTTP API, and answers recent points from memory and all others with
 an embedded ClickHouse.
CONTROL
  dpkg-deb --root-owner-group "-Z${DEB_COMPRESSION:-xz}" ${COMPRESSION:+"-z$COMPRESSION"} --build "$root" "$dist" >/dev/null
  rm -rf "$root"
  echo "dist: $dist/hyperbytedb_${version}_$(dpkg --print-architecture).deb"
}

mkdir -p "$dist"
make_tree
[ -n "${NO_TARBALL:-}" ] || make_tarball
if [ -z "${NO_DEB:-}" ] && command -v dpkg-deb >/dev/null; then make_deb; fi
rm -rf "$tree"
