#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# faults.sh [PATTERN] - every step of a checkpoint and of a restart fails, dies and hangs once (CKPT_FAULT,
# common/fault.h): the right status and a message, the job unharmed, nothing left over; and then the same try
# works. PATTERN: only those points NAME:HOW (shell pattern).
set -u
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	if [ "$fd" -gt 2 ] && [ "$fd" != 255 ]; then eval "exec $fd>&-"; fi
done
bin=$(cd "${builddir:-.}" && pwd) || exit 1
here=$(cd "$(dirname "$0")" && pwd)
victim=${E2E_PROGRAMS:-$bin/tests/e2e}/victim
[ -x "$bin/ckpt_restart" ] && [ -x "$victim" ] || { echo "there is no $bin/ckpt_restart or no $victim"; exit 77; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/ckpt-fault.XXXXXX") || exit 1
export CKPT_DIR=$dir/store CKPT_FAULT=$dir/fault TMPDIR=$dir/tmp
pattern=${1:-*} job=fault.${dir##*.} work=$dir/work bad=0 tried=0 front=''
mkdir "$work" "$dir/tmp"
cd "$dir" || exit 1

ours() { grep -lzsxF "E2E_TAG=$dir" /proc/[0-9]*/environ | cut -d/ -f3; }
# Whoever is of the job, or restores it.
nobody_left() { [ -z "$(ours)" ]; }
cleanup() {
	cd /
	for pid in $(ours); do kill -9 "$pid" 2>/dev/null; done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
fail() { echo "FAIL $point $*"; sed 's/^/    /' err 2>/dev/null | tail -n 20; bad=1; }
within() {
	local end=$((SECONDS + $1)); shift
	until "$@"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.02; done
}
points_of() {	# checkpoint | restart: NAME:HOW, each
	sed -n "s/^\tX(\([a-z]*\),\t*$1,.*/\1/p" "$here/../../common/fault.h" | while read -r name; do
		for how in fail kill hang; do
			# shellcheck disable=SC2254
			case $name:$how in $pattern) echo "$name:$how" ;; esac
		done
	done
}
is_there() { [ -e "$1" ]; }
ended() { ! kill -0 "$front" 2>/dev/null; }
run_dir=/run/ckpt/$job
[ "$(id -u)" = 0 ] || run_dir=/tmp/ckpt-$(id -u)/$job
gone() { [ ! -e "$1" ]; }
nothing_stored() { [ -z "$(find store -mindepth 2 2>/dev/null | head -n 1)" ]; }

# checkpoint STATUS PATTERN OPTION...
checkpoint() {
	local want=$1 text=$2 got; shift 2
	timeout 60 "$bin/ckpt_command" --checkpoint "$@" "$job" >said 2>err </dev/null; got=$?
	[ $got = "$want" ] || fail "ckpt_command $*: status $got, not $want"
	[ -z "$text" ] || grep -Eq -e "$text" err || fail "ckpt_command $* does not say '$text'"
}
status_of() { "$bin/ckpt_command" --status "$job" 2>/dev/null | awk 'NR == 2 { print $2 }'; }

begin() {
	rm -rf "$work"; mkdir "$work"
	(cd "$work" && E2E_TAG=$dir exec "$bin/ckpt_launch" -q --name="$job" "$victim" 3 2 >>"$work/out" 2>&1 </dev/null) &
	front=$!
	within 30 is_there "$work/ready" || fail "the program does not start: $(cat "$work/out")"
}
# unharmed: the job goes on, and ends as it should, with nothing left
unharmed() {
	local status
	: >"$work/stop"
	within 30 ended || { fail "the job does not go on"; kill -9 "$front"; }
	wait "$front"; status=$?
	[ $status = 0 ] && grep -qx PASS "$work/out" || fail "the job was harmed, status $status: $(cat "$work/out")"
	within 5 nobody_left || fail "processes are left: $(ours | xargs ps -o pid,stat,args -p)"
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
		[ "$(status_of)" = running ] || fail "the job's state is '$(status_of)'"
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
	if [ "$(status_of)" = running ]; then
		unharmed
	else
		within 10 ended || fail "the front of a job that was ended does not end"
		within 5 nobody_left || fail "processes are left: $(ours | xargs ps -o pid,stat,args -p)"
	fi
	rm -rf store
done

# ---- a restart ----
point="before the restarts,"
begin
checkpoint 0 ''
within 10 ended || fail "the job does not end"
for point in $(points_of restart); do
	tried=$((tried + 1))
	case $point in *:hang) limit='timeout -s KILL 1' ;; *) limit='timeout -s KILL 60' ;; esac
	# shellcheck disable=SC2086
	(cd "$work" && E2E_TAG=$dir CKPT_FAULT=$point exec $limit "$bin/ckpt_restart" "$job" >said 2>../err </dev/null) 2>/dev/null
	status=$?
	case $point:$status in
	*:fail:125) grep -q "CKPT_FAULT .* '${point%:*}'" err || fail "does not say why" ;;
	*:kill:125) [ -s err ] || fail "does not say why" ;;
	load:*:137 | job:*:137 | init:*:137 | release:*:137 | *:hang:137) ;;
	*) fail "status $status" ;;
	esac
	within 20 nobody_left || fail "processes are left: $(ours | xargs ps -o pid,stat,args -p)"
	within 10 gone "$run_dir" || fail "$run_dir is left"
	[ -z "$(ls -A tmp)" ] || fail "left in the directory for temporary files: $(ls -A tmp)"
done
point="afterwards,"
(cd "$work" && E2E_TAG=$dir exec "$bin/ckpt_restart" "$job" >>"$work/out" 2>&1 </dev/null) &
front=$!
unharmed

echo "$tried points"
[ "$tried" -gt 0 ] && [ "$bad" = 0 ]
