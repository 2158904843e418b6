# The payload formats, both ways, against hybrid.py. Needs: python3-cryptography.
need "$python" curl
"$python" -c 'import cryptography' || fatal 'python3-cryptography is missing'

key_pairs alice bob
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
group 'enc against python3-cryptography'
for size in 0 1 15 16 17 1000003; do
  head -c "$size" /dev/urandom >message
  check "enc, xm to Python, $size octets" xm_to_python message
  check "enc, Python to xm, $size octets" python_to_xm message
done
check 'enc with the wrong sender, Python refuses' python_rejects_a_change message

# reg payloads: what xm register writes, and what xm regd takes.
group 'reg against python3-cryptography'
cp bob/key.pub alice/server.pub
hash=$(printf 'passwordsalt' | sha256sum | cut -d' ' -f1)
register_to_python() {
  xm --keys alice register -o - "carol,salt,$hash" | py open both bob - >record
  [ "$(cut -d, -f1-3 record)" = "carol,salt,$hash" ] && cut -d, -f4 record | base64 -d | cmp - alice/key.pub
}
check 'reg, xm register to Python' register_to_python

serve server --keys bob --data data serve --listen smtp=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0
pop3=$(port server pop3) regd=$(port server regd)
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
  [ "${answer%$'\r'}" = '+OK registered' ] && curl -sS --user "$1:password" "pop3://127.0.0.1:$pop3/" -o /dev/null
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
