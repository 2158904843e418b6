# s-nail writes its messages itself, and keeps a copy of what it sent. Needs: s-nail.
need s-nail

# by_nail WITH URL OPTION...: the copy is an mbox of one message, without its
# first line.
by_nail() {
  rm -f data/*/new/* record
  timeout 60 s-nail -:/ -S v15-compat -S mta="$2" -S tls-ca-file=ca.pem -S tls-ca-no-defaults -S tls-verify=strict \
    -S from="$alice" -S hostname=client.example -S sendwait -S record=record -S ttycharset=utf-8 \
    -s 'Grüße' -a random.bin "${@:3}" "$bob" <text || return
  sed '1d; $d' record >record.eml && arrived "$bob" record.eml "$1"
}
head -c 100000 /dev/urandom >random.bin
printf '.\n..\n.leading\nGrüße\nend\n' >text
login=alice%40localhost.com:correct%20horse@
group 's-nail'
# It says HELO where it needs no extension.
check 's-nail, plain' by_nail SMTP "smtp://localhost:$relay" -S smtp-auth=none
check 's-nail, STARTTLS' by_nail SMTP "smtp://localhost:$relay" -S smtp-auth=none -S smtp-use-starttls
for mechanism in plain login; do
  options=(-S smtp-use-starttls -S smtp-auth="$mechanism")
  check "s-nail, submission://, $mechanism" by_nail ESMTPSA "submission://${login}localhost:$submission" "${options[@]}"
  check "s-nail, smtps://, $mechanism" by_nail ESMTPSA "smtps://${login}localhost:$submissions" -S smtp-auth="$mechanism"
  check "s-nail, $mechanism, wrong password" denied by_nail ESMTPSA "submission://${login/correct/wrong}localhost:$submission" "${options[@]}"
done
