"""Compares what is new in a Maildir with what was sent, and takes it out.

arrived.py MAILDIR FILE WITH [--from ADDRESS] [--peer ADDRESS] [--hops N]
           [--completed] [--wait SECONDS]

Exactly one message must be new. It must be FILE, octet for octet, below a
Return-Path and a Received field that says "with WITH", but for the line ends,
which are stored as LF. N hops before xm added Received fields of their own. A
completed message has a Date and a Message-ID that FILE lacks.
"""
import argparse
import pathlib
import re
import sys
import time

FIELD = rb"%s: .+\n(?:[ \t].+\n)*"


def lf(octets):
    return octets.replace(b"\r\n", b"\n")


def new_messages(maildir, wait):
    """The files in new/, once there are any, or the time is over."""
    deadline = time.monotonic() + wait
    while True:
        files = [f for f in pathlib.Path(maildir, "new").glob("*")]
        if files or time.monotonic() > deadline:
            return files
        time.sleep(0.05)


def cut(pattern, octets, what):
    m = re.match(pattern, octets)
    if not m:
        sys.exit(f"no {what} at: {octets[:300]!r}")
    return m.group(), octets[m.end():]


def uncompleted(octets):
    """The message without the Date and Message-ID that it must have."""
    header, empty, body = octets.partition(b"\n\n")
    header += b"\n"
    for name in (b"Date", b"Message-ID"):
        header, count = re.subn(rb"(?m)^%s: .+\n" % name, b"", header)
        if count != 1:
            sys.exit(f"{count} fields {name.decode()}")
    return header[:-1] + empty + body


def main():
    p = argparse.ArgumentParser()
    p.add_argument("maildir")
    p.add_argument("file")
    p.add_argument("protocol")
    p.add_argument("--from", dest="sender", default="alice@localhost.com")
    p.add_argument("--peer", default="127.0.0.1")
    p.add_argument("--hops", type=int, default=0)
    p.add_argument("--completed", action="store_true")
    p.add_argument("--wait", type=float, default=0)
    args = p.parse_args()

    files = new_messages(args.maildir, args.wait)
    if len(files) != 1:
        sys.exit(f"{len(files)} messages arrived")
    got, sent = files[0].read_bytes(), lf(pathlib.Path(args.file).read_bytes())
    files[0].unlink()
    _, got = cut(b"Return-Path: <%s>\n" % re.escape(args.sender.encode()), got, "Return-Path")
    received, got = cut(FIELD % b"Received", got, "Received")
    if f" with {args.protocol} ".encode() not in re.sub(rb"\s+", b" ", received):
        sys.exit(f"not with {args.protocol}: {received.decode()}")
    if f"[{args.peer}]".encode() not in received:
        sys.exit(f"not from {args.peer}: {received.decode()}")
    for _ in range(args.hops):
        _, got = cut(FIELD % b"Received", got, "hop's Received")
    if args.completed:
        got = uncompleted(got)
    if got != sent:
        at = next((i for i, (a, b) in enumerate(zip(got, sent)) if a != b), min(len(got), len(sent)))
        sys.exit(f"{len(got)} octets, not {len(sent)}; at {at}: {got[at - 40:at + 40]!r}, not {sent[at - 40:at + 40]!r}")


main()
