#!/usr/bin/env bash
# Does what scripts/Dockerfile says, as far as that is possible without Docker: the
# commands of its first stage, and then, in a directory that holds no more than the
# image, its entry point and its health check, as its user.
#
#   image.sh      in namespaces of its own
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/container
. "$repo/scripts/package/lib.sh"
ip link set lo up

instruction() { sed -n "s/^$1 //p" "$repo/scripts/Dockerfile"; }
words() { sed 's/^[^[]*\[//; s/[]",]//g' <<<"$1"; } # of a JSON array

mkdir -p "$root"/{etc,dev,var} "$work/src"
tar -C "$repo" --exclude=./.git -c . | tar -C "$work/src" -x
instruction RUN | sed "s| /image| $work/image|; s| /state| $work/state|" | grep -v '^go mod download$' >"$work/build"
(cd "$work/src" && GOPROXY=off bash -eu "$work/build")
# The two COPY, and what Docker puts into each container.
cp -a "$work/image/." "$root"
cp -a "$work/state" "$root/var/lib"
user=$(instruction USER)
chown -R "$user" "$root/var/lib"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
mknod -m 666 "$root/dev/null" c 1 3

# shellcheck disable=SC2207 # words
run=(env -i $(instruction ENV) "$(command -v chroot)" --userspec="$user" "$root" $(words "$(instruction ENTRYPOINT)"))
"${run[@]}" init --standard-ports --hostname mail.example.org --domain example.org --postmaster alice </dev/null >/dev/null
echo secret | "${run[@]}" user add --password-file - alice 2>/dev/null
# An unprivileged user may have all ports in a container.
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
# shellcheck disable=SC2046
"${run[@]}" $(words "$(instruction CMD)") 2>>"$work/xm.log" &
server=$!
logged msg=listening "$(instruction EXPOSE | wc -w)"
health=$(words "$(instruction HEALTHCHECK)")
# shellcheck disable=SC2086
"${run[@]}" ${health#xm } >"$work/doctor" || { cat "$work/doctor" >&2; fail 'the container is not healthy'; }
stop_service
! "${run[@]}" ${health#xm } >/dev/null 2>&1 || fail 'a container whose server has stopped is healthy'
