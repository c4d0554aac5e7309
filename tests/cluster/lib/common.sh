# Sourced by up and down: places, messages, and long-running programs by pid file.
# shellcheck shell=bash

CACHE=${DEVLOOP_CLUSTER_CACHE:-${HOME:-/root}/.cache/devloop-cluster}   # what was fetched and built: kept
RUN=${DEVLOOP_CLUSTER_RUN:-/var/lib/devloop-cluster}           # what is running: pids, logs, certificates, etcd
BIN=$CACHE/bin
ENGINE=$CACHE/engine
export PATH=$PATH:$BIN:$ENGINE/usr/sbin:$ENGINE/usr/bin

say() { echo "cluster: $*" >&2; }

fail() { say "$@"; exit 1; }

# Whether an engine and a cluster answer already, so that there is nothing to bring up.
already_there() {
  local engine_only=$1
  docker version >/dev/null 2>&1 || return 1
  [ -z "$engine_only" ] || return 0
  kubectl --request-timeout=3s get --raw /readyz >/dev/null 2>&1
}

own_cluster_answers() {
  [ -r "$RUN/kubeconfig" ] && kubectl --kubeconfig="$RUN/kubeconfig" --request-timeout=3s get --raw /readyz >/dev/null 2>&1
}

# Says what to install where this script can bring nothing up.
require_debian() {
  [ ! -f /etc/debian_version ] || return 0
  local what="Docker Desktop, or another engine with a cluster (OrbStack, Rancher Desktop, colima, minikube, kind…)"
  [ -z "$1" ] || what="Docker Desktop, or another engine (OrbStack, Rancher Desktop, colima)"
  case $(uname -s) in
    Darwin) ;;
    *) if grep -qi microsoft /proc/version 2>/dev/null; then
         what="Docker Desktop for Windows, with the WSL integration of this distribution turned on"
       else
         what="Docker (https://docs.docker.com/engine/install/)${1:+ }"
         [ -n "$1" ] || what+=" and a local cluster (kind, k3d, minikube…)"
       fi ;;
  esac
  fail "nothing that devloop can use answers here. Install and start ${what% }, then try again"
}

# Asks on the terminal before anything is installed.
ask() {
  local what="a Docker engine and a Kubernetes of this project's own" answer
  [ -z "$1" ] || what="a Docker engine"
  printf '%s' "Nothing answers here. Install $what from Debian's packages and start it? [Y/n] " >&2
  read -r answer
  case $answer in
    [nN]*) fail "nothing was installed; start an engine of your own and try again" ;;
  esac
}

# wait_for NAME TENTHS COMMAND...: until COMMAND succeeds; with the end of NAME's log when it never does.
wait_for() {
  local name=$1 tenths=$2
  shift 2
  for _ in $(seq "$tenths"); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  tail -n 20 "$RUN/logs/$name.log" >&2 || true
  fail "$name did not come up; its log is $RUN/logs/$name.log"
}

# The program that runs under NAME; the pid file alone proves nothing, since a pid may have been given to another process.
program_of() {
  case $1 in
    apiserver | controller-manager | scheduler | proxy) echo "kube-$1" ;;
    dns) echo dnsmasq ;;
    dns-sync) echo dns.sh ;;
    *) echo "$1" ;;
  esac
}

# alive NAME: the recorded process still runs NAME's program.
alive() {
  local pid
  pid=$(cat "$RUN/$1.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$(program_of "$1")"
}

# daemon NAME COMMAND...: run COMMAND in the background, in a session of its own, unless it is already running.
daemon() {
  local name=$1
  shift
  alive "$name" && return 0
  setsid "$@" >"$RUN/logs/$name.log" 2>&1 </dev/null 9>&- &
  echo $! >"$RUN/$name.pid"
}

# stop NAME: end it politely, then for certain.
stop() {
  local name=$1
  if alive "$name"; then
    kill "$(cat "$RUN/$name.pid")" 2>/dev/null || true
    for _ in $(seq 50); do alive "$name" || break; sleep 0.1; done
    if alive "$name"; then kill -9 "$(cat "$RUN/$name.pid")" 2>/dev/null || true; fi
  fi
  rm -f "$RUN/$name.pid"
}

# write FILE: stdin becomes FILE at once and only when it differs, so that no reader ever sees half a file.
write() {
  cat >"$1.new"
  if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
