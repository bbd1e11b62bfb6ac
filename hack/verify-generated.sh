#!/usr/bin/env bash
# Fails when a generated file differs from what hack/generate.sh writes now. Works on a copy: nothing here is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
tar --exclude=./bin --exclude=./_run --exclude=./.git -cf - . | tar -xf - -C "$copy"
ln -s "$PWD/bin" "$copy/bin" # the tools are not built twice
(cd "$copy" && hack/generate.sh)
if ! diff -r --brief --exclude=bin --exclude=_run --exclude=.git . "$copy"; then
  echo "generated files are not up to date: run \`make generate\` and commit what it writes" >&2
  exit 1
fi
