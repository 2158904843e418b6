"""Sends the message on standard input in chunks (RFC 3030)."""
import argparse
import re
import socket
import ssl
import sys


# LOCAL of the PROXY protocol, version 2, which swaks can't write: the connection
# is the proxy's own.
PROXY_LOCAL = b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\x00\x00\x00"


class Client:
    """An SMTP client in which every reply must be the expected one."""

    def __init__(self, port, preface=b""):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.send(preface)
        self.replies = self.sock.makefile("rb")
        self.expect("220")

    def starttls(self, ca):
        self.command("EHLO client.example", "250")
        self.command("STARTTLS", "220")
        self.sock = ssl.create_default_context(cafile=ca).wrap_socket(self.sock, server_hostname="localhost")
        self.replies = self.sock.makefile("rb")

    def send(self, octets):
        self.sock.sendall(octets)

    def expect(self, code):
        lines = []
        while not lines or lines[-1][3:4] == b"-":
            lines.append(self.replies.readline())
            if not re.match(rb"\d\d\d[- ]", lines[-1]):
                sys.exit(f"no reply: {lines}")
        if not lines[-1].startswith(code.encode()):
            sys.exit(f"not {code}: {lines}")
        return lines

    def command(self, line, code):
        self.send(line.encode() + b"\r\n")
        return self.expect(code)

    def bdat(self, chunks, pipeline):
        """Sends the chunks, the last one with LAST; one write if pipelined."""
        groups = [b"BDAT %d%s\r\n" % (len(c), b" LAST" if i == len(chunks) - 1 else b"") + c for i, c in enumerate(chunks)]
        if pipeline:
            self.send(b"".join(groups))
        for group in groups:
            if not pipeline:
                self.send(group)
            self.expect("250")


def split(message, size, first):
    """Pieces of size octets, after `first` single octets."""
    pieces = [message[i:i + 1] for i in range(first)]
    rest = message[first:]
    size = size or len(rest)
    return pieces + [rest[i:i + size] for i in range(0, len(rest), size)]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("port", type=int)
    p.add_argument("--ca", required=True)
    p.add_argument("--sender", required=True)
    p.add_argument("--recipient", required=True)
    p.add_argument("--tls", action="store_true")
    p.add_argument("--chunk", type=int, default=0, help="octets of a chunk; 0: one chunk")
    p.add_argument("--first", type=int, default=0, help="so many chunks of one octet before")
    p.add_argument("--pipeline", action="store_true")
    p.add_argument("--empty-last", action="store_true")
    p.add_argument("--abandon", action="store_true", help="first a message that RSET ends")
    p.add_argument("--data-after", action="store_true", help="a BDAT message is abandoned, then DATA")
    p.add_argument("--proxy-local", action="store_true", help="begin as a proxy that checks the server's health")
    args = p.parse_args()

    message = sys.stdin.buffer.read()
    chunks = split(message, args.chunk, args.first) + [b""] * args.empty_last
    client = Client(args.port, PROXY_LOCAL if args.proxy_local else b"")
    if args.tls:
        client.starttls(args.ca)
    features = client.command("EHLO client.example", "250")
    if not any(f[4:].strip() == b"CHUNKING" for f in features):
        sys.exit(f"no CHUNKING: {features}")

    def begin():
        client.command(f"MAIL FROM:<{args.sender}> BODY=8BITMIME SIZE={len(message)}", "250")
        client.command(f"RCPT TO:<{args.recipient}>", "250")

    begin()
    if args.abandon or args.data_after:
        for chunk in chunks[:2]:
            client.send(b"BDAT %d\r\n" % len(chunk) + chunk)
            client.expect("250")
        client.command("RSET", "250")
        begin()
    if args.data_after:
        client.command("DATA", "354")
        client.send(re.sub(rb"(?m)^\.", b"..", message) + b".\r\n")
        client.expect("250")
    else:
        client.bdat(chunks, args.pipeline)
    client.command("QUIT", "221")


main()
