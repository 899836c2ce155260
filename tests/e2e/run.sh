#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh SCENARIO FLAVOR - run a scenario (scn.h) under ckpt_launch and do to it, whenever it is ready:
#   resume   three checkpoints ($E2E_RESUMES) that leave it running
#   restart  a checkpoint that ends it; no process may be left; ckpt_restart
#   again    one that leaves it running, then as restart; and all that once more with what was restored
#   user     as again, all of it as an ordinary user (root only)
#   mapped   as user, or as whoever we are; each restart with --map-memory
#   inside   as again, in a container of its own from the start: ckpt_launch --container
#   apart    as again, in an ipc namespace that the program makes
#   users    as user, in one in a user namespace that the program makes
# Prints one line, and after a failure all that was said. Exit status: 0 passed, 77 skipped, 1 failed.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
scenario=$1 flavor=$2
program=${E2E_PROGRAMS:-$bin/tests/e2e}/$scenario
limit=${E2E_LIMIT:-30}
place e2e
work=$dir/work job=e2e.${scenario:0:30}.$tag
mkdir "$work"
: >"$dir/out"
uid=$(id -u)
cd / || exit 1		# whoever works below $dir is of the job
export HOME=$dir
as=() own_ipc=()
front='' status='' restores=0 started=$(date +%s%N)

# Who works in the directory is of the job, too.
traces() {
	grep -lzsxF "E2E_TAG=$dir" /proc/[0-9]*/task/[0-9]*/environ
	find /proc/[0-9]*/task/[0-9]*/cwd -maxdepth 0 -lname "$dir*" 2>/dev/null
}

finish() {	# RESULT STATUS [TEXT]
	local ms=$((($(date +%s%N) - started) / 1000000))
	trap - EXIT
	printf '%s %s/%s %d.%d s%s\n' "$1" "$scenario" "$flavor" $((ms / 1000)) $((ms % 1000 / 100)) "${3:+: $3}"
	if [ "$2" = 1 ]; then
		sed 's/^/    /' "$dir/out" "$dir/said" 2>/dev/null | tail -n 40
	fi
	if [ -n "$front" ]; then kill -9 "$front"; wait "$front"; fi 2>/dev/null
	end_ours
	if [ -e "$work/ipc" ] && [ ${#own_ipc[@]} = 0 ] && [ "$flavor" != inside ]; then (cd "$work" && "$program" clean); fi	# what a job that was ended leaves
	if [ -n "${E2E_KEEP:-}" ] && [ "$2" = 1 ]; then echo "    kept: $dir"; else rm -rf "$dir"; fi
	exit "$2"
}
fail() { finish FAIL 1 "$*"; }
trap 'finish FAIL 1 interrupted' EXIT INT TERM HUP

start() {	# COMMAND...: in the background, as the job's terminal would
	(cd "$work" && exec "${as[@]}" "$@" </dev/null >>"$dir/out" 2>&1) &
	front=$!
}

command() {	# ckpt_command, with a limit
	(cd "$work" && exec timeout "$limit" "${as[@]}" "$bin/ckpt_command" "$@" </dev/null >>"$dir/said" 2>&1)
}

leave_running() {
	command --checkpoint --leave-running "$job" || fail "ckpt_command --leave-running: status $?"
}

end_and_restart() {
	command --checkpoint "$job" || fail "ckpt_command --checkpoint: status $?"
	within "$limit" ended "$front" || fail "the job was checkpointed, but its front does not end"
	wait "$front"; status=$?
	[ "$status" = 137 ] || fail "the front of a job that was ended by a checkpoint exits with $status"
	within 5 nobody_left || fail "processes are left: $(list_ours | tr '\n' ';')"
	start "$bin/ckpt_restart" "${restart_options[@]}" "$job"
	restores=$((restores + 1))
}

await_restored() {
	restored_or_ended() { is_running "$job" "${as[@]}" || ended "$front"; }
	within "$limit" restored_or_ended || fail "the restored job does not come up"
	ended "$front" && { wait "$front"; fail "ckpt_restart ended at once, with $?"; }
}

act() {
	restores=0
	case $flavor in
	resume)
		for _ in $(seq "${E2E_RESUMES:-3}"); do
			leave_running
		done ;;
	restart) end_and_restart ;;
	again | user | inside | apart | users | mapped) leave_running; end_and_restart; await_restored; leave_running; end_and_restart ;;
	*) fail "there is no such flavor" ;;
	esac
}

restart_options=()
if [ "$flavor" = mapped ]; then restart_options=(--map-memory); fi
if [[ $flavor = user* ]] && [ "$uid" != 0 ]; then finish SKIP 77 "only root can become another user"; fi
if [[ $flavor = user* ]] || { [ "$flavor" = mapped ] && [ "$uid" = 0 ]; }; then
	uid=54321	# not nobody's 65534: the kernel shows that for whoever has no number in a namespace
	as=(setpriv "--reuid=$uid" "--regid=$uid" --clear-groups)
	chown -R "$uid:$uid" "$dir"
	"${as[@]}" test -x "$program" || finish SKIP 77 "user $uid may not run $program"
fi
run_dir=$(run_dir_of "$job" "$uid")
[ -x "$program" ] || fail "there is no $program"
options=()
if [ "$flavor" = inside ]; then
	options=(--container)
	(cd "$work" && "${as[@]}" "$bin/ckpt_launch" --container --name="$job" true 2>"$dir/said") || {
		grep -q E-KERNEL-FEATURE "$dir/said" && finish SKIP 77 "$(cat "$dir/said")"
		fail "ckpt_launch --container"
	}
fi
case $flavor in
apart) own_ipc=(unshare --ipc) ;;
users) own_ipc=(unshare --user --map-root-user --ipc) ;;
esac
if [ ${#own_ipc[@]} != 0 ] && ! "${as[@]}" "${own_ipc[@]}" true 2>"$dir/said"; then finish SKIP 77 "$(cat "$dir/said")"; fi
start "$bin/ckpt_launch" --name="$job" "${options[@]}" "${own_ipc[@]}" "$program"

n=1
while within "$limit" is_there_or_ended "$work/ready.$n" "$front" || fail "the scenario neither ends nor gets ready"; do
	[ -e "$work/ready.$n" ] || break
	begin=$(date +%s%N)
	act
	if [ "$flavor" != resume ]; then await_restored; fi
	printf '%d %d\n' "$restores" $((($(date +%s%N) - begin) / 1000000)) >"$work/.go"
	chown --reference="$work" "$work/.go"
	mv "$work/.go" "$work/go.$n"
	n=$((n + 1))
done

wait "$front"; status=$?
[ "$status" = 77 ] && finish SKIP 77 "$(sed -n 's/^SKIP: //p' "$dir/out")"
[ "$status" = 0 ] || fail "exit status $status"
grep -qx PASS "$dir/out" || fail "it does not say PASS"
[ "$n" -gt 1 ] || fail "there was no checkpoint"
within 5 nobody_left || fail "processes are left: $(list_ours | tr '\n' ';')"
[ ! -e "$run_dir" ] || fail "$run_dir is left"
left=$(find "$dir/store" -name '.*' ! -path "$dir/store" | head -3)
[ -z "$left" ] || fail "left in the store: $left"
finish PASS 0
