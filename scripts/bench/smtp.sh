# SMTP beside Postfix, and beside Dovecot's LMTP server, which is what delivers
# where the two are used together: part of bench.sh. All write to Maildirs on the
# same file system and sync each message before its 250; Postfix and Dovecot are
# instances of their own, with Debian's defaults and what is said below. The load
# is scripts/load's.
#
# Postfix is there twice, as it slows down by itself: a message waits for up to a
# second when more of them come than are delivered (in_flow_delay). The second one
# does not: its 250s come sooner, and its queue grows meanwhile.
#
# Needs root, as both do, and (Debian) postfix and dovecot-lmtpd. RUNS rounds are
# made, in each of which the servers take turns; medians are printed.
PATH=$PATH:/usr/sbin
users=8

smtp() {
  need postfix dovecot doveadm python3 dd
  [ "$(id -u)" = 0 ] || { echo 'bench.sh: Postfix and Dovecot need root' >&2; exit 1; }
  room $((runs * 750 + 1000)) # a round has 28,000 messages, and 600 MiB of large ones
  (cd "$repo" && go build -o "$work/" . ./scripts/load ./scripts/nosync)
  chmod 711 "$work" # their daemons pass through
  # ext4 without a journal passes over inodes that were freed in the last minutes, one
  # after the other: those of Postfix's queue, and of the run before this, are not to
  # be in the way. The directories in $work are put far apart, by their names.
  chattr +T "$work" 2>/dev/null || true
  tag=${work##*.}
  cd "$work"
  export XDG_CONFIG_HOME=$work/config
  unset XM_CONFIG XM_KEYS
  xm_server xm
  xm_server nosync ./nosync
  postfix_server postfix
  postfix_server eager 'in_flow_delay = 0'
  dovecot_server
  printf 'Medians of %s, messages of 4 KiB to %s users; %s, %s cores, %s, load of others %s.\n\n' "$runs" "$users" \
    "$(date +%F)" "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(cut -d' ' -f1 /proc/loadavg)"
  against_others
  large
  full_maildrop
  idle
}

declare -A port pid drops
tag=0 # of this run
# xm_server NAME [WRAPPER]: xm smtpd with its own data.
xm_server() {
  local name=$1 i
  shift
  printf '[smtp]\nmax_connections = 20000\nmax_per_address = 20000\n' >xm.toml
  for i in $(seq 0 $((users - 1))); do
    echo secret | ./xm --data "$name.$tag" user add --password-file - "u$i@localhost" 2>/dev/null
  done
  "$@" ./xm --config xm.toml --data "$name.$tag" smtpd --listen 127.0.0.1:0 2>"$name.log" &
  pid[$name]=$!
  processes+=($!)
  port[$name]=$(listening "$name.log" "${pid[$name]}")
  drops[$name]="$work/$name.$tag/*"
}

# postfix_server NAME [SETTING]: Postfix with virtual(8).
postfix_server() {
  local dir=$work/$1.$tag i
  port[$1]=$(free_port)
  mkdir "$dir" "$dir/queue"
  install -d -o postfix "$dir/data"
  install -d -o 65534 "$dir/mail"
  for i in $(seq 0 $((users - 1))); do echo "u$i@bench.example u$i/"; done >"$dir/mailboxes"
  # Nothing is looked up in DNS, and a client may have more than 50 connections.
  cat >"$dir/main.cf" <<CF
compatibility_level = 3.6
myhostname = postfix.example
mydestination =
queue_directory = $dir/queue
data_directory = $dir/data
maillog_file = $dir/log
maillog_file_prefixes = $dir
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
alias_maps =
alias_database =
default_database_type = texthash
smtpd_client_connection_count_limit = 0
virtual_mailbox_domains = bench.example
virtual_mailbox_base = $dir/mail
virtual_mailbox_maps = texthash:$dir/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
${2:-}
CF
  cat >"$dir/master.cf" <<CF
127.0.0.1:${port[$1]} inet n - n - - smtpd
pickup    unix n - n 60  1 pickup
cleanup   unix n - n -   0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
proxymap  unix - - n - - proxymap
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
CF
  postfix -c "$dir" start >"$dir.start" 2>&1 || { cat "$dir.start" >&2; exit 1; }
  postfixes+=("$dir")
  drops[$1]="$dir/mail/*"
}

# dovecot_server: Dovecot's LMTP, whose 250 says that the message is in the Maildir.
dovecot_server() {
  local dir=$work/dovecot.$tag
  port[dovecot]=$(free_port)
  mkdir "$dir"
  install -d -o mail -g mail "$dir/mail"
  cat >"$work/dovecot.conf" <<CONF
base_dir = $dir/run
log_path = $dir/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
first_valid_uid = 8
mail_location = maildir:$dir/mail/%n
mail_fsync = always
passdb {
  driver = static
  args = nologin=yes
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$dir/mail/%n allow_all_users=yes
}
service lmtp {
  inet_listener lmtp {
    port = ${port[dovecot]}
  }
}
CONF
  dovecot -c "$work/dovecot.conf" # which listens before it returns
  drops[dovecot]="$dir/mail/*"
}

# send SERVER SESSIONS COUNT [OCTETS [USERS]]: messages in a second, until 250 and until in the Maildir.
send() {
  local domain=localhost protocol=()
  case $1 in
    postfix | eager) domain=bench.example ;;
    dovecot) protocol=(-lmtp) ;;
  esac
  sync # nobody writes what the one before has left
  ./load smtp send "${protocol[@]}" -addr "127.0.0.1:${port[$1]}" -user "u%d@$domain" -users "${5:-$users}" -sessions "$2" -count "$3" \
    -octets "${4:-4096}" -maildirs "${drops[$1]}" >sent || { echo "bench.sh: $1 failed" >&2; tail -n 20 "$work/$1.$tag/log" >&2 || true; exit 1; }
  sed 's/.* s: \([0-9.]*\)\/s, .*: \([0-9.]*\)\/s$/\1 \2/' sent
}

