# Sourced by up and down: Kubernetes 1.20 from Debian's source package, on this machine's engine.
# shellcheck shell=bash

NODE_IP=172.17.0.1          # docker0: reachable from the host and from every pod
PARTS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
PATCH=$here/lib/reflect2.patch
GATES=EphemeralContainers=true   # not yet on by themselves in 1.20
DAEMONS=(dns dns-sync proxy kubelet scheduler controller-manager apiserver etcd)   # in the order of stopping

# --- building, once ---------------------------------------------------------------------------------

build_kubernetes() {
  local missing=() part
  for part in "${PARTS[@]}"; do is_built "$part" || missing+=("$part"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "building ${missing[*]} from Debian's source package (once; about 6 minutes on 2 cores)"
  dpkg -s golang-go dpkg-dev >/dev/null 2>&1 || apt-get -qq install -y --no-install-recommends golang-go dpkg-dev
  local source=$CACHE/go/src/k8s.io/kubernetes
  [ -d "$source" ] || fetch_source "$source"
  # In a subshell: the settings of the Go compiler are for this build only.
  (
    cd "$source"
    export GO111MODULE=off GOPATH=$CACHE/go GOFLAGS= GOPROXY=off CGO_ENABLED=0 GOCACHE=$CACHE/gocache
    [ -f pkg/generated/openapi/zz_generated.openapi.go ] || generate_openapi
    patch --strip=1 --forward --reject-file=- --silent <"$PATCH" || true   # an earlier `up` may have done it
    grep -q 'it \*hiter)$' vendor/github.com/modern-go/reflect2/unsafe_link.go || fail "the source could not be patched"
    for part in "${missing[@]}"; do
      say "  $part"
      go_build "$part" -ldflags "$(version_flags)" "k8s.io/kubernetes/cmd/$part"
      [ "$part" != kube-apiserver ] || cp "$PATCH" "$BIN/kube-apiserver.patch"
    done
  )
  rm -rf "$CACHE/gocache"
}

# The apiserver counts only with its patch: an earlier `up` may have built it without.
is_built() {
  [ -x "$BIN/$1" ] && { [ "$1" != kube-apiserver ] || cmp -s "$PATCH" "$BIN/kube-apiserver.patch"; }
}

fetch_source() {
  rm -rf "$CACHE/src"
  mkdir -p "$CACHE/src" "$(dirname "$1")"
  (
    cd "$CACHE/src"
    apt_with bookworm deb-src source --download-only kubernetes >/dev/null
    dpkg-source -x kubernetes_*.dsc tree >/dev/null
    mv tree "$1"
  )
}

# go_build NAME ARGUMENTS...: into $BIN/NAME, whole or not at all.
go_build() {
  local name=$1
  shift
  /usr/lib/go-1.19/bin/go build -o "$BIN/$name.new" "$@"
  mv "$BIN/$name.new" "$BIN/$name"
}

# The one generated file that Debian's source package leaves out.
generate_openapi() {
  local inputs
  go_build openapi-gen k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
  inputs=$(grep -rlE '\+k8s:openapi-gen=' --include='*.go' pkg staging/src | xargs -n1 dirname | sort -u |
    grep -vE 'testdata|_examples|code-generator|sample-apiserver|apiserver/pkg/apis/example' |
    sed -E 's#^staging/src/#k8s.io/kubernetes/vendor/#; t; s#^#k8s.io/kubernetes/#' | paste -sd,)
  "$BIN/openapi-gen" -O zz_generated.openapi --go-header-file hack/boilerplate/boilerplate.generatego.txt \
    -p k8s.io/kubernetes/pkg/generated/openapi -r /dev/null -i "$inputs"
}

version_flags() {
  local flags="-s -w" package
  for package in component-base/version client-go/pkg/version; do
    package=k8s.io/kubernetes/vendor/k8s.io/$package
    flags="$flags -X $package.gitVersion=v1.20.2 -X $package.gitMajor=1 -X $package.gitMinor=20 -X $package.gitTreeState=clean"
  done
  echo "$flags"
}

# --- starting ---------------------------------------------------------------------------------------

start_kubernetes() {
  local context=$1
  # Without its etcd a cluster remembers nothing: whatever else an earlier run left would only disturb.
  alive etcd || stop_kubernetes
  mkdir -p "$RUN/certs" "$RUN/dns"
  cd "$RUN"
  make_pause_image
  write_configuration "$context"
  export KUBECONFIG=$RUN/kubeconfig

  daemon etcd etcd --data-dir "$RUN/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  renewed apiserver "$BIN/kube-apiserver" --feature-gates=$GATES --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 \
    --advertise-address=$NODE_IP --secure-port=6443 --cert-dir="$RUN/certs" --token-auth-file="$RUN/tokens.csv" \
    --authorization-mode=AlwaysAllow --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=certs/sa.pub \
    --service-account-signing-key-file=certs/sa.key --kubelet-preferred-address-types=InternalIP
  wait_for apiserver 600 "$BIN/kubectl" get --raw /readyz
  daemon controller-manager "$BIN/kube-controller-manager" --kubeconfig=kubeconfig \
    --service-account-private-key-file=certs/sa.key --leader-elect=false --port=0
  daemon scheduler "$BIN/kube-scheduler" --kubeconfig=kubeconfig --leader-elect=false --port=0
  renewed kubelet "$BIN/kubelet" --feature-gates=$GATES --config=kubelet.yaml --kubeconfig=kubeconfig --container-runtime=docker \
    --network-plugin= --hostname-override=devloop-node --pod-infra-container-image=pause:local \
    --root-dir="$RUN/kubelet" --node-ip=$NODE_IP
  daemon proxy "$BIN/kube-proxy" --kubeconfig=kubeconfig --hostname-override=devloop-node \
    --cluster-cidr=172.17.0.0/16 --proxy-mode=iptables --conntrack-max-per-core=0 --healthz-bind-address=127.0.0.1:10256
  start_dns
  wait_for kubelet 600 node_ready
  say "ready: Kubernetes $("$BIN/kubectl" version --short 2>/dev/null | awk '/Server/ {print $3}')," \
    "context $context, KUBECONFIG=$KUBECONFIG"
}

# As daemon, but one that an earlier version of this script has started with other arguments is started anew.
renewed() {
  local name=$1 running
  shift
  if alive "$name"; then
    running=$(tr '\0' ' ' <"/proc/$(cat "$RUN/$name.pid")/cmdline")
    [ "$running" = "$* " ] || stop "$name"
  fi
  daemon "$name" "$@"
}

node_ready() {
  "$BIN/kubectl" get node devloop-node --no-headers | grep -q ' Ready' && "$BIN/kubectl" -n default get serviceaccount default
}

write_configuration() {
  local context=$1
  [ -f certs/sa.key ] || openssl genrsa -out certs/sa.key 2048 2>/dev/null
  [ -f certs/sa.pub ] || openssl rsa -in certs/sa.key -pubout -out certs/sa.pub 2>/dev/null
  [ -f tokens.csv ] || (umask 077 && echo "$(openssl rand -hex 16),admin,admin,system:masters" | write tokens.csv)
  (umask 077 && write kubeconfig) <<YAML
apiVersion: v1
kind: Config
clusters: [{name: $context, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $(cut -d, -f1 tokens.csv)}}]
contexts: [{name: $context, context: {cluster: $context, user: admin}}]
current-context: $context
YAML
  write kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failSwapOn: false
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
clusterDNS: [$NODE_IP]
clusterDomain: cluster.local
enforceNodeAllocatable: []
imageGCHighThresholdPercent: 100
YAML
}

