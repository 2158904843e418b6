# Postfix as the server that sends: to the relay port over verified TLS, and to
# the submission ports with SASL. Needs root and: postfix libsasl2-modules.
. "$here/postfix.sh"

make_postfix sender "$(free_port)" <<CF
myhostname = postfix.example
relayhost = [127.0.0.1]:$relay
# Messages of these senders are submitted, each in another way.
sender_dependent_default_transport_maps = inline:{
  { plain@localhost.com = plain:[127.0.0.1]:$submission }
  { login@localhost.com = login:[127.0.0.1]:$submissions }
  { scram@localhost.com = scram:[127.0.0.1]:$submission }
  { any@localhost.com = any:[127.0.0.1]:$submission } }
smtp_tls_security_level = secure
smtp_tls_CAfile = $PWD/ca.pem
smtp_tls_secure_cert_match = mail.example.org
smtp_sasl_password_maps = inline:{
  { plain@localhost.com = plain@localhost.com:correct horse }
  { login@localhost.com = login@localhost.com:correct horse }
  { scram@localhost.com = scram@localhost.com:correct horse }
  { any@localhost.com = any@localhost.com:correct horse } }
smtp_sender_dependent_authentication = yes
smtp_sasl_security_options = noanonymous
smtp_bind_address = 127.0.0.1
message_size_limit = 20000000
CF
cat >>sender/master.cf <<'CF'
plain unix - - n - - smtp -o smtp_sasl_auth_enable=yes -o smtp_sasl_mechanism_filter=plain
login unix - - n - - smtp -o smtp_sasl_auth_enable=yes -o smtp_sasl_mechanism_filter=login -o smtp_tls_wrappermode=yes
scram unix - - n - - smtp -o smtp_sasl_auth_enable=yes -o smtp_sasl_mechanism_filter=scram-sha-256
any   unix - - n - - smtp -o smtp_sasl_auth_enable=yes
CF
for user in plain login scram any; do
  xm --data data --config xm.toml user add --password-file password "$user@localhost.com" 2>/dev/null
done
start_postfix sender

# by_postfix FILE WITH SENDER RECIPIENT...: what Postfix relays, each recipient has.
by_postfix() {
  local file=$1 with=$2 sender=$3 to
  shift 3
  rm -f data/*/new/*
  sendmail -C "$PWD/sender" -i -f "$sender" -- "$@" < <(tr -d '\r' <"$file") || return
  for to in "$@"; do
    arrived "$to" "$file" "$with" --from "$sender" --hops 1 --wait 10 || { tail -5 sender/log; return 1; }
  done
}
group 'Postfix'
check 'Postfix, STARTTLS' by_postfix message.eml ESMTPS "$alice" "$bob"
check 'Postfix, several recipients' by_postfix message.eml ESMTPS "$alice" "$alice" "$bob" plain@localhost.com login@localhost.com
check 'Postfix, 5 MiB, two recipients' by_postfix big.eml ESMTPS "$alice" "$alice" "$bob"
check 'Postfix, SMTPUTF8' by_postfix utf8.eml UTF8SMTPS "$joerg" "$joerg"
check 'Postfix, from nobody' by_postfix message.eml ESMTPS '' "$bob"
for mechanism in plain login scram any; do
  check "Postfix, SASL, $mechanism" by_postfix message.eml ESMTPSA "$mechanism@localhost.com" "$bob"
done
