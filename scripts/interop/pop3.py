"""For pop3.sh:

pop3.py make DIR                                  writes messages
pop3.py files|mbox DIR GOT                        compares them with what was fetched
pop3.py fetch GOT CA PASSWORD-FILE ssl|stls|utf8 PORT leave|delete
                                                  fetches them with poplib
"""

import mailbox
import os
import poplib
import ssl
import sys
from email.message import EmailMessage
from email.policy import SMTP


def make(directory):
    os.mkdir(directory)
    for n, text in enumerate([".\n..\n.leading\n\nend.\n.\n", "Grüße\n" * 2000, "x" * 900 + "\n"]):
        m = EmailMessage(policy=SMTP.clone(cte_type="8bit"))
        m["From"], m["To"], m["Subject"] = "bob@localhost", "alice@localhost", f"message {n}"
        m["Date"], m["Message-ID"] = "Fri, 02 Jan 2026 03:04:05 +0000", f"<{n}@localhost>"
        m.set_content(text, cte="8bit" if n == 1 else "7bit")
        if n == 2:
            m.add_attachment(os.urandom(200_000), maintype="application", subtype="octet-stream", filename="random.bin")
        with open(f"{directory}/{n}", "wb") as f:
            f.write(m.as_bytes().replace(b"\r\n", b"\n"))


def parts(message):
    """The header's fields that matter and the body; programs add fields."""
    head, _, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = [line for line in head.split(b"\n") if line.startswith((b"From:", b"To:", b"Subject:", b"Message-ID:", b"MIME-Version:"))]
    return sorted(fields), body


def read(form, got):
    if form == "mbox":
        return [m.as_bytes() for m in mailbox.mbox(f"{got}/mbox")]
    return [open(os.path.join(d, f), "rb").read() for d, _, files in os.walk(got) for f in files]


def compare(form, directory, got):
    # An mbox may have an empty line more behind each message.
    trim = (lambda b: b.rstrip(b"\n")) if form == "mbox" else (lambda b: b)
    want = sorted((h, trim(b)) for h, b in (parts(open(f"{directory}/{n}", "rb").read()) for n in os.listdir(directory)))
    have = sorted((h, trim(b)) for h, b in map(parts, read(form, got)))
    assert len(want) == 3
    assert [h for h, _ in have] == [h for h, _ in want], [h for h, _ in have]
    for (h, b), (_, w) in zip(have, want):
        assert b == w, (h, len(b), len(w), b[:200])


def fetch(got, ca, password, way, port, end):
    context = ssl.create_default_context(cafile=ca)
    if way == "ssl":
        pop = poplib.POP3_SSL("localhost", int(port), context=context)
    else:
        pop = poplib.POP3("localhost", int(port))
        pop.stls(context)
    if way == "utf8":
        pop.utf8()
    assert {"TOP", "UIDL", "SASL", "PIPELINING", "UTF8", "LANG"} <= set(pop.capa())
    pop.user("alice")
    pop.pass_(open(password).read().rstrip("\n"))
    count, total = pop.stat()
    sizes = [int(line.split()[1]) for line in pop.list()[1]]
    assert count == len(sizes) == len(pop.uidl()[1]) and sum(sizes) == total
    for n in range(1, count + 1):
        _, lines, octets = pop.retr(n)
        message = b"".join(line + b"\r\n" for line in lines)
        assert len(message) == sizes[n - 1], (len(message), sizes)
        head = pop.top(n, 0)[1]
        assert head == lines[: len(head)] and head[-1] == b""
        with open(f"{got}/new/{n}", "wb") as f:
            f.write(message)
        if end == "delete":
            pop.dele(n)
    pop.quit()


{"make": make, "fetch": fetch}.get(sys.argv[1], lambda *args: compare(sys.argv[1], *args))(*sys.argv[2:])
