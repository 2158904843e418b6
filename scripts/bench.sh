#!/usr/bin/env bash
# Measures xm beside other programs, on this machine, in one run:
#
#   bench.sh crypto    encryption against age and gpg
#   bench.sh pop3      the POP3 server against Dovecot
#   bench.sh smtp      SMTP and the mail store against Postfix and Dovecot
#
# Needs (Debian packages): for crypto age gnupg hyperfine time, for pop3 dovecot-pop3d,
# for smtp postfix and dovecot-lmtpd, and root for both. SIZE sets the size of the
# large file in MiB, RUNS how often each command runs; medians are printed.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
size=${SIZE:-1024}
runs=${RUNS:-5}
work=$(mktemp -d)
processes=() postfixes=()
finish() {
  set +e # all of it is tried
  [ ! -e "$work/dovecot.conf" ] || doveadm -c "$work/dovecot.conf" stop
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  for instance in "${postfixes[@]}"; do postfix -c "$instance" stop >/dev/null 2>&1 || true; done
  gpgconf --homedir "$work/gnupg" --kill all 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

need() {
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "bench.sh: $tool is missing" >&2; exit 1; }
  done
}

# room MIB: so much has to be free.
room() {
  local free
  free=$(df --output=avail -m "$work" | tail -n 1)
  [ "$free" -ge "$1" ] || { echo "bench.sh: $work takes $1 MiB, and $((free)) are free: set TMPDIR, or RUNS lower" >&2; exit 1; }
}

# free_port: one that nobody listens on now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# listening LOG PID: the port that an xm has begun to listen on, once it has.
listening() {
  local port
  for _ in $(seq 100); do
    port=$(sed -n 's/.*msg=listening.*addr=127.0.0.1:\([0-9]*\).*/\1/p' "$1")
    [ -z "$port" ] || { echo "$port"; return; }
    kill -0 "$2" || break
    sleep 0.1
  done
  cat "$1" >&2
  return 1
}

# middle FILE [COLUMN]: the median.
middle() { awk -v c="${2:-1}" '{print $c}' "$1" | sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

# median COMMAND: its median time in seconds, the page cache warm.
median() {
  hyperfine --style none --warmup 1 --runs "$runs" --export-csv "$work/csv" "$@" >/dev/null 2>&1 || { echo "bench.sh: failed: $*" >&2; exit 1; }
  awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "median") m = i} NR == 2 {print $m}' "$work/csv"
}
# rss COMMAND: its peak memory in MiB.
rss() { /usr/bin/time -f %M -o "$work/rss" sh -c "exec $1" && awk '{printf "%.0f", $1 / 1024}' "$work/rss"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }
row() { printf '| %-34s | %8.3f s | %8.3f s | %6s | %6s MiB |\n' "$@"; }

crypto() {
  need age age-keygen gpg hyperfine /usr/bin/time
  "$repo/scripts/build.sh" -o "$work/xm"
  cd "$work"
  export PATH=$work:$PATH GNUPGHOME=$work/gnupg
  mkdir -m 700 gnupg
  gpg --batch --quiet --passphrase '' --quick-generate-key me@localhost default default never 2>/dev/null
  xm keygen >/dev/null 2>&1
  cp key.pub me.pub
  age-keygen -o age.key 2>/dev/null
  recipient=$(age-keygen -y age.key)
  head -c "${size}M" /dev/urandom >big
  head -c 1K /dev/urandom >small

  xm encrypt -i big -o big.xm me
  age -r "$recipient" -o big.age big
  gpg --batch --quiet --trust-model always --sign --encrypt -r me@localhost -o big.gpg big

  printf 'Whole processes, medians of %s, %s MiB of random octets, page cache warm;\n%s, %s cores, %s.\n\n' \
    "$runs" "$size" "$(date +%F)" "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)"
  printf '| work | xm | other | xm / other | xm memory |\n|---|---|---|---|---|\n'
  local x a
  x=$(median 'xm encrypt -i big -o /dev/null me') a=$(median "age -r $recipient -o /dev/null big")
  row 'encrypt file, `age -r`' "$x" "$a" "$(ratio "$x" "$a")" "$(rss 'xm encrypt -i big -o /dev/null me')"
  a=$(median 'gpg --batch --quiet --yes --trust-model always --sign --encrypt -r me@localhost -o /dev/null big')
  row 'encrypt file, `gpg --sign --encrypt`' "$x" "$a" "$(ratio "$x" "$a")" -
  x=$(median 'xm encrypt -i big -o - me | cat >/dev/null') a=$(median "age -r $recipient big | cat >/dev/null")
  row 'encrypt file to pipe, `age -r`' "$x" "$a" "$(ratio "$x" "$a")" "$(rss 'xm encrypt -i big -o - me > /dev/null')"
  x=$(median 'cat big | xm encrypt -o - me | cat >/dev/null') a=$(median "cat big | age -r $recipient | cat >/dev/null")
  row 'encrypt pipe to pipe, `age -r`' "$x" "$a" "$(ratio "$x" "$a")" -
  x=$(median 'xm decrypt -i big.xm -o /dev/null me') a=$(median 'age -d -i age.key -o /dev/null big.age')
  row 'decrypt file, `age -d`' "$x" "$a" "$(ratio "$x" "$a")" "$(rss 'xm decrypt -i big.xm -o /dev/null me')"
  x=$(median 'cat big.xm | xm decrypt -i - -o - me | cat >/dev/null') a=$(median 'cat big.age | age -d -i age.key | cat >/dev/null')
  row 'decrypt pipe to pipe, `age -d`' "$x" "$a" "$(ratio "$x" "$a")" -
  a=$(median 'gpg --batch --quiet --yes --trust-model always -d -o /dev/null big.gpg')
  x=$(median 'xm decrypt -i big.xm -o /dev/null me')
  row 'decrypt file, `gpg -d`' "$x" "$a" "$(ratio "$x" "$a")" -
  runs=50
  x=$(median -N 'xm encrypt -i small -o /dev/null me') a=$(median -N "age -r $recipient -o /dev/null small")
  row 'encrypt 1 KiB, `age -r`' "$x" "$a" "$(ratio "$x" "$a")" -
  a=$(median -N 'gpg --batch --quiet --yes --trust-model always --sign --encrypt -r me@localhost -o /dev/null small')
  row 'encrypt 1 KiB, `gpg --sign --encrypt`' "$x" "$a" "$(ratio "$x" "$a")" -
}

case "${1:-}" in
crypto) crypto ;;
pop3 | smtp) . "$repo/scripts/bench/$1.sh" && "$1" ;;
*) echo 'usage: bench.sh crypto|pop3|smtp' >&2; exit 2 ;;
esac
