# GNU SASL's command, which logs in and sends nothing: SCRAM with and without
# channel binding, and a password that is not ASCII. Needs: gsasl.
need gsasl

logs_in() {
  local user=$1 password=$2
  timeout 60 gsasl --smtp --starttls --x509-ca-file=ca.pem --authentication-id="$user" --authorization-id="$user" \
    --password="$password" "${@:3}" 127.0.0.1 "$submission" </dev/null
}
group 'gsasl'
# --no-cb: a client that could bind does not choose the mechanism without.
for mechanism in 'PLAIN' 'LOGIN' 'SCRAM-SHA-256 --no-cb' 'SCRAM-SHA-256-PLUS'; do
  read -ra options <<<"--mechanism=$mechanism"
  check "gsasl, $mechanism" logs_in "$alice" 'correct horse' "${options[@]}"
  check "gsasl, $mechanism, not ASCII" logs_in "$joerg" 'Grüße' "${options[@]}"
  check "gsasl, $mechanism, wrong password" denied logs_in "$alice" 'wrong horse' "${options[@]}"
done
for version in 1.2 1.3; do
  check "gsasl, TLS $version, its own choice of mechanism" logs_in "$alice" 'correct horse' --priority="NORMAL:-VERS-TLS-ALL:+VERS-TLS$version"
done
