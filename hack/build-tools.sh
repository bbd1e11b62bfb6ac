#!/usr/bin/env bash
# Builds the pinned tools of hack/tools and hack/tools-sigstore into bin/tools, each only when it is missing or its
# pins changed.
# With KUBEBUILDER_ASSETS set, etcd, kube-apiserver and kubectl are taken from there instead.
#
#   hack/build-tools.sh [NAME ...]      default: everything the demo, the tests and the generators need; `make node` names
#                                       kubelet, kube-proxy and kube-scheduler, which nothing else needs
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
out="$root/bin/tools"
mkdir -p "$out"

version() { (cd "$root/hack/tools" && go list -m -f '{{.Version}}' "$1"); }

# The module that pins a tool. Fulcio's needs a module of its own: `go mod tidy` wants, for tests of Fulcio, modules that
# are not on every proxy, so there it is `go mod tidy -e`.
module() {
  case "$1" in
    fulcio|rekor-v1-server|timestamp-server|trillian-memory) echo hack/tools-sigstore ;;
    *)                                                       echo hack/tools ;;
  esac
}

# The stamp names everything that decides what a tool is: the pins, this script, the compiler and our own sources.
stamp() {
  local m; m="$(module "$1")"
  cat "$m/go.mod" "$m/go.sum" hack/build-tools.sh <(go version) $(find "$m" -name '*.go' | LC_ALL=C sort) | sha256sum | cut -c1-16
}

package() {
  case "$1" in
    etcd)                    echo go.etcd.io/etcd/server/v3 ;;
    kube-apiserver|kube-controller-manager|kubectl|kubelet|kube-proxy|kube-scheduler) echo "k8s.io/kubernetes/cmd/$1" ;;
    cosign)                  echo github.com/sigstore/cosign/v3/cmd/cosign ;;
    rekor-server)            echo github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix ;;
    controller-gen)          echo sigs.k8s.io/controller-tools/cmd/controller-gen ;;
    fulcio)                  echo github.com/sigstore/fulcio ;;
    rekor-v1-server)         echo github.com/sigstore/rekor/cmd/rekor-server ;;
    timestamp-server)        echo ./timestamp-server ;;
    trillian-memory)         echo ./trillian-memory ;;
    *) echo "unknown tool: $1" >&2; return 1 ;;
  esac
}

# What a cold build took on two cores, in minutes, after the tools before it in this list.
minutes() {
  case "$1" in kube-apiserver) echo 5 ;; cosign) echo 5 ;; fulcio|rekor-v1-server) echo 3 ;; *) echo 1 ;; esac
}

ldflags() {
  case "$1" in
    kube*)
      local v; v="$(version k8s.io/kubernetes)"
      local p flags="-s -w"
      for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $p.gitVersion=$v -X $p.gitMajor=$(cut -d. -f1 <<<"${v#v}") -X $p.gitMinor=$(cut -d. -f2 <<<"$v") -X $p.gitTreeState=clean"
      done
      echo "$flags" ;;
    cosign)
      echo "-s -w -X sigs.k8s.io/release-utils/version.gitVersion=$(version github.com/sigstore/cosign/v3) -X sigs.k8s.io/release-utils/version.gitTreeState=clean" ;;
    *) echo "-s -w" ;;
  esac
}

tools=("$@")
[ $# -gt 0 ] || tools=(kube-apiserver etcd kubectl kube-controller-manager cosign rekor-server controller-gen
  timestamp-server fulcio rekor-v1-server trillian-memory)

for t in "${tools[@]}"; do
  case "$t" in
    etcd|kube-apiserver|kubectl)
      if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
        [ -x "$KUBEBUILDER_ASSETS/$t" ] || { echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no $t" >&2; exit 1; }
        ln -sf "$KUBEBUILDER_ASSETS/$t" "$out/$t"; rm -f "$out/.$t.stamp"
        continue
      fi ;;
  esac
  stamp="$(stamp "$t")"
  if [ -x "$out/$t" ] && [ "$(cat "$out/.$t.stamp" 2>/dev/null)" = "$stamp" ]; then continue; fi
  echo "building $t (once; about $(minutes "$t") min on two cores when nothing is cached)"
  (cd "$root/$(module "$t")" && CGO_ENABLED=0 GOFLAGS= go build -mod=readonly -buildvcs=false -trimpath -ldflags "$(ldflags "$t")" -o "$out/.$t.new" "$(package "$t")")
  mv "$out/.$t.new" "$out/$t"
  echo "$stamp" > "$out/.$t.stamp"
done
