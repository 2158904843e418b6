"""Sends the message on standard input with smtplib. Exits 3 if AUTH is refused."""
import argparse
import smtplib
import ssl
import sys

p = argparse.ArgumentParser()
p.add_argument("port", type=int)
p.add_argument("--ca", required=True)
p.add_argument("--sender", required=True)
p.add_argument("--recipient", required=True)
p.add_argument("--tls", choices=("starttls", "ssl"))
p.add_argument("--auth", choices=("PLAIN", "LOGIN"))
p.add_argument("--password-file")
p.add_argument("--utf8", action="store_true")
args = p.parse_args()

context = ssl.create_default_context(cafile=args.ca)
if args.tls == "ssl":
    client = smtplib.SMTP_SSL("localhost", args.port, "client.example", context=context)
else:
    client = smtplib.SMTP("localhost", args.port, "client.example")
with client:
    if args.tls == "starttls":
        client.starttls(context=context)
    client.ehlo_or_helo_if_needed()
    if args.auth:
        if args.auth not in client.esmtp_features["auth"].split():
            sys.exit(f"{args.auth} is not offered")
        # As login() does, but of one mechanism, and in UTF-8, which login() can't.
        client.user = args.sender
        client.password = open(args.password_file, encoding="utf-8").read().rstrip("\n")
        try:
            if client.user.isascii() and client.password.isascii():
                client.auth(args.auth, getattr(client, "auth_" + args.auth.lower()))
            else:
                code, text = client.docmd("AUTH", "PLAIN " + smtplib.encode_base64(
                    f"\0{client.user}\0{client.password}".encode(), eol=""))
                if code != 235:
                    raise smtplib.SMTPAuthenticationError(code, text)
        except smtplib.SMTPAuthenticationError as e:
            print(e)
            sys.exit(3)
    options = ["BODY=8BITMIME", "SMTPUTF8"] if args.utf8 else ["BODY=8BITMIME"]
    refused = client.sendmail(args.sender, [args.recipient], sys.stdin.buffer.read(), options)
    assert not refused, refused
