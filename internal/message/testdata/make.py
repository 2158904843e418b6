#!/usr/bin/env python3
"""Makes the messages in mail/: run it in this directory, as

    python3 make.py

It needs the Debian packages mutt, s-nail, swaks and git. Each file's name begins
with what made it. Those of "torture" were written by hand, after what mail
programs are known to send wrongly."""
import email.header, email.message, email.mime.base, email.mime.multipart, email.mime.text, email.policy, os, subprocess, sys, tempfile
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage

made = 0

def save(name, data):
    global made
    made += 1
    if isinstance(data, str):
        data = data.encode('utf-8', 'surrogateescape')
    with open('mail/' + name + '.eml', 'wb') as f:
        f.write(data.replace(b'\r\n', b'\n'))

def header(m, subject, sender='Alice <alice@example.org>'):
    m['From'], m['To'], m['Subject'] = sender, 'Bob <bob@example.org>', subject
    m['Date'], m['Message-ID'] = 'Mon, 23 Nov 2026 09:00:00 +0000', '<%d@example.org>' % made
    return m

# Python's email: charsets.
texts = {'utf-8': 'Grüße, Καλημέρα, 你好, 😀', 'iso-8859-1': 'Grüße', 'iso-8859-15': 'Preis: 5 €', 'windows-1252': '“Quoted” – 5 €',
         'iso-8859-2': 'Dzień dobry', 'koi8-r': 'Привет, мир', 'windows-1251': 'Привет', 'iso-2022-jp': 'こんにちは', 'shift_jis': 'こんにちは',
         'euc-jp': 'こんにちは', 'gb2312': '你好', 'gb18030': '你好，世界', 'big5': '你好', 'euc-kr': '안녕하세요', 'iso-8859-7': 'Καλημέρα', 'us-ascii': 'plain'}
for charset, text in texts.items():
    m = header(email.mime.text.MIMEText(text.encode(charset), 'plain', 'us-ascii'), '')
    del m['Content-Type'], m['Content-Transfer-Encoding'], m['Subject']
    m['Content-Type'] = 'text/plain; charset="%s"' % charset
    m['Content-Transfer-Encoding'] = 'base64'
    m['Subject'] = email.header.Header(text, 'utf-8' if charset == 'us-ascii' else charset).encode()
    import base64
    m.set_payload(base64.encodebytes(text.encode(charset) + b'\n').decode())
    save('python-charset-' + charset, m.as_bytes())

# Python's email: structures.
m = email.message.EmailMessage(policy=email.policy.SMTP)
header(m, 'Alternatives ✓'); m.set_content('The plain text.\n'); m.add_alternative('<p>The <b>HTML</b> text.</p>', subtype='html')
save('python-alternative', m.as_bytes())
m = email.message.EmailMessage(); header(m, 'HTML only'); m.set_content('<h1>News</h1><p>One &amp; two<br>three <a href="https://example.org/">here</a></p><ul><li>x</li></ul>', subtype='html')
save('python-html', m.as_bytes())
m = email.message.EmailMessage(); header(m, 'Attachments'); m.set_content('See them.\n')
m.add_attachment(bytes(range(256)), maintype='application', subtype='octet-stream', filename='all octets.bin')
m.add_attachment('text\n', filename='Übersicht.txt')
m.add_attachment(b'\x89PNG', maintype='image', subtype='png', filename='../../etc/passwd')
save('python-attachments', m.as_bytes())
m = email.message.EmailMessage(); header(m, 'Related'); m.set_content('plain\n'); m.add_alternative('<p><img src="cid:x"></p>', subtype='html')
m.get_payload()[1].add_related(b'GIF89a', 'image', 'gif', cid='<x>'); m.add_attachment(b'%PDF', maintype='application', subtype='pdf', filename='a.pdf')
save('python-related-in-mixed', m.as_bytes())
inner = header(email.mime.text.MIMEText('the inner text\n'), 'Inner')
m = email.message.EmailMessage(); header(m, 'Forwarded'); m.set_content('See below.\n'); m.add_attachment(email.message_from_bytes(inner.as_bytes(), policy=email.policy.default))
save('python-rfc822', m.as_bytes())
m = email.mime.multipart.MIMEMultipart('digest'); header(m, 'Digest')
m.attach(email.mime.base.MIMEBase('message', 'rfc822')); m.get_payload()[0].set_payload([inner])
save('python-digest', m.as_bytes())
m = email.mime.multipart.MIMEMultipart('report', **{'report-type': 'delivery-status'}); header(m, 'Undelivered Mail', 'MAILER-DAEMON')
m.attach(email.mime.text.MIMEText('It could not be delivered.\n')); p = email.message_from_string('Content-Type: message/delivery-status\n\nReporting-MTA: dns; example.org\n\nFinal-Recipient: rfc822; x@example.org\nAction: failed\nStatus: 5.1.1\n'); m.attach(p)
save('python-bounce', m.as_bytes())
deep = email.mime.text.MIMEText('the innermost\n')
for _ in range(8):
    outer = email.mime.multipart.MIMEMultipart('mixed'); outer.attach(deep); deep = outer
