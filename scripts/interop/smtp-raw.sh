# CHUNKING (RFC 3030), which no client of Debian's speaks, from Python; and TLS
# versions with openssl s_client.
by_bdat() { timeout 60 "$python" "$here/bdat.py" --ca ca.pem --sender "$alice" --recipient "$bob" "$@"; }
group 'BDAT'
check 'BDAT, one chunk' sends ESMTP by_bdat "$relay"
check 'BDAT, chunks of 10000' sends ESMTP by_bdat --chunk 10000 "$relay"
check 'BDAT, chunks of 10000, pipelined' sends ESMTP by_bdat --chunk 10000 --pipeline "$relay"
check 'BDAT, chunks of 997, TLS, pipelined' sends ESMTPS by_bdat --chunk 997 --pipeline --tls "$relay"
check 'BDAT, an octet at a time, TLS' sends ESMTPS by_bdat --first 2000 --tls "$relay"
check 'BDAT, BDAT 0 LAST' sends ESMTP by_bdat --chunk 50000 --empty-last "$relay"
check 'BDAT, RSET between the chunks of another' sends ESMTP by_bdat --chunk 10000 --abandon "$relay"
check 'BDAT, DATA after it' sends ESMTP by_bdat --chunk 10000 --data-after "$relay"
checked_by_proxy() {
  rm -f data/*/new/*
  by_bdat --tls --proxy-local --sender "$stranger" "$proxied" <message.eml && arrived "$bob" message.eml ESMTPS --from "$stranger"
}
check 'BDAT, PROXY v2, LOCAL' checked_by_proxy

# s_client says EHLO and STARTTLS itself; the dialog is pipelined.
by_openssl() {
  {
    printf 'EHLO client.example\r\nMAIL FROM:<%s> BODY=8BITMIME\r\nRCPT TO:<%s>\r\nDATA\r\n' "$alice" "$bob"
    sed 's/^\./../'
    printf '.\r\nQUIT\r\n'
  } | timeout 60 openssl s_client -quiet -starttls smtp -name client.example -connect "127.0.0.1:$relay" \
    -CAfile ca.pem -verify_return_error "$@"
}
tls_1_1_is_refused() {
  ! by_openssl -tls1_1 -cipher 'DEFAULT:@SECLEVEL=0' <message.eml 2>log || return
  cat log
  grep -q 'alert protocol version' log
}
group 'openssl s_client'
check 'openssl, TLS 1.2' sends ESMTPS by_openssl -tls1_2
check 'openssl, TLS 1.3' sends ESMTPS by_openssl -tls1_3
check 'openssl, TLS 1.3, P-256 alone' sends ESMTPS by_openssl -tls1_3 -groups P-256
check 'openssl, TLS 1.1 is refused' tls_1_1_is_refused
