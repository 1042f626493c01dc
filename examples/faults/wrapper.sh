#!/bin/sh
# Starts a service the way many images do: a shell that stays in front of it and passes nothing on.
#
#   wrapper.sh [COMMAND ARGUMENTS...]      default: the plain subject of this folder
here=$(dirname "$0")
[ "$#" -gt 0 ] || set -- node "$here/external-leak.js" --fixed
echo "wrapper: starting $1"
"$@"
status=$?
echo "wrapper: $1 ended with status $status"
exit "$status"
