# Two patches by git send-email: what git am makes of them is what was sent.
# Needs: git git-email libmailtools-perl libio-socket-ssl-perl libauthen-sasl-perl.
need git perl
[ -x "$(git --exec-path)/git-send-email" ] || fatal 'git send-email is missing'
perl -MMail::Address -e1 || fatal "Perl's Mail::Address is missing"

git init -q -b main patches
git -C patches config user.name 'Alice Grün'
git -C patches config user.email "$alice"
: >patches/file
git -C patches add file
git -C patches commit -qm 'an empty file'
git clone -q patches empty
printf '.\n..\n.leading\nGrüße\nFrom here on\n' >patches/file
git -C patches commit -qam 'dots, and 8-bit: Grüße'
printf '%0990d\n' 7 >>patches/file
git -C patches commit -qam 'a long line'

# by_git WITH PORT OPTION...
by_git() {
  rm -rf data/*/new/* applied
  timeout 60 git -C patches send-email --quiet --confirm=never --suppress-cc=all --transfer-encoding=8bit \
    --smtp-domain=client.example --smtp-server=localhost --smtp-server-port="$2" --smtp-ssl-cert-path="$PWD/ca.pem" \
    --from="$alice" --to="$bob" "${@:3}" -2 || return
  [ "$(grep -l "with $1 " "data/$bob/new/"* | wc -l)" = 2 ] || return
  git clone -q empty applied
  for number in 1 2; do
    cat "$(grep -l "PATCH $number/2" "data/$bob/new/"*)" | git -C applied -c user.name=Bob -c user.email="$bob" am -q || return
  done
  [ "$(described applied)" = "$(described patches)" ]
}
described() { git -C "$1" log --format='%T %an %ae %s'; }
credentials=(--smtp-user="$alice" --smtp-pass='correct horse')
starttls=("$submission" --smtp-encryption=tls)
tls=("$submissions" --smtp-encryption=ssl)
group 'git send-email'
check 'git send-email, STARTTLS' by_git ESMTPS "$relay" --smtp-encryption=tls
for mechanism in PLAIN LOGIN; do
  check "git send-email, STARTTLS, $mechanism" by_git ESMTPSA "${starttls[@]}" --smtp-auth="$mechanism" "${credentials[@]}"
  check "git send-email, TLS at once, $mechanism" by_git ESMTPSA "${tls[@]}" --smtp-auth="$mechanism" "${credentials[@]}"
done
check 'git send-email, wrong password' denied by_git ESMTPSA "${starttls[@]}" --smtp-auth=PLAIN --smtp-user="$alice" --smtp-pass=wrong
