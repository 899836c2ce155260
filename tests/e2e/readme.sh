#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# readme.sh - type what README.md tells those to type who know other programs. Each command finds what it needs: a
# job JOB that runs, or one that was saved as ID and in DIR and runs no more. It must do what its line says.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
place readme
export PATH=$bin:$PATH HOME=$dir
job=readme.$tag typed=0
cd "$dir" || exit 1
exec 2>/dev/null	# the shell's own news of jobs that were killed
end() {
	local j
	for j in "$job" "$job.N"; do ckpt_command --kill "$j" >/dev/null 2>&1; done
	wait
}
over() { ! ckpt_command --status "$1" >/dev/null 2>&1; }

launch() {
	ckpt_launch --name="$job" sleep 1000 >/dev/null 2>&1 &
	within 20 is_running "$job"
}
saved() {
	launch && ckpt_command --checkpoint --leave-running --image-path="$dir/DIR" "$job" >/dev/null &&
		ckpt_command checkpoint create "$job" ID >/dev/null && within 20 over "$job"
}

# it COMMAND: types it, and looks whether that was done
it() {
	local line=$1 before=over after
	line=${line//JOB/$job}
	line=${line//--name=N /--name=$job.N }
	line=${line//APP/sleep 1000}
	line=${line//DIR/$dir/DIR}
	typed=$((typed + 1))
	after="is_running $job"
	case $1 in
	*'ckpt_command '*rm*|*'checkpoint ls'*|ckpt_inspect*) before=saved after="over $job" ;;
	*--version*) after=true ;;
	ckpt_command*--leave-running*|ckpt_command*--status*|ckpt_command*--interval*) before=launch ;;
	ckpt_command*) before=launch after="over $job" ;;
	ckpt_restart*--name=N*) before=saved after="is_running $job.N" ;;
	ckpt_restart*) before=saved ;;
	esac
	rm -rf DIR store out err
	[ $before = over ] || $before || { fail "$1: no job to try it with"; return; }
	# In the foreground, unless it stays there.
	case $1 in
	ckpt_launch*--name*|ckpt_restart*) $line >out 2>err & ;;
	*) timeout 60 $line >out 2>err </dev/null || { fail "$line: status $?"; end; return; } ;;
	esac
	within 20 $after || fail "$line: not as it should be afterwards"
	# What it is about.
	case $1 in
	*'checkpoint create'*) [ "$(cat out)" = ID ] && [ -e "$CKPT_DIR/$job/ID/checkpoint.img" ] ;;
	*'checkpoint ls'*) grep -q '^ID ' out ;;
	*'checkpoint rm'*) [ ! -e "$CKPT_DIR/$job/ID" ] ;;
	*--checkpoint*--image-path*) [ -e DIR/checkpoint.img ] ;;
	'ckpt_command --checkpoint'*) [ -e "$CKPT_DIR/$job/1/checkpoint.img" ] ;;
	*--status*) grep -q "^$job " out ;;
	*--version*) grep -q userfaultfd out ;;
	*' -i 1h'*) ckpt_command --status "$job" | grep -q ' 1h00m ' ;;
	*--interval*) ckpt_command --status "$job" | grep -q ' 1m00s ' ;;
	ckpt_inspect*) grep -q sleep out || grep -q /dev/null out ;;
	esac && ok "$1" || fail "$line: that is not what it did"
	end
}

# The second column: what stands between backquotes.
while read -r line; do it "$line"; done < <(sed -n '/^## If you know/,/^## /p' "$src/README.md" |
	sed -n 's/^|[^|]*| *\(`.*`\) *|$/\1/p' | grep -o '`[^`]*`' | tr -d '`')
[ "$typed" -gt 20 ] || fail "only $typed commands were found in README.md"
exit $bad
