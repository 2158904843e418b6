#!/usr/bin/env bash
# Tries what is published: that it is the same wherever it is built, the package, its
# units, its manual and its completions; then, where this machine lets us make a
# system in a directory, the life of the package, the container and newcomer.sh.
# Needs debootstrap, lintian, mandoc, systemd's tools, curl and ip.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
. "$repo/scripts/package/lib.sh"
for tool in debootstrap lintian mandoc systemd-analyze systemd-socket-activate curl ip script; do
  command -v "$tool" >/dev/null || fail "$tool is missing"
done
unset VERSION GOARCH DEBFULLNAME DEBEMAIL

step 'two builds in different places'
SOURCE_DATE_EPOCH=$(stat -c %Y "$repo/CHANGELOG.md")
export SOURCE_DATE_EPOCH
build_packages
mkdir -p "$work/elsewhere/src" "$work/elsewhere/out" "$work/tmp"
tar -C "$repo" --exclude=./.git -c . | tar -C "$work/elsewhere/src" -x
again=$(umask 077 && TZ=Asia/Tokyo TMPDIR=$work/tmp "$work/elsewhere/src/scripts/package.sh" -o "$work/elsewhere/out")
for deb in "$old" "$again"; do dpkg-deb --extract "$deb" "${deb%/*}/extracted"; done
sha256sum "$work/"{,elsewhere/out/}extracted/usr/bin/xm "$old" "$again" | sed "s|$work/||"
cmp "$work/"{,elsewhere/out/}extracted/usr/bin/xm || fail 'the program depends on where it is built'
cmp "$old" "$again" || fail 'the package depends on where it is built'
[[ $(ldd "$work/extracted/usr/bin/xm" 2>&1 || true) == *'not a dynamic executable'* ]] || fail 'the program is not static'

step lintian
lintian --allow-root --fail-on error,warning "$old"

step units
system=$work/extracted # with systemd's own units, and the commands
cp -rn /lib/systemd/system "$system/lib/systemd/"
mkdir "$system/bin"
cp /bin/sh "$system/bin/"
units=$system/lib/systemd/system
(cd "$repo/scripts/systemd" && ls ./*.service ./*.socket) | while read -r unit; do
  cmp "$repo/scripts/systemd/$unit" "$units/$unit" || fail "$unit is not in the package"
  unit=${unit#./}
  ! grep -q '^Service=xm.service$' "$repo/scripts/systemd/$unit" || [ "$unit" = xm-acme.socket ] || [[ " $(setting xm.service Sockets) " == *" $unit "* ]] || fail "xm.service does not want $unit"
  systemd-analyze verify --root="$system" --man=no "/lib/systemd/system/$unit" || fail "systemd does not like $unit"
done
systemd-analyze security --offline=true --threshold=20 "$repo/scripts/systemd/xm.service" | tail -n 1

step 'manual and completions'
pages=(man1/xm.1 man5/xm.toml.5)
for page in "$repo"/commands/manual/*.txt; do pages+=("man7/xm-$(basename "$page" .txt).7"); done
for page in "${pages[@]}"; do
  file=$work/${page##*/} # its section is a part of the name
  gzip -cd "$system/usr/share/man/$page.gz" >"$file"
  # A page has no date: it would be another each day.
  findings=$(mandoc -T lint -W warning "$file" | grep -v 'missing date' || true)
  [ -z "$findings" ] || fail "${page##*/}: $findings"
  [ "$(mandoc -T utf8 "$file" | wc -l)" -gt 50 ] || fail "${page##*/} is short"
done
bash -c ". $system/usr/share/bash-completion/completions/xm && complete -p xm" >/dev/null
grep -q '^#compdef xm' "$system/usr/share/zsh/vendor-completions/_xm"
grep -q '^complete -c xm ' "$system/usr/share/fish/vendor_completions.d/xm.fish"

if ! permitted; then
  skip 'the life of the package, the container, newcomer.sh.'
  exit 0
fi
step 'the container'
separate "$repo/scripts/package/image.sh"
step 'a Debian system in a directory'
make_root
separate "$repo/scripts/package/lifecycle.sh" "$root" "$old" "$new"
step 'a newcomer'
separate "$repo/scripts/newcomer.sh" "$root" "$old" "$new"
