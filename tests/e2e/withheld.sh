#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# withheld.sh - what a checkpoint could not hold (io_uring, kernel AIO) is not there for a job's programs, whichever way
# they ask; it is with ckpt_launch --allow, also for programs that were given an empty environment, and then
# it is refused by name. A library's own function of the same name is left alone.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
cc=${CC:-cc}
place withheld
cd "$dir" || exit 1

# ask: what the program gets, -errno or 0. The libraries are there for those who were brought along by another (dlopen).
cat >ask.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(const char *who, long r) { printf("%s %s\n", who, r < 0 ? "denied" : "given"); }
static char params[512];
int main(int argc, char **argv)
{
	void *ctx = NULL;
	long r;
	int (*f)(void);
	void *lib;

	errno = 0;
	r = syscall(SYS_io_uring_setup, 8, params);
	say("uring", r);
	if (r < 0 && errno != ENOSYS)
		printf("errno %d\n", errno);
	r = syscall(SYS_io_setup, 8, &ctx);
	say("aio", r);
	if (r < 0 && errno != ENOSYS)
		printf("errno %d\n", errno);
	if (syscall(SYS_getpid) != getpid())
		printf("another pid\n");
	for (int i = 1; i < argc; i++) {
		lib = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
		f = lib ? (int (*)(void))dlsym(lib, "ask") : NULL;
		if (!f)
			printf("%s\n", dlerror());
		else
			printf("%s %d\n", argv[i], f());
	}
	return 0;
}
C
cat >own.c <<'C'
int io_setup(int n, void **ctx) { return *ctx == 0 ? n : 0; }
int ask(void) { void *ctx = 0; return io_setup(77, &ctx); }
C
cat >viauring.c <<'C'
static char ring[4096];
int io_uring_queue_init(unsigned, void *, unsigned);
int ask(void) { return io_uring_queue_init(8, ring, 0); }
C
cat >viaaio.c <<'C'
int io_setup(int, void **);
int ask(void) { void *ctx = 0; return io_setup(8, &ctx); }
C
$cc -o ask ask.c -ldl || skip "$cc does not work"
$cc -shared -fPIC -o own.so own.c || exit 1
libs=(./own.so)
$cc -shared -fPIC -o viauring.so viauring.c -l:liburing.so.2 2>/dev/null && libs+=(./viauring.so)
$cc -shared -fPIC -o viaaio.so viaaio.c -l:libaio.so.1 2>/dev/null && libs+=(./viaaio.so)

./ask "${libs[@]}" >outside	# what this kernel gives, or the container around
"$bin/ckpt_launch" ./ask "${libs[@]}" >job
{
	printf '%s denied\n' uring aio
	for l in "${libs[@]}"; do
		case $l in ./own.so) echo "$l 77" ;; *) echo "$l -38" ;; esac
	done
} >wanted
check "nothing is there in a job" diff wanted job
"$bin/ckpt_launch" --allow=aio,io_uring ./ask "${libs[@]}" >job
check "all is as outside with --allow" diff outside job
"$bin/ckpt_launch" --allow=io_uring,aio env -i ./ask "${libs[@]}" >job
check "and with an empty environment" diff outside job
"$bin/ckpt_launch" --allow=io_uring ./ask >job
check "one of them" grep -qx 'aio denied' job
"$bin/ckpt_launch" --allow=aio env -i ./ask >job
check "the other" grep -qx 'uring denied' job
expect 125 'E-USAGE' "$bin/ckpt_launch" --allow=aio,perf true
expect 0 any "$bin/ckpt_launch" --version -v
check "--version -v says so" grep -q '^  io_uring ' out

# What is there all the same is refused, and named.
cat >hold.c <<'C'
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	static char params[512];
	void *ctx = 0;
	long r;
	FILE *f;

	__asm__ volatile("syscall" : "=a"(r) : "a"(HOW), "D"(8L), "S"(HOW == SYS_io_setup ? (void *)&ctx : params)
			 : "rcx", "r11", "memory");
	f = fopen(r < 0 ? "denied" : "made", "w");
	fclose(f);
	fclose(fopen("ready", "w"));
	while (access("stop", F_OK))
		usleep(20000);
	return 0;
}
C
for how in 'io_setup kernel AIO.*--allow.*E-UNSUPPORTED-MEMORY' 'io_uring_setup io_uring.*--allow=io_uring.*E-UNSUPPORTED-FD'; do
	call=${how%% *} job=withheld.$call.$tag
	$cc -DHOW="SYS_$call" -o hold hold.c || { fail "$cc"; continue; }
	rm -f ready made denied stop
	"$bin/ckpt_launch" --name="$job" ./hold >"$dir/job.out" 2>&1 &
	front=$!
	there ready "$front" || fail "the program does not start"
	if [ -e made ]; then
		expect 1 "${how#* }" "$bin/ckpt_command" --checkpoint "$job"
	else
		echo "skip $call is denied here"
	fi
	: >stop
	wait "$front" || fail "the job was harmed"
done
exit $bad
