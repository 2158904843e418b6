"""A message that is easy to damage: message.py FROM TO OCTETS, to stdout.

It has 8-bit text, lines that begin with dots or "From ", blanks at line ends, a
line of 998 octets, and an attachment of OCTETS random octets.
"""
import os
import sys
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

sender, recipient, octets = sys.argv[1:]
ascii_only = (sender + recipient).isascii()
text = ".\n..\n.leading\nGrüße, 8-bit\nFrom here on\nblanks  \n\n" + "x" * 998 + "\nend\n"

m = EmailMessage()
m["From"] = Address("Alice", *sender.split("@"))
m["To"] = recipient
m["Subject"] = "dots, 8-bit, an attachment" if ascii_only else "Grüße"
m["Date"] = "Fri, 02 Jan 2026 03:04:05 +0000"
m["Message-ID"] = "<interop@localhost.com>"
m.set_content(text, cte="8bit")
m.add_attachment(os.urandom(int(octets)), maintype="application", subtype="octet-stream", filename="random.bin")
sys.stdout.buffer.write(m.as_bytes(policy=SMTP if ascii_only else SMTPUTF8))
