# A Dovecot beside xm: its own configuration, mail and log in a directory, on the
# loopback alone. Needs root, as Dovecot does, and: dovecot-pop3d.
PATH=$PATH:/usr/sbin
need dovecot doveadm
[ "$(id -u)" = 0 ] || fatal 'Dovecot runs as root alone'
dovecots=()

# start_dovecot DIR POP3 POP3S AUTH: ports for POP3 (with STLS), POP3 under TLS,
# and Postfix's questions who somebody is. cert.pem and key.pem are its
# certificate; a line USER:{SCHEME}HASH for each user is in DIR.users.
start_dovecot() {
  local dir=$PWD/$1 tries
  mkdir -p "$dir/run"
  cat >"$dir/dovecot.conf" <<CF
base_dir = $dir/run
log_path = $dir/log
protocols = pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <$PWD/cert.pem
ssl_key = <$PWD/key.pem
disable_plaintext_auth = yes
login_trusted_networks =
auth_mechanisms = plain login scram-sha-256
mail_location = maildir:$PWD/mail/%u
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = username_format=%u $dir.users
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=$PWD/mail/%u
}
service anvil {
  chroot =
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = $2
  }
  inet_listener pop3s {
    port = $3
    ssl = yes
  }
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = $4
  }
}
CF
  dovecot -c "$dir/dovecot.conf" || { cat "$dir/log" >&2; fatal 'Dovecot does not start'; }
  dovecots+=("$dir")
  for tries in $(seq 50); do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null || return 0
    sleep 0.1
  done
  cat "$dir/log" >&2
  fatal 'Dovecot does not listen'
}

stop_dovecots() {
  local dir
  for dir in "${dovecots[@]}"; do
    doveadm -c "$dir/dovecot.conf" stop 2>/dev/null || true
  done
  dovecots=()
}
