#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# pager.sh - the process that reads a restored job's memory behind its back: what waits for it, what
# becomes of the job when it dies or finds a damaged page, many at once, and that nothing of it is left.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
victim=${E2E_PROGRAMS:-$bin/tests/e2e}/victim
[ -x "$victim" ] || skip "there is no $victim"
place pager
job=pager.$tag work=$dir/work
run_dir=$(run_dir_of "$job")
mkdir "$work" && cd "$work" || exit 1

# Pager and guard show the environment of ckpt_restart, from which they were forked.
named() { for pid in $(ours); do [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && echo "$pid"; done; }
run() { timeout 60 "$@"; }
restart() {	# [OPTION]...: in the background
	"$bin/ckpt_restart" "$@" "$job" >"$dir/restart.out" 2>&1 </dev/null &
	front=$!
}
loading() { is_there "$run_dir/loading"; }
loading_or_ended() { loading || ended "$front"; }

"$bin/ckpt_launch" --name="$job" "$victim" 400 >"$dir/launch.out" 2>&1 </dev/null &
within 60 is_there "$work/ready" || { fail "the program does not start"; exit 1; }
run "$bin/ckpt_command" --checkpoint --id=one "$job" >"$dir/command.out" 2>&1 || fail "the checkpoint"
wait
within 5 nobody_left || fail "processes are left"

restart
if ! within 30 loading_or_ended || ! loading; then
	kill -9 "$front" 2>/dev/null
	echo "memory cannot be read behind the program's back here (it takes CAP_SYS_PTRACE)"
	exit 77
fi
# Who asks for a checkpoint gets one of the whole memory.
run "$bin/ckpt_command" --checkpoint --leave-running --id=two "$job" >"$dir/command.out" 2>&1 ||
	fail "a checkpoint while memory is being read"
loading && fail "the checkpoint did not wait"
run "$bin/ckpt_command" --wait "$job" || fail "--wait"
[ -z "$(named ckpt_pager)$(named ckpt_guard)" ] || fail "the pager does not end"
: >"$work/stop"; wait "$front" || fail "the job was harmed: status $?"
within 5 nobody_left || fail "processes are left"
rm "$work/stop"
for id in one two; do
	"$bin/ckpt_restart" "$job/$id" >"$dir/restart.out" 2>&1 </dev/null & front=$!
	within 30 loading
	run "$bin/ckpt_command" --wait "$job" || fail "--wait ($id)"
	loading && fail "--wait does not wait ($id)"
	: >"$work/stop"; wait "$front" || fail "restored from $id: status $?"
	rm "$work/stop"
	within 5 gone "$run_dir" || fail "$run_dir is left"
done
ok "what waits for the memory"

# A program that finds no pager must not find zeros either.
for who in ckpt_pager ckpt_guard; do
	restart
	within 30 loading
	victim_of=$(named $who)
	kill -9 $victim_of
	if [ $who = ckpt_guard ]; then
		: >"$work/stop"; wait "$front" || fail "without the guard: status $?"
		rm "$work/stop"
	else
		wait "$front"; status=$?
		[ "$status" = 125 ] || fail "without the pager: status $status"
		grep -q E-PROCESS-DIED "$dir/restart.out" || fail "it does not say what happened"
		grep -q "memory differs" "$dir/launch.out" "$dir/restart.out" && fail "the program saw other memory"
	fi
	within 5 nobody_left || fail "processes are left after $who was killed: $(list_ours)"
	within 5 gone "$run_dir" || fail "$run_dir is left"
done
ok "its death"

# Many of one image, each with its own memory.
for i in 1 2 3 4 5; do
	mkdir "$dir/many$i"
	"$bin/ckpt_restart" --name="$job.$i" "$job/one" >"$dir/many$i.out" 2>&1 </dev/null &
	eval "front$i=$!"
done
sleep 0.3
: >"$work/stop"
for i in 1 2 3 4 5; do eval "wait \$front$i" || fail "one of many: $i, status $?"; done
rm "$work/stop"
ok "many at once"

# A damaged page stops the job, whether it is found before or behind it.
for image in "$CKPT_DIR/$job/one"/[0-9]*.img; do
	printf 'x' | dd of="$image" bs=1 seek=$((200 << 20)) conv=notrunc status=none
done
for option in '' --eager; do
	timeout 60 "$bin/ckpt_restart" $option "$job/one" >"$dir/restart.out" 2>&1 </dev/null
	status=$?
	[ "$status" = 125 ] && grep -q E-CORRUPT "$dir/restart.out" ||
		fail "a damaged image is not refused ($option): status $status"
	within 5 nobody_left || fail "processes are left of a damaged one ($option)"
	within 5 gone "$run_dir" || fail "$run_dir is left"
done
ok "damage"
exit $bad
