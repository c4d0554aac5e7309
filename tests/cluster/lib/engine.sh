# Sourced by up and down: a current Docker engine, unpacked from Debian's next release (its binaries need no newer libc), or
# from Ubuntu's own.
# shellcheck shell=bash

start_engine() {
  unpack_engine
  docker buildx version >/dev/null 2>&1 || {
    mkdir -p ~/.docker/cli-plugins
    cp "$ENGINE/usr/libexec/docker/cli-plugins/docker-buildx" ~/.docker/cli-plugins/
  }
  docker version >/dev/null 2>&1 && return 0
  say "starting the Docker engine"
  write_runtime
  rm -f /var/run/docker.pid
  if ! { [ -S /run/containerd/containerd.sock ] && pgrep -x containerd >/dev/null; }; then
    rm -f /run/containerd/containerd.sock
    daemon containerd "$ENGINE/usr/bin/containerd"
  fi
  wait_for containerd 150 test -S /run/containerd/containerd.sock
  daemon dockerd "$ENGINE/usr/sbin/dockerd" --containerd=/run/containerd/containerd.sock \
    --add-runtime "oom=$RUNTIME" --default-runtime oom --group "${SUDO_GID:-0}"
  wait_for dockerd 300 docker version
}

stop_engine() {
  stop dockerd
  stop containerd
}

unpack_engine() {
  [ -x "$ENGINE/usr/sbin/dockerd" ] && return 0
  say "unpacking the Docker engine"
  rm -rf "$ENGINE" "$ENGINE.new"
  mkdir -p "$ENGINE.new"
  (
    cd "$ENGINE.new"
    if [ "$(. /etc/os-release && echo "$ID")" = debian ]; then
      apt_with trixie deb download docker.io docker-cli containerd docker-buildx >/dev/null
    else # Ubuntu keeps its engine current, and the client in the same package
      apt-get -qq download docker.io containerd docker-buildx >/dev/null
    fi
    for package in *.deb; do dpkg -x "$package" .; done
    rm -- *.deb
  )
  mv "$ENGINE.new" "$ENGINE"
}

# A machine without CAP_SYS_RESOURCE may not lower oom_score_adj, which every pod's sandbox asks for: ask for 0 instead.
RUNTIME=/usr/local/sbin/runc-unprivileged-oom
write_runtime() {
  cat >"$RUNTIME.new" <<'SH'
#!/bin/sh
prev= bundle=
for arg in "$@"; do
  case $prev in --bundle | -b) bundle=$arg ;; esac
  prev=$arg
done
[ -n "$bundle" ] && sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$bundle/config.json"
exec /usr/sbin/runc "$@"
SH
  chmod +x "$RUNTIME.new"
  mv "$RUNTIME.new" "$RUNTIME"
}
