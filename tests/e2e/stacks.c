/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sched.h>
#include <sys/auxv.h>
#include <sys/resource.h>

const char *scn_doc = "threads with the smallest stacks, with alternate ones, in a handler, with all "
		      "signals blocked: not a byte beside them is touched";

#define PAGE  4096UL
#define GUARD 65536UL
#define TLS   (25 * PAGE)	/* scn.c's thread-local buffers, which stand on every stack */
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum { SMALL, SMALL_ALT, ALT, IN_HANDLER, BLOCKED, NTHREADS };

static struct thread {
	pid_t tid;
	char *stack, *below, *alt, *alt_below;
	size_t size, alt_size;
	int done;
} threads[NTHREADS];
static int go[2], handled;

/* Memory with a pattern below it, which an overflow would destroy without anybody noticing. */
static char *stack_of(size_t size, char **ret_below)
{
	char *mem = mmap(NULL, GUARD + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	scn_check(mem != MAP_FAILED, "mmap: %s", strerror(errno));
	scn_fill(mem, GUARD, 1);
	*ret_below = mem;
	return mem + GUARD;
}

static void wait_here(struct thread *t)
{
	char c;

	__atomic_store_n(&t->tid, gettid(), __ATOMIC_RELEASE);
	while (read(go[0], &c, 1) < 0 && errno == EINTR)
		;
}

static void on_usr1(int sig)
{
	(void)sig;
	wait_here(&threads[IN_HANDLER]);
	handled = 1;
}

static void *run(void *arg)
{
	struct thread *t = arg;
	long which = t - threads;
	stack_t now;
	sigset_t all, mask;

	if (t->alt) {
		stack_t st = { .ss_sp = t->alt, .ss_size = t->alt_size };

		scn_sys(sigaltstack(&st, NULL));
	}
	sigfillset(&all);
	if (which == BLOCKED)	/* past libc, which leaves two out */
		scn_sys(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){ ~(1ULL << 32) }, NULL, 8));
	if (which == IN_HANDLER) {
		pthread_kill(pthread_self(), SIGUSR1);
		scn_check(handled, "the handler was not called");
	} else {
		wait_here(t);
	}
	sigaltstack(NULL, &now);
	scn_check(t->alt ? now.ss_sp == t->alt && now.ss_size == t->alt_size : now.ss_flags == SS_DISABLE,
		  "alternate stack of thread %ld: %p %zu", which, now.ss_sp, now.ss_size);
	if (which == BLOCKED) {
		pthread_sigmask(SIG_BLOCK, NULL, &mask);
		scn_check(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGSEGV) &&
			  sigismember(&mask, SIGUSR1), "mask");
	}
	sigpending(&mask);
	scn_check(sigismember(&mask, SIGUSR2), "thread %ld: the signal is not pending", which);
	t->done = 1;
	return NULL;
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_ONSTACK };
	size_t frame = getauxval(AT_MINSIGSTKSZ);
	char *below;
	stack_t own = { .ss_sp = stack_of(8192, &below), .ss_size = 8192 };
	sigset_t usr2;
	pthread_t t[NTHREADS];
	pthread_attr_t attr;
	struct rlimit r;

	scn_sys(pipe(go));
	scn_sys(sigaltstack(&own, NULL));
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &usr2, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < NTHREADS; i++) {
		threads[i].size = i == SMALL || i == SMALL_ALT ?
					  (size_t)sysconf(_SC_THREAD_STACK_MIN) + TLS : 1 << 20;
		threads[i].stack = stack_of(threads[i].size, &threads[i].below);
		if (i != SMALL && i != BLOCKED) {
			/* What <signal.h> has always called enough; and the least that the kernel takes. */
			threads[i].alt_size = i == SMALL_ALT ? frame : 8192;
			threads[i].alt = stack_of(threads[i].alt_size, &threads[i].alt_below);
		}
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, threads[i].stack, threads[i].size);
		scn_check(pthread_create(&t[i], &attr, run, &threads[i]) == 0, "pthread_create");
	}
	for (int i = 0; i < NTHREADS; i++) {
		while (!__atomic_load_n(&threads[i].tid, __ATOMIC_ACQUIRE))
			sched_yield();
		scn_await_blocked(getpid(), threads[i].tid);
		pthread_kill(t[i], SIGUSR2);	/* pending, which is found out on the thread's own stack */
	}
	r = (struct rlimit){ 256 << 10, RLIM_INFINITY };
	scn_sys(setrlimit(RLIMIT_STACK, &r));

	scn_checkpoint();

	scn_sys(getrlimit(RLIMIT_STACK, &r));
	scn_check(r.rlim_cur == 256 << 10 && r.rlim_max == RLIM_INFINITY, "RLIMIT_STACK");
	scn_check(write(go[1], "12345", NTHREADS) == NTHREADS, "write");
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(t[i], NULL);
		scn_check(threads[i].done, "thread %d", i);
		scn_check(scn_verify(threads[i].below, GUARD, 1) < 0,
			  "thread %d: byte %zd of %zu below its stack was written to", i,
			  scn_verify(threads[i].below, GUARD, 1), GUARD);
		scn_check(!threads[i].alt || scn_verify(threads[i].alt_below, GUARD, 1) < 0,
			  "thread %d: byte %zd of %zu below its alternate stack was written to", i,
			  scn_verify(threads[i].alt_below, GUARD, 1), GUARD);
	}
	scn_check(scn_verify(below, GUARD, 1) < 0, "byte %zd of %zu below the main one was written to",
		  scn_verify(below, GUARD, 1), GUARD);
	scn_pass();
}
