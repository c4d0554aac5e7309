# Sourced by up: Debian packages, from the machine's own suite and, unpacked beside it, from others.
# shellcheck shell=bash

FOR_ENGINE=(runc tini iptables debootstrap busybox-static)
FOR_CLUSTER=(etcd-server conntrack ethtool socat ebtables dnsmasq-base openssl gcc libc6-dev)
export DEBIAN_FRONTEND=noninteractive

# install_packages NAME...
install_packages() {
  dpkg -s "$@" >/dev/null 2>&1 && return 0
  say "installing $*"
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends "$@"
}

# The mirror this machine takes its packages from.
mirror() {
  { grep -hE '^URIs:' /etc/apt/sources.list.d/debian.sources; grep -hE '^deb ' /etc/apt/sources.list; } 2>/dev/null | awk 'NR == 1 {print $2}'
}

# apt_with SUITE KIND COMMAND...: apt-get with the fresh lists of one more suite, and without touching the machine's own.
# (KIND: deb or deb-src.)
apt_with() {
  local suite=$1 kind=$2 folder options
  shift 2
  folder=$CACHE/apt-$suite-$kind
  options=(-qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$folder/lists")
  rm -rf "$folder"
  mkdir -p "$folder/lists/partial"
  echo "$kind $(mirror) $suite main" >"$folder/sources.list"
  apt-get "${options[@]}" update
  apt-get "${options[@]}" "$@"
}
