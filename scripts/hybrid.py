#!/usr/bin/env python3
"""An independent reading of xm's payload formats, with python3-cryptography.

  hybrid.py seal    KEYS TO FROM  < message > payload   (FROM "-": unsigned)
  hybrid.py open    KEYS TO FROM  < payload > message   (FROM "-": unsigned)

KEYS is a directory with TO.pub / FROM.priv to seal, TO.priv / FROM.pub to open.
Used by scripts/interop.sh; not needed to run xm. Exit code 3: not authentic.
"""
import os
import sys

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)


def private(keys, name):
    with open(os.path.join(keys, name + ".priv"), "rb") as f:
        return serialization.load_pem_private_key(f.read(), password=None)


def public(keys, name):
    with open(os.path.join(keys, name + ".pub"), "rb") as f:
        return serialization.load_pem_public_key(f.read())


def seal(keys, to, sender, message):
    key, iv = os.urandom(16), os.urandom(12)
    sealed = AESGCM(key).encrypt(iv, message, None)
    ct, tag = sealed[:-16], sealed[-16:]
    ek = public(keys, to).encrypt(key, OAEP)
    fields = [ek, iv, tag, ct]
    if sender != "-":
        fields.insert(0, private(keys, sender).sign(iv + ek + tag, PSS, hashes.SHA256()))
    return "".join(f.hex() + "$" for f in fields).encode()


def unseal(keys, to, sender, payload):
    fields = [bytes.fromhex(f) for f in payload.split(b"\n")[0].decode().split("$")[:-1]]
    if sender != "-":
        sig = fields.pop(0)
        ek, iv, tag, ct = fields
        public(keys, sender).verify(sig, iv + ek + tag, PSS, hashes.SHA256())
    ek, iv, tag, ct = fields
    return AESGCM(private(keys, to).decrypt(ek, OAEP)).decrypt(iv, ct + tag, None)


def main():
    verb, keys, to, sender = sys.argv[1:]
    data = sys.stdin.buffer.read()
    try:
        out = {"seal": seal, "open": unseal}[verb](keys, to, sender, data)
    except (InvalidSignature, InvalidTag, ValueError) as e:
        print("hybrid.py: not authentic: %s %s" % (type(e).__name__, e), file=sys.stderr)
        sys.exit(3)
    sys.stdout.buffer.write(out)


main()
