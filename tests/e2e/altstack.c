/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "threads that were all given one alternate signal stack go on, and have it still";

#define THREADS	20
#define SIZE	65536

static struct { pid_t tid; int done; } threads[THREADS];
static char stack[SIZE];
static int go[2];

/* Shared by all: right as long as no handler comes back. */
static void *run(void *arg)
{
	stack_t st = { .ss_sp = stack, .ss_size = sizeof(stack) }, now;
	size_t which = (size_t)arg;
	char c;

	scn_sys(sigaltstack(&st, NULL));
	__atomic_store_n(&threads[which].tid, gettid(), __ATOMIC_RELEASE);
	scn_check(scn_sys(read(go[0], &c, 1)) == 1, "read");
	sigaltstack(NULL, &now);
	scn_check(now.ss_sp == stack && now.ss_size == sizeof(stack), "thread %zu: %p %zu", which, now.ss_sp, now.ss_size);
	threads[which].done = 1;
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS];

	scn_sys(pipe(go));
	for (size_t i = 0; i < THREADS; i++) {
		t[i] = scn_thread(run, (void *)i);
		while (!__atomic_load_n(&threads[i].tid, __ATOMIC_ACQUIRE))
			scn_sleep_ms(1);
		scn_await_blocked(getpid(), threads[i].tid);
	}

	scn_checkpoint();

	for (size_t i = 0; i < SIZE; i++)
		scn_check(!stack[i], "the stack was used at %zu", i);
	for (size_t i = 0; i < THREADS; i++)
		scn_check(write(go[1], "x", 1) == 1, "write");
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		scn_check(threads[i].done, "thread %zu", i);
	}
	scn_pass();
}
