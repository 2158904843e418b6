#!/usr/bin/env bash
# Shows the whole system at work on this machine: a server, two users who
# register over the network, and an encrypted mail between them. Needs Go, and
# leaves nothing behind.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
server=

finish() {
  code=$?
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  [ "$code" = 0 ] || { printf '\ndemo.sh failed. The log of the server:\n' >&2; cat "$work/server.log" >&2 2>/dev/null || true; }
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
explain() { printf '%s\n' "$*" | tr '\n' ' ' | fold -s -w 80; printf '\n'; }
# run prints a command as one would type it, and runs it.
run() { printf '  $ %s\n' "${*@Q}" | sed "s/'\([A-Za-z0-9_.:\/=-]*\)'/\1/g"; "$@" 2>&1 | sed 's/^/    /'; }
die() { printf 'demo.sh: %s\n' "$*" >&2; exit 1; }

title '0. Building xm'
(cd "$repo" && go build -o "$work/xm" .)
cd "$work"
PATH=$work:$PATH
export XDG_CONFIG_HOME=$work/config # not yours
unset XM_CONFIG XM_KEYS

title '1. The server'
explain 'The server has a key pair of its own: registrations are encrypted for it. Then one
process serves SMTP, POP3 and registration, here on free ports of this machine.'
run xm --keys server keygen
printf '  $ xm --keys server --data data serve &\n'
xm --keys server --data data serve --listen smtp=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0 2>server.log &
server=$!
port() { sed -n "s/.*msg=listening service=$1 addr=127.0.0.1:\([0-9]*\).*/\1/p" server.log; }
for _ in $(seq 100); do
  [ -n "$(port regd)" ] && break
  kill -0 "$server" 2>/dev/null || die 'the server did not start'
  sleep 0.1
done
smtp=$(port smtp) pop3=$(port pop3) regd=$(port regd)
[ -n "$smtp" ] && [ -n "$pop3" ] && [ -n "$regd" ] || die 'the server does not listen'
printf '    SMTP on port %s, POP3 on %s, registration on %s\n' "$smtp" "$pop3" "$regd"

title '2. Alice and Bob register, over the network'
explain 'Each gets a key pair, and compares the fingerprint of the server key with the one
that the operator gave them. What goes to the server, encrypted for it, is the name, what
it needs to check a password, and the public key; not the password.'
printf '  $ fingerprint=$(xm --keys server key list | sed "s/^key *//")\n'
fingerprint=$(xm --keys server key list | sed 's/^key *//')
for name in alice bob; do
  (umask 077; echo "$name-secret" >"$name.password")
  run xm --keys "$name" register --server "127.0.0.1:$regd" --server-key "$fingerprint" --password-file "$name.password" "$name"
done
run xm --data data user list

title '3. Alice sends Bob an encrypted mail'
explain 'The key of Bob comes from the server, signed with its key.'
message='Meet me at the bridge at nine.'
run xm --keys alice send --user alice --smtp "127.0.0.1:$smtp" bob "$message"

title "4. What lies on the server's disk"
explain 'Bob has a Maildir below the data directory. The message in it is signed and
encrypted; the server can read who wrote to whom, and when, and nothing else.'
stored=(data/bob/new/*)
printf '  $ cat %s\n' "${stored[0]}"
sed 's/^/    /' "${stored[0]}" | head -30
printf '    [...]\n'
if grep -rq bridge data; then die 'the text lies on the disk in clear'; fi

title '5. Bob fetches, verifies and decrypts it'
explain 'He compares the fingerprint of her key with the one that she reads to him.'
run xm --keys bob key fetch alice
run xm --keys bob key verify alice --fingerprint "$(xm --keys alice key list | sed -n 's/^key *//p')"
run xm --keys bob inbox --user bob --password-file bob.password --pop3 "127.0.0.1:$pop3"
printf '  $ xm --keys bob read --user bob --password-file bob.password 1\n'
text=$(xm --keys bob read --user bob --password-file bob.password --pop3 "127.0.0.1:$pop3" 1 2>signed)
sed 's/^/    /' signed
sed 's/^/    /' <<<"$text"
# The headers that came encrypted, an empty line, and the text.
[ "${text#*$'\n\n'}" = "$message" ] || die "Bob reads something else: $text"

title '6. The server stops'
kill -TERM "$server"
wait "$server" || die "the server ended with exit code $?"
server=
explain 'Done: from a key pair to a decrypted mail.'
