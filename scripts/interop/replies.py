"""Sends odd input to two SMTP servers and compares what they answer.

replies.py CASES POSTFIX-PORT XM-PORT TOTALS prints the table, and writes the
number of cases, and of those that failed, to TOTALS. The file of cases says at
its beginning how it is written.
"""
import base64
import re
import socket
import ssl
import sys
from dataclasses import dataclass

EHLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<stranger@elsewhere.example>\r\n"
RCPT = b"RCPT TO:<alice@example.org>\r\n"
AUTH = b"AUTH PLAIN " + base64.b64encode(b"\0alice\0secret") + b"\r\n"
STATES = {
    "new": [],
    "helo": [b"HELO client.example\r\n"],
    "ehlo": [EHLO],
    "mail": [EHLO, MAIL],
    "rcpt": [EHLO, MAIL, RCPT],
    "auth": [EHLO, AUTH],
    "tls": [EHLO, b"STARTTLS\r\n", EHLO],
}
# Sent after the input. Whether they are answered tells whether the server is in
# step, and still there.
SENTINEL, IN_STEP = b"NOOP\r\nQUIT\r\n", ["250 2.0.0", "221 2.0.0"]


@dataclass
class Case:
    line: int
    state: str
    text: str
    judged: str = ""  # what xm answers, where that differs
    judgement: str = ""


def parse(path):
    """The cases of the file."""
    cases = []
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        if not line or line.startswith("#"):
            continue
        if line.startswith(" "):
            cases[-1].judged, _, cases[-1].judgement = line.strip().partition(": ")
            if not cases[-1].judgement:
                sys.exit(f"{path}:{number}: a judgement is REPLIES: WORDS")
            continue
        state, _, text = line.partition(" ")
        if state not in STATES:
            sys.exit(f"{path}:{number}: no state {state}")
        cases.append(Case(number, state, text.strip()))
    return cases


def octets(text):
    """What the notation of a case stands for."""
    text = re.sub(r"\{([^{}]+)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)
    text = re.sub(r"\{base64 ([^{}]*)\}", lambda m: base64.b64encode(unescape(m[1])).decode(), text)
    return unescape(text.removesuffix("\\c")) + b"\r\n" * (not text.endswith("\\c"))


def unescape(text):
    named = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}
    return re.sub(rb"\\(x[0-9a-f]{2}|.)", lambda m: named.get(m[1]) or bytes.fromhex(m[1][1:].decode()), text.encode())


def short(reply):
    """The code and the enhanced code of a reply."""
    m = re.match(rb"(\d\d\d)[ -]([245]\.\d{1,3}\.\d{1,3})?", reply)
    return b" ".join(filter(None, m.groups())).decode() if m else f"no reply: {reply!r}"


def read_reply(stream):
    """One reply, or nothing at the end."""
    first = line = stream.readline()
    while line[3:4] == b"-":
        line = stream.readline()
    return short(first) if first else None


class Session:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.stream = self.sock.makefile("rb")
        read_reply(self.stream)

    def reach(self, state):
        for command in STATES[state]:
            self.sock.sendall(command)
            reply = read_reply(self.stream)
            if not (reply or "").startswith("2"):
                return f"no state {state}: {reply} to {command.decode().strip()}"
            if command == b"STARTTLS\r\n":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                self.sock = context.wrap_socket(self.sock)
                self.stream = self.sock.makefile("rb")
        return None

    def replies(self, sent):
        """All replies to what is sent, until the server closes the connection."""
        all_replies = []
        try:
            self.sock.sendall(sent)
            if not isinstance(self.sock, ssl.SSLSocket):
                self.sock.shutdown(socket.SHUT_WR)
            while reply := read_reply(self.stream):
                all_replies.append(reply)
        except TimeoutError:
            all_replies.append("hangs")
        except OSError:  # reset: it has closed with octets unread
            pass
        return all_replies


def answer(port, case):
    session = Session(port)
    with session.sock:
        if trouble := session.reach(case.state):
            return trouble
        all_replies = session.replies(octets(case.text) + SENTINEL)
    if all_replies[-2:] == IN_STEP:
        all_replies[-2:] = []
    else:
        all_replies.append("end")
    return ", ".join(all_replies)


def verdict(case, postfix, xm):
    """What is wrong, if anything."""
    if "no state" in postfix + xm or "hangs" in postfix + xm:
        return "a server failed"
    if postfix == xm:
        return "judged, but they no longer differ" if case.judged else ""
    if not case.judged:
        return "they differ, and nobody has judged it"
    if case.judged != xm:
        return f"judged was {case.judged}"
    return ""


def main():
    cases = parse(sys.argv[1])
    rows, failures = [("input", "Postfix", "xm", "judgement")], []
    for case in cases:
        postfix, xm = (answer(int(port), case) for port in sys.argv[2:4])
        rows.append((f"{case.state}: {case.text}", postfix, xm, case.judgement))
        if wrong := verdict(case, postfix, xm):
            failures.append(f"FAIL {case.state}: {case.text}\n     line {case.line}: {wrong}; Postfix {postfix}; xm {xm}")
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print(" | ".join([cell.ljust(width) for cell, width in zip(row, widths)] + [row[3]]).rstrip())
    print("\n".join(failures), end="\n" if failures else "")
    with open(sys.argv[4], "w", encoding="ascii") as f:
        print(len(cases), len(failures), file=f)


main()
