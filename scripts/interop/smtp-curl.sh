# Needs: curl.
need curl

by_curl() { timeout 60 curl -sS --cacert ca.pem --mail-from "$alice" --mail-rcpt "$bob" -T - "$@"; }
to_relay=smtp://127.0.0.1:$relay/client.example
to_submission=smtp://127.0.0.1:$submission/client.example
to_submissions=smtps://localhost:$submissions/client.example
group 'curl'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.pem -days 2 \
  -subj '/CN=another CA' 2>/dev/null
check 'curl, plain' sends ESMTP by_curl "$to_relay"
check 'curl, STARTTLS' sends ESMTPS by_curl --ssl-reqd "smtp://localhost:$relay/client.example"
check 'curl, STARTTLS if there is' sends ESMTPS by_curl --ssl "$to_relay"
mechanisms=(PLAIN LOGIN)
if curl -V | grep -qiw gsasl; then
  mechanisms+=(SCRAM-SHA-256)
else
  echo 'curl: no SCRAM-SHA-256, this curl is built without GNU SASL'
fi
for mechanism in "${mechanisms[@]}"; do
  login=(--user "$alice:correct horse" --login-options "AUTH=$mechanism")
  check "curl, $mechanism" sends ESMTPA by_curl "${login[@]}" "$to_submission"
  check "curl, $mechanism, first response in AUTH" sends ESMTPSA by_curl --ssl-reqd --sasl-ir "${login[@]}" "$to_submission"
  check "curl, STARTTLS, $mechanism" sends ESMTPSA by_curl --ssl-reqd "${login[@]}" "$to_submission"
  check "curl, TLS at once, $mechanism" sends ESMTPSA by_curl "${login[@]}" "$to_submissions"
  # 67: login denied.
  check "curl, $mechanism, wrong password" exits 67 \
    by_curl --ssl-reqd --user "$alice:wrong horse" --login-options "AUTH=$mechanism" "$to_submission"
done
check 'curl, its own choice of mechanism' sends ESMTPSA by_curl --ssl-reqd --user "$alice:correct horse" "$to_submission"
check 'curl, who has submitted it' sends ESMTPSA by_curl --ssl-reqd --user "$alice:correct horse" --mail-auth "$alice" "$to_submission"
# 60: the certificate is not to be trusted.
check "curl, a name that the certificate lacks" exits 60 by_curl --ssl-reqd --resolve "other.example:$relay:127.0.0.1" "smtp://other.example:$relay/"
check 'curl, a CA that is not ours' exits 60 by_curl --ssl-reqd --cacert other.pem "$to_relay"
several() {
  by_curl --ssl-reqd --mail-rcpt "$alice" "$to_relay" <message.eml &&
    arrived "$alice" message.eml ESMTPS && arrived "$bob" message.eml ESMTPS
}
check 'curl, two recipients' several
utf8_by_curl() {
  timeout 60 curl -sS --cacert ca.pem --ssl-reqd --mail-from "$joerg" --mail-rcpt "$joerg" -T utf8.eml "$to_relay" &&
    arrived "$joerg" utf8.eml UTF8SMTPS --from "$joerg"
}
check 'curl, SMTPUTF8' utf8_by_curl
