#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# refuse_apart.sh - processes that have something for themselves which a restart could not give them again: a
# checkpoint is refused by name, and they go on as if nothing had been asked (apart.c holds them against that).
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
apart=${E2E_PROGRAMS:-$bin/tests/e2e}/apart
[ -x "$apart" ] || skip "there is no $apart"
[ "$(id -u)" = 0 ] || skip "only root can make all of them"
place apart
front='' tracer=''

# try KIND STATUS PATTERN: what ckpt_command says of it. $user: and as whom
user=()
try() {
	local kind=$1 want=$2 pattern=$3 job=apart.$1.$tag got status
	work=$dir/$kind
	mkdir -m 777 "$work"
	(cd "$work" && exec "${user[@]}" "$bin/ckpt_launch" --name="$job" "$apart" "$kind" >out 2>&1 </dev/null) &
	front=$!
	within 30 is_there_or_ended "$work/ready" "$front"
	if [ -e "$work/pid" ]; then
		(cd "$work" && exec "$apart" trace "$(cat pid)" >tracer 2>&1 </dev/null) &
		tracer=$!
		within 30 is_there "$work/traced" || { echo "FAIL $kind: $(cat "$work/tracer")"; bad=1; }
	fi
	got=0
	[ ! -e "$work/ready" ] || {
		timeout 60 "${user[@]}" "$bin/ckpt_command" --checkpoint --leave-running "$job" >"$work/said" 2>&1 </dev/null
		got=$?
	}
	: >"$work/stop"
	within 30 ended "$front" || { echo "FAIL $kind: it does not go on"; bad=1; kill -9 "$front"; return; }
	wait "$front"; status=$?
	[ -z "$tracer" ] || wait "$tracer"
	tracer=''
	[ "$status" = 77 ] && { echo "skip $kind: $(cat "$work/out")"; return; }
	if [ "$status" != 0 ] || ! grep -qx PASS "$work/out"; then
		echo "FAIL $kind was harmed, status $status: $(cat "$work/out")"; bad=1
	elif [ "$got" != "$want" ] || ! grep -Eq -e "$pattern" "$work/said"; then
		echo "FAIL $kind: status $got, says: $(cat "$work/said")"; bad=1
	else
		echo "ok   $kind"
	fi
}

try mount 0 ''
try ipc-attached 1 'from before it went into an ipc namespace.*E-UNSUPPORTED-MEMORY'
try ipc-attached-both 1 'from before it went into an ipc namespace.*E-UNSUPPORTED-MEMORY'
try ipc-forced 1 'attached by nobody.*shm_rmid_forced.*E-UNSUPPORTED-MEMORY'
try dispatch 1 'dispatches its system calls itself.*E-UNSUPPORTED-PROCESS'
try network 0 ''
set -- "$dir"/store/apart.network.*/*/
"$bin/ckpt_inspect" show --json "$1" >"$dir/shown"
tr -d ' \n' <"$dir/shown" | grep -q '"namespaces":{"net":1}' || { echo "FAIL network: $(cat "$dir/shown")"; bad=1; }
try network-address 1 'network namespace of its own with addresses of its own.*E-UNSUPPORTED-PROCESS'
try other-user 1 'user or network namespace of its own as another user.*E-UNSUPPORTED-PROCESS'
try time 1 'time namespace for its children.*no process yet.*E-UNSUPPORTED-PROCESS'
try time-both 1 'time namespace of its own, and has another.*E-UNSUPPORTED-PROCESS'
try time-users 1 'time namespace for its children.*belongs to a user namespace.*in no more.*E-UNSUPPORTED-PROCESS'
try thread-time 1 'thread that has a time namespace for its children.*E-UNSUPPORTED-PROCESS'
try new-pids 1 'pid namespace for its children .*no process yet.*E-UNSUPPORTED-PROCESS'
# A filter that the library can live with is saved (filtered.c), but not by who cannot read it. (Nor may we, if in a container.)
caps=$((16#$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)))
if ((caps >> 21 & 1)) && grep -q '^Seccomp:.*0$' /proc/self/status && grep -q '^ *0 *0 *4294967295$' /proc/self/uid_map; then
	try seccomp 0 ''
	try thread-seccomp 0 ''
	try stopped-seccomp 0 ''
	try denied 1 'takes connect\(.*which it denies.*E-UNSUPPORTED-PROCESS'
	try thread-denied 1 'takes connect\(.*which it denies.*E-UNSUPPORTED-PROCESS'
	try stopped-denied 1 'takes connect\(.*which it denies.*E-UNSUPPORTED-PROCESS'
	try keys-denied 1 'takes pkey_alloc\(.*which it denies.*E-UNSUPPORTED-PROCESS'
	try key-return-denied 0 ''
	try supervised 1 'asks a supervisor.*E-UNSUPPORTED-PROCESS'
	# Who looks at filters fails, or is killed, while he holds all threads.
	export CKPT_FAULT=$dir/fault
	echo held:fail >"$CKPT_FAULT"; try held-fail 1 'E-'
	echo held:kill >"$CKPT_FAULT"; try held-kill 1 'E-'
	rm "$CKPT_FAULT"; try held 0 ''
	unset CKPT_FAULT
	# All of its threads have inherited the one filter, which is there once.
	set -- "$dir"/store/apart.held.*/*/
	"$bin/ckpt_inspect" threads --json "$1" | tr -d ' \n' >"$dir/threads"
	[ "$(grep -o '"filters":\[1\]' "$dir/threads" | wc -l)" = 3 ] || { echo "FAIL held: $(cat "$dir/threads")"; bad=1; }
	try traced-seccomp 1 'process [0-9]+ traces it.*E-UNSUPPORTED-PROCESS'
