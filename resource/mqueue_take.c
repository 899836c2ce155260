/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqueue_take.c - the messages of a POSIX message queue. The kernel has no way to look at them:
 * they are taken out and put back while all who use the queue stand still, which lasts
 * microseconds.
 *
 * None may be lost if we are killed in between. So a process of its own does it, which shields
 * itself from signals and does not end with us; and what it has taken stands in memory that we
 * share: if it is killed, we put the rest back. Only both together can lose a message.
 *
 * Who is to be notified of the first message in an empty queue (mq_notify) must not hear of this: then the
 * queue is never empty. The last message is taken out when there is a guard behind it, a message of
 * ours; and the guard when the first message of the same priority is back, of which the guard is the
 * older. So the guard must have the priority of the last message, which is not known before; of a higher
 * one it would come out first. Hence it is tried downwards, from the one before the last.
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

#define PRIORITY_MAX	32767 /* MQ_PRIO_MAX - 1 */
#define NONE		SIZE_MAX
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
	int guarded;		/* our guard may be in the queue, */
	size_t guard_len;	/* of so many bytes, as the last message is not */
	size_t early;		/* the message that is back before its turn; NONE */
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

static void take_out(struct taken *t, size_t leave)
{
	while (t->got + leave < t->total) {
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

		if (t->back == t->early) {
			t->back++;
			continue;
		}
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

/* The last message out of the queue, and the guard, of the same priority, in its place. 0, or -1: there is more. */
static int set_guard(struct taken *t)
{
	struct slot *s = slot(t, t->got);
	int64_t p = t->got ? slot(t, t->got - 1)->priority : PRIORITY_MAX;
	struct mqueue_seen now;

	if (mqueue_tells(t->fd, &now))
		return -1;
	t->guard_len = now.size == 0;
	t->guarded = 1;
	for (; p >= 0 && mqueue_send(t->fd, "", t->guard_len, (uint32_t)p) == 0; p--) {
		ssize_t n = receive(t->fd, s->text, t->msgsize, &s->priority);

		if (n < 0)
			return -1;
		if ((size_t)n == t->guard_len)
			continue;
		s->len = (uint64_t)n;
		t->got++;
		return s->priority == (uint32_t)p ? 0 : -1;
	}
	return -1;
}

/* The first message of the guard's priority back into the queue, and the guard out of it. */
static int drop_guard(struct taken *t)
{
	struct slot *spare = slot(t, t->total);
	size_t i = t->got - 1;

	while (i && slot(t, i - 1)->priority == slot(t, i)->priority)
		i--;
	if (mqueue_send(t->fd, slot(t, i)->text, slot(t, i)->len, slot(t, i)->priority))
		return -1;
	t->early = i;
	if (receive(t->fd, spare->text, t->msgsize, &spare->priority) != (ssize_t)t->guard_len)
		return -1;
	t->guarded = 0;
	return 0;
}

/* It came otherwise, or whoever did it was killed: all that is in the queue and not the guard is the last message. */
static void clear_guard(struct taken *t)
{
	for (size_t i = 0; i <= t->total; i++) {
		struct slot *s = slot(t, t->got);
		ssize_t n = receive(t->fd, s->text, t->msgsize, &s->priority);

		if (n < 0)
			break;
		s->len = (uint64_t)n;
		if ((size_t)n != t->guard_len && t->got < t->total)
			t->got++;
	}
	t->guarded = 0;
	t->early = NONE;
}

static void take_quietly(struct taken *t)
{
	take_out(t, 1);
	if (t->got + 1 == t->total && (set_guard(t) || drop_guard(t)))
		clear_guard(t);
}

static void NORETURN shielded(struct taken *t, int quiet)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	if (quiet)
		take_quietly(t);
	else
		take_out(t, 0);
	put_back(t);
	_exit(0);
}

/* The process that did it was killed: how many are back says the queue, if it was empty once. */
static void take_over(struct taken *t)
{
	size_t early = t->early != NONE && t->early >= t->back;
	struct mqueue_attr a;

	if (t->guarded)
		clear_guard(t);
	else if (t->back && mqueue_attr(t->fd, &a) == 0 && (size_t)a.curmsgs > t->back + early &&
		 (size_t)a.curmsgs <= t->got)
		t->back = (size_t)a.curmsgs - early;
	put_back(t);
}

static struct taken *make_room(int fd, const struct mqueue_attr *a)
{
	size_t slot_size = (sizeof(struct slot) + (size_t)a->msgsize + 7) & ~(size_t)7;
	size_t size = PAGE_UP(sizeof(struct taken) + slot_size * ((size_t)a->curmsgs + 1));
	struct taken *t = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (t == MAP_FAILED)
		return NULL;
	t->fd = fd;
	t->slot_size = slot_size;
	t->size = size;
	t->msgsize = (size_t)a->msgsize;
	t->total = (size_t)a->curmsgs;
	t->early = NONE;
	return t;
}

int mqueue_take(int fd, int quiet, struct messages *ret, struct err *err)
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
		shielded(t, quiet);
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
