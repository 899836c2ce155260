#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# restart_options.sh - what ckpt_restart is told, as root and as an ordinary user: --namespaces with every
# member, --rootfs, --bind, --stdin and its kin, --fd, --env, --detach; and --check says the same beforehand,
# with the same reason code, and leaves nothing behind.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
source=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd) || exit 1
place options
job=options.$tag
as=()
cd "$dir" || exit 1
as_user() { "${as[@]}" "$@"; }

# Says what it finds after the restart.
cat >p.c <<'END'
#include <ckpt.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
static void say(const char *what, int fd)
{
	char line[100];
	ssize_t n = read(fd, line, sizeof(line) - 1);

	line[n > 0 ? n - 1 : 0] = 0;
	printf("%s=%s ", what, line);
}
int main(int argc, char **argv)
{
	const char *told;

	if (argc < 3 || dup2(open(argv[1], O_RDWR | O_APPEND), 7) != 7 || close(open(argv[2], O_WRONLY | O_CREAT, 0666)))
		return 1;
	while (!ckpt_restores())
		usleep(10000);
	told = ckpt_env("TOLD");
	printf("env=%s ", told ? told : "");
	say("stdin", 0);
	say("seven", 7);
	printf("rootfs=%d pid=%d\n", access("/only-in-rootfs", F_OK) == 0, getpid());
	fflush(stdout);
	fprintf(stderr, "a word\n");
	return 6;
}
END
${CC:-cc} -I"$source/preload" -o p p.c -ldl || skip "the compiler does not work"

fail() { echo "FAIL $who: $*"; cat "$w/said" "$w/err" 2>/dev/null; bad=1; }
# expect STATUS PATTERN OPTION...: the program's line, or the error, has that pattern
expect() {
	local want=$1 pattern=$2 got; shift 2
	rm -f "$w/out" "$w/said" "$w/err"
	as_user timeout 60 "$bin/ckpt_restart" --stdout="$w/out" "$@" "$job" </dev/null >"$w/said" 2>"$w/err"; got=$?
	if [ "$got" != "$want" ]; then fail "status $got, not $want: $*"
	elif ! cat "$w/out" "$w/err" "$w/said" 2>/dev/null | grep -Eq -e "$pattern"; then
		fail "no '$pattern': $* $(cat "$w/out" 2>/dev/null)"
	else echo "ok   $who: $want ${*//"$dir"/DIR}"
	fi
}
# both CODE OPTION...: refused, and --check knows
both() {
	expect 125 "$1\)" "${@:2}"
	expect 1 "$1\)" --check "${@:2}"
	[ ! -e "$w/out" ] || fail "--check has made a file"
}

run() {
	w=$dir/$who
	mkdir -p "$w/root$w" "$w/root/dev" "$w/root/proc" "$w/root/sys" "$w/empty"
	: >"$w/root/only-in-rootfs"
	echo mine >"$w/data"; echo other >"$w/other"; echo rooted >"$w/root$w/data"; echo input >"$w/in"
	chown -R "$uid" "$w"
	export HOME=$w CKPT_DIR=$w/store
	# In a session and a group of its own: those of this test may have numbers that are in use by others.
	(cd "$w" && exec "${as[@]}" setsid "$bin/ckpt_launch" -q -n "$job" "$dir/p" "$w/data" "$w/ready") >"$w/first" 2>&1 </dev/null &
	there "$w/ready" $! || { fail "it does not start: $(cat "$w/first")"; return; }
	as_user "$bin/ckpt_command" --checkpoint "$job" >/dev/null || bad=1
	wait $!

	all=(auto user,pid user,pid,mount auto,net auto,cgroup user,pid,mount,ipc,uts,net,cgroup,time)
	[ "$who" = user ] || all+=(pid pid,mount pid,ipc,uts,time)
	for list in "${all[@]}"; do
		expect 6 'env= stdin= seven=mine rootfs=0' --namespaces="$list"
		expect 0 'can be restored here' --namespaces="$list" --check
	done
	# Its pid is free, so root needs no namespace for it; others may not choose one.
	if [ "$who" = root ]; then
		for one in none mount ipc uts net cgroup time; do expect 6 seven=mine --namespaces=$one; done
		both E-PID-TAKEN --namespaces=user
	else
		for one in pid mount ipc uts net cgroup time; do both E-KERNEL-FEATURE --namespaces=$one; done
		both E-PID-TAKEN --namespaces=none
		expect 125 'namespaces=auto' --namespaces=none
	fi
	expect 6 'env=two stdin=input' --env=TOLD=one --env=TOLD=two --env=MORE= --stdin="$w/in"
	expect 6 'stdin=input seven=other' --fd=7:"$w/other" --fd=0:"$w/in"
	expect 6 seven=mine --stderr="$w/streams"
	grep -qx 'a word' "$w/streams" || fail "--stderr"
	expect 6 'seven=rooted rootfs=1' --rootfs="$w/root"
	expect 6 'seven=other rootfs=0' --bind="$w/other:$w/data"
	expect 6 'seven=other rootfs=1' --rootfs="$w/root" --bind="$w/other:$w/data"
	expect 6 'seven=other rootfs=1' --bind="$w/in:$w/data" --rootfs="$w/root" --bind="$w/other:$w/data"
	both E-FILE-MISSING --rootfs="$w/none"
	both E-FILE-MISSING --rootfs="$w/empty"
	both E-FILE-MISSING --bind="$w/none:$w/data"
	both E-FILE-MISSING --bind="$w/other:$w/none"
	both E-FILE-CHANGED --bind="$w/other:$w/empty"
	both E-FILE-MISSING --fd=7:"$w/none"
	both E-FILE-MISSING --stdin="$w/none"
	both E-FILE-MISSING --stderr="$w/none/x"
	expect 125 E-USAGE --rootfs="$w/root" --namespaces=user,pid
	expect 0 'can be restored here' --check --rootfs="$w/root" --bind="$w/other:$w/data" --namespaces=auto,net

	expect 0 "^$job\$" --detach --stdin="$w/in"
	within 30 grep -qs stdin=input "$w/out" || fail "--detach"
}

uid=$(id -u)
if [ "$uid" = 0 ]; then
	who=root; run
	uid=65534 who=user as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	if as_user test -x "$bin/ckpt_launch"; then run; else echo "skip: nobody may not run $bin/ckpt_launch"; fi
else
	who=user; run
fi
exit $bad
