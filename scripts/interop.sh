#!/usr/bin/env bash
# Tries xm against other programs, over the loopback alone:
#
#   interop.sh [PART...]    all parts, in this order, if none is named
#
#   payloads   the formats of encryption and registration, read and written anew in Python
#   mail       SMTP in and POP3 out with other mail programs
#   keys       private keys, read and written by openssl
#   smtp       sending with TLS and AUTH: mail clients, libraries, Postfix
#   pop3       fetching, leaving and deleting with TLS: mail clients, libraries
#   replies    what xm and Postfix answer to odd input, side by side
#   client     the mail client, with Postfix and Dovecot, and with xm
#   terminal   the mail client on a terminal, driven by tmux
#   fail2ban   who has failed to log in, as fail2ban finds it in xm's log
#
# A program that is missing, or a part that ran no case, is a failure. Each part
# names the Debian packages that it needs; .ci/run installs all of them.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
parts=(payloads mail keys smtp pop3 replies client terminal fail2ban)
work=$(mktemp -d)
. "$repo/scripts/interop/lib.sh"
trap finish EXIT

if [ $# = 0 ]; then
  set -- "${parts[@]}"
fi
for part in "$@"; do
  [[ " ${parts[*]} " == *" $part "* ]] || { echo "usage: interop.sh [PART...], of ${parts[*]}" >&2; exit 2; }
done

(cd "$repo" && go build -o "$work/xm" . && go build -o "$work/regtool" ./scripts/regtool)
PATH=$work:$PATH
export XDG_CONFIG_HOME=$work/config
unset XM_CONFIG XM_KEYS
for part in "$@"; do
  mkdir "$work/$part"
  cd "$work/$part"
  . "$repo/scripts/interop/$part.sh"
  end_group
  stop_servers
done
printf '%d passed, %d failed\n' $((cases - failed)) "$failed"
[ "$failed" = 0 ]
