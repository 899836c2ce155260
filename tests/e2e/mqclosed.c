/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc.h"

const char *scn_doc = "POSIX message queues that nobody has open are there again, with what is in them";

static char names[3][64];

int main(int argc, char **argv)
{
	struct mq_attr attr = { .mq_maxmsg = 3, .mq_msgsize = 64 }, now;
	struct stat st;
	pid_t pid;
	mqd_t q;

	ipc_clean(argc, argv);
	if (geteuid() && access("/dev/mqueue", F_OK))
		scn_skip("there is no /dev/mqueue, and only root can do without");
	umask(0);
	for (int i = 0; i < 3; i++) {
		snprintf(names[i], sizeof(names[i]), "/ckpt-scn-%d-closed-%d", (int)getpid(), i);
		ipc_note("mq", names[i]);
	}
	q = scn_sys(mq_open(names[0], O_RDWR | O_CREAT | O_EXCL, 0640, &attr));
	ipc_mq_send(q, "low", 1);
	ipc_mq_send(q, "high", 2);
	scn_sys(mq_close(q));
	/* By a process that is no more. */
	pid = scn_fork();
	if (!pid) {
		q = scn_sys(mq_open(names[1], O_WRONLY | O_CREAT | O_EXCL, 0600, NULL));
		_exit(0);
	}
	scn_reap(pid, 0);
	/* One that somebody has is the same one by name and by descriptor. */
	q = scn_sys(mq_open(names[2], O_RDWR | O_CREAT | O_EXCL, 0600, &attr));

	for (int round = 0; round < 2; round++) {
		mqd_t again;

		scn_checkpoint();

		again = scn_sys(mq_open(names[0], O_RDWR | O_NONBLOCK));
		scn_sys(fstat(again, &st));
		scn_sys(mq_getattr(again, &now));
		scn_check((st.st_mode & 0777) == 0640 && st.st_uid == geteuid(), "mode %o", st.st_mode);
		scn_check(now.mq_maxmsg == 3 && now.mq_msgsize == 64 && now.mq_curmsgs == 2, "%ld messages",
			  now.mq_curmsgs);
		ipc_mq_receive(again, "high", 2);
		ipc_mq_receive(again, "low", 1);
		scn_check(mq_receive(again, (char[64]){ 0 }, 64, NULL) < 0 && errno == EAGAIN, "no more");
		ipc_mq_send(again, "low", 1);
		ipc_mq_send(again, "high", 2);
		scn_sys(mq_close(again));
		again = scn_sys(mq_open(names[1], O_RDWR | O_NONBLOCK));
		scn_sys(mq_getattr(again, &now));
		scn_check(!now.mq_curmsgs, "an empty one");
		scn_sys(mq_close(again));
		again = scn_sys(mq_open(names[2], O_RDWR | O_NONBLOCK));
		ipc_mq_send(again, "one", 0);
		ipc_mq_receive(q, "one", 0);
		scn_sys(mq_close(again));
	}
	for (int i = 0; i < 3; i++)
		scn_sys(mq_unlink(names[i]));
	scn_pass();
}
