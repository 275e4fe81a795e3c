# A server for scripts: in a process of its own, on a port that is free, gone with the script, even if that is killed.
# Bash; to be read by `source`.
#
#     source redkeep.sh
#     start_redkeep                     # options are those of redis-server: start_redkeep --requirepass secret
#     echo "$REDKEEP_URL"
#     ask_redkeep SET greeting hello    # by redis-cli where that is installed, otherwise by bash alone
#     stop_redkeep
#
# The program is `redkeep` of your PATH, or the one that REDKEEP_PROGRAM names.

start_redkeep() {
    REDKEEP_HOME=$(mktemp -d) || return
    mkfifo "$REDKEEP_HOME/address"
    "${REDKEEP_PROGRAM:-redkeep}" --port 0 --ready-fd 3 --exit-with-parent --save '' --enable-test-commands yes "$@" \
        3>"$REDKEEP_HOME/address" >"$REDKEEP_HOME/log" 2>&1 </dev/null &
    REDKEEP_PID=$!
    # The line comes when clients are served; where the server does not start, none does.
    if ! read -r REDKEEP_URL <"$REDKEEP_HOME/address"; then
        echo "redkeep does not start:" >&2
        cat "$REDKEEP_HOME/log" >&2
        return 1
    fi
}

stop_redkeep() {
    kill "$REDKEEP_PID" && wait "$REDKEEP_PID"
    rm -r "$REDKEEP_HOME"
}

# Sends a command and prints its reply.
ask_redkeep() {
    if command -v redis-cli >/dev/null && [ -z "$REDKEEP_NO_CLI" ]; then
        redis-cli -u "$REDKEEP_URL" "$@"
        return
    fi
    local address=${REDKEEP_URL#redis://} word
    exec 4<>"/dev/tcp/${address%:*}/${address##*:}"
    {
        printf '*%d\r\n' $#
        for word in "$@"; do
            # Lengths are in bytes.
            printf '$%d\r\n%s\r\n' "$(LC_ALL=C; echo ${#word})" "$word"
        done
    } >&4
    read_reply <&4
    exec 4<&-
}

# Prints one reply, the elements of an array on a line each.
read_reply() {
    local line text i
    IFS= read -r line
    line=${line%$'\r'}
    case $line in
        '$-1' | '*-1') echo ;;
        '$'*)
            LC_ALL=C IFS= read -r -N $((${line#?} + 2)) text
            echo "${text%$'\r\n'}"
            ;;
        '*'*) for ((i = 0; i < ${line#?}; i++)); do read_reply; done ;;
        *) echo "${line#?}" ;;
    esac
}
