/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc.h"

const char *scn_doc = "System V message queues keep messages, their order and types, limits, "
		      "rights and who waits";

struct message {
	long type;
	char text[8192];
};

static void send(int q, long type, size_t len)
{
	struct message m = { .type = type };

	scn_fill(m.text, len, (unsigned)type);
	scn_sys(msgsnd(q, &m, len, IPC_NOWAIT));
}

static void receive(int q, long want, long type, size_t len)
{
	struct message m;
	ssize_t n = scn_sys(msgrcv(q, &m, sizeof(m.text), want, IPC_NOWAIT));

	scn_check(m.type == type, "type %ld, not %ld", m.type, type);
	scn_check(n == (ssize_t)len, "%zd bytes, not %zu", n, len);
	scn_check(scn_verify(m.text, len, (unsigned)type) < 0, "content of type %ld", type);
}

static void *wait_for_one(void *arg)
{
	struct message m;

	scn_check(scn_sys(msgrcv(*(int *)arg, &m, sizeof(m.text), 0, 0)) == 100,
		  "the one that was waited for");
	scn_check(m.type == 77 && scn_verify(m.text, 100, 77) < 0, "what came");
	return NULL;
}

static void *wait_for_room(void *arg)
{
	struct message m = { .type = 1000 };

	scn_fill(m.text, 200, 1000);
	scn_sys(msgsnd(*(int *)arg, &m, 200, 0));
	return NULL;
}

int main(int argc, char **argv)
{
	struct msqid_ds was, now;
	int q, empty, full, peers;
	pthread_t receiver, sender;
	pid_t pid;

	ipc_clean(argc, argv);
	q = ipc_made("msg", scn_sys(msgget(ipc_key(0), IPC_CREAT | IPC_EXCL | 0620)));
	empty = ipc_made("msg", scn_sys(msgget(IPC_PRIVATE, IPC_CREAT | 0600)));
	full = ipc_made("msg", scn_sys(msgget(IPC_PRIVATE, IPC_CREAT | 0600)));
	peers = ipc_made("msg", scn_sys(msgget(IPC_PRIVATE, IPC_CREAT | 0600)));
	send(q, 3, 10);
	send(q, 1, 8192);
	send(q, 2, 0);
	send(q, 3, 11);
	send(q, 0x7fffffffffffL, 1);
	scn_sys(msgctl(full, IPC_STAT, &was));
	was.msg_qbytes = 1000;
	scn_sys(msgctl(full, IPC_SET, &was));
	send(full, 5, 900);
	/* Who sent and received last, and are gone. */
	pid = scn_fork();
	if (pid == 0) {
		send(peers, 9, 9);
		_exit(0);
	}
	scn_reap(pid, 0);
	receive(peers, 0, 9, 9);
	receiver = scn_thread(wait_for_one, &empty);
	sender = scn_thread(wait_for_room, &full);
	scn_sleep_ms(50);
	scn_sys(msgctl(q, IPC_STAT, &was));

	scn_checkpoint();

	scn_sys(msgctl(q, IPC_STAT, &now));
	scn_check(now.msg_qnum == 5 && now.msg_qbytes == was.msg_qbytes &&
			  now.__msg_cbytes == was.__msg_cbytes &&
			  now.msg_perm.__key == was.msg_perm.__key &&
			  (now.msg_perm.mode & 0777) == 0620 &&
			  now.msg_perm.uid == was.msg_perm.uid &&
			  now.msg_perm.cuid == was.msg_perm.cuid,
		  "the queue has %lu messages, %lu bytes", now.msg_qnum, now.__msg_cbytes);
	scn_check(now.msg_lspid == was.msg_lspid && now.msg_lrpid == was.msg_lrpid,
		  "who used it last: %d, %d", now.msg_lspid, now.msg_lrpid);
	scn_sys(msgctl(peers, IPC_STAT, &now));
	scn_check(now.msg_lspid == pid && now.msg_lrpid == getpid() && !now.msg_qnum,
		  "who used the empty one last");
	scn_check(scn_sys(msgget(ipc_key(0), 0)) == q, "found by its key");
	receive(q, 2, 2, 0);
	receive(q, 0, 3, 10);
	receive(q, 0, 1, 8192);
	receive(q, 0, 3, 11);
	receive(q, 0, 0x7fffffffffffL, 1);

	send(empty, 77, 100);
	pthread_join(receiver, NULL);
	receive(full, 0, 5, 900);
	pthread_join(sender, NULL);
	receive(full, 0, 1000, 200);
	scn_sys(msgctl(full, IPC_STAT, &now));
	scn_check(now.msg_qbytes == 1000, "qbytes %lu", now.msg_qbytes);
	scn_sys(msgctl(q, IPC_RMID, NULL));
	scn_sys(msgctl(empty, IPC_RMID, NULL));
	scn_sys(msgctl(full, IPC_RMID, NULL));
	scn_sys(msgctl(peers, IPC_RMID, NULL));
	scn_pass();
}
