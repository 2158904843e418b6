#!/usr/bin/env bash
# The life of the package in a system that package-test.sh made: installed, upgraded,
# removed and purged, with settings and mail in it.
#
#   lifecycle.sh ROOT OLD.deb NEW.deb     in namespaces of its own
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
root=$1 old=$2 new=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$repo/scripts/package/lib.sh"

dpkg() { as root dpkg "$@" </dev/null >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; fail "dpkg $* failed"; }; }
install() { cp "$1" "$root/root/" && dpkg --install "/root/${1##*/}"; }
# files: those of the system, but for logs, caches, locks and what dpkg keeps.
files() {
  find "$root" -xdev -printf '/%P %u %m\n' |
    grep -vE '^/(proc|run|tmp|root|var/(log|cache|backups|lib/dpkg))|^/etc/([^ ]*-|\.pwd\.lock) ' | sort
}
xm_owns() { [ "$(stat -c %u "$root$1")" = "$(as root id -u xm)" ] || fail "$1 is not xm's"; }
enabled() { [ -L "$root/etc/systemd/system/$1" ]; }

# healthy: the service answers on all ports, and takes a message for alice.
healthy() {
  local messages
  messages=$(find "$root/var/lib/xm/data" -path '*/new/*' | wc -l)
  start_service
  printf 'Subject: %s\r\n\r\nHello.\r\n' "$1" |
    curl -sS smtp://192.0.2.25:25 --mail-from somebody@example.net --mail-rcpt alice@example.org -T - || fail "no mail is taken: $(cat "$work/xm.log")"
  as xm xm doctor >"$work/doctor" || { cat "$work/doctor" >&2; fail 'xm doctor finds a problem'; }
  for service in smtp submission submissions pop3 pop3s regd; do
    grep -q "^ok *$service:" "$work/doctor" || { cat "$work/doctor" >&2; fail "$service does not answer"; }
  done
  # The service is of the unit's user, and what it writes is nobody else's.
  [ "$(awk '/^Uid/ {print $2}' "/proc/$server/status")" = "$(as root id -u xm)" ] || fail 'xm serve is not the user xm'
  stop_service
  [ "$(find "$root/var/lib/xm/data" -path '*/new/*' -user "$(as root id -u xm)" -perm 600 | wc -l)" = $((messages + 1)) ] || fail 'the message is not in the maildrop'
}

network
files >"$work/before"

step install
install "$old"
as root dpkg --verify xm
[ "$(as root getent passwd xm | cut -d : -f 6,7)" = /var/lib/xm:/usr/sbin/nologin ] || fail 'the user xm is not as it should be'
[ "$(stat -c %a "$root/var/lib/xm")" = 700 ] && xm_owns /var/lib/xm || fail '/var/lib/xm is not private'
[ ! -e "$root/etc/xm" ] || fail 'the package made settings'
for unit in "$repo"/scripts/systemd/*.socket; do
  enabled "sockets.target.wants/${unit##*/}" || fail "${unit##*/} is not enabled"
done
enabled multi-user.target.wants/xm.service || fail 'xm.service is not enabled'
as root env DPKG_MAINTSCRIPT_PACKAGE=xm /var/lib/dpkg/info/xm.postinst configure 0 >/dev/null
as root bash -c '. /usr/share/bash-completion/completions/xm && complete -p xm' >/dev/null

step 'settings and mail'
as root xm init --system --hostname mail.example.org --domain example.org --postmaster alice@example.org >/dev/null
echo secret | as root xm user add --password-file - alice@example.org 2>/dev/null
[ -z "$(find "$root/var/lib/xm" ! -user "$(as root id -u xm)")" ] || fail 'something in /var/lib/xm is not the service'"'"'s'
healthy first
echo '# edited' >>"$root/etc/xm/xm.toml"
as root rm /etc/systemd/system/sockets.target.wants/xm-pop3.socket # systemctl disable
cp "$root/etc/xm/xm.toml" "$work/edited"
kept() {
  cmp "$root/etc/xm/xm.toml" "$work/edited" || fail "$1 changed xm.toml"
  ! enabled sockets.target.wants/xm-pop3.socket || fail "$1 enabled what was disabled"
  [ "$(grep -rl --exclude=.journal Hello "$root/var/lib/xm/data" | wc -l)" = "$2" ] || fail "$1 lost mail"
}

step upgrade
install "$new"
[[ "$(as root xm --version)" == *+next ]] || fail 'the program is the old one'
kept 'the upgrade' 1
healthy second

step 'reinstall, downgrade'
install "$new"
install "$old"
kept 'the downgrade' 2

step 'remove, install'
dpkg --remove xm
[ ! -e "$root/usr/bin/xm" ] || fail 'the program is left'
kept 'the removal' 2
install "$old"
kept 'the installation' 2
healthy third

step purge
echo mine >"$root/etc/xm/fullchain.pem"
dpkg --purge xm
grep -q 'kept in /var/lib/xm' "$work/dpkg.log" || fail 'purge does not say what is left'
[ ! -e "$root/etc/xm/xm.toml" ] && [ -e "$root/etc/xm/fullchain.pem" ] || fail '/etc/xm is not as it should be'
[ "$(grep -rl --exclude=.journal Hello "$root/var/lib/xm/data" | wc -l)" = 3 ] && xm_owns /var/lib/xm || fail 'purge lost mail'

step 'purge, where there is nothing to keep'
rm -r "$root/var/lib/xm" "$root/etc/xm"
install "$old"
dpkg --purge xm
! as root getent passwd xm >/dev/null || fail 'the user xm is left'
files >"$work/after"
diff "$work/before" "$work/after" || fail 'files are left'
