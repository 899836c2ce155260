#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# reboot.sh - the host is switched off in the midst of a long calculation. What is left is the checkpoints'
# directory: no process, no run directory, no file of the program's, not even the program. On the new
# host other processes have the job's numbers, and the clocks have begun anew. The job goes on with the
# right result, and its CLOCK_MONOTONIC never goes back. Fresh pid, time, mount and ipc namespaces stand in for hosts.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../lib.sh"
place reboot /var/tmp
mkdir "$dir/programs" "$dir/kept" "$dir/local"
cp "$bin"/ckpt_launch "$bin"/ckpt_restart "$bin"/ckpt_command "$bin"/ckpt_coordinator "$bin"/libckpt.so "$dir/programs"

# Two workers count primes for a parent that adds up; all of them, and a thread, watch the clocks.
cat >"$dir/primes.c" <<'END'
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static volatile int over;
static long long now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void watch(void)
{
	static __thread long long last[2];
	const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };

	for (int i = 0; i < 2; i++) {
		long long t = now(clocks[i]);

		if (t < last[i]) {
			printf("clock %d went back by %lld ns\n", i, last[i] - t);
			fflush(stdout);
			_exit(3);
		}
		last[i] = t;
	}
}
static void *watcher(void *arg)
{
	while (!over) {
		watch();
		usleep(1000);
	}
	return arg;
}
static int is_prime(int n)
{
	for (int d = 2; d * d <= n; d++)
		if (n % d == 0)
			return 0;
	return n > 1;
}
static void work(int in, int out)
{
	int range[2], count;

	while (read(in, range, sizeof(range)) == sizeof(range)) {
		count = 0;
		for (int n = range[0]; n < range[1]; n++)
			count += is_prime(n);
		watch();
		if (write(out, &count, sizeof(count)) != sizeof(count))
			_exit(4);
	}
	_exit(0);
}
int main(int argc, char **argv)
{
	/* argv[1]: when this file is there the second half may begin */
	int to[2][2], from[2][2], total = 0, status, part;
	pthread_t thread;
	pid_t pid[2];

	for (int w = 0; w < 2; w++) {
		if (pipe(to[w]) || pipe(from[w]))
			return 1;
		pid[w] = fork();
		if (pid[w] == 0) {
			close(to[w][1]);
			if (w)
				close(to[0][1]);
			work(to[w][0], from[w][1]);
		}
	}
	pthread_create(&thread, NULL, watcher, NULL);
	for (part = 0; part < 400; part++) {
		int range[2] = { part * 500, part * 500 + 500 }, count;

		if (write(to[part % 2][1], range, sizeof(range)) != sizeof(range) ||
		    read(from[part % 2][0], &count, sizeof(count)) != sizeof(count))
			return 1;
		total += count;
		watch();
		printf("part %d pid %d\n", part, (int)getpid());
		fflush(stdout);
		/* Here the power fails. */
		while (argc > 1 && part == 200 && access(argv[1], F_OK))
			usleep(5000);
	}
	for (int w = 0; w < 2; w++) {
		close(to[w][1]);
		if (waitpid(pid[w], &status, 0) != pid[w] || status)
			return 5;
	}
	over = 1;
	pthread_join(thread, NULL);
	printf("primes %d\n", total);
	return 0;
}
END
mkdir "$dir/local/app"
${CC:-cc} -O1 -o "$dir/local/app/primes" "$dir/primes.c" -lpthread || skip "the compiler does not work"

# A host: its own processes and mounts; only "kept" and our programs are the same in the next one.
spaces=(--pid --mount --ipc --uts --fork --mount-proc --kill-child=KILL)
[ "$(id -u)" = 0 ] || spaces+=(--user --map-root-user)
unshare "${spaces[@]}" --time --monotonic 1 true 2>/dev/null || skip "no namespaces for pids and clocks here"
cat >"$dir/host.sh" <<'END'
mount -t tmpfs none /run && mount -t tmpfs none /tmp && cd /kept 2>/dev/null || cd "$KEPT" || exit 90
export CKPT_DIR=$KEPT HOME=/tmp TMPDIR=/tmp
clock() { python3 -c 'import time; print(int(time.monotonic()))'; }
export -f clock
exec bash "$@"
END
export KEPT=$dir/kept PROGRAMS=$dir/programs LOCAL=$dir/local

says() { grep -qs -e "$1" "$2"; }
says_or_ended() { says "$1" "$2" || ended $host; }

cat >"$dir/day1.sh" <<'END'
cd /
"$PROGRAMS/ckpt_launch" -n calc "$LOCAL/app/primes" /tmp/go </dev/null 2>&1 | tee /tmp/log &
until grep -q 'part 150' /tmp/log 2>/dev/null; do sleep 0.02; done
"$PROGRAMS/ckpt_command" --checkpoint --leave-running calc
until grep -q 'part 200' /tmp/log; do sleep 0.02; done
echo "clock $(clock)"
echo "power fails"
sleep 600
END
unshare "${spaces[@]}" bash "$dir/host.sh" "$dir/day1.sh" >"$dir/day1.out" 2>&1 </dev/null & host=$!
within 30 says_or_ended "power fails" "$dir/day1.out"
check "it runs, is saved, and runs on" says "power fails" "$dir/day1.out"
{ kill -9 $host; wait $host; } 2>/dev/null
rm -rf "$dir/local" "$dir/primes.c"
saved=$(find "$dir/kept" -maxdepth 2 -mindepth 2 -type d)
check "a checkpoint is there, and nothing else" [ "$(echo "$saved" | wc -l)/$(find "$dir/kept" -name '.*' | wc -l)" = 1/0 ]

# The new host has been on for three seconds; its processes have the numbers of the job's.
cat >"$dir/day2.sh" <<'END'
cd /
for n in $(seq 40); do sleep 600 & done
echo "clock $(clock)"
: >/tmp/go
"$PROGRAMS/ckpt_restart" calc </dev/null
echo "status $?"
END
up=$(python3 -c 'import time; print(int(min(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))))')
unshare "${spaces[@]}" --time --monotonic $((3 - up)) --boottime $((3 - up)) bash "$dir/host.sh" "$dir/day2.sh" \
	>"$dir/day2.out" 2>&1 </dev/null & host=$!
wait $host; status=$?
before=$(sed -n 's/^clock //p' "$dir/day1.out") after=$(sed -n 's/^clock //p' "$dir/day2.out")
first=$(sed -n 's/^part \([0-9]*\) .*/\1/p' "$dir/day2.out" | head -n 1)
echo "     saved at part $((first - 1)) of 400; the power failed at 200; the host's clock was $before s, and then $after s"
check "the host's clock began anew" [ "$after" -lt "$before" ]
check "it goes on from where it was saved" eval '[ "$first" -ge 150 ] && [ "$first" -le 201 ]'
check "no part is missing or done twice" [ "$(grep -c ^part "$dir/day2.out")" = $((400 - first)) ]
check "with the pid it had" [ "$(sed -n 's/^part .* pid //p' "$dir"/day[12].out | sort -u | wc -l)" = 1 ]
check "to the right result" grep -qx 'primes 17984' "$dir/day2.out"
check "and its own end" [ "$status/$(tail -n 1 "$dir/day2.out")" = "0/status 0" ]
exit $bad
