#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# launch_checkpoint.sh - how ckpt_launch ends when a checkpoint ends the job: asked for by ckpt_command, or
# by a signal of --checkpoint-on; and that the program runs on when a checkpoint is refused.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
launch=$bin/ckpt_launch command=$bin/ckpt_command restart=$bin/ckpt_restart
place launch
cd "$dir" || exit 1
job=launch.$tag
quiet() { "$@" >/dev/null; }
running() { within 10 grep -qs up out || { fail "it does not start"; exit 1; }; }
program='echo up; exec sleep 60'
note="job $job was checkpointed to .* and ended; continue it with: ckpt_restart $job"

: >err
"$launch" -n "$job" sh -c "$program" >out 2>>err </dev/null & pid=$!
running
check "leave running" quiet "$command" --checkpoint --leave-running "$job"
check "the program is still there" kill -0 $pid
check "checkpoint and end" quiet "$command" --checkpoint "$job"
wait $pid; check "status 137" [ $? = 137 ]
check "one line says where to" [ "$(grep -c "$note" err)/$(wc -l <err)" = 1/1 ]
: >out

: >err
"$launch" -q -n "$job" sh -c "$program" >out 2>>err </dev/null & pid=$!
running
"$command" --checkpoint "$job" >/dev/null
wait $pid; check "status 137 with --quiet" [ $? = 137 ]
check "and no word" [ ! -s err ]
: >out

# The line gets through a pipe as well, which ckpt_launch does not hold open in the meantime.
{ "$launch" -n "$job" sh -c "$program" 2>&1 >out </dev/null; echo "status $?"; } | cat >err & pid=$!
running
"$command" --checkpoint "$job" >/dev/null
wait $pid; check "status and line through a pipe" [ "$(grep -c "$note" err)/$(grep -c 'status 137' err)" = 1/1 ]
: >out

for sig in USR1 TERM; do
	: >err
	"$launch" -n "$job" --checkpoint-on=USR1,SIGTERM sh -c "$program" >out 2>>err </dev/null & pid=$!
	running
	kill -$sig $pid
	wait $pid; check "--checkpoint-on, $sig: status 85" [ $? = 85 ]
	check "--checkpoint-on, $sig: a line" grep -q "$note" err
	: >out
done
# The restored job does the same, with the same signals, and again.
for sig in TERM USR1; do
	: >err
	"$restart" "$job" >out 2>>err </dev/null & pid=$!
	within 10 is_running "$job"
	kill -$sig $pid
	wait $pid; check "--checkpoint-on, restored, $sig: status 85" [ $? = 85 ]
	check "--checkpoint-on, restored, $sig: a line" grep -q "$note" err
done
: >out
# Sent to the whole group it does not end the program before it is saved.
: >err
timeout -s USR1 1 "$launch" -n "$job" --checkpoint-on=USR1 sh -c "$program" >out 2>>err </dev/null
check "--checkpoint-on, sent to the group" grep -q "$note" err
check "every checkpoint is complete" [ "$("$command" --ls "$job" | grep -c ' yes ')" = 9 ]
: >out

# A pipe to the outside: refused, with the reason, and the program ends as it will.
mkfifo fifo
(exec 7<>fifo 8>fifo; exec sleep 5) & holder=$!
: >err
"$launch" -n "$job" --checkpoint-on=USR1 sh -c 'exec 7>fifo; echo up; sleep 2; exit 6' >out 2>>err </dev/null & pid=$!
running
kill -USR1 $pid
wait $pid; status=$?
if [ $status = 6 ]; then
	check "a refused checkpoint says why" grep -q 'no checkpoint: ' err
else
	check "or was possible" [ $status = 85 ]
fi
kill $holder

# What is left in the background is a job still.
: >out
: >err
"$launch" -n "$job" sh -c 'setsid sleep 60 >/dev/null 2>&1 </dev/null & echo up' >out 2>>err </dev/null
check "a daemon does not hold us up" [ $? = 0 ]
check "a daemon can be checkpointed" quiet "$command" --checkpoint "$job"
over() { ! "$command" --status "$job" >/dev/null 2>&1; }
check "and then the job is over" within 5 over
exit $bad
