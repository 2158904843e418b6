# Fetching, leaving and deleting mail over TLS, with mail programs and libraries:
# every message octet for octet. Needs: openssl curl mpop getmail6 fetchmail
# s-nail mutt perl libio-socket-ssl-perl bsdutils.
need "$python" openssl curl mpop getmail fetchmail s-nail mutt perl script
perl -MIO::Socket::SSL -e1 || fatal "Perl's IO::Socket::SSL is missing"

here=$repo/scripts/interop
export LC_ALL=C.UTF-8 HOME=$PWD

certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
    -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1'
}
certificate >certificate.log 2>&1 || { cat certificate.log >&2; fatal 'openssl made no certificate'; }
cat >xm.toml <<'TOML'
hostname = "localhost"
[tls]
cert = "cert.pem"
key = "key.pem"
TOML
echo 'correct horse' >password
xm --data data user add --password-file password alice 2>/dev/null
serve server --data data --config xm.toml pop3d --listen pop3=127.0.0.1:0 --listen pop3s=127.0.0.1:0
pop3=$(port server pop3) pop3s=$(port server pop3s)
"$python" "$here/pop3.py" make messages

# refill: the maildrop holds the messages again, and nothing else.
refill() {
  rm -rf got data/alice && mkdir -p got/{cur,new,tmp} data/alice/{cur,new,tmp}
  local n=0 file
  for file in messages/*; do
    n=$((n + 1))
    cp "$file" "data/alice/new/170000000$n.M$n.interop"
  done
}
left() { ls data/alice/new data/alice/cur | grep -c interop || true; }
# fetched [mbox]: the directory "got", or the file "got/mbox", holds the messages.
fetched() { "$python" "$here/pop3.py" "${1:-files}" messages got; }
# leaves FORM COMMAND...: it fetches all, and leaves all on the server.
leaves() {
  refill && "${@:2}" && fetched "$1" && [ "$(left)" = 3 ]
}
# deletes FORM COMMAND...: it fetches all, and deletes all.
deletes() {
  refill && "${@:2}" && fetched "$1" && [ "$(left)" = 0 ]
}
# both NAME FORM COMMAND: COMMAND takes "leave" or "delete" as its last argument.
both() {
  check "$1, leaving" leaves "$2" "${@:3}" leave
  check "$1, deleting" deletes "$2" "${@:3}" delete
}
# wrong COMMAND...: it fails with a wrong password, and nothing is lost.
wrong() {
  refill
  echo 'wrong horse' >password
  local code=0
  "$@" leave || code=$?
  echo 'correct horse' >password
  [ "$code" != 0 ] && [ "$code" -lt 126 ] && [ "$(left)" = 3 ]
}

# What others give their messages to.
cat >deliver <<'SH'
#!/bin/sh
exec cat >"$(mktemp -p got/new)"
SH
chmod 700 deliver

group 'curl'
by_curl() { # by_curl OPTIONS URL leave|delete
  local n
  for n in 1 2 3; do
    curl -sS --cacert cert.pem $1 --user "alice:$(cat password)" "$2/$n" -o "got/new/$n" || return
  done
  [ "$3" = leave ] || for n in 1 2 3; do # each in a session: the next is then the first
    curl -sS --cacert cert.pem $1 --user "alice:$(cat password)" "$2/1" --head -X DELE || return
  done
}
for auth in '*' PLAIN $(curl -V | grep -qiw gsasl && echo SCRAM-SHA-256); do
  option="--login-options AUTH=$auth"
  both "curl, pop3s, $auth" files by_curl "$option" "pop3s://localhost:$pop3s"
  both "curl, STLS, $auth" files by_curl "--ssl-reqd $option" "pop3://localhost:$pop3"
  check "curl, $auth, wrong password" wrong by_curl "$option" "pop3s://localhost:$pop3s"
done

group 'mpop'
by_mpop() { # by_mpop STARTTLS PORT AUTH leave|delete
  cat >mpoprc <<RC
defaults
tls on
tls_starttls $1
tls_trust_file $PWD/cert.pem
received_header off
account xm
host localhost
port $2
user alice
passwordeval cat $PWD/password
auth $3
keep $([ "$4" = leave ] && echo on || echo off)
delivery maildir $PWD/got
uidls_file $PWD/uidls
RC
  chmod 600 mpoprc
  rm -f uidls
  mpop --quiet --file=mpoprc xm
}
for auth in user plain scram-sha-256; do
  both "mpop, TLS at once, $auth" files by_mpop off "$pop3s" "$auth"
  both "mpop, STLS, $auth" files by_mpop on "$pop3" "$auth"
  check "mpop, $auth, wrong password" wrong by_mpop on "$pop3" "$auth"
done
# What was left is not fetched again.
again() {
  by_mpop on "$pop3" plain leave && rm -f got/new/* && cp uidls uidls.kept && mpop --quiet --file=mpoprc xm && ! ls got/new/* 2>/dev/null
}
check 'mpop, the second time nothing is new' again

group 'getmail6'
by_getmail() { # by_getmail leave|delete
  mkdir -p getmail
  rm -f getmail/oldmail-*
  cat >getmail/rc <<RC
[retriever]
type = SimplePOP3SSLRetriever
server = localhost
port = $pop3s
username = alice
password = $(cat password)
ca_certs = $PWD/cert.pem
[destination]
type = MDA_external
path = $PWD/deliver
unixfrom = false
allow_root_commands = true
[options]
read_all = true
delete = $([ "$1" = delete ] && echo true || echo false)
delivered_to = false
received = false
RC
  getmail --quiet --getmaildir="$PWD/getmail" --rcfile=rc >getmail.log 2>&1
  cat getmail.log
  ! grep -qi error getmail.log
}
both 'getmail6, TLS at once' files by_getmail
check 'getmail6, wrong password' wrong by_getmail

group 'fetchmail'
by_fetchmail() { # by_fetchmail OPTIONS PORT leave|delete
  cat >fetchmailrc <<RC
set invisible
poll localhost protocol pop3 port $2 user alice password "$(cat password)" $1 sslcertck sslcertfile $PWD/cert.pem fetchall $([ "$3" = leave ] && echo keep || echo nokeep) mda "./deliver"
RC
  chmod 600 fetchmailrc
  fetchmail --nodetach --nosyslog --silent --fetchmailrc fetchmailrc --pidfile "$PWD/fetchmail.pid" --idfile "$PWD/fetchids"
}
both 'fetchmail, TLS at once' files by_fetchmail ssl "$pop3s"
both 'fetchmail, STLS' files by_fetchmail 'sslproto tls1.2+' "$pop3"
check 'fetchmail, wrong password' wrong by_fetchmail ssl "$pop3s"

group 's-nail'
by_nail() { # by_nail SCHEME PORT leave|delete
  { echo 'copy * got/mbox'; [ "$3" = leave ] && echo exit || printf 'delete *\nquit\n'; } |
    s-nail -:/ -# -S v15-compat -S tls-ca-file=cert.pem -S tls-ca-no-defaults -S tls-verify=strict -S pop3-use-starttls \
      -S pop3-auth=plain -f "$1://alice:$(sed 's/ /%20/g' password)@localhost:$2"
  [ -s got/mbox ]
}
both 's-nail, TLS at once' mbox by_nail pop3s "$pop3s"
both 's-nail, STLS' mbox by_nail pop3 "$pop3"
check 's-nail, wrong password' wrong by_nail pop3s "$pop3s"

group 'mutt'
by_mutt() { # by_mutt SCHEME PORT leave|delete
  cat >muttrc <<RC
set pop_user=alice pop_pass="$(cat password)" pop_authenticators="sasl:user" pop_delete=no
set certificate_file=$PWD/cert.pem ssl_force_tls=yes ssl_starttls=yes
set folder=got mbox_type=mbox auto_tag=yes confirmcreate=no confirmappend=no wait_key=no delete=yes move=no copy=no quit=yes header_cache="" message_cachedir=""
RC
  local end='<exit>'
  [ "$3" = leave ] || end='<delete-pattern>~A<enter><quit>'
  # It wants a terminal, whose input does not end.
  TERM=xterm timeout 60 script -qec "mutt -n -F muttrc -f $1://alice@localhost:$2 -e 'push <tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>got/mbox<enter>$end'" /dev/null < <(sleep 20)
  [ -s got/mbox ]
}
both 'mutt, TLS at once' mbox by_mutt pops "$pop3s"
both 'mutt, STLS' mbox by_mutt pop "$pop3"

group 'poplib'
by_poplib() { "$python" "$here/pop3.py" fetch got cert.pem password "$@"; }
both 'poplib, POP3_SSL' files by_poplib ssl "$pop3s"
both 'poplib, STLS' files by_poplib stls "$pop3"
both 'poplib, UTF8' files by_poplib utf8 "$pop3"
check 'poplib, wrong password' wrong by_poplib ssl "$pop3s"

group 'Net::POP3'
by_perl() { perl "$here/net_pop3_client.pl" got cert.pem password "$@"; }
both 'Net::POP3, SSL' files by_perl ssl "$pop3s"
both 'Net::POP3, STLS' files by_perl stls "$pop3"
check 'Net::POP3, wrong password' wrong by_perl ssl "$pop3s"
