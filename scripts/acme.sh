#!/usr/bin/env bash
# Obtains certificates from Pebble, the test authority of Let's Encrypt, which
# looks at signatures, rejects nonces and asks over HTTP as the real one does:
# obtained, kept over a restart, renewed, with the authority down, and refused.
# Needs curl, openssl and python3; Pebble comes through the Go module proxy.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
version=v2.10.1
work=$(mktemp -d)
pids=()
finish() {
  code=$?
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait || true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
fatal() { printf 'acme.sh: %s\n' "$*" >&2; exit 1; }
for tool in curl openssl python3; do
  command -v "$tool" >/dev/null || fatal "$tool is missing"
done

(cd "$repo" && go build -o "$work/bin/xm" .)
GOBIN=$work/bin go install "github.com/letsencrypt/pebble/v2/cmd/pebble@$version" "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@$version"
export PATH=$work/bin:$PATH XDG_CONFIG_HOME=$work/config
unset XM_CONFIG XM_KEYS
cd "$work"

cases=0
# check NAME COMMAND...: one case, which passes if the command succeeds.
check() {
  local name=$1
  shift
  cases=$((cases + 1))
  if ! "$@" >out 2>&1; then
    tail -n 40 out *.log >&2
    fatal "$name"
  fi
  printf 'ok  %s\n' "$name"
}
# within SECONDS COMMAND...: waits until the command succeeds.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { "$@"; return 1; }
    sleep 0.1
  done
}

# Free ports, all different.
read -r http dns challenge good goodmgmt later latermgmt elsewhere < <(python3 -c '
import socket
held = [socket.socket() for _ in range(8)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')

# authority NAME PORT MANAGEMENT SECONDS: a Pebble that issues for so long. It
# resolves names to this machine, and asks on port $http.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca-key.pem -out ca.pem \
  -days 1 -subj /CN=pebble -addext 'subjectAltName=IP:127.0.0.1' 2>/dev/null
pebble-challtestsrv -defaultIPv6 '' -dnsserver "127.0.0.1:$dns" -management "127.0.0.1:$challenge" \
  -doh '' -http01 '' -https01 '' -tlsalpn01 '' >dns.log 2>&1 &
pids+=($!)
authority() {
  cat >"$1.json" <<JSON
{"pebble": {"listenAddress": "127.0.0.1:$2", "managementListenAddress": "127.0.0.1:$3", "certificate": "ca.pem",
  "privateKey": "ca-key.pem", "httpPort": $http, "tlsPort": 1, "keyAlgorithm": "ecdsa", "retryAfter": {"authz": 1, "order": 1},
  "profiles": {"default": {"description": "the only one", "validityPeriod": $4}}}}
JSON
  PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=20 PEBBLE_AUTHZREUSE=0 pebble -config "$1.json" -dnsserver "127.0.0.1:$dns" >"$1.log" 2>&1 &
  pids+=($!)
  within 20 curl -sf --cacert ca.pem "https://127.0.0.1:$3/roots/0" -o "$1.root" || fatal "Pebble does not start: $(cat "$1.log")"
}

# server NAME HOSTNAME DIRECTORY ACME_PORT: xm serve in the directory NAME.
server() {
  mkdir -p "$1"
  cat >"$1/xm.toml" <<TOML
hostname = "$2"
data_dir = "data"
[submission]
listen_tls = "127.0.0.1:0"
[tls]
acme = true
acme_names = ["${5:-$2}"]
acme_listen = "127.0.0.1:$4"
acme_directory = "$3"
acme_ca = "../ca.pem"
TOML
  : >"$1.log"
  xm --config "$1/xm.toml" --keys "$1/keys" serve --listen smtp=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0 2>"$1.log" &
  server=$!
  pids+=("$server")
  within 20 grep -q 'msg=listening service=regd' "$1.log" || fatal "xm does not start: $(cat "$1.log")" # the last
}
stop() { kill "$1" && wait "$1"; }
port() { sed -n "s/.*msg=listening service=$2 addr=127.0.0.1:\([0-9]*\).*/\1/p" "$1.log"; }

# shown NAME SERVICE OPENSSL-FLAG...: the certificate that a service shows.
shown() {
  local tls=()
  case $2 in smtp) tls=(-starttls smtp) ;; pop3) tls=(-starttls pop3) ;; esac
  openssl s_client -connect "127.0.0.1:$(port "$1" "$2")" "${tls[@]}" "${@:3}" </dev/null 2>/dev/null
}
serial() { shown "$1" smtp -noservername | openssl x509 -noout -serial; }
key() { shown "$1" smtp | openssl x509 -noout -pubkey; }
# issued NAME SERVICE ROOT HOSTNAME FLAG...: the one shown is from that authority, for that name.
issued() { shown "$1" "$2" -CAfile "$3" -verify_hostname "$4" -verify_return_error "${@:5}" | grep -q 'Verify return code: 0 (ok)'; }
selfsigned() { shown "$1" "$2" | openssl x509 -noout -subject -issuer | sed 's/^[a-z]*=//' | uniq | wc -l | grep -qx 1; }
another() { [ "$(serial "$1")" != "$2" ]; }
says() { grep -q "$2" "$1.log"; }
doctor() { xm --config "$1/xm.toml" --keys "$1/keys" doctor || true; } # its other findings count elsewhere

