# xm's mail client against Postfix with Dovecot, and against xm's own servers:
# submission with STARTTLS and with TLS from the start, and POP3 with STLS and
# with TLS from the start; passwords by SCRAM and in clear under TLS. Needs root,
# and: openssl postfix dovecot-pop3d.
need "$python" openssl
here=$repo/scripts/interop
. "$here/postfix.sh"
. "$here/dovecot.sh"
cleanups+=(stop_dovecots)
export LC_ALL=C.UTF-8

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj '/CN=mail.example.org' -addext 'subjectAltName=IP:127.0.0.1' >certificates.log 2>&1 || { cat certificates.log >&2; fatal 'no certificate'; }
fingerprint=$(openssl x509 -in cert.pem -outform der | sha256sum | cut -d' ' -f1)
echo 'correct horse' >password
echo 'wrong horse' >wrong

## Postfix, which asks Dovecot who somebody is.
mkdir -p mail && chown nobody mail
pop3=$(free_port) pop3s=$(free_port) auth=$(free_port) submission=$(free_port) submissions=$(free_port)
for user in alice bob; do
  printf '%s@example.org:%s\n' "$user" "$(doveadm pw -s SCRAM-SHA-256 -p 'correct horse')"
done >dovecot.users
start_dovecot dovecot "$pop3" "$pop3s" "$auth"
make_postfix postfix "$submission" <<CF
myhostname = mail.example.org
virtual_mailbox_domains = example.org
virtual_mailbox_base = $PWD/mail
virtual_mailbox_maps = inline:{ { alice@example.org = alice@example.org/ } { bob@example.org = bob@example.org/ } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
smtpd_tls_cert_file = $PWD/cert.pem
smtpd_tls_key_file = $PWD/key.pem
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:$auth
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
message_size_limit = 67108864
mailbox_size_limit = 0
virtual_mailbox_limit = 0
CF
echo "127.0.0.1:$submissions inet n - n - - smtpd -o smtpd_tls_wrappermode=yes" >>postfix/master.cf
start_postfix postfix

## Two people, with keys and accounts.
person() { # NAME COMMAND...
  local name=$1
  shift
  HOME=$PWD/$name XDG_CONFIG_HOME=$PWD/$name/config xm --keys "$name" "$@"
}
key_pairs alice bob
cp alice/key.pub bob/alice@example.org.pub
cp bob/key.pub alice/bob@example.org.pub
cp alice/key.pub alice.pub

fails() { # CODE TEXT COMMAND...
  local code=$1 text=$2 got=0
  shift 2
  "$@" >failed.out 2>&1 || got=$?
  [ "$got" = "$code" ] && grep -q -- "$text" failed.out || { cat failed.out; echo "exit code $got, want $code and $text"; return 1; }
}
logs_in() { person "$1" login "$1@example.org" --smtp "$2" --pop3 "$3" --password-file password --tls-fingerprint "$fingerprint"; }
arrives() { # SUBJECT: it is the newest in bob's inbox, known, within 10 seconds
  local tries
  for tries in $(seq 50); do
    person bob inbox >inbox.out || return
    ! grep -q "alice@example.org  $1 .* known\$" inbox.out || return 0
    sleep 0.2
  done
  cat inbox.out
  return 1
}
last() { person bob inbox --json | "$python" -c 'import json, sys; print(json.load(sys.stdin)[-1]["id"])'; }
reads() { person bob read "$(last)" --save saved >read.out && grep -qx "$1" read.out; }

head -c 3000000 /dev/urandom >file.bin
exchanges() { # what works with any server
  rm -rf "maildir-$4"
  check "$1: Alice logs in" logs_in alice "$2" "$3"
  check "$1: Bob logs in" logs_in bob "$2" "$3"
  check "$1: a wrong password" fails 1 'wrong user name or password' person alice login alice@example.org --smtp "$2" --pop3 "$3" --password-file wrong --tls-fingerprint "$fingerprint"
  check "$1: another certificate" fails 1 'has the fingerprint' person alice login alice@example.org --smtp "$2" --pop3 "$3" --password-file password --tls-fingerprint "${fingerprint//[0-9]/a}"
  check "$1: a message" person alice send bob -s "Hello by $4" 'Some text: ä'
  check "$1: it arrives" arrives "Hello by $4"
  check "$1: it is read" reads 'Some text: ä'
  check "$1: an attachment" person alice send bob -s "File by $4" -a file.bin 'See it.'
  check "$1: it arrives" arrives - # it is not downloaded for its subject, and the one outside is nobody's
  rm -rf saved
  check "$1: it is read" reads 'See it.'
  check "$1: octet for octet" cmp file.bin saved/file.bin
  check "$1: a plain message" person alice send --plain bob@example.org -s "Plain by $4" 'In clear: ä'
  check "$1: nobody there" fails 4 'is kept in' person alice send --plain nobody@example.org 'x'
  check "$1: downloaded" person bob fetch --maildir "maildir-$4" --decrypt --keep 0
  check "$1: deleted on the server" fails 0 'no mail' person bob inbox
}

group 'xm client, Postfix and Dovecot'
exchanges 'STARTTLS and STLS' "127.0.0.1:$submission" "127.0.0.1:$pop3" starttls
exchanges 'TLS' "smtps://127.0.0.1:$submissions" "pop3s://127.0.0.1:$pop3s" tls
scram_was_used() { grep -q 'method=SCRAM-SHA-256' dovecot/log; }
check 'the password went by SCRAM' scram_was_used
stop_dovecots

group 'xm client, xm'
cat >xm.toml <<'TOML'
hostname = "mail.example.org"
domains = ["example.org"]
[tls]
cert = "cert.pem"
key = "key.pem"
[login]
failure_delay = "10ms"
[smtp]
TOML
for user in alice bob; do
  xm --data data user add --password-file password "$user@example.org" 2>/dev/null
done
serve server --data data --config xm.toml serve --listen smtp=127.0.0.1:0 --listen submission=127.0.0.1:0 \
  --listen submissions=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen pop3s=127.0.0.1:0 --listen regd=127.0.0.1:0
exchanges 'xm, STARTTLS and STLS' "127.0.0.1:$(port server submission)" "127.0.0.1:$(port server pop3)" starttls
exchanges 'xm, TLS' "smtps://127.0.0.1:$(port server submissions)" "pop3s://127.0.0.1:$(port server pop3s)" tls
