#!/usr/bin/env bash
# Prints the version to be built: $VERSION, or else that of CHANGELOG.md's first
# heading. A commit that is tagged is built under its tag's name, or not at all.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${VERSION:-$(sed -n 's/^## \([^ ,]*\).*/\1/p' CHANGELOG.md | head -n 1)}
# What a Debian package without a revision may have: deb-version(7).
[[ $version =~ ^[0-9][0-9A-Za-z.+~]*$ ]] || { echo "version.sh: \"$version\" is no version" >&2; exit 1; }
tags=$(git tag --points-at HEAD --list 'v[0-9]*' 2>/dev/null || true) # none outside a checkout
if [ -z "${VERSION:-}" ] && [ -n "$tags" ] && ! grep -qxF "v$version" <<<"$tags"; then
  printf 'version.sh: the commit is tagged %s, and CHANGELOG.md says %s\n' "$tags" "$version" >&2
  exit 1
fi
echo "$version"
