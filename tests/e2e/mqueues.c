/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc.h"

const char *scn_doc =
	"POSIX message queues keep messages, priorities, limits, names, flags and who waits";

static char name[64], gone_name[64], full_name[64];

static void send(mqd_t q, unsigned prio, size_t len)
{
	char text[500];

	scn_fill(text, len, prio + (unsigned)len);
	scn_sys(mq_send(q, text, len, prio));
}

static void receive(mqd_t q, unsigned prio, size_t len)
{
	char text[500];
	unsigned got;
	ssize_t n = scn_sys(mq_receive(q, text, sizeof(text), &got));

	scn_check(got == prio && n == (ssize_t)len, "priority %u, %zd bytes; not %u, %zu", got, n,
		  prio, len);
	scn_check(scn_verify(text, len, prio + (unsigned)len) < 0, "content");
}

static void *wait_for_one(void *arg)
{
	receive(*(mqd_t *)arg, 9, 99);
	return NULL;
}

static void *wait_for_room(void *arg)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 100;
	scn_sys(mq_timedsend(*(mqd_t *)arg, "last", 4, 0, &limit));
	return NULL;
}

int main(int argc, char **argv)
{
	struct mq_attr attr = { .mq_maxmsg = 7, .mq_msgsize = 500 }, now;
	mqd_t q, ro, nonblock, gone, full, empty;
	pthread_t receiver, sender;
	struct stat st;
	char text[500];

	ipc_clean(argc, argv);
	snprintf(name, sizeof(name), "/ckpt-scn-%d", (int)getpid());
	snprintf(gone_name, sizeof(gone_name), "/ckpt-scn-%d-gone", (int)getpid());
	snprintf(full_name, sizeof(full_name), "/ckpt-scn-%d-full", (int)getpid());
	ipc_note("mq", name);
	ipc_note("mq", gone_name);
	ipc_note("mq", full_name);
	umask(0);
	q = scn_sys(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0640, &attr));
	ro = scn_sys(mq_open(name, O_RDONLY));
	nonblock = scn_sys(mq_open(name, O_WRONLY | O_NONBLOCK));
	gone = scn_sys(mq_open(gone_name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr));
	scn_sys(mq_unlink(gone_name));
	attr.mq_maxmsg = 2;
	full = scn_sys(mq_open(full_name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
	empty = scn_sys(mq_open(gone_name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
	send(q, 5, 10);
	send(q, 7, 20);
	send(q, 5, 0);
	send(q, 32767, 500);
	send(q, 0, 3);
	send(gone, 1, 100);
	send(full, 1, 1);
	send(full, 1, 2);
	receiver = scn_thread(wait_for_one, &empty);
	sender = scn_thread(wait_for_room, &full);
	scn_sleep_ms(50);

	scn_checkpoint();

	scn_sys(mq_getattr(q, &now));
	scn_check(now.mq_curmsgs == 5 && now.mq_maxmsg == 7 && now.mq_msgsize == 500 &&
			  !now.mq_flags,
		  "the queue: %ld messages", now.mq_curmsgs);
	scn_sys(mq_getattr(nonblock, &now));
	scn_check(now.mq_flags & O_NONBLOCK, "flags");
	scn_sys(fstat(q, &st));
	scn_check((st.st_mode & 0777) == 0640 && st.st_uid == geteuid() && st.st_nlink == 1,
		  "mode %o", st.st_mode);
	scn_check(mq_send(ro, "x", 1, 0) < 0 && errno == EBADF, "read-only");
	receive(q, 32767, 500);
	receive(ro, 7, 20);
	receive(q, 5, 10);
	receive(q, 5, 0);
	scn_sys(mq_send(nonblock, "abc", 3, 6));
	scn_check(scn_sys(mq_receive(q, text, sizeof(text), NULL)) == 3 && !memcmp(text, "abc", 3),
		  "one queue");
	receive(q, 0, 3);
	scn_sys(fstat(gone, &st));
	scn_check(!st.st_nlink, "without a name");
	receive(gone, 1, 100);
	scn_check(mq_receive(gone, text, sizeof(text), NULL) < 0 && errno == EAGAIN,
		  "nothing else");
	send(empty, 9, 99);
	pthread_join(receiver, NULL);
	receive(full, 1, 1);
	pthread_join(sender, NULL);
	receive(full, 1, 2);
	scn_check(scn_sys(mq_receive(full, text, sizeof(text), NULL)) == 4, "what waited for room");
	full = scn_sys(mq_open(name, O_RDWR));
	scn_sys(mq_close(full));
	scn_sys(mq_unlink(name));
	scn_sys(mq_unlink(full_name));
	scn_sys(mq_unlink(gone_name));
	scn_pass();
}
