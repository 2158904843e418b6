# Sending with TLS and AUTH: each program delivers a message, which must be in
# the recipient's Maildir octet for octet, under the protocol name that it used
# (RFC 3848, 6531). Needs: openssl, and what smtp-*.sh need.
need "$python" openssl

here=$repo/scripts/interop
alice=alice@localhost.com bob=bob@localhost.com joerg=jörg@localhost.com stranger=stranger@elsewhere.example
export LC_ALL=C.UTF-8 HOME=$PWD GIT_CONFIG_NOSYSTEM=1

## A certificate authority, and the server's certificate.
certificates() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=interop CA' || return
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem -subj '/CN=mail.example.org' || return
  printf 'subjectAltName=DNS:localhost,DNS:mail.example.org,IP:127.0.0.1\n' >san
  openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem
}
certificates >certificates.log 2>&1 || { cat certificates.log >&2; fatal 'openssl made no certificate'; }

## The server, and one behind a proxy.
cat >xm.toml <<'TOML'
hostname = "mail.example.org"
domains = ["localhost", "localhost.com", "example.org"]
[tls]
cert = "cert.pem"
key = "key.pem"
[login]
failure_delay = "10ms" # there are many wrong passwords to try
max_failures = 1000
iterations = 65536 # Cyrus SASL, which Postfix has, refuses more
[smtp]
TOML
{ cat xm.toml; echo 'proxies = ["127.0.0.1/32"]'; } >proxied.toml
echo 'correct horse' >password
echo 'Grüße' >joerg.password
echo 'wrong horse' >wrong
for user in "$alice" "$bob"; do
  xm --data data --config xm.toml user add --password-file password "$user" 2>/dev/null
done
xm --data data --config xm.toml user add --password-file joerg.password "$joerg" 2>/dev/null
serve server --data data --config xm.toml serve --listen smtp=127.0.0.1:0 --listen submission=127.0.0.1:0 \
  --listen submissions=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0
serve proxied --data data --config proxied.toml smtpd --listen 127.0.0.1:0
relay=$(port server smtp) submission=$(port server submission) submissions=$(port server submissions)
proxied=$(port proxied smtp)

## Messages: 8-bit text, dots, lines of 998 octets, an attachment.
"$python" "$here/message.py" "$alice" "$bob" 200000 >message.eml
"$python" "$here/message.py" "$alice" "$bob" 5242880 >big.eml
"$python" "$here/message.py" "$joerg" "$joerg" 1000 >utf8.eml
# What a submission server completes (RFC 6409, section 8).
sed '/^Date:/d; /^Message-ID:/d' message.eml >dateless.eml

# arrived RECIPIENT FILE WITH [OPTION...]: FILE is what is new in the Maildir.
arrived() { "$python" "$here/arrived.py" "data/$1" "$2" "$3" "${@:4}"; }
# sends WITH COMMAND...: the command sends message.eml, which it reads from its
# standard input, from Alice to Bob.
sends() {
  local with=$1
  shift
  rm -f data/*/new/*
  "$@" <message.eml && arrived "$bob" message.eml "$with"
}
# exits CODE COMMAND...: the command fails with this code, and sends nothing.
exits() {
  local expected=$1 code=0
  shift
  rm -f data/*/new/*
  "$@" <message.eml || code=$?
  [ "$code" = "$expected" ] || { echo "exit code $code, not $expected"; return 1; }
  ! ls data/*/new/* 2>/dev/null
}
# denied COMMAND...: the command fails, and the server said that the login did.
denied() {
  ! "$@" >denied.log 2>&1 || return
  cat denied.log
  grep -q '5\.7\.8' denied.log
}

for file in swaks curl msmtp sasl nail libraries git raw postfix; do
  . "$here/smtp-$file.sh"
done