fi
chmod 777 "$dir"
user=(setpriv --reuid=54321 --regid=54321 --clear-groups env "CKPT_DIR=$dir/users")
if "${user[@]}" test -x "$bin/ckpt_launch"; then
	try users-seccomp 1 'which only root outside of containers can read.*E-UNSUPPORTED-PROCESS'
fi
user=()
try strict 1 'strict mode.*E-UNSUPPORTED-PROCESS'
try keyring 1 'keyring of its own.*E-UNSUPPORTED-PROCESS'
try landlock 1 'Landlock rules.*E-UNSUPPORTED-PROCESS'
try landlock-read 1 'Landlock rules.*E-UNSUPPORTED-PROCESS'
# Rules that the whole job is under are not its own.
user=("$apart" lock-in)
try locked-job 0 ''
user=()
try no-privileges 0 ''
try thread-fs 1 'thread with a working directory that it has in common with some.*E-UNSUPPORTED-PROCESS'
try thread-files 1 'thread with descriptors that it has in common with some.*E-UNSUPPORTED-PROCESS'
try thread-epoll 1 'only there .*eventpoll.*E-UNSUPPORTED-FD'
try thread-lock 1 'descriptors of its own and a POSIX lock on .*E-UNSUPPORTED-PROCESS'
try thread-ipc 1 'thread that is in an ipc namespace.*E-UNSUPPORTED-PROCESS'
try thread-mount 1 'thread that is in a mount namespace.*E-UNSUPPORTED-PROCESS'
try thread-pids 1 'thread that has a pid namespace for its children.*E-UNSUPPORTED-PROCESS'
try blocks 1 'blocks signal 33.*E-NO-ANSWER'
try thread-blocks 1 'blocks signal 33.*E-NO-ANSWER'
try traced 1 'traced by another process of the job.*E-UNSUPPORTED-PROCESS'
try trace-stopped 1 'traced by another process of the job.*E-UNSUPPORTED-PROCESS'
try shared-files 1 'shares its descriptors with its parent.*E-UNSUPPORTED-PROCESS'
try shared-fs 1 'shares its working directory with its parent.*E-UNSUPPORTED-PROCESS'
try remapped 1 'mapped in another order than it has, and parts of it not at all.*E-UNSUPPORTED-MEMORY'
try shared-memory 1 'in common with its parent .clone.*E-UNSUPPORTED-PROCESS'
try orphans 1 'in common with another process .clone.*E-UNSUPPORTED-PROCESS'
try long-vfork 1 'made by vfork.*E-UNSUPPORTED-PROCESS'
# Its end is waited for.
try vfork 0 ''
exit $bad