# against_others takes so many messages that a round lasts some seconds.
against_others() {
  local n server round
  local -A count=([1]=300 [16]=1000 [64]=1500) ours=([1]=1000 [16]=3000 [64]=6000)
  for round in $(seq "$runs"); do
    for n in 1 16 64; do
      for server in postfix eager dovecot; do send "$server" "$n" "${count[$n]}" >>"rate.$server.$n"; done
      for server in xm nosync; do send "$server" "$n" "${ours[$n]}" >>"rate.$server.$n"; done
    done
  done
  printf '| messages in a second, and xm / that | 1 connection | 16 | 64 |\n|---|---|---|---|\n'
  rates 'xm' xm 2
  rates 'Postfix, until its `250`' postfix 1
  rates 'Postfix, until in the Maildir' postfix 2
  rates 'Postfix without in_flow_delay, until its `250`' eager 1
  rates 'Postfix without in_flow_delay, until in the Maildir' eager 2
  rates 'Dovecot LMTP' dovecot 1
  rates 'xm without fsync' nosync 2
}

# rates WHAT SERVER COLUMN: its rates, and those of xm in them.
rates() {
  local n rate row="| $1 |"
  for n in 1 16 64; do
    rate=$(middle "rate.$2.$n" "$3")
    row+=" $(printf '%.0f' "$rate")"
    [ "$2" = xm ] || row+=", $(ratio "$(middle "rate.xm.$n" 2)" "$rate")"
    row+=' |'
  done
  echo "$row"
}

# large compares messages of 1 MiB with files of that size that dd writes and
# syncs, as many at once. The files stay until the end: what is deleted keeps the
# disk busy for a while (ext4 with discard).
large() {
  local round began
  for round in $(seq "$runs"); do
    send xm 8 200 1048576 >>rate.large
    mkdir "dd.$round"
    began=$(date +%s.%N)
    seq 200 | xargs -P 8 -I{} dd if=/dev/zero "of=dd.$round/{}" bs=1M count=1 conv=fsync status=none
    awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {print 200 / (b - a)}' >>rate.dd
    began=$(date +%s.%N)
    dd if=/dev/zero "of=dd.$round/one" bs=1M count=200 conv=fsync status=none
    awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {print 200 / (b - a)}' >>rate.dd1
  done
  local x d one
  x=$(middle rate.large 2) d=$(middle rate.dd 1) one=$(middle rate.dd1 1)
  printf '\n1 MiB, 8 connections: xm %.0f MiB/s; dd conv=fsync, 8 at once, %.0f: %s; one dd of 200 MiB %.0f: %s\n' "$x" "$d" "$(ratio "$x" "$d")" "$one" "$(ratio "$x" "$one")"
}

# full_maildrop delivers to a maildrop that is empty and to one of 100,000 messages.
full_maildrop() {
  local full="$work/xm.$tag/full@localhost" round
  echo secret | ./xm --data "xm.$tag" user add --password-file - full@localhost 2>/dev/null
  echo secret | ./xm --data "xm.$tag" user add --password-file - empty@localhost 2>/dev/null
  mkdir -m 700 "$full" "$full/new" "$full/cur" "$full/tmp"
  (cd "$full/new" && seq -f '%.0f.M0R0.bench,S=0,W=0' 100000 | xargs touch)
  for round in $(seq "$runs"); do
    for user in empty full; do
      ./load smtp send -addr "127.0.0.1:${port[xm]}" -user "$user@localhost" -sessions 16 -count 2000 >sent
      sed 's/.* s: \([0-9.]*\)\/s, .*/\1/' sent >>"rate.$user"
    done
  done
  local e f
  e=$(middle rate.empty 1) f=$(middle rate.full 1)
  printf '\n16 connections to one maildrop: %.0f messages/s; with 100,000 messages in it %.0f: %s\n' "$e" "$f" "$(ratio "$f" "$e")"
}

# idle has 10,000 sessions with a server that has done nothing else.
idle() {
  xm_server idle
  local before after
  ulimit -n "$(ulimit -Hn)"
  mkfifo hold
  ./load smtp idle -addr "127.0.0.1:${port[idle]}" -sessions 10000 <hold >idle.out &
  processes+=($!)
  exec 9>hold
  for _ in $(seq 600); do
    grep -q ready idle.out && break
    sleep 0.1
  done
  grep -q ready idle.out || { echo 'bench.sh: the sessions do not start' >&2; exit 1; }
  printf '\n10,000 idle sessions: %s MiB\n' "$(awk '/^VmHWM/ {print int($2 / 1024)}' "/proc/${pid[idle]}/status")"
  exec 9>&-
}
