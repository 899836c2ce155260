/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <setjmp.h>

const char *scn_doc = "mappings that are longer than their file give SIGBUS behind its end, until it grows";

#define PAGE	4096UL
#define PAGES	600		/* more than are saved at a time */
#define IN_FILE	3		/* the last of them in part */

static sigjmp_buf back;
static void *volatile fault_addr;
static volatile int fault_code;

static void handler(int sig, siginfo_t *info, void *uc)
{
	(void)sig, (void)uc;
	fault_addr = info->si_addr;
	fault_code = info->si_code;
	siglongjmp(back, 1);
}

/* 1 if there is nothing at @p. */
static int nothing_at(const volatile char *p)
{
	if (sigsetjmp(back, 1) == 0)
		return *p, 0;
	scn_check(fault_addr == p && fault_code == BUS_ADRERR, "fault at %p, code %d", fault_addr, fault_code);
	return 1;
}

struct file { int fd, deleted; char *mem; };

static struct file make(const char *name, int flags, int deleted)
{
	struct file f = { .fd = scn_sys(open(scn_file(name), O_RDWR | O_CREAT, 0600)), .deleted = deleted };
	char text[10 * PAGE];

	scn_fill(text, sizeof(text), 5);
	scn_check(write(f.fd, text, sizeof(text)) == sizeof(text), "write");
	f.mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, f.fd, 0);
	scn_check(f.mem != MAP_FAILED, "mmap");
	f.mem[0] ^= 1;		/* our own, and back again */
	f.mem[0] ^= 1;
	f.mem[6 * PAGE]++;	/* goes with the file's end */
	scn_sys(ftruncate(f.fd, IN_FILE * PAGE - 100));
	if (deleted)
		scn_sys(unlink(scn_file(name)));
	return f;
}

static void check(const struct file *f, unsigned in_file)
{
	char zeros[100] = { 0 };

	scn_check(scn_verify(f->mem, IN_FILE * PAGE - 100, 5) < 0, "what is in the file");
	scn_check(!memcmp(f->mem + IN_FILE * PAGE - 100, zeros, 100), "the rest of its last page");
	for (unsigned i = 0; i < PAGES; i++)
		scn_check(nothing_at(f->mem + i * PAGE + 99) == (i >= in_file), "page %u", i);
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	struct file f[4];
	char *clean, c = 0;
	int go[2], fd;
	pid_t pid;

	scn_sys(sigaction(SIGBUS, &sa, NULL));
	f[0] = make("private", MAP_PRIVATE, 0);
	f[1] = make("shared", MAP_SHARED, 0);
	f[2] = make("deleted", MAP_PRIVATE, 1);
	f[3] = make("unreadable", MAP_PRIVATE, 0);
	scn_sys(mprotect(f[3].mem, PAGES * PAGE, PROT_NONE));
	/* Of these pages a checkpoint keeps one copy for two processes. */
	fd = scn_sys(open(scn_file("clean"), O_RDWR | O_CREAT, 0600));
	scn_sys(ftruncate(fd, PAGE));
	clean = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	scn_check(clean != MAP_FAILED, "mmap");
	scn_sys(pipe(go));
	pid = scn_fork();
	if (!pid) {
		scn_check(read(go[0], &c, 1) == 1, "read");
		scn_check(!nothing_at(clean) && nothing_at(clean + PAGE) && nothing_at(clean + 3 * PAGE),
			  "in a child");
		check(&f[0], IN_FILE + 1);
		_exit(0);
	}

	for (unsigned round = 0; round < 2; round++) {
		scn_checkpoint();

		if (!round)
			scn_sys(mprotect(f[3].mem, PAGES * PAGE, PROT_READ));
		for (int i = 0; i < 4; i++)
			check(&f[i], IN_FILE + (f[i].deleted ? 0 : round));
		for (int i = 0; !round && i < 4; i++)
			scn_check(f[i].deleted || pwrite(f[i].fd, "x", 1, IN_FILE * PAGE + 99) == 1, "pwrite");
		for (int i = 0; i < 4; i++)
			scn_check(f[i].deleted || f[i].mem[IN_FILE * PAGE + 99] == 'x', "what the file got");
	}
	scn_check(!nothing_at(clean) && nothing_at(clean + PAGE), "clean");
	scn_check(write(go[1], &c, 1) == 1, "write");
	scn_reap(pid, 0);
	scn_pass();
}
