# Signet. `make` lists the targets. Needed: Go, make and git; everything else is built from pinned sources.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

# The version is given to the linker, so the compiler need not ask git (which refuses in a checkout of another user).
export GOFLAGS := $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD   := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
# The race detector needs a C compiler; without one the tests run without it and say so.
RACE    := $(if $(shell command -v gcc || command -v cc),-race,)
# Where the image is meant to be pushed; `make image` itself only writes a file.
IMAGE   ?= ghcr.io/signet-policy/signet
# How long `make fuzz` spends on each target.
FUZZTIME ?= 1m

##@ Try it
demo: demo-tools build ## The whole lab against a real API server, every outcome checked (under 1 min; the first time 15 min)
	@go build -o bin/demo ./hack/demo
	@bin/demo demo

run: demo-tools build ## The same playground, left running in the background (15 s)
	@go build -o bin/demo ./hack/demo
	@bin/demo run

stop: ## End what `make run` started (2 s)
	@go build -o bin/demo ./hack/demo
	@bin/demo stop

node: ## Install in a cluster whose nodes are real, and what happens to one; as root on Debian (5 min; the first time 25 min)
	@go build -o bin/node ./hack/node
	@bin/node able
	@hack/build-tools.sh kube-apiserver etcd kubectl kube-controller-manager cosign rekor-server kubelet kube-proxy kube-scheduler
	@CGO_ENABLED=0 go build -ldflags '-s -w' -o bin/ncat ./hack/node/ncat
	@$(MAKE) image
	@bin/node check

##@ Develop
build: ## bin/signet, one static binary (2 min cold, seconds after)
	@$(BUILD) -o bin/signet .

test: tools ## Everything: formatting, vet, generated files, unit and integration tests (17 min; the first time 50 min)
	@echo "== formatting and vet (1 min when nothing is cached)"
	@hack/verify-format.sh
	@go vet ./...
	@echo "== generated files"
	@hack/verify-generated.sh
	@echo "== unit and integration tests, with a real API server$(if $(RACE), and the race detector,; no C compiler here: WITHOUT the race detector) (16 min; 25 when nothing is cached)"
	@go test $(RACE) -timeout 45m ./...

generate: ## Rewrite deepcopy code, CRDs and roles from the Go sources (20 s)
	@hack/generate.sh

verify: tools ## Are the generated files up to date? (20 s)
	@hack/verify-format.sh
	@hack/verify-generated.sh

lint: ## golangci-lint when it is installed, else formatting and vet (1 min)
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; \
	else echo "golangci-lint is not installed: formatting and vet only"; hack/verify-format.sh; go vet ./...; fi

bench: ## Benchmarks with allocations (3 min)
	@go test -run '^$$' -bench . -benchmem ./...

fuzz: ## Every fuzz target for FUZZTIME, a minute each: for the night (hack/fuzz.sh 10s is the quick look)
	@hack/fuzz.sh $(FUZZTIME)

tools: ## The pinned kube-apiserver, etcd, kubectl, cosign, Fulcio, Rekor, generators in bin/tools (once, 20 min on two cores)
	@hack/build-tools.sh

# What the playground needs of them.
demo-tools:
	@hack/build-tools.sh kube-apiserver etcd kubectl kube-controller-manager cosign rekor-server

clean: stop ## Remove what was built and run, but not bin/tools
	@rm -rf _run bin/signet bin/demo bin/node bin/ncat bin/image

##@ Ship
image: ## The container image for amd64 and arm64 as an OCI archive, reproducible, without a container engine (3 min)
	@mkdir -p bin/image
	@for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(BUILD) -o bin/image/signet-linux-$$arch .; done
	@go run ./hack/image --version='$(VERSION)' --name='$(IMAGE):$(VERSION)' --output=bin/image/signet.oci.tar \
		amd64=bin/image/signet-linux-amd64 arm64=bin/image/signet-linux-arm64

install: ## Apply config/default to the cluster of your KUBECONFIG (10 s)
	@kubectl="$$(command -v kubectl || echo bin/tools/kubectl)"; "$$kubectl" apply --server-side -k config/default

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo demo-tools run stop node build test generate verify lint bench fuzz tools clean image install help