save('python-nested', header(deep, 'Nested').as_bytes())
m = email.message.EmailMessage(); header(m, 'Long lines ' + 'and so on ' * 40); m.set_content('x' * 5000 + '\n', cte='quoted-printable')
save('python-long-lines', m.as_bytes())
m = email.message.EmailMessage(policy=email.policy.SMTPUTF8); header(m, 'Grüße', 'Jörg <jörg@exämple.org>'); m.set_content('8 bit: ä\n', cte='8bit')
save('python-smtputf8', m.as_bytes())
m = email.message.EmailMessage(); header(m, 'Empty'); m.set_content('')
save('python-empty', m.as_bytes())
m = email.message.EmailMessage(); header(m, 'Invitation'); m.set_content('Come.\n'); m.add_alternative('BEGIN:VCALENDAR\nEND:VCALENDAR\n', subtype='calendar')
save('python-calendar', m.as_bytes())

# Programs.
work = tempfile.mkdtemp()
sink = os.path.join(work, 'sendmail')
with open(sink, 'w') as f:
    f.write('#!/bin/sh\ncat > %s/out\n' % work)
os.chmod(sink, 0o755)
with open(work + '/file.txt', 'w') as f:
    f.write('An attached file: ä\n')

def program(name, args, text='', **env):
    e = dict(os.environ, HOME=work, LC_ALL='C.UTF-8', EMAIL='alice@example.org', **env)
    subprocess.run(args, input=text.encode(), env=e, check=True, cwd=work, stdout=subprocess.DEVNULL)
    with open(work + '/out', 'rb') as f:
        save(name, f.read())
    os.remove(work + '/out')

mutt = ['mutt', '-n', '-F', '/dev/null', '-e', 'set sendmail=%s copy=no from=alice@example.org realname="Älice"' % sink]
program('mutt-text', mutt + ['-s', 'Grüße von mutt', 'bob@example.org'], 'Zeile eins ä\nFrom here on\n')
program('mutt-attachment', mutt + ['-s', 'file', '-a', 'file.txt', '--', 'bob@example.org'], 'See the file.\n')
nail = ['s-nail', '-:/', '-Smta=file://' + sink, '-Sfrom=alice@example.org', '-Sttycharset=utf-8']
program('s-nail-text', nail + ['-s', 'Grüße', 'bob@example.org'], 'Text ä\n.\n')
program('s-nail-attachment', nail + ['-s', 'file', '-a', 'file.txt', 'bob@example.org'], 'See it.\n')
out = subprocess.run(['swaks', '--dump-mail', '--to', 'bob@example.org', '--from', 'alice@example.org', '--header', 'Subject: swaks', '--body', 'text', '--attach', '@' + work + '/file.txt'], capture_output=True, check=True).stdout
save('swaks-attachment', out)
save('swaks-text', subprocess.run(['swaks', '--dump-mail', '--to', 'bob@example.org', '--from', 'alice@example.org'], capture_output=True, check=True).stdout)
git = ['git', '-c', 'user.name=Älice', '-c', 'user.email=alice@example.org', '-c', 'commit.gpgsign=false']
repo = work + '/repo'
subprocess.run(['git', 'init', '-q', repo], check=True)
for i, text in enumerate(['eins\n', 'zwei ä\n', 'drei\x07\n']):
    with open(repo + '/datei', 'w') as f:
        f.write(text)
    subprocess.run(git + ['add', 'datei'], cwd=repo, check=True)
    subprocess.run(git + ['commit', '-q', '-m', 'Änderung %d: eine recht lange Betreffzeile, die gefaltet werden muss' % i, '--date', '2026-11-23T09:00:00Z'], cwd=repo, check=True)
