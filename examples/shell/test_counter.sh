#!/usr/bin/env bash
# Tests of a script without any framework: REDKEEP_PROGRAM=path/to/redkeep examples/shell/test_counter.sh
set -euo pipefail
source "$(dirname "$0")/redkeep.sh"

# What is tested: counts a visit, and forgets all visits an hour after the first.
visit() {
    ask_redkeep INCR "visits:$1"
    ask_redkeep EXPIRE "visits:$1" 3600 NX >/dev/null
}

expect() {
    if [ "$2" != "$3" ]; then
        echo "$1: got '$2' instead of '$3'" >&2
        exit 1
    fi
    echo "ok: $1"
}

start_redkeep
trap stop_redkeep EXIT

expect "the first visit" "$(visit home)" 1
expect "the second visit" "$(visit home)" 2
expect "another page" "$(visit about)" 1
expect "both are there" "$(ask_redkeep KEYS '*' | sort | tr '\n' ' ')" "visits:about visits:home "

ask_redkeep REDKEEP CLOCK FREEZE >/dev/null
ask_redkeep REDKEEP CLOCK ADVANCE 3599000 >/dev/null
expect "almost an hour later" "$(visit home)" 3
ask_redkeep REDKEEP CLOCK ADVANCE 2000 >/dev/null
expect "an hour later" "$(visit home)" 1

ask_redkeep SET greeting "guten Tag, schöne Welt" >/dev/null
expect "any text" "$(ask_redkeep GET greeting)" "guten Tag, schöne Welt"
expect "nothing" "$(ask_redkeep GET nothing)" ""
