#!/usr/bin/env bash
# Runs every fuzz target of the project for a while. What one finds is kept in testdata/fuzz beside its test and fails
# from then on in every go test: mend it and commit the input.
#
#   hack/fuzz.sh [TIME [PATTERN]]    TIME per target as for go test -fuzztime, default 1m; PATTERN is of targets' names
#
#   hack/fuzz.sh 10s                 a quick look at all of them
#   hack/fuzz.sh 1h 'Log|Timestamp'  a long one at two
set -euo pipefail
cd "$(dirname "$0")/.."
count=0 failed=()
while IFS=: read -r file line; do
  name="${line#func }"; name="${name%%(*}"
  [[ $name =~ ${2:-.} ]] || continue
  echo "== $name in ${file%/*}"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "${1:-1m}" "./${file%/*}" || failed+=("$name in ${file%/*}")
  count=$((count + 1))
done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' --exclude-dir=bin --exclude-dir=_run . | sed 's|^\./||' | sort)
if ((${#failed[@]})); then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "$count fuzz targets held"