subprocess.run(git + ['format-patch', '-q', '--root', '--thread', '--to', 'bob@example.org', '-o', work + '/p'], cwd=repo, check=True)
for i, name in enumerate(sorted(os.listdir(work + '/p'))):
    with open(work + '/p/' + name, 'rb') as f:
        save('git-patch-%d' % (i + 1), f.read())

# By hand.
h = 'From: alice@example.org\nTo: bob@example.org\nDate: Mon, 23 Nov 2026 09:00:00 +0000\n'
save('torture-escapes', h + 'Subject: \x1b[2J\x1b]0;owned\x07 title\n\n\x1b[31mred\x1b[0m \x9b31m \u202eevil\u202c \x00\x08\x7f\r over\n')
save('torture-escapes-encoded', h + 'Subject: =?utf-8?B?G1syShtdMDtvd25lZAc=?=\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nG1syShtdMDtvd25lZAfCmzMxbQo=\n')
save('torture-escapes-html', h + 'Subject: html\nContent-Type: text/html\n\n<p>&#27;[2J&#x9b;31m&#8238;evil<a href="javascript:&#27;x">x</a></p>\n')
save('torture-file-names', h + 'Subject: names\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Disposition: attachment; filename="\x1b[2J/../..\\evil\u202egpj.exe"\n\nx\n--b\nContent-Disposition: attachment; filename*=utf-8\'\'%1b%5b2J%00.txt\n\nx\n--b--\n')
save('torture-no-end', h + 'Subject: no end\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nthe text\n--b\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0')
save('torture-no-boundary', h + 'Subject: no boundary\nContent-Type: multipart/mixed\n\n--b\n\ntext\n--b--\n')
save('torture-bad-header', 'From alice Mon Nov 23\n' + h + 'Subject: x\nthis is no field\n\nbody\n')
save('torture-no-header', '\nbody alone\n')
save('torture-raw-8bit', (h + 'Subject: ').encode() + b'Gr\xfc\xdfe\n\nGr\xfc\xdfe\n')
save('torture-bad-encodings', h + 'Subject: =?utf-8?B?!!!?= =?klingon?Q?x?= =?utf-8?Q?=C3?=\nContent-Type: text/plain; charset=klingon\nContent-Transfer-Encoding: x-unknown\n\ntext =C3\n')
save('torture-bad-qp', h + 'Subject: qp\nContent-Transfer-Encoding: quoted-printable\n\n100% =\n=ZZ =4 =C3=A4 end=\n')
save('torture-bad-types', h + 'Subject: types\nContent-Type: text; charset=\nContent-Disposition: ;;;\nMIME-Version: 7\n\ntext\n')
save('torture-many-froms', 'From: a@example.org\nFrom: b@example.org, "C, D" <c@example.org>\nSender: x\nTo: undisclosed-recipients:;\nSubject: one\nSubject: two\nDate: yesterday\n\ntext\n')
save('torture-comments', 'From: (comment (nested)) alice@(c)example.org (Alice)\nTo: "quoted\\" name"@example.org, group: a@b, c@d;\nDate: 23 Nov 26 09:00 GMT\nSubject: =?us-ascii?Q?a?=\n =?us-ascii?Q?b?=\n\ntext\n')
print(made, 'messages')
