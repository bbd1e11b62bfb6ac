#!/usr/bin/env bash
# Fails when a Go file is not formatted as gofmt does it.
set -euo pipefail
cd "$(dirname "$0")/.."
dirs=()
for entry in */ *.go; do
  case "$entry" in bin/|_run/|"*.go") ;; *) dirs+=("$entry") ;; esac
done
bad="$(gofmt -l "${dirs[@]}")"
if [ -n "$bad" ]; then
  printf 'not formatted (gofmt -w mends it):\n%s\n' "$bad" >&2
  exit 1
fi
