/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.c - what the process is to get when a message comes into an empty POSIX message queue (mq_notify).
 *
 * Who has asked, and for which kind of news, the kernel tells in the queue's file. Not the value that comes with
 * a signal: for that alone there is a wrapper, which keeps the value beside the descriptor's number. That
 * number is enough: the kernel forgets a registration when its process closes any descriptor of the
 * queue, so as long as there is one its descriptor is still what it was.
 *
 * A thread (SIGEV_THREAD) is glibc's business: it registers 32 bytes of its own (the cookie) and a netlink socket
 * to which the kernel sends them, when a message comes and also when the registration is taken back. So
 * they are learnt while all stand still: by taking it back, reading the socket, and registering again. In these
 * microseconds nobody of the job sends; whoever else does, sends to a queue that nobody waits at.
 */
#include <errno.h>
#include <linux/mman.h>
#include <mqueue.h>
#include <sys/socket.h>
#include "agent.h"
#include "mem.h"
#include "real.h"
#include "sys.h"

#define ALL_SIGNALS	(~0UL)
#define COOKIE_REMOVED	2		/* in its last byte; 1: a message has come */

struct note { int32_t fd, signo; uint64_t value, order; };	/* order 0: free */
struct notes {
	struct notes *next;
	struct note note[(PAGE_SIZE - sizeof(struct notes *)) / sizeof(struct note)];
};
#define NOTES (sizeof(((struct notes *)0)->note) / sizeof(struct note))

static int (*real)(mqd_t, const struct sigevent *);
static struct notes *all_notes;		/* from here on: changed by who is inside only */
static uint64_t last_order;
static uint32_t inside;			/* pid of who is; another's is left over from before a fork */

/*
 * From the call to the note nobody may come in between: no other thread that is notified and registers again,
 * no handler, and no checkpoint, whose signal waits until we are out.
 */
static unsigned long come_in(void)
{
	unsigned long all = ALL_SIGNALS, old = 0;
	uint32_t pid = (uint32_t)SYS0(getpid), was = 0;

	SYS(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
	while (!__atomic_compare_exchange_n(&inside, &was, pid, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		if (was == pid) {
			SYS0(sched_yield);
			was = 0;
		}
	return old;
}

static void go_out(unsigned long old)
{
	__atomic_store_n(&inside, 0, __ATOMIC_RELEASE);
	SYS(rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}

static struct note *note_of(int fd)
{
	for (struct notes *p = all_notes; p; p = p->next)
		for (size_t i = 0; i < NOTES; i++)
			if (p->note[i].order && p->note[i].fd == fd)
				return &p->note[i];
	return NULL;
}

/* NULL: no memory; then the checkpoint will be refused for it. */
static struct note *new_note(void)
{
	long page;

	for (struct notes *p = all_notes; p; p = p->next)
		for (size_t i = 0; i < NOTES; i++)
			if (!p->note[i].order)
				return &p->note[i];
	page = SYS(mmap, NULL, sizeof(struct notes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page < 0 && page > -4096)
		return NULL;
	((struct notes *)page)->next = all_notes;
	all_notes = (struct notes *)page;
	return all_notes->note;
}

static int register_signal(mqd_t q, const struct sigevent *ev)
{
	unsigned long mask = come_in();
	int ret = real(q, ev);
	struct note *n = ret ? NULL : note_of(q);

	if (!ret && !n)
		n = new_note();
	if (n)
		*n = (struct note){ q, ev->sigev_signo, (uint64_t)ev->sigev_value.sival_ptr, ++last_order };
	go_out(mask);
	return ret;
}

void notify_find(void)
{
	real = (int (*)(mqd_t, const struct sigevent *))real_find("mq_notify", NULL);
}

/* Context: APP. Also one of those that make a thread, see rearm.c. */
EXPORT int mq_notify(mqd_t q, const struct sigevent *ev)
{
	int ret;

	real_find_all();
	if (!real)
		notify_find();
	if (!real)
		return real_absent();
	if (!agent_self.dir[0])
		return real(q, ev);
	ret = ev && ev->sigev_notify == SIGEV_SIGNAL ? register_signal(q, ev) : real(q, ev);
	agent_arm();
	return ret;
}

/* ---- at a checkpoint: LEADER ---- */

static void find_value(const struct agent_notify *want, const int32_t *fds, struct agent_notified *ret)
{
	const struct note *newest = NULL;

	for (uint32_t i = 0; i < want->nqueue; i++) {
		const struct note *n = note_of(fds[i]);

		if (n && n->signo == want->signo && (!newest || n->order > newest->order))
			newest = n;
	}
	if (!newest)
		return;
	ret->fd = newest->fd;
	ret->value = newest->value;
	ret->error = 0;
}

/* The socket that the kernel has just sent a cookie to, which is taken out. -1: none of them. */
static int32_t receive_cookie(const int32_t *socks, uint32_t n, unsigned char *cookie)
{
	unsigned char text[AGENT_COOKIE_SIZE + 1];

	for (uint32_t i = 0; i < n; i++) {
		if (SYS(recvfrom, socks[i], text, sizeof(text), MSG_PEEK | MSG_DONTWAIT, NULL, NULL) !=
			    AGENT_COOKIE_SIZE ||
		    text[AGENT_COOKIE_SIZE - 1] != COOKIE_REMOVED)
			continue;
		SYS(recvfrom, socks[i], text, sizeof(text), MSG_DONTWAIT, NULL, NULL);
		text[AGENT_COOKIE_SIZE - 1] = 0;
		memcpy(cookie, text, AGENT_COOKIE_SIZE);
		return socks[i];
	}
	return -1;
}

static void find_cookie(const struct agent_notify *want, const int32_t *fds, struct agent_notified *ret)
{
	struct { uint64_t value; int32_t signo, notify; uint64_t pad[6]; } ev = {
		.value = (uint64_t)ret->cookie, .notify = SIGEV_THREAD,
	};
	long r;

	/* Nobody could hear of it: glibc's socket was closed behind its back. */
	if (!want->nqueue || !want->nsock)
		return;
	r = SYS(mq_notify, fds[0], NULL);
	if (r < 0) {
		ret->error = (int32_t)r;
		return;
	}
	ret->fd = fds[0];
	ret->sock = receive_cookie(fds + want->nqueue, want->nsock, ret->cookie);
	if (ret->sock < 0)
		return;
	ev.signo = ret->sock;
	ret->error = (int32_t)SYS(mq_notify, ret->fd, &ev);
}

int notify_tell(struct leader *l, const struct agent_notify *want, size_t len)
{
	struct agent_notified found = { .error = -ENOENT, .sock = -1 };
	const int32_t *fds = (const int32_t *)(want + 1);

	if ((len - sizeof(*want)) / sizeof(*fds) < (uint64_t)want->nqueue + want->nsock)
		return -EPROTO;
	if (want->notify == SIGEV_SIGNAL)
		find_value(want, fds, &found);
	else if (want->notify == SIGEV_THREAD)
		find_cookie(want, fds, &found);
	return leader_tell(l, AGENT_NOTIFIED, &found, sizeof(found), 1);
}
