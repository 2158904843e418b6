# Postfix instances beside xm: each has its own configuration, queue and log in
# a directory, listens on the loopback alone, and shares nothing with a Postfix
# of the machine. Needs root, as Postfix does, and: postfix.
PATH=$PATH:/usr/sbin
need postfix postmap
[ "$(id -u)" = 0 ] || fatal 'Postfix runs as root alone'
chmod 711 "$work" "$PWD" # its daemons, which are not root, pass through

# free_port: one that nobody listens on now. master.cf must name it.
free_port() {
  "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# make_postfix DIR PORT: an instance in DIR, with an SMTP server on PORT. The
# standard input goes to its main.cf.
make_postfix() {
  local dir=$PWD/$1 port=$2
  mkdir "$dir" "$dir/queue"
  install -d -o postfix "$dir/data"
  {
    cat <<CF
compatibility_level = 3.6
mydestination =
queue_directory = $dir/queue
data_directory = $dir/data
maillog_file = $dir/log
maillog_file_prefixes = $dir
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
smtp_dns_support_level = disabled
smtp_host_lookup = native
default_database_type = texthash
CF
    cat
  } >"$dir/main.cf"
  cat >"$dir/master.cf" <<CF
127.0.0.1:$port inet n - n - - smtpd
pickup    unix n - n 60  1 pickup
cleanup   unix n - n -   0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
CF
}

start_postfix() {
  local dir=$PWD/$1
  postfix -c "$dir" start >"$dir.start" 2>&1 || { cat "$dir.start" "$dir/log" >&2; fatal "Postfix does not start"; }
  postfixes+=("$dir")
}

# Its lock tells when it has ended, not its process: in a container nobody may
# collect that.
stop_postfix() {
  local tries
  postfix -c "$1" abort 2>/dev/null || true
  for tries in $(seq 100); do
    postfix -c "$1" status 2>/dev/null || return 0
    sleep 0.1
  done
  fatal "the Postfix in $1 does not end"
}
