#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# generations.sh - a counter is checkpointed and restored $GENERATIONS times (default 20), each time from
# what was restored before; and one checkpoint is restored ten times at once. No number is missing or doubled.
# Of a store in /dev/shm, where the job has files of its own, no checkpoint has another in it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
PATH=$bin:$PATH
place gen
job=gen.$tag many=10 fronts=()
shm=
leaving() { rm -rf "$shm"; }
cd "$dir" || exit 1

lines() { wc -l <"$1"; }
# grows FILE PID: until it has more lines than now; PID is the one that makes it so
grows() {
	local had end=$((SECONDS + 30)); had=$(lines "$1")
	until [ "$(lines "$1")" -gt "$had" ]; do
		kill -0 "$2" 2>/dev/null || { fail "it has ended"; return 1; }
		[ $SECONDS -lt $end ] || { fail "it does not count on"; return 1; }
		sleep 0.02
	done
}
# counted FILE FROM: each number from FROM on once, in order
counted() { awk -v n="$2" '$1 != n { exit 1 } { n++ }' "$1" || fail "$1: not each number once"; }

: >out
# shellcheck disable=SC2016
ckpt_launch -q --name="$job" --checkpoint-dir="$dir/c" sh -c 'i=0
while [ ! -e stop ]; do echo $i; i=$(expr $i + 1); sleep 0.02; done; exit 7' >out 2>err &
front=$!
for i in $(seq "${GENERATIONS:-20}"); do
	grows out $front && ckpt_command -q --checkpoint --id="$i" "$job" >/dev/null || { fail "checkpoint $i"; break; }
	wait $front
	last=$(lines out)
	ckpt_restart -q --image-path="$dir/c/$i" >>out 2>>err &
	front=$!
done
grows out $front
ckpt_command -q --kill "$job"
wait $front
counted out 0
ok "$i generations, $(lines out) numbers"

for n in $(seq $many); do
	: >"many.$n"
	ckpt_restart -q --name="$job$n" --image-path="$dir/c/$i" --stdout="many.$n" 2>>err &
	fronts+=($!)
done
for n in $(seq $many); do grows "many.$n" "${fronts[n - 1]}"; done
: >stop
for n in $(seq $many); do
	wait "${fronts[n - 1]}"; status=$?
	[ $status = 7 ] || fail "number $n ended with $status"
	counted "many.$n" "$last"
done
ok "$many at once"

if shm=$(mktemp -d /dev/shm/ckpt-gen.XXXXXX 2>/dev/null); then
	: >out
	# shellcheck disable=SC2016
	ckpt_launch -q --name="$job" --checkpoint-dir="$shm/c" sh -c 'mkdir "$0/own"; head -c 10000 /dev/zero >"$0/own/data"
		until [ -e stop2 ]; do echo; sleep 0.02; done; wc -c <"$0/own/data"' "$shm" >out 2>err &
	front=$!
	for n in 1 2 3; do
		grows out $front && ckpt_command -q --checkpoint --leave-running --id=$n "$job" >/dev/null || fail "checkpoint $n"
	done
	[ "$(ckpt_inspect records "$shm/c/3" | grep -c "$shm/c/.*img")" = 0 ] || fail "a checkpoint in a checkpoint"
	ckpt_inspect records "$shm/c/3" | grep -q "$shm/own/data" || fail "the job's file is not in it"
	ckpt_command -q --kill "$job"
	wait $front
	rm -r "$shm/own"
	ckpt_restart -q --image-path="$shm/c/3" >out 2>>err &
	front=$!
	grows out $front
	: >stop2
	wait $front || fail "it ended with $?"
	[ "$(tail -n 1 out)" = 10000 ] || fail "the job's file was not there: $(tail -n 1 out)"
	ok "a store in /dev/shm"
fi
exit $bad
