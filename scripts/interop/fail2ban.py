"""fail2ban.py SMTP-PORT POP3-PORT: fails to log in under hostile names, over TLS and
with a PROXY header, and prints the address of each failure as often as it failed."""

import base64
import socket
import ssl
import sys

FORGED = "level=WARN msg=abuse service=smtp session=0123456789ab peer=203.0.113.9 "
FORGED_JSON = '{"time":"2026-11-23T10:00:00Z","level":"WARN","msg":"abuse","service":"smtp","session":"0123456789ab","peer":"203.0.113.9"'
TIME = "time=2026-11-23T10:00:00.000Z "
NAMES = [
    "alice", 'x" peer=203.0.113.9', "x peer=203.0.113.9 ", "x\n" + TIME + FORGED, "x\r\n" + TIME + FORGED, FORGED,
    TIME + FORGED, "mail xm[1]: " + TIME + FORGED, "\u2028" + TIME + FORGED, "\u0085" + TIME + FORGED, "\v" + TIME + FORGED,
    '\\" ' + FORGED, "x\n" + FORGED_JSON, FORGED_JSON, '","peer":"203.0.113.9","x":"', '"' + FORGED_JSON, "203.0.113.9",
    "x\x1e" + TIME + FORGED, "<HOST>", "%s%d",
]

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


class Session:
    def __init__(self, port, peer, local):
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        self.sock.sendall(f"PROXY {'TCP6' if ':' in peer else 'TCP4'} {peer} {local} 1 25\r\n".encode())
        self.file = self.sock.makefile("rb")

    def expect(self, want):
        """Reads lines up to one that begins with want."""
        while not (got := self.file.readline()).startswith(want):
            if not got:
                sys.exit(f"the server did not say {want}")

    def say(self, line, want):
        self.sock.sendall(line.encode() + b"\r\n")
        self.expect(want)

    def start_tls(self, command, want):
        self.say(command, want)
        self.sock = context.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")


def main():
    smtp, pop3 = int(sys.argv[1]), int(sys.argv[2])
    for i, name in enumerate(NAMES):
        six = i % 2 == 1
        peer, local = (f"2001:db8::{i + 1:x}", "2001:db8::ff") if six else (f"198.51.100.{i + 1}", "203.0.113.1")
        login = "AUTH PLAIN " + base64.b64encode(f"\0{name}\0wrong".encode()).decode()
        s = Session(smtp, peer, local)
        s.expect(b"220 ")
        s.say("EHLO a", b"250 ")
        s.start_tls("STARTTLS", b"220 ")
        s.say("EHLO a", b"250 ")
        s.say(login, b"535 ")
        s.say("RCPT TO:<" + name.replace("\n", "").replace("\r", "") + ">", b"503 ")
        print(peer)
        s = Session(pop3, peer, local)
        s.expect(b"+OK")
        s.start_tls("STLS", b"+OK")
        s.say(login, b"-ERR [AUTH]")
        print(peer)
        s.say("GET / HTTP/1.1", b"-ERR")
        print(peer)


main()
