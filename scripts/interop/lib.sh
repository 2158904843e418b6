# What the parts of interop.sh share: counting cases, and xm's servers.

python=/usr/bin/python3 # Debian's, which has Debian's modules
cases=0 failed=0
title='' before=0
servers=() postfixes=()
cleanups=() # of the parts: functions that finish calls

# finish is what runs at the exit, whose code it keeps. Parts set no trap of
# their own, in which that code would be lost: they add to cleanups.
finish() {
  local code=$? cleanup
  for cleanup in "${cleanups[@]}"; do "$cleanup"; done
  stop_servers
  rm -rf "$work"
  exit "$code"
}

fatal() { printf 'interop.sh: %s\n' "$*" >&2; exit 1; }

need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || fatal "$tool is missing"
  done
}

# group TITLE: the cases from here on. end_group prints how many there were.
group() {
  end_group
  title=$1 before=$cases
}
end_group() {
  [ -n "$title" ] || return 0
  printf '%-40s %d cases\n' "$title" $((cases - before))
  [ "$cases" -gt "$before" ] || fatal "$title ran no case"
  title=''
}

# check NAME COMMAND...: one case, which passes if the command succeeds.
check() {
  local name=$1
  shift
  cases=$((cases + 1))
  if ! "$@" >"$work/out" 2>&1; then
    failed=$((failed + 1))
    printf 'FAIL %s\n' "$name"
    tail -20 "$work/out" | sed 's/^/     /'
  fi
}

# serve NAME ARG...: xm, with its log in NAME.log, until the part ends.
serve() {
  local name=$1
  shift
  xm "$@" 2>"$name.log" &
  servers+=($!)
}
# port NAME SERVICE: where that xm listens, when it does.
port() {
  local tries found
  for tries in $(seq 100); do
    found=$(tr -d '"{}' <"$1.log" | tr ',:' ' =' | sed -n "s/.*msg=listening service=$2 addr=127.0.0.1=\([0-9]*\).*/\1/p") # text or JSON
    [ -z "$found" ] || { echo "$found"; return; }
    sleep 0.1
  done
  cat "$1.log" >&2
  fatal "xm's $2 does not listen"
}
stop_servers() {
  local pid dir
  for pid in "${servers[@]}"; do
    kill "$pid" 2>/dev/null || true # it may have died, which its cases told
    wait "$pid" || true
  done
  for dir in "${postfixes[@]}"; do
    stop_postfix "$dir"
  done
  servers=() postfixes=()
}

# key_pairs NAME...: directories with a key pair each, and one, "both", with the
# keys of all as NAME.priv and NAME.pub.
key_pairs() {
  local name
  mkdir -p "$@" both
  for name in "$@"; do
    xm --keys "$name" keygen >keygen.log 2>&1
    cp "$name/key.priv" "both/$name.priv"
    cp "$name/key.pub" "both/$name.pub"
  done
}
