/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <linux/futex.h>
#include <sched.h>

const char *scn_doc = "threads and processes that were made past libc, by bare system calls, are found, "
		      "saved and restored as any";

static int words[4];			/* futexes: 0 not yet, 1 it waits, 2 go on, 3 it has */
static pid_t tids[4];
static char stacks[4][65536] __attribute__((aligned(16)));

/* errno is nobody's here: the thread has the thread-local storage of who made it. */
static long call(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 0;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

static void wait_while(int *word, int value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
		call(SYS_futex, (long)word, FUTEX_WAIT, value, 0);
}

static void become(int *word, int value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	call(SYS_futex, (long)word, FUTEX_WAKE, 1, 0);
}

static __attribute__((noreturn, used)) void run(int *word)
{
	long i = word - words;

	tids[i] = (pid_t)call(SYS_gettid, 0, 0, 0, 0);
	become(word, 1);
	wait_while(word, 1);
	if (call(SYS_gettid, 0, 0, 0, 0) == tids[i])
		become(word, 3);
	for (;;)
		call(SYS_exit, 0, 0, 0, 0);
}

/* clone(2) without a wrapper: the child begins on @stack with run(@word). */
static long make_thread(char *stack, int *word)
{
	long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, ret;

	__asm__ volatile("mov %[flags], %%rdi\n\t"
			 "mov %[stack], %%rsi\n\t"
			 "xor %%edx, %%edx\n\t"
			 "xor %%r10d, %%r10d\n\t"
			 "xor %%r8d, %%r8d\n\t"
			 "mov $56, %%eax\n\t"
			 "mov %[word], %%r12\n\t"
			 "syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "call run\n"
			 "1:"
			 : "=&a"(ret)
			 : [flags] "r"(flags), [stack] "r"(stack), [word] "r"(word)
			 : "rdi", "rsi", "rdx", "r10", "r8", "r12", "rcx", "r11", "memory");
	return ret;
}

int main(void)
{
	int fds[2], status;
	char *heap = malloc(100000);
	pid_t pid;
	char c;

	scn_fill(heap, 100000, 1);
	scn_sys(pipe(fds));
	for (int i = 0; i < 4; i++) {
		scn_check(make_thread(stacks[i] + sizeof(stacks[i]), &words[i]) > 0, "clone");
		wait_while(&words[i], 0);
	}
	/* A process that neither fork() nor its handlers have seen. */
	pid = (pid_t)call(SYS_clone, SIGCHLD, 0, 0, 0);
	if (pid == 0) {
		long got = 0;

		while ((got = call(SYS_read, fds[0], (long)&c, 1, 0)) < 0)
			;
		call(SYS_exit_group, got == 1 && c == 'g' && scn_verify(heap, 100000, 1) < 0 ? 5 : 6, 0, 0, 0);
	}
	scn_await_blocked(pid, pid);
	for (int i = 0; i < 4; i++)
		scn_await_blocked(getpid(), tids[i]);

	scn_checkpoint();

	for (int i = 0; i < 4; i++) {
		become(&words[i], 2);
		wait_while(&words[i], 2);
		scn_check(words[i] == 3, "thread %d: %d", i, words[i]);
	}
	scn_check(write(fds[1], "g", 1) == 1, "write");
	scn_check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5,
		  "status %x", status);
	scn_pass();
}
