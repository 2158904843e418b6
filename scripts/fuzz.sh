#!/usr/bin/env bash
# Runs every fuzz target for a while, two at a time: fuzz.sh [SECONDS], 10 by
# default.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export seconds logs

# run PACKAGE TARGET: one target, which passes if no input made it fail.
run() {
  local log=$logs/${1//\//-}-$2
  if ! go test "./$1" -run '^$' -fuzz "^$2\$" -fuzztime "${seconds}s" -fuzzminimizetime 10x -parallel 1 >"$log" 2>&1; then
    # Go's fuzzer now and then reports its own deadline as a failure. A real one
    # leaves an input behind.
    if ! grep -q 'context deadline exceeded' "$log" || grep -qE 'Failing input|panic|testdata/fuzz' "$log"; then
      cat "$log"
      return 1
    fi
  fi
  printf '%-24s %-28s %s\n' "$1" "$2" "$(grep -o 'execs: [0-9]*' "$log" | tail -1)"
}
export -f run

grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sed 's/^\.\///; s/\/[^/]*:func / /' | sort -u >"$logs/targets"
[ -s "$logs/targets" ] || { echo 'fuzz.sh: no fuzz target was found' >&2; exit 1; }
xargs -P 2 -L 1 bash -c 'run "$@"' run <"$logs/targets"
printf '%d fuzz targets, %s s each\n' "$(wc -l <"$logs/targets")" "$seconds"
