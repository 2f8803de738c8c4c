#!/bin/sh
# Run a command while a token is held: hold.sh SOCKET NAME COMMAND...
# Exit code: the command's; 75 if the token was not granted, 76 if it was lost meanwhile.
set -eu
socket=$1 name=$2
shift 2
folder=$(mktemp -d)
mkfifo "$folder/answer"
curl -sN --unix-socket "$socket" -X POST "http://coord/v1/tokens/$name?timeout=${TIMEOUT:-60}" \
  >"$folder/answer" &
held=$!
exec 3<"$folder/answer"
rm -r "$folder"
trap 'kill "$held" 2>/dev/null || :' EXIT # the end of the connection gives the token back
IFS= read -r holding <&3 || holding='no answer'
case $holding in
  *'"term":'*) COORD_TERM=$(printf %s "$holding" | sed 's/.*"term": *\([0-9]*\).*/\1/') ;;
  *) printf '%s\n' "$holding" >&2; exit 75 ;;
esac
export COORD_TERM
"$@" 3<&- &
work=$!
# A second line, or the end of the answer: the token is lost.
{ IFS= read -r lost <&3 || :; kill -9 "$work" 2>/dev/null || :; } &
watch=$!
wait "$work" && code=0 || code=$?
kill "$watch" 2>/dev/null || :
[ "$code" -ne 137 ] || code=76
exit "$code"
