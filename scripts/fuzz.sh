#!/usr/bin/env bash
# Runs every fuzz target for a while: fuzz.sh [SECONDS], 10 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
count=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
while IFS=: read -r file target; do
  printf '== %s %s\n' "$(dirname "$file")" "$target"
  if ! go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -fuzzminimizetime 10x >"$log" 2>&1; then
    cat "$log"
    # Go's fuzzer now and then reports its own deadline as a failure. A real one
    # leaves an input behind.
    grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic|testdata/fuzz' "$log" || exit 1
  fi
  tail -2 "$log"
  count=$((count + 1))
done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sed 's/^\.\///; s/:func /:/' | sort)
[ "$count" -gt 0 ] || { echo 'fuzz.sh: no fuzz target was found' >&2; exit 1; }
printf '%d fuzz targets, %s s each\n' "$count" "$seconds"
