#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# errors.sh - checkpoints and restarts that must fail: with the reason and the right status, the job going on as if
# nothing had been asked, nothing left over; and the same try made again works.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
victim=${E2E_PROGRAMS:-$bin/tests/e2e}/victim
cc=${CC:-cc}
[ -x "$victim" ] || skip "there is no $victim"
place err
mounted='' n=0 front='' options=()
cd "$dir" || exit 1
leaving() { [ -z "$mounted" ] || umount "$mounted"; }

# begin [MB [CHILDREN [WHAT]]]: a job in a directory of its own
begin() {
	n=$((n + 1)) job=err$n.$tag work=$dir/work$n
	mkdir "$work" || exit 1
	(cd "$work" && exec "$bin/ckpt_launch" --name="$job" "${options[@]}" "$victim" "$@" >"$work/out" 2>&1 </dev/null) &
	front=$!
	within 30 is_there "$work/ready" || fail "the program does not start: $(cat "$work/out")"
}
# unharmed WHAT: the job goes on, and ends as it should
unharmed() {
	local status
	: >"$work/stop"
	if ! within 30 ended "$front"; then fail "$1: the job does not go on"; kill -9 "$front"; return; fi
	wait "$front"; status=$?
	[ "$status" = 0 ] && grep -qx PASS "$work/out" || fail "$1: the job was harmed, status $status: $(cat "$work/out")"
	within 5 gone "$(run_dir_of "$job")" || fail "$1: $(run_dir_of "$job") is left"
}
# nothing_in DIR: no trace of a checkpoint there
nothing_in() { [ -z "$(find "$1" -mindepth 1 2>/dev/null | head -1)" ]; }
ck() { expect "$1" "${2:-any}" "$bin/ckpt_command" --checkpoint "${@:3}" "$job"; }

# A name, or a directory, that is in use.
begin
ck 0 '' --leave-running --id=one
before=$(find store -type f -printf '%p %s %T@\n' | sort)
ck 1 "checkpoint with name one already exists for job $job" --leave-running --id=one
mkdir full; echo mine >full/file
ck 1 'E-EXISTS' --leave-running --image-path="$dir/full"
[ "$(cat full/file)" = mine ] && [ "$(ls -A full)" = file ] || fail "a directory that was not empty was touched"
[ "$(find store -type f -printf '%p %s %T@\n' | sort)" = "$before" ] || fail "what was there was touched"
# A place that cannot be written to.
echo file >plain
ck 1 'plain' --leave-running --image-path="$dir/plain/x"
ck 1 'E-ACCESS|E-FAILED' --leave-running --image-path=/proc/nothing/here
# The time is over before anything has begun; names of nothing.
expect 3 'nosuchjob' "$bin/ckpt_command" --checkpoint nosuchjob
expect 125 'nosuchjob' "$bin/ckpt_restart" nosuchjob
expect 125 'nosuch' "$bin/ckpt_restart" "$job/nosuch" --name=other
expect 125 'running' "$bin/ckpt_restart" "$job/one"
ck 0 '' --leave-running
unharmed "refusals"

# No room. (A file system of its own, which only root can have.)
if [ "$(id -u)" = 0 ]; then
	mkdir small; mount -t tmpfs -o size=3m none small && mounted=$dir/small
	begin 20
	ck 1 'E-SPACE' --leave-running --compression=none --image-path="$dir/small/a/b"
	nothing_in small || fail "left on the full disk: $(find small | head -5)"
	ck 1 'E-SPACE' --compression=none --image-path="$dir/small/a"
	nothing_in small || fail "left on the full disk: $(find small | head -5)"
	ck 0 '' --leave-running --image-path="$dir/roomy"
	unharmed "a full disk"
fi

# in_the_midst: a slow checkpoint is begun; continues when it writes
in_the_midst() {
	"$bin/ckpt_command" --checkpoint "$@" --compression=zlib:9 "$job" >out 2>err </dev/null &
	asked=$!
	within 10 writing || fail "the checkpoint does not begin"
	sleep 0.2
}
writing() { [ -n "$(find store -name '*.img' -size +1M 2>/dev/null | head -1)" ]; }
coordinator() { pgrep -f "ckpt_coordinator.*$job" | head -1; }
round() { pgrep -P "$(coordinator)" | head -1; }
nothing_stored() { [ -z "$(find store -mindepth 2 2>/dev/null | head -1)" ]; }

for who in round coordinator; do
	for how in --leave-running --leave-running=false; do
		rm -rf store; begin 60 1
		in_the_midst $how
		kill -9 "$($who)" || fail "there is no $who"
		within 20 ended $asked || fail "ckpt_command waits for a $who that was killed"
		wait $asked; status=$?
		[ $status = 1 ] && [ -s err ] || fail "ckpt_command: status $status when the $who was killed"
		within 10 nothing_stored || fail "left by a $who that was killed: $(find store -mindepth 2 | head -5)"
		[ $who = coordinator ] || ck 0 '' --leave-running
		unharmed "a $who that was killed"
		ok "$who killed, $how"
	done
done

