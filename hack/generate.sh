#!/usr/bin/env bash
# Writes everything that is generated from the Go sources: deepcopy code and resource definitions.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/build-tools.sh controller-gen

generate() { bin/tools/controller-gen "$@"; }

generate paths=./api/... object:headerFile=hack/boilerplate.go.txt

# A definition stays small enough for client-side kubectl apply, which keeps a copy of it in an annotation of at most
# 256 KiB; hence short descriptions of the types that come from elsewhere.
generate paths=./api/... crd:maxDescLen=240 output:crd:dir=config/crd/bases
