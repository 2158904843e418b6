# Needs: swaks.
need swaks

# Its message comes from a file, and gets one more line end.
head -c -2 message.eml >data.eml
by_swaks() {
  timeout 60 swaks --silent 2 --server 127.0.0.1 --helo client.example --from "$alice" --to "$bob" --data @data.eml \
    --tls-verify --tls-ca-path ca.pem "$@"
}
group 'swaks'
credentials=(--auth-user "$alice" --auth-password 'correct horse')
tls=(--port "$submission" --tls --auth)
check 'swaks, plain' sends ESMTP by_swaks --port "$relay"
check 'swaks, plain, pipelined' sends ESMTP by_swaks --port "$relay" --pipeline
check 'swaks, HELO' sends SMTP by_swaks --port "$relay" --protocol SMTP
for version in tlsv1_2 tlsv1_3; do
  check "swaks, STARTTLS, $version" sends ESMTPS by_swaks --port "$relay" --tls --tls-protocol "$version"
  check "swaks, TLS at once, $version" sends ESMTPSA \
    by_swaks --port "$submissions" --tls-on-connect --tls-protocol "$version" --auth PLAIN "${credentials[@]}"
done
check 'swaks, STARTTLS, pipelined' sends ESMTPS by_swaks --port "$relay" --tls --pipeline
for mechanism in PLAIN LOGIN; do
  check "swaks, $mechanism" sends ESMTPA by_swaks --port "$submission" --auth "$mechanism" "${credentials[@]}"
  check "swaks, STARTTLS, $mechanism" sends ESMTPSA by_swaks "${tls[@]}" "$mechanism" "${credentials[@]}"
  check "swaks, STARTTLS, $mechanism, pipelined" sends ESMTPSA by_swaks --port "$submission" --tls --pipeline --auth "$mechanism" "${credentials[@]}"
  check "swaks, $mechanism, relay port" sends ESMTPSA by_swaks --port "$relay" --tls --auth "$mechanism" "${credentials[@]}"
  # 28: AUTH failed.
  check "swaks, $mechanism, wrong password" exits 28 \
    by_swaks "${tls[@]}" "$mechanism" --auth-user "$alice" --auth-password 'wrong horse'
  check "swaks, $mechanism, no such user" exits 28 \
    by_swaks "${tls[@]}" "$mechanism" --auth-user nobody@localhost.com --auth-password 'correct horse'
done
# 23: MAIL was refused; 24: no recipient was accepted; 29: no TLS.
check 'swaks, submission without AUTH' exits 23 by_swaks --port "$submission" --tls
check "swaks, submission in another's name" exits 23 by_swaks "${tls[@]}" PLAIN "${credentials[@]}" --from "$bob"
check 'swaks, no such recipient' exits 24 by_swaks --port "$relay" --tls --to nobody@localhost.com
check 'swaks, relaying' exits 24 by_swaks --port "$relay" --tls --to bob@elsewhere.example
check 'swaks, TLS 1.1' exits 29 by_swaks --port "$relay" --tls --tls-protocol tlsv1_1 --tls-cipher 'DEFAULT:@SECLEVEL=0'

# A message without Date and Message-ID gets them at submission alone.
completes() {
  rm -f data/*/new/*
  head -c -2 dateless.eml >dateless.data
  by_swaks --data @dateless.data "${@:2}" && arrived "$bob" dateless.eml $1 # and an option
}
check 'swaks, what submission completes' completes 'ESMTPSA --completed' "${tls[@]}" PLAIN "${credentials[@]}"
check 'swaks, what the relay port leaves' completes ESMTPS --port "$relay" --tls

# Behind a proxy the peer is whom the proxy names; it is no trusted one here.
group 'swaks, PROXY protocol'
proxies() {
  rm -f data/*/new/*
  by_swaks --port "$proxied" --from "$stranger" --proxy-dest 192.0.2.1 --proxy-dest-port 25 --proxy-source-port 11111 "${@:2}" &&
    arrived "$bob" message.eml ESMTPS --from "$stranger" --peer "$1"
}
v1=(--proxy-version 1 --tls)
v2=(--proxy-version 2 --proxy-command PROXY --proxy-protocol STREAM --tls)
check 'swaks, PROXY v1' proxies 198.51.100.7 "${v1[@]}" --proxy-family TCP4 --proxy-source 198.51.100.7
check 'swaks, PROXY v2' proxies 198.51.100.7 "${v2[@]}" --proxy-family AF_INET --proxy-source 198.51.100.7
check 'swaks, PROXY v1, IPv6' proxies IPv6:2001:db8::7 "${v1[@]}" --proxy-family TCP6 --proxy-source 2001:db8::7 --proxy-dest 2001:db8::1
check 'swaks, PROXY v2, IPv6' proxies IPv6:2001:db8::7 "${v2[@]}" --proxy-family AF_INET6 --proxy-source 2001:db8::7 --proxy-dest 2001:db8::1
check 'swaks, PROXY v1, a local sender from outside' exits 23 by_swaks --port "$proxied" "${v1[@]}" \
  --proxy-family TCP4 --proxy-source 198.51.100.7 --proxy-source-port 1 --proxy-dest 192.0.2.1 --proxy-dest-port 25
