# shellcheck shell=bash disable=SC2034,SC2154
# What package-test.sh, lifecycle.sh and newcomer.sh share: a Debian system in a
# directory, $root, and what systemd does there with xm's units, as it does not run.

step() { printf '== %s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# separate COMMAND...: in namespaces of its own, where all ports are free, nothing
# is reached but this machine, and all ends with the command.
separate() {
  unshare --mount --net --pid --fork --kill-child --mount-proc "$@"
}

# permitted tells whether this machine lets us make a system in a directory.
permitted() {
  [ "$(id -u)" = 0 ] && separate true 2>/dev/null && mknod "$work/null" c 1 3 2>/dev/null && : 2>/dev/null >"$work/null"
}
skip() {
  printf '\n%s\n' '*****************************************************************' \
    "SKIPPED: $*" 'It needs root, mknod and unshare(1) with --mount, --net and --pid.' \
    '*****************************************************************' >&2
}

# make_root: a small Debian 12, with what xm recommends, in $root, from the mirror that this machine uses.
make_root() {
  local mirror
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{sources,list} 2>/dev/null |
    awk '$1 == "deb" || $1 == "URIs:" {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}' || true) # not all of them exist
  unshare --mount debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log" >&2; fail 'debootstrap failed'; }
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe" # it need not survive a crash
}

# build_packages: $old, and an upgrade, $new.
build_packages() {
  old=$("$repo/scripts/package.sh" -o "$work")
  new=$(VERSION=$("$repo/scripts/version.sh")+next "$repo/scripts/package.sh" -o "$work")
}

# network gives the namespace the server's address, which is not the loopback's.
network() {
  ip link set lo up
  ip address add 192.0.2.25/32 dev lo
  mount -t proc proc "$root/proc"
  printf '127.0.0.1 localhost\n::1 localhost\n192.0.2.25 mail.example.org\n' >"$root/etc/hosts"
}

# as USER COMMAND...: in the system.
as() {
  local home
  home=$(awk -F : -v u="$1" '$1 == u {print $6}' "$root/etc/passwd")
  chroot --userspec="$1:$1" "$root" env -i HOME="$home" LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${@:2}"
}

: >"$work/xm.log"
units=$root/lib/systemd/system
setting() { sed -n "s/^$2=//p" "$units/$1"; }
server=

# start_service runs xm.service: its ExecStart, as its user, with the sockets that
# are not masked.
start_service() {
  local listen=() names='' socket user
  for socket in $(setting xm.service Sockets); do
    [ -e "$units/$socket" ] || fail "xm.service wants $socket, which is not there"
    [ "$(readlink "$root/etc/systemd/system/$socket")" != /dev/null ] || continue
    listen+=(-l "$(setting "$socket" ListenStream)")
    names+=:$(setting "$socket" FileDescriptorName)
  done
  user=$(setting xm.service User)
  # shellcheck disable=SC2046 # the line's words
  (umask "$(setting xm.service UMask)" && exec systemd-socket-activate "${listen[@]}" --fdname="${names#:}" -E HOME=/var/lib/xm \
    chroot --userspec="$user:$(setting xm.service Group)" "$root" $(setting xm.service ExecStart)) >>"$work/xm.log" 2>&1 &
  server=$!
  logged 'Listening on' "${#listen[@]}/2"
  : 3<>"/dev/tcp/localhost/${listen[1]}" # it waits for somebody to connect
  logged msg=listening 1
}

# logged TEXT TIMES: xm.log has it so often, soon.
logged() {
  for _ in $(seq 100); do
    if [ "$(grep -c "$1" "$work/xm.log")" -ge $(($2)) ]; then return; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/xm.log" >&2
  fail 'xm.service did not start'
}

stop_service() {
  [ -n "$server" ] || return 0
  kill "$server"
  wait "$server" || fail "xm serve ended with exit code $?"
  server=
  : >"$work/xm.log"
}