# What holds a pod's namespaces open: the smallest program that waits and reaps.
make_pause_image() {
  have_image pause:local && return 0
  local folder
  folder=$(mktemp -d)
  cat >"$folder/pause.c" <<'C'
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, leave); signal(SIGTERM, leave); signal(SIGCHLD, reap); for (;;) pause(); }
C
  gcc -static -O2 -o "$folder/pause" "$folder/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$folder/Dockerfile"
  docker build -q -t pause:local "$folder" >/dev/null
  rm -r "$folder"
}

# Cluster DNS: dnsmasq over a hosts file that follows the Services.
start_dns() {
  write dns.sh <<'SH'
#!/usr/bin/env bash
while :; do
  "$1" get svc -A -o jsonpath='{range .items[*]}{.spec.clusterIP}{" "}{.metadata.name}{"."}{.metadata.namespace}{".svc.cluster.local"}{"\n"}{end}' 2>/dev/null | grep -v '^None' >dns/.new && ! cmp -s dns/.new dns/hosts && cp dns/.new dns/hosts
  sleep 1
done
SH
  chmod 700 dns.sh
  touch dns/hosts
  local upstream=()
  mapfile -t upstream < <(awk '/^nameserver/ {print "--server=" $2}' /etc/resolv.conf)
  daemon dns-sync ./dns.sh "$BIN/kubectl"
  daemon dns dnsmasq --keep-in-foreground --no-resolv --no-hosts --hostsdir="$RUN/dns" --local=/cluster.local/ \
    --listen-address=$NODE_IP --bind-interfaces --user=root --pid-file= "${upstream[@]}"
}

# --- stopping ---------------------------------------------------------------------------------------

stop_kubernetes() {
  local name
  for name in "${DAEMONS[@]}"; do stop "$name"; done
  docker ps -aq --filter label=io.kubernetes.pod.namespace 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
  awk -v run="$RUN/kubelet" 'index($2, run) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount 2>/dev/null || true
  rm -rf "$RUN/etcd" "$RUN/kubelet" "$RUN/dns"
}
