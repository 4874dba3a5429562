# Runs a server, and stops it when its owner says so or is gone; then removes its private directory.
#
# sh -c … NAME DIRECTORY GRACE COMMAND...: the private directory, the whole seconds between TERM and KILL, and
# the server's command line.
#
# * stdin is the pipe. It moves to 3, because a shell gives a background command /dev/null for stdin.
#   The server must not hold it: nothing would be wrong, but nobody could say who reads it.
# * `wait` also returns when the shell itself is signalled, hence the loop.
# * CONT, because a stopped process (SIGSTOP) cannot act on TERM.
# * The last kill takes the whole process group, which this shell leads: the reader and its `sleep`.

directory=$1 grace=$2
shift 2
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
trap 'kill -TERM "$server"' HUP INT TERM
(
  trap - HUP INT TERM
  read -r _ <&3
  kill -TERM "$server"
  kill -CONT "$server"
  sleep "$grace"
  kill -KILL "$server"
) 2>/dev/null &
wait "$server"
status=$?
while kill -0 "$server" 2>/dev/null; do
  wait "$server"
  status=$?
done
trap '' HUP INT TERM
kill -TERM 0
rm -rf -- "$directory"
exit "$status"
