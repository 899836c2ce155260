/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <setjmp.h>

const char *scn_doc = "protection keys: which are taken, what memory they protect, what each thread may, "
		      "and memory that may only be executed";

#define PAGE 4096UL

static int none, ro, freed;		/* keys: no access, read only, given back */
static char *secret, *constant, *shared, *code;
static __thread sigjmp_buf to;
static __thread siginfo_t fault;
static pthread_barrier_t barrier;
static volatile int bad;

static unsigned rights(void)
{
	unsigned r, d;

	__asm__ volatile("rdpkru" : "=a"(r), "=d"(d) : "c"(0));
	return r;
}

static void on_segv(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)uc;
	fault = *si;
	siglongjmp(to, 1);
}

/* 0 it may be accessed; else the key that forbids it, -1 for another reason. */
static int forbidden(volatile char *at, int write)
{
	unsigned before = rights();

	if (sigsetjmp(to, 1)) {	/* with the rights of a handler */
		__asm__ volatile("wrpkru" : : "a"(before), "d"(0), "c"(0));
		return fault.si_code == SEGV_PKUERR ? (int)fault.si_pkey : -1;
	}
	if (write)
		*at = 'w';
	else
		(void)*at;
	return 0;
}

/* A thread that may do what the main one may not. */
static void *privileged(void *arg)
{
	(void)arg;
	pkey_set(none, 0);
	pkey_set(ro, PKEY_DISABLE_ACCESS);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	bad = pkey_get(none) != 0 || pkey_get(ro) != PKEY_DISABLE_ACCESS ||
	      scn_verify(secret, 10 * PAGE, 1) >= 0 || forbidden(secret, 1) ||
	      forbidden(constant, 0) != ro || forbidden(shared, 0);
	return NULL;
}

static void *map(size_t len, int flags)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER };
	int (*add7)(int), other;
	pthread_t t;

	freed = pkey_alloc(0, 0);
	if (freed < 0)
		scn_skip("no protection keys here: %s", strerror(errno));
	none = scn_sys(pkey_alloc(0, 0));
	ro = scn_sys(pkey_alloc(0, PKEY_DISABLE_WRITE));
	scn_sys(pkey_free(freed));
	sigaction(SIGSEGV, &sa, NULL);
	secret = map(10 * PAGE, MAP_PRIVATE);
	scn_fill(secret, 10 * PAGE, 1);
	scn_sys(pkey_mprotect(secret, 10 * PAGE, PROT_READ | PROT_WRITE, none));
	constant = map(PAGE, MAP_PRIVATE);
	scn_fill(constant, PAGE, 2);
	scn_sys(pkey_mprotect(constant, PAGE, PROT_READ | PROT_WRITE, ro));
	shared = map(PAGE, MAP_SHARED);
	scn_fill(shared, PAGE, 3);
	scn_sys(pkey_mprotect(shared, PAGE, PROT_READ | PROT_WRITE, none));
	/* lea 7(%rdi), %eax; ret. The kernel takes a key of its own: the one that was given back. */
	code = map(PAGE, MAP_PRIVATE);
	memcpy(code, "\x8d\x47\x07\xc3", 4);
	scn_sys(mprotect(code, PAGE, PROT_EXEC));
	add7 = (int (*)(int))(uintptr_t)code;
	pthread_barrier_init(&barrier, NULL, 2);
	t = scn_thread(privileged, NULL);
	pthread_barrier_wait(&barrier);
	pkey_set(none, PKEY_DISABLE_ACCESS);
	scn_check(forbidden(code, 0) == freed, "code can be read");

	scn_checkpoint();

	scn_check(pkey_get(none) == PKEY_DISABLE_ACCESS && pkey_get(ro) == PKEY_DISABLE_WRITE,
		  "rights: %d %d", pkey_get(none), pkey_get(ro));
	scn_check(forbidden(secret, 0) == none && forbidden(shared, 1) == none, "no access: %d %d",
		  forbidden(secret, 0), forbidden(shared, 1));
	scn_check(forbidden(constant, 1) == ro && scn_verify(constant, PAGE, 2) < 0, "read only");
	scn_check(add7(35) == 42, "made code");
	scn_check(forbidden(code, 0) == freed, "code can be read: %d", forbidden(code, 0));
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	scn_check(!bad, "the other thread's rights");
	pkey_set(none, 0);
	scn_check(secret[0] == 'w' && scn_verify(shared, PAGE, 3) < 0, "the bytes");
	/* It goes with the protection, and is the kernel's until then. */
	scn_sys(mprotect(code, PAGE, PROT_READ | PROT_EXEC));
	scn_check(code[0] == (char)0x8d, "code cannot be read");
	other = scn_sys(pkey_alloc(0, 0));
	scn_check(other != none && other != ro && other != freed && other > 0, "key %d is in use", other);
	scn_sys(pkey_free(none));
	scn_check(pkey_alloc(0, 0) == none, "not the key that was given back");
	scn_pass();
}
