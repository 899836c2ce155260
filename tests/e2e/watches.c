/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/epoll.h>

const char *scn_doc = "what epolls watch, for which events and with which data: through duplicates, in several processes, "
		      "under numbers that were used before or are closed by now, changed by several threads, many at once";

enum { MANY = 300 };

struct watched { int r, w; };

static struct watched new_pipe(void)
{
	int p[2];

	scn_sys(pipe2(p, O_CLOEXEC));
	return (struct watched){ p[0], p[1] };
}

static void ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	scn_sys(epoll_ctl(ep, op, fd, &ev));
}

/* Exactly that one is reported, or with @data 0 none. */
static void expect(int ep, uint32_t events, uint64_t data)
{
	struct epoll_event ev[4] = { { 0 } };
	int n = scn_sys(epoll_wait(ep, ev, 4, data ? 5000 : 0));

	scn_check(n == (data != 0), "%d events, the first %x with %lx", n, ev[0].events, (long)ev[0].data.u64);
	scn_check(!n || (ev[0].data.u64 == data && ev[0].events == events), "%x with %lx instead of %x with %lx",
		  ev[0].events, (long)ev[0].data.u64, events, (long)data);
}

static void expect_input(int ep, const struct watched *p, uint64_t data)
{
	char c;

	scn_check(write(p->w, "x", 1) == 1, "write: %s", strerror(errno));
	expect(ep, EPOLLIN, data);
	scn_check(read(p->r, &c, 1) == 1, "read: %s", strerror(errno));
	expect(ep, 0, 0);
}

struct turn { int ep; struct watched p; uint64_t data; };

static void *change(void *arg)
{
	const struct turn *t = arg;

	for (uint64_t i = 0; i < 200; i++)
		ctl(t->ep, EPOLL_CTL_MOD, t->p.r, EPOLLIN, t->data + i);
	return NULL;
}

static void child(int ep, struct watched a, struct watched b, struct watched answer)
{
	ctl(ep, EPOLL_CTL_ADD, a.r, EPOLLIN, 0x1c);	/* the parent changes that one afterwards */
	ctl(ep, EPOLL_CTL_ADD, b.r, EPOLLIN, 0x2c);
	scn_check(write(answer.w, "y", 1) == 1, "write: %s", strerror(errno));
	pause();
}

int main(void)
{
	struct watched p = new_pipe(), q = new_pipe(), closed = new_pipe(), shared_a = new_pipe(), shared_b = new_pipe(),
		       answer = new_pipe(), again = new_pipe(), inner_p = new_pipe(), out = new_pipe(), *many;
	int ep = scn_sys(epoll_create1(EPOLL_CLOEXEC)), twin = scn_sys(dup(ep)), empty = scn_sys(epoll_create1(0));
	int reused = scn_sys(epoll_create(1)), number = reused, crowd, both, inner, outer, moved;
	struct turn turns[2];
	pthread_t threads[2];
	char c;
	pid_t kid;

	/* Data of 64 bits, changed once, by another number of the same epoll. */
	ctl(ep, EPOLL_CTL_ADD, p.r, EPOLLIN, 1);
	ctl(twin, EPOLL_CTL_MOD, p.r, EPOLLIN | EPOLLRDHUP, 0x1122334455667788);
	ctl(ep, EPOLL_CTL_ADD, q.r, EPOLLIN, 2);
	ctl(ep, EPOLL_CTL_DEL, q.r, 0, 0);
	/* An epoll that has another one's number, and watches the same with other data. */
	ctl(reused, EPOLL_CTL_ADD, again.r, EPOLLIN, 3);
	close(reused);
	reused = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	scn_check(reused == number, "%d", reused);
	ctl(reused, EPOLL_CTL_ADD, again.r, EPOLLIN, 4);
	/* Watched under a number that is closed. */
	ctl(twin, EPOLL_CTL_ADD, closed.r, EPOLLIN, 0xc105ed);
	moved = scn_sys(dup(closed.r));
	close(closed.r);
	closed.r = moved;
	/* Of one that several processes have. */
	both = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	kid = scn_fork();
	if (kid == 0)
		child(both, shared_a, shared_b, answer);
	scn_check(read(answer.r, &c, 1) == 1, "the child has ended");
	ctl(both, EPOLL_CTL_MOD, shared_a.r, EPOLLIN, 0x1d);
	/* One in another. */
	inner = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	outer = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	ctl(inner, EPOLL_CTL_ADD, inner_p.r, EPOLLIN, 0x11);
	ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 0x12);
	ctl(outer, EPOLL_CTL_ADD, out.w, EPOLLOUT | EPOLLET, 0x13);
	expect(outer, EPOLLOUT, 0x13);
	/* Two threads at one watch; the last word is that of the main thread. */
	for (int i = 0; i < 2; i++) {
		turns[i] = (struct turn){ reused, again, 1000 * (uint64_t)i };
		threads[i] = scn_thread(change, &turns[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ctl(reused, EPOLL_CTL_MOD, again.r, EPOLLIN, 5);
	/* More than one page of notes. */
	crowd = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	many = calloc(MANY, sizeof(*many));
	for (int i = 0; i < MANY; i++) {
		many[i] = new_pipe();
		ctl(crowd, EPOLL_CTL_ADD, many[i].r, EPOLLIN, 0xabc000 + (uint64_t)i);
	}

	scn_checkpoint();

	expect_input(ep, &p, 0x1122334455667788);
	expect_input(twin, &p, 0x1122334455667788);
	scn_check(write(q.w, "x", 1) == 1, "write: %s", strerror(errno));
	expect(ep, 0, 0);
	expect_input(ep, &closed, 0xc105ed);
	expect_input(reused, &again, 5);
	expect_input(both, &shared_a, 0x1d);
	expect_input(both, &shared_b, 0x2c);
	expect(empty, 0, 0);
	if (scn_restores)	/* what is watched for changes is reported once more */
		expect(outer, EPOLLOUT, 0x13);
	expect(outer, 0, 0);
	scn_check(write(inner_p.w, "x", 1) == 1, "write: %s", strerror(errno));
	expect(outer, EPOLLIN, 0x12);
	expect(inner, EPOLLIN, 0x11);
	for (int i = MANY - 1; i >= 0; i--)
		expect_input(crowd, &many[i], 0xabc000 + (uint64_t)i);
	/* And they can be changed as before. */
	ctl(ep, EPOLL_CTL_MOD, p.r, EPOLLIN, 7);
	expect_input(twin, &p, 7);
	ctl(both, EPOLL_CTL_DEL, shared_b.r, 0, 0);
	kill(kid, SIGKILL);	/* the last but us that could write */
	scn_check(waitpid(kid, NULL, 0) == kid, "waitpid: %s", strerror(errno));
	close(p.w);
	expect(ep, EPOLLHUP, 7);
	scn_pass();
}
