#!/usr/bin/env bash
# Builds the pinned tools of hack/tools into bin/tools, each only when it is missing or its pins changed.
# With KUBEBUILDER_ASSETS set, etcd, kube-apiserver and kubectl are taken from there instead.
#
#   hack/build-tools.sh [NAME ...]      default: everything the demo, the tests and the generators need
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
out="$root/bin/tools"
mkdir -p "$out"

version() { (cd "$root/hack/tools" && go list -m -f '{{.Version}}' "$1"); }
# The stamp names everything that decides what a tool is: the pins, this script and the compiler.
stamp="$(cat hack/tools/go.mod hack/tools/go.sum hack/build-tools.sh <(go version) | sha256sum | cut -c1-16)"

package() {
  case "$1" in
    etcd)                    echo go.etcd.io/etcd/server/v3 ;;
    kube-apiserver|kube-controller-manager|kubectl) echo "k8s.io/kubernetes/cmd/$1" ;;
    cosign)                  echo github.com/sigstore/cosign/v3/cmd/cosign ;;
    rekor-server)            echo github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix ;;
    controller-gen)          echo sigs.k8s.io/controller-tools/cmd/controller-gen ;;
    *) echo "unknown tool: $1" >&2; return 1 ;;
  esac
}

# What a cold build took on two cores, in minutes, after the tools before it in this list.
minutes() {
  case "$1" in kube-apiserver) echo 5 ;; cosign) echo 5 ;; *) echo 1 ;; esac
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
[ $# -gt 0 ] || tools=(kube-apiserver etcd kubectl kube-controller-manager cosign rekor-server controller-gen)

for t in "${tools[@]}"; do
  case "$t" in
    etcd|kube-apiserver|kubectl)
      if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
        [ -x "$KUBEBUILDER_ASSETS/$t" ] || { echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no $t" >&2; exit 1; }
        ln -sf "$KUBEBUILDER_ASSETS/$t" "$out/$t"; rm -f "$out/.$t.stamp"
        continue
      fi ;;
  esac
  if [ -x "$out/$t" ] && [ "$(cat "$out/.$t.stamp" 2>/dev/null)" = "$stamp" ]; then continue; fi
  echo "building $t (once; about $(minutes "$t") min on two cores when nothing is cached)"
  rm -f "$out/$t"
  (cd "$root/hack/tools" && CGO_ENABLED=0 GOFLAGS= go build -mod=readonly -buildvcs=false -trimpath -ldflags "$(ldflags "$t")" -o "$out/$t" "$(package "$t")")
  echo "$stamp" > "$out/.$t.stamp"
done
