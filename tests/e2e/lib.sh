# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# lib.sh - what the tests in shell share; each sources it before anything else. That closes what the test's own
# caller left open, which is nothing for the job, and finds our programs, or skips the test. It sets
#
#   $here, $bin   the directories of the test and of our programs
#   $bad          0, or 1 when something has failed: the test's exit status
#   $dir, $tag    after place: a directory of the test's own, and what is in no other name
#
# A test may have functions that say more: leaving, what is to be undone at its end; said, what is shown of a failure.
set -u
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	if [ "$fd" -gt 2 ] && [ "$fd" != 255 ]; then eval "exec $fd>&-"; fi
done
here=$(cd "$(dirname "$0")" && pwd) || exit 1
bin=$(cd "${builddir:-.}" && pwd) || exit 1
export builddir=$bin
bad=0 dir='' tag=''

skip() { echo "$*"; exit 77; }
ok() { echo "ok   $*"; }
fail() { echo "FAIL $*"; said | sed 's/^/    /'; bad=1; }
said() { tail -n 20 "$dir"/err "$dir"/out "$dir"/*.err "$dir"/*.out 2>/dev/null; }

# check WHAT COMMAND...: WHAT is so if the command says so
check() {
	local what=$1; shift
	if "$@"; then ok "$what"; else fail "$what"; fi
}

# expect STATUS PATTERN COMMAND...: its status, and what is on its stderr ("": nothing; "any": no matter), which is
# then in $dir/err, and stdout in $dir/out
expect() {
	local want=$1 pattern=$2 got; shift 2
	timeout --foreground 60 "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
	if [ "$got" != "$want" ]; then
		fail "status $got, not $want: ${*//"$dir"/DIR}"
	elif [ -z "$pattern" ] && [ -s "$dir/err" ]; then
		fail "said something: ${*//"$dir"/DIR}"
	elif [ -n "$pattern" ] && [ "$pattern" != any ] && ! grep -Eq -e "$pattern" "$dir/err"; then
		fail "does not say '$pattern': ${*//"$dir"/DIR}"
	else
		ok "$want ${*//"$dir"/DIR}" | cut -c1-120
	fi
}

# within SECONDS COMMAND...: until it succeeds, and its status
within() {
	local end=$((SECONDS + $1)); shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.02
	done
}
is_there() { [ -e "$1" ]; }
gone() { [ ! -e "$1" ]; }
# ended PID. A container's process 1 may leave zombies.
ended() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
# is_there_or_ended FILE PID
is_there_or_ended() { is_there "$1" || ended "$2"; }
# there FILE PID: within half a minute, while the process lives
there() { within 30 is_there_or_ended "$1" "$2"; is_there "$1"; }

# state_of JOB [COMMAND...]: running, for example; asked by COMMAND, which is setpriv and its kin
state_of() { "${@:2}" "$bin/ckpt_command" --status "$1" 2>/dev/null | awk -v job="$1" '$1 == job { print $2 }'; }
is_running() { [ "$(state_of "$@")" = running ]; }
# run_dir_of JOB [UID]: where its coordinator's sockets are
run_dir_of() { if [ "${2:-$(id -u)}" = 0 ]; then echo "/run/ckpt/$1"; else echo "/tmp/ckpt-${2:-$(id -u)}/$1"; fi; }

# ours: every process that was started since place, by the traces of it in /proc. A main thread that has ended shows none.
traces() { grep -lzsxF "E2E_TAG=$dir" /proc/[0-9]*/task/[0-9]*/environ; }
ours() { (unset E2E_TAG; traces | cut -d/ -f3 | sort -un); }	# else who looks is one of them
nobody_left() { [ -z "$(ours)" ]; }
list_ours() { ps -o pid,stat,args -p "$(ours | paste -sd,)" 2>&1; }

# place NAME [PARENT]: make $dir. At the test's end nothing is left: neither it nor what was started since.
place() {
	dir=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/ckpt-$1.XXXXXX") || exit 1
	tag=${dir##*.}
	chmod 755 "$dir"
	export CKPT_DIR=$dir/store E2E_TAG=$dir
	trap leave EXIT
	trap 'exit 1' INT TERM HUP
}
# end_ours: jobs that have $tag in their names are ended as users do that, and then all that is left
end_ours() {
	local name pid
	nobody_left && return
	"$bin/ckpt_command" --status | awk -v tag="$tag" 'index($1, tag) { print $1 }' | while read -r name; do
		"$bin/ckpt_command" --kill "$name"
	done
	within 2 nobody_left || for _ in 1 2 3 4 5; do
		for pid in $(ours); do kill -9 "$pid"; done
		within 1 nobody_left && break	# else they forked while we looked
	done
} >/dev/null 2>&1
leave() {
	trap - EXIT
	cd /
	end_ours
	if [ "$(type -t leaving)" = function ]; then leaving; fi
	if [ -n "${E2E_KEEP:-}" ] && [ "$bad" = 1 ]; then echo "    kept: $dir"; else rm -rf "$dir"; fi
}

[ -x "$bin/ckpt_restart" ] || skip "there is no $bin/ckpt_restart"
