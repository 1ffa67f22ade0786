#!/bin/sh
# Runs one server for as long as its owner lives.
#
#     sh guard.sh GRACE_SECONDS COMMAND [ARGUMENT ...]     standard input: the read end of the owner's pipe
#
# Only the owner holds the write end, and nothing is ever written: the pipe ends exactly when the owner closes it or dies,
# by SIGKILL too. The server then gets SIGTERM, and SIGKILL if it still runs GRACE_SECONDS later. If the server ends by
# itself, the guard ends with its status. Two shells share the work, one waits for the server and one for the pipe, so
# that the server is stopped even if the first of them was killed.
#
# A POSIX shell can only name the descriptors 0 to 9: those meant for the server must be 10 or above.
grace=$1
shift
exec 3<&0 </dev/null

"$@" 3<&- &
server=$!

{
    while read -r _ <&3; do :; done
    exec 3<&-
    nap=
    trap 'kill "$nap" 2>/dev/null; exit 0' TERM
    kill -TERM "$server" 2>/dev/null
    sleep "$grace" &
    nap=$!
    wait "$nap"
    kill -KILL "$server" 2>/dev/null
} &
watcher=$!
exec 3<&-

# `wait` also returns when a trap ran, so it is asked again until the server has really ended.
trap 'kill -TERM "$server" 2>/dev/null' HUP INT TERM
wait "$server"
status=$?
while kill -0 "$server" 2>/dev/null; do
    wait "$server"
    status=$?
done
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
