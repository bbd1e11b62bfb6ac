#!/usr/bin/env bash
# Runs every fuzz target of the project for a while.
#
#   hack/fuzz.sh [TIME]      per target, as for go test -fuzztime; default 20s
set -euo pipefail
cd "$(dirname "$0")/.."
count=0
while IFS=: read -r file line; do
  name="${line#func }"; name="${name%%(*}"
  echo "== $name in ${file%/*}"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "${1:-20s}" "./${file%/*}"
  count=$((count + 1))
done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' --exclude-dir=bin --exclude-dir=_run . | sed 's|^\./||' | sort)
echo "$count fuzz targets held"
