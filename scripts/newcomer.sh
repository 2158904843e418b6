#!/usr/bin/env bash
# Does what xm-guide(7) says, word by word, in a small Debian system with the
# package: from nothing to two users with encrypted mail between them over TLS, a
# backup that is restored, an upgrade, and the end.
#
#   newcomer.sh                        makes the system and the packages first
#   newcomer.sh ROOT OLD.deb NEW.deb   in namespaces of its own
#
# In the guide, VERSION and NEWER stand for the packages' versions, CODE for what
# "xm user invite" printed, SHA256 for what "xm doctor" did. systemctl's part is
# played by package/lib.sh, and the terminal's by script(1).
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=${1:-$work/root}
. "$repo/scripts/package/lib.sh"
if [ $# = 0 ]; then
  permitted || { skip 'newcomer.sh, which needs a system in a directory.'; exit 0; }
  build_packages
  make_root
  separate "$0" "$root" "$old" "$new"
  exit
fi
old=$2 new=$3

systemctl() {
  case "$*" in
    'enable --now xm') command systemctl --root="$root" enable xm && start_service ;;
    'mask --now '*) command systemctl --root="$root" mask "$3" ;; # and the service starts again
    'restart xm') stop_service && start_service ;;
    'reload xm') kill -HUP "$server" ;;
    *) fail "the guide says systemctl $*, which is not known here" ;;
  esac
}

# answers COMMAND: what a person types when it asks.
answers() {
  case $1 in
    *register*) printf '%s\n' yes secret secret ;;
    *verify*) echo yes ;;
    *login* | *send* | *inbox* | *read*) echo secret ;;
    'apt remove'* | 'apt purge'*) echo y ;;
    *reply*) printf '%s\n' secret secret ;; # of POP3 and of SMTP
  esac
}

# person NAME COMMAND: on a terminal.
person() {
  answers "$2" | chroot_command=$2 name=$1 script -qec '
    chroot --userspec="$name:$name" "$root" env -i HOME="/home/$name" TERM=dumb PAGER=cat LC_ALL=C.UTF-8 \
      PATH=/usr/bin:/bin bash -c "cd && $chroot_command"' /dev/null | tr -d '\r'
}
export root

# operator COMMAND: what root types.
operator() {
  case $1 in
    'systemctl '*) eval "$1" ;;
    'journalctl -u xm') cat "$work/xm.log" ;;
    *) answers "$1" | as root bash -c "cd && $1" ;;
  esac
}

# before COMMAND: what happens in the world before it is typed.
before() {
  case $1 in
    *' restore '*) # a new machine
      stop_service
      rm -r "$root/etc/xm" "$root"/var/lib/xm/*
      ;;
    'apt remove'*) stop_service ;; # as prerm asks systemd to
  esac
}

# expect TEXT...: each was printed by the last command.
expect() {
  local text
  for text in "$@"; do
    grep -qF -- "$text" "$work/printed" || { cat "$work/printed" >&2; fail "it does not print: $text"; }
  done
}

# after WHO COMMAND: what must have come of it.
after() {
  case $2 in
    'xm init'*) expect "server's key" ;;
    *' doctor')
      expect 'ok       smtp: ' 'ok       submissions: ' 'ok       pop3s: ' 'ok       regd: '
      sha256=$(sed -n 's/.*--tls-fingerprint \([0-9a-f]*\).*/\1/p' "$work/printed")
      ;;
    *'--dns') expect 'MX   10 mail.example.org.' 'A    192.0.2.25' ;;
    'systemctl restart xm')
      ! curl -s --max-time 10 pop3://192.0.2.25:110 >/dev/null || fail 'what is masked is served'
      if [ -s "$root/home/bob/key.priv" ]; then # after the restore
        person bob 'xm read 1' >"$work/printed"
        expect 'At nine, at the bridge.'
      fi
      ;;
    'journalctl'*) expect 'msg=listening' ;;
    'xm user invite'*) codes+=("$(tail -n 1 "$work/printed")") ;;
    *'key list') key=$(sed -n 's/^key *//p' "$work/printed") ;;
    'xm register'*) expect "$key" 'registered' ;;
    'xm login'*)
      expect 'SMTP mail.example.org:465, POP3 mail.example.org:995'
      ! person "$1" "${2/$sha256/${sha256//[0-9]/0}}" >/dev/null || fail 'another certificate is taken'
      ;;
    'xm send'*) ! grep -rq bridge "$root/var/lib/xm" || fail 'the server can read it' ;;
    'xm key show key') alice_key=$(grep -oE '([0-9a-f]{4} ){15}[0-9a-f]{4}' "$work/printed") ;;
    'xm inbox') expect 'alice@example.org' 'Plans' 'verified' ;;
    'xm key verify'*) expect "$alice_key" ;;
    'xm read 1')
      if [ "$1" = bob ]; then expect 'At nine, at the bridge.'; else expect 'I will be there.'; fi
      ;;
    "apt install ./${new##*/}") [[ $(as root xm --version) == *+next ]] || fail 'the program is the old one' ;;
    'apt purge xm')
      expect 'kept in /var/lib/xm'
      [ ! -e "$root/etc/xm" ] && [ -e "$root/var/lib/xm/data/users.txt" ] || fail 'purge did not what the guide says'
      ;;
  esac
}

# type WHO COMMAND
type_it() {
  local who=$1 command=$2
  command=${command/xm_VERSION_amd64.deb/${old##*/}}
  command=${command/xm_NEWER_amd64.deb/${new##*/}}
  command=${command/SHA256/${sha256:-SHA256}}
  if [[ $command == *CODE* ]]; then
    command=${command/CODE/${codes[0]}}
    codes=("${codes[@]:1}")
  fi
  printf '%s %s\n' "$who" "$command"
  before "$command"
  local run=(person "$who")
  [ "$who" != root ] || run=(operator)
  "${run[@]}" "$command" >"$work/printed" 2>&1 </dev/null || { cat "$work/printed" "$work/xm.log" >&2; fail 'that failed'; }
  after "$who" "$command" || fail "that did not do what it should"
  commands=$((commands + 1))
}

network
cp "$old" "$new" "$root/root/"
for name in alice bob; do as root useradd --create-home --shell /bin/bash "$name"; done
codes=() commands=0
while IFS= read -r line; do
  case $line in
    '    # '*) type_it root "${line#'    # '}" ;;
    '    '*'$ '*) who=${line%%'$ '*}; type_it "${who//' '/}" "${line#*'$ '}" ;;
  esac
done <"$repo/commands/manual/guide.txt"
[ "$commands" -gt 30 ] || fail "the guide has $commands commands alone"
printf 'newcomer.sh: %d commands of the guide did what it says\n' "$commands"
