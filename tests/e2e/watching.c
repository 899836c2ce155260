/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/inotify.h>

const char *scn_doc = "a program that is told of files (inotify) which another process of the job makes all the time can be "
		      "checkpointed, and is told of each of them, in their order";

enum { AHEAD = 2000, AFTER = 3000 };

/* What both have in common. */
struct shared {
	unsigned int made, told;	/* files */
	int stop;
	char wrong[200];
};

static struct shared *sh;

static void name_of(char *ret, size_t size, unsigned int n) { snprintf(ret, size, "busy/f%u", n); }

/* No more than AHEAD files that nobody was told of: the kernel's queue holds more than that. */
static void make_files(void)
{
	char name[64];

	while (!__atomic_load_n(&sh->stop, __ATOMIC_SEQ_CST)) {
		if (sh->made - __atomic_load_n(&sh->told, __ATOMIC_SEQ_CST) > AHEAD) {
			usleep(100);
			continue;
		}
		name_of(name, sizeof(name), sh->made);
		close(scn_sys(open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)));
		scn_sys(unlink(name));
		__atomic_add_fetch(&sh->made, 1, __ATOMIC_SEQ_CST);
	}
	_exit(0);
}

static void take(const struct inotify_event *e)
{
	char want[64];

	name_of(want, sizeof(want), sh->told);
	if (e->mask != IN_CREATE || strcmp(want + 5, e->name) != 0) {
		snprintf(sh->wrong, sizeof(sh->wrong), "event %x of %.80s instead of %s", e->mask, e->len ? e->name : "", want);
		sh->stop = 1;
	}
	__atomic_add_fetch(&sh->told, 1, __ATOMIC_SEQ_CST);
}

static void *watch(void *arg)
{
	const int fd = *(int *)arg;
	char buf[4096] __attribute__((aligned(8)));
	ssize_t n;

	while (!*sh->wrong && (n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (void *)(buf + at);

			take(e);
			at += (ssize_t)sizeof(*e) + e->len;
		}
	return NULL;
}

static void await(unsigned int told)
{
	while (!*sh->wrong && __atomic_load_n(&sh->told, __ATOMIC_SEQ_CST) - told > 1u << 31)
		usleep(1000);
	scn_check(!*sh->wrong, "%s", sh->wrong);
}

int main(void)
{
	int fd = scn_sys(inotify_init1(IN_CLOEXEC));
	pid_t maker;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	scn_check(sh != MAP_FAILED, "mmap: %s", strerror(errno));
	scn_sys(mkdir("busy", 0755));
	scn_sys(inotify_add_watch(fd, "busy", IN_CREATE));
	maker = scn_fork();
	if (maker == 0)
		make_files();
	scn_thread(watch, &fd);
	await(AFTER);

	scn_checkpoint();

	await(__atomic_load_n(&sh->told, __ATOMIC_SEQ_CST) + AFTER);
	sh->stop = 1;
	scn_reap(maker, 0);
	await(sh->made);
	scn_pass();
}
