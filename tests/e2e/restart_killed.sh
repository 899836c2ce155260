#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# restart_killed.sh - the keeper of a restored job is killed: the program runs on, still gets the signals
# that ckpt_restart gets, and ckpt_restart ends when the program does, leaving nothing.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
place killed
job=killed.$tag
fail() { echo "FAIL: $*"; exit 1; }

lines() { [ "$(wc -l <"$dir/out")" -gt "$1" ]; }
keeper() {
	"$bin/ckpt_command" --status --json "$job" | sed -n 's/^ *"keeper": \([0-9]*\),*$/\1/p'
}

"$bin/ckpt_launch" -q --name="$job" sh -c 'trap "echo told; exit 5" TERM; while :; do echo .; sleep 0.05; done' \
	</dev/null >"$dir/out" &
within 20 lines 3 || fail "the program does not start"
"$bin/ckpt_command" --checkpoint "$job" >/dev/null || fail checkpoint
wait 2>/dev/null
"$bin/ckpt_restart" "$job" </dev/null >>"$dir/out" &
front=$!
before=$(wc -l <"$dir/out")
within 20 lines $((before + 3)) || fail "the program is not restored"
pid=$(keeper)
kill -9 "$pid" || fail "no keeper"
before=$(wc -l <"$dir/out")
within 20 lines $((before + 3)) || fail "the program does not run on without its keeper"
kill -TERM "$front"
within 20 ended "$front" || fail "ckpt_restart does not end"
wait "$front"
[ $? = 137 ] || fail "status of ckpt_restart"
[ "$(tail -n 1 "$dir/out")" = told ] || fail "the program was not told"
[ -z "$(state_of "$job")" ] || fail "the job is still there"
echo PASS
