# Mail programs: each way in, each way out, octet for octet. Needs: curl swaks mpop.
need "$python" curl swaks mpop

key_pairs alice bob
cp bob/key.pub alice/bob.pub
cp alice/key.pub bob/alice.pub
echo secret >password
for name in python1 carol@localhost.com; do
  xm --data data user add --password-file password "$name" 2>/dev/null
done
serve server --keys bob --data data serve --listen smtp=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0
smtp=$(port server smtp) pop3=$(port server pop3)
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

group 'mail through curl, swaks, mpop'
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
passwordeval cat $PWD/password
auth user
delivery maildir $PWD/fetched
uidls_file $PWD/uidls
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

# The attachment of xm send, saved by another program, opens with xm decrypt, and
# what is in it is a message that any program reads.
attachment() {
  xm --keys alice send --user python1 --smtp "127.0.0.1:$smtp" -a message carol@localhost.com 'See it.' &&
    with_mpop && "$python" - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("got", "rb"), policy=email.policy.default)
assert max(map(len, open("got", "rb").read().split(b"\n"))) <= 998
(part,) = m.iter_attachments()
assert part.get_filename() == "enc"
open("enc", "wb").write(part.get_content())
PY
  xm --keys bob decrypt -o inner.eml alice
  "$python" - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("inner.eml", "rb"), policy=email.policy.default)
assert m.get_body().get_content().strip() == "See it."
(part,) = m.iter_attachments()
assert part.get_filename() == "message" and part["Content-Transfer-Encoding"] == "binary"
# Python's parser takes a lone CR in binary content for a line end: cut the part out.
inner = open("inner.eml", "rb").read().split(b"\r\n--" + m.get_boundary().encode())[2]
assert inner.split(b"\r\n\r\n", 1)[1] == open("message", "rb").read()
PY
}
cp bob/key.pub alice/carol@localhost.com.pub
head -c 1000003 /dev/urandom >message
check 'xm send, saved with Python, xm decrypt' attachment

# The original client sent the payload in one line, without a header.
bare() {
  xm --keys alice encrypt -i message -o payload carol@localhost.com
  { cat payload; printf '\r\n'; } >bare.eml
  curl -sS "smtp://127.0.0.1:$smtp/" --mail-from alice@localhost.com --mail-rcpt carol@localhost.com -T bare.eml
  xm --keys bob read --user carol@localhost.com --password-file password --pop3 "127.0.0.1:$pop3" --raw 1 | cmp - message
}
head -c 300 /dev/urandom >message
check 'a bare payload as the original sent it, xm read' bare
