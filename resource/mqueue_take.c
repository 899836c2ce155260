/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqueue_take.c - the messages of a POSIX message queue. The kernel has no way to look at them:
 * they are taken out and put back while all who use the queue stand still, which lasts
 * microseconds.
 *
 * None may be lost if we are killed in between. So a process of its own does it, which shields
 * itself from signals and does not end with us; and what it has taken stands in memory that we
 * share: if it is killed, we put the rest back. Only both together can lose a message.
 */
#include "mqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"

#define PUT_BACK_NS	10000000000LL /* when somebody outside fills the queue behind our back */

struct slot {
	uint32_t priority;
	uint64_t len;
	char text[];
};

struct taken {
	int fd;
	size_t slot_size, size; /* bytes of a slot, of all of this */
	size_t msgsize, total;	/* messages that were in the queue */
	size_t got, back;	/* taken out, put back */
	int errnum;
	char slots[] __attribute__((aligned(8)));
};

int mqueue_attr(int fd, struct mqueue_attr *ret)
{
	return (int)syscall(SYS_mq_getsetattr, fd, NULL, ret);
}

int mqueue_send(int fd, const void *text, size_t len, uint32_t priority)
{
	return (int)syscall(SYS_mq_timedsend, fd, text, len, priority, NULL);
}

static ssize_t receive(int fd, void *text, size_t len, uint32_t *priority)
{
	return syscall(SYS_mq_timedreceive, fd, text, len, priority, NULL);
}

void mqueue_drain(int fd)
{
	struct mqueue_attr a;
	cleanup_free char *text = NULL;

	if (mqueue_attr(fd, &a))
		return;
	text = xmalloc((size_t)a.msgsize + 1);
	while (receive(fd, text, (size_t)a.msgsize, NULL) >= 0)
		;
}

static struct slot *slot(struct taken *t, size_t i)
{
	return (struct slot *)(t->slots + i * t->slot_size);
}

static void take_out(struct taken *t)
{
	while (t->got < t->total) {
		struct slot *s = slot(t, t->got);
		ssize_t n = receive(t->fd, s->text, t->msgsize, &s->priority);

		if (n < 0)
			break;
		s->len = (uint64_t)n;
		t->got++;
	}
}

static void put_back(struct taken *t)
{
	const struct timespec nap = { 0, 1000000 };
	int64_t until = io_monotonic_ns() + PUT_BACK_NS;

	while (t->back < t->got) {
		const struct slot *s = slot(t, t->back);

		if (mqueue_send(t->fd, s->text, s->len, s->priority) == 0) {
			t->back++;
			continue;
		}
		if ((errno != EAGAIN && errno != EINTR) || io_monotonic_ns() > until)
			break;
		nanosleep(&nap, NULL);
	}
	t->errnum = t->back < t->got ? errno : 0;
}

static void NORETURN shielded(struct taken *t)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	take_out(t);
	put_back(t);
	_exit(0);
}

/* The process that did it was killed: how many are back says the queue, if it was empty once. */
static void take_over(struct taken *t)
{
	struct mqueue_attr a;

	if (t->back && mqueue_attr(t->fd, &a) == 0 && (size_t)a.curmsgs > t->back &&
	    (size_t)a.curmsgs <= t->got)
		t->back = (size_t)a.curmsgs;
	put_back(t);
}

static struct taken *make_room(int fd, const struct mqueue_attr *a)
{
	size_t slot_size = (sizeof(struct slot) + (size_t)a->msgsize + 7) & ~(size_t)7;
	size_t size = PAGE_UP(sizeof(struct taken) + slot_size * (size_t)a->curmsgs);
	struct taken *t = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (t == MAP_FAILED)
		return NULL;
	t->fd = fd;
	t->slot_size = slot_size;
	t->size = size;
	t->msgsize = (size_t)a->msgsize;
	t->total = (size_t)a->curmsgs;
	return t;
}

int mqueue_take(int fd, struct messages *ret, struct err *err)
{
	struct mqueue_attr a;
	struct taken *t;
	pid_t pid;
	int r = 0, status = 0;

	if (mqueue_attr(fd, &a))
		return err_set(err, E_FAILED, errno, "cannot look at a message queue");
	if (!a.curmsgs)
		return 0;
	t = make_room(fd, &a);
	pid = t ? fork() : -1;
	if (pid == 0)
		shielded(t);
	if (pid < 0) {
		r = err_set(err, E_FAILED, errno, "cannot look at the messages of a queue");
	} else {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status))
			take_over(t);
		if (t->errnum)
			r = err_set(err, E_OUTSIDE, t->errnum,
				    "somebody outside of the job uses a message queue of it: "
				    "%zu of its messages could not be put back",
				    t->got - t->back);
		else if (t->got != t->total)
			r = err_set(
				err, E_OUTSIDE, 0,
				"somebody outside of the job takes messages out of a queue of it");
	}
	for (size_t i = 0; r == 0 && i < t->got; i++)
		messages_add(ret, slot(t, i)->priority, slot(t, i)->text, slot(t, i)->len);
	if (t)
		munmap(t, t->size);
	return r;
}
