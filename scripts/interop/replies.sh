# Odd input to xm and to Postfix as a server that receives mail for the same
# people: prints what both answer, and fails if they differ and nobody has judged
# so in replies.txt, or no longer differ. Needs root and: postfix sasl2-bin
# libsasl2-modules openssl.
need "$python" openssl saslpasswd2
. "$repo/scripts/interop/postfix.sh"

self_signed() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
    -subj '/CN=mail.example.org' -addext 'subjectAltName=DNS:mail.example.org'
}
self_signed >certificates.log 2>&1 || { cat certificates.log >&2; fatal 'openssl made no certificate'; }

## xm: Alice and Bob at example.org, a megabyte at most.
cat >xm.toml <<'TOML'
hostname = "mail.example.org"
domains = ["example.org"]
postmaster = "alice"
[tls]
cert = "cert.pem"
key = "key.pem"
[login]
failure_delay = "10ms" # there are many wrong passwords to try
max_failures = 1000
[smtp]
max_size = 1000000
TOML
echo secret >password
for user in alice bob; do
  xm --data data user add --password-file password "$user" 2>/dev/null
done
serve server --data data --config xm.toml smtpd --listen 127.0.0.1:0
xm_port=$(port server smtp)

## Postfix: the same.
postfix_port=$(free_port)
make_postfix receiver "$postfix_port" <<CF
myhostname = mail.example.org
myorigin = example.org
mynetworks = 192.0.2.1/32
virtual_mailbox_domains = example.org
virtual_mailbox_base = $PWD/maildirs
virtual_mailbox_maps = inline:{ { alice@example.org = alice/ } { bob@example.org = bob/ } }
virtual_alias_maps = inline:{ { postmaster@example.org = alice@example.org } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
message_size_limit = 1000000
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_helo_required = yes
smtpd_error_sleep_time = 0
smtpd_forbid_bare_newline = reject
smtpd_forbid_bare_newline_exclusions =
smtpd_tls_security_level = may
smtpd_tls_cert_file = $PWD/cert.pem
smtpd_tls_key_file = $PWD/key.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = example.org
cyrus_sasl_config_path = $PWD/receiver/sasl
CF
mkdir receiver/sasl # where Debian's Postfix looks
cat >receiver/sasl/smtpd.conf <<CONF
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: $PWD/receiver/sasldb2
mech_list: PLAIN LOGIN SCRAM-SHA-256
CONF
for user in alice bob; do
  saslpasswd2 -p -c -f receiver/sasldb2 -u example.org "$user" <password
done
chown postfix receiver/sasldb2
install -d -o 65534 maildirs
start_postfix receiver

group 'odd input, beside Postfix'
"$python" "$repo/scripts/interop/replies.py" "$repo/scripts/interop/replies.txt" "$postfix_port" "$xm_port" totals ||
  { tail receiver/log >&2; fatal 'replies.py failed'; }
read -r ran wrong <totals
cases=$((cases + ran)) failed=$((failed + wrong))
