#!/usr/bin/env bash
# Kills xm serve with SIGKILL at random moments under load, 100 times or as often
# as the first argument says, and checks that no accepted message is lost or
# partial and no deleted one comes back:
#
#   crash.sh [ROUNDS [SEED]]
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CONFIG_HOME=$work/config TMPDIR=$work
unset XM_CONFIG XM_KEYS
(cd "$repo" && go build -o "$work/" . ./scripts/crash)
"$work/crash" -xm "$work/xm" -rounds "${1:-100}" ${2:+-seed "$2"}
