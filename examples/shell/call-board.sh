#!/bin/sh
# Calls a procedure of a board over HTTP.
#
#     BOARDWALK_API_KEY_FILE=key call-board.sh <board> <procedure> [kwargs as JSON]
#     BOARDWALK_API_KEY_FILE=key call-board.sh my-gateway echo '{"message": "hello"}'
#
# Prints the answer. Exit code 0: the board answered; 1: it did not, and the answer (a problem
# document with a stable `code`) says why. Needs curl.
set -eu

if [ $# -lt 2 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 64
fi
api=${BOARDWALK_API_URL:-http://127.0.0.1:8812}
if [ -z "${BOARDWALK_API_KEY:-}" ]; then
  BOARDWALK_API_KEY=$(cat "${BOARDWALK_API_KEY_FILE:?set BOARDWALK_API_KEY or BOARDWALK_API_KEY_FILE}")
fi

# The key goes in by stdin: every user of a machine can read the arguments of its processes.
printf 'header = "Authorization: Bearer %s"\n' "$BOARDWALK_API_KEY" |
  curl --config - --silent --show-error --fail-with-body \
    --max-time 35 \
    --header 'Content-Type: application/json' \
    --data "{\"kwargs\": ${3:-"{}"}, \"timeoutMs\": 30000}" \
    "$api/v1/boards/$1/rpc/$2" || exit 1
echo
