#!/usr/bin/env bash
# Builds the Debian package, xm_VERSION_ARCH.deb, the same from the same sources:
#
#   package.sh [-o DIR]     into DIR, else into the current directory
#
# $VERSION and $GOARCH choose others, $DEBFULLNAME and $DEBEMAIL the maintainer.
# Needs Go and dpkg-deb. The name of the package is printed.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
dir=.
while getopts o: option; do
  case $option in
    o) dir=$OPTARG ;;
    *) echo 'usage: package.sh [-o DIR]' >&2; exit 2 ;;
  esac
done
dir=$(cd "$dir" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
export LC_ALL=C.UTF-8 TZ=UTC

cd "$repo"
version=$(scripts/version.sh)
maintainer="${DEBFULLNAME:-xm maintainers} <${DEBEMAIL:-xm@packages.invalid}>"
# The time of all files: the commit's, or, without git, that of the sources.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
architecture() {
  case $1 in
    386) echo i386 ;;
    arm) echo armhf ;;
    ppc64le) echo ppc64el ;;
    *) echo "$1" ;;
  esac
}
arch=$(architecture "$(go env GOARCH)")
units=()
for unit in scripts/systemd/*.{service,socket}; do units+=("${unit##*/}"); done

# put MODE FILE...: standard input becomes each FILE of the package.
root=$work/root
put() { install -D -m "$1" /dev/stdin "$root/$2"; }

program() {
  scripts/build.sh -o "$work/xm"
  put 755 usr/bin/xm <"$work/xm"
  local xm=$work/xm
  if [ "$(go env GOARCH)" != "$(go env GOHOSTARCH)" ]; then # the manual is made by one that runs here
    xm=$work/native
    GOARCH='' scripts/build.sh -o "$xm"
  fi
  "$xm" man xm | gzip -n9 | put 644 usr/share/man/man1/xm.1.gz
  "$xm" man xm.toml | gzip -n9 | put 644 usr/share/man/man5/xm.toml.5.gz
  local page
  for page in commands/manual/*.txt; do
    page=$(basename "$page" .txt)
    "$xm" man "$page" | gzip -n9 | put 644 "usr/share/man/man7/xm-$page.7.gz"
  done
  "$xm" completion bash | put 644 usr/share/bash-completion/completions/xm
  "$xm" completion zsh | put 644 usr/share/zsh/vendor-completions/_xm
  "$xm" completion fish | put 644 usr/share/fish/vendor_completions.d/xm.fish
}

# copyright prints the licences of all that the program is linked from.
copyright() {
  printf 'xm, a small mail system with end-to-end encryption.\n\n'
  cat LICENSE
  printf '\n\nThe program contains the run-time system and the standard library of Go:\n\n'
  cat "$(go env GOROOT)/LICENSE"
  local module path texts
  CGO_ENABLED=0 go list -tags urfave_cli_no_docs -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' . | sort -u | while read -r module path; do
    printf '\n\nThe program contains %s:\n\n' "$module"
    texts=$(find "$path" -maxdepth 1 -type f '(' -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' ')' | sort)
    [ -n "$texts" ] || { echo "package.sh: $module has no licence" >&2; exit 1; }
    xargs cat <<<"$texts" | common
  done
}

# common names the two licences that Debian has on each machine, instead of
# repeating them: Debian policy, section 12.5.
common() {
  sed -e '/^ *GNU GENERAL PUBLIC LICENSE$/,$ c The GNU General Public License, version 2, is in /usr/share/common-licenses/GPL-2.' \
    -e '/^ *Apache License$/,$ c The Apache License, version 2.0, is in /usr/share/common-licenses/Apache-2.0.'
}

# changelog makes Debian's form of CHANGELOG.md: deb-changelog(5).
changelog() {
  local line of=$version when='' item=''
  item() {
    [ -z "$item" ] || fold -s -w 74 <<<"$item" | sed 's/ *$//; 1s/^/  * /; 2,$s/^/    /'
    item=$1
  }
  trailer() { item ''; printf '\n -- %s  %s\n' "$maintainer" "$(date -R -d "$when")"; }
  while IFS= read -r line; do
    case $line in
      '## '*)
        [ -z "$when" ] || { trailer; of=${line#'## '}; of=${of%%,*}; echo; }
        when=${line##*, }
        [ "$when" != unreleased ] || when=@$SOURCE_DATE_EPOCH
        printf 'xm (%s) unstable; urgency=medium\n\n' "$of"
        ;;
      '- '*) item "${line#- }" ;;
      '  '*) item+=" ${line#  }" ;;
    esac
  done <CHANGELOG.md
  trailer
}

# size is that of the files in KiB, each rounded up, and 1 for all else, on any file
# system: deb-substvars(5).
size() { find "$root" -printf '%y %s\n' | awk '{n += $1 == "f" ? int(($2 + 1023) / 1024) : 1} END {print n}'; }

# fill puts the package's values into a file of scripts/package.
fill() {
  sed -e "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@MAINTAINER@|$maintainer|" \
    -e "s|@SIZE@|$size|; s|@UNITS@|${units[*]}|" "scripts/package/$1"
}

program
for unit in "${units[@]}"; do put 644 "lib/systemd/system/$unit" <"scripts/systemd/$unit"; done
put 644 usr/share/doc/xm/examples/xm.toml <internal/config/reference.toml
put 644 usr/share/lintian/overrides/xm <<<'xm: statically-linked-binary [usr/bin/xm]' # as Go does
copyright | put 644 usr/share/doc/xm/copyright
changelog | gzip -n9 | put 644 usr/share/doc/xm/changelog.gz

size=$(size)
fill control | put 644 DEBIAN/control
for script in postinst prerm postrm; do fill "$script" | put 755 "DEBIAN/$script"; done
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | sort | xargs md5sum) | put 644 DEBIAN/md5sums

deb=$dir/xm_${version}_$arch.deb
# More threads, or another compressor, would make another file.
DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
echo "$deb"
