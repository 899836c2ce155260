/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <sys/fanotify.h>

const char *scn_doc = "a program that gives permissions to open a file (fanotify) can be checkpointed while another process of "
		      "the job, which cannot be stopped while it waits for one, asks for them all the time; none is lost";

/* What both have in common. */
struct shared { unsigned int opened, denied, asked; int stop; };

static struct shared *sh;
static int group;

/* Every third time it is denied. */
static void ask_all_the_time(void)
{
	while (!__atomic_load_n(&sh->stop, __ATOMIC_SEQ_CST)) {
		int fd = open("guarded", O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
		__atomic_add_fetch(fd >= 0 ? &sh->opened : &sh->denied, 1, __ATOMIC_SEQ_CST);
	}
	_exit(0);
}

static void *answer(void *arg)
{
	struct pollfd p = { .fd = group, .events = POLLIN };
	struct fanotify_event_metadata m;

	(void)arg;
	while (poll(&p, 1, -1) >= 0 && read(group, &m, sizeof(m)) == sizeof(m)) {
		struct fanotify_response r = { .fd = m.fd };

		r.response = ++sh->asked % 3 ? FAN_ALLOW : FAN_DENY;
		scn_sleep_ms(1);	/* as if to look into the file */
		scn_check(write(group, &r, sizeof(r)) == sizeof(r), "the answer: %s", strerror(errno));
		close(m.fd);
	}
	return NULL;
}

static void await(unsigned int opened)
{
	while (__atomic_load_n(&sh->opened, __ATOMIC_SEQ_CST) - opened > 1u << 31)
		usleep(1000);
}

int main(void)
{
	pid_t pid;

	group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
	if (group < 0)
		scn_skip("fanotify_init: %s", strerror(errno));
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	scn_check(sh != MAP_FAILED, "mmap: %s", strerror(errno));
	close(scn_sys(open("guarded", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	scn_sys(fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "guarded"));
	pid = scn_fork();
	if (pid == 0)
		ask_all_the_time();
	scn_thread(answer, NULL);
	await(20);

	scn_checkpoint();

	await(__atomic_load_n(&sh->opened, __ATOMIC_SEQ_CST) + 20);
	sh->stop = 1;
	scn_reap(pid, 0);
	scn_check(sh->asked == sh->opened + sh->denied && sh->denied == sh->asked / 3, "%u asked, %u opened, %u denied", sh->asked,
		  sh->opened, sh->denied);
	scn_pass();
}
