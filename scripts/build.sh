#!/usr/bin/env bash
# Builds xm as it is published: a static binary, the same from the same sources,
# wherever they lie. Its version is CHANGELOG.md's, or $VERSION.
#
#   build.sh [-o FILE]      FILE is xm, if none is named
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
out=xm
while getopts o: option; do
  case $option in
    o) out=$OPTARG ;;
    *) echo 'usage: build.sh [-o FILE]' >&2; exit 2 ;;
  esac
done
[[ $out == /* ]] || out=$PWD/$out

cd "$repo"
version=$(scripts/version.sh)
# Neither the directory nor the state of git is written into it. The tag leaves out
# what cli writes manuals with, which costs each start of xm a millisecond.
CGO_ENABLED=0 GOFLAGS='' go build -tags urfave_cli_no_docs -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X xm/commands.version=$version" -o "$out" .