# The authority is down: xm serves, with a certificate of its own.
server down mail.example.org "https://127.0.0.1:$later/dir" "$elsewhere" pop.example.org
down=$server
check 'authority down: the failure is logged' within 10 says down 'level=ERROR msg="no TLS certificate was obtained.*connection refused.*mend='
check 'authority down: SMTP has TLS' selfsigned down smtp
check 'authority down: POP3 has TLS' selfsigned down pop3
check 'authority down: TLS from the start' selfsigned down submissions
check 'authority down: doctor tells' eval "doctor down | grep -A1 'problem  certificate: the attempt of .* failed' | grep 'tls.acme_directory is its URL'"

# Obtained, and in use without a restart.
authority good "$good" "$goodmgmt" 7776000
server one mail.example.org "https://127.0.0.1:$good/dir" "$http" pop.example.org
one=$server
check 'issued, for SMTP' within 60 issued one smtp good.root mail.example.org
check 'issued, for the further name' issued one smtp good.root pop.example.org -servername pop.example.org
check 'issued, for POP3, without SNI' issued one pop3 good.root mail.example.org -noservername
check 'issued, for submissions, with an unknown SNI' issued one submissions good.root mail.example.org -servername unknown.example
check 'the terms are logged' says one 'an account was made at the authority.*terms=data:'
check 'doctor sees it' eval "doctor one | grep 'ok       certificate: one/acme/certificate.pem, until'"
check 'the port answers nothing else' eval "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:$http/ | grep -x 404"
check 'the directory is private' eval '[ "$(echo $(stat -c %a one/acme one/acme/*.pem))" = "700 600 600" ]'

# Kept over a restart and a reload.
before=$(serial one)
kill -HUP "$one"
check 'a reload' within 10 says one 'settings read again'
check 'a reload keeps it' eval '[ "$before" = "$(serial one)" ]'
check 'it stops' stop "$one"
server one mail.example.org "https://127.0.0.1:$good/dir" "$http" pop.example.org
one=$server
check 'a restart keeps it' eval '[ "$before" = "$(serial one)" ]'

# Refused, with the reason and what to do.
server wrong mail.example.org "https://127.0.0.1:$good/nothing" 0
check 'a wrong directory' within 10 says wrong 'no TLS certificate was obtained.*404.*mend="set tls.acme_directory'
check 'a wrong directory: it serves' selfsigned wrong smtp
server stranger mail.example.net "https://127.0.0.1:$good/dir" 0
check 'another server on the port' within 60 says stranger 'no TLS certificate was obtained.*mend="something else answers on port 80'
curl -sf "http://127.0.0.1:$challenge/set-servfail" -d '{"host": "gone.example.org"}'
server gone gone.example.org "https://127.0.0.1:$good/dir" 0
check 'a name that DNS does not have' within 60 says gone 'no TLS certificate was obtained.*gone.example.org'
check 'it stops' stop "$one"
check 'the restarted one has asked for nothing' eval '! says one "obtaining a TLS certificate"'

# The authority comes up, SIGHUP asks again, at least a minute after the failure;
# then certificates of 20 seconds are renewed.
authority later "$later" "$latermgmt" 20
check 'the one that waits stops' stop "$down"
server down mail.example.org "https://127.0.0.1:$later/dir" "$http" pop.example.org
down=$server
check 'after a restart it waits' within 10 says down 'the last attempt to obtain a TLS certificate failed.*next='
kill -HUP "$down"
check 'issued, after SIGHUP' within 90 issued down smtp later.root mail.example.org
first=$(serial down) firstkey=$(key down)
check 'renewed' within 60 another down "$first"
check 'the renewed one verifies' within 5 issued down smtp later.root mail.example.org
check 'with the same key' eval '[ "$firstkey" = "$(key down)" ]'
second=$(serial down)
check 'and again' within 60 another down "$second"

# Another authority in the config.
check 'it stops' stop "$down"
server down mail.example.org "https://127.0.0.1:$good/dir" "$http" pop.example.org
check 'from another authority' within 60 issued down smtp good.root mail.example.org

printf '%d cases with Pebble %s\n' "$cases" "$version"
