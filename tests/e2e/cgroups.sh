#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cgroups.sh - control groups that a program made below the job's, with limits, and put processes in: they are made again
# below the group of the restart, the limits with them, and the other processes are where the restart is. One that
# cannot be had is warned of, and no failure. For each version of control groups that is there.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "only root can make control groups here"
place cgroups
cd "$dir" || exit 1
tops=() line=

leaving() {
	for top in "${tops[@]}"; do
		find "$top" -depth -type d -exec rmdir {} + 2>/dev/null
	done
}

# Where a process is, in the hierarchy $line of /proc/PID/cgroup.
group_of() { sed -n "s,^[0-9]*:$line:,,p" "/proc/$1/cgroup" 2>/dev/null; }
# its processes end a moment after the job
empty() { rmdir "$1/lower" "$1" 2>/dev/null; gone "$1"; }
is_used() { [ -n "$(cat "$1/cgroup.procs" 2>/dev/null)" ]; }
# names_in GROUP: of the processes that are in it; has GROUP NAME: is there one?
names_in() { while read -r pid; do cat "/proc/$pid/comm"; done 2>/dev/null <"$1/cgroup.procs"; }
has() { names_in "$1" | grep -qx "$2"; }
is_in() { [ "$(group_of "$1")" = "$2" ]; }
# in_group DIRECTORY COMMAND...: from there
in_group() {
	local to=$1; shift
	sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$to" "$@"
}

cat >prog.sh <<'S'
# the group, and a limit: NAME VALUE
mkdir "$1/upper" "$1/upper/lower"
echo "$3" >"$1/upper/$2"
echo "$4" >"$1/upper/lower/$2"
sh -c 'echo $$ >"$0/upper/lower/cgroup.procs"; exec sleep 1000' "$1" &
echo $! >child
echo $$ >self
mv self ready
until [ -e stop ]; do sleep 0.05; done
kill $!
S

# try MOUNT LINE NAME VALUE VALUE
try() {
	local mount=$1 name=$3 top=$1/ckpt-$tag mine=/ckpt-$tag job=cgroups.$tag.${3%%.*} front
	line=$2
	mkdir "$top" "$top/one" "$top/two" 2>/dev/null || { echo "no control groups can be made in $mount"; return; }
	tops+=("$top")
	echo "$4" >"$top/$name" 2>/dev/null
	mkdir -p "$top/one/probe" && echo "$5" 2>/dev/null >"$top/one/probe/$name" || { echo "$mount: no $name"; return; }
	rmdir "$top/one/probe"
	rm -f ready child stop
	in_group "$top/one" "$bin/ckpt_launch" --name="$job" sh prog.sh "$top/one" "$name" "$4" "$5" >job.out 2>&1 </dev/null &
	front=$!
	there ready "$front" || { fail "$mount: the program does not start"; return; }
	within 30 is_in "$(cat child)" "$mine/one/upper/lower" || fail "$mount: the child is not in its group"
	expect 0 '' "$bin/ckpt_command" --checkpoint "$job"
	wait "$front"
	within 30 empty "$top/one/upper" || fail "$mount: not empty"

	in_group "$top/two" "$bin/ckpt_restart" "$job" >again.out 2>again.err </dev/null &
	front=$!
	within 60 is_used "$top/two/upper/lower" || { fail "$mount: nobody is in the group"; return; }
	check "$mount: the child is in its group" test "$(names_in "$top/two/upper/lower")" = sleep
	check "$mount: the others are where the restart is" within 60 has "$top/two" sh
	check "$mount: its limit" test "$(cat "$top/two/upper/lower/$name")" = "$5"
	check "$mount: and that above it" test "$(cat "$top/two/upper/$name")" = "$4"
	check "$mount: no warning" test ! -s again.err
	# Again, into a group that is there, and with other limits.
	expect 0 '' "$bin/ckpt_command" --checkpoint "$job"
	wait "$front"
	echo "$4" >"$top/two/upper/lower/$name"
	in_group "$top/two" "$bin/ckpt_restart" "$job" >again.out 2>again.err </dev/null &
	front=$!
	check "$mount: in the group that is there" within 60 is_used "$top/two/upper/lower"
	check "$mount: whose limit is left alone" test "$(cat "$top/two/upper/lower/$name")" = "$4"
	expect 0 '' "$bin/ckpt_command" --checkpoint "$job"
	wait "$front"
	within 30 empty "$top/two/upper" || fail "$mount: not empty"

	: >stop
	expect 0 "sleep was in the control group .*/upper/lower .* which cannot be entered here" \
		unshare -m sh -c 'mount -t tmpfs none "$0" && exec "$@"' "$mount" \
		"$bin/ckpt_restart" "$job"
	check "one warning" test "$(grep -c . err)" = 1
}

v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
v1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)pids(,|$)/ { print $2; exit }' /proc/mounts)
[ -n "$v2$v1" ] || skip "no control groups are mounted"
[ -z "$v2" ] || try "$v2" '' cgroup.max.descendants 1000 500
[ -z "$v1" ] || try "$v1" pids pids.max 1000 500
[ ${#tops[@]} -gt 0 ] || skip "no control groups can be made"
exit $bad
