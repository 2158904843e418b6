# POP3 against Dovecot, on the same Maildirs. Needs (Debian packages):
# dovecot-pop3d python3, and root, for Dovecot.

# mailbox USER MESSAGES OCTETS: a Maildir, as xm and Dovecot name its files.
mailbox() {
  python3 - "$work/data/$1" "$2" "$3" <<'PY'
import os, sys
maildir, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for sub in "tmp", "new", "cur":
    os.makedirs(f"{maildir}/{sub}")
header = b"Received: from a by b\nFrom: a@localhost\nTo: b@localhost\nSubject: message\n\n"
text = (header + b"The quick brown fox jumps over the lazy dog, and then some more.\n" * (size // 64 + 1))[: size - 1] + b"\n"
wire = len(text) + text.count(b"\n")
for i in range(count):
    with open(f"{maildir}/cur/{1700000000 + i}.M{i:06}R0123456789ab.localhost,S={len(text)},W={wire}:2,S", "wb") as f:
        f.write(text)
PY
}

dovecot_conf() {
  cat <<CONF
base_dir = $work/dovecot/run
log_path = $work/dovecot/log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 8
mail_location = maildir:$work/data/%u:INDEX=$work/dovecot/%u:CONTROL=$work/dovecot/%u
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$work/dovecot
}
service pop3-login {
  inet_listener pop3 {
    port = $1
  }
  inet_listener pop3s {
    port = 0
  }
}
CONF
}

# rate LOAD-ARGUMENTS...: how often in a second.
rate() { "$work/load" pop3 "$@" -password secret | sed 's/.* s: \([0-9.]*\)\/s.*/\1/'; }

# versus WORK UNIT LOAD-ARGUMENTS...: both servers in turn, medians.
versus() {
  local i
  : >"$work/x" >"$work/d"
  for i in $(seq "$runs"); do
    rate "${@:3}" -addr "127.0.0.1:$xm_port" >>"$work/x"
    rate "${@:3}" -addr "127.0.0.1:$dovecot_port" >>"$work/d"
  done
  pop3_row "$1" "$2" "$(middle "$work/x")" "$(middle "$work/d")"
}
pop3_row() { printf '| %s | %.*f %s | %.*f %s | %s |\n' "$1" "$digits" "$3" "$2" "$digits" "$4" "$2" "$(ratio "$3" "$4")"; }

pop3() {
  need dovecot doveadm python3
  [ "$(id -u)" = 0 ] || { echo 'bench.sh: pop3 needs root, for Dovecot' >&2; exit 1; }
  (cd "$repo" && go build -o "$work/xm" . && go build -o "$work/load" ./scripts/load)
  local user users='big huge'
  for user in $(seq 0 7); do users+=" u$user"; done
  echo secret >"$work/password"
  for user in $users; do
    "$work/xm" --data "$work/data" user add --password-file "$work/password" "$user" 2>/dev/null
  done
  mailbox big 10000 1000
  mailbox huge 1 $((50 << 20))
  for user in $(seq 0 7); do mailbox "u$user" 750 4096; done
  mkdir "$work/dovecot" # mail's, as Dovecot serves nothing to root
  chown -R mail:mail "$work/data"/*/ "$work/dovecot"
  chmod 711 "$work" "$work/data"

  "$work/xm" --data "$work/data" pop3d --listen 127.0.0.1:0 2>"$work/xm.log" &
  processes+=($!)
  xm_port=$(listening "$work/xm.log" $!)
  dovecot_port=$(free_port)
  dovecot_conf "$dovecot_port" >"$work/dovecot.conf"
  dovecot -c "$work/dovecot.conf"
  printf 'Both servers in turn, medians of %s; Dovecot %s; %s, %s cores, %s, load %s.\n\n' "$runs" "$(dovecot --version | cut -d' ' -f1)" \
    "$(date +%F)" "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(cut -d' ' -f1 /proc/loadavg)"
  printf '| work | xm | Dovecot | xm / Dovecot |\n|---|---|---|---|\n'
  local x d
  digits=0
  x=$(cold "$xm_port") d=$(cold "$dovecot_port")
  pop3_row 'the first login + STAT, 10,000 messages' ms "$x" "$d"
  versus 'login + STAT + QUIT, 10,000 messages' /s login -user big -for 3s
  versus 'RETR of 4 KiB, 8 sessions, serial' /s retr -user u%d -sessions 8 -times 4
  versus 'RETR of 4 KiB, 8 sessions, pipelined' /s retr -user u%d -sessions 8 -times 8 -pipeline
  digits=1
  versus 'RETR of 50 MiB' /s retr -user huge -times 4
  idle
}

# idle has an xm with 10,000 sessions, one descriptor each.
idle() {
  ulimit -n 20000
  mkdir "$work/many" "$work/pipe"
  # All have one record, with few iterations: it is not logins that are measured.
  python3 - >"$work/many/users.txt" <<'PY'
import base64, hashlib, hmac
b64 = lambda b: base64.b64encode(b).decode()
salt = b"salt of everyone"
salted = hashlib.pbkdf2_hmac("sha256", b"secret", salt, 4096)
client, server = (hmac.digest(salted, t, "sha256") for t in (b"Client Key", b"Server Key"))
record = f"{b64(salt)},SCRAM-SHA-256$4096:{b64(salt)}${b64(hashlib.sha256(client).digest())}:{b64(server)}"
for i in range(10_000):
    print(f"u{i},{record}")
PY
  chmod 600 "$work/many/users.txt"
  "$work/xm" --data "$work/many" pop3d --listen 127.0.0.1:0 2>"$work/many.log" &
  local pid=$! port load
  processes+=("$pid")
  port=$(listening "$work/many.log" "$pid")
  mkfifo "$work/pipe/stop" "$work/pipe/ready"
  "$work/load" pop3 idle -user u%d -password secret -sessions 10000 -addr "127.0.0.1:$port" <"$work/pipe/stop" >"$work/pipe/ready" &
  load=$!
  exec 8>"$work/pipe/stop" 9<"$work/pipe/ready"
  read -r <&9
  printf '\n10,000 idle sessions, logged in: %s MiB\n' "$(awk '/VmHWM/ {printf "%.0f", $2 / 1024}' "/proc/$pid/status")"
  exec 8>&- 9<&-
  wait "$load" || true
}

# cold PORT: milliseconds of the first login, before the server knows anything of
# user or maildrop.
cold() {
  "$work/load" pop3 login -user big -password secret -for 1ns -addr "127.0.0.1:$1" | sed 's/.* in \([0-9.]*\) s.*/\1/' | awk '{print $1 * 1000}'
}