# One of the processes is killed: the checkpoint is one of before, or there is none. The others go on.
for delay in 0 0.01 0.02 0.03 0.05 0.1; do
	rm -rf store; begin 100 2
	: >"$work/killed"
	"$bin/ckpt_command" --checkpoint --leave-running --compression=none "$job" >out 2>err </dev/null &
	asked=$!
	sleep $delay
	kill -9 "$(cat "$work/child")" || fail "no child"
	wait $asked; status=$?
	if [ $status = 0 ]; then
		"$bin/ckpt_command" --ls "$job" | grep -q yes || fail "not complete: $("$bin/ckpt_command" --ls "$job")"
	else
		[ $status = 1 ] && grep -q 'E-PROCESS-DIED' err || fail "status $status when a process was killed"
		within 10 nothing_stored || fail "left: $(find store -mindepth 2 | head -5)"
		ck 0 '' --leave-running
	fi
	unharmed "a process killed after $delay s"
	ok "a process killed after $delay s: $status"
done

# The one who asks goes away: it is not up to him any more.
rm -rf store; begin 100
in_the_midst --leave-running=false
kill -TERM $asked; wait $asked; status=$?
[ $status != 0 ] || fail "status 0 when terminated"
within 30 ended "$front" || fail "the checkpoint was given up"
wait "$front"; status=$?
[ $status = 137 ] || fail "the job ended with $status"
: >"$work/stop"
expect 0 any "$bin/ckpt_restart" "$job"

# What cannot be saved.
begin 1 0 sysv
ck 1 'E-UNSUPPORTED-MEMORY'
unharmed "a part of System V memory"
begin 1 0 notify
ck 1 'waits to be notified of messages in /ckpt-victim .*direct system call.*E-UNSUPPORTED-FD'
unharmed "a notification that the library has not seen"
begin 1 0 full
ck 1 'E-LIMIT.*|.*ulimit -Hn' --leave-running
unharmed "a full table of descriptors"
options=(--allow=io_uring)
begin 1 0 uring
options=()
[ -e "$work/denied" ] || ck 1 'io_uring.*UV_USE_IO_URING=0.*E-UNSUPPORTED-FD' --leave-running
unharmed "an io_uring"
begin 2 1 fsize
ck 1 'ulimit -Hf' --leave-running
unharmed "a limit of file sizes"
# It catches our signal, and would end of it, as valgrind does.
cat >s.c <<'C'
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
static void end(int sig) { _exit(sig); }
int main(void)
{
	struct { void (*handler)(int); unsigned long flags, restorer, mask; } sa = { end, 0, 0, 0 };

	syscall(SYS_rt_sigaction, 33, &sa, NULL, 8);
	for (;;)
		__builtin_ia32_pause();
}
C
if $cc -static -o static s.c 2>/dev/null; then
	expect 126 'E-STATIC' "$bin/ckpt_launch" "$dir/static"
	begin 1 0 static
	ck 1 'E-NOT-PRELOADED'
	unharmed "a static child"
fi
# musl loads the library, and knows nothing of what that relies on.
if echo 'int main(void) { for (;;) __builtin_ia32_pause(); }' >m.c && musl-gcc -o static m.c 2>/dev/null; then
	expect 126 'E-FOREIGN-ELF' "$bin/ckpt_launch" "$dir/static"
	begin 1 0 static
	ck 1 'another libc.*E-NOT-PRELOADED'
	unharmed "a child of another libc"
fi

# Damaged images. Data files that are not there.
begin 3 1 file
ck 0 '' --id=good
wait "$front"
good=$dir/store/$job/good
[ -f "$good/checkpoint.img" ] || fail "no checkpoint"
run() { # PATTERN [STATUS OF --check]
	: >"$work/stop"
	expect 125 "$1" "$bin/ckpt_restart" --name="$job.x" --image-path="$dir/damaged"
	expect "${2:-1}" "$1" "$bin/ckpt_restart" --check --image-path="$dir/damaged"
	rm -rf damaged
}
for image in checkpoint.img $(cd "$good" && ls | grep -v checkpoint.img | head -1); do
	size=$(stat -c %s "$good/$image")
	for length in 0 7 100 4096 $((size / 2)) $((size - 1)); do
		cp -r "$good" damaged; truncate -s $length "damaged/$image"
		run 'E-CORRUPT|E-VERSION'
	done
	for at in 0 9 40 200 600 2000 $((size - 40)) $((size - 3)); do
		cp -r "$good" damaged
		byte=$(od -An -tu1 -j $at -N 1 "damaged/$image")
		# shellcheck disable=SC2059
		printf "\\$(printf %o $((byte ^ 64)))" | dd of="damaged/$image" bs=1 seek=$at conv=notrunc status=none
		run 'E-CORRUPT|E-VERSION|E-ARCH'
	done
	cp -r "$good" damaged; rm "damaged/$image"
	if [ "$image" = checkpoint.img ]; then run 'E-NO-CHECKPOINT' 125; else run "$image is missing"; fi
done
mv "$work/data" elsewhere
expect 125 "E-FILE-MISSING" "$bin/ckpt_restart" "$job"
expect 1 "data" "$bin/ckpt_restart" --check "$job"
mv elsewhere "$work/data"
rm -f "$work/stop"
(cd "$work" && exec "$bin/ckpt_restart" "$job" >>"$work/out" 2>&1 </dev/null) &
front=$!
sleep 0.3
unharmed "the good one, after all"
ok "restored"

within 5 nobody_left || fail "processes are left: $(list_ours)"
exit $bad
