#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# faults.sh [PATTERN] - every step of a checkpoint and of a restart fails, dies and hangs once (CKPT_FAULT,
# common/fault.h): the right status and a message, the job unharmed, nothing left over; and then the same try
# works. PATTERN: only those points NAME:HOW (shell pattern).
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
victim=${E2E_PROGRAMS:-$bin/tests/e2e}/victim
[ -x "$victim" ] || skip "there is no $victim"
place fault
export CKPT_FAULT=$dir/fault TMPDIR=$dir/tmp
pattern=${1:-*} job=fault.$tag work=$dir/work tried=0 front=''
mkdir "$work" "$dir/tmp"
cd "$dir" || exit 1
fail() { echo "FAIL $point $*"; sed 's/^/    /' err 2>/dev/null | tail -n 20; bad=1; }
points_of() {	# checkpoint | restart: NAME:HOW, each
	sed -n "s/^\tX(\([a-z]*\),\t*$1,.*/\1/p" "$here/../../common/fault.h" | while read -r name; do
		for how in fail kill hang; do
			# shellcheck disable=SC2254
			case $name:$how in $pattern) echo "$name:$how" ;; esac
		done
	done
}
run_dir=$(run_dir_of "$job")
nothing_stored() { [ -z "$(find store -mindepth 2 2>/dev/null | head -n 1)" ]; }

# checkpoint STATUS PATTERN OPTION...
checkpoint() {
	local want=$1 text=$2 got; shift 2
	timeout 60 "$bin/ckpt_command" --checkpoint "$@" "$job" >said 2>err </dev/null; got=$?
	[ $got = "$want" ] || fail "ckpt_command $*: status $got, not $want"
	[ -z "$text" ] || grep -Eq -e "$text" err || fail "ckpt_command $* does not say '$text'"
}

begin() {
	rm -rf "$work"; mkdir "$work"
	(cd "$work" && exec "$bin/ckpt_launch" -q --name="$job" "$victim" 3 2 >>"$work/out" 2>&1 </dev/null) &
	front=$!
	within 30 is_there "$work/ready" || fail "the program does not start: $(cat "$work/out")"
}
# unharmed: the job goes on, and ends as it should, with nothing left
unharmed() {
	local status
	: >"$work/stop"
	within 30 ended "$front" || { fail "the job does not go on"; kill -9 "$front"; }
	wait "$front"; status=$?
	[ $status = 0 ] && grep -qx PASS "$work/out" || fail "the job was harmed, status $status: $(cat "$work/out")"
	within 5 nobody_left || fail "processes are left: $(list_ours)"
	within 5 gone "$run_dir" || fail "$run_dir is left"
	[ -z "$(ls -A tmp)" ] || fail "left in the directory for temporary files: $(ls -A tmp)"
}

# ---- a checkpoint ----
point='' how=''
begin
for point in $(points_of checkpoint); do
	tried=$((tried + 1))
	for leave in true false; do
		echo "$point" >fault
		case $point in
		end:* | durable:kill | durable:hang) continue ;;	# it is there
		*:fail) checkpoint 1 "CKPT_FAULT .* '${point%:*}' \(E-FAILED\)" --leave-running=$leave ;;
		*:kill) checkpoint 1 'E-FAILED' --leave-running=$leave ;;
		*:hang) checkpoint 1 'E-TIMEOUT' --leave-running=$leave --timeout=300ms ;;
		esac
		within 10 nothing_stored || fail "left: $(find store -mindepth 2 | head -n 5)"
		is_running "$job" || fail "the job's state is '$(state_of "$job")'"
	done
done
rm -f fault
point="afterwards,"
checkpoint 0 '' --leave-running
unharmed
rm -rf store

# The checkpoint is there already when its maker dies, and whole; the job, which it was to end, may go on.
for point in $(points_of checkpoint); do
	case $point in end:kill | durable:kill) ;; *) continue ;; esac
	begin
	echo "$point" >fault
	"$bin/ckpt_command" --checkpoint --id=end "$job" >said 2>err </dev/null
	rm -f fault
	"$bin/ckpt_inspect" verify "$dir/store/$job/end" >said 2>err || fail "what is there is not whole"
	if is_running "$job"; then
		unharmed
	else
		within 10 ended "$front" || fail "the front of a job that was ended does not end"
		within 5 nobody_left || fail "processes are left: $(list_ours)"
	fi
	rm -rf store
done

# ---- a restart ----
point="before the restarts,"
begin
checkpoint 0 ''
within 10 ended "$front" || fail "the job does not end"
for point in $(points_of restart); do
	tried=$((tried + 1))
	case $point in *:hang) limit='timeout -s KILL 1' ;; *) limit='timeout -s KILL 60' ;; esac
	# shellcheck disable=SC2086
	(cd "$work" && CKPT_FAULT=$point exec $limit "$bin/ckpt_restart" "$job" >said 2>../err </dev/null) 2>/dev/null
	status=$?
	case $point:$status in
	*:fail:125) grep -q "CKPT_FAULT .* '${point%:*}'" err || fail "does not say why" ;;
	*:kill:125) [ -s err ] || fail "does not say why" ;;
	load:*:137 | job:*:137 | init:*:137 | release:*:137 | *:hang:137) ;;
	*) fail "status $status" ;;
	esac
	within 20 nobody_left || fail "processes are left: $(list_ours)"
	within 10 gone "$run_dir" || fail "$run_dir is left"
	[ -z "$(ls -A tmp)" ] || fail "left in the directory for temporary files: $(ls -A tmp)"
done
point="afterwards,"
(cd "$work" && exec "$bin/ckpt_restart" "$job" >>"$work/out" 2>&1 </dev/null) &
front=$!
unharmed

echo "$tried points"
[ "$tried" -gt 0 ] && [ "$bad" = 0 ]
