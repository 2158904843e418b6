# Private keys, both ways, against openssl. Needs: openssl.
need openssl

group 'keys against openssl'
key_pairs alice
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
