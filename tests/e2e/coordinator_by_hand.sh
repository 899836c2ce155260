#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# coordinator_by_hand.sh - a coordinator that nobody's launcher started: found by its status file, joined,
# asked for checkpoints by hand and by interval, left, joined again, ended without a trace.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
place hand
job=hand.$tag
cd "$dir" || exit 1

until_true() { within 10 "$@" || fail "never true: $*"; }
is_state() { [ "$(state_of "$job")" = "$1" ]; }

"$bin/ckpt_coordinator" --listen=tcp:127.0.0.1:7779 2>err; [ $? = 2 ] || fail "tcp: is not refused"
grep -q 'unix:PATH only' err || fail "tcp: $(cat err)"
"$bin/ckpt_coordinator" --listen=relative 2>err; [ $? = 2 ] || fail "a relative path is not refused"

"$bin/ckpt_coordinator" --daemon --listen="unix:$dir/socket" --status-file=status --name="$job" \
	--checkpoint-dir=store || fail "cannot start"
coordinator=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' status)
kill -0 "$coordinator" || fail "no pid in $(cat status)"
grep -q "\"name\": \"$job\"" status || fail "no name in $(cat status)"
is_state starting || fail "state is $(state_of "$job")"
"$bin/ckpt_coordinator" --name="$job" 2>err; [ $? = 1 ] || fail "one name, two coordinators"
grep -q E-EXISTS err || fail "$(cat err)"

for round in 1 2; do
	"$bin/ckpt_launch" --coordinator="unix:$dir/socket" sh -c 'while :; do sleep 0.1; done' </dev/null >/dev/null 2>&1 &
	launch=$!
	until_true is_state running
	"$bin/ckpt_launch" --coordinator="unix:$dir/socket" true 2>err && fail "two programs under one coordinator"
	[ "$("$bin/ckpt_command" --checkpoint --leave-running --id="hand$round" "$job")" = "$dir/store/hand$round" ] ||
		fail "no checkpoint in round $round"
	"$bin/ckpt_command" --kill "$job" || fail "--kill"
	wait $launch
	until_true is_state starting
done

"$bin/ckpt_command" --interval=100ms "$job"
"$bin/ckpt_launch" --coordinator="unix:$dir/socket" sh -c 'while :; do sleep 0.1; done' </dev/null >/dev/null 2>&1 &
launch=$!
sleep 1.5
"$bin/ckpt_command" --interval=off "$job"
"$bin/ckpt_command" --wait "$job"
[ "$(ls store | grep -c '^[0-9]*$')" = 2 ] || fail "two of the interval's are to be kept: $(ls -A store)"
[ -e store/hand1 ] && [ -e store/hand2 ] || fail "one made by hand was removed: $(ls -A store)"
"$bin/ckpt_command" --rm --checkpoint-dir=store "$job/hand1" || fail "--rm"
"$bin/ckpt_command" --kill "$job"
wait $launch

kill "$coordinator"
until_true gone socket
"$bin/ckpt_command" --status "$job" 2>/dev/null; [ $? = 3 ] || fail "still there after SIGTERM"
coordinator=
exit $bad
