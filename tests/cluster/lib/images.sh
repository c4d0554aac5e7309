# Sourced by up: the public images that examples build on; where they cannot be pulled, stand-ins made from Debian's packages
# under the same names.
# shellcheck shell=bash

make_base_images() {
  make_busybox
  make_debian python python:3.11-slim-bookworm python3,python3-pip,python3-venv,ca-certificates
}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Whether the image is there or could be pulled.
get_image() { have_image "$1" || timeout 120 docker pull -q "$1" >/dev/null 2>&1; }

make_busybox() {
  get_image busybox:latest && return 0
  say "image busybox (a stand-in)"
  local folder
  folder=$(mktemp -d)
  cp /bin/busybox "$folder/"
  cat >"$folder/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /tmp /etc /root && chmod 1777 /tmp && echo root:x:0:0::/root:/bin/sh >/etc/passwd
CMD ["sh"]
DOCKERFILE
  docker build -q -t busybox:latest -t busybox:musl "$folder" >/dev/null
  rm -r "$folder"
}

# make_debian NAME IMAGE PACKAGES: a minimal Debian with PACKAGES, imported as IMAGE.
make_debian() {
  local name=$1 image=$2 packages=$3
  get_image "$image" && return 0
  say "image $image (a stand-in: debootstrap, about a minute the first time)"
  [ -f "$CACHE/$name.tar" ] || bootstrap_debian "$name" "$packages"
  docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'CMD ["bash"]' \
    "$CACHE/$name.tar" "$image" >/dev/null
}

bootstrap_debian() {
  local name=$1 packages=$2 root=$CACHE/$1
  rm -rf "$root"
  debootstrap --variant=minbase --include="$packages" bookworm "$root" "$(mirror)" >"$RUN/logs/$name.log" 2>&1 ||
    { tail -n 20 "$RUN/logs/$name.log"; fail "debootstrap failed"; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  if [ "$name" = python ]; then
    ln -sf python3 "$root/usr/bin/python"
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
  fi
  # What this machine trusts and where its pip looks, so that a build may install packages where the machine may.
  cp /etc/pip.conf "$root/etc/pip.conf" 2>/dev/null || true
  cp -a /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt" 2>/dev/null || true
  tar -C "$root" -cf "$CACHE/$name.tar.new" .
  mv "$CACHE/$name.tar.new" "$CACHE/$name.tar"
  rm -rf "$root"
}
