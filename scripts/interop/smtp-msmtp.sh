# Needs: msmtp.
need msmtp

by_msmtp() {
  timeout 60 msmtp --file=/dev/null --host=127.0.0.1 --domain=client.example --tls-trust-file=ca.pem \
    --from="$alice" --user="$alice" --passwordeval='cat password' "$@" -- "$bob"
}
starttls=(--port="$submission" --tls=on --tls-starttls=on)
group 'msmtp'
check 'msmtp, plain' sends ESMTP by_msmtp --port="$relay" --tls=off --auth=off
check 'msmtp, STARTTLS' sends ESMTPS by_msmtp --port="$relay" --tls=on --tls-starttls=on --auth=off
mechanisms=(plain login)
for mechanism in scram-sha-256 scram-sha-256-plus; do
  if msmtp --version | tr ' ' '\n' | grep -qx -- "$mechanism"; then
    mechanisms+=("$mechanism")
  else
    echo "msmtp: this one has no $mechanism"
  fi
done
for mechanism in "${mechanisms[@]}"; do
  check "msmtp, STARTTLS, $mechanism" sends ESMTPSA by_msmtp "${starttls[@]}" --auth="$mechanism"
  check "msmtp, TLS at once, $mechanism" sends ESMTPSA by_msmtp --port="$submissions" --tls=on --tls-starttls=off --auth="$mechanism"
  # 77: EX_NOPERM of sysexits.h.
  check "msmtp, $mechanism, wrong password" exits 77 by_msmtp "${starttls[@]}" --auth="$mechanism" --passwordeval='cat wrong'
done
check 'msmtp, its own choice of mechanism' sends ESMTPSA by_msmtp "${starttls[@]}" --auth=on
serverinfo() {
  timeout 60 msmtp --file=/dev/null --host=127.0.0.1 "${starttls[@]}" --tls-trust-file=ca.pem --serverinfo >info && cat info &&
    grep -q SIZE info && grep -q PIPELINING info && grep -q PLAIN info
}
check 'msmtp, --serverinfo' serverinfo
