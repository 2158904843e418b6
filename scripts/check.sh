#!/usr/bin/env bash
# The checks that every change must pass: format, vet, staticcheck, known
# vulnerabilities, the import rules, and the tests under the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '== %s\n' "$*"; }
fail() { printf 'check.sh: %s\n' "$*" >&2; exit 1; }

step gofmt
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || fail "gofmt would change: $unformatted"

step go vet
go vet ./...
GOARCH=arm CGO_ENABLED=0 go vet ./... # where an int has 32 bits

step staticcheck
go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

step govulncheck
# Where its database can't be reached, and for no other reason, it is left out.
skipped=''
code=0
found=$(go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./... 2>&1) || code=$?
printf '%s\n' "$found"
if [ "$code" != 0 ]; then
  grep -q '^govulncheck: fetching vulnerabilities: Get "https://vuln\.go\.dev/' <<<"$found" || fail 'govulncheck'
  skipped='SKIPPED govulncheck: vuln.go.dev can not be reached from here'
  printf '== %s\n' "$skipped"
fi

step imports
# What each package may import of this module. Imports point downwards only, and
# smtpd and pop3d know neither each other nor a store.
rules='
xm                       commands
xm/commands              *
xm/hybrid
xm/smtpd                 internal/line internal/sasl
xm/pop3d                 internal/line internal/sasl
xm/userdb                internal/disk internal/safefile
xm/userdb/regd           hybrid internal/line internal/regwire internal/sasl userdb
xm/internal/acme         internal/disk internal/line internal/safefile
xm/internal/config       internal/disk internal/safefile
xm/internal/keyring      hybrid internal/disk internal/safefile
xm/internal/line
xm/internal/line/linetest
xm/internal/maildir      internal/disk internal/safefile
xm/internal/mailclient   internal/line internal/sasl
xm/internal/message
xm/internal/metrics      internal/line internal/sasl
xm/internal/regclient    hybrid internal/regwire
xm/internal/regwire      hybrid
xm/internal/mbox
xm/internal/disk
xm/internal/disk/disktest internal/disk
xm/internal/safefile     internal/disk
xm/internal/sasl
xm/internal/trace
xm/scripts/crash
xm/scripts/load
xm/scripts/nosync
xm/scripts/regtool       hybrid
'
go list -f '{{.ImportPath}}{{range .Imports}} {{.}}{{end}}' ./... | while read -r pkg imports; do
  rule=$(awk -v p="$pkg" '$1 == p {$1 = ""; print "yes" $0}' <<<"$rules")
  [ -n "$rule" ] || fail "no import rule for $pkg: add one to check.sh"
  for import in $imports; do
    case "$import" in
      xm/*) [[ " $rule " == *" * "* || " $rule " == *" ${import#xm/} "* ]] || fail "$pkg may not import $import" ;;
      github.com/BurntSushi/toml*) [ "$pkg" = xm/internal/config ] || fail "$pkg may not import $import" ;;
      github.com/prometheus/*) [ "$pkg" = xm/internal/metrics ] || fail "$pkg may not import $import" ;;
      golang.org/x/crypto/*) [ "$pkg" = xm/internal/acme ] || fail "$pkg may not import $import" ;;
      github.com/urfave/*|golang.org/x/term*) [ "$pkg" = xm/commands ] || fail "$pkg may not import $import" ;;
    esac
  done
done
for pkg in hybrid internal/line internal/mbox internal/disk internal/safefile; do
  outside=$(go list -deps -f '{{if not .Standard}}{{.ImportPath}}{{end}}' "./$pkg" | grep -vxE "xm/$pkg|xm/internal/disk|golang.org/x/sys/unix" || true)
  [ -z "$outside" ] || fail "$pkg may use the standard library and system calls alone, not $outside"
done
grep -rnE 'os\.Exit|log\.Fatal' --include='*.go' --exclude='*_test.go' . | grep -vE '^\./(main\.go|scripts/)' && fail 'only main.go ends the process' || true
[ "$(wc -l < main.go)" -lt 30 ] || fail 'main.go has 30 lines or more'

step go test -race
go test -race -short ./...
[ -z "$skipped" ] || printf '== %s\n' "$skipped"
