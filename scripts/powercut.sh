#!/usr/bin/env bash
# What a loss of power leaves on real file systems: messages are delivered to one in a
# file, which is copied as soon as the last one has its 250, with all that the system
# has not written yet missing. On the copy, xm must find every message, whole: small
# ones, which are in xm's journal, and large ones; on ext4 with its own journal and
# without, XFS and Btrfs. Then the disk alone goes away, and comes back while the system
# goes on. Needs python3, root, the right to mount, and (Debian) xfsprogs and
# btrfs-progs; says so, and is skipped, where that right is missing. COUNT is how many
# small messages.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
count=${COUNT:-3000}
work=$(mktemp -d)
pid='' port=''
finish() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  for mounted in before after; do ! mountpoint -q "$work/$mounted" || umount -l "$work/$mounted"; done
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "powercut.sh: $*" >&2; exit 1; }

# messages: how many there are, and how many of them have all their octets.
messages() { find after/data -path '*/new/*' -type f -printf '%s %f\n' | awk '{split($2, s, /,S=|,W=/); n++; whole += s[2] == $1} END {print n + 0, whole + 0}'; }

# deliver KIND COUNT OCTETS: to a new file system, where xm goes on. KIND is what mkfs
# calls it, with options.
deliver() {
  local kind=$1 count=$2 octets=$3 i
  port=''
  rm -f disk copy
  truncate -s 512M disk
  # shellcheck disable=SC2086 # options are words of their own
  mkfs.$kind -q disk >mkfs.log 2>&1 || { cat mkfs.log >&2; fail "no $kind can be made"; }
  if ! mount -o loop disk before 2>mount.log; then
    echo "== SKIPPED powercut.sh: $(cat mount.log)"
    exit 0
  fi
  for i in 0 1 2 3; do echo secret | ./xm --data before/data user add --password-file - "u$i@localhost" 2>/dev/null; done
  sync -f before
  ./xm --data before/data smtpd --listen 127.0.0.1:0 2>log &
  pid=$!
  for _ in $(seq 100); do
    port=$(sed -n 's/.*msg=listening service=smtp addr=127.0.0.1:\([0-9]*\).*/\1/p' log)
    [ -z "$port" ] || break
    sleep 0.1
  done
  [ -n "$port" ] || { cat log >&2; fail 'xm does not start'; }
  ./load smtp send -addr "127.0.0.1:$port" -user 'u%d@localhost' -users 4 -sessions 16 -count "$count" -octets "$octets" >/dev/null
}

# power_cut KIND COUNT OCTETS: as for deliver.
power_cut() {
  local kind=$1 count=$2 octets=$3 boot
  deliver "$@"
  cp disk copy # the power fails
  kill "$pid" && wait "$pid"
  pid=''
  umount before
  case $kind in
    ext4*) e2fsck -fy copy >e2fsck.log 2>&1 || [ $? -le 2 ] || { cat e2fsck.log >&2; fail 'e2fsck can do nothing'; } ;;
  esac
  mount -o loop copy after

  read -r there whole <<<"$(messages)"
  # The journal tells a loss of power from the end of the process by this.
  boot=$(cat /proc/sys/kernel/random/boot_id)
  [ ! -e after/data/.journal ] || sed -i "s/$boot/${boot//[1-9a-f]/0}/" after/data/.journal # of the same length
  ./xm --data after/data user list --json >/dev/null
  read -r now_there now_whole <<<"$(messages)"
  [ "$now_there $now_whole" = "$count $count" ] || fail "of $count messages of $octets octets ($kind) $now_there are there, $now_whole of them whole"
  ./xm --data after/data fsck >fsck.log || { cat fsck.log >&2; fail 'xm fsck finds fault'; }
  umount after
  echo "$kind: $count messages of $octets octets accepted; after the loss of power $there were there, $whole of them whole; with xm all are"
}

# disk_gone COUNT: the file system ends as if its disk had failed, and is mounted again.
disk_gone() {
  local count=$1
  deliver ext4 "$count" 4096
  sleep 6 # what was delivered first is durable in the maildrops
  ./load smtp send -addr "127.0.0.1:$port" -user 'u%d@localhost' -users 4 -sessions 16 -count "$count" >/dev/null
  # EXT4_IOC_SHUTDOWN, with EXT4_GOING_FLAGS_NOLOGFLUSH
  python3 -c 'import fcntl, os, struct; fcntl.ioctl(os.open("before", os.O_RDONLY), 0x8004587d, struct.pack("I", 2))'
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null || true
  pid=''
  umount before
  mount -o loop disk after
  read -r there whole <<<"$(messages)"
  ./xm --data after/data user list --json >/dev/null
  read -r now_there now_whole <<<"$(messages)"
  umount after
  [ "$now_there $now_whole" = "$((2 * count)) $((2 * count))" ] || fail "of $((2 * count)) messages $now_there are there after the disk was gone, $now_whole of them whole"
  echo "$((2 * count)) messages accepted; after the disk was gone $whole were there, whole; with xm all are"
}

cd "$work"
mkdir before after
(cd "$repo" && go build -o "$work/" . ./scripts/load)
for kind in 'ext4 -O has_journal' 'ext4 -O ^has_journal' xfs btrfs; do
  case $kind in
    xfs | btrfs) grep -qw "$kind" /proc/filesystems || modprobe "$kind" 2>/dev/null || { echo "== SKIPPED powercut.sh: this system has no $kind"; continue; } ;;
  esac
  power_cut "$kind" "$count" 4096
  [ "$whole" -lt "$count" ] || fail 'nothing was lost by the copy, so nothing is proved'
  power_cut "$kind" 200 240000
done
disk_gone 500
[ "$whole" -lt "$now_whole" ] || fail 'nothing was lost with the disk, so nothing is proved'
