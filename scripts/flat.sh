#!/usr/bin/env bash
# Sends 20 messages of 50 MiB at the same time, over TLS and in clear, and fails
# if xm takes 100 MiB of memory or more, or a message is not as it was sent.
# Needs curl and openssl.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
server=
finish() {
  code=$?
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
clients=20 limit=100 # MiB

(cd "$repo" && go build -o "$work/xm" .)
cd "$work"
export XDG_CONFIG_HOME=$work/config
unset XM_CONFIG XM_KEYS
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem \
  -days 1 -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' 2>/dev/null
printf '[tls]\ncert = "cert.pem"\nkey = "key.pem"\n' >xm.toml
echo secret | ./xm user add --password-file - alice 2>/dev/null
{ printf 'Subject: large\r\n\r\n'; head -c 38313348 /dev/urandom | base64 -w 76 | sed 's/$/\r/'; } >message

./xm smtpd --listen 127.0.0.1:0 2>log &
server=$!
for _ in $(seq 100); do
  port=$(sed -n 's/.*msg=listening service=smtp addr=127.0.0.1:\([0-9]*\).*/\1/p' log)
  [ -z "$port" ] || break
  kill -0 "$server" || { cat log >&2; exit 1; }
  sleep 0.1
done

pids=()
for i in $(seq "$clients"); do
  tls=()
  [ $((i % 2)) = 0 ] || tls=(--ssl-reqd --cacert cert.pem)
  curl -sS "${tls[@]}" "smtp://localhost:$port/" --mail-from "sender$i@example.org" --mail-rcpt alice@localhost -T message &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
peak=$(awk '/^VmHWM/ {print int($2 / 1024)}' "/proc/$server/status")

good=0
for file in data/alice/new/*; do
  # Trace fields, then what was sent, with LF line ends.
  if tail -c "$(tr -d '\r' <message | wc -c)" "$file" | cmp -s - <(tr -d '\r' <message); then good=$((good + 1)); fi
done
printf '%d messages of 50 MiB at once: %d as they were sent, %d MiB of memory at most\n' "$clients" "$good" "$peak"
[ "$good" = "$clients" ] && [ "$peak" -lt "$limit" ]
