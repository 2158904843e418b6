#!/usr/bin/env bash
# Tries xm against other programs: an independent reading of the payload formats
# in Python, and mail clients from Debian. A program that is missing, or a part
# that ran no case, is a failure. Needs (Debian packages): python3-cryptography
# curl swaks mpop openssl.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
server=
cases=0 failed=0

finish() {
  code=$?
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT

python=/usr/bin/python3 # Debian's, which has Debian's modules
for tool in "$python" curl swaks mpop openssl; do
  command -v "$tool" >/dev/null || { echo "interop.sh: $tool is missing" >&2; exit 1; }
done
"$python" -c 'import cryptography' || { echo 'interop.sh: python3-cryptography is missing' >&2; exit 1; }

# check NAME COMMAND...: one case, which passes if the command succeeds.
check() {
  local name=$1
  shift
  cases=$((cases + 1))
  if ! "$@" >"$work/out" 2>&1; then
    failed=$((failed + 1))
    printf 'FAIL %s\n' "$name"
    sed 's/^/     /' "$work/out" | head -20
  fi
}
part() { printf '%-40s %d cases\n' "$1" $((cases - ${2:-0})); [ "$cases" -gt "${2:-0}" ] || { echo "interop.sh: $1 ran no case" >&2; exit 1; }; }

(cd "$repo" && go build -o "$work/xm" . && go build -o "$work/regtool" ./scripts/regtool)
cd "$work"
PATH=$work:$PATH
export XDG_CONFIG_HOME=$work/config
unset XM_CONFIG XM_KEYS

## The payload formats, both ways.
# One directory serves both: key.* is Alice's, bob's are bob.priv and bob.pub.
mkdir alice bob both
xm --keys alice keygen >keygen.log 2>&1
xm --keys bob keygen >keygen.log 2>&1
for name in alice bob; do
  cp "$name/key.priv" "both/$name.priv"
  cp "$name/key.pub" "both/$name.pub"
done
cp bob/key.pub alice/bob.pub
cp alice/key.pub bob/alice.pub
py() { "$python" "$repo/scripts/hybrid.py" "$@"; }

xm_to_python() {
  xm --keys alice encrypt -i "$1" -o - bob | py open both bob alice | cmp - "$1"
}
python_to_xm() {
  py seal both bob alice <"$1" | xm --keys bob decrypt -i - -o - alice | cmp - "$1"
}
python_rejects_a_change() {
  ! xm --keys alice encrypt -i "$1" -o - bob | sed 's/^./x/; s/^x/0/; s/^0\(.\)/f\1/' | py open both bob bob
}
before=$cases
for size in 0 1 15 16 17 1000003; do
  head -c "$size" /dev/urandom >message
  check "enc, xm to Python, $size octets" xm_to_python message
  check "enc, Python to xm, $size octets" python_to_xm message
done
check 'enc with the wrong sender, Python refuses' python_rejects_a_change message
part 'enc against python3-cryptography' "$before"

# reg payloads: what xm register writes, and what xm regd takes.
before=$cases
cp bob/key.pub alice/server.pub
hash=$(printf 'passwordsalt' | sha256sum | cut -d' ' -f1)
register_to_python() {
  xm --keys alice register -o - "carol,salt,$hash" | py open both bob - >record
  [ "$(cut -d, -f1-3 record)" = "carol,salt,$hash" ] && cut -d, -f4 record | base64 -d | cmp - alice/key.pub
}
check 'reg, xm register to Python' register_to_python

## The servers.
xm --keys bob --data data serve --listen smtp=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0 2>server.log &
server=$!
port() { sed -n "s/.*msg=listening service=$1 addr=127.0.0.1:\([0-9]*\).*/\1/p" server.log; }
for _ in $(seq 100); do
  [ -n "$(port regd)" ] && break
  kill -0 "$server" || { cat server.log >&2; exit 1; }
  sleep 0.1
done
smtp=$(port smtp) pop3=$(port pop3) regd=$(port regd)

# NAME SIZE: a registration as hybrid.py wrote it, padded with base64 line ends.
python_registers() {
  "$python" - "$1" "$hash" both/alice.pub "$2" >record <<'PY'
import base64, sys
name, digest, pub, wrapped = sys.argv[1:]
pem = open(pub, "rb").read()
b64 = base64.encodebytes(pem) if wrapped == "lines" else base64.b64encode(pem) + b"\n"
sys.stdout.buffer.write(f"{name},salt,{digest},".encode() + b64)
PY
  py seal both bob - <record >reg
  exec 3<>"/dev/tcp/127.0.0.1/$regd"
  cat reg >&3
  IFS= read -r answer <&3
  exec 3>&-
  [ "${answer%$'\r'}" = "+OK $1 is registered" ] && curl -sS --user "$1:password" "pop3://127.0.0.1:$pop3/" -o /dev/null
}
check 'reg, Python to xm regd' python_registers python1 one-line
check 'reg, Python 2 line ends, to xm regd' python_registers python2 lines
reg_to_python() { regtool seal bob/key.pub <message | py open both bob - | cmp - message; }
reg_from_python() { py seal both bob - <message | regtool open bob/key.priv | cmp - message; }
for size in 0 1 15 16 17 1000003; do
  head -c "$size" /dev/urandom >message
  check "reg, xm to Python, $size octets" reg_to_python
  check "reg, Python to xm, $size octets" reg_from_python
done
part 'reg against python3-cryptography' "$before"

## Mail programs: each way in, each way out, octet for octet.
before=$cases
echo secret >password
xm --data data user add --password-file password carol@localhost.com 2>/dev/null
"$python" - >sent.eml <<'PY'
import os, sys
from email.message import EmailMessage
from email.policy import SMTP
m = EmailMessage()
m["From"] = "Python <python1@localhost.com>"
m["To"] = "carol@localhost.com"
m["Subject"] = "an attachment, and dots"
m["Date"] = "Fri, 02 Jan 2026 03:04:05 +0000"
m["Message-ID"] = "<interop@localhost.com>"
m.set_content(".\n..\n.leading\nFrom here on\n\nend\n")
m.add_attachment(os.urandom(200_000), maintype="application", subtype="octet-stream", filename="random.bin")
sys.stdout.buffer.write(m.as_bytes(policy=SMTP))
PY

# swaks adds a line end to what it is given.
by_swaks() {
  head -c -2 sent.eml >data.eml
  swaks --silent 2 --server "127.0.0.1:$smtp" --from python1@localhost.com --to carol@localhost.com --data @data.eml
}
by_curl() { curl -sS "smtp://127.0.0.1:$smtp/client.example" --mail-from python1@localhost.com --mail-rcpt carol@localhost.com -T sent.eml; }

cat >mpoprc <<E2
defaults
tls off
keep off
received_header off
account xm
host 127.0.0.1
port $pop3
user carol@localhost.com
passwordeval cat $work/password
auth user
delivery maildir $work/fetched
uidls_file $work/uidls
E2
chmod 600 mpoprc
mkdir -p fetched/{cur,new,tmp}
# Each way out leaves exactly one message in the file "got".
with_mpop() {
  rm -f fetched/new/* fetched/cur/*
  mpop --quiet --file=mpoprc xm && [ "$(ls fetched/new | wc -l)" = 1 ] && cat fetched/new/* >got
}
with_curl() {
  curl -sS --user carol@localhost.com:secret "pop3://127.0.0.1:$pop3/1" -o got &&
    curl -sS --user carol@localhost.com:secret "pop3://127.0.0.1:$pop3/1" --head -X DELE
}
# same: got is what was sent, but for the trace fields and the kind of line end.
same() {
  "$python" - <<'PY'
import re
lf = lambda b: b.replace(b"\r\n", b"\n")
sent, got = lf(open("sent.eml", "rb").read()), lf(open("got", "rb").read())
trace = re.match(rb"Return-Path: <python1@localhost\.com>\nReceived: from (?:.+\n[ \t])*.+\n", got)
assert trace, got[:400]
assert got[trace.end():] == sent, (len(got) - trace.end(), len(sent))
PY
}
through() { "$1" && "$2" && same; }
for in in by_swaks by_curl; do
  for out in with_mpop with_curl; do
    check "mail ${in/_/ } and ${out/_/ }" through "$in" "$out"
  done
done
nothing_is_left() { [ -z "$(ls data/carol@localhost.com/new data/carol@localhost.com/cur | grep -v :)" ]; }
check 'what was deleted is gone' nothing_is_left

# The attachment of xm send, saved by another program, opens with xm decrypt.
attachment() {
  xm --keys alice send --user python1 --smtp "127.0.0.1:$smtp" carol@localhost.com <message &&
    with_mpop && "$python" - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("got", "rb"), policy=email.policy.default)
assert max(map(len, open("got", "rb").read().split(b"\n"))) <= 998
(part,) = m.iter_attachments()
assert part.get_filename() == "enc"
open("enc", "wb").write(part.get_content())
PY
  xm --keys bob decrypt -o - alice | cmp - message
}
cp bob/key.pub alice/carol@localhost.com.pub
check 'xm send, saved with Python, xm decrypt' attachment

# The original client sent the payload in one line, without a header.
bare() {
  xm --keys alice encrypt -i message -o payload carol@localhost.com
  { cat payload; printf '\r\n'; } >bare.eml
  curl -sS "smtp://127.0.0.1:$smtp/" --mail-from alice@localhost.com --mail-rcpt carol@localhost.com -T bare.eml
  xm --keys bob read --user carol@localhost.com --password-file password --pop3 "127.0.0.1:$pop3" 1 | cmp - message
}
head -c 300 /dev/urandom >message
check 'a bare payload as the original sent it, xm read' bare
part 'mail through curl, swaks, mpop' "$before"

## Keys.
before=$cases
openssl_reads() { openssl rsa -in alice/key.priv -pubout 2>/dev/null | cmp - alice/key.pub; }
check "openssl reads xm's keys" openssl_reads
mkdir ossl
openssl_writes() {
  openssl genrsa -traditional -out ossl/key.priv 2048 2>/dev/null
  openssl rsa -in ossl/key.priv -pubout -out ossl/key.pub 2>/dev/null
  echo hello | xm --keys ossl encrypt key -o - | xm --keys ossl decrypt key -i - -o - | grep -qx hello
}
check "xm reads openssl's keys" openssl_writes
echo 'correct horse' >passphrase
xm --keys locked keygen --passphrase-file passphrase >keygen.log 2>&1
openssl_unlocks() {
  ! openssl pkcs8 -in locked/key.priv -passin pass:wrong -out /dev/null || return
  openssl pkcs8 -in locked/key.priv -passin file:passphrase | openssl rsa -pubout | cmp - locked/key.pub
}
check "openssl reads xm's encrypted keys" openssl_unlocks
openssl_reads_backup() {
  xm --keys locked key backup --passphrase-file passphrase backup
  openssl pkcs8 -in backup -passin file:passphrase | openssl rsa -pubout | cmp - locked/key.pub
}
check "openssl reads xm's backups" openssl_reads_backup
# What xm signs with the key verifies with the public key that openssl makes of it.
xm_uses() {
  openssl rsa -in "$1" -passin file:passphrase -pubout -out foreign/key.pub || return
  cp "$1" foreign/key.priv
  chmod 600 foreign/key.priv
  echo hello | xm --keys foreign encrypt key -o foreign/enc --passphrase-file passphrase || return
  xm --keys foreign decrypt key -i foreign/enc -o - --passphrase-file passphrase | grep -qx hello
}
mkdir foreign
openssl genrsa -traditional -out pkcs1.pem 3072 2>/dev/null
check 'xm reads PKCS#1 from openssl' xm_uses pkcs1.pem
openssl pkcs8 -topk8 -nocrypt -in pkcs1.pem -out pkcs8.pem
check 'xm reads PKCS#8 from openssl' xm_uses pkcs8.pem
for cipher in aes-128-cbc aes-192-cbc aes-256-cbc; do
  for prf in hmacWithSHA1 hmacWithSHA256 hmacWithSHA384 hmacWithSHA512; do
    openssl pkcs8 -topk8 -in pkcs1.pem -passout file:passphrase -v2 "$cipher" -v2prf "$prf" -out encrypted.pem
    check "xm reads encrypted PKCS#8 from openssl, $cipher, $prf" xm_uses encrypted.pem
  done
done
# The way out that xm names, where it does not read a key.
converted() {
  openssl pkcs8 -topk8 -in pkcs1.pem -passout file:passphrase -scrypt -out scrypt.pem || return
  ! xm_uses scrypt.pem 2>refusal || return
  grep -q 'scrypt.*openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW' refusal || return
  openssl pkcs8 -topk8 -v2 aes-256-cbc -in scrypt.pem -out converted.pem -passin file:passphrase -passout 'pass:correct horse' || return
  xm_uses converted.pem
}
check 'a key under scrypt, converted as xm says' converted
part 'keys against openssl' "$before"

printf '%d passed, %d failed\n' $((cases - failed)) "$failed"
[ "$failed" = 0 ]
