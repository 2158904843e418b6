# Python's smtplib and Perl's Net::SMTP. Needs: perl libio-socket-ssl-perl
# libauthen-sasl-perl.
need perl
perl -MIO::Socket::SSL -MAuthen::SASL -e1 || fatal "Perl's IO::Socket::SSL or Authen::SASL is missing"

by_python() { timeout 60 "$python" "$here/smtplib_client.py" --ca ca.pem --sender "$alice" --recipient "$bob" "$@"; }
group 'smtplib'
check 'smtplib, plain' sends ESMTP by_python "$relay"
check 'smtplib, STARTTLS' sends ESMTPS by_python --tls starttls "$relay"
for mechanism in PLAIN LOGIN; do
  check "smtplib, $mechanism" sends ESMTPA by_python --auth "$mechanism" --password-file password "$submission"
  check "smtplib, STARTTLS, $mechanism" sends ESMTPSA by_python --tls starttls --auth "$mechanism" --password-file password "$submission"
  check "smtplib, SMTP_SSL, $mechanism" sends ESMTPSA by_python --tls ssl --auth "$mechanism" --password-file password "$submissions"
  check "smtplib, $mechanism, wrong password" exits 3 by_python --tls starttls --auth "$mechanism" --password-file wrong "$submission"
done
utf8_by_python() {
  rm -f data/*/new/*
  by_python --tls starttls --sender "$joerg" --recipient "$joerg" --utf8 "${@:2}" <utf8.eml && arrived "$joerg" utf8.eml "$1" --from "$joerg"
}
check 'smtplib, SMTPUTF8' utf8_by_python UTF8SMTPS "$relay"
check 'smtplib, SMTPUTF8, AUTH as jörg' utf8_by_python UTF8SMTPSA --auth PLAIN --password-file joerg.password "$submission"

by_perl() { timeout 60 perl "$here/net_smtp_client.pl" ca.pem "$alice" "$bob" "$@"; }
group 'Net::SMTP'
check 'Net::SMTP, plain' sends ESMTP by_perl "$relay" plain
check 'Net::SMTP, STARTTLS' sends ESMTPS by_perl "$relay" starttls
for mechanism in PLAIN LOGIN; do
  check "Net::SMTP, STARTTLS, $mechanism" sends ESMTPSA by_perl "$submission" starttls "$mechanism" password
  check "Net::SMTP, SSL, $mechanism" sends ESMTPSA by_perl "$submissions" ssl "$mechanism" password
  check "Net::SMTP, $mechanism, wrong password" exits 3 by_perl "$submission" starttls "$mechanism" wrong
done
