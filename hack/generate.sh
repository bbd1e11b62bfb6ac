#!/usr/bin/env bash
# Writes everything that is generated from the Go sources: deepcopy code and resource definitions.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/build-tools.sh controller-gen

generate() { bin/tools/controller-gen "$@"; }

generate paths=./api/... object:headerFile=hack/boilerplate.go.txt
generate paths=./api/... crd output:crd:dir=config/crd/bases
generate rbac:roleName=kyverno:admission-controller paths=./controllers/... output:rbac:dir=config/rbac
